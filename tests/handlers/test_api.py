"""Rows 23 and 24: who may call, how often the same call counts, and that every wrong caller hears the same."""

import asyncio
import base64
import hashlib
import hmac
import json
import statistics
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Final

import pytest

from gateway.flows.expire import expire
from tests.support.running import (
    HOST,
    NOW_MS,
    OTHER_HOST,
    Running,
    Said,
    refused_with,
    request_bytes,
    running,
    signature,
)

NOW_S: Final = NOW_MS // 1000
EVENTS: Final = "/api/v1/events"
CONVERSIONS: Final = "/api/v1/conversions"
BATCH: Final = "/api/v1/conversions/batch"
PATHS: Final = (EVENTS, CONVERSIONS, BATCH)
ORDER: Final[dict[str, Any]] = {"name": "purchase", "id": "order-event-1", "order_id": "1001", "value": "12.50"}


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(tmp_path) as started:
        yield started


def signed(
    key: dict[str, Any],
    body: bytes,
    *,
    at_s: int = NOW_S,
    nonce: str = "nonce-0001",
    path: str = CONVERSIONS,
    method: str = "POST",
) -> str:
    return signature(key["signing_secret"], at_s=at_s, nonce=nonce, method=method, path=path, body=body)


def plain(said: Said) -> tuple[int, bytes, list[tuple[str, str]]]:
    """All of an answer but its date."""
    return said.status, said.body, [header for header in said.headers if header[0] != "date"]


# ------------------------------------------------------------------ keys


@pytest.mark.parametrize("path", PATHS)
async def test_without_a_key_a_call_is_told_how_to_send_one(shop: Running, path: str) -> None:
    for headers in ({}, {"Authorization": "Basic dTpw"}, {"Authorization": "Bearer"}, {"Authorization": "Bearer   "}):
        with shop.refusing(path, "key_missing"):
            said = await shop.send("POST", path, headers=headers, body={"name": "a"})
        refused_with(said, 401, "key_missing")
        assert said.header("www-authenticate") == "Bearer"


@pytest.mark.parametrize("path", PATHS)
async def test_row_23_every_wrong_key_hears_the_same(shop: Running, path: str) -> None:
    """Unknown, damaged, revoked, of another site, unsigned where it must sign: nothing tells them apart."""
    good, revoked = await shop.new_key(), await shop.new_key()
    elsewhere, signing = await shop.new_key(sites=("kiosk",)), await shop.new_key(must_sign=True)
    assert (await shop.admin("POST", f"/api/admin/v1/keys/{revoked['id']}/revoke")).status == 200
    prefix, key_id, _ = str(good["key"]).split("_", 2)
    other = base64.urlsafe_b64encode(bytes(range(32)))[:43].decode()
    wrong = {
        "unknown": f"gwk_aaaaaaaa_{other}",
        "another secret": f"{prefix}_{key_id}_{other}",
        "a secret cut short": good["key"][:-1],
        "a secret made longer": good["key"] + "A",
        "in capitals": good["key"].upper(),
        "only the public part": f"{prefix}_{key_id}",
        "a word": "secret",
        "10 KB": "gwk_" + "a" * 10_000,
        "revoked": revoked["key"],
        "of another site": elsewhere["key"],
        "unsigned where it must sign": signing["key"],
    }
    heard = set()
    for case, key in wrong.items():
        with shop.refusing(path, "key_invalid"):
            said = await shop.api(path, {"name": "a"}, key)
        refused_with(said, 401, "key_invalid")
        heard.add((said.status, said.body, tuple(h for h in said.headers if h[0] != "date")))
        assert len(heard) == 1, case
    assert (await shop.api(path, {"name": "a"}, good["key"])).status == 200
    assert (await shop.api(path, {"name": "a"}, elsewhere["key"], host=OTHER_HOST)).status == 200


async def test_a_key_may_do_what_it_was_made_for(shop: Running) -> None:
    events, conversions = await shop.new_key(rights=("events",)), await shop.new_key(rights=("conversions",))
    assert (await shop.api(EVENTS, {"name": "a"}, events["key"])).status == 200
    assert (await shop.api(CONVERSIONS, {"name": "a"}, conversions["key"])).status == 200
    for path, key in ((CONVERSIONS, events), (BATCH, events), (EVENTS, conversions)):
        with shop.refusing(path, "key_forbidden"):
            refused_with(await shop.api(path, {"name": "a"}, key["key"]), 403, "key_forbidden")


