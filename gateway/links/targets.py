"""Targets: which addresses a link may lead to, and how the address of the landing page is built (pure).

What an auditor should know:

* A target is written by the owner and stored with the link. Nothing in a request can replace it.
* `check_target` is asked whenever a target is saved and again before it is used. It takes one shape only, in which every
  parser reads the same host: scheme, `://`, host, port, rest. What browsers repair silently (`//host`, `https:host`,
  backslashes, line ends, a user part) is refused instead.
* A target that stands in the query of a request counts only with a signature over the link, the whole target, the time
  it ends and the id of the key. Each part is framed by its length, so that no two sets of parts sign alike.

Source: OWASP ASVS 5.0 1.2.2 and 3.7.2; WHATWG URL Standard, host and authority states; RFC 3986 2.1 and 3.
"""

import base64
import hmac
import re
from collections.abc import Collection, Iterable, Sequence
from typing import Final
from urllib.parse import quote, unquote_plus

from gateway.catalogue import Link, Utm
from gateway.errors import Refusal
from gateway.links.arrival import CLICK_IDS
from gateway.links.codes import CODE_PARAMETER, is_click_id

__all__ = [
    "AMBASSADOR_PARAMETER",
    "INCOMING_MAX_BYTES",
    "RESERVED_PARAMETERS",
    "TARGET_MAX_BYTES",
    "build_target",
    "carried_beside",
    "check_target",
    "read_reserved",
    "sign_target",
    "verify_target",
]

TARGET_MAX_BYTES: Final = 2_048
INCOMING_MAX_BYTES: Final = 2_048
"""How much of the incoming query is carried on, as it is written in the address; what does not fit is left out."""
INCOMING_MAX_PARTS: Final = 200
UTM_MAX_CHARACTERS: Final = 255

RESERVED_PARAMETERS: Final = frozenset({"qr", "no-track", "bot", "preview"})
"""Parameters by which a request speaks to the link itself; they are never carried on."""
AMBASSADOR_PARAMETER: Final = "via"

NEVER: Final = frozenset(
    "about blob chrome content data feed file filesystem intent jar javascript jsc livescript mhtml mocha resource "
    "vbscript view-source".split()
)
"""Schemes that no list can allow: they run script, read files, or carry another address (an intent's fallback)."""

_WEB: Final = re.compile(
    r"https?://(?P<host>[a-z0-9.-]{1,253}|\[[0-9a-f:.]{2,45}\])(?::(?P<port>[1-9][0-9]{0,4}))?(?:[/?#].*)?\Z",
    re.IGNORECASE | re.ASCII,
)
_APP: Final = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]{0,30})://[^/?#@]*(?:[/?#].*)?\Z", re.IGNORECASE | re.ASCII)
_LABEL: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\Z")
_NUMERIC: Final = re.compile(r"(?:[0-9]+|0x[0-9a-f]*)\Z")
"""A last label that makes browsers read the whole host as an IPv4 address."""
_WRITTEN: Final = re.compile(r"(?:[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=|{}^-]|%[0-9A-Fa-f]{2})+\Z")
"""What an address may be written with: RFC 3986, and four more characters that shops use and browsers leave alone."""
_UNWRITTEN: Final = re.compile(r"(?:%(?![0-9A-Fa-f]{2})|[^A-Za-z0-9._~:/?\[\]@!$&'()*+,;=|{}^%-])+")
_CONTROL: Final = re.compile(r"%(?:[01][0-9A-Fa-f]|7[Ff])")
_SIGNATURE: Final = re.compile(r"[0-9a-f]{8}\.[A-Za-z0-9_-]{43}\Z")


# ------------------------------------------------------------------ which addresses


def check_target(
    text: str, allowed_hosts: Collection[str], *, schemes: Collection[str] = (), field: str = "target"
) -> str:
    """Return a target exactly as written, or refuse `target_invalid`.

    `allowed_hosts` are ASCII host names: each allows itself and its subdomains in any case; an empty list allows none. An IP
    address is allowed by itself only. `schemes` are app schemes in lower case that are taken besides http and https; an
    app has no host to compare. Taken are at most 2,048 bytes of ASCII with valid percent-encoding.
    """
    host = _host(text, schemes, field)
    if host is not None and not _allowed(host, allowed_hosts):
        raise Refusal("target_invalid", field)
    return text


