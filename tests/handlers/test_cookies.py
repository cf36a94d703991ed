"""Rows 14 to 18: headers that are no text, and ids that are forged, planted, imitated or carried in from elsewhere."""

from typing import Any, Final

import pytest

from gateway import identity
from gateway.entropy import SeededEntropy
from gateway.ids import random_id
from tests.support.running import AGENT, HOST, NOW_MS, PAGE, Running, refused_with, request_bytes, running

pytestmark = pytest.mark.asyncio(loop_scope="module")

CONSENT: Final = {"analytics": "granted", "advertising": "granted"}
TODAY: Final = NOW_MS // 86_400_000
NAME: Final = "__Host-gwid"
VICTIM: Final = random_id(SeededEntropy(b"victim").token_bytes(16))
ATTACKER: Final = random_id(SeededEntropy(b"attacker").token_bytes(16))
STRANGE: Final = b"\xff\xfe\xed\xa0\x80 caf\xe9"


def keys(shop: Running, site: str = "shop") -> identity.Keys:
    return shop.gateway.house.by_id[site].keys


def token(
    shop: Running, visitor: str = VICTIM, *, site: str = "shop", issued: int = TODAY, renewed: int = TODAY
) -> str:
    return identity.sign_token(keys(shop, site), visitor, issued, renewed)


def visitor_of(shop: Running, event_id: str) -> bytes | None:
    found = shop.rows("select visitor_key from event where event_id = ?", event_id)[0][0]
    return bytes(found) if found is not None else None


def key_of(shop: Running, visitor: str) -> bytes:
    return shop.gateway.house.by_id["shop"].visitor_key(visitor)


_count = iter(range(1_000_000))


async def hit(
    shop: Running, cookies: tuple[bytes, ...], *, consent: dict[str, str] | None = None, url: str | None = None
) -> tuple[bytes | None, dict[str, str], list[str]]:
    """One event with raw Cookie headers. Answers the stored visitor, the cookies that were set, and the marks."""
    event_id = f"cookies-{next(_count):06d}"
    body: dict[str, Any] = {"name": "page_view", "id": event_id, "url": url, "consent": consent}
    headers: list[tuple[str, str | bytes]] = [("Origin", PAGE), ("User-Agent", AGENT)]
    headers += [("Cookie", cookie) for cookie in cookies]
    said = await shop.send("POST", "/collect", headers=headers, body=body)
    assert said.status == 204, said
    return visitor_of(shop, event_id), said.cookies(), shop.facts(event_id).get("marks", [])


# ------------------------------------------------------------------ bytes that are no text


@pytest.mark.parametrize(
    "header", ["Cookie", "User-Agent", "Accept-Language", "Sec-GPC", "Sec-Purpose", "X-Forwarded-For"]
)
async def test_row_14_strange_bytes_in_a_header_are_cleaned_and_the_event_taken(both: Running, header: str) -> None:
    event_id = f"row14-{header}"
    headers: dict[str, str | bytes] = {"Origin": PAGE, header: STRANGE}
    said = await both.send("POST", "/collect", headers=headers, body={"name": "a", "id": event_id, "consent": CONSENT})
    assert said.status == 204
    assert both.facts(event_id)["judgement"]["granted"] & 4
    await both.still_answers()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Referer": b"https://www.shop.example/" + STRANGE}, 204),
        ({"Referer": b"https://www.shop.example" + STRANGE}, 403),
        ({"Referer": STRANGE}, 403),
        ({"Origin": b"https://www.shop.example/" + STRANGE}, 204),
        ({"Origin": b"https://www.shop.example" + STRANGE}, 403),
        ({"Origin": STRANGE}, 403),
        ({"Origin": PAGE, "Cookie": b"__Host-gwid=" + STRANGE + b"; __Host-gwconsent=" + STRANGE + b"; __Host-gwclick=\xff"}, 204),
        ({"Origin": PAGE, "Cookie": b"_fbp=" + STRANGE + b"; _ga=" + STRANGE}, 204),
    ],
    ids=range(8),
)  # fmt: skip
async def test_row_14_strange_bytes_where_they_are_read_give_a_normal_answer(
    both: Running, headers: dict[str, str | bytes], status: int
) -> None:
    said = await both.send("POST", "/collect", headers=headers, body={"name": "a", "consent": CONSENT})
    assert said.status == status
    if said.header("access-control-allow-origin") is not None:
        assert said.header("access-control-allow-origin") == PAGE
    await both.still_answers()


