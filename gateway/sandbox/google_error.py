"""Google's error bodies: `google.rpc.Status` with its standard details, and a fault that shows one.

Field paths are written as Google does, in snake case with indexes: `events[3].ad_identifiers.gclid`. A description
never repeats a value.

Source: developers.google.com/data-manager/api/devguides/concepts/understand-errors (2026-09); AIP-193, google.rpc.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from gateway.sandbox.checks import Problem
from gateway.sandbox.faults import Fault

__all__ = ["JSON_RULES", "error_body", "error_fault", "field_path"]

JSON_RULES: Final = frozenset({"type", "unknown", "range", "too_short", "too_long"})
"""Rules of the JSON layer: they carry no ErrorReason."""

_TYPE: Final = "type.googleapis.com/google.rpc."
_DOMAIN: Final = "datamanager.googleapis.com"


def field_path(path: str) -> str:
    """A JSON path in Google's own spelling."""
    return re.sub(r"[A-Z]", lambda letter: "_" + letter[0].lower(), path)


def error_body(
    code: int,
    status: str,
    message: str,
    *,
    reason: str | None = None,
    metadata: Mapping[str, str] | None = None,
    problems: Sequence[Problem] = (),
    request_id: str | None = None,
) -> dict[str, object]:
    """The JSON body of an error."""
    details: list[dict[str, object]] = []
    if reason is not None:
        info = {"@type": _TYPE + "ErrorInfo", "reason": reason, "domain": _DOMAIN}
        details.append({**info, "metadata": dict(metadata)} if metadata else {**info})
    if problems:
        details.append({"@type": _TYPE + "BadRequest", "fieldViolations": [_violation(one) for one in problems]})
    if request_id is not None:
        details.append({"@type": _TYPE + "RequestInfo", "requestId": request_id})
    error: dict[str, object] = {"code": code, "message": message, "status": status}
    if details:
        error["details"] = details
    return {"error": error}


def error_fault(
    code: int, status: str, *, reason: str | None = None, metadata: Mapping[str, str] | None = None, store: bool = False
) -> Fault:
    """A fault with one of Google's error bodies.

    The minute quota, for example, is `error_fault(429, "RESOURCE_EXHAUSTED", reason="RESOURCE_EXHAUSTED",
    metadata={"quota_limit": "IngestionMutateRequestsPerMinutePerProject"})`.
    """
    body = msgspec.json.encode(error_body(code, status, "Injected.", reason=reason, metadata=metadata))
    return Fault.answer(code, body.decode("utf-8"), {"Content-Type": "application/json; charset=UTF-8"}, store=store)


def _violation(problem: Problem) -> dict[str, str]:
    if problem.rule == "unknown":
        parent, _, name = problem.path.rpartition(".")
        place = field_path(parent)
        where = f" at '{place}'" if place else ""
        text = f'Invalid JSON payload received. Unknown name "{name}"{where}: Cannot find field.'
        return {"field": place, "description": text}
    place = field_path(problem.path)
    if problem.rule in JSON_RULES:
        return {"field": place, "description": f"Invalid value at '{place}': {problem.message}"}
    return {"field": place, "description": problem.message, "reason": problem.rule}
