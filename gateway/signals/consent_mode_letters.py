"""The letters of Google Consent Mode: the texts `gcd`, `gcs` and `tcfd`, each read into one value.

A letter is six bits, a state two of them: 1 not set, 2 denied, 3 granted. Texts have a fixed length, so the work is
constant; any other length, a first character other than the known one or a state of 0 makes the text unreadable, for
then it is of a kind nobody has described.

Source: Google publishes no table of the letters. They were captured from the Google tag library (build stamp 63p1, March
2026) and agree with library code from January 2024 on. Tables on the web that read `l` as "denied by default" are wrong.
"""

from typing import Final, Literal

import msgspec

from gateway.purposes import AD_PERSONALIZATION, AD_USER_DATA, ADVERTISING, ANALYTICS
from gateway.signals.bits import Broken, Unreadable

__all__ = [
    "TYPES",
    "Gcd",
    "Gcs",
    "Signal",
    "State",
    "Tcfd",
    "decode_gcd",
    "decode_gcs",
    "decode_tcfd",
    "told_gcd",
    "told_gcs",
    "told_tcfd",
]

State = Literal["granted", "denied", "granted-implicit", "denied-implicit", "unset"]
"""`-implicit` is what the library assumes for the region: nobody chose it. `unset` the library treats as granted; we do not."""

TYPES: Final[dict[str, int]] = {
    "ad_storage": ADVERTISING,
    "analytics_storage": ANALYTICS,
    "ad_user_data": AD_USER_DATA,
    "ad_personalization": AD_PERSONALIZATION,
}
"""Google's consent types in the order of `gcd`, and our purpose for each."""

_ORDER: Final = tuple(TYPES)
_ALPHABET: Final = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_"
_INDEX: Final = {letter: index for index, letter in enumerate(_ALPHABET)}
_BITS: Final[dict[int, bool | None]] = {1: None, 2: False, 3: True}
"""A state in two bits. 0 is never written: it marks a text of another kind."""
_SETTING: Final = ("no-config", "unset", "true", "false")
_DELEGATED: Final[dict[int, str | None]] = {0: None, 8: "other", **dict(enumerate(_ORDER, start=12))}


class Signal(msgspec.Struct, frozen=True):
    """One consent type in `gcd`. Each state is True granted, False denied, None not set.

    `update` is what the visitor chose, `default` what the page set before; `declare` is a third way to set a value that
    pages cannot reach through `gtag`. `implicit` is Google's assumption for the region. `delegated_to` names the type
    that decides when neither `update` nor `default` is set, `other` for one that `gcd` does not carry.
    """

    implicit: bool | None
    declare: bool | None
    default: bool | None
    update: bool | None
    delegated_to: str | None

    @property
    def set_by_page(self) -> bool | None:
        """What the letters m n p q r t u v say: the update, else the default, else None. Never an assumption."""
        return self.default if self.update is None else self.update


class Gcd(msgspec.Struct, frozen=True):
    """A `gcd` text.

    `signals` and `state` follow the order of TYPES. `active` is whether the page uses consent mode at all; `gpc` is
    Global Privacy Control in a region of Google's list, which lacks California. `personalization` is the page's setting
    `allow_ad_personalization_signals`: `no-config`, `unset`, `true` or `false`. `scoped` are the defaults a container
    brings along and `scoped_used` whether they replace the page's; both are None in the short form of ten characters.
    """

    signals: tuple[Signal, ...]
    state: tuple[State, ...]
    active: bool
    gpc: bool
    personalization: str
    scoped: tuple[bool | None, ...] | None = None
    scoped_used: bool | None = None


class Gcs(msgspec.Struct, frozen=True):
    """A `gcs` text: True granted, False denied, None set by neither page nor visitor."""

    ad_storage: bool | None
    analytics_storage: bool | None


class Tcfd(msgspec.Struct, frozen=True):
    """A `tcfd` text: what Google's tag took from the page's TCF consent platform. `cmp_id` 0: no answer of it yet."""

    cmp_id: int
    policy_version: int
    digital_markets_region: bool
    gdpr_applies: bool
    support_flag: bool
    advertiser_consent_mode: bool
    wait_timed_out: bool

    @property
    def before_answer(self) -> bool:
        """TCF was to decide, and the hit left before the consent platform answered: what it grants proves nothing."""
        return self.cmp_id == 0 and (self.support_flag or self.advertiser_consent_mode)


# ------------------------------------------------------------------ reading


def decode_gcd(text: str) -> Gcd | Unreadable:
    """Read a `gcd` text. Codes: `length` (neither 10 nor 12), `version`, `encoding`, `value` (a state that cannot be)."""
    try:
        return _gcd(text)
    except Broken as broken:
        return Unreadable(broken.code)


def decode_gcs(text: str) -> Gcs | Unreadable:
    """Read a `gcs` text, one of nine values. Codes: `length`, `version`, `value`."""
    try:
        return _gcs(text)
    except Broken as broken:
        return Unreadable(broken.code)


def decode_tcfd(text: str) -> Tcfd | Unreadable:
    """Read a `tcfd` text of five characters. Codes: `length`, `version`, `encoding`, `value` (a flag nobody knows)."""
    try:
        return _tcfd(text)
    except Broken as broken:
        return Unreadable(broken.code)


