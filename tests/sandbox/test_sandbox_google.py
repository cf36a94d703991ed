"""The stand-ins for Google: tokens by both flows, events:ingest with fast fail, adjustments and processing status."""

import base64
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlencode

import aiohttp
import msgspec
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from gateway.clock import ManualClock
from gateway.entropy import SystemEntropy
from gateway.sandbox.call import Answer, Call
from gateway.sandbox.config import ConversionAction, OAuthClient, OAuthUser, SandboxConfig
from gateway.sandbox.google_ads import GoogleAds
from gateway.sandbox.google_token import GoogleToken
from gateway.sandbox.stand_ins import StandIns, network_from
from gateway.times import DAY_MS, HOUR_MS, MINUTE_MS, utc_text

Send = Callable[..., Awaitable[Answer]]
Change = Callable[[dict[str, Any]], object]

DIGEST = "62a14e44f765419d10fea99367361a727c12365e2520f32218d505ed9aa0f62f"
EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
INGEST = "https://datamanager.googleapis.com/v1/events:ingest"
STATUS = "https://datamanager.googleapis.com/v1/requestStatus:retrieve"
TOKEN = "https://oauth2.googleapis.com/token"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def assertion(config: SandboxConfig, clock: ManualClock, *, key: object = None, **changes: object) -> str:
    """A signed JWT as the documentation describes it; `changes` replace header fields or claims."""
    file = msgspec.json.decode(config.gateway.google_service_account_json)
    now_s = clock.now_ms() // 1000
    header = {"typ": "JWT", "alg": "RS256", "kid": file["private_key_id"]}
    claims: dict[str, object] = {
        "iss": file["client_email"],
        "scope": "https://www.googleapis.com/auth/datamanager",
        "aud": TOKEN,
        "iat": now_s,
        "exp": now_s + 3600,
    }
    for name, value in changes.items():
        (header if name in header else claims)[name] = value
    parts = [base64.urlsafe_b64encode(msgspec.json.encode(part)).rstrip(b"=") for part in (header, claims)]
    signer = key or load_pem_private_key(file["private_key"].encode(), None)
    assert isinstance(signer, rsa.RSAPrivateKey)
    signature = signer.sign(b".".join(parts), padding.PKCS1v15(), hashes.SHA256())
    return b".".join([*parts, base64.urlsafe_b64encode(signature).rstrip(b"=")]).decode()


async def ask_token(send: Send, **form: str) -> Answer:
    return await send("POST", TOKEN, data=urlencode(form).encode(), headers=FORM)


async def service_token(send: Send, config: SandboxConfig, clock: ManualClock) -> str:
    grant = "urn:ietf:params:oauth:grant-type:jwt-bearer"
    answer = await ask_token(send, grant_type=grant, assertion=assertion(config, clock))
    assert answer.status == 200, answer.body
    return str(msgspec.json.decode(answer.body)["access_token"])


def request_of(config: SandboxConfig, clock: ManualClock) -> dict[str, Any]:
    """A complete request for the offline purchase action, written by hand from the documentation."""
    values = config.gateway
    return {
        "destinations": [
            {
                "reference": "a",
                "operatingAccount": {"accountType": "GOOGLE_ADS", "accountId": values.google_account_id},
                "loginAccount": {"accountType": "GOOGLE_ADS", "accountId": values.google_manager_id},
                "productDestinationId": values.google_action_purchase,
            }
        ],
        "encoding": "HEX",
        "events": [
            {
                "transactionId": "T1",
                "eventTimestamp": utc_text(clock.now_ms() - HOUR_MS),
                "eventSource": "WEB",
                "currency": "EUR",
                "conversionValue": 12.5,
                "adIdentifiers": {"gclid": "Cj0KCQiA1"},
                "userData": {
                    "userIdentifiers": [
                        {"emailAddress": DIGEST},
                        {"phoneNumber": DIGEST},
                        {
                            "address": {
                                "givenName": DIGEST,
                                "familyName": DIGEST,
                                "regionCode": "DE",
                                "postalCode": "10115",
                            }
                        },
                    ]
                },
                "cartData": {"items": [{"merchantProductId": "sku-1", "quantity": "2", "unitPrice": 6.25}]},
                "customVariables": [{"variable": "order_kind", "value": "gift"}],
                "userProperties": {"customerType": "NEW"},
                "consent": {"adUserData": "CONSENT_GRANTED", "adPersonalization": "CONSENT_DENIED"},
            }
        ],
    }


