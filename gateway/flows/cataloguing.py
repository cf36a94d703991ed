"""Cataloguing: campaigns, links, ambassadors, coupons and goals are made, changed and put out of use.

An entry is checked, stored under its next version, and then stands on the site's shelf; nothing is restarted. Two changes
of one version cannot both be stored: the second is refused and has to look again. Nothing is ever deleted: what is
archived keeps its code, so that no later entry can take over what was earned under it.
"""

import base64
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import msgspec

from gateway.catalogue import Ambassador, Campaign, Entry, Goal, Link
from gateway.conversions import goals
from gateway.errors import Refusal
from gateway.event import Person, Personal, Submission
from gateway.flows.catalogue_checks import check_record, preset_utm, preset_window
from gateway.flows.catalogue_reading import entry_of, shown
from gateway.flows.convert import authenticate, person_key
from gateway.flows.repeating import ID_PREFIX, first_of
from gateway.flows.shelves import folded_code, token_digest
from gateway.links import codes
from gateway.protocols import catalogue_wire as wire
from gateway.times import DAY_MS

if TYPE_CHECKING:
    from gateway.flows.house import House, SiteRooms
    from gateway.flows.repeating import Call
    from gateway.flows.request import Request
    from gateway.protocols.catalogue_wire import Record

__all__ = [
    "admit",
    "archive",
    "change",
    "create",
    "keep",
    "made",
    "making",
    "new_token",
    "token_text",
    "with_token",
]

TOKEN_BYTES: Final = 32
WINDOW_MS: Final = 30 * DAY_MS
"""Click window of a goal for which nobody chose one."""
_ID_BYTES: Final = 10
_TRIES: Final = 8
"""Random codes that are tried until one is free. With 10,000 links, one in a hundred million is taken."""


async def admit(house: "House", rooms: "SiteRooms", request: "Request", right: str) -> str:
    """Let a caller in whose API key has a right. A signature is used up here, before anything is done.

    Answers the id of the key. Raises Refusal as `convert.authenticate` does; a signature that was used before is `key_invalid`.
    """
    key, _, once = authenticate(house, rooms, request, right, house.clock.now_ms())
    if once and (await house.store.submit(Submission((), once))).refused is not None:
        raise Refusal("key_invalid")
    return key.id


# ------------------------------------------------------------------ making


class _Codes:
    """Random codes for one entry. It remembers what it made: such a code may be made anew when it is taken."""

    def __init__(self, house: "House") -> None:
        self._house = house
        self.made: set[str] = set()

    def new(self, count: int = codes.SLUG_BYTES) -> str:
        code = codes.random_slug(self._house.entropy.token_bytes(count))
        self.made.add(code)
        return code


def making(
    house: "House",
    rooms: "SiteRooms",
    kind: str,
    new_codes: _Codes | None = None,
    *,
    call: "Call | None" = None,
    index: int = 0,
) -> wire.Making:
    """What reading an entry of a kind takes from outside. `index` counts what one call makes."""

    def new_id() -> str:
        if call is not None:
            return call.entry_id(kind, index)
        random = base64.b32encode(house.entropy.token_bytes(_ID_BYTES)).decode("ascii").lower()
        return f"{ID_PREFIX[kind]}_{random}"

    def key_of(email: Personal) -> bytes | None:
        return person_key(house, rooms, Person(email=(email,)))

    def preset(name: str) -> Goal:
        return goals.preset(name).goal(new_id())

    return wire.Making(
        new_id=new_id,
        new_code=(new_codes or _Codes(house)).new,
        person_key=key_of,
        preset=preset,
        currency=rooms.site.currency,
    )


def made(
    house: "House",
    rooms: "SiteRooms",
    kind: str,
    body: bytes,
    said: Mapping[str, object],
    *,
    call: "Call | None" = None,
    index: int = 0,
) -> "tuple[Record, bool]":
    """Read and check a new entry. Answers it, and whether its code is a random one. Raises Refusal.

    A link for one recipient gets a code of twice the length: its target is nobody else's business.
    """
    new_codes = _Codes(house)
    record = wire.create(kind, body, making(house, rooms, kind, new_codes, call=call, index=index))
    if isinstance(record, Link) and record.recipient and record.code in new_codes.made:
        record = msgspec.structs.replace(record, code=new_codes.new(2 * codes.SLUG_BYTES))
    shelf = house.shelves[rooms.id]
    record = preset_window(preset_utm(check_record(house, rooms, record, None), said, shelf), said, shelf)
    return record, record.code in new_codes.made


