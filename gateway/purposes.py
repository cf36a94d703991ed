"""The words of consent: purposes, regimes, what a signal says, what was judged, what a destination needs.

A set of purposes is an integer with one bit per purpose, so that "granted and not denied" is one machine operation and
a judgement costs microseconds. `names()` and `mask()` translate for people, JSON and columns.

Source: the gateway's consent rules, `docs/explanation/consent.md`; purposes follow Google's consent types and IAB TCF.
"""

from enum import Enum, IntEnum
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = [
    "ADVERTISING",
    "ADVERTISING_PURPOSES",
    "AD_PERSONALIZATION",
    "AD_USER_DATA",
    "ALIASES",
    "ALL_PURPOSES",
    "ANALYTICS",
    "EVERYBODY",
    "FUNCTIONAL",
    "NECESSARY",
    "PURPOSES",
    "RIGHTS",
    "SALE_OR_SHARING",
    "SENSITIVE",
    "SENTENCES",
    "SOURCES",
    "TARGETED_ADVERTISING",
    "Audience",
    "Group",
    "Judgement",
    "Needs",
    "Regime",
    "Ruling",
    "Statement",
    "Step",
    "mask",
    "names",
]

NECESSARY: Final = 1
FUNCTIONAL: Final = 2
ANALYTICS: Final = 4
ADVERTISING: Final = 8
AD_USER_DATA: Final = 16
AD_PERSONALIZATION: Final = 32

ADVERTISING_PURPOSES: Final = ADVERTISING | AD_USER_DATA | AD_PERSONALIZATION
ALL_PURPOSES: Final = 63

PURPOSES: Final[dict[str, int]] = {
    "necessary": NECESSARY,
    "functional": FUNCTIONAL,
    "analytics": ANALYTICS,
    "advertising": ADVERTISING,
    "ad_user_data": AD_USER_DATA,
    "ad_personalization": AD_PERSONALIZATION,
}
"""The closed list of purposes. `advertising` is storage, attribution and measurement on ad platforms; `ad_user_data` is
sending user-level data to an ad platform; `ad_personalization` is profiles and remarketing."""

ALIASES: Final[dict[str, int]] = {
    **PURPOSES,
    "security_storage": NECESSARY,
    "functionality_storage": FUNCTIONAL,
    "personalization_storage": FUNCTIONAL,
    "analytics_storage": ANALYTICS,
    "ad_storage": ADVERTISING,
    "marketing": ADVERTISING_PURPOSES,
}
"""Names a site owner may write: ours, Google's consent types, and `marketing` for the three advertising purposes."""

SALE_OR_SHARING: Final = 1
TARGETED_ADVERTISING: Final = 2
PROFILING: Final = 4
SENSITIVE_DATA: Final = 8

RIGHTS: Final[dict[str, int]] = {
    "sale_or_sharing": SALE_OR_SHARING,
    "targeted_advertising": TARGETED_ADVERTISING,
    "profiling": PROFILING,
    "sensitive_data": SENSITIVE_DATA,
}
"""Opt-out rights of US state laws. A set bit means: the visitor has opted out."""

SENSITIVE: Final[dict[str, str]] = {
    "race": "racial or ethnic origin",
    "religion": "religious or philosophical beliefs",
    "health": "mental or physical health",
    "sexual_orientation": "sex life or sexual orientation",
    "citizenship": "citizenship or immigration status",
    "genetic": "genetic data",
    "biometric": "biometric data that identifies a person",
    "precise_location": "precise location",
    "identity_documents": "numbers of identity documents",
    "account_access": "data that gives access to a financial or other account",
    "union_membership": "membership of a union",
    "message_content": "content of mail and messages",
    "consumer_health": "consumer health data",
    "crime_victim": "status as victim of a crime",
    "national_origin": "national origin",
    "transgender": "status as transgender or non-binary",
}
"""Categories of sensitive data: the closed list, and what each means. Events that tell one are not used for advertising
without an explicit yes to that."""

_NAMES: Final = tuple(
    tuple(name for name, bit in PURPOSES.items() if purposes & bit) for purposes in range(ALL_PURPOSES + 1)
)


def names(purposes: int) -> tuple[str, ...]:
    """Names of the purposes in a set, in the order of the closed list."""
    return _NAMES[purposes & ALL_PURPOSES]


def mask(purposes: "Iterable[str]") -> int:
    """Set of the named purposes. Raises KeyError on a name outside the closed list."""
    bits = 0
    for name in purposes:
        bits |= PURPOSES[name]
    return bits


class Regime(Enum):
    """What the law of the visitor's place makes of silence."""

    OPT_IN = "opt_in"
    """Nothing but what is necessary without a yes. EEA, UK and every unknown place."""
    OPT_OUT_SIGNAL = "opt_out_signal"
    """Allowed until the visitor objects; a browser signal such as Global Privacy Control is a binding objection."""
    OPT_OUT = "opt_out"
    """Allowed until the visitor objects; no statute names browser signals, they are honoured anyway."""
    NONE = "none"
    """Places the operator names; silence means what the operator set."""


class Step(IntEnum):
    """The eight steps of precedence. The first that says no wins, and its name is kept with the event."""

    BLOCKED = 1
    STORED_REFUSAL = 2
    OPT_OUT_SIGNAL = 3
    IAB_STRING = 4
    OWN_CHOICE = 5
    CONSENT_MODE = 6
    STORED_GRANT = 7
    REGIME_DEFAULT = 8