async def test_a_revoked_key_is_dead_at_once_and_after_a_restart(tmp_path: Path) -> None:
    async with running(tmp_path) as shop:
        key = await shop.new_key()
        assert (await shop.api(EVENTS, {"name": "a"}, key["key"])).status == 200
        await shop.admin("POST", f"/api/admin/v1/keys/{key['id']}/revoke")
        refused_with(await shop.api(EVENTS, {"name": "a"}, key["key"]), 401, "key_invalid")
    async with running(tmp_path) as shop:
        refused_with(await shop.api(EVENTS, {"name": "a"}, key["key"]), 401, "key_invalid")


async def test_a_rotated_key_works_beside_the_old_one_until_that_is_revoked(shop: Running) -> None:
    old = await shop.new_key(sites=("shop",), rights=("events",))
    said = await shop.admin("POST", f"/api/admin/v1/keys/{old['id']}/rotate")
    new = said.json()
    assert (new["sites"], new["rights"]) == (["shop"], ["events"])
    for key in (old, new):
        assert (await shop.api(EVENTS, {"name": "a"}, key["key"])).status == 200
        refused_with(await shop.api(CONVERSIONS, {"name": "a"}, key["key"]), 403, "key_forbidden")


@pytest.mark.parametrize("path", PATHS)
async def test_a_call_to_a_host_that_is_not_configured_is_misdirected(shop: Running, path: str) -> None:
    key = await shop.new_key()
    refused_with(await shop.api(path, {"name": "a"}, key["key"], host="evil.example"), 421, "host_unknown")


async def test_a_key_in_the_address_or_in_the_body_is_no_key(shop: Running) -> None:
    key = (await shop.new_key())["key"]
    for path in (f"{EVENTS}?key={key}", f"{EVENTS}?authorization=Bearer%20{key}"):
        refused_with(await shop.send("POST", path, body={"name": "a", "key": key}), 401, "key_missing")
    assert key not in shop.log_text


# ------------------------------------------------------------------ signatures


def digest(key: dict[str, Any], text: bytes) -> str:
    return hmac.new(key["signing_secret"].encode(), text, hashlib.sha256).hexdigest()


SIGNATURES: Final[dict[str, Callable[[dict[str, Any], dict[str, Any], bytes], str]]] = {
    "over another body": lambda key, _other, body: signed(key, body + b" "),
    "with another key": lambda _key, other, body: signed(other, body),
    "for another path": lambda key, _other, body: signed(key, body, path=BATCH),
    "for another method": lambda key, _other, body: signed(key, body, method="PUT"),
    "301 seconds old": lambda key, _other, body: signed(key, body, at_s=NOW_S - 301),
    "301 seconds ahead": lambda key, _other, body: signed(key, body, at_s=NOW_S + 301),
    "of 1970": lambda key, _other, body: signed(key, body, at_s=0),
    "in capitals": lambda key, _other, body: signed(key, body).replace(
        digest(key, f"{NOW_S}.nonce-0001.POST.{CONVERSIONS}.".encode() + body),
        digest(key, f"{NOW_S}.nonce-0001.POST.{CONVERSIONS}.".encode() + body).upper(),
    ),
    "empty": lambda _key, _other, _body: "",
    "with an empty digest": lambda _key, _other, _body: f"t={NOW_S},n=nonce-0001,v1=",
    "without a nonce": lambda key, _other, body: f"t={NOW_S},v1=" + digest(key, f"{NOW_S}.".encode() + body),
    "with a short nonce": lambda key, _other, body: signed(key, body, nonce="short"),
    "with a nonce of 65 characters": lambda key, _other, body: signed(key, body, nonce="n" * 65),
    "with a dot moved from nonce to method": lambda key, _other, body: (
        f"t={NOW_S},n=nonce-0001.POST,v1=" + digest(key, f"{NOW_S}.nonce-0001.POST.{CONVERSIONS}.".encode() + body)
    ),
    "with another time than signed": lambda key, _other, body: signed(key, body).replace(
        f"t={NOW_S}", f"t={NOW_S + 1}"
    ),
    "with another nonce than signed": lambda key, _other, body: signed(key, body).replace("nonce-0001", "nonce-0002"),
    "of a time that is no number": lambda key, _other, body: signed(key, body).replace(f"t={NOW_S}", "t=now"),
    "of a negative time": lambda key, _other, body: signed(key, body).replace(f"t={NOW_S}", f"t=-{NOW_S}"),
    "of a time with 5,000 digits": lambda key, _other, body: signed(key, body).replace(
        f"t={NOW_S}", "t=" + "9" * 5_000
    ),
    "with the secret of the key as it is sent": lambda key, _other, body: signed({"signing_secret": key["key"]}, body),
    "with spaces": lambda key, _other, body: signed(key, body).replace(",", ", "),
    "twice": lambda key, _other, body: signed(key, body) + "," + signed(key, body),
    "with something behind it": lambda key, _other, body: signed(key, body) + ",v2=x",
    "with another version": lambda key, _other, body: signed(key, body).replace("v1=", "v0="),
    "a word": lambda _key, _other, _body: "signature",
    "of another scheme": lambda key, _other, body: "sha256=" + digest(key, body),
    "10 KB": lambda _key, _other, _body: "t=1,n=" + "n" * 10_000 + ",v1=" + "0" * 64,
}