def _object(body: bytes) -> dict[str, object]:
    """The fields a body names, whatever they hold; empty when it is no object: that is for the shape to refuse."""
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


async def create(
    house: "House", rooms: "SiteRooms", kind: str, body: bytes, call: "Call | None" = None
) -> dict[str, object]:
    """Make an entry. A goal's postback token is in this answer and nowhere else. Raises Refusal or StoreError.

    An ambassador gets a share link, whose slug is their code; `target` beside their fields says where it leads, by
    default the site's first page. Their campaign is one with ambassadors from then on.

    A `call` that was sent before is answered as it was, with `repeated`, but what was archived since is shown so. Windows
    that it left unset are set and named; those that it set are not named again.
    """
    if call is None:
        return await _create(house, rooms, kind, body, None)
    async with house.shelves[rooms.id].making:
        first = await first_of(house, rooms, call)
        whole = ("ambassador", "link") if kind == "ambassador" else (kind,)
        entries = [first.get(call.entry_id(one)) for one in whole]
        made_before = [entry for entry in entries if entry is not None]
        if len(made_before) < len(whole):
            return await _create(house, rooms, kind, body, call, first.get(call.entry_id(kind)))
        return await _repeated(house, rooms, call, made_before)


async def _repeated(house: "House", rooms: "SiteRooms", call: "Call", first: list[Entry]) -> dict[str, object]:
    """Answer a call whose entries are all there, and do what it may have left undone. `first` are they as they were made."""
    answer: dict[str, object] = {}
    told = []
    for entry in first:
        now = await entry_of(house, rooms, entry.kind, entry.id)
        told.append(now if now.archived else entry)
        answer |= shown(rooms, told[-1])
    record = wire.record_of(told[0])
    if isinstance(record, Goal):
        answer |= _postback(rooms, token_text(call.secret))
    if isinstance(record, Ambassador) or (isinstance(record, Campaign) and record.ambassadors):
        campaign_id = record.campaign_id if isinstance(record, Ambassador) else record.id
        windows: list[str] = []
        if not record.archived:
            windows = await _finish_ambassadors(house, rooms, campaign_id, first[0].changed_at_ms)
        answer["windows_set"] = windows
    return answer | {"repeated": True}


async def _create(
    house: "House", rooms: "SiteRooms", kind: str, body: bytes, call: "Call | None", begun: Entry | None = None
) -> dict[str, object]:
    """Make an entry. `begun` is the ambassador of a call that broke off before their link was made."""
    said = _object(body)
    if kind == "ambassador":
        return await _create_ambassador(house, rooms, body, said, call, begun)
    for _ in range(_TRIES):
        record, random = made(house, rooms, kind, body, said, call=call)
        token = None
        if isinstance(record, Goal):
            token, record = with_token(house, rooms, record, call)
        entry = await keep(house, rooms, record, 1)
        if entry is None:
            if random:
                continue
            raise Refusal("code_taken", "code")
        answer = shown(rooms, entry)
        if token is not None:
            answer |= _postback(rooms, token)
        if isinstance(record, Campaign) and record.ambassadors:
            answer["windows_set"] = await _widen(house, rooms)
        return answer
    raise Refusal("code_taken", "code")


async def keep(house: "House", rooms: "SiteRooms", record: "Record", version: int) -> Entry | None:
    """Store a version of an entry and put it on the shelf. None when its code is taken. Raises Refusal `entry_stale`."""
    entry = Entry(
        site=rooms.id,
        kind=_kind(record),
        id=record.id,
        folded=folded_code(record),
        parent=getattr(record, "campaign_id", ""),
        version=version,
        changed_at_ms=house.clock.now_ms(),
        archived=record.archived,
        body=msgspec.json.encode(record),
    )
    said = await house.store.put_entry(entry)
    if said == "stale":
        raise Refusal("entry_stale")
    if said == "taken":
        return None
    house.shelves[rooms.id].put(entry)
    return entry


def _kind(record: "Record") -> str:
    return type(record).__name__.lower()


# ------------------------------------------------------------------ ambassadors


