"""The table of settings: name, type, default, bounds, unit and help of everything an operator can set, in one place.

`config/reference.toml` and `docs/reference/settings.md` are generated from it.
"""

from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from gateway.settings.intake import Abandoned, NumberSettings, WebhookSettings
from gateway.settings.kinds import EventName, HeaderName, HostName, Port, Secret, Slug
from gateway.settings.kinds import row as _row

__all__ = [
    "Consent",
    "ConsentPlatform",
    "Data",
    "Delivery",
    "DestinationRows",
    "DestinationSettings",
    "Limits",
    "Links",
    "Listen",
    "Log",
    "Places",
    "Proxy",
    "Reports",
    "Retention",
    "Secret",
    "Settings",
    "Site",
    "Uploads",
]

ParameterName = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,29}\Z")]
Scheme = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9+.-]{0,30}\Z")]


class Listen(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the gateway listens. Put a TLS-terminating proxy in front of the collection listener."""

    host: Annotated[str, _row("Address of the collection listener.")] = "127.0.0.1"
    port: Annotated[Port, _row("Port of the collection listener; 0 takes a free one.", "port")] = 8080
    admin_host: Annotated[str, _row("Address of the admin listener. Keep it on loopback or a private network.")] = (
        "127.0.0.1"
    )
    admin_names: Annotated[
        tuple[str, ...], _row("Host names the admin listener answers to, besides localhost and addresses.")
    ] = ()
    admin_port: Annotated[Port, _row("Port of the admin listener; 0 takes a free one.", "port")] = 8081


class Data(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where things are kept."""

    dir: Annotated[str, _row("Directory of the database, the keys and the control socket, mode 0700.")] = (
        "/var/lib/gateway"
    )
    reserve_bytes: Annotated[
        Annotated[int, Meta(ge=0)],
        _row(
            "Size of a reserve file that is freed when the disk is full, so that withdrawals can still be stored.",
            "bytes",
        ),
    ] = 16_777_216
    appender: Annotated[
        Literal["auto", "always", "never"],
        _row(
            "When a second process writes page views, clicks and other plain events: `auto` while many arrive, `always`, `never`. "
            "It takes about 25 MB of memory and serves half as much again."
        ),
    ] = "auto"


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How much the gateway takes at once. Everything over a limit is refused with a stable code."""

    body_max_bytes: Annotated[Annotated[int, Meta(ge=1024, le=16_777_216)], _row("Largest browser body.", "bytes")] = (
        65_536
    )
    batch_body_max_bytes: Annotated[
        Annotated[int, Meta(ge=1024, le=67_108_864)], _row("Largest API body.", "bytes")
    ] = 524_288
    batch_events_max: Annotated[Annotated[int, Meta(ge=1, le=1000)], _row("Most events in one request.", "events")] = (
        100
    )
    connections_max: Annotated[
        Annotated[int, Meta(ge=1)], _row("Most open connections of the collection listener.", "connections")
    ] = 2_000
    header_timeout_s: Annotated[
        Annotated[float, Meta(gt=0, le=120)], _row("Time for a request's headers to arrive.", "seconds")
    ] = 10.0
    body_timeout_s: Annotated[
        Annotated[float, Meta(gt=0, le=120)], _row("Time for a request's body to arrive.", "seconds")
    ] = 10.0
    keepalive_s: Annotated[
        Annotated[float, Meta(gt=0, le=3600)], _row("Idle time before a connection is closed.", "seconds")
    ] = 75.0
    store_timeout_s: Annotated[
        Annotated[float, Meta(gt=0, le=60)],
        _row("Time a request waits for its commit before it is answered 503.", "seconds"),
    ] = 5.0
    waiting_max: Annotated[
        Annotated[int, Meta(ge=1)],
        _row("Most records waiting for a commit; more are answered 503.", "records"),
    ] = 10_000
    browser_per_minute: Annotated[
        Annotated[int, Meta(ge=1)],
        _row("Browser requests per truncated address (/24, /56) and site.", "requests per minute"),
    ] = 1_200
    api_per_minute: Annotated[Annotated[int, Meta(ge=1)], _row("API requests per key.", "requests per minute")] = 6_000


class Uploads(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How much one file may hold. Files are read as they arrive, so large ones cost time, not memory."""

    max_bytes: Annotated[
        Annotated[int, Meta(ge=1024, le=17_179_869_184)], _row("Largest file of conversions, unpacked.", "bytes")
    ] = 268_435_456
    rows_max: Annotated[Annotated[int, Meta(ge=1, le=100_000_000)], _row("Most rows of it.", "rows")] = 1_000_000
    chunk_timeout_s: Annotated[
        Annotated[float, Meta(gt=0, le=600)],
        _row("Longest wait for the next piece of a file; the whole may take as long as it takes.", "seconds"),
    ] = 30.0
    spend_max_bytes: Annotated[
        Annotated[int, Meta(ge=1024, le=67_108_864)],
        _row("Largest file of what was spent. It is read as a whole.", "bytes"),
    ] = 8_388_608
    spend_rows_max: Annotated[Annotated[int, Meta(ge=1, le=1_000_000)], _row("Most rows of it.", "rows")] = 100_000


class Proxy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What stands in front, and what it is believed."""

    trusted: Annotated[
        tuple[str, ...],
        _row("Networks of proxies whose forwarding header is believed. Empty: the peer address is the client."),
    ] = ()
    header: Annotated[
        Literal["x-forwarded-for", "forwarded"],
        _row("The one header read from trusted proxies, from its right end."),
    ] = "x-forwarded-for"


class Log(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Logging. JSON lines on standard error."""

    level: Annotated[Literal["info", "warning", "error"], _row("Least severe level that is written.")] = "info"
    browser_sample: Annotated[
        Annotated[int, Meta(ge=0)],
        _row("One browser hit in this many gets its own line; 0 writes none. The sum is written every minute.", "hits"),
    ] = 1_000
    refusals_per_minute: Annotated[
        Annotated[int, Meta(ge=0)],
        _row("Refused requests that get a line of their own; the rest is summed. 0: all of them.", "lines"),
    ] = 600


class Places(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a visitor's coarse place is found. It only makes a site's regime stricter; with a source, unknown is opt_in."""

    source: Annotated[
        Literal["off", "header", "database"],
        _row("off: every visitor gets the site's own regime. header: a trusted proxy says. database: a file is asked."),
    ] = "off"
    header: Annotated[
        HeaderName, _row("Header in which a trusted proxy puts the country, ISO 3166-1, two letters.")
    ] = "cf-ipcountry"
    region_header: Annotated[
        Annotated[str, Meta(pattern=r"^[a-z0-9-]{0,60}\Z")],
        _row("Header in which it puts the state or province, ISO 3166-2; empty: none."),
    ] = ""
    database: Annotated[
        str, _row("File in MaxMind's format (.mmdb) with country and subdivisions; it is read again when it changes.")
    ] = ""


class Consent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What reading consent signals needs besides the sites' own rows."""

    gvl_dir: Annotated[
        str,
        _row(
            "Directory of IAB vendor lists, vendor-list-v123.json, each version kept. Empty: gvl in the data directory. "
            "While the version a TC string names is missing, IAB vendors are judged denied."
        ),
    ] = ""
    gvl_warn_days: Annotated[
        Annotated[int, Meta(ge=7, le=3650)], _row("Age of the newest vendor list that is warned about.", "days")
    ] = 30


class ConsentPlatform(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The one consent platform whose cookie and interface are read. Others' cookies are never read."""

    name: Annotated[Slug, _row("Which platform: see docs/how-to/consent-platforms.md.")]
    cookie: Annotated[str | None, _row("Name of its cookie where the site changed it. Default: the platform's.")] = None
    mapping: Annotated[
        Mapping[str, str | tuple[str, ...]] | None,
        _row("Category or service to purpose, or to several. Default: the platform's own categories."),
    ] = None
    revision: Annotated[
        str | int | None,
        _row("Revision or notice now in force, where the platform writes it down; grants under an older one are void."),
    ] = None


class Delivery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How deliveries are attempted. A destination's own limits are stricter where the vendor's are."""

    retry_base_s: Annotated[
        Annotated[float, Meta(gt=0)], _row("First back-off; each next one is up to three times as long.", "seconds")
    ] = 5.0
    retry_cap_s: Annotated[Annotated[float, Meta(gt=0)], _row("Longest back-off.", "seconds")] = 3_600.0
    retry_for_h: Annotated[
        Annotated[float, Meta(gt=0)],
        _row("Time after which a delivery is dead, if the vendor sets no shorter one.", "hours"),
    ] = 72.0
    pause_s: Annotated[
        Annotated[float, Meta(gt=0)],
        _row("How long a destination rests after its credentials or set-up were refused.", "seconds"),
    ] = 300.0
    lease_s: Annotated[Annotated[float, Meta(ge=5)], _row("Longest time one attempt may take.", "seconds")] = 60.0
    webhook_ports: Annotated[tuple[int, ...], _row("Ports a webhook may be sent to.", "port")] = (443,)


class Retention(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long things are kept."""

    events_days: Annotated[Annotated[int, Meta(ge=1, le=1200)], _row("Events, touches and deliveries.", "days")] = 400
    attempts_days: Annotated[Annotated[int, Meta(ge=1, le=1200)], _row("Delivery attempts.", "days")] = 90
    dead_payload_days: Annotated[
        Annotated[int, Meta(ge=1, le=90)],
        _row("Sealed payloads of dead deliveries, if the vendor's age limit is not shorter.", "days"),
    ] = 30


class Links(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where links are opened, what they add to the address they lead to, and where they may lead."""

    hosts: Annotated[
        tuple[HostName, ...],
        _row("Host names that serve links as /SLUG and nothing else. On the site's own hosts they are at /l/SLUG."),
    ] = ()
    click_id: Annotated[
        Literal["consent", "always"],
        _row(
            "When the address of the landing page names the click: `consent` where advertising is granted, `always` when "
            "you have another ground for it. A cookie is set with consent only."
        ),
    ] = "consent"
    click_parameter: Annotated[ParameterName, _row("Parameter that names the click, in lower case.")] = "cid"
    code_parameter: Annotated[ParameterName, _row("Parameter that names the link, in lower case.")] = "lid"
    via_parameter: Annotated[ParameterName, _row("Parameter that names the ambassador, in lower case.")] = "via"
    targets: Annotated[
        tuple[HostName, ...],
        _row("Hosts that links may lead to besides the site's own domains; their subdomains are included."),
    ] = ()
    schemes: Annotated[
        tuple[Scheme, ...], _row("Schemes of apps that links may lead to, such as shopapp for shopapp://cart.")
    ] = ()
    preview: Annotated[
        bool, _row("Show programs that unfurl links in chats the title, text and image a link has for them.")
    ] = True
    inferred: Annotated[
        bool,
        _row(
            "Credit a postback that names no click to the last click of the same address and browser within 24 hours, "
            "where both were made under consent. It is a guess, and marked as one."
        ),
    ] = False
    unknown_per_minute: Annotated[
        Annotated[int, Meta(ge=1)],
        _row(
            "Unknown links a truncated address (/24, /56) may ask for; beyond that all its requests on links get 429.",
            "links per minute",
        ),
    ] = 60


class Reports(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What reports leave out, and when they warn."""

    suppress_under: Annotated[
        Annotated[int, Meta(ge=0, le=1_000)],
        _row(
            "Rows that narrow visitors down in two or more ways, such as device and campaign, are shown only when at "
            "least this many persons stand behind them. 0: all are shown. Totals of campaigns and links always are.",
            "persons",
        ),
    ] = 5
    gap_warn_pct: Annotated[
        Annotated[int, Meta(ge=1, le=100)],
        _row("Gap between conversions, shop orders and acknowledgements that is warned about.", "percent"),
    ] = 10
    silence_warn_minutes: Annotated[
        Annotated[int, Meta(ge=1, le=100_000)],
        _row("Time without any event after which a site is taken to be silent, and that is warned about.", "minutes"),
    ] = 1_440


class DestinationSettings(msgspec.Struct, frozen=True):
    """One place events go to.

    `options` holds what the platform's definition asks for besides the rows below; secrets among it are `Secret`.
    """

    platform: str
    name: str
    events: tuple[str, ...] | None = None
    purposes: tuple[str, ...] | None = None
    enabled: bool = True
    send_bots: bool = False
    send_tests: bool = False
    tcf_vendor: int | None = None
    ac_provider: int | None = None
    opted_out: str = "withhold"
    options: Mapping[str, object] = {}


class DestinationRows(msgspec.Struct, frozen=True):
    """The rows every destination has; a platform adds its own options and secrets."""

    platform: Annotated[str, _row("Which platform: see docs/reference/destinations.md.")]
    name: Annotated[Slug | None, _row("Name of this destination on its site. Default: the platform.")] = None
    enabled: Annotated[bool, _row("Off: nothing new is owed to it, and what waits stays.")] = True
    events: Annotated[
        tuple[EventName, ...] | None,
        _row("Events that are owed to it. Default: what the platform's definition lists."),
    ] = None
    purposes: Annotated[
        tuple[str, ...] | None,
        _row("Purposes it needs. Only a webhook must declare them; others may add to their own."),
    ] = None
    send_bots: Annotated[bool, _row("Also send hits of known robots.")] = False
    send_tests: Annotated[bool, _row("Also send events marked as tests.")] = False
    tcf_vendor: Annotated[
        Annotated[int, Meta(ge=1, le=65_535)] | None,
        _row(
            "Number in the IAB vendor list. Default: the platform's, where it is confirmed; look it up, do not guess."
        ),
    ] = None
    ac_provider: Annotated[
        Annotated[int, Meta(ge=1, le=65_535)] | None,
        _row("Number in Google's list of additional consent providers, for a vendor that is not in the IAB's."),
    ] = None
    opted_out: Annotated[
        Literal["withhold", "restricted"],
        _row(
            "Visitors who opted out in a US state: withhold their events, or send them in the vendor's restricted mode."
        ),
    ] = "withhold"


class Site(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One site: chosen by the host name a request came to, never by what the request claims."""

    id: Annotated[Slug, _row("Stable name of the site in data, logs and keys.")]
    hosts: Annotated[tuple[HostName, ...], _row("Host names the gateway answers to for this site, without port.")]
    domains: Annotated[
        tuple[HostName, ...],
        _row(
            "Domains whose pages may send events; their subdomains are included. Empty: the registrable domains of hosts."
        ),
    ] = ()
    cookie_domain: Annotated[
        HostName | None,
        _row(
            "Domain of the id cookie when several hosts need it. Default: none, the cookie stays on the gateway's host."
        ),
    ] = None
    linked_domains: Annotated[
        tuple[HostName, ...], _row("Other domains of the same owner a visitor's id may be linked to.")
    ] = ()
    currency: Annotated[str, _row("Currency of amounts that come without one; empty: they are refused.")] = ""
    calling_code: Annotated[
        Annotated[str, Meta(pattern=r"^[0-9]{0,3}\Z")],
        _row("Calling code of phone numbers written without one, digits only; empty: such numbers are dropped."),
    ] = ""
    regime: Annotated[
        Literal["opt_in", "opt_out_signal", "opt_out", "none"],
        _row("What silence about consent means. Unknown places are always opt_in."),
    ] = "opt_in"
    granted_by_default: Annotated[tuple[str, ...], _row("Under regime none: purposes that silence grants.")] = ()
    gpc_grant_overrides: Annotated[
        bool,
        _row("An explicit grant given on this site overrides Global Privacy Control in opt_in places."),
    ] = False
    places_without_rules: Annotated[
        tuple[str, ...],
        _row(
            "Places for which you say that no consent law applies, such as SG or US-WY: there the site's regime holds."
        ),
    ] = ()
    consent_platform: Annotated[
        ConsentPlatform | None, _row("The consent platform of the site: table [site.consent_platform].")
    ] = None
    tcf_cookie: Annotated[
        str, _row("Cookie that holds a TC string, if the browser sends it here; empty: none is read.")
    ] = "euconsent-v2"
    tc_days: Annotated[
        Annotated[int, Meta(ge=1, le=400)], _row("How old a TC string may be; the format itself sets no limit.", "days")
    ] = 390
    purpose_one_countries: Annotated[
        tuple[str, ...],
        _row("Publisher countries where storage rests on national law when a TC string says purpose 1 was not shown."),
    ] = ()
    functional_custom_purpose: Annotated[
        Annotated[int, Meta(ge=1, le=63)] | None,
        _row("Custom purpose of your TC strings that means functional. Default: none, functional stays unset."),
    ] = None
    consent_mode: Annotated[
        Literal["deny", "source", "off"],
        _row(
            "Google's consent mode, for Google destinations: deny may only deny; source is how the site tells the choice, "
            "and grants too; off is not read."
        ),
    ] = "deny"
    do_not_track: Annotated[
        bool, _row("Read DNT: 1 as a refusal in opt_in places, unless something granted explicitly.")
    ] = False
    id_needs: Annotated[Literal["analytics", "advertising"], _row("Purpose that allows the id cookie.")] = "analytics"
    id_days: Annotated[Annotated[int, Meta(ge=1, le=400)], _row("Life of the id cookie, renewed on use.", "days")] = 390
    click_days: Annotated[Annotated[int, Meta(ge=1, le=400)], _row("Life of the click cookie.", "days")] = 90
    cookieless: Annotated[
        Literal["off", "daily"],
        _row("Without consent for an id: off stores nobody, daily stores a keyed id that dies with the day."),
    ] = "off"
    without_analytics: Annotated[
        Literal["reduced", "nothing"],
        _row("Without analytics consent: store the event without visitor, page details and properties, or not at all."),
    ] = "reduced"
    choice_days: Annotated[
        Annotated[int, Meta(ge=1, le=400)], _row("How long a recorded choice is believed.", "days")
    ] = 180
    notice_version: Annotated[
        Annotated[str, Meta(max_length=40)],
        _row("Version of the consent text. A recorded grant given under another version no longer counts."),
    ] = "1"
    language: Annotated[
        Literal["en", "de"],
        _row("Language of the visitor's own page where the browser asks for none that it has."),
    ] = "en"
    gpc_statement: Annotated[
        Annotated[str, Meta(pattern=r"^([0-9]{4}-[0-9]{2}-[0-9]{2})?\Z")],
        _row(
            "Day of your statement that this site honours Global Privacy Control, YYYY-MM-DD: it is published as "
            "/.well-known/gpc.json. Empty: no statement is made. The signal is honoured either way."
        ),
    ] = ""
    conversion_events: Annotated[
        tuple[EventName, ...],
        _row("Events that are conversions; each is a goal of its own name."),
    ] = ("purchase", "generate_lead", "sign_up", "subscribe", "start_trial", "contact")
    missing_origin: Annotated[
        Literal["accept", "refuse"],
        _row("Browser requests without Origin and Referer: accept and mark them, or refuse them."),
    ] = "accept"
    links: Annotated[Links, _row("Links of the site: table [site.links].")] = Links()
    reports: Annotated[Reports, _row("Reports of the site: table [site.reports].")] = Reports()
    destination: Annotated[tuple[DestinationSettings, ...], _row("Where events go: [[site.destination]] tables.")] = ()
    webhook: Annotated[tuple[WebhookSettings, ...], _row("Who sends orders and calls: [[site.webhook]] tables.")] = ()
    number: Annotated[tuple[NumberSettings, ...], _row("Tracked telephone numbers: [[site.number]] tables.")] = ()
    abandoned: Annotated[Abandoned, _row("Carts that are left: table [site.abandoned].")] = Abandoned()


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything an operator can set."""

    listen: Annotated[Listen, _row("Listeners.")] = Listen()
    data: Annotated[Data, _row("Files.")] = Data()
    limits: Annotated[Limits, _row("Limits.")] = Limits()
    uploads: Annotated[Uploads, _row("Uploads of files.")] = Uploads()
    proxy: Annotated[Proxy, _row("Proxies in front.")] = Proxy()
    log: Annotated[Log, _row("Logging.")] = Log()
    delivery: Annotated[Delivery, _row("Delivery.")] = Delivery()
    retention: Annotated[Retention, _row("Retention.")] = Retention()
    places: Annotated[Places, _row("Places of visitors.")] = Places()
    consent: Annotated[Consent, _row("Consent signals.")] = Consent()
    site: Annotated[tuple[Site, ...], _row("Sites: [[site]] tables.")]