@pytest.mark.parametrize("case", SIGNATURES)
@pytest.mark.parametrize("must_sign", [True, False], ids=["a key that must sign", "a key that may"])
async def test_row_23_a_wrong_signature_hears_the_same_as_a_wrong_key(
    shop: Running, case: str, must_sign: bool
) -> None:
    key, other = await shop.new_key(must_sign=must_sign), await shop.new_key()
    unknown = await shop.api(CONVERSIONS, ORDER, "gwk_aaaaaaaa_" + "A" * 43)
    body = json.dumps(ORDER).encode()
    with shop.refusing(CONVERSIONS, "key_invalid"):
        said = await shop.api(
            CONVERSIONS, body, key["key"], headers={"X-Gateway-Signature": SIGNATURES[case](key, other, body)}
        )
    assert plain(said) == plain(unknown)
    assert shop.count("once_token") == 0


@pytest.mark.slow
async def test_row_23_a_wrong_signature_takes_as_long_for_an_unknown_key(shop: Running) -> None:
    """Asked in turns, the middle of many times: neither key nor signature can be found by the clock."""
    key = str((await shop.new_key(must_sign=True))["key"])
    _, key_id, _ = key.split("_", 2)
    other = base64.urlsafe_b64encode(bytes(range(32)))[:43].decode()
    signature = {"X-Gateway-Signature": f"t={NOW_MS // 1000},n={'n' * 22},v1={'0' * 64}"}
    wrong = {"known": key, "known, another secret": f"gwk_{key_id}_{other}", "unknown": f"gwk_aaaaaaaa_{other}"}
    took_s: dict[str, list[float]] = {name: [] for name in wrong}
    for _ in range(150):
        for name, sent in wrong.items():
            begun_s = time.perf_counter()
            said = await shop.api(CONVERSIONS, ORDER, sent, headers=signature)
            took_s[name].append(time.perf_counter() - begun_s)
            refused_with(said, 401, "key_invalid")
    middle_s = {name: statistics.median(times) for name, times in took_s.items()}
    assert max(middle_s.values()) < 1.5 * min(middle_s.values()), middle_s


@pytest.mark.parametrize("offset_s", [-300, -1, 0, 1, 300])
@pytest.mark.parametrize("path", PATHS)
async def test_row_23_a_signature_is_good_for_300_seconds_either_way(shop: Running, path: str, offset_s: int) -> None:
    key = await shop.new_key(must_sign=True)
    body = json.dumps(ORDER).encode()
    header = signed(key, body, at_s=NOW_S + offset_s, path=path)
    said = await shop.api(path, body, key["key"], headers={"X-Gateway-Signature": header})
    assert said.status == 200
    assert shop.rows("select trust from event") == [("signed",)]


@pytest.mark.parametrize("moved_s", [0, 1, 299, 300, 301, 599, 600, 600.999, 601, 602])
async def test_row_23_a_nonce_is_taken_once_as_long_as_its_signature_is_good(shop: Running, moved_s: float) -> None:
    """A signature dated 300 seconds ahead is good for 600 seconds: so long its nonce must survive the cleaning up."""
    key = await shop.new_key(must_sign=True)
    body = json.dumps(ORDER).encode()
    headers: dict[str, str | bytes] = {"X-Gateway-Signature": signed(key, body, at_s=NOW_S + 300)}
    assert (await shop.api(CONVERSIONS, body, key["key"], headers=headers)).status == 200
    shop.move(seconds=moved_s)
    await expire(shop.gateway.house)
    with shop.refusing(CONVERSIONS, "key_invalid"):
        refused_with(await shop.api(CONVERSIONS, body, key["key"], headers=headers), 401, "key_invalid")