class Ingest:
    """Sends requests with a fresh service-account token."""

    def __init__(self, send: Send, config: SandboxConfig, clock: ManualClock) -> None:
        self._send, self._config, self._clock = send, config, clock
        self.token: str | None = None

    async def __call__(self, body: object, **headers: str) -> Answer:
        self.token = self.token or await service_token(self._send, self._config, self._clock)
        named = {"Authorization": f"Bearer {self.token}"} | headers
        return await self._send("POST", INGEST, json=body, headers=named)

    async def status(self, request_id: str) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self.token}"}
        answer = await self._send("GET", f"{STATUS}?requestId={request_id}", headers=headers)
        found: dict[str, Any] = msgspec.json.decode(answer.body)
        return found


@pytest.fixture
def ingest(send: Send, config: SandboxConfig, clock: ManualClock) -> Ingest:
    return Ingest(send, config, clock)


# ---------------------------------------------------------------- tokens


async def test_both_flows_hand_out_a_token(
    send: Send, config: SandboxConfig, stand_ins: StandIns, clock: ManualClock
) -> None:
    values = config.gateway
    assert await service_token(send, config, clock)
    answer = await ask_token(
        send,
        grant_type="refresh_token",
        client_id=values.google_client_id,
        client_secret=values.google_client_secret,
        refresh_token=values.google_refresh_token,
    )
    body = msgspec.json.decode(answer.body)
    assert (answer.status, body["token_type"], body["expires_in"]) == (200, "Bearer", 3599)
    everything = stand_ins.everything_text()
    assert values.google_client_secret not in everything
    assert values.google_refresh_token not in everything
    assert "assertion=***" in everything


JWT_FAULTS: list[tuple[str, dict[str, object], str]] = [
    ("an unknown service account", {"iss": "other@x.iam.gserviceaccount.com"}, "invalid_grant"),
    ("an unregistered key id", {"kid": "0" * 40}, "invalid_grant"),
    ("another algorithm", {"alg": "RS512"}, "invalid_grant"),
    ("another audience", {"aud": "https://accounts.google.com/o/oauth2/token"}, "invalid_grant"),
    ("no scope", {"scope": ""}, "invalid_scope"),
    ("two hours of life", {"exp": 1_795_176_000 + 7200}, "invalid_grant"),
    ("milliseconds", {"iat": 1_795_176_000_000, "exp": 1_795_179_600_000}, "invalid_grant"),
    ("times as strings", {"iat": "1795176000"}, "invalid_grant"),
    ("an expired assertion", {"iat": 1_795_176_000 - 7200, "exp": 1_795_176_000 - 3600}, "invalid_grant"),
    ("an assertion from the future", {"iat": 1_795_176_000 + 600, "exp": 1_795_176_000 + 1200}, "invalid_grant"),
]


@pytest.mark.parametrize(("changes", "error"), [case[1:] for case in JWT_FAULTS], ids=[case[0] for case in JWT_FAULTS])
async def test_a_wrong_assertion_gets_no_token(
    send: Send, config: SandboxConfig, stand_ins: StandIns, clock: ManualClock, changes: dict[str, object], error: str
) -> None:
    grant = "urn:ietf:params:oauth:grant-type:jwt-bearer"
    answer = await ask_token(send, grant_type=grant, assertion=assertion(config, clock, **changes))
    assert (answer.status, msgspec.json.decode(answer.body)["error"]) == (400, error)
    assert len(stand_ins.google_token.ledger.refused()) == 1


async def test_an_assertion_signed_by_another_key_gets_no_token(
    send: Send, config: SandboxConfig, clock: ManualClock
) -> None:
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    grant = "urn:ietf:params:oauth:grant-type:jwt-bearer"
    answer = await ask_token(send, grant_type=grant, assertion=assertion(config, clock, key=other))
    assert msgspec.json.decode(answer.body)["error_description"] == "Invalid JWT Signature."


async def test_a_wrong_refresh_gets_no_token(send: Send, config: SandboxConfig) -> None:
    values = config.gateway
    right = {
        "grant_type": "refresh_token",
        "client_id": values.google_client_id,
        "client_secret": values.google_client_secret,
        "refresh_token": values.google_refresh_token,
    }

    async def error(**changes: str) -> tuple[int, str]:
        answer = await ask_token(send, **{**right, **changes})
        return answer.status, msgspec.json.decode(answer.body)["error"]

    assert await error(client_id="other") == (401, "invalid_client")
    assert await error(client_secret="other") == (401, "invalid_client")
    assert await error(refresh_token="other") == (400, "invalid_grant")
    assert await error(grant_type="password") == (400, "unsupported_grant_type")
    as_json = await send("POST", TOKEN, json=right)
    assert (as_json.status, msgspec.json.decode(as_json.body)["error"]) == (400, "invalid_request")
    assert (await send("GET", TOKEN)).status == 405


