"""What a stand-in remembers: every request, what became of it, and the effects it had.

An **effect** is what the site owner would see at the vendor: a conversion counted. It is kept under the vendor's own
dedup key with the vendor's own rule, so that `double_effects()` answers the question of every kill test: did anything
count twice? An event without a key has its content as key: the same bytes sent twice count twice, as they would there.

Tokens, signing keys and credentials are replaced by `***` before a request is kept.
"""

import hashlib
from typing import Final, NamedTuple
from urllib.parse import unquote_plus

import msgspec

from gateway.sandbox.call import Call
from gateway.sandbox.checks import Problem

__all__ = ["Accepted", "Invalid", "Ledger", "Refused", "Report", "Request", "content_key"]

_SECRET_PARAMETERS: Final = frozenset({"access_token", "appsecret_proof", "api_secret"})
_SECRET_HEADERS: Final = frozenset({"authorization", "cookie"})


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One request as it arrived, without its secrets. `fault` names the injected behaviour it met, if any."""

    at_ms: int
    method: str
    host: str
    path: str
    query: tuple[tuple[str, str], ...]
    headers: dict[str, str]
    body: str
    fault: str | None = None

    def text(self) -> str:
        """Everything of the request in one text; what was percent-encoded stands there decoded as well."""
        line = f"{self.method} https://{self.host}{self.path} {' '.join(f'{k}={v}' for k, v in self.query)}"
        lines = [line, *(f"{name}: {value}" for name, value in self.headers.items()), self.body]
        if "%" in self.body:
            lines.append(unquote_plus(self.body))
        return "\n".join(lines)


class Accepted(msgspec.Struct, frozen=True, kw_only=True):
    """One event the vendor took. `scope` is the dataset, stream, account or address it was taken for.

    `effect` is `counted`, or what the vendor makes of a repeat (`discarded`, `adjusted`). `key` is the dedup key.
    """

    at_ms: int
    scope: str
    key: str
    effect: str
    event: dict[str, object]


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """One request that was answered with an error. Nothing of it was taken."""

    at_ms: int
    method: str
    path: str
    status: int
    reasons: tuple[Problem, ...]


class Invalid(msgspec.Struct, frozen=True, kw_only=True):
    """Something that was answered with success and is lost all the same."""

    at_ms: int
    scope: str
    event: object
    reasons: tuple[Problem, ...]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The whole ledger as one value, for reading it from another process."""

    requests: list[Request]
    accepted: list[Accepted]
    refused: list[Refused]
    invalid: list[Invalid]
    warnings: list[Problem]
    effects: dict[str, int]
    double_effects: dict[str, int]
    repeats: dict[str, int]


class _Effect(NamedTuple):
    counted: int
    repeats: int
    first_at_ms: int