async def test_row_23_a_replayed_nonce_is_refused_for_another_body_and_path_too(shop: Running) -> None:
    key = await shop.new_key()
    for number, path in enumerate((CONVERSIONS, BATCH, EVENTS)):
        body = json.dumps({"name": "purchase", "order_id": str(number)}).encode()
        said = await shop.api(path, body, key["key"], headers={"X-Gateway-Signature": signed(key, body, path=path)})
        assert said.status == (200 if number == 0 else 401)
    assert shop.count() == 1


async def test_row_23_the_same_nonce_of_another_key_is_another_nonce(shop: Running) -> None:
    for _ in range(2):
        key = await shop.new_key()
        body = b'{"name":"purchase"}'
        assert (
            await shop.api(CONVERSIONS, body, key["key"], headers={"X-Gateway-Signature": signed(key, body)})
        ).status == 200


async def test_row_23_a_call_that_is_refused_for_its_content_does_not_use_its_nonce_up(shop: Running) -> None:
    """The caller mends the body and signs again with the nonce it has; nothing was recorded with it."""
    key = await shop.new_key(must_sign=True)
    bad, good = b'{"name":"Bad"}', b'{"name":"good"}'
    refused = await shop.api(CONVERSIONS, bad, key["key"], headers={"X-Gateway-Signature": signed(key, bad)})
    refused_with(refused, 400, "event_name_invalid", "name")
    assert (
        await shop.api(CONVERSIONS, good, key["key"], headers={"X-Gateway-Signature": signed(key, good)})
    ).status == 200


# ------------------------------------------------------------------ the same order again


async def test_row_24_the_same_order_with_the_same_value_is_a_duplicate(shop: Running) -> None:
    key = (await shop.new_key())["key"]
    first = await shop.api(CONVERSIONS, ORDER, key)
    assert (first.status, first.json()["fate"]) == (200, "counted")
    for body in (ORDER, {**ORDER, "id": "order-event-2"}, {**ORDER, "id": "order-event-3", "value": 12.5}):
        said = await shop.api(CONVERSIONS, body, key)
        assert (said.status, said.json()["fate"]) == (200, "duplicate")
        assert said.json()["conversion_id"] == first.json()["conversion_id"]
    assert shop.rows("select count(*) from conversion where fate = 'counted'") == [(1,)]


@pytest.mark.parametrize(
    "change", [{"value": "12.51"}, {"value": 0}, {"currency": "USD"}, {"value": 1250, "currency": "JPY"}]
)
async def test_row_24_the_same_order_with_another_value_or_currency_is_a_conflict(
    shop: Running, change: dict[str, Any]
) -> None:
    key = (await shop.new_key())["key"]
    first = await shop.api(CONVERSIONS, ORDER, key)
    stored = shop.everything_stored()
    said = await shop.api(CONVERSIONS, {**ORDER, "id": "order-event-2", **change}, key)
    assert (said.status, said.code, said.json()["fate"]) == (409, "conversion_conflict", "conflict")
    assert said.json()["conversion_id"] == first.json()["conversion_id"]
    assert shop.everything_stored() == stored
    assert shop.rows("select amount_minor, currency from conversion") == [(1_250, "EUR")]


async def test_row_24_the_same_order_with_another_click_keeps_the_first(shop: Running) -> None:
    key = (await shop.new_key())["key"]
    consent = {"advertising": "granted", "analytics": "granted"}
    for number, click in enumerate(("first-click", "other-click")):
        body = {**ORDER, "id": f"order-event-{number}", "click_ids": {"gclid": click}, "consent": consent}
        said = await shop.api(CONVERSIONS, body, key)
        assert (said.status, said.json()["fate"]) == (200, "counted" if number == 0 else "duplicate")
    assert shop.rows("select count(*) from conversion where fate = 'counted'") == [(1,)]