def _host(text: str, schemes: Collection[str], field: str) -> str | None:
    """Return the host of a target in lower case, None for an app's. Refuses every other shape."""
    if len(text) <= TARGET_MAX_BYTES and _WRITTEN.match(text) is not None and _CONTROL.search(text) is None:
        web = _WEB.match(text)
        if web is not None:
            host = web["host"].lower()
            if int(web["port"] or 0) <= 65_535 and (host[0] == "[" or all(map(_LABEL.match, host.split(".")))):
                return host
        else:
            app = _APP.match(text)
            if app is not None and (scheme := app["scheme"].lower()) in schemes and scheme not in _NO_APP:
                return None
    raise Refusal("target_invalid", field)


_NO_APP: Final = NEVER | {"http", "https"}
"""A web address of the wrong shape is not taken for an app's because somebody listed its scheme."""


def _allowed(host: str, allowed_hosts: Collection[str]) -> bool:
    alone = host[0] == "[" or _NUMERIC.match(host.rpartition(".")[2]) is not None
    for entry in allowed_hosts:
        listed = entry.lower() if entry.isascii() else ""  # lowering turns a Kelvin sign into a k
        if host == listed or (not alone and host.endswith("." + listed)):
            return True
    return False


# ------------------------------------------------------------------ the landing address


def build_target(
    link: Link,
    *,
    utm: Utm,
    incoming_query: str,
    ambassador_code: str,
    click_id: str,
    click_parameter: str,
    link_code: str,
    via_parameter: str = AMBASSADOR_PARAMETER,
    code_parameter: str = CODE_PARAMETER,
    target: str = "",
) -> str:
    """Build the address of the landing page from a checked target. Empty texts mean: none.

    `target` is the chosen one of several (a variant's, a phone's), empty for the link's own. Then, in this order:

    1. the stored address stays as written, byte for byte, and keeps its fragment;
    2. the link's campaign parameters are added where the address has none of the name, those of `utm` (the campaign's)
       where the link names none;
    3. parameters of `incoming_query` (raw, as received) are added and win over stored ones of the same name, in their
       place. Left out are those of RESERVED_PARAMETERS, our own, such with control characters, and what goes beyond
       200 or 2,048 bytes; what may not stand in an address as it is gets percent-encoded;
    4. our own come last, in the place of any others of their names: ambassador, slug, and the click id.

    A click id of ours that stands in the stored address is always taken out: it was copied there with somebody's click.
    """
    rest, hash_sign, fragment = (target or link.target).partition("#")
    path, _, query = rest.partition("?")
    stored = query.split("&") if query else []
    own = [
        (name, value)
        for name, value in ((via_parameter, ambassador_code), (code_parameter, link_code), (click_parameter, click_id))
        if value
    ]
    foreign = RESERVED_PARAMETERS | {_folded(name) for name in (via_parameter, code_parameter, click_parameter)}
    replaced = {_folded(name) for name, _ in own}
    kept = [
        part
        for part in stored
        if (folded := _folded(_name(part))) not in replaced
        and not (folded == _folded(click_parameter) and is_click_id(part.partition("=")[2]))
    ]
    incoming = _incoming(incoming_query, foreign)
    present = {_folded(_name(part)) for part in (*kept, *incoming)}
    named = [f"{name}={quote(value, safe='')}" for name, value in _campaign(link.utm, utm) if name not in present]
    parts = _merged([*kept, *named], incoming)
    parts += [f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in own]
    if parts == stored:
        return target or link.target
    return f"{path}?{'&'.join(parts)}{hash_sign}{fragment}" if parts else f"{path}{hash_sign}{fragment}"


def read_reserved(query: str) -> frozenset[str]:
    """Return those of RESERVED_PARAMETERS that a raw query holds, with any value or none."""
    names = {_folded(_name(part)) for part in query.split("&", INCOMING_MAX_PARTS)[:INCOMING_MAX_PARTS]}
    return RESERVED_PARAMETERS & names


