"""Meta's Conversions API, played strictly: `POST https://graph.facebook.com/{version}/{dataset}/events`.

* The token is read from the query only, because that is the one documented place.
* One bad event refuses the whole batch with code 100, and the answer does not say which one it was.
* The later copy of an event with the same name and id is discarded within 48 hours of the first, and counts again after
  that. An event without an id is never recognised.
* A form body (`data` as a JSON list, its elements objects or JSON strings) is taken as well: the official SDK sends it.

Not documented, so the stand-in's own choice: which of the subcodes 28040xx for malformed parameters goes with which
fault, the codes for an ended version (2635), an unknown path (2500) and a wrong method, and the exact texts. Not known,
so not checked: body size, rate of calls, query parameters of other Graph features (none is taken).

Source: Meta for Developers, Conversions API: "Using the API", "Handling duplicate pixel and conversions API events",
Graph API "Error handling", "Rate limits" and changelog versions table (pages of 2026-09).
"""

import hashlib
import hmac
import re
from typing import Final
from urllib.parse import parse_qsl

import msgspec

from gateway.clock import Clock
from gateway.entropy import Entropy
from gateway.sandbox.call import Answer, Call, json_answer
from gateway.sandbox.checks import Problem, parse_json, record
from gateway.sandbox.config import MetaConfig, MetaToken
from gateway.sandbox.faults import Fault
from gateway.sandbox.ledger import content_key
from gateway.sandbox.meta_event import BODY_FIELDS, check_event, event_warnings
from gateway.sandbox.stand_in import StandIn
from gateway.times import HOUR_MS

__all__ = ["DEDUP_WINDOW_MS", "Meta", "error_fault"]

DEDUP_WINDOW_MS: Final = 48 * HOUR_MS

VERSIONS_END_MS: Final[dict[str, int | None]] = {
    "v26.0": None,
    "v25.0": 1_848_441_600_000,  # 2028-07-29
    "v24.0": 1_834_444_800_000,  # 2028-02-18
    "v23.0": 1_822_953_600_000,  # 2027-10-08
    "v22.0": 1_810_771_200_000,  # 2027-05-20
    "v21.0": 1_800_489_600_000,  # 2027-01-21
    "v20.0": 1_790_208_000_000,  # 2026-09-24
}
"""Graph API versions and the time they stop working."""

_PATH: Final = re.compile(r"/(v[0-9]+\.[0-9]+)/([0-9]+)/events", re.ASCII)
_QUERY: Final = frozenset({"access_token", "appsecret_proof"})
_BODY: Final = record(BODY_FIELDS, required=("data",))

_SUBCODES: Final = {
    "too_old": (2804003, "Event Timestamp Too Old"),
    "future": (2804017, "Invalid Event Timestamp"),
    "missing": (2804016, "Missing Required Parameter"),
    "identifiers": (2804048, "Insufficient Customer Information"),
    "digest_format": (2804019, "Invalid Customer Information"),
    "digest_case": (2804019, "Invalid Customer Information"),
    "digest_empty": (2804019, "Invalid Customer Information"),
    "clear_value": (2804019, "Invalid Customer Information"),
    "hashed": (2804019, "Invalid Customer Information"),
    "unknown": (2804007, "Unknown Parameter"),
    "batch": (2804001, "Too Many Events"),
}
_TOKEN_MESSAGES: Final = {
    460: "The session has been invalidated because the user changed their password.",
    463: "Error validating access token: Session has expired.",
}


