"""Repeating: a call that makes entries of the catalogue may be sent again with the same Idempotency-Key.

The ids of what such a call makes are worked out from its key and its body, so the catalogue itself remembers the call: for as
long as it stands, and without anything being kept beside it. An id is a prefix and 16 characters: ten of the key, four of
the body, two that count what one call makes. A repeat finds the entries that are there and gets the first answer again; where
the first call broke off, it makes what is missing. The same key with another body, or for another route, is refused.
A new postback token of a goal has no id: that call is remembered by the goal's versions alone, and uses up no key.

Calls with a key are made one after another on each site, so that two at once make one entry.
"""

import base64
from typing import TYPE_CHECKING, Final

import msgspec

from gateway.catalogue import Entry
from gateway.errors import Refusal
from gateway.ids import is_caller_id

if TYPE_CHECKING:
    from gateway.flows.house import House, SiteRooms

__all__ = ["ID_PREFIX", "Call", "call_of", "first_of"]

ID_PREFIX: Final = {"campaign": "cmp", "link": "lnk", "ambassador": "amb", "coupon": "cpn", "goal": "goal"}
"""Kind of entry to what its ids begin with."""
_KEY: Final = 10
_BODY: Final = 4
_DIGITS: Final = "abcdefghijklmnopqrstuvwxyz234567"
_PORTION: Final = 1_000


class Call(msgspec.Struct, frozen=True):
    """A call that may be sent again: characters of its key and of all else it says, and bytes for what it makes secret."""

    key: str
    body: str
    secret: bytes

    def entry_id(self, kind: str, index: int = 0) -> str:
        """The id of what this call makes; `index` counts entries of one kind, up to 1,023."""
        return f"{ID_PREFIX[kind]}_{self.key}{self.body}{_DIGITS[index >> 5]}{_DIGITS[index & 31]}"


def call_of(house: "House", rooms: "SiteRooms", caller: str, given: str | None, path: str, body: bytes) -> Call | None:
    """Read the Idempotency-Key of a call. None without one. Raises Refusal `idempotency_key_invalid`.

    `caller` is the id of the API key: keys of different callers are different keys. Everything is a keyed digest: a caller
    may make its key of anything.
    """
    if given is None:
        return None
    if not is_caller_id(given):
        raise Refusal("idempotency_key_invalid", "Idempotency-Key")
    named = f"{caller}\x1f{given}"
    said = f"{named}\x1f{path}\x1f{body.decode('utf-8', 'surrogateescape')}"
    return Call(
        key=_characters(house.vault.digest("catalogue_call", rooms.id, named))[:_KEY],
        body=_characters(house.vault.digest("catalogue_body", rooms.id, said))[:_BODY],
        secret=house.vault.digest("catalogue_secret_1", rooms.id, said)
        + house.vault.digest("catalogue_secret_2", rooms.id, said),
    )


def _characters(digest: bytes) -> str:
    return base64.b32encode(digest).decode("ascii").lower()


async def first_of(house: "House", rooms: "SiteRooms", call: Call) -> dict[str, Entry]:
    """Return what a call made when it was sent before, by id, as it was made; empty for a new call.

    Raises Refusal `idempotency_key_reused` when another body or route came with its key; StoreError.
    """
    found: dict[str, Entry] = {}
    for kind, prefix in ID_PREFIX.items():
        mine = f"{prefix}_{call.key}"
        for entry in await house.store.entries(rooms.id, kind, after_id=mine, limit=_PORTION):
            if not entry.id.startswith(mine):
                break
            if not entry.id.startswith(f"{mine}{call.body}"):
                raise Refusal("idempotency_key_reused")
            first = entry if entry.version == 1 else await house.store.entry(rooms.id, kind, entry.id, 1)
            found[entry.id] = first or entry
    return found