@pytest.mark.parametrize("path", ["/consent", "/link?to=shop.example", "/p.gif", "/gw.js"])
async def test_row_14_strange_bytes_are_no_trouble_on_any_route(both: Running, path: str) -> None:
    names = ("Cookie", "User-Agent", "Referer", "Accept-Language", "Accept-Encoding", "If-None-Match", "Sec-Purpose")
    for origin, statuses in ((PAGE.encode(), {200}), (STRANGE, {200, 403})):
        headers = (("Origin", origin), *((name, STRANGE) for name in names))
        assert (await both.send("GET", path, headers=headers)).status in statuses


@pytest.mark.parametrize(
    ("headers", "code", "field"),
    [
        ({"Authorization": b"Bearer " + STRANGE}, "key_invalid", None),
        ({"Authorization": STRANGE}, "key_missing", None),
        ({"X-Gateway-Signature": STRANGE}, "key_invalid", None),
        ({"Idempotency-Key": STRANGE}, "idempotency_key_invalid", "Idempotency-Key"),
        ({"Content-Encoding": STRANGE}, "encoding_unsupported", None),
        ({"Expect": STRANGE}, "request_malformed", None),
        ({"Host": STRANGE}, "host_unknown", None),
    ],
    ids=range(7),
)
async def test_row_14_strange_bytes_from_a_backend_are_refused(
    both: Running, headers: dict[str, str | bytes], code: str, field: str | None
) -> None:
    made = await both.new_key()
    sent = {"Host": HOST, "Authorization": f"Bearer {made['key']}", **headers}
    said = await both.send("POST", "/api/v1/events", headers=sent, body={"name": "a"}, host=None)
    status = {"key": 401, "hos": 421, "enc": 415}.get(code[:3], 400)
    refused_with(said, status, code, field)


# ------------------------------------------------------------------ forged ids


def forged(shop: Running) -> dict[str, bytes]:
    """Every way an id can be wrong."""
    good = token(shop)
    version, visitor, issued, renewed, mark = good.split(".")
    other = identity.Keys("shop", (b"k" * 32,), (b"k" * 32,))
    flipped = mark[:-1] + ("A" if mark[-1] != "A" else "B")
    return {
        "a flipped bit of the signature": f"{version}.{visitor}.{issued}.{renewed}.{flipped}".encode(),
        "a flipped bit of the id": f"{version}.{ATTACKER}.{issued}.{renewed}.{mark}".encode(),
        "another day": f"{version}.{visitor}.{issued}.{int(renewed) - 1}.{mark}".encode(),
        "another version": f"2.{visitor}.{issued}.{renewed}.{mark}".encode(),
        "no signature": f"{version}.{visitor}.{issued}.{renewed}".encode(),
        "an empty signature": f"{version}.{visitor}.{issued}.{renewed}.".encode(),
        "a signature with padding": good.encode() + b"=",
        "a signature with a space inside": good.replace(".", ". ").encode(),
        "signed for receipts": keys(shop).receipt.sign(f"1.{visitor}.{issued}.{renewed}"),
        "signed for clicks": keys(shop).click.sign(f"1.{visitor}.{issued}.{renewed}"),
        "signed for another site": token(shop, site="kiosk").encode(),
        "signed with another key": identity.sign_token(other, VICTIM, TODAY, TODAY).encode(),
        "past its life": token(shop, issued=TODAY - 500, renewed=TODAY - 391).encode(),
        "renewed two days ahead": token(shop, renewed=TODAY + 2).encode(),
        "nothing": b"",
        "a quote": b'"' + good.encode() + b'"',
        "8 KB": b"1." + b"A" * 8_000 + b"." + mark.encode(),
        "8 KB of dots": b"." * 8_000,
        "bytes above ASCII": good[:-1].encode() + b"\xff",
        "a full-width digit": good.replace("1.", "１.", 1).encode(),
    }