JWT_GRANT = "grant_type=urn:ietf:params:oauth:grant-type:jwt-bearer&assertion="


@pytest.mark.parametrize(
    ("body", "error", "why"),
    [
        ("assertion=a.b.c", "invalid_request", "grant_type"),
        ("grant_type=refresh_token&grant_type=refresh_token", "invalid_request", "twice"),
        (JWT_GRANT + "a.b", "invalid_grant", "three parts"),
        (JWT_GRANT + "W10.W10.c", "invalid_grant", "not a JSON object"),
        (JWT_GRANT + "e30=.e30.c", "invalid_grant", "without padding"),
        (JWT_GRANT + "e30.e!0.c", "invalid_grant", "base64url"),
    ],
)
async def test_a_malformed_token_request_is_an_oauth_error(send: Send, body: str, error: str, why: str) -> None:
    answer = await send("POST", TOKEN, data=body.encode(), headers=FORM)
    found = msgspec.json.decode(answer.body)
    assert (answer.status, found["error"]) == (400, error)
    assert why in found["error_description"]


async def test_a_refresh_token_belongs_to_its_client(config: SandboxConfig, clock: ManualClock) -> None:
    other = OAuthClient(client_id="other", client_secret="s")
    google = msgspec.structs.replace(config.google, clients=(*config.google.clients, other))
    office = GoogleToken(google, clock, SystemEntropy())
    form = {
        "grant_type": "refresh_token",
        "client_id": "other",
        "client_secret": "s",
        "refresh_token": config.gateway.google_refresh_token,
    }
    for kind, error in ((FORM["Content-Type"], "unauthorized_client"), ("text/plain", "invalid_request")):
        call = Call(
            method="POST",
            host="",
            path="/token",
            at_ms=clock.now_ms(),
            headers={"content-type": kind},
            body=urlencode(form).encode(),
        )
        assert msgspec.json.decode(office.answer(call).body)["error"] == error


async def test_calls_without_a_good_token_are_not_let_in(
    send: Send, config: SandboxConfig, stand_ins: StandIns, clock: ManualClock, ingest: Ingest
) -> None:
    body = request_of(config, clock)
    missing = await send("POST", INGEST, json=body)
    assert missing.status == 401
    assert msgspec.json.decode(missing.body)["error"]["details"][0]["reason"] == "CREDENTIALS_MISSING"
    assert [one.status for one in stand_ins.google_ads.ledger.refused()] == [401]
    assert (await ingest(body, Authorization="Bearer made-up")).status == 401
    assert (await ingest(body)).status == 200
    clock.move(ms=HOUR_MS)
    expired = await ingest(body)
    assert msgspec.json.decode(expired.body)["error"]["details"][0]["reason"] == "ACCESS_TOKEN_EXPIRED"
    ingest.token = None
    assert (await ingest(body)).status == 200
    stand_ins.google_token.revoke_all()
    assert (await ingest(body)).status == 401


async def test_a_token_of_another_scope_or_person_may_not_write(config: SandboxConfig, clock: ManualClock) -> None:
    narrow = OAuthUser(email="owner@shop.example", client_id="c", refresh_token="narrow", scopes=("openid",))
    stranger = OAuthUser(email="stranger@shop.example", client_id="c", refresh_token="stranger")
    client = msgspec.structs.replace(config.google.clients[0], client_id="c")
    google = msgspec.structs.replace(config.google, users=(narrow, stranger), clients=(client,))
    async with StandIns(msgspec.structs.replace(config, google=google), clock=clock) as running:
        resolver, trust = network_from(running.connect_info())
        connector = aiohttp.TCPConnector(resolver=resolver, ssl=trust)
        async with aiohttp.ClientSession(connector=connector) as session:
            for refresh_token, reason in (
                ("narrow", "ACCESS_TOKEN_SCOPE_INSUFFICIENT"),
                ("stranger", "PERMISSION_DENIED"),
            ):
                form = {
                    "grant_type": "refresh_token",
                    "client_id": "c",
                    "client_secret": client.client_secret,
                    "refresh_token": refresh_token,
                }
                async with session.post(TOKEN, data=form) as response:
                    token = (await response.json())["access_token"]
                headers = {"Authorization": f"Bearer {token}"}
                async with session.post(INGEST, json=request_of(config, clock), headers=headers) as response:
                    error = (await response.json())["error"]
                    assert (response.status, error["details"][0]["reason"]) == (403, reason)


# ---------------------------------------------------------------- events


