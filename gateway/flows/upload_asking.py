"""What the sender of a file asks for, and whether they may upload at all."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

import msgspec

from gateway import access
from gateway.errors import Refusal
from gateway.flows.convert import authenticate
from gateway.protocols.offline_columns import EVENT_NAMES

if TYPE_CHECKING:
    from gateway.flows.house import House, SiteRooms
    from gateway.flows.request import Request

__all__ = ["Asked", "GoalNames", "allow", "read_asked"]

_TEXT_MAX: Final = 64
_FLAGS: Final = {"": True, "1": True, "true": True, "0": False, "false": False}


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What the sender of a file asks for.

    `columns` names a set of columns, empty: it is recognised. `zone` is that of times without one. `goal` counts for rows
    whose own goal the site does not have. Rows before the line `resume_from` are left out.
    """

    columns: str = ""
    zone: str = "UTC"
    goal: str = ""
    dry_run: bool = False
    resume_from: int = 0
    errors_only: bool = False


def read_asked(query: Mapping[str, str]) -> Asked:
    """Read the parameters of an upload. Raises Refusal: a misspelt `dry_run` must not store anything."""
    found: dict[str, str | int | bool] = {}
    for name, text in query.items():
        if name == "dry_run":
            if text.lower() not in _FLAGS:
                raise Refusal("field_invalid", name)
            found[name] = _FLAGS[text.lower()]
        elif name == "errors":
            if text not in {"all", "only"}:
                raise Refusal("field_invalid", name)
            found["errors_only"] = text == "only"
        elif name == "resume_from":
            if not text.isascii() or not text.isdigit() or len(text) > 9:
                raise Refusal("field_invalid", name)
            found[name] = int(text)
        elif name in {"columns", "zone", "goal"}:
            if len(text) > _TEXT_MAX:
                raise Refusal("field_too_long", name)
            if text:
                found[name] = text
        else:
            raise Refusal("field_unknown", "query")
    return msgspec.convert(found, Asked)


def allow(house: "House", rooms: "SiteRooms", request: "Request") -> None:
    """Let a caller in whose key may send conversions. Raises Refusal as `convert.authenticate` does.

    A signature covers a whole body, and an upload is never held whole: a key that must sign cannot upload, and a signed
    upload is refused rather than believed.
    """
    token = access.read_bearer(request.authorization)
    key = access.find_key(token, house.api_keys) if token is not None else None
    if key is not None and rooms.id in key.sites and (key.must_sign or request.signature is not None):
        raise Refusal("key_forbidden", "X-Gateway-Signature")
    authenticate(house, rooms, request, "conversions", house.clock.now_ms())


class GoalNames(Mapping[str, str]):
    """A file's names of conversions to goals of the site. What is no goal is the default one's, if there is one."""

    def __init__(self, known: frozenset[str], default: str) -> None:
        self._known = known
        self._default = default

    def __getitem__(self, name: str) -> str:
        if name in self._known:
            return name
        meant = EVENT_NAMES.get(name) or name.lower().replace(" ", "_").replace("-", "_")
        if not self._default or meant in self._known:
            raise KeyError(name)  # the reader finds it by its own rules
        return self._default

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)