FORGERIES: Final = (
    "a flipped bit of the signature", "a flipped bit of the id", "another day", "another version", "no signature",
    "an empty signature", "a signature with padding", "a signature with a space inside", "signed for receipts",
    "signed for clicks", "signed for another site", "signed with another key", "past its life", "renewed two days ahead",
    "nothing", "a quote", "8 KB", "8 KB of dots", "bytes above ASCII", "a full-width digit",
)  # fmt: skip


async def test_row_15_the_list_of_forgeries_is_tried_whole(both: Running) -> None:
    assert tuple(forged(both)) == FORGERIES


@pytest.mark.parametrize("case", FORGERIES)
async def test_row_15_a_forged_id_is_no_id_and_a_new_one_needs_consent(both: Running, case: str) -> None:
    cookie = b"__Host-gwid=" + forged(both)[case]
    nobody, deleted, marks = await hit(both, (cookie,))
    assert nobody is None
    assert deleted == {NAME: ""}, "without consent the cookie is taken back"
    assert marks == ["id_invalid"]
    somebody, made, marks = await hit(both, (cookie,), consent=CONSENT)
    assert somebody not in {None, key_of(both, VICTIM), key_of(both, ATTACKER)}
    new = identity.read_token(keys(both), made[NAME], TODAY, 390)
    assert new is not None
    assert new.visitor_id not in {VICTIM, ATTACKER}
    assert marks == ["id_invalid"]


async def test_row_15_a_valid_id_is_known_again_with_consent_and_forgotten_without(both: Running) -> None:
    cookie = f"{NAME}={token(both)}".encode()
    known, made, marks = await hit(both, (cookie,), consent=CONSENT)
    assert (known, made, marks) == (key_of(both, VICTIM), {}, [])
    nobody, deleted, _ = await hit(both, (cookie,))
    assert (nobody, deleted) == (None, {NAME: ""})


# ------------------------------------------------------------------ planted ids


async def test_row_16_beside_an_invalid_id_the_valid_one_counts_in_any_order(both: Running) -> None:
    good, bad = f"{NAME}={token(both)}".encode(), f"{NAME}=1.x.y".encode()
    for cookies in ((good + b"; " + bad,), (bad + b"; " + good,), (good, bad), (bad, good), (bad + b";" + bad, good)):
        known, _, _ = await hit(both, cookies, consent=CONSENT)
        assert known == key_of(both, VICTIM), cookies


async def test_row_16_of_two_different_valid_ids_neither_counts_in_any_order(both: Running) -> None:
    """A sibling host can plant an id that is valid, its own; the order in which browsers send cookies must not decide."""
    mine, planted = f"{NAME}={token(both)}".encode(), f"{NAME}={token(both, ATTACKER)}".encode()
    for cookies in ((mine + b"; " + planted,), (planted + b"; " + mine,), (mine, planted), (planted, mine)):
        somebody, made, marks = await hit(both, cookies, consent=CONSENT)
        assert somebody not in {None, key_of(both, VICTIM), key_of(both, ATTACKER)}
        assert NAME in made, "a new id replaces both"
        assert marks == ["id_conflict"]
        nobody, deleted, marks = await hit(both, cookies)
        assert (nobody, deleted, marks) == (None, {NAME: ""}, ["id_conflict"])


async def test_row_16_the_same_id_twice_is_no_conflict(both: Running) -> None:
    good = f"{NAME}={token(both)}".encode()
    older = f"{NAME}={token(both, renewed=TODAY - 3)}".encode()
    for cookies in ((good + b"; " + good,), (good, older), (older, good)):
        known, made, marks = await hit(both, cookies, consent=CONSENT)
        assert (known, made, marks) == (key_of(both, VICTIM), {}, [])


