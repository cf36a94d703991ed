"""Where an IngestEvents request sends to: accounts, conversion actions, and who may use them.

The operating account must be the one that owns the conversion action; a parent or child is refused. The caller must be
a user of that account or, through `loginAccount`, of one of its managers.

Source: developers.google.com/data-manager/api/devguides: events/google-ads/offline/send-events (2026-09-24), access
set-up pages; github googleapis/googleapis `google/ads/datamanager/v1/destination.proto`, commit f8291d2.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from gateway.sandbox.checks import Problem, clear_value, join
from gateway.sandbox.config import ConversionAction, GoogleAccount, GoogleConfig
from gateway.sandbox.google_event import GOOGLE_ADS

__all__ = ["Target", "check_event_for", "check_limits", "find_targets", "targets_of"]

_MOST_EVENTS: Final = 2000
_MOST_DESTINATIONS: Final = 10
_MATCHING: Final = ("gclid", "gbraid", "wbraid", "dclid", "sessionAttributes")


class Target(msgspec.Struct, frozen=True):
    """One destination of a request, found: the account, its conversion action, and how events may refer to it."""

    reference: str
    account: GoogleAccount
    action: ConversionAction


def check_limits(body: Mapping[str, Any], out: list[Problem]) -> None:
    """How many destinations and events there are, and whether the encoding of digests is named."""
    for name, most, reason in (
        ("destinations", _MOST_DESTINATIONS, "TOO_MANY_DESTINATIONS"),
        ("events", _MOST_EVENTS, "TOO_MANY_EVENTS"),
    ):
        given = body.get(name)
        if not given:
            out.append(Problem(name, "REQUIRED_FIELD_MISSING", "is required"))
        elif len(given) > most:
            out.append(Problem(name, reason, f"takes at most {most}"))
    if "encoding" not in body and any("userData" in event for event in body.get("events", ())):
        out.append(Problem("encoding", "REQUIRED_FIELD_MISSING", "is required with user data"))


def find_targets(
    body: Mapping[str, Any], config: GoogleConfig, principal: str, out: list[Problem]
) -> tuple[list[Target], bool]:
    """Find the targets of a request; False when the caller may not use one of them."""
    accounts = {account.id: account for account in config.accounts}
    targets: list[Target] = []
    seen: set[str] = set()
    for index, one in enumerate(body["destinations"]):
        path = f"destinations[{index}]"
        before = len(out)
        _check_form(one, path, out)
        reference = one.get("reference", "")
        if reference and reference in seen:
            out.append(Problem(join(path, "reference"), "DUPLICATE_DESTINATION_REFERENCE", "is used twice"))
        seen.add(reference)
        if len(out) > before:
            continue
        account = accounts.get(one["operatingAccount"]["accountId"])
        login = one.get("loginAccount", {}).get("accountId")
        if account is None or not _may_use(account, login, principal):
            return [], False
        action = next((known for known in account.actions if known.id == one["productDestinationId"]), None)
        if action is None:
            text = "is not a conversion action of the operating account"
            out.append(Problem(join(path, "productDestinationId"), "INVALID_CONVERSION_ACTION_ID", text))
        else:
            targets.append(Target(reference, account, action))
    return targets, True


def targets_of(event: Mapping[str, Any], targets: list[Target]) -> list[Target]:
    """The targets an event goes to: those it refers to, or all."""
    wanted = event.get("destinationReferences")
    return [target for target in targets if target.reference in wanted] if wanted else targets


def check_event_for(event: Mapping[str, Any], path: str, targets: list[Target], out: list[Problem]) -> None:
    """What an event needs depends on the conversion actions and accounts it goes to."""
    known = {target.reference for target in targets}
    for index, reference in enumerate(event.get("destinationReferences", ())):
        if reference not in known:
            place = join(path, f"destinationReferences[{index}]")
            out.append(Problem(place, "INVALID_DESTINATION", "is not a reference of this request"))
    mine = targets_of(event, targets)
    types = {target.action.type for target in mine}
    if "WEBPAGE" in types and "transactionId" not in event:
        text = "is required beside the Google tag"
        out.append(Problem(join(path, "transactionId"), "REQUIRED_FIELD_MISSING", text))
    if "UPLOAD_CLICKS" in types:
        if "eventSource" not in event:
            out.append(Problem(join(path, "eventSource"), "REQUIRED_FIELD_MISSING", "is required for offline events"))
        if not _has_identifier(event):
            out.append(Problem(path, "NO_IDENTIFIERS_PROVIDED", "needs a click id, user data or an IP address"))
    variables = {name for target in mine for name in target.account.custom_variables}
    for index, variable in enumerate(event.get("customVariables", ())):
        place = join(path, f"customVariables[{index}]")
        if variable.get("variable") not in variables:
            out.append(Problem(join(place, "variable"), "CUSTOM_VARIABLE_NOT_FOUND", "does not exist in the account"))
        if clear_value(variable.get("value", "")):
            text = "holds personal data"
            out.append(Problem(join(place, "value"), "CUSTOM_VARIABLE_VALUE_CONTAINS_PII", text))


def _check_form(destination: Mapping[str, Any], path: str, out: list[Problem]) -> None:
    for name in ("operatingAccount", "loginAccount", "linkedAccount"):
        account = destination.get(name)
        if account is None:
            if name == "operatingAccount":
                out.append(Problem(join(path, name), "REQUIRED_FIELD_MISSING", "is required"))
            continue
        for part in ("accountType", "accountId"):
            if not account.get(part):
                out.append(Problem(join(path, f"{name}.{part}"), "REQUIRED_FIELD_MISSING", "is required"))
        number = account.get("accountId", "")
        if number and not (number.isascii() and number.isdigit()):
            out.append(Problem(join(path, f"{name}.accountId"), "INVALID_FORMAT", "holds digits only"))
        if name == "operatingAccount" and account.get("accountType", GOOGLE_ADS) != GOOGLE_ADS:
            text = "only Google Ads accounts are played here"
            out.append(Problem(join(path, f"{name}.accountType"), "DESTINATION_ACCOUNT_TYPE_MISMATCH", text))
    product = destination.get("productDestinationId", "")
    if not product:
        out.append(Problem(join(path, "productDestinationId"), "REQUIRED_FIELD_MISSING", "is required"))
    elif not (product.isascii() and product.isdigit()):
        text = "is the numeric id of a conversion action"
        out.append(Problem(join(path, "productDestinationId"), "INVALID_CONVERSION_ACTION_ID", text))


def _may_use(account: GoogleAccount, login: str | None, principal: str) -> bool:
    if login is None or login == account.id:
        return principal in account.users
    return principal in account.managers.get(login, ())


def _has_identifier(event: Mapping[str, Any]) -> bool:
    identifiers = event.get("adIdentifiers", {})
    devices = (identifiers.get("landingPageDeviceInfo", {}), event.get("eventDeviceInfo", {}))
    return (
        any(identifiers.get(name) for name in _MATCHING)
        or bool(event.get("userData", {}).get("userIdentifiers"))
        or any(device.get("ipAddress") for device in devices)
    )