async def test_a_correct_request_is_taken_and_processed(
    config: SandboxConfig, stand_ins: StandIns, clock: ManualClock, ingest: Ingest
) -> None:
    answer = await ingest(request_of(config, clock))
    body = msgspec.json.decode(answer.body)
    assert answer.status == 200
    assert list(body) == ["requestId"]
    ledger = stand_ins.google_ads.ledger
    assert ledger.effects() == {"555000001|T1": 1}
    assert ledger.complaints() == []
    early = await ingest.status(body["requestId"])
    assert early["requestStatusPerDestination"][0]["requestStatus"] == "PROCESSING"
    clock.move(ms=30 * MINUTE_MS)
    [done] = (await ingest.status(body["requestId"]))["requestStatusPerDestination"]
    assert done["requestStatus"] == "SUCCESS"
    assert done["eventsIngestionStatus"] == {"recordCount": "1"}
    assert done["destination"]["productDestinationId"] == "555000001"


def event(body: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = body["events"][-1]
    return found


def people(body: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = event(body)["userData"]["userIdentifiers"]
    return found


WRONG: list[tuple[str, Change, str, str | None]] = [
    ("an unknown key", lambda b: event(b).update(eventId="1"), "events[3]", None),
    ("snake case", lambda b: event(b).update(transaction_id="1"), "events[3]", None),
    ("an unknown key in the request", lambda b: b.update(test=True), "", None),
    ("value as a string", lambda b: event(b).update(conversionValue="12.5"), "events[3].conversion_value", None),
    ("time as a number", lambda b: event(b).update(eventTimestamp=1_795_176_000), "events[3].event_timestamp", None),
    ("an unknown source", lambda b: event(b).update(eventSource="web"), "events[3].event_source", "INVALID_ENUM_VALUE"),
    ("no time", lambda b: event(b).pop("eventTimestamp"), "events[3].event_timestamp", "REQUIRED_FIELD_MISSING"),
    (
        "a time without zone",
        lambda b: event(b).update(eventTimestamp="2026-11-20T11:00:00"),
        "events[3].event_timestamp",
        "EVENT_TIME_INVALID",
    ),
    (
        "a time with a space",
        lambda b: event(b).update(eventTimestamp="2026-11-20 11:00:00Z"),
        "events[3].event_timestamp",
        "EVENT_TIME_INVALID",
    ),
    (
        "an event in an hour",
        lambda b: event(b).update(eventTimestamp="2026-11-20T13:00:00Z"),
        "events[3].event_timestamp",
        "EVENT_TIME_INVALID",
    ),
    (
        "an empty transactionId",
        lambda b: event(b).update(transactionId=""),
        "events[3].transaction_id",
        "INVALID_FORMAT",
    ),
    (
        "an e-mail as transactionId",
        lambda b: event(b).update(transactionId="a@b.example"),
        "events[3].transaction_id",
        "INVALID_FORMAT",
    ),
    (
        "no source for an offline event",
        lambda b: event(b).pop("eventSource"),
        "events[3].event_source",
        "REQUIRED_FIELD_MISSING",
    ),
    (
        "a negative value",
        lambda b: event(b).update(conversionValue=-1),
        "events[3].conversion_value",
        "INVALID_NUMBER_FORMAT",
    ),
    (
        "currency in lower case",
        lambda b: event(b).update(currency="eur"),
        "events[3].currency",
        "INVALID_CURRENCY_CODE",
    ),
    ("value without currency", lambda b: event(b).pop("currency"), "events[3].currency", "REQUIRED_FIELD_MISSING"),
    (
        "nothing to match by",
        lambda b: (event(b).pop("adIdentifiers"), event(b).pop("userData")),
        "events[3]",
        "NO_IDENTIFIERS_PROVIDED",
    ),
    (
        "a hashed click id",
        lambda b: event(b)["adIdentifiers"].update(gclid=DIGEST),
        "events[3].ad_identifiers.gclid",
        "INVALID_FORMAT",
    ),
    (
        "an empty click id",
        lambda b: event(b)["adIdentifiers"].update(gclid=""),
        "events[3].ad_identifiers.gclid",
        "INVALID_FORMAT",
    ),
    (
        "an upper-case digest",
        lambda b: people(b)[0].update(emailAddress=DIGEST.upper()),
        "events[3].user_data.user_identifiers[0].email_address",
        "INVALID_HEX_ENCODING",
    ),
    (
        "a clear e-mail",
        lambda b: people(b)[0].update(emailAddress="john@shop.example"),
        "events[3].user_data.user_identifiers[0].email_address",
        "INVALID_HEX_ENCODING",
    ),
    (
        "the digest of nothing",
        lambda b: people(b)[0].update(emailAddress=EMPTY),
        "events[3].user_data.user_identifiers[0].email_address",
        "INVALID_SHA256_FORMAT",
    ),
    (
        "an MD5 digest",
        lambda b: people(b)[1].update(phoneNumber=DIGEST[:32]),
        "events[3].user_data.user_identifiers[1].phone_number",
        "INVALID_SHA256_FORMAT",
    ),
    (
        "two identifiers in one entry",
        lambda b: people(b)[0].update(phoneNumber=DIGEST),
        "events[3].user_data.user_identifiers[0]",
        "INVALID_FORMAT",
    ),
    (
        "eleven identifiers",
        lambda b: people(b).extend([{"emailAddress": DIGEST}] * 8),
        "events[3].user_data.user_identifiers",
        "TOO_MANY_USER_IDENTIFIERS",
    ),
    (
        "an address without postal code",
        lambda b: people(b)[2]["address"].pop("postalCode"),
        "events[3].user_data.user_identifiers[2].address.postal_code",
        "REQUIRED_FIELD_MISSING",
    ),
    (
        "a hashed country",
        lambda b: people(b)[2]["address"].update(regionCode=DIGEST),
        "events[3].user_data.user_identifiers[2].address.region_code",
        "INVALID_REGION_CODE",
    ),
    (
        "a hashed postal code",
        lambda b: people(b)[2]["address"].update(postalCode=DIGEST),
        "events[3].user_data.user_identifiers[2].address.postal_code",
        "INVALID_POSTAL_CODE",
    ),
    (
        "a clear name",
        lambda b: people(b)[2]["address"].update(givenName="mary"),
        "events[3].user_data.user_identifiers[2].address.given_name",
        "INVALID_HEX_ENCODING",
    ),
    (
        "a city",
        lambda b: people(b)[2]["address"].update(city="berlin"),
        "events[3].user_data.user_identifiers[2].address.city",
        "INVALID_EVENT",
    ),
    ("no encoding", lambda b: b.pop("encoding"), "encoding", "REQUIRED_FIELD_MISSING"),
    (
        "consent in the other spelling",
        lambda b: event(b)["consent"].update(adUserData="GRANTED"),
        "events[3].consent.ad_user_data",
        "INVALID_ENUM_VALUE",
    ),
    (
        "a fraction of an item",
        lambda b: event(b)["cartData"]["items"][0].update(quantity=1.5),
        "events[3].cart_data.items[0].quantity",
        None,
    ),
    (
        "an unknown custom variable",
        lambda b: event(b)["customVariables"][0].update(variable="x"),
        "events[3].custom_variables[0].variable",
        "CUSTOM_VARIABLE_NOT_FOUND",
    ),
    (
        "an e-mail in a custom variable",
        lambda b: event(b)["customVariables"][0].update(value="a@b.example"),
        "events[3].custom_variables[0].value",
        "CUSTOM_VARIABLE_VALUE_CONTAINS_PII",
    ),
    (
        "an unknown destination",
        lambda b: event(b).update(destinationReferences=["z"]),
        "events[3].destination_references[0]",
        "INVALID_DESTINATION",
    ),
    (
        "a bad IP",
        lambda b: event(b).update(eventDeviceInfo={"ipAddress": "localhost"}),
        "events[3].event_device_info.ip_address",
        "INVALID_FORMAT",
    ),
    ("2001 events", lambda b: b.update(events=b["events"] * 501), "events", "TOO_MANY_EVENTS"),
    ("no events", lambda b: b.update(events=[]), "events", "REQUIRED_FIELD_MISSING"),
    (
        "11 destinations",
        lambda b: b.update(destinations=b["destinations"] * 11),
        "destinations",
        "TOO_MANY_DESTINATIONS",
    ),
    (
        "one reference twice",
        lambda b: b.update(destinations=b["destinations"] * 2),
        "destinations[1].reference",
        "DUPLICATE_DESTINATION_REFERENCE",
    ),
    (
        "an account with dashes",
        lambda b: b["destinations"][0]["operatingAccount"].update(accountId="123-456-7890"),
        "destinations[0].operating_account.account_id",
        "INVALID_FORMAT",
    ),
    (
        "an unknown conversion action",
        lambda b: b["destinations"][0].update(productDestinationId="1"),
        "destinations[0].product_destination_id",
        "INVALID_CONVERSION_ACTION_ID",
    ),
    (
        "a resource name as conversion action",
        lambda b: b["destinations"][0].update(productDestinationId="customers/1/conversionActions/2"),
        "destinations[0].product_destination_id",
        "INVALID_CONVERSION_ACTION_ID",
    ),
    (
        "a WEBPAGE action without transactionId",
        lambda b: (b["destinations"][0].update(productDestinationId="555000003"), event(b).pop("transactionId")),
        "events[3].transaction_id",
        "REQUIRED_FIELD_MISSING",
    ),
    (
        "no conversion action",
        lambda b: b["destinations"][0].pop("productDestinationId"),
        "destinations[0].product_destination_id",
        "REQUIRED_FIELD_MISSING",
    ),
    (
        "no operating account",
        lambda b: b["destinations"][0].pop("operatingAccount"),
        "destinations[0].operating_account",
        "REQUIRED_FIELD_MISSING",
    ),
    (
        "an account without type",
        lambda b: b["destinations"][0]["operatingAccount"].pop("accountType"),
        "destinations[0].operating_account.account_type",
        "REQUIRED_FIELD_MISSING",
    ),
    (
        "an account of another product",
        lambda b: b["destinations"][0]["operatingAccount"].update(accountType="DATA_PARTNER"),
        "destinations[0].operating_account.account_type",
        "DESTINATION_ACCOUNT_TYPE_MISMATCH",
    ),
]


@pytest.mark.parametrize(("change", "field", "reason"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG])
async def test_one_wrong_event_refuses_the_whole_request(
    config: SandboxConfig,
    stand_ins: StandIns,
    clock: ManualClock,
    ingest: Ingest,
    change: Change,
    field: str,
    reason: str | None,
) -> None:
    body = request_of(config, clock)
    body["events"] = [
        *(request_of(config, clock)["events"][0] | {"transactionId": f"G{n}"} for n in range(3)),
        event(body),
    ]
    change(body)
    answer = await ingest(body)
    error = msgspec.json.decode(answer.body)["error"]
    assert (answer.status, error["code"], error["status"]) == (400, 400, "INVALID_ARGUMENT")
    details = {one["@type"].rpartition(".")[2]: one for one in error["details"]}
    found = [(one["field"], one.get("reason")) for one in details["BadRequest"]["fieldViolations"]]
    assert (field, reason) in found
    assert details["RequestInfo"]["requestId"]
    assert ("ErrorInfo" in details) == (reason is not None)
    assert "john@shop.example" not in answer.body.decode()
    assert stand_ins.google_ads.ledger.accepted_events() == []
    assert len(stand_ins.google_ads.ledger.refused()) == 1


async def test_what_cannot_be_read_is_refused(
    send: Send, config: SandboxConfig, clock: ManualClock, ingest: Ingest
) -> None:
    assert (await ingest(request_of(config, clock))).status == 200
    headers = {"Authorization": f"Bearer {ingest.token}", "Content-Type": "application/json"}
    assert (await send("POST", INGEST, data=b'{"events": [', headers=headers)).status == 400
    assert (await send("POST", INGEST + "?key=x", json=request_of(config, clock), headers=headers)).status == 400
    whole = msgspec.json.encode(request_of(config, clock))
    assert (await send("POST", INGEST, data=whole, headers=headers | {"Content-Type": "text/plain"})).status == 400
    assert (await send("GET", INGEST, headers=headers)).status == 404
    assert (await send("POST", INGEST.replace("v1", "v2"), json={}, headers=headers)).status == 404


async def test_an_account_the_caller_may_not_use_is_refused(
    config: SandboxConfig, clock: ManualClock, ingest: Ingest
) -> None:
    for part in ("operatingAccount", "loginAccount"):
        body = request_of(config, clock)
        body["destinations"][0][part]["accountId"] = "5555555555"
        answer = await ingest(body)
        assert (answer.status, msgspec.json.decode(answer.body)["error"]["status"]) == (403, "PERMISSION_DENIED")
    direct = request_of(config, clock)
    del direct["destinations"][0]["loginAccount"]
    assert (await ingest(direct)).status == 200


async def test_the_same_transaction_is_an_adjustment(
    config: SandboxConfig, stand_ins: StandIns, clock: ManualClock, ingest: Ingest
) -> None:
    body = request_of(config, clock)
    await ingest(body)
    event(body)["conversionValue"] = 0
    await ingest(body)
    google = stand_ins.google_ads
    assert google.ledger.effects() == {"555000001|T1": 1}
    assert google.ledger.repeats() == {"555000001|T1": 1}
    conversion = google.conversions()["555000001|T1"]
    assert (conversion.value, conversion.currency, conversion.adjustments) == (0, "EUR", 1)
    body["destinations"][0]["productDestinationId"] = config.gateway.google_action_lead
    await ingest(body)
    assert google.ledger.effects() == {"555000001|T1": 1, "555000002|T1": 1}
    assert google.ledger.double_effects() == {}


async def test_without_a_transaction_id_every_arrival_is_a_conversion(
    config: SandboxConfig, stand_ins: StandIns, clock: ManualClock, ingest: Ingest
) -> None:
    body = request_of(config, clock)
    del event(body)["transactionId"]
    await ingest(body)
    await ingest(body)
    assert list(stand_ins.google_ads.ledger.double_effects().values()) == [1]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        pytest.param(lambda b: event(b).pop("consent"), "NO_CONSENT", id="no consent"),
        pytest.param(
            lambda b: event(b).update(consent={"adUserData": "CONSENT_DENIED"}), "DENIED_CONSENT", id="denied"
        ),
        pytest.param(
            lambda b: event(b).update(consent={"adUserData": "CONSENT_STATUS_UNSPECIFIED"}),
            "UNKNOWN_CONSENT",
            id="unspecified",
        ),
        pytest.param(
            lambda b: event(b).update(eventTimestamp=utc_text(1_795_176_000_000 - 91 * DAY_MS)),
            "EVENT_TOO_OLD",
            id="91 days",
        ),
    ],
)
async def test_what_is_lost_in_processing_is_counted_by_reason(
    config: SandboxConfig, stand_ins: StandIns, clock: ManualClock, ingest: Ingest, change: Change, reason: str
) -> None:
    body = request_of(config, clock)
    body["events"].append(request_of(config, clock)["events"][0] | {"transactionId": "T2"})
    change(body)
    request_id = msgspec.json.decode((await ingest(body)).body)["requestId"]
    assert [one.reasons[0].rule for one in stand_ins.google_ads.ledger.invalid()] == [reason]
    assert stand_ins.google_ads.ledger.effects() == {"555000001|T1": 1}
    clock.move(ms=30 * MINUTE_MS)
    [done] = (await ingest.status(request_id))["requestStatusPerDestination"]
    assert done["requestStatus"] == "PARTIAL_SUCCESS"
    counts = done["errorInfo"]["errorCounts"]
    assert counts == [{"recordCount": "1", "reason": f"PROCESSING_ERROR_REASON_{reason}"}]


