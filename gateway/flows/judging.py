"""Judging: everything one request says about consent -> the site's judgement, and those of destinations that differ.

Most requests carry nothing that has to be decoded: a claim, a receipt, a header. The same of those always gives the same
judgement, which is kept. Strings of strangers are decoded for each request, and only their meaning goes on.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import msgspec

from gateway import consent, places
from gateway.event import Signals
from gateway.purposes import (
    ADVERTISING_PURPOSES,
    ALIASES,
    ALL_PURPOSES,
    EVERYBODY,
    NECESSARY,
    SALE_OR_SHARING,
    TARGETED_ADVERTISING,
    Audience,
    Judgement,
    Regime,
    Step,
)
from gateway.signals import cmp, gpc, registry
from gateway.signals.carried import Carried, Known, StoredChoice
from gateway.signals.cmp_platforms import PLATFORMS
from gateway.signals.cmp_platforms import platform as platform_named

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.event import Claim, Received
    from gateway.settings import Settings, Site
    from gateway.signals.gvl import VendorList

__all__ = ["Judge", "Said", "Verdicts", "consent_problems", "known_for"]


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """What a request says besides its events: headers, cookies, and where it came from.

    `cookie` is the Cookie header as the edge holds it, bytes above ASCII as surrogates. `place` is empty when unknown.
    `read` is where a judge keeps what it read in the cookie, for the request's other events.
    """

    stored: StoredChoice | None = None
    sec_gpc: tuple[str, ...] = ()
    dnt: tuple[str, ...] = ()
    cookie: str = ""
    place: str = ""
    trusted: bool = False
    now_ms: int = 0
    read: list[registry.CookieHeard] = msgspec.field(default_factory=list)


class Verdicts(msgspec.Struct, frozen=True):
    """The site's own judgement of an event; `others` by destination, where it came out otherwise. `noted`: marks."""

    own: Judgement
    others: Mapping[str, Judgement] = {}
    noted: tuple[str, ...] = ()

    @property
    def granted_to_some(self) -> int:
        """Purposes granted to the site or to at least one destination: what an event may still carry before permit()."""
        granted = self.own.granted
        for judgement in self.others.values():
            granted |= judgement.granted
        return granted


class Judge:
    """Judges for one site. `audiences` are those of its destinations by name, but for destinations like everybody."""

    def __init__(
        self,
        site: "Site",
        known: Known,
        audiences: Mapping[str, Audience],
        *,
        places_known: bool,
    ) -> None:
        self._site_regime = Regime(site.regime)
        self._silence_grants = _bits(site.granted_by_default) | NECESSARY
        self._gpc_grant_overrides = site.gpc_grant_overrides
        self._without_rules = frozenset(site.places_without_rules)
        self._places_known = places_known
        self._known = known
        self._audiences = audiences
        self._policies: Final = {
            regime: consent.Policy(
                regime=regime,
                silence_grants=self._silence_grants,
                silence_limit=self._silence_grants if self._site_regime is Regime.NONE else ALL_PURPOSES,
                gpc_grant_overrides=self._gpc_grant_overrides,
            )
            for regime in Regime
        }
        self._kept = lru_cache(maxsize=4096)(self._simply)

    def policy(self, place: str) -> consent.Policy:
        """The rules for visitors of a place."""
        if not self._places_known:
            return self._policies[self._site_regime]
        return self._policies[places.regime_for(self._site_regime, place, self._without_rules)]

    def __call__(self, said: Said, event: "Received | None") -> Verdicts:
        """Judge one event; None: the visitor alone, for whatever is not about an event.

        What strangers wrote into a header is not kept with a judgement: only its meaning is.
        """
        claim = event.claim if event is not None else None
        sec_gpc = gpc.meaning(said.sec_gpc) if said.sec_gpc else ()
        plain = event is None or not (event.signals is not None or event.minor or event.sensitive)
        if plain and not (said.dnt and self._known.dnt) and not (said.cookie and self._reads_cookie(said.cookie)):
            return self._kept(said.stored, sec_gpc, claim, said.trusted, said.place)
        return self._fully(said, sec_gpc, claim, event)

    def neutral(self, said: Said, signals: Signals) -> tuple[int, int, int]:
        """What consent signals say about everybody: purposes granted, denied, and spoken about at all.

        For a choice that is to be recorded; the consent platform's cookie is read with them. A purpose counts as granted,
        or denied, when every audience that a signal speaks to about it hears the same; where they hear different things
        it is only spoken about. What a string permits a vendor by name permits nothing to those who do not hear of it.
        Where silence may grant, there is no difference between void and allowed: there, a refusal for one of them is
        one for all, and nothing is only spoken about.
        """
        policy = self.policy(said.place)
        carried = Carried(
            signals=signals,
            cookie=_octets(said.cookie),
            opt_in=policy.regime is Regime.OPT_IN,
            state=places.us_state(said.place),
            now_ms=said.now_ms,
        )
        heard = registry.hear(carried, self._known)
        granted = denied = ALL_PURPOSES & ~NECESSARY
        spoken = refused = by_name = unheard = 0
        for audience in {EVERYBODY, *self._audiences.values()}:
            statements = registry.read(carried, heard, self._known, audience)
            no = yes = 0
            for statement in statements:
                if statement.step is Step.CONSENT_MODE and self._known.consent_mode != "source":
                    continue  # it speaks to Google alone, and is not how this site tells the choice
                yes |= statement.granted
                by_name |= statement.granted if statement.step is Step.IAB_STRING else 0
                no |= statement.denied | (ADVERTISING_PURPOSES if statement.opted_out & _AGAINST_ADVERTISING else 0)
            yes &= ~no
            spoken |= yes | no
            refused |= no
            unheard |= ~(yes | no)
            granted &= ~no
            denied &= ~yes
        granted &= spoken & ~(by_name & unheard)
        denied &= spoken
        if policy.regime is not Regime.OPT_IN:
            denied = refused & ALL_PURPOSES & ~NECESSARY
            spoken = granted | denied
        return granted, denied, spoken

    def _reads_cookie(self, cookie: str) -> bool:
        known = self._known
        return known.platform is not None or (known.tcf_cookie is not None and known.tcf_cookie in cookie)

    def _simply(
        self,
        stored: StoredChoice | None,
        sec_gpc: tuple[str, ...],
        claim: "Claim | None",
        trusted: bool,
        place: str,
    ) -> Verdicts:
        carried = Carried(
            stored=stored,
            sec_gpc=sec_gpc,
            claim=claim is not None,
            claim_granted=claim.granted if claim is not None else 0,
            claim_denied=claim.denied if claim is not None else 0,
            claim_at_ms=claim.at_ms if claim is not None else None,
            claim_trusted=trusted,
        )
        statements = registry.read(carried, registry.NOTHING, self._known)
        return _verdicts(consent.judge(statements, self.policy(place), place), {}, ())

    def _fully(self, said: Said, sec_gpc: tuple[str, ...], claim: "Claim | None", event: "Received | None") -> Verdicts:
        policy = self.policy(said.place)
        carried = Carried(
            stored=said.stored,
            sec_gpc=sec_gpc,
            dnt=said.dnt,
            claim=claim is not None,
            claim_granted=claim.granted if claim is not None else 0,
            claim_denied=claim.denied if claim is not None else 0,
            claim_at_ms=claim.at_ms if claim is not None else None,
            claim_trusted=said.trusted,
            signals=event.signals if event is not None else None,
            cookie=said.cookie,
            minor=event.minor if event is not None else False,
            sensitive=event.sensitive if event is not None else (),
            sensitive_agreed=claim is not None and claim.sensitive,
            opt_in=policy.regime is Regime.OPT_IN,
            state=places.us_state(said.place),
            now_ms=said.now_ms,
        )
        if not said.read:
            said.read.append(registry.hear_cookie(_octets(said.cookie), self._known))
        heard = registry.hear(carried, self._known, said.read[0])
        own = consent.judge(registry.read(carried, heard, self._known), policy, said.place)
        others: dict[str, Judgement] = {}
        if heard.speaks_to_some:
            found: dict[Audience, Judgement] = {}
            for name, audience in self._audiences.items():
                if audience not in found:
                    statements = registry.read(carried, heard, self._known, audience)
                    found[audience] = consent.judge(statements, policy, said.place)
                if found[audience] != own:
                    others[name] = found[audience]
        return _verdicts(own, others, heard.noted)


