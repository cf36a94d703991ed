"""The admin listener: nothing without the token, nothing for pages of strangers, nothing that changes by a cookie."""

import json
import stat
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest

from gateway.handlers.routes import ADMIN
from tests.support.running import HOST, Running, log_lines, refused_with, request_bytes, running, talk

pytestmark = pytest.mark.asyncio(loop_scope="module")

CANARY: Final = "Kanarienvogel"
READS: Final = (
    "/metrics", "/api/admin/v1/status", "/api/admin/v1/check", "/api/admin/v1/events/01ARZ3NDEKTSV4RRFFQ69G5FAV",
    "/api/admin/v1/dead", "/api/admin/v1/keys", "/api/admin/v1/catalogue/shop/goals",
    "/api/admin/v1/conversions?site=shop", "/api/admin/v1/conversions/c1_x", "/api/admin/v1/spend?site=shop",
    "/api/admin/v1/reports/shop/campaigns"
)  # fmt: skip
CHANGES: Final = (
    "/api/admin/v1/replay",
    "/api/admin/v1/keys",
    "/api/admin/v1/keys/x/revoke",
    "/api/admin/v1/keys/x/rotate",
    "/api/admin/v1/catalogue/shop/goals",
    "/api/admin/v1/attribution/recompute",
    "/api/admin/v1/uploads",
    "/api/admin/v1/spend",
)
STREAMED: Final = ("/api/admin/v1/exports/shop/credits",)
"""Files, sent in pieces."""
SECRETS: Final = ("/api/admin/v1/notifications/shop",)
"""Read with the token alone: what is a secret is not shown to a page that was signed in to."""
OPEN: Final = ("/", "/status.css", "/login", "/healthz", "/readyz")
"""Without a token: a form that asks for it and its style, and whether the process lives. Nothing of what is stored."""


async def test_the_lists_here_name_every_route() -> None:
    named = {path.partition("?")[0] for path in (*READS, *SECRETS, *STREAMED, *CHANGES, *OPEN)}
    assert {route.path for route in ADMIN if not route.path.endswith("*")} <= named
    for prefix in (route.path[:-1] for route in ADMIN if route.path.endswith("*")):
        assert any(path.startswith(prefix) for path in named)


# ------------------------------------------------------------------ the token


def wrong(shop: Running) -> list[dict[str, str | bytes]]:
    token = shop.token
    return [
        {},
        {"Authorization": ""},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer "},
        {"Authorization": f"Basic {token}"},
        {"Authorization": token},
        {"Authorization": f"Bearer {token[:-1]}"},
        {"Authorization": f"Bearer {token}0"},
        {"Authorization": f"Bearer {token.upper()}"},
        {"Authorization": "Bearer " + "0" * len(token)},
        {"Authorization": b"Bearer \xff\xfe" + token.encode()},
        {"Authorization": "Bearer " + "a" * 10_000},
        {"X-Admin-Token": token},
        {"Cookie": f"gwadmin={token}"},
        {"Cookie": "gwadmin=" + "0" * 64},
        {"Cookie": b"gwadmin=\xff"},
        {"Cookie": "gwadmin="},
    ]


@pytest.mark.parametrize(
    ("method", "path"),
    [*(("GET", path) for path in (*READS, *SECRETS, *STREAMED)), *(("POST", path) for path in CHANGES)],
)
async def test_without_the_token_there_is_nothing(shared: Running, method: str, path: str) -> None:
    stored = shared.everything_stored()
    for headers in wrong(shared):
        said = await shared.admin(method, path, headers=headers, body={} if method == "POST" else None)
        refused_with(said, 401, "admin_token_invalid")
        assert said.header("www-authenticate") == "Bearer"
    assert shared.everything_stored() == stored
    assert shared.token not in shared.log_text


@pytest.mark.parametrize("path", READS)
async def test_a_token_in_the_address_is_no_token(shared: Running, path: str) -> None:
    said = await shared.admin("GET", f"{path}?token={shared.token}", headers={})
    refused_with(said, 401, "admin_token_invalid")
    assert shared.token not in shared.log_text


