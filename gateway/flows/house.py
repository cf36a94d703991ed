"""The house: every room of a running gateway, bound to its settings, in one value that flows receive.

Built once at the start by `build()`, which also refuses what settings alone cannot see: unknown platforms, options a
platform does not have, a webhook without declared purposes.
"""

import asyncio
from collections.abc import Callable, Mapping
from functools import cache, lru_cache
from pathlib import Path
from typing import Final

import msgspec
from publicsuffixlist import PublicSuffixList

from gateway import access, identity, outbound
from gateway.caller import ApiKey
from gateway.clock import Clock
from gateway.destinations.definition import Context, Destination
from gateway.destinations.registry import DESTINATIONS, configure
from gateway.entropy import Entropy
from gateway.errors import Busy, SettingsError
from gateway.event import Recordable
from gateway.flows.addresses import link_problems
from gateway.flows.click_memory import ClickMemory
from gateway.flows.credit_state import Crediting
from gateway.flows.inferring import ClickGuesses
from gateway.flows.judging import Judge, consent_problems, known_for
from gateway.flows.lines import Lines
from gateway.flows.pulse import Pulse
from gateway.flows.shelves import Shelf
from gateway.flows.spool import ClickSpool
from gateway.flows.supplies import Supplies
from gateway.ids import EVENT_ID_BYTES, RANDOM_ID_BYTES, event_id, random_id
from gateway.purposes import ADVERTISING, ALIASES, ANALYTICS, EVERYBODY, Needs
from gateway.schedule import Bucket
from gateway.settings import DestinationSettings, Secret, Settings, Site, placeholder
from gateway.signals.gvl import VendorList
from gateway.stores.contract import Store
from gateway.telemetry import Telemetry
from gateway.times import year_of
from gateway.vault import Vault

__all__ = ["House", "Placed", "SiteRooms", "allowed_hosts", "build", "placed_of", "vendors_of"]

_WITHDRAWALS_KEPT: Final = 10_000
_BUCKETS_KEPT: Final = 50_000
_SAID_MAX: Final = 300
"""Characters of an Origin or Referer that can matter: scheme, a host of at most 253, a port. Answers are kept by them."""


class Placed(msgspec.Struct, frozen=True, kw_only=True):
    """One configured destination of one site."""

    name: str
    definition: Destination
    needs: Needs
    options: Mapping[str, object]
    secrets: Mapping[str, str]
    events: frozenset[str]
    enabled: bool
    send_bots: bool
    send_tests: bool
    restricted: bool = False

    def __repr__(self) -> str:
        return f"Placed({self.name!r})"


class SiteRooms(msgspec.Struct, frozen=True, kw_only=True):
    """One site with what was worked out from its settings."""

    site: Site
    keys: identity.Keys
    shape: identity.CookieShape
    id_cookie: str
    consent_cookie: str
    click_cookie: str
    id_needs: int
    domains: tuple[str, ...]
    own_domains: frozenset[str]
    link_targets: tuple[str, ...]
    conversion_events: frozenset[str]
    destinations: tuple[Placed, ...]
    wanted: Mapping[str, tuple[Placed, ...]]
    judge: Judge
    allows: Callable[[str], bool]
    visitor_key: Callable[[str], bytes]

    @property
    def id(self) -> str:
        """The site's id."""
        return self.site.id