async def _create_ambassador(
    house: "House",
    rooms: "SiteRooms",
    body: bytes,
    said: dict[str, object],
    call: "Call | None",
    begun: Entry | None,
) -> dict[str, object]:
    target = said.pop("target", None)
    if target is None:
        target = f"https://{rooms.domains[0]}/" if rooms.domains else ""
    elif not isinstance(target, str):
        raise Refusal("field_type", "target")
    body = msgspec.json.encode(said) if said else body
    for _ in range(_TRIES):
        record, random = made(house, rooms, "ambassador", body, said, call=call)
        if begun is not None:
            record = wire.record_of(begun)
            if (await entry_of(house, rooms, "ambassador", begun.id)).archived:
                raise Refusal("entry_stale")  # they left before their link was made: it would be in use
        assert isinstance(record, Ambassador)  # noqa: S101 - the kind was given
        share = {"target": target, "code": record.code, "title": record.name, "campaign_id": record.campaign_id}
        link, _ = made(house, rooms, "link", msgspec.json.encode(share), share, call=call)
        taken = await house.store.entry_by_code(rooms.id, "link", record.code) is not None
        entry = None if taken else begun or await keep(house, rooms, record, 1)
        if entry is None:
            if random:
                continue
            raise Refusal("code_taken", "code")
        kept = await keep(house, rooms, msgspec.structs.replace(link, ambassador_id=record.id), 1)
        if kept is None:  # somebody made a link of this name in this very moment
            await keep(house, rooms, msgspec.structs.replace(record, archived=True), 2)
            raise Refusal("code_taken", "code")
        windows = await _with_ambassadors(house, rooms, record.campaign_id)
        return {**shown(rooms, entry), **shown(rooms, kept), "windows_set": windows}
    raise Refusal("code_taken", "code")


async def _with_ambassadors(house: "House", rooms: "SiteRooms", campaign_id: str) -> list[str]:
    """Make a campaign one with ambassadors, unless it is."""
    for _ in range(_TRIES):
        entry = await entry_of(house, rooms, "campaign", campaign_id)
        campaign = wire.record_of(entry)
        if not isinstance(campaign, Campaign) or campaign.ambassadors:
            return []
        try:
            await keep(house, rooms, msgspec.structs.replace(campaign, ambassadors=True), entry.version + 1)
        except Refusal:
            continue  # changed by somebody else meanwhile
        return await _widen(house, rooms)
    raise Refusal("entry_stale")


async def _finish_ambassadors(house: "House", rooms: "SiteRooms", campaign_id: str, begun_ms: int) -> list[str]:
    """Do what a call that began at `begun_ms` left undone when it made a campaign one with ambassadors.

    The campaign's versions since then tell how far it came. What the owner chose meanwhile stands: a campaign that is one
    no more or is archived, and goals that were changed after the campaign.
    """
    newest = await entry_of(house, rooms, "campaign", campaign_id)
    marked_ms: int | None = None
    before: Entry | None = newest
    while before is not None and before.changed_at_ms >= begun_ms:
        if _has_ambassadors(before):
            marked_ms = before.changed_at_ms
        older = before.version - 1
        before = await house.store.entry(rooms.id, "campaign", campaign_id, older) if older else None
    if newest.archived or (before is not None and _has_ambassadors(before)):
        return []
    if marked_ms is None:
        return await _with_ambassadors(house, rooms, campaign_id)
    return await _widen(house, rooms, marked_ms) if _has_ambassadors(newest) else []


def _has_ambassadors(entry: Entry) -> bool:
    campaign = wire.record_of(entry)
    return isinstance(campaign, Campaign) and campaign.ambassadors


async def _widen(house: "House", rooms: "SiteRooms", upto_ms: int | None = None) -> list[str]:
    """Give goals that still have the usual click window that of ambassadors. Answers their codes.

    Only windows of the default length are changed, each as a new version; an owner sets one back where 30 days are meant.
    With `upto_ms` only goals that were not changed after it.
    """
    changed = []
    for goal in list(house.shelves[rooms.id].goals.values()):
        for _ in range(_TRIES):
            entry = await entry_of(house, rooms, "goal", goal.id)
            found = wire.record_of(entry)
            if not isinstance(found, Goal) or found.archived or found.click_window_ms != WINDOW_MS:
                break
            if upto_ms is not None and entry.changed_at_ms > upto_ms:
                break
            wider = msgspec.structs.replace(found, click_window_ms=goals.AMBASSADOR_WINDOW_MS)
            try:
                await keep(house, rooms, wider, entry.version + 1)
            except Refusal:
                continue  # changed by somebody else meanwhile
            changed.append(found.code)
            break
    return sorted(changed)


# ------------------------------------------------------------------ changing