async def test_what_is_open_says_nothing_about_what_is_stored(shared: Running) -> None:
    assert (await shared.admin("GET", "/healthz", headers={})).json() == {"alive": True}
    assert (await shared.admin("GET", "/readyz", headers={})).json() == {"ready": True, "reasons": []}
    form = await shared.admin("GET", "/", headers={})
    assert form.status == 200
    assert b'type="password"' in form.body
    for word in (b"shop", b"kiosk", b"example"):
        assert word not in form.body
    assert (await shared.admin("GET", "/status.css", headers={})).header("content-type") == "text/css; charset=utf-8"


async def test_the_token_lies_in_a_file_only_the_operator_can_read(shared: Running) -> None:
    data = shared.directory / "data"
    assert stat.S_IMODE((data / "admin-token").stat().st_mode) == 0o600
    assert stat.S_IMODE((data / "control.sock").stat().st_mode) == 0o600
    assert len(shared.token) == 48


# ------------------------------------------------------------------ signing in


async def sign_in(shop: Running, form: bytes, **headers: str) -> Any:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await shop.admin(
        "POST", "/login", headers={"Content-Type": "application/x-www-form-urlencoded"} | named, body=form
    )


async def test_the_form_sets_a_cookie_that_reads(shared: Running) -> None:
    said = await sign_in(shared, f"token={shared.token}".encode(), Sec_Fetch_Site="same-origin")
    assert (said.status, said.header("location")) == (303, "/")
    (line,) = said.all("set-cookie")
    assert line.endswith("; Path=/; Max-Age=43200; HttpOnly; SameSite=Strict")
    assert shared.token not in line
    cookie = {"Cookie": f"gwadmin={said.cookies()['gwadmin']}"}
    for path in ("/", *READS):
        found = await shared.admin("GET", path, headers=cookie)
        assert found.status in {200, 404}, path
        assert found.status == (404 if "events/" in path or "conversions/" in path else 200)


async def test_the_cookie_changes_nothing(shared: Running) -> None:
    said = await sign_in(shared, f"token={shared.token}".encode())
    stored = shared.everything_stored()
    for path in CHANGES:
        answer = await shared.admin("POST", path, headers={"Cookie": f"gwadmin={said.cookies()['gwadmin']}"}, body={})
        refused_with(answer, 401, "admin_token_invalid")
    assert shared.everything_stored() == stored