@pytest.mark.parametrize(
    "name",
    [
        b"__host-gwid", b"__HOST-GWID", b"__Host-GWID", b"gwid", b"__Secure-gwid", b"__Host-gwid ", b"x__Host-gwid",
        b"\xa0__Host-gwid", b"\xe2\x80\x80__Host-gwid", b"\xc2\x85__Host-gwid", b"__Host-gwid\xc2\xa0", b"__Host-gwid[]",
        b"__Host-gw%69d", b'"__Host-gwid"', b"=__Host-gwid", b",__Host-gwid", b"$__Host-gwid",
    ],
)  # fmt: skip
async def test_row_17_another_cookie_name_is_another_cookie(both: Running, name: bytes) -> None:
    """All but one: a space before `=` is cut by every reader of cookies, and browsers store no name that ends with one."""
    somebody, made, marks = await hit(both, (name + b"=" + token(both).encode(),), consent=CONSENT)
    if name == b"__Host-gwid ":
        assert somebody == key_of(both, VICTIM)
        return
    assert somebody not in {None, key_of(both, VICTIM)}
    assert NAME in made
    assert marks == []


async def test_row_17_with_a_cookie_domain_the_name_says_so(tmp_path: Any) -> None:
    async with running(tmp_path, shop={"cookie_domain": "shop.example"}) as shop:
        said = await shop.collect({"name": "a", "consent": CONSENT})
    (line,) = said.all("set-cookie")
    assert line.startswith("__Secure-gwid=")
    assert "; Path=/; Domain=shop.example; Max-Age=" in line
    assert line.endswith("; Secure; HttpOnly; SameSite=Lax")


async def test_the_id_cookie_is_host_only_and_out_of_reach_of_scripts(both: Running) -> None:
    said = await both.collect({"name": "a", "consent": CONSENT})
    (line,) = said.all("set-cookie")
    assert line.startswith("__Host-gwid=")
    assert line.endswith("; Path=/; Max-Age=33696000; Secure; HttpOnly; SameSite=Lax")
    assert "omain" not in line
    assert len(line) < 4_096


# ------------------------------------------------------------------ ids carried in an address


async def link(shop: Running, host: str = "www.shop.example") -> str:
    """A link token of the victim's browser, as the tag asks for it."""
    cookie = f"{NAME}={token(shop)}; {consent_cookie(shop)}"
    said = await shop.send("GET", f"/link?to={host}", headers={"Origin": PAGE, "Cookie": cookie})
    assert said.status == 200, said
    assert said.json()["parameter"] == "_gwl"
    return str(said.json()["token"])


def consent_cookie(shop: Running) -> str:
    now_ms = shop.clock.now_ms()
    return f"__Host-gwconsent={identity.sign_receipt(keys(shop), identity.Receipt(63, 0, now_ms, '1', 'x' * 22))}"


async def test_row_18_a_link_token_carries_the_id_once_to_its_host(tmp_path: Any) -> None:
    async with running(tmp_path) as shop:
        made = await link(shop)
        url = f"https://www.shop.example/?_gwl={made}"
        first, cookies, marks = await hit(shop, (), consent=CONSENT, url=url)
        assert (first, marks) == (key_of(shop, VICTIM), ["linked"])
        assert identity.read_token(keys(shop), cookies[NAME], TODAY, 390)
        again, _, marks = await hit(shop, (), consent=CONSENT, url=url)
        assert again not in {None, key_of(shop, VICTIM)}
        assert marks == ["link_invalid"]


@pytest.mark.parametrize(
    "case", ["unsigned", "the id cookie's value", "another host", "a flipped bit", "forged", "8 KB", "empty", "strange"]
)
async def test_row_18_an_id_in_the_address_without_a_fitting_signature_is_ignored(tmp_path: Any, case: str) -> None:
    async with running(tmp_path) as shop:
        other = identity.Keys("shop", (b"k" * 32,), (b"k" * 32,))
        stranger = identity.Token(VICTIM, TODAY, TODAY, True)
        carried = {
            "unsigned": VICTIM,
            "the id cookie's value": token(shop),
            "another host": await link(shop, "other.shop.example"),
            "a flipped bit": (await link(shop))[:-1] + "_",
            "forged": identity.sign_link(other, stranger, "www.shop.example", NOW_MS, "n" * 22),
            "8 KB": "A" * 4_000,
            "empty": "",
            "strange": "%ff%00%0d%0aé\u2028",
        }[case]
        url = f"https://www.shop.example/?gwid={VICTIM}&__Host-gwid={token(shop)}&_gwl={carried}"
        somebody, cookies, marks = await hit(shop, (), consent=CONSENT, url=url)
        assert somebody not in {None, key_of(shop, VICTIM)}
        assert NAME in cookies
        assert marks == ["link_invalid"]
        nobody, cookies, _ = await hit(shop, (), url=url)
        assert (nobody, cookies) == (None, {})