_AGAINST_ADVERTISING: Final = SALE_OR_SHARING | TARGETED_ADVERTISING


def _verdicts(own: Judgement, others: Mapping[str, Judgement], noted: tuple[str, ...]) -> Verdicts:
    if own.conflict or any(judgement.conflict for judgement in others.values()):
        noted = (*noted, "consent_conflict")
    return Verdicts(own, others, noted)


def _octets(cookie: str) -> str:
    """A Cookie header as it was sent, one character an octet: what readers of consent platforms' cookies take."""
    if cookie.isascii():
        return cookie
    return cookie.encode("utf-8", "surrogateescape").decode("latin-1")


def _bits(purposes: "Sequence[str]") -> int:
    bits = 0
    for name in purposes:
        bits |= ALIASES.get(name, 0)
    return bits


# ------------------------------------------------------------------ from settings


def known_for(site: "Site", lists: "Mapping[int, VendorList]") -> Known:
    """What the operator decided about signals of one site. `lists` is kept, not copied: new vendor lists join it later."""
    configured = site.consent_platform
    platform = platform_named(configured.name) if configured is not None else None
    mapping = None
    names: dict[str, str] = {}
    notice = None
    if configured is not None and platform is not None:
        mapping = cmp.mapping_of(configured.mapping) if configured.mapping is not None else None
        names = {platform.names[0]: configured.cookie} if configured.cookie and platform.names else {}
        notice = str(configured.revision) if configured.revision is not None else None
    return Known(
        platform=platform,
        mapping=mapping,
        names=names,
        notice=notice,
        tcf_cookie=site.tcf_cookie or None,
        lists=lists,
        tc_days=site.tc_days,
        purpose_one_countries=frozenset(site.purpose_one_countries),
        functional_custom=site.functional_custom_purpose,
        consent_mode=site.consent_mode,
        dnt=site.do_not_track,
    )


def consent_problems(settings: "Settings") -> list[str]:
    """What is wrong with the consent settings of all sites: places, platforms."""
    problems = []
    for site in settings.site:
        problems += [
            f"site {site.id}: places_without_rules: {place} has a law that asks for consent or gives a right to object"
            for place in site.places_without_rules
            if places.has_law(place)
        ]
        configured = site.consent_platform
        if configured is None:
            continue
        where = f"site {site.id}: consent_platform"
        platform = platform_named(configured.name)
        if platform is None:
            problems.append(f"{where}: name: there is no platform of this name; there are {', '.join(PLATFORMS)}")
            continue
        if configured.mapping is not None:
            try:
                cmp.mapping_of(configured.mapping)
            except ValueError as error:
                problems.append(f"{where}: mapping: {error}")
        elif not platform.mapping:
            problems.append(f"{where}: mapping: sites name the categories of {platform.title} themselves; map them")
        if configured.cookie and not platform.may_rename:
            problems.append(f"{where}: cookie: {platform.title} always uses its own name")
    return problems