async def test_the_cookie_of_one_installation_opens_no_other(
    shared: Running, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Both have the same root keys here; the token differs, and so does what proves that it was known."""
    said = await sign_in(shared, f"token={shared.token}".encode())
    directory = tmp_path_factory.mktemp("other")
    (directory / "data").mkdir(mode=0o700)
    (directory / "data" / "admin-token").write_text("f" * 48)
    (directory / "data" / "admin-token").chmod(0o600)
    async with running(directory) as other:
        headers = {"Cookie": f"gwadmin={said.cookies()['gwadmin']}"}
        refused_with(await other.admin("GET", "/api/admin/v1/status", headers=headers), 401, "admin_token_invalid")


@pytest.mark.parametrize("site", ["cross-site", "same-site", "Same-Origin", ""])
async def test_row_37_a_form_of_another_site_does_not_sign_in(shared: Running, site: str) -> None:
    with shared.refusing("/login", "request_foreign", site=None):
        said = await sign_in(shared, f"token={shared.token}".encode(), Sec_Fetch_Site=site)
    refused_with(said, 403, "request_foreign")


@pytest.mark.parametrize(
    ("form", "status", "code"),
    [
        (b"", 401, "admin_token_invalid"),
        (b"token=", 401, "admin_token_invalid"),
        (b"token=wrong", 401, "admin_token_invalid"),
        (b"token=%ff%fe", 401, "admin_token_invalid"),
        (b"\xff\xfe", 401, "admin_token_invalid"),
        (b'{"token":"x"}', 401, "admin_token_invalid"),
        (b"&".join(b"a=1" for _ in range(6)), 400, "fields_too_many"),
        (b"token=" + b"a" * 16_380, 413, "body_too_large"),
    ],
)
async def test_row_12_a_wrong_form_is_refused(shared: Running, form: bytes, status: int, code: str) -> None:
    with shared.refusing("/login", code, site=None):
        refused_with(await sign_in(shared, form), status, code)


# ------------------------------------------------------------------ names that point here


FOREIGN: Final = (
    "evil.example", HOST, "localhost.evil.example", "127.0.0.1.evil.example", "localhost@evil.example", "evillocalhost",
    "0x7f.1", "127.1", "2130706433", "[evil.example]", "", "localhost evil.example", ".localhost.evil.example",
    "gateway",
)  # fmt: skip


@pytest.mark.parametrize("host", FOREIGN)
async def test_a_name_of_a_stranger_that_points_here_is_refused_even_with_the_token(shared: Running, host: str) -> None:
    """DNS rebinding: the page of a stranger makes its own name resolve to this machine, and is then of the same origin."""
    for method, path in (
        *(("GET", path) for path in ("/", *READS)),
        *(("POST", path) for path in CHANGES),
        ("POST", "/login"),
    ):
        said = await shared.admin(method, path, host=host, body={} if method == "POST" else None)
        refused_with(said, 421, "host_unknown")


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST",
        "localhost:8081",
        "admin.localhost:1",
        "127.0.0.1",
        "127.0.0.1:8081",
        "[::1]",
        "[::1]:8081",
        "192.0.2.7",
    ],
)
async def test_names_of_this_machine_and_addresses_are_taken(shared: Running, host: str) -> None:
    assert (await shared.admin("GET", "/api/admin/v1/status", host=host)).status == 200


async def test_a_name_the_operator_lists_is_taken(tmp_path: Path) -> None:
    async with running(tmp_path, listen={"port": 0, "admin_port": 0, "admin_names": ["admin.shop.example"]}) as shop:
        assert (await shop.admin("GET", "/api/admin/v1/status", host="admin.shop.example:8081")).status == 200
        refused_with(await shop.admin("GET", "/api/admin/v1/status", host="x.admin.shop.example"), 421, "host_unknown")


async def test_probes_answer_by_any_name(shared: Running) -> None:
    for path in ("/healthz", "/readyz"):
        assert (await shared.admin("GET", path, host="10.1.2.3:8081", headers={})).status == 200


# ------------------------------------------------------------------ bad input


@pytest.mark.parametrize("path", ["/api/admin/v1/replay", "/api/admin/v1/keys"])
@pytest.mark.parametrize(
    ("body", "status", "code", "field"),
    [
        (b"{", 400, "json_invalid", None),
        (b"\xff", 400, "json_invalid", None),
        (b'{"title":"\xff"}', 400, "json_invalid", None),
        (b'{"title":"\\ud800"}', 400, "json_invalid", None),
        (b'\xef\xbb\xbf{"title":"a"}', 400, "json_invalid", None),
        (b"[" * 8_000, 400, "json_invalid", None),
        (b"[" * 8_000 + b"]" * 8_000, 400, "json_invalid", None),
        (b"[]", 400, "field_type", None),
        (b'"x"', 400, "field_type", None),
        (b'{"unbekannt":1}', 400, "field_unknown", "unbekannt"),
        (b'{"<script>":1}', 400, "field_unknown", None),
        (b'{"' + b"a" * 41 + b'":1}', 400, "field_unknown", None),
        (b"{" + b" " * 16_400 + b"}", 413, "body_too_large", None),
    ],
    ids=range(13),
)
async def test_row_12_a_body_that_is_no_object_of_known_fields_is_refused(
    shared: Running, path: str, body: bytes, status: int, code: str, field: str | None
) -> None:
    with shared.refusing(path, code, site=None):
        refused_with(await shared.admin("POST", path, body=body), status, code, field)


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ({"must_sign": "yes"}, "field_type", "must_sign"),
        ({"must_sign": 1}, "field_type", "must_sign"),
        ({"must_sing": True}, "field_unknown", "must_sing"),
        ({"title": 7}, "field_type", "title"),
        ({"title": CANARY * 20}, "field_type", "title"),
        ({"sites": "shop"}, "field_type", "sites"),
        ({"sites": [1]}, "field_type", "sites"),
        ({"sites": [CANARY]}, "field_invalid", "sites"),
        ({"sites": ["shop", "shop kiosk"]}, "field_invalid", "sites"),
        ({"rights": ["everything"]}, "field_invalid", "rights"),
        ({"rights": {}}, "field_type", "rights"),
    ],
)
async def test_row_12_a_key_is_made_as_asked_or_not_at_all(
    shared: Running, body: dict[str, object], code: str, field: str
) -> None:
    with shared.refusing("/api/admin/v1/keys", code, site=None):
        refused_with(await shared.admin("POST", "/api/admin/v1/keys", body=body), 400, code, field)
    assert CANARY not in shared.log_text


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ({"delivery_id": "1"}, "field_type", "delivery_id"),
        ({"delivery_id": True}, "field_type", "delivery_id"),
        ({"delivery_id": 1.5}, "field_type", "delivery_id"),
        ({"delivery_id": 0}, "field_invalid", "delivery_id"),
        ({"delivery_id": -1}, "field_invalid", "delivery_id"),
        ({"delivery_id": 2**63}, "field_invalid", "delivery_id"),
        ({"delivery_id": 10**30}, "field_invalid", "delivery_id"),
        ({"limit": 0}, "field_invalid", "limit"),
        ({"limit": -1}, "field_invalid", "limit"),
        ({"limit": 1e9}, "field_invalid", "limit"),
        ({"limit": 1_000_001}, "field_invalid", "limit"),
        ({"limit": True}, "field_invalid", "limit"),
        ({"site": 7}, "field_type", "site"),
        ({"destination": ["meta"]}, "field_type", "destination"),
    ],
)
async def test_row_12_a_replay_is_asked_for_in_the_right_form(
    shared: Running, body: dict[str, object], code: str, field: str
) -> None:
    with shared.refusing("/api/admin/v1/replay", code, site=None):
        refused_with(await shared.admin("POST", "/api/admin/v1/replay", body=body), 400, code, field)


async def test_what_is_not_dead_is_not_replayed(shared: Running) -> None:
    for number in (1, 2**63 - 1):
        refused_with(
            await shared.admin("POST", "/api/admin/v1/replay", body={"delivery_id": number}), 409, "not_replayable"
        )
    for site, destination in (("nowhere", None), (None, "' or 1=1 --"), (None, None)):
        body = {"site": site, "destination": destination}
        assert (await shared.admin("POST", "/api/admin/v1/replay", body=body)).json() == {"replayed": 0}


@pytest.mark.parametrize(
    "limit", ["0", "-1", "1001", "1e3", "1000000000", "9" * 5_000, "x", "", "%31", "%EF%BC%91", "1%00", "1;x"]
)
async def test_row_41_a_limit_is_a_small_whole_number(shared: Running, limit: str) -> None:
    said = await shared.admin("GET", f"/api/admin/v1/dead?limit={limit}")
    if limit == "%31":
        assert said.json() == {"dead": []}
    else:
        refused_with(said, 400, "field_invalid", "limit")


@pytest.mark.parametrize(
    "text",
    ["'", "'%20or%201=1--", "%00", "%ff", "%ed%a0%80", "a" * 4_000, "%0d%0a", "*", "shop%27;drop%20table%20event"],
)
async def test_row_41_a_filter_is_only_compared(shared: Running, text: str) -> None:
    events = shared.count()
    assert (await shared.admin("GET", f"/api/admin/v1/dead?site={text}&destination={text}")).json() == {"dead": []}
    said = await shared.admin("GET", f"/api/admin/v1/events/{text}?site={text}")
    refused_with(said, 404, "event_unknown")
    assert shared.count() == events


async def test_too_many_parameters_are_refused(shared: Running) -> None:
    query = "&".join(f"a{n}=1" for n in range(60))
    for path in ("/api/admin/v1/dead", "/api/admin/v1/events/x"):
        refused_with(await shared.admin("GET", f"{path}?{query}"), 400, "fields_too_many")


@pytest.mark.parametrize("key_id", ["x", "aaaaaaaa", "'", "%00", "a" * 4_000, "../keys", "%2e%2e"])
async def test_a_key_that_does_not_exist_cannot_be_changed(shared: Running, key_id: str) -> None:
    for action in ("revoke", "rotate"):
        said = await shared.admin("POST", f"/api/admin/v1/keys/{key_id}/{action}")
        if key_id == "../keys":
            refused_with(said, 404, "route_unknown")
        else:
            refused_with(said, 400, "field_invalid", "id")


@pytest.mark.parametrize(
    "path", ["/api/admin/v1/keys/x", "/api/admin/v1/keys/x/", "/api/admin/v1/keys/x/delete", "/api/admin/v1/keys/"]
)
async def test_another_action_on_a_key_is_not_there(shared: Running, path: str) -> None:
    refused_with(await shared.admin("POST", path), 404, "route_unknown")


async def test_a_key_is_revoked_once_and_a_revoked_key_is_not_rotated(shared: Running) -> None:
    key = await shared.new_key()
    assert (await shared.admin("POST", f"/api/admin/v1/keys/{key['id']}/revoke")).json()["revoked_at"] is not None
    for action in ("revoke", "rotate"):
        said = await shared.admin("POST", f"/api/admin/v1/keys/{key['id']}/{action}")
        refused_with(said, 400, "field_invalid", "id")


async def test_secrets_of_keys_are_shown_once_and_never_again(shared: Running) -> None:
    key = await shared.new_key()
    listed = (await shared.admin("GET", "/api/admin/v1/keys")).body.decode()
    assert key["id"] in listed
    secret = key["key"].rpartition("_")[2]
    on_disk = b"".join(path.read_bytes() for path in (shared.directory / "data").iterdir() if path.is_file())
    for text in (listed, shared.log_text, on_disk.decode("latin-1")):
        assert secret not in text
        assert key["signing_secret"] not in text


# ------------------------------------------------------------------ methods, headers, the log


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
@pytest.mark.parametrize("path", [*READS, *SECRETS, *CHANGES, *OPEN])
async def test_row_04_a_route_takes_its_methods_and_names_them_for_others(
    shared: Running, path: str, method: str
) -> None:
    reads = path in (*READS, *SECRETS) or path in {"/", "/status.css", "/healthz", "/readyz"}
    allowed = {"GET", "HEAD"} if reads else {"POST"}
    if path.partition("?")[0] in {"/api/admin/v1/keys", "/api/admin/v1/spend"}:
        allowed = {"GET", "HEAD", "POST"}
    if path.startswith("/api/admin/v1/catalogue/"):
        allowed = {"GET", "HEAD", "POST", "PATCH", "DELETE"}
    said = await shared.admin(method, path, body={} if method == "POST" else None)
    if method in allowed:
        assert said.status not in {405, 500}
    else:
        assert said.status == 405
        assert said.header("allow") == ", ".join(sorted(allowed))


async def test_pages_may_run_nothing_and_be_framed_by_nobody(shared: Running) -> None:
    for path, headers in (("/", {}), ("/", {"Authorization": f"Bearer {shared.token}"}), ("/status.css", {})):
        said = await shared.admin("GET", path, headers=headers)
        policy = said.header("content-security-policy") or ""
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "script-src" not in policy
        assert said.header("x-content-type-options") == "nosniff"
        assert said.header("referrer-policy") == "no-referrer"
        assert said.header("cache-control") == "no-store"
        assert said.header("access-control-allow-origin") is None


async def test_no_answer_of_the_api_may_be_kept_or_read_by_another_page(shared: Running) -> None:
    for path in READS:
        headers = {"Authorization": f"Bearer {shared.token}", "Origin": "https://evil.example"}
        said = await shared.admin("GET", path, headers=headers)
        assert said.header("cache-control") == "no-store"
        assert said.header("access-control-allow-origin") is None


async def test_each_request_has_one_line_and_probes_have_none(tmp_path: Path) -> None:
    async with running(tmp_path) as shop:
        written = len(shop.log_text)
        await shop.admin("GET", "/api/admin/v1/status")
        await shop.admin("GET", "/api/admin/v1/events/01ARZ3NDEKTSV4RRFFQ69G5FAV")
        await shop.new_key()
        await shop.admin("GET", "/")
        for probe in ("/healthz", "/readyz", "/metrics"):
            await shop.admin("GET", probe)
        told = [(line["event"], line["route"], line["status"]) for line in shop.log(since=written)]
    assert told == [
        ("request_answered", "/api/admin/v1/status", 200),
        ("request_refused", "/api/admin/v1/events/*", 404),
        ("request_answered", "/api/admin/v1/keys", 200),
        ("request_answered", "/", 200),
    ]


async def test_the_metrics_count_refusals_by_route_and_code_and_name_nobody(shared: Running) -> None:
    await shared.send("POST", "/api/v1/events", headers={"Authorization": f"Bearer {CANARY}"}, body={"name": CANARY})
    said = await shared.admin("GET", "/metrics")
    assert said.header("content-type") == "text/plain; version=0.0.4; charset=utf-8"
    assert b'gateway_requests_refused_total{code="key_invalid",route="/api/v1/events"}' in said.body
    assert CANARY.encode() not in said.body
    assert b"127.0.0" not in said.body


async def test_the_status_page_shows_hostile_text_as_text(tmp_path: Path) -> None:
    """Names of events come from strangers' requests; an order number can be any printable text."""
    async with running(tmp_path) as shop:
        key = (await shop.new_key())["key"]
        body = {
            "name": "purchase",
            "order_id": "<script>alert(1)</script>",
            "title": '"><img onerror=x>',
            "id": "xss-event",
        }
        assert (await shop.api("/api/v1/conversions", body, key)).status == 200
        page = (await shop.admin("GET", "/")).body
        assert b"<script>alert" not in page
        assert b"<img onerror" not in page
        shown = await shop.admin("GET", "/api/admin/v1/events/xss-event")
        assert shown.header("content-type") == "application/json"
        assert shown.header("x-content-type-options") == "nosniff"


async def test_commands_reach_the_same_operations_by_the_control_socket_without_a_token(shared: Running) -> None:
    connector = aiohttp.UnixConnector(str(shared.directory / "data" / "control.sock"))
    async with aiohttp.ClientSession(connector=connector) as session:
        async with session.get("http://localhost/api/admin/v1/keys") as answer:
            assert answer.status == 200
        async with session.post("http://localhost/api/admin/v1/replay", data=b'{"delivery_id":"x"}') as answer:
            assert (answer.status, json.loads(await answer.read())["error"]["field"]) == (400, "delivery_id")


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/2.0\r\nHost: localhost\r\n\r\n",
        b"GET /\r\n\r\n",
        b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03" + bytes(100),
        request_bytes("GET", "/", host="localhost", headers={"X-A": "a" * 17_000}),
        request_bytes("GET", "/" + "a" * 9_000, host="localhost"),
        request_bytes(
            "POST", "/login", host="localhost", headers={"Transfer-Encoding": "chunked", "Content-Length": "1"}
        ),
    ],
    ids=range(6),
)
async def test_row_01_the_admin_listener_refuses_broken_frames_too(shared: Running, data: bytes) -> None:
    heard = await talk(shared.admin_port, data)
    assert heard.only.status == 400
    assert heard.closed
    assert log_lines(shared.log_text)[-1]["event"] == "request_refused"


@pytest.mark.parametrize("path", SECRETS)
async def test_a_page_that_was_signed_in_to_shows_no_secret(shared: Running, path: str) -> None:
    said = await sign_in(shared, f"token={shared.token}".encode(), Sec_Fetch_Site="same-origin")
    cookie = {"Cookie": f"gwadmin={said.cookies()['gwadmin']}"}
    refused_with(await shared.admin("GET", path, headers=cookie), 401, "admin_token_invalid")
    assert (await shared.admin("GET", path)).status == 200


async def test_a_key_that_nobody_said_anything_of_may_send_and_nothing_else(shared: Running) -> None:
    said = await shared.admin("POST", "/api/admin/v1/keys", body={"title": "till"})
    assert said.status == 200
    listed = (await shared.admin("GET", "/api/admin/v1/keys")).json()["keys"]
    (made,) = [key for key in listed if key["title"] == "till"]
    assert made["rights"] == ["events", "conversions", "consent"]