class Statement(msgspec.Struct, frozen=True):
    """What one signal says. Purposes in neither set are unset: silence, which is never a yes.

    `source` names the signal: a key of SOURCES. `at_ms` is when the choice was made,
    None when the signal does not say; `trusted_time` tells whether that time can be believed (it was signed by us or
    sent by an authenticated backend). `opted_out` holds bits of RIGHTS.
    """

    step: Step
    source: str
    granted: int = 0
    denied: int = 0
    at_ms: int | None = None
    trusted_time: bool = False
    opted_out: int = 0


class Ruling(msgspec.Struct, frozen=True, array_like=True):
    """Why some purposes ended granted or denied: the step that decided, and the signal it took this from."""

    purposes: int
    granted: bool
    step: int
    source: str


class Judgement(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was decided for one event, before any destination is looked at.

    `granted` is complete: a purpose outside it is denied. `rulings` cover every purpose exactly once. `heard` names the
    signals that were read. `opted_out` holds bits of RIGHTS; `opted_out_only` are the purposes that such an opt-out refused
    and nothing else did. `conflict` are purposes on which signals of the same step said yes and no; they are denied.
    `rules` is the version of the rules that judged.
    """

    regime: str
    granted: int
    rulings: tuple[Ruling, ...]
    rules: str
    place: str = ""
    heard: tuple[str, ...] = ()
    opted_out: int = 0
    opted_out_only: int = 0
    conflict: int = 0


class Group(Enum):
    """Parts of an event that a destination may be allowed to see separately."""

    IDENTIFIERS = "identifiers"
    """First-party id, platform browser ids, click ids."""
    CONTACT = "contact"
    """What identifies a person: e-mail, phone, name, address, external id. Leaves hashed, if at all."""
    DEVICE = "device"
    """Address and user agent."""
    PAGE = "page"
    """Page address, title, referrer, campaign parameters."""
    VALUE = "value"
    """Value, currency, order id, items, properties."""


class Audience(msgspec.Struct, frozen=True):
    """To whom a signal may speak. Some signals speak to one kind of destination only.

    `tcf_vendor` and `ac_provider` are the destination's numbers in the IAB vendor list and in Google's additional consent
    list, None where it has none or none was confirmed. `google`: Google's consent mode is addressed to it.
    """

    tcf_vendor: int | None = None
    ac_provider: int | None = None
    google: bool = False


EVERYBODY: Final = Audience()
"""The site itself, and destinations no signal addresses by name."""


class Needs(msgspec.Struct, frozen=True):
    """What a destination needs before it may see anything, and before it may see each group of fields.

    `base`: all of these purposes must be granted, else the event is withheld whole. `groups`: purposes each group needs
    on top; a group that is missing here follows `base`. `audience` says which signals speak to the destination besides
    those that speak to everybody. `restricted`: the vendor offers a restricted mode for visitors who opted out.
    """

    base: int
    groups: "Mapping[Group, int]"
    audience: Audience = EVERYBODY
    restricted: bool = False


SOURCES: Final[dict[str, str]] = {
    "minor": "the event says that the person is under age",
    "gpp_minor": "the GPP string says that the visitor is a child without a parent's consent",
    "sensitive": "the event tells sensitive data, and nobody agreed to its use for advertising",
    "receipt": "the choice recorded by this gateway",
    "sec_gpc": "Global Privacy Control",
    "gpp": "the GPP string",
    "gpp_sensitive": "the GPP string permits no use of the sensitive data this event tells",
    "us_privacy": "the US Privacy string",
    "tcf": "the TC string",
    "tcf_no_list": "the TC string, judged without the vendor list it names",
    "ac": "the additional consent string",
    "claim": "the page",
    "backend": "the owner's backend",
    "platform": "the consent platform's cookie",
    "bridge": "the consent platform's own interface, asked by the page",
    "consent_mode": "Google's consent mode",
    "dnt": "Do Not Track",
    "exempt": "no consent is needed",
    **{regime.value: f"the rules of the place ({regime.value})" for regime in Regime},
}
"""Every signal that can decide, and what it is called in a sentence."""

SENTENCES: Final[dict[Step, tuple[str, str]]] = {
    Step.BLOCKED: ("", "the person is blocked: erased, or too young for this purpose"),
    Step.STORED_REFUSAL: ("", "the visitor refused, withdrew or objected earlier, and no later choice is known"),
    Step.OPT_OUT_SIGNAL: ("", "the browser sent an opt-out signal with this request"),
    Step.IAB_STRING: ("the consent string permits it", "the consent string does not permit it"),
    Step.OWN_CHOICE: (
        "the visitor's choice on this site permits it",
        "the visitor's choice on this site does not permit it",
    ),
    Step.CONSENT_MODE: ("consent mode permits it", "consent mode denies it"),
    Step.STORED_GRANT: ("the visitor agreed earlier, and the agreement still holds", ""),
    Step.REGIME_DEFAULT: (
        "nothing was said, and the rules of the place allow it then",
        "nothing was said, and the rules of the place forbid it then",
    ),
}
"""For each step: the sentence when it granted, the sentence when it denied."""