async def test_row_18_a_link_token_dies_after_two_minutes(tmp_path: Any) -> None:
    async with running(tmp_path) as shop:
        young, old = await link(shop), await link(shop)
        shop.move(seconds=120)
        known, _, _ = await hit(shop, (), consent=CONSENT, url=f"https://www.shop.example/?_gwl={young}")
        assert known == key_of(shop, VICTIM)
        shop.move(seconds=1)
        stranger, _, marks = await hit(shop, (), consent=CONSENT, url=f"https://www.shop.example/?_gwl={old}")
        assert stranger not in {None, key_of(shop, VICTIM)}
        assert marks == ["link_invalid"]


async def test_row_18_a_browser_that_has_an_id_keeps_it(tmp_path: Any) -> None:
    """A link cannot plant the attacker's id into a browser that has its own."""
    async with running(tmp_path) as shop:
        mine = f"{NAME}={token(shop, ATTACKER)}".encode()
        url = f"https://www.shop.example/?_gwl={await link(shop)}"
        known, cookies, marks = await hit(shop, (mine,), consent=CONSENT, url=url)
        assert (known, cookies, marks) == (key_of(shop, ATTACKER), {}, ["link_not_needed"])


@pytest.mark.parametrize(
    "to", ["", "evil.example", "shop.example.evil.example", "evilshop.example", "a" * 300 + ".shop.example", "%00.shop.example",
           "x%20y.shop.example", "%ff.shop.example", "user@www.shop.example", "www.shop.example/path", "www.shop.example:80"],
)  # fmt: skip
async def test_row_18_a_token_is_made_for_listed_hosts_alone(both: Running, to: str) -> None:
    headers = {"Origin": PAGE, "Cookie": f"{NAME}={token(both)}; {consent_cookie(both)}"}
    with both.refusing("/link", "field_invalid"):
        refused_with(await both.send("GET", f"/link?to={to}", headers=headers), 400, "field_invalid", "to")


@pytest.mark.parametrize("cookie", ["", "id", "consent"])
async def test_without_an_id_or_without_consent_there_is_no_token(both: Running, cookie: str) -> None:
    sent = {"": "", "id": f"{NAME}={token(both)}", "consent": consent_cookie(both)}[cookie]
    said = await both.send("GET", "/link?to=shop.example", headers={"Origin": PAGE, "Cookie": sent})
    assert said.status == 200
    assert said.json() == {"parameter": "_gwl", "token": None}
    assert said.header("set-cookie") is None


async def test_a_signal_against_sharing_is_no_reason_against_a_token_on_the_same_site(both: Running) -> None:
    """Sec-GPC refuses advertising; the id needs analytics here, so a token is still made."""
    cookie = f"{NAME}={token(both)}; {consent_cookie(both)}"
    said = await both.send("GET", "/link?to=shop.example", headers={"Origin": PAGE, "Cookie": cookie, "Sec-GPC": "1"})
    assert said.json()["token"] is not None


async def test_a_page_of_another_domain_gets_no_token(both: Running) -> None:
    headers = {"Origin": "https://evil.example", "Cookie": f"{NAME}={token(both)}; {consent_cookie(both)}"}
    with both.refusing("/link", "domain_not_allowed"):
        refused_with(await both.send("GET", "/link?to=shop.example", headers=headers), 403, "domain_not_allowed")


async def test_raw_requests_are_what_the_rows_above_send(both: Running) -> None:
    """The client adds nothing: what is not in the bytes was not sent."""
    assert request_bytes("GET", "/x", headers={"Cookie": b"a=\xff"}) == (
        b"GET /x HTTP/1.1\r\nHost: t.shop.example\r\nCookie: a=\xff\r\n\r\n"
    )