def carried_beside(target: str, query: str) -> str:
    """What of a raw query may be added to a signed target: marks of ours, campaign parameters and platforms' click ids.

    Nothing that the target says itself, and nothing else: its signer vouches for where it leads, and a host of somebody
    else may take other parameters as orders to lead on.
    """
    said = {_folded(_name(part)) for part in target.partition("#")[0].partition("?")[2].split("&")}
    carried = []
    for part in query.split("&", INCOMING_MAX_PARTS)[:INCOMING_MAX_PARTS]:
        name = _folded(_name(part))
        if name not in said and (name in RESERVED_PARAMETERS or name in CLICK_IDS or name.startswith("utm_")):
            carried.append(part)
    return "&".join(carried)


def _name(part: str) -> str:
    """The name of a parameter, decoded."""
    return unquote_plus(part.partition("=")[0])


def _folded(name: str) -> str:
    """A name as it is compared with ours: some servers skip spaces before it, and some do not tell cases apart."""
    return name.strip().lower()


def _campaign(own: Utm, campaign: Utm) -> Iterable[tuple[str, str]]:
    """Campaign parameters of a link, each filled from its campaign when empty, as one line of at most 255 characters."""
    for field in Utm.__struct_fields__:
        text: str = getattr(own, field) or getattr(campaign, field)
        value = "".join([c for c in text if c.isprintable()])[:UTM_MAX_CHARACTERS]
        if value:
            yield f"utm_{field}", value


def _incoming(query: str, foreign: frozenset[str]) -> list[str]:
    """Parameters of the request that are carried on, written so that they can stand in an address."""
    parts = []
    room = INCOMING_MAX_BYTES
    for written in query.split("&", INCOMING_MAX_PARTS)[:INCOMING_MAX_PARTS]:
        if len(written) >= room:
            continue  # escapes only make it longer
        part = _UNWRITTEN.sub(lambda found: quote(found.group(), safe="", errors="replace"), written)
        name = _name(part)
        if not name or _folded(name) in foreign or _CONTROL.search(part) is not None or len(part) >= room:
            continue
        room -= len(part) + 1
        parts.append(part)
    return parts


def _merged(stored: list[str], incoming: list[str]) -> list[str]:
    """Stored parameters in order, each name that comes in anew replaced where it first stood; new names at the end."""
    anew: dict[str, list[str]] = {}
    for part in incoming:
        anew.setdefault(_name(part), []).append(part)
    merged = []
    placed: set[str] = set()
    for part in stored:
        name = _name(part)
        if name not in anew:
            merged.append(part)
        elif name not in placed:
            placed.add(name)
            merged += anew[name]
    merged += [part for part in incoming if _name(part) not in placed]
    return merged


# ------------------------------------------------------------------ signed targets


def sign_target(key: bytes, slug: str, target: str, expires_at_s: int) -> str:
    """Sign a target for one link (its slug as looked up) until a moment in Unix seconds.

    A signed target may lead to any host; all other rules of `check_target` hold, or `target_invalid` is refused. Answers
    `<key id>.<signature>`: 8 hex digits and 43 characters of base64url.
    """
    _host(target, (), "target")
    return _signed(key, slug, target, str(expires_at_s))


def verify_target(
    keys: Sequence[bytes], slug: str, target: str, expires: str, signature: str, now_s: int, *, field: str = "target"
) -> str:
    """Return a signed target, or refuse `target_signature_invalid`: another byte anywhere, or its time is over.

    `keys` are all that may have signed, in any order. `expires` and `signature` are texts as received: what is signed is
    the text, so another spelling of the same number is another byte. The second it names is the last good one.
    """
    if _SIGNATURE.match(signature) is None:
        raise Refusal("target_signature_invalid", field)
    right = False
    for key in keys:
        right |= hmac.compare_digest(_signed(key, slug, target, expires), signature)
    if not right or now_s > int(expires):
        raise Refusal("target_signature_invalid", field)
    _host(target, (), field)
    return target


def _signed(key: bytes, slug: str, target: str, expires: str) -> str:
    key_id = hmac.digest(key, b"gateway/target/1/key id", "sha256")[:4].hex()
    parts = ("gateway/target/1", key_id, slug, target, expires)
    framed = [len(part).to_bytes(4) + part for part in (text.encode("utf-8", "surrogatepass") for text in parts)]
    signature = base64.urlsafe_b64encode(hmac.digest(key, b"".join(framed), "sha256"))[:43].decode("ascii")
    return f"{key_id}.{signature}"
