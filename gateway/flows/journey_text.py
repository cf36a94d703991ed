"""Journey text: one conversion written for people, a step a paragraph."""

from collections.abc import Iterator, Mapping, Sequence

__all__ = ["credit_lines", "journey_text"]


def journey_text(found: Mapping[str, object]) -> str:
    """Write what `journey.journey` answers."""
    return "\n".join(_lines(found)) + "\n"


def _lines(found: Mapping[str, object]) -> Iterator[str]:
    test = ", a test" if found["test"] else ""
    yield f"Conversion {found['conversion_id']}  {found['goal']}  on site {found['site']}{test}"
    yield ""
    order = f", order {found['order_id']}" if found["order_id"] else ""
    yield f"counted      {found['occurred_at']}, received {found['received_at']} from a {found['source_trust']}{order}"
    yield f"             {found['fate']}. {found['because']}"
    yield f"worth        {_worth(found)}. {found['value_because']}"
    for step in _rows(found["value_history"])[1:]:
        yield (
            f"               {step['at']}  {step['what']} {step['value'] or ''} ({step['reason']}): "
            f"{step['net_value'] or 'nothing'} left. {step['because']}"
        )
    for name, key in (("click", "click_id"), ("coupons", "coupons")):
        if found[key]:
            said = found[key]
            yield f"names        {name} {', '.join(map(str, said)) if isinstance(said, list) else said}"
    if found["campaign"]:
        yield f"names        campaign {_named(found['campaign'])}"
    yield from credit_lines(_row(found["credit"]))
    yield f"rules        {_rules(_row(found['rules']), found)}"
    yield from _touch_lines(_rows(found["touches"]))
    events = _rows(found["events"])
    if events:
        yield "visit"
    for event in events:
        mark = "  <- the conversion" if event["conversion"] else ""
        yield f"             {event['at']}  {event['name']}  {event['url'] or ''}{mark}".rstrip()
    deliveries = _rows(found["deliveries"])
    yield "deliveries" if deliveries else "deliveries   none: no destination takes this event"
    for delivery in deliveries:
        yield f"             {delivery['destination']}: {delivery['fate']}. {delivery['because']}"


def credit_lines(credit: Mapping[str, object]) -> Iterator[str]:
    """What a decision, in full or in short, says about the credit."""
    state = credit["state"]
    if state in {"waiting", "duplicate"}:
        yield f"credit       {'not decided yet' if state == 'waiting' else 'none: it repeats a conversion that counted'}"
        return
    matched = credit.get("matched_because") or credit["matched_by"]
    yield f"credit       version {credit['version']}, model {credit['model']}, found {matched}"
    winner = _row(credit.get("winner"))
    if winner:
        yield f"               won by {_title(winner)}, {_share(winner)}"
    else:
        yield f"               credited to nobody: {credit['because']}"
    for note in _texts(credit.get("notes")):
        yield f"               note: {note}"


def _touch_lines(touches: Sequence[Mapping[str, object]]) -> Iterator[str]:
    yield "touches" if touches else "touches      none are known of this person"
    for touch in touches:
        at = touch["at"] or "not stored any more    "
        yield f"             {at}  {touch['kind'] or 'touch'}  {_title(touch)}".rstrip()
        if "share" in touch:
            value = f", {touch['value']}" if touch["value"] is not None else ""
            yield f"               earned {_share(touch)}{value}"
        elif "excluded" in touch:
            yield f"               left out ({touch['excluded']}): {touch['because']}"
        else:
            yield f"               {touch['because']}"


def _share(touch: Mapping[str, object]) -> str:
    share = touch["share"]
    return f"{share * 100:.2f} %" if isinstance(share, float) else "nothing"


def _title(touch: Mapping[str, object]) -> str:
    """Channel, source and medium, then campaign, link and ambassador as far as they are known."""
    if "channel" not in touch:
        return ""
    parts = [str(touch["channel"])]
    if touch["source"] or touch["medium"]:
        parts.append(f"{touch['source'] or '-'} / {touch['medium'] or '-'}")
    for kind in ("campaign", "link", "ambassador"):
        if touch[kind]:
            parts.append(f"{kind} {_named(touch[kind])}")
    if touch["campaign_name"] and not touch["campaign"]:
        parts.append(f"campaign {touch['campaign_name']}")
    return ", ".join(parts)


def _named(entry: object) -> str:
    named = _row(entry)
    return str(named.get("name") or named.get("code") or named.get("id"))


def _rules(rules: Mapping[str, object], found: Mapping[str, object]) -> str:
    version = found["goal_version"]
    whose = f"goal {found['goal']} at version {version}" if version else f"goal {found['goal']} has no entry: defaults"
    return (
        f"{whose}: clicks count for {rules['click_window_days']} days, views for {rules['view_window_days']} "
        f"({rules['view_policy']}), direct {rules['direct_policy']}, coupons {rules['coupon_policy']}, pin {rules['pin']}"
        + (", starting anew after each conversion" if rules["reset_after_conversion"] else "")
    )


def _worth(found: Mapping[str, object]) -> str:
    if found["value"] is None and found["net_value"] is None:
        return "no amount"
    if found["value"] == found["net_value"]:
        return f"{found['value']} {found['currency']}"
    return f"{found['net_value']} {found['currency']}, of {found['value'] or 'no amount'} at first"


def _row(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _rows(value: object) -> list[Mapping[str, object]]:
    return [_row(one) for one in value] if isinstance(value, list) else []


def _texts(value: object) -> list[str]:
    return [str(one) for one in value] if isinstance(value, list) else []