class Meta(StandIn):
    """The stand-in for graph.facebook.com."""

    def __init__(self, config: MetaConfig, clock: Clock, entropy: Entropy) -> None:
        super().__init__(clock, entropy)
        self._config = config
        self._datasets = frozenset(dataset for token in config.tokens for dataset in token.datasets)

    def hosts(self) -> tuple[str, ...]:
        """The Graph API's host."""
        return ("graph.facebook.com",)

    def answer(self, call: Call) -> Answer:
        """Take or refuse one batch."""
        dataset, refusal = self._admit(call)
        if refusal is not None:
            return refusal
        body = _read_body(call)
        if isinstance(body, Problem):
            return self._refuse(call, 100, None, "Invalid parameter", [body])
        problems: list[Problem] = []
        _BODY(body, "", problems)
        events = body.get("data")
        if isinstance(events, list) and not problems:
            for index, event in enumerate(events):
                check_event(event, f"data[{index}]", call.at_ms, problems)
        if problems or not isinstance(events, list):
            subcode, title = _SUBCODES.get(problems[0].rule, (2804017, "Invalid Parameter"))
            return self._refuse(call, 100, subcode, "Invalid parameter", problems, title=title)
        for index, event in enumerate(events):
            self._take(call.at_ms, dataset, event, f"data[{index}]")
        return json_answer(200, {"events_received": len(events), "messages": [], "fbtrace_id": self._trace()})

    def _take(self, at_ms: int, dataset: str, event: dict[str, object], path: str) -> None:
        name, event_id = str(event["event_name"]), event.get("event_id")
        key = f"{name}|{event_id}" if event_id else content_key(dataset, event)
        effect_key = key if len(self._datasets) == 1 else f"{dataset}|{key}"
        new = self.ledger.count(effect_key, at_ms, window_ms=DEDUP_WINDOW_MS, dedup=bool(event_id))
        self.ledger.accept(at_ms, dataset, effect_key, "counted" if new else "discarded", event)
        self.ledger.warn(event_warnings(event, path))

    def _admit(self, call: Call) -> tuple[str, Answer | None]:
        """Check method, path, query and token; return the dataset or the refusal."""
        match = _PATH.fullmatch(call.path)
        if match is None or match[1] not in VERSIONS_END_MS:
            wrong = Problem("", "path", "no such path or version")
            return "", self._refuse(call, 2500, None, "Unknown path components", [wrong])
        end_ms = VERSIONS_END_MS[match[1]]
        if end_ms is not None and call.at_ms >= end_ms:
            wrong = Problem("", "version", "this Graph API version has ended")
            return "", self._refuse(call, 2635, None, "You are calling a deprecated version of the API", [wrong])
        dataset = match[2]
        unsupported = f"Unsupported {call.method.lower()} request."
        if call.method != "POST":
            wrong = Problem("", "method", "must be POST")
            return "", self._refuse(call, 100, 33, unsupported, [wrong], type_="GraphMethodException")
        unknown = [Problem(name, "unknown", "is not a query parameter of this call") for name, _ in call.query]
        unknown = [problem for problem in unknown if problem.path not in _QUERY]
        if unknown:
            return "", self._refuse(call, 100, None, "Invalid parameter", unknown)
        token, refusal = self._token(call)
        if token is None or refusal is not None:
            return "", refusal
        if dataset not in token.datasets:
            missing = Problem("", "dataset", "does not exist, or the token may not use it")
            text = f"{unsupported} Object with ID does not exist or cannot be loaded due to missing permissions"
            return "", self._refuse(call, 100, 33, text, [missing], type_="GraphMethodException")
        return dataset, None

    def _token(self, call: Call) -> tuple[MetaToken | None, Answer | None]:
        given = call.values("access_token")
        known = {token.value: token for token in self._config.tokens}
        token = known.get(given[0]) if len(given) == 1 else None
        if token is None:
            wrong = Problem("access_token", "token", "is not valid" if given else "is required")
            text = "Invalid OAuth access token - Cannot parse access token"
            return None, self._refuse(call, 190, None, text, [wrong], type_="OAuthException")
        expired = token.expires_at_ms is not None and call.at_ms >= token.expires_at_ms
        subcode = token.subcode or (463 if expired else None)
        if subcode is not None:
            text = _TOKEN_MESSAGES.get(subcode, "Error validating access token.")
            wrong = Problem("access_token", "token", "is not good any more")
            return None, self._refuse(call, 190, subcode, text, [wrong], type_="OAuthException")
        if not _proof_holds(token, call.values("appsecret_proof")):
            wrong = Problem("appsecret_proof", "proof", "is missing or wrong")
            text = "Invalid appsecret_proof provided in the API argument"
            return None, self._refuse(call, 100, None, text, [wrong], type_="GraphMethodException")
        return token, None

    def _refuse(
        self,
        call: Call,
        code: int,
        subcode: int | None,
        message: str,
        problems: list[Problem],
        *,
        title: str | None = None,
        type_: str = "OAuthException",
    ) -> Answer:
        self.ledger.refuse(call, 400, problems)
        return json_answer(
            400, _error(code, subcode, message, type_, self._trace(), title=title, why=problems[0].message)
        )

    def _trace(self) -> str:
        return "A" + self.entropy.token_bytes(11).hex()


def error_fault(
    code: int, subcode: int | None = None, *, status: int = 400, transient: bool = False, store: bool = False
) -> Fault:
    """A fault that answers with one of Meta's own error bodies, such as 4 (throttled) or 2 (temporary)."""
    body = _error(code, subcode, f"(#{code}) injected", "OAuthException", "Ainjected", transient=transient)
    text = msgspec.json.encode(body).decode("utf-8")
    return Fault.answer(status, text, {"Content-Type": "application/json; charset=UTF-8"}, store=store)


def _read_body(call: Call) -> dict[str, object] | Problem:
    """Read a JSON or form body into one object, or say what is wrong with it."""
    kind = call.content_type()
    try:
        if kind == "application/json":
            body = parse_json(call.body)
        elif kind == "application/x-www-form-urlencoded":
            body = _read_form(call.body)
        else:
            return Problem("", "content_type", "must be application/json")
    except ValueError:
        return Problem("", "json", "is not valid JSON")
    return body if isinstance(body, dict) else Problem("", "type", "must be an object")


def _read_form(body: bytes) -> object:
    form: dict[str, object] = dict(parse_qsl(body.decode("utf-8"), keep_blank_values=True, strict_parsing=True))
    data = parse_json(str(form.get("data", "")).encode())
    if isinstance(data, list):
        form["data"] = [parse_json(one.encode()) if isinstance(one, str) else one for one in data]
    return form


def _proof_holds(token: MetaToken, given: list[str]) -> bool:
    if token.app_secret is None:
        return not given
    if not given:
        return not token.proof_required
    wanted = hmac.new(token.app_secret.encode(), token.value.encode(), hashlib.sha256).hexdigest()
    return len(given) == 1 and hmac.compare_digest(wanted, given[0])


def _error(
    code: int,
    subcode: int | None,
    message: str,
    type_: str,
    trace: str,
    *,
    transient: bool = False,
    title: str | None = None,
    why: str | None = None,
) -> dict[str, object]:
    error: dict[str, object] = {"message": message, "type": type_, "code": code}
    if subcode is not None:
        error["error_subcode"] = subcode
    error["is_transient"] = transient
    if title is not None:
        error |= {"error_user_title": title, "error_user_msg": why}
    error["fbtrace_id"] = trace
    return {"error": error}