class Ledger:
    """The memory of one stand-in."""

    def __init__(self) -> None:
        self._requests: list[Request] = []
        self._accepted: list[Accepted] = []
        self._refused: list[Refused] = []
        self._invalid: list[Invalid] = []
        self._warnings: list[Problem] = []
        self._effects: dict[str, _Effect] = {}

    # questions

    def requests(self) -> list[Request]:
        """Every request that arrived, also those that met a fault."""
        return list(self._requests)

    def accepted_events(self) -> list[Accepted]:
        """Every event that was taken, repeats included, in order of arrival."""
        return list(self._accepted)

    def refused(self) -> list[Refused]:
        """Every request that was refused, with all the reasons found."""
        return list(self._refused)

    def invalid(self) -> list[Invalid]:
        """Every event that was answered with success and then lost."""
        return list(self._invalid)

    def warnings(self) -> list[Problem]:
        """What was taken although the vendor recommends otherwise."""
        return list(self._warnings)

    def effects(self) -> dict[str, int]:
        """Dedup key to the number of times it counted. Anything but 1 is wrong."""
        return {key: effect.counted for key, effect in self._effects.items()}

    def double_effects(self) -> dict[str, int]:
        """Dedup key to the number of times it counted too often; empty when all is well."""
        return {key: effect.counted - 1 for key, effect in self._effects.items() if effect.counted > 1}

    def repeats(self) -> dict[str, int]:
        """Dedup key to the number of repeats that the vendor recognised, so that they did no harm."""
        return {key: effect.repeats for key, effect in self._effects.items() if effect.repeats}

    def complaints(self) -> list[str]:
        """Everything that was refused, lost or warned about, as lines to read. Empty means a faultless sender."""
        refused = [(f"refused {one.status} {one.path}", reason) for one in self._refused for reason in one.reasons]
        lost = [(f"lost {one.scope}", reason) for one in self._invalid for reason in one.reasons]
        warned = [("warning", one) for one in self._warnings]
        return [f"{what}: {one.path} {one.message} ({one.rule})" for what, one in (*refused, *lost, *warned)]

    def everything_text(self) -> str:
        """Every byte that arrived, secrets apart: request lines, headers and bodies."""
        return "\n\n".join(request.text() for request in self._requests)

    def report(self) -> Report:
        """All answers at once."""
        return Report(
            requests=self.requests(),
            accepted=self.accepted_events(),
            refused=self.refused(),
            invalid=self.invalid(),
            warnings=self.warnings(),
            effects=self.effects(),
            double_effects=self.double_effects(),
            repeats=self.repeats(),
        )

    # notes

    def note(self, call: Call, *, body: bytes, fault: str | None) -> None:
        """Keep a request. `body` is what may be shown of it."""
        shown = tuple((name, "***" if name in _SECRET_PARAMETERS else value) for name, value in call.query)
        headers = {name: "***" if name in _SECRET_HEADERS else value for name, value in call.headers.items()}
        self._requests.append(
            Request(
                at_ms=call.at_ms,
                method=call.method,
                host=call.host,
                path=call.path,
                query=shown,
                headers=headers,
                body=body.decode("utf-8", "replace"),
                fault=fault,
            )
        )

    def accept(self, at_ms: int, scope: str, key: str, effect: str, event: dict[str, object]) -> None:
        """Keep an event that was taken."""
        self._accepted.append(Accepted(at_ms=at_ms, scope=scope, key=key, effect=effect, event=event))

    def refuse(self, call: Call, status: int, reasons: list[Problem]) -> None:
        """Keep the refusal of a whole request."""
        kept = tuple(reasons)
        self._refused.append(Refused(at_ms=call.at_ms, method=call.method, path=call.path, status=status, reasons=kept))

    def spoil(self, at_ms: int, scope: str, event: object, reasons: list[Problem]) -> None:
        """Keep an event that is lost although the answer was a success."""
        self._invalid.append(Invalid(at_ms=at_ms, scope=scope, event=event, reasons=tuple(reasons)))

    def warn(self, problems: list[Problem]) -> None:
        """Keep recommendations that were not followed."""
        self._warnings.extend(problems)

    def count(self, key: str, at_ms: int, *, window_ms: int | None = None, dedup: bool = True) -> bool:
        """Count an effect under its key and tell whether it is new, not a repeat the vendor recognises.

        A repeat is recognised within `window_ms` of the first (None: for ever), and never when `dedup` is off.
        """
        known = self._effects.get(key)
        if known is None:
            self._effects[key] = _Effect(1, 0, at_ms)
            return True
        if dedup and (window_ms is None or at_ms - known.first_at_ms <= window_ms):
            self._effects[key] = known._replace(repeats=known.repeats + 1)
            return False
        self._effects[key] = known._replace(counted=known.counted + 1, first_at_ms=at_ms)
        return True

    def clear(self) -> None:
        """Forget everything, dedup keys included."""
        for memory in (self._requests, self._accepted, self._refused, self._invalid, self._warnings):
            memory.clear()
        self._effects.clear()


def content_key(*parts: object) -> str:
    """Key of an event that carries none: a digest of its content, the same for the same content only."""
    return "content:" + hashlib.sha256(msgspec.json.encode(parts, order="deterministic")).hexdigest()[:32]