def _gcd(text: str) -> Gcd:
    if len(text) not in (10, 12):
        raise Broken("length")
    if text[0] != "1":
        raise Broken("version")
    numbers = _numbers(text)
    signals = tuple(_signal(numbers[at], numbers[at + 1]) for at in (1, 3, 5, 7))
    tail = numbers[9]
    if tail > 15:
        raise Broken("value")
    scoped: tuple[bool | None, ...] | None = None
    used: bool | None = None
    if len(text) == 12:
        if numbers[11] > 7:
            raise Broken("value")
        three, last = numbers[10], numbers[11]
        scoped = (_bits(three >> 4), _bits(three >> 2 & 3), _bits(three & 3), _bits(last & 3))
        used = last & 4 != 0
    return Gcd(
        signals=signals,
        state=tuple(_state(at, signals, scoped if used else None) for at in range(4)),
        active=tail & 4 != 0,
        gpc=tail & 8 != 0,
        personalization=_SETTING[tail & 3],
        scoped=scoped,
        scoped_used=used,
    )


def _signal(first: int, second: int) -> Signal:
    delegation = first >> 2
    if delegation not in _DELEGATED:
        raise Broken("value")
    return Signal(
        implicit=_bits(first & 3),
        declare=_bits(second >> 4),
        default=_bits(second >> 2 & 3),
        update=_bits(second & 3),
        delegated_to=_DELEGATED[delegation],
    )


def _state(at: int, signals: tuple[Signal, ...], scoped: tuple[bool | None, ...] | None) -> State:
    """The state in force, as the library decides it: the first that is set of update, default, delegate, declare."""
    signal = signals[at]
    said = _set(at, signals, scoped)
    if said is None and signal.delegated_to in TYPES:
        said = _set(_ORDER.index(signal.delegated_to), signals, scoped)
    if said is None:
        said = signal.declare
    if said is not None:
        return "granted" if said else "denied"
    if signal.implicit is not None:
        return "granted-implicit" if signal.implicit else "denied-implicit"
    return "unset"


def _set(at: int, signals: tuple[Signal, ...], scoped: tuple[bool | None, ...] | None) -> bool | None:
    """Update, else the default in force: a container's defaults replace the page's, even where they are silent."""
    if signals[at].update is not None:
        return signals[at].update
    return scoped[at] if scoped is not None else signals[at].default


def _gcs(text: str) -> Gcs:
    if len(text) != 4:
        raise Broken("length")
    if text[:2] != "G1":
        raise Broken("version")
    if text[2] not in _GCS_LETTERS or text[3] not in _GCS_LETTERS:
        raise Broken("value")
    return Gcs(_GCS_LETTERS[text[2]], _GCS_LETTERS[text[3]])


_GCS_LETTERS: Final[dict[str, bool | None]] = {"1": True, "0": False, "-": None}


def _tcfd(text: str) -> Tcfd:
    if len(text) != 5:
        raise Broken("length")
    if text[0] != "1":
        raise Broken("version")
    _, high, low, policy, flags = _numbers(text)
    if flags > 31:
        raise Broken("value")
    return Tcfd(
        cmp_id=high << 6 | low,
        policy_version=policy,
        digital_markets_region=flags & 1 != 0,
        gdpr_applies=flags & 2 != 0,
        support_flag=flags & 4 != 0,
        advertiser_consent_mode=flags & 8 != 0,
        wait_timed_out=flags & 16 != 0,
    )


def _numbers(text: str) -> list[int]:
    try:
        return [_INDEX[letter] for letter in text]
    except KeyError:
        raise Broken("encoding") from None


def _bits(two: int) -> bool | None:
    try:
        return _BITS[two]
    except KeyError:
        raise Broken("value") from None


# ------------------------------------------------------------------ telling


def told_gcd(gcd: Gcd) -> dict[str, object]:
    """A `gcd` text for people. The short form says nothing about container-scoped defaults."""
    out: dict[str, object] = {
        "signals": {
            name: {
                "implicit": signal.implicit,
                "declare": signal.declare,
                "default": signal.default,
                "update": signal.update,
                "delegatedTo": signal.delegated_to,
            }
            for name, signal in zip(TYPES, gcd.signals, strict=True)
        },
        "active": gcd.active,
        "allowAdPersonalizationSignals": gcd.personalization,
    }
    if gcd.scoped is not None:
        out["containerScopedDefaults"] = dict(zip(TYPES, gcd.scoped, strict=True))
        out["usedContainerScopedDefaults"] = gcd.scoped_used
    out["state"] = dict(zip(TYPES, gcd.state, strict=True))
    out["gpcInListedRegion"] = gcd.gpc
    return out


def told_gcs(gcs: Gcs) -> dict[str, object]:
    """A `gcs` text for people: `granted`, `denied` or `unset` for each of its two types."""
    words = {True: "granted", False: "denied", None: "unset"}
    return {"ad_storage": words[gcs.ad_storage], "analytics_storage": words[gcs.analytics_storage]}


def told_tcfd(tcfd: Tcfd) -> dict[str, object]:
    """A `tcfd` text for people."""
    return {
        "version": "1",
        "cmpId": tcfd.cmp_id,
        "policyVersion": tcfd.policy_version,
        "digitalMarketsRegion": tcfd.digital_markets_region,
        "gdprApplies": tcfd.gdpr_applies,
        "tcfSupportFlag": tcfd.support_flag,
        "enableAdvertiserConsentMode": tcfd.advertiser_consent_mode,
        "waitTimedOut": tcfd.wait_timed_out,
    }