async def test_row_24_each_order_of_a_batch_has_its_own_answer(shop: Running) -> None:
    key = (await shop.new_key())["key"]
    await shop.api(CONVERSIONS, ORDER, key)
    batch = [
        {**ORDER, "id": "order-event-2"},
        {**ORDER, "id": "order-event-3", "value": 99},
        {"name": "purchase", "order_id": "1002", "value": 5},
        {"name": "purchase", "order_id": "1002", "value": 5, "id": "order-event-4"},
    ]
    said = await shop.api(BATCH, {"conversions": batch}, key)
    assert said.status == 200
    results = said.json()["results"]
    assert [one["fate"] for one in results] == ["duplicate", "conflict", "counted", "duplicate"]
    assert results[1]["error"]["code"] == "conversion_conflict"
    assert shop.rows("select count(*) from conversion where fate = 'counted'") == [(2,)]


async def test_row_24_the_same_order_of_another_site_is_another_order(shop: Running) -> None:
    key = (await shop.new_key())["key"]
    for host in (HOST, OTHER_HOST):
        assert (await shop.api(CONVERSIONS, ORDER, key, host=host)).json()["fate"] == "counted"


async def test_one_wrong_event_of_a_batch_refuses_the_batch_whole(shop: Running) -> None:
    key = (await shop.new_key())["key"]
    batch = [{"name": "a"}, {"name": "b", "value": -1}]
    for path, field in ((EVENTS, "events"), (BATCH, "conversions")):
        with shop.refusing(path, "amount_negative"):
            refused_with(await shop.api(path, {field: batch}, key), 400, "amount_negative", f"{field}[1].value")


@pytest.mark.parametrize("space", ["", " ", "\n\t"])
async def test_a_list_of_one_is_answered_as_a_list_however_it_is_written(shop: Running, space: str) -> None:
    key = (await shop.new_key())["key"]
    listed = f'{space}{{{space}"conversions"{space}:[{{"name":"a"}}]}}'.encode()
    after = b'{"test":false,"conversions":[{"name":"a"}]}'
    for body in (listed, after):
        said = await shop.api(BATCH, body, key)
        assert [one["fate"] for one in said.json()["results"]] == ["counted"]
    said = await shop.api(BATCH, f'{space}{{"name":"a","title":"{{\\"events\\""}}'.encode(), key)
    assert said.json()["fate"] == "counted"


# ------------------------------------------------------------------ Idempotency-Key


async def test_a_repeat_under_an_idempotency_key_gets_the_first_answer_and_stores_nothing(shop: Running) -> None:
    key = (await shop.new_key())["key"]
    headers = {"Idempotency-Key": "try-00000001"}
    for path, body in ((EVENTS, {"name": "a"}), (CONVERSIONS, {"name": "b", "value": 1})):
        first = await shop.api(path, body, key, headers={"Idempotency-Key": f"try{path.replace('/', '-')}"})
        stored = shop.everything_stored()
        again = await shop.api(path, body, key, headers={"Idempotency-Key": f"try{path.replace('/', '-')}"})
        assert (first.json()["repeated"], again.json()["repeated"]) == (False, True)
        assert {**first.json(), "repeated": True} == again.json(), "the ids too, although the caller gave none"
        assert shop.everything_stored() == stored
    batch = {"conversions": [{"name": "a", "value": 1, "order_id": "1"}, {"name": "a", "value": 2, "order_id": "1"}]}
    first, again = [await shop.api(BATCH, batch, key, headers=headers) for _ in range(2)]
    assert [one["fate"] for one in first.json()["results"]] == ["counted", "conflict"]
    assert first.json()["results"] == again.json()["results"]


async def test_another_body_path_or_site_under_an_idempotency_key_is_refused(shop: Running) -> None:
    key = (await shop.new_key())["key"]
    headers = {"Idempotency-Key": "try-00000001"}
    assert (await shop.api(EVENTS, {"name": "a"}, key, headers=headers)).status == 200
    for path, body, host, site in (
        (EVENTS, {"name": "b"}, HOST, "shop"),
        (CONVERSIONS, {"name": "a"}, HOST, "shop"),
        (EVENTS, {"name": "a"}, OTHER_HOST, "kiosk"),
    ):
        with shop.refusing(path, "idempotency_key_reused", site=site):
            said = await shop.api(path, body, key, headers=headers, host=host)
        refused_with(said, 409, "idempotency_key_reused")


