"""Rendering: one permitted event becomes one vendor's event, or the reason why it cannot (pure).

The way is the same for every destination: name, age, fields, required fields, the vendor's own checks, size.
"""

from typing import TYPE_CHECKING, Final

import msgspec

from gateway.destinations.definition import Context, Destination, Ready, Withdrawn
from gateway.event import Payload, Unfit
from gateway.times import DAY_MS

if TYPE_CHECKING:
    from gateway.permit import Permitted

__all__ = ["open_payload", "render", "render_withdrawal", "vendor_name"]

_encode: Final = msgspec.json.Encoder().encode
SEPARATOR: Final = b"\n"
WITHDRAWAL_AGE_MS: Final = 90 * DAY_MS
"""How long a withdrawal that could not be passed on is kept for a replay, if the retention of dead payloads allows it."""


def vendor_name(destination: Destination, name: str, overrides: object = None) -> str | Unfit:
    """Return the vendor's name of an event. `overrides` is the operator's own map, if the destination offers one."""
    if isinstance(overrides, dict) and isinstance(named := overrides.get(name), str):
        return named
    if name in destination.refusals:
        return Unfit(destination.refusals[name])
    mapped = destination.event_names.get(name)
    if mapped is not None:
        return mapped
    return name if destination.custom_events else Unfit("event_not_mapped")


def render(destination: Destination, event: "Permitted", context: Context) -> Payload | Unfit:
    """Make the vendor's event. The body holds the batch group on its first line and the event as JSON after it."""
    name = vendor_name(destination, event.name, context.options.get("event_names"))
    if isinstance(name, Unfit):
        return name
    age_ms = context.now_ms - event.occurred_at_ms
    if age_ms > destination.age_max_ms:
        return Unfit("event_too_old")
    if -age_ms > destination.future_max_ms:
        return Unfit("event_in_future")
    made: dict[str, object] = {}
    for field in destination.fields:
        if field.only is not None and name not in field.only:
            continue
        value = field.make(event, context)
        if value is None or value == "" or value == [] or value == {}:
            if field.required:
                return Unfit("field_required", field.to)
            continue
        _put(made, field.to, value)
    for check in destination.checks:
        fault = check(made, event, context)
        if fault is not None:
            reason, _, where = fault.partition(":")
            return Unfit(reason, where or None)
    body = _encode(made)
    if len(body) > destination.event_max_bytes:
        return Unfit("payload_too_large")
    return Payload(
        destination=event.destination,
        body=destination.group(event, context).encode("utf-8") + SEPARATOR + body,
        purposes=event.purposes,
        dedup_key=destination.dedup(event, context),
        expires_at_ms=event.occurred_at_ms + destination.age_max_ms,
    )


def render_withdrawal(destination: Destination, told: Withdrawn, context: Context) -> tuple[Payload, ...]:
    """Make the messages by which a vendor is told of a withdrawal; none when it documents no such call."""
    call = destination.withdrawal
    if call is None:
        return ()
    parts = [
        told.event_ids[start : start + call.events_max] for start in range(0, len(told.event_ids), call.events_max)
    ]
    made = []
    for number, event_ids in enumerate(parts, 1):
        part = msgspec.structs.replace(told, event_ids=event_ids, part=number, parts=len(parts))
        payload = Payload(
            destination=told.destination,
            body=SEPARATOR + _encode(call.make(part, context)),
            purposes=told.withdrawn,
            dedup_key=call.dedup(part, context),
            expires_at_ms=told.at_ms + WITHDRAWAL_AGE_MS,
        )
        made.append(payload)
    return tuple(made)


def open_payload(body: bytes, dedup_key: str | None) -> Ready:
    """Split an opened payload into its batch group and the vendor's event."""
    group, _, event = body.partition(SEPARATOR)
    return Ready(group.decode("utf-8"), event, dedup_key)


def _put(made: dict[str, object], path: str, value: object) -> None:
    """Put a value at a dotted path; `events[]` opens a list with one object that later paths share."""
    place: object = made
    parts = path.split(".")
    for part in parts[:-1]:
        key = part.removesuffix("[]")
        if not isinstance(place, dict):
            raise TypeError(path)
        if part.endswith("[]"):
            place = place.setdefault(key, [{}])[0]
        else:
            place = place.setdefault(key, {})
    if not isinstance(place, dict):
        raise TypeError(path)
    place[parts[-1]] = value