async def test_consent_of_the_request_holds_for_events_without_their_own(
    config: SandboxConfig, stand_ins: StandIns, clock: ManualClock, ingest: Ingest
) -> None:
    body = request_of(config, clock)
    body["consent"] = event(body).pop("consent")
    await ingest(body)
    assert stand_ins.google_ads.ledger.invalid() == []


async def test_cart_data_beside_a_braid_is_taken_with_a_warning(
    config: SandboxConfig, stand_ins: StandIns, clock: ManualClock, ingest: Ingest
) -> None:
    body = request_of(config, clock)
    event(body)["adIdentifiers"] = {"wbraid": "Cj8KCAjw"}
    event(body)["cartData"]["items"].append({"quantity": 1})
    answer = msgspec.json.decode((await ingest(body)).body)
    assert [(one["field"], one["reason"].removeprefix("WARNING_REASON_")) for one in answer["fieldWarnings"]] == [
        ("events[0].cart_data", "CART_DATA_NOT_SUPPORTED_WITH_GBRAID_OR_WBRAID"),
        ("events[0].cart_data.items[1].merchant_product_id", "CART_DATA_ITEM_MERCHANT_PRODUCT_ID_MISSING"),
        ("events[0].cart_data.items[1].unit_price", "CART_DATA_ITEM_UNIT_PRICE_MISSING"),
    ]
    assert len(stand_ins.google_ads.ledger.accepted_events()) == 1