class House(msgspec.Struct, kw_only=True):
    """Everything a flow may need. `recent_refusals` is a bounded memory of what visitors refused since the start.

    `clicks` is what is remembered of clicks on links, `spool` keeps those the store could not take in time. `supplies`
    is what the operator's own files say: vendor lists, places of addresses.
    """

    settings: Settings
    by_host: Mapping[str, SiteRooms]
    by_id: Mapping[str, SiteRooms]
    by_link_host: Mapping[str, SiteRooms]
    spool: ClickSpool
    store: Store
    vault: Vault
    outbound: outbound.Outbound
    telemetry: Telemetry
    clock: Clock
    entropy: Entropy
    started_at_s: int
    supplies: Supplies
    api_keys: dict[str, ApiKey] = {}
    buckets: dict[str, Bucket] = {}
    used_links: dict[bytes, int] = {}
    recent_refusals: dict[bytes, int] = {}
    erased: dict[bytes, int] = {}
    erasures: int = 0
    lanes: dict[tuple[str, str], asyncio.Event] = {}
    lane_openers: dict[str, asyncio.Event] = {}
    postbacks: dict[tuple[str, str], tuple[float, int]] = {}
    guesses: ClickGuesses = msgspec.field(default_factory=ClickGuesses)
    shelves: dict[str, Shelf] = {}
    pulses: dict[str, Pulse] = {}
    clicks: ClickMemory = msgspec.field(default_factory=ClickMemory)
    crediting: Crediting = msgspec.field(default_factory=Crediting)
    lines: dict[str, Lines] = {}

    def new_event_id(self) -> str:
        """Make an event id."""
        return event_id(self.clock.now_ms(), self.entropy.token_bytes(EVENT_ID_BYTES))

    def new_visitor_id(self) -> str:
        """Make a first-party id: 128 random bits."""
        return random_id(self.entropy.token_bytes(RANDOM_ID_BYTES))

    def limit_browser(self, site: str, address: str) -> None:
        """Take one from the bucket of an address's network on a site. Raises Busy `rate_limited`.

        The table is bounded: when it is full, the networks that were seen first are forgotten, and start afresh.
        """
        key = f"{site}|{identity.truncated_address(address)}"
        now_s = self.clock.monotonic_s()
        bucket = self.buckets.get(key)
        if bucket is None:
            if len(self.buckets) >= _BUCKETS_KEPT:
                for old in list(self.buckets)[: _BUCKETS_KEPT // 10]:
                    del self.buckets[old]
            bucket = self.buckets[key] = Bucket(self.settings.limits.browser_per_minute, now_s)
        wait_s = bucket.take(now_s)
        if wait_s:
            raise Busy("rate_limited", retry_after_s=int(wait_s) + 1)

    def place_of(self, said: str, address: str | None) -> str:
        """The coarse place of a visitor: what a trusted proxy said, or what the database knows of the address."""
        source = self.settings.places.source
        if source == "header":
            return said
        if source == "database" and address:
            return self.supplies.locate(address)
        return ""

    def nudge(self, site: str, destination: str) -> None:
        """Tell the worker of a destination that something is due, or who starts one when it has none yet."""
        lane = self.lanes.get((site, destination)) or self.lane_openers.get(site)
        if lane is not None:
            lane.set()

    def wake_credit(self) -> None:
        """Tell the worker that credits that a conversion was counted."""
        self.crediting.wake.set()

    def stored(self, site: str, item: Recordable, fate: str) -> None:
        """Count what a durable record owes, and wake whoever has something to do. `fate` is that of its `Recorded`.

        Repeats and conflicts owe nothing: what the first was owed is under way already.
        """
        if fate == "counted":
            self.wake_credit()
        elif fate != "recorded":
            return
        for owed in item.owed:
            self.telemetry.delivery_owed(site, owed.destination, owed.fate)
            if owed.fate == "waiting":
                self.nudge(site, owed.destination)

    def remember_refusals(self, subject_key: bytes, denied: int) -> None:
        """Keep what a subject refuses now, so that events already on their way meet it."""
        self.recent_refusals.pop(subject_key, None)
        if denied:
            self.recent_refusals[subject_key] = denied
        while len(self.recent_refusals) > _WITHDRAWALS_KEPT:
            del self.recent_refusals[next(iter(self.recent_refusals))]

    def remember_erasure(self, subject_key: bytes) -> None:
        """Keep that a subject is being erased, so that what was read of them before is not acted on afterwards."""
        self.erasures += 1
        self.erased.pop(subject_key, None)
        self.erased[subject_key] = self.erasures
        while len(self.erased) > _WITHDRAWALS_KEPT:
            del self.erased[next(iter(self.erased))]

    def erased_since(self, mark: int, *subject_keys: bytes | None) -> bool:
        """Whether one of the subjects was erased after the count of erasures stood at `mark`."""
        if self.erasures == mark:
            return False
        return any(key is not None and self.erased.get(key, 0) > mark for key in subject_keys)

    def context(self, rooms: SiteRooms, placed: Placed, now_ms: int) -> Context:
        """What rendering for one destination may know."""
        return Context(
            site=rooms.id,
            options=placed.options,
            now_ms=now_ms,
            year=year_of(now_ms),
            calling_code=rooms.site.calling_code or None,
            currency=rooms.site.currency or None,
        )


def placed_of(site: Site) -> tuple[Placed, ...]:
    """The destinations of a site, faulty ones left out: `problems_of()` names what is wrong with them."""
    return tuple(place for destination in site.destination if (place := _place(site, destination, [])) is not None)


def vendors_of(settings: Settings) -> frozenset[int]:
    """Numbers in the IAB vendor list that some destination has."""
    found: set[int] = set()
    for site in settings.site:
        for destination in site.destination:
            definition = DESTINATIONS.get(destination.platform)
            own = definition.needs.audience.tcf_vendor if definition is not None else None
            number = destination.tcf_vendor if destination.tcf_vendor is not None else own
            if number is not None:
                found.add(number)
    return frozenset(found)


def allowed_hosts(settings: Settings) -> frozenset[str]:
    """Host names that outgoing requests may go to: those of the definitions in use, and the operator's webhooks."""
    hosts: set[str] = set()
    for site in settings.site:
        for destination in site.destination:
            definition = DESTINATIONS.get(destination.platform)
            if definition is None:
                continue
            hosts.update(definition.hosts)
            url = destination.options.get("url")
            if not definition.hosts and isinstance(url, str):
                hosts.add(url.removeprefix("https://").partition("/")[0].rpartition("@")[2].partition(":")[0].lower())
    return frozenset(hosts)


def build(
    settings: Settings,
    *,
    store: Store,
    vault: Vault,
    out: outbound.Outbound,
    telemetry: Telemetry,
    clock: Clock,
    entropy: Entropy,
    supplies: Supplies | None = None,
) -> House:
    """Bind the rooms. `supplies` is what the operator's files say, nothing by default. Raises SettingsError."""
    problems: list[str] = [*consent_problems(settings), *link_problems(settings)]
    supplies = supplies or Supplies()
    by_id: dict[str, SiteRooms] = {}
    by_host: dict[str, SiteRooms] = {}
    by_link_host: dict[str, SiteRooms] = {}
    suffixes = _public_suffixes()
    for site in settings.site:
        rooms = _site_rooms(site, vault, suffixes, supplies.lists, settings.places.source != "off", problems)
        by_id[site.id] = rooms
        for host in site.hosts:
            by_host[host] = rooms
        for host in site.links.hosts:
            by_link_host[host] = rooms
    if problems:
        raise SettingsError(problems)
    return House(
        settings=settings,
        by_host=by_host,
        by_id=by_id,
        by_link_host=by_link_host,
        spool=ClickSpool(Path(settings.data.dir), vault),
        store=store,
        vault=vault,
        outbound=out,
        telemetry=telemetry,
        clock=clock,
        entropy=entropy,
        started_at_s=clock.now_ms() // 1000,
        supplies=supplies,
    )


def problems_of(settings: Settings) -> list[str]:
    """Every problem the destinations of all sites have, without building anything: for `gateway check`."""
    problems: list[str] = [*consent_problems(settings), *link_problems(settings)]
    for site in settings.site:
        for destination in site.destination:
            _place(site, destination, problems)
    return problems


@cache
def _public_suffixes() -> PublicSuffixList:
    """The list that comes with the library: ten thousand lines, read once a process."""
    return PublicSuffixList()


def _site_rooms(
    site: Site,
    vault: Vault,
    suffixes: PublicSuffixList,
    lists: Mapping[int, VendorList],
    places_known: bool,
    problems: list[str],
) -> SiteRooms:
    shape = identity.CookieShape(site.cookie_domain)
    if site.cookie_domain and suffixes.privatesuffix(site.cookie_domain) is None:
        problems.append(f"site {site.id}: cookie_domain: {site.cookie_domain} is a public suffix, shared by strangers")
    domains = site.domains or tuple(
        dict.fromkeys(
            suffixes.privatesuffix(host) or host for host in site.hosts if not host.replace(".", "").isdigit()
        )
    )
    placed = tuple(
        place for destination in site.destination if (place := _place(site, destination, problems)) is not None
    )
    wanted: dict[str, tuple[Placed, ...]] = {}
    for place in placed:
        if place.enabled:
            for name in place.events:
                wanted[name] = (*wanted.get(name, ()), place)
    judge = Judge(
        site,
        known_for(site, lists),
        {place.name: place.needs.audience for place in placed if place.needs.audience != EVERYBODY},
        places_known=places_known,
    )

    @lru_cache(maxsize=1024)
    def names_page(said: str) -> bool:
        host = access.origin_host(said)
        return access.allowed_domain(host, domains) or host in site.hosts

    def allows(said: str) -> bool:
        """Whether an Origin or Referer names a page of the site, or the gateway's own host."""
        return names_page(said[:_SAID_MAX])

    @lru_cache(maxsize=identity.IDS_KEPT)
    def visitor_key(visitor_id: str) -> bytes:
        """The keyed digest under which the store knows a visitor."""
        return vault.digest("visitor", site.id, visitor_id)

    return SiteRooms(
        site=site,
        keys=identity.Keys(site.id, vault.signing_keys("identity", site.id), vault.signing_keys("link", "")),
        shape=shape,
        id_cookie=identity.cookie_name(shape, identity.ID_COOKIE),
        consent_cookie=identity.cookie_name(shape, identity.CONSENT_COOKIE),
        click_cookie=identity.cookie_name(shape, identity.CLICK_COOKIE),
        id_needs=ADVERTISING if site.id_needs == "advertising" else ANALYTICS,
        domains=domains,
        own_domains=frozenset(
            host.removeprefix("www.") for host in (*domains, *site.linked_domains, *site.hosts, *site.links.hosts)
        ),
        link_targets=(*domains, *site.links.targets),
        conversion_events=frozenset(site.conversion_events),
        destinations=placed,
        wanted=wanted,
        judge=judge,
        allows=allows,
        visitor_key=visitor_key,
    )


def _named(purposes: tuple[str, ...]) -> int:
    bits = 0
    for name in purposes:
        bits |= ALIASES.get(name, 0)
    return bits


def _place(site: Site, settings: DestinationSettings, problems: list[str]) -> Placed | None:
    where = f"site {site.id}, destination {settings.name}"
    definition = DESTINATIONS.get(settings.platform)
    if definition is None:
        problems.append(f"{where}: there is no platform of this name; there are {', '.join(DESTINATIONS)}")
        return None
    given = {name: value for name, value in settings.options.items() if not isinstance(value, Secret)}
    secrets = {name: value.reveal() for name, value in settings.options.items() if isinstance(value, Secret)}
    configured = configure(definition, given, secrets)
    problems += [f"{where}: {problem}" for problem in configured.problems]
    problems += [
        f"{where}: {name} is still a placeholder" for name, text in configured.secrets.items() if placeholder(text)
    ]
    if definition.slug == "webhook" and "signing_secret" in configured.secrets:
        try:
            outbound.webhook_keys(configured.secrets["signing_secret"])
        except ValueError as error:
            problems.append(f"{where}: signing_secret: {error}")
    needs = definition.needs
    if settings.purposes is not None:
        needs = msgspec.structs.replace(needs, base=needs.base | _named(settings.purposes))
    if settings.tcf_vendor is not None or settings.ac_provider is not None:
        # A vendor is found in one of the two lists: what the operator names replaces what the platform brings.
        audience = msgspec.structs.replace(
            needs.audience, tcf_vendor=settings.tcf_vendor, ac_provider=settings.ac_provider
        )
        needs = msgspec.structs.replace(needs, audience=audience)
    if settings.opted_out == "restricted" and not needs.restricted:
        problems.append(f"{where}: opted_out: {definition.title} has no restricted mode that is known; use withhold")
    if not needs.base:
        problems.append(
            f"{where}: purposes: declare what the receiver uses the events for, such as analytics or advertising"
        )
    return Placed(
        name=settings.name,
        definition=definition,
        needs=needs,
        options=configured.options,
        secrets=configured.secrets,
        events=frozenset(settings.events if settings.events is not None else definition.default_events),
        enabled=settings.enabled,
        send_bots=settings.send_bots,
        send_tests=settings.send_tests,
        restricted=settings.opted_out == "restricted",
    )