async def test_an_idempotency_key_belongs_to_its_api_key(shop: Running) -> None:
    for _ in range(2):
        key = (await shop.new_key())["key"]
        said = await shop.api(EVENTS, {"name": "a"}, key, headers={"Idempotency-Key": "try-00000001"})
        assert said.json()["repeated"] is False


async def test_a_refused_call_does_not_use_its_idempotency_key_up(shop: Running) -> None:
    key = (await shop.new_key())["key"]
    headers = {"Idempotency-Key": "try-00000001"}
    refused_with(await shop.api(EVENTS, {"name": "Bad"}, key, headers=headers), 400, "event_name_invalid", "name")
    assert (await shop.api(EVENTS, {"name": "good"}, key, headers=headers)).json()["repeated"] is False


@pytest.mark.parametrize("given", ["", "short", "x" * 65, "with space", "a\tb-000000", "12345678\u00ff", '"12345678"'])
async def test_an_idempotency_key_has_the_shape_of_an_id(shop: Running, given: str) -> None:
    key = (await shop.new_key())["key"]
    with shop.refusing(EVENTS, "idempotency_key_invalid"):
        said = await shop.api(EVENTS, {"name": "a"}, key, headers={"Idempotency-Key": given})
    refused_with(said, 400, "idempotency_key_invalid", "Idempotency-Key")


async def test_two_calls_at_once_under_one_idempotency_key_are_one(shop: Running) -> None:
    key = (await shop.new_key())["key"]
    headers: dict[str, str | bytes] = {"Idempotency-Key": "try-00000001"}
    said = await asyncio.gather(*(shop.api(CONVERSIONS, {"name": "a"}, key, headers=headers) for _ in range(20)))
    assert sorted(one.json()["repeated"] for one in said) == [False] + [True] * 19
    assert len({one.json()["id"] for one in said}) == 1
    assert shop.count() == 1


# ------------------------------------------------------------------ how often


async def test_each_key_has_its_own_limit_and_is_told_when_to_come_back(tmp_path: Path) -> None:
    """Ten at once is the smallest burst; after the time in Retry-After there is one more."""
    async with running(tmp_path, limits={"api_per_minute": 6}) as shop:
        one, other = await shop.new_key(), await shop.new_key()
        assert [(await shop.api(EVENTS, {"name": "a"}, one["key"])).status for _ in range(10)] == [200] * 10
        for path in PATHS:
            with shop.refusing(path, "rate_limited"):
                said = await shop.api(path, {"name": "a"}, one["key"])
            refused_with(said, 429, "rate_limited")
            assert said.header("retry-after") == "11"
        assert (await shop.api(EVENTS, {"name": "a"}, other["key"])).status == 200
        shop.move(seconds=10)
        assert (await shop.api(EVENTS, {"name": "a"}, one["key"])).status == 200
        assert (await shop.api(EVENTS, {"name": "a"}, one["key"])).status == 429


async def test_one_line_is_written_for_each_call_and_it_names_nobody(shop: Running) -> None:
    key = await shop.new_key()
    written = len(shop.log_text)
    body = {
        "name": "purchase", "value": 12, "order_id": "secret-order", "url": "https://shop.example/?email=jane@example.com",
        "person": {"email": "jane@example.com", "phone": "+4915112345678"}, "client": {"ip": "203.0.113.9", "user_agent": "Agent/1"},
    }  # fmt: skip
    await shop.api(f"{CONVERSIONS}?token=query-secret", body, key["key"])
    lines = shop.log(since=written)
    assert [(line["event"], line["route"], line["status"]) for line in lines] == [
        ("request_answered", CONVERSIONS, 200)
    ]
    text = shop.log_text
    for secret in (
        "jane",
        "4915112345678",
        "203.0.113.9",
        "Agent/1",
        "secret-order",
        "query-secret",
        key["key"],
        key["signing_secret"],
    ):
        assert secret not in text, secret


async def test_the_exact_bytes_are_what_is_signed(shop: Running) -> None:
    """Raw, so that nothing re-encodes the body on the way: spaces, escapes and the order of keys are part of it."""
    key = await shop.new_key(must_sign=True)
    body = b' {"order_id" : "caf\\u00e9", "name":"purchase"}\n'
    headers = {"Authorization": f"bearer {key['key']}", "X-Gateway-Signature": signed(key, body)}
    assert (await shop.talk(request_bytes("POST", CONVERSIONS, headers=headers, body=body))).only.status == 200
    assert shop.rows("select order_id from conversion") == [("café",)]