async def test_events_go_to_the_destinations_they_refer_to(
    config: SandboxConfig, stand_ins: StandIns, clock: ManualClock, ingest: Ingest
) -> None:
    body = request_of(config, clock)
    lead = body["destinations"][0] | {"reference": "b", "productDestinationId": config.gateway.google_action_lead}
    body["destinations"].append(lead)
    body["events"].append(body["events"][0] | {"transactionId": "T2", "destinationReferences": ["b"]})
    request_id = msgspec.json.decode((await ingest(body)).body)["requestId"]
    assert stand_ins.google_ads.ledger.effects() == {"555000001|T1": 1, "555000002|T1": 1, "555000002|T2": 1}
    clock.move(ms=30 * MINUTE_MS)
    found = (await ingest.status(request_id))["requestStatusPerDestination"]
    assert [one["eventsIngestionStatus"]["recordCount"] for one in found] == ["1", "2"]


class Project:
    """The stand-ins of one Cloud project without HTTP, let in by the refresh token."""

    def __init__(self, config: SandboxConfig, clock: ManualClock, **changes: object) -> None:
        google = msgspec.structs.replace(config.google, **changes)
        self.clock = clock
        self.tokens = GoogleToken(google, clock, SystemEntropy())
        self.ads = GoogleAds(google, self.tokens, clock, SystemEntropy())
        form = {
            "grant_type": "refresh_token",
            "client_id": config.gateway.google_client_id,
            "client_secret": config.gateway.google_client_secret,
            "refresh_token": config.gateway.google_refresh_token,
        }
        call = self._call("POST", "/token", urlencode(form).encode(), FORM["Content-Type"], "")
        self.token = str(msgspec.json.decode(self.tokens.answer(call).body)["access_token"])

    def ingest(self, body: object) -> tuple[int, dict[str, Any]]:
        call = self._call("POST", "/v1/events:ingest", msgspec.json.encode(body), "application/json", self.token)
        answer = self.ads.answer(call)
        return answer.status, msgspec.json.decode(answer.body)

    def _call(self, method: str, path: str, body: bytes, kind: str, token: str) -> Call:
        headers = {"content-type": kind, "authorization": f"Bearer {token}"}
        return Call(method=method, host="", path=path, at_ms=self.clock.now_ms(), headers=headers, body=body)