async def change(
    house: "House", rooms: "SiteRooms", kind: str, entry_id: str, body: bytes, expected: int | None = None
) -> dict[str, object]:
    """Change what a body names of an entry. With `expected` only if that is its version. Raises Refusal or StoreError."""
    entry = await _expected(house, rooms, kind, entry_id, expected)
    old = wire.record_of(entry)
    record = check_record(house, rooms, wire.change(kind, body, old, making(house, rooms, kind)), old)
    record = preset_utm(record, _object(body), house.shelves[rooms.id], old)
    return await _changed(house, rooms, entry, old, record)


async def archive(
    house: "House", rooms: "SiteRooms", kind: str, entry_id: str, expected: int | None = None
) -> dict[str, object]:
    """Put an entry out of use. Nothing is deleted. Raises Refusal or StoreError."""
    entry = await _expected(house, rooms, kind, entry_id, expected)
    old = wire.record_of(entry)
    return await _changed(house, rooms, entry, old, msgspec.structs.replace(old, archived=True))


async def _expected(house: "House", rooms: "SiteRooms", kind: str, entry_id: str, expected: int | None) -> Entry:
    entry = await entry_of(house, rooms, kind, entry_id)
    if expected not in (None, entry.version):
        raise Refusal("entry_stale")
    return entry


async def _changed(
    house: "House", rooms: "SiteRooms", entry: Entry, old: "Record", record: "Record"
) -> dict[str, object]:
    """Store the next version, unless nothing is different."""
    if record == old:
        return shown(rooms, entry)
    kept = await keep(house, rooms, record, entry.version + 1)
    if kept is None:
        raise Refusal("code_taken", "code")
    answer = shown(rooms, kept)
    if isinstance(record, Campaign) and record.ambassadors and isinstance(old, Campaign) and not old.ambassadors:
        answer["windows_set"] = await _widen(house, rooms)
    return answer


# ------------------------------------------------------------------ tokens of goals


def token_text(secret: bytes) -> str:
    """A postback token of 32 bytes that nobody can guess."""
    return base64.urlsafe_b64encode(secret)[:43].decode("ascii")


def with_token(house: "House", rooms: "SiteRooms", goal: Goal, call: "Call | None" = None) -> tuple[str, Goal]:
    """Make a postback token. Answers it, and the goal with its digest. A call that is sent again makes the same one."""
    token = token_text(call.secret if call is not None else house.entropy.token_bytes(TOKEN_BYTES))
    return token, msgspec.structs.replace(goal, token_digest=token_digest(house, rooms.id, token))


def _postback(rooms: "SiteRooms", token: str) -> dict[str, object]:
    return {
        "postback_token": token,
        "postback_url": f"https://{rooms.site.hosts[0]}/api/conversions/track/{token}",
    }


async def new_token(house: "House", rooms: "SiteRooms", goal_id: str, call: "Call | None" = None) -> dict[str, object]:
    """Give a goal a new postback token; the one before is worthless at once. Raises Refusal or StoreError.

    A `call` that was sent before gives none: it is told its token again, which a later one may have replaced. A token leaves
    no id behind: only a key with which entries were made is refused, as `idempotency_key_reused`.
    """
    if call is None:
        return await _new_token(house, rooms, goal_id, None)
    async with house.shelves[rooms.id].making:
        return await _new_token(house, rooms, goal_id, call)


async def _new_token(house: "House", rooms: "SiteRooms", goal_id: str, call: "Call | None") -> dict[str, object]:
    entry = await entry_of(house, rooms, "goal", goal_id)
    goal = wire.record_of(entry)
    assert isinstance(goal, Goal)  # noqa: S101 - the kind was given
    token, goal = with_token(house, rooms, goal, call)
    older: Entry | None = entry if call is not None else None
    while older is not None:  # every version, one at a time: a token of long ago must not replace a newer one
        was = wire.record_of(older)
        if isinstance(was, Goal) and was.token_digest == goal.token_digest:
            return {**shown(rooms, older), **_postback(rooms, token), "repeated": True}
        version = older.version - 1
        older = await house.store.entry(rooms.id, "goal", entry.id, version) if version else None
    if call is not None:
        await first_of(house, rooms, call)  # refuses a key with which something was made
    kept = await keep(house, rooms, goal, entry.version + 1)
    if kept is None:
        raise Refusal("code_taken", "code")
    return {**shown(rooms, kept), **_postback(rooms, token)}