def test_clicks_that_are_unknown_or_may_not_be_counted_are_lost(config: SandboxConfig, clock: ManualClock) -> None:
    action = ConversionAction(id="555000001", one_per_click=True)
    account = msgspec.structs.replace(config.google.accounts[0], actions=(action,))
    project = Project(config, clock, accounts=(account,), clicks_not_found=("gone",))
    body = request_of(config, clock)
    for identifiers in ({"gclid": "gone"}, {"gbraid": "0AAAAA"}):
        event(body)["adIdentifiers"] = identifiers
        assert project.ingest(body)[0] == 200
    assert [one.reasons[0].rule for one in project.ads.ledger.invalid()] == [
        "CLICK_NOT_FOUND",
        "ONE_PER_CLICK_CONVERSION_ACTION_NOT_PERMITTED_WITH_BRAID",
    ]
    assert project.ads.ledger.effects() == {}


def test_the_quota_of_a_minute_is_enforced_where_configured(config: SandboxConfig, clock: ManualClock) -> None:
    project = Project(config, clock, writes_per_minute=2)
    body = request_of(config, clock)
    assert [project.ingest(body)[0] for _ in range(3)] == [200, 200, 429]
    error = project.ingest(body)[1]["error"]
    assert len(project.ads.ledger.refused()) == 2
    assert error["status"] == "RESOURCE_EXHAUSTED"
    assert error["details"][0]["metadata"] == {"quota_limit": "IngestionMutateRequestsPerMinutePerProject"}
    clock.move(ms=MINUTE_MS)
    assert project.ingest(body)[0] == 200


def test_an_api_that_is_not_switched_on_says_so(config: SandboxConfig, clock: ManualClock) -> None:
    status, body = Project(config, clock, api_enabled=False).ingest(request_of(config, clock))
    assert (status, body["error"]["details"][0]["reason"]) == (403, "SERVICE_DISABLED")


def test_digests_may_be_base64_when_the_request_says_so(config: SandboxConfig, clock: ManualClock) -> None:
    project = Project(config, clock)
    body = request_of(config, clock) | {"encoding": "BASE64"}
    event(body)["userData"] = {"userIdentifiers": [{"emailAddress": base64.b64encode(bytes.fromhex(DIGEST)).decode()}]}
    assert project.ingest(body)[0] == 200
    event(body)["userData"] = {"userIdentifiers": [{"emailAddress": DIGEST}]}
    assert project.ingest(body)[0] == 400


async def test_validate_only_stores_nothing(
    config: SandboxConfig, stand_ins: StandIns, clock: ManualClock, ingest: Ingest
) -> None:
    body = request_of(config, clock) | {"validateOnly": True}
    request_id = msgspec.json.decode((await ingest(body)).body)["requestId"]
    assert stand_ins.google_ads.ledger.accepted_events() == []
    assert (await ingest.status(request_id))["error"]["details"][0]["reason"] == "INVALID_REQUEST_ID"


async def test_a_status_is_kept_for_50_days(config: SandboxConfig, clock: ManualClock, ingest: Ingest) -> None:
    request_id = msgspec.json.decode((await ingest(request_of(config, clock))).body)["requestId"]
    clock.move(ms=51 * DAY_MS)
    ingest.token = None
    body = request_of(config, clock)
    await ingest(body)
    assert (await ingest.status(request_id))["error"]["details"][0]["reason"] == "REQUEST_TOO_OLD"
