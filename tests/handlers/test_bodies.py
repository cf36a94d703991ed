"""Rows 7 to 13: bodies that are too large, compressed, nested, or say what no event can say.

A refused body is refused whole: nothing of it is stored, and the answer names the field but never its value.
"""

import asyncio
import gzip
import json
import zlib
from typing import Any, Final

import pytest
import pytest_asyncio

from tests.support.cases import named
from tests.support.memory import grows_at_most
from tests.support.running import NOW_MS, PAGE, Running, hear, opened, refused_with, request_bytes

pytestmark = pytest.mark.asyncio(loop_scope="module")

EVENT: Final = b'{"name":"page_view"}'
BODY_MAX: Final = 65_536
API_BODY_MAX: Final = 524_288
DAY_MS: Final = 86_400_000
CANARY: Final = "Kanarienvogel"
"""Stands for every value a caller sends: it must be in no answer and in no log line."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def key(both: Running) -> str:
    return str((await both.new_key())["key"])


def padded(length: int) -> bytes:
    """A valid event of exactly so many bytes."""
    return EVENT[:-1] + b" " * (length - len(EVENT)) + EVENT[-1:]


def bomb(megabytes: int, window: int = 31) -> bytes:
    """An event followed by so many megabytes of spaces, compressed a thousand times."""
    packer = zlib.compressobj(9, zlib.DEFLATED, window)
    parts = [packer.compress(EVENT), *(packer.compress(b" " * (1 << 20)) for _ in range(megabytes))]
    return b"".join(parts) + packer.flush()


# ------------------------------------------------------------------ sizes


async def test_row_07_a_body_of_exactly_the_limit_is_taken(both: Running) -> None:
    said = (await both.talk(request_bytes(headers={"Origin": PAGE}, body=padded(BODY_MAX)))).only
    assert said.status == 204


@pytest.mark.parametrize("how", ["with a length", "in chunks", "in one chunk"])
async def test_row_07_a_body_one_byte_over_the_limit_is_refused_whole(both: Running, how: str) -> None:
    body = padded(BODY_MAX + 1)
    if how == "with a length":
        data = request_bytes(headers={"Origin": PAGE}, body=body)
    else:
        size = len(body) if how == "in one chunk" else 1_000
        chunks = (body[start : start + size] for start in range(0, len(body), size))
        framed = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
        data = request_bytes(headers={"Origin": PAGE, "Transfer-Encoding": "chunked"}, body=framed, length=False)
    with both.refusing("/collect", "body_too_large"):
        heard = await both.talk(data)
    refused_with(heard.only, 413, "body_too_large")
    assert heard.closed
    await both.still_answers()


@pytest.mark.parametrize("path", ["/api/v1/events", "/api/v1/conversions", "/api/v1/conversions/batch"])
async def test_row_07_the_api_has_a_limit_of_its_own(both: Running, key: str, path: str) -> None:
    headers = {"Authorization": f"Bearer {key}"}
    taken = (await both.talk(request_bytes("POST", path, headers=headers, body=padded(API_BODY_MAX)))).only
    assert taken.status == 200
    with both.refusing(path, "body_too_large"):
        heard = await both.talk(request_bytes("POST", path, headers=headers, body=padded(API_BODY_MAX + 1)))
    refused_with(heard.only, 413, "body_too_large")
    assert heard.closed


async def test_row_07_a_choice_over_the_limit_is_refused(both: Running) -> None:
    with both.refusing("/consent", "body_too_large"):
        heard = await both.talk(request_bytes("POST", "/consent", headers={"Origin": PAGE}, body=padded(BODY_MAX + 1)))
    refused_with(heard.only, 413, "body_too_large")
    assert heard.closed


async def test_row_07_reading_stops_in_a_body_without_end(both: Running) -> None:
    """An endless stream of chunks: the answer comes, the connection ends, and no more than a few buffers were taken."""
    with grows_at_most(20):
        async with opened(both.port) as (reader, writer):
            writer.write(request_bytes(headers={"Origin": PAGE, "Transfer-Encoding": "chunked"}))
            sent = 0
            try:
                async with asyncio.timeout(5):
                    while not reader.at_eof():
                        writer.write(b"10000\r\n" + b" " * 65_536 + b"\r\n")
                        await writer.drain()
                        sent += 65_536
            except ConnectionError:
                pass
            assert sent < 64 * 1024 * 1024
    await both.still_answers()


async def test_row_07_a_body_that_stops_before_its_length_is_no_event(both: Running) -> None:
    stored = both.count()
    async with opened(both.port) as (_reader, writer):
        writer.write(request_bytes(headers={"Origin": PAGE, "Content-Length": "50"}) + EVENT)
        await writer.drain()
        writer.close()
        await writer.wait_closed()
    await both.still_answers()
    assert both.count() == stored + 1


# ------------------------------------------------------------------ compression


def squeezed(body: bytes, window: int) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, window)
    return packer.compress(body) + packer.flush()


@pytest.mark.parametrize(
    ("encoding", "body"),
    named(
        [
            ("gzip", "gzip", gzip.compress(EVENT, mtime=0)),
            ("its old name", "x-gzip", gzip.compress(EVENT, mtime=0)),
            ("in capitals", "GZIP ", gzip.compress(EVENT, mtime=0)),
            ("deflate", "deflate", squeezed(EVENT, 15)),
            ("deflate as some browsers understood it", "deflate", squeezed(EVENT, -15)),
            ("identity", "identity", EVENT),
            ("an empty header", "", EVENT),
        ]
    ),
)
async def test_row_08_one_content_encoding_is_undone(both: Running, encoding: str, body: bytes) -> None:
    said = (await both.talk(request_bytes(headers={"Origin": PAGE, "Content-Encoding": encoding}, body=body))).only
    assert said.status == 204


PACKED: Final = gzip.compress(EVENT, mtime=0)


@pytest.mark.parametrize(
    ("encodings", "body", "status", "code"),
    named([
        ("a broken header", ("gzip",), b"\x1f\x8b" + b"a" * 50, 400, "encoding_broken"),
        ("no gzip at all", ("gzip",), EVENT, 400, "encoding_broken"),
        ("nothing", ("gzip",), b"", 400, "encoding_broken"),
        ("cut off", ("gzip",), PACKED[:-9], 400, "encoding_broken"),
        ("a wrong check sum", ("gzip",), PACKED[:-8] + bytes(8), 400, "encoding_broken"),
        ("a flipped bit", ("gzip",), PACKED[:15] + bytes([PACKED[15] ^ 255]) + PACKED[16:], 400, "encoding_broken"),
        ("something behind the end", ("gzip",), PACKED + b"x", 400, "encoding_broken"),
        ("a second member", ("gzip",), PACKED + PACKED, 400, "encoding_broken"),
        ("gzip called deflate", ("deflate",), PACKED, 400, "encoding_broken"),
        ("gzip in gzip, said once", ("gzip",), gzip.compress(PACKED, mtime=0), 400, "json_invalid"),
        ("gzip in gzip, said twice", ("gzip, gzip",), gzip.compress(PACKED, mtime=0), 415, "encoding_unsupported"),
        ("gzip in gzip, in two headers", ("gzip", "gzip"), gzip.compress(PACKED, mtime=0), 415, "encoding_unsupported"),
        ("two headers that differ", ("identity", "gzip"), PACKED, 415, "encoding_unsupported"),
        ("brotli", ("br",), b"\x0b\x02\x80{}\x03", 415, "encoding_unsupported"),
        ("zstandard", ("zstd",), b"\x28\xb5\x2f\xfd", 415, "encoding_unsupported"),
        ("a word", ("x",), EVENT, 415, "encoding_unsupported"),
        ("bytes above ASCII", ("gzip\u00ff",), PACKED, 415, "encoding_unsupported"),
    ]),
)  # fmt: skip
async def test_row_08_other_compressed_bodies_are_refused(
    both: Running, encodings: tuple[str, ...], body: bytes, status: int, code: str
) -> None:
    headers = (("Origin", PAGE), *(("Content-Encoding", encoding) for encoding in encodings))
    with both.refusing("/collect", code):
        heard = await both.talk(request_bytes(headers=headers, body=body))
    refused_with(heard.only, status, code)
    await both.still_answers()


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_row_08_a_bomb_is_cut_off_at_the_limit(both: Running, key: str, encoding: str) -> None:
    """60 MB in less than 64 KiB for pages, 200 MB in less than 512 KiB for backends."""
    window = 31 if encoding == "gzip" else 15
    small, large = bomb(60, window), bomb(200, window)
    assert len(small) <= BODY_MAX
    assert len(large) <= API_BODY_MAX
    with grows_at_most(20):
        async with asyncio.timeout(2):
            page = await both.talk(request_bytes(headers={"Origin": PAGE, "Content-Encoding": encoding}, body=small))
            headers = {"Authorization": f"Bearer {key}", "Content-Encoding": encoding}
            backend = await both.talk(request_bytes("POST", "/api/v1/events", headers=headers, body=large))
    for heard in (page, backend):
        refused_with(heard.only, 413, "body_too_large")
        assert heard.closed
    await both.still_answers()


# ------------------------------------------------------------------ JSON


def nested(depth: int, opening: bytes = b"[", closing: bytes = b"]") -> bytes:
    return opening * depth + closing * depth


@pytest.mark.parametrize(
    "body",
    named([
        ("13 arrays in a property", b'{"name":"a","props":{"x":' + nested(13) + b"}}"),
        ("13 objects in a property", b'{"name":"a","props":{"x":' + nested(13, b'{"a":', b"}").replace(b":}", b":1}") + b"}}"),
        ("13 arrays as items", b'{"name":"a","items":' + nested(13) + b"}"),
        ("13 arrays as the event", nested(13)),
        ("30,000 arrays as the event", nested(30_000)),
        ("30,000 arrays in a property", b'{"name":"a","props":{"x":' + nested(30_000) + b"}}"),
        ("30,000 arrays in a field that does not exist", b'{"x":' + nested(30_000) + b"}"),
        ("10,000 objects", b'{"a":' * 10_000 + b"1" + b"}" * 10_000),
        ("60,000 arrays that are never closed", b"[" * 60_000),
    ]),
)  # fmt: skip
async def test_row_09_deep_json_is_refused(both: Running, body: bytes) -> None:
    stored = both.everything_stored()
    said = (await both.talk(request_bytes(headers={"Origin": PAGE}, body=body))).only
    assert said.status == 400, said
    assert said.code in {"json_too_deep", "json_invalid", "field_type", "field_unknown"}
    assert both.everything_stored() == stored
    await both.still_answers()


@pytest.mark.parametrize("path", ["/api/v1/events", "/consent"])
async def test_row_09_deep_json_of_a_backend_is_refused(both: Running, key: str, path: str) -> None:
    depth = 250_000 if path == "/api/v1/events" else 30_000
    for body in (nested(depth), b'{"name":"a","props":{"x":' + nested(depth) + b"}}"):
        said = await both.api(path, body, key)
        assert said.status == 400, said
    await both.still_answers()


NOT_JSON: Final[dict[str, bytes]] = {
    "nothing": b"",
    "a space": b" ",
    "half an object": b'{"name":"a"',
    "two objects": b'{"name":"a"}{"name":"b"}',
    "something behind it": b'{"name":"a"}x',
    "NaN": b'{"name":"a","props":{"x":NaN}}',
    "Infinity": b'{"name":"a","props":{"x":Infinity}}',
    "-Infinity": b'{"name":"a","value":-Infinity}',
    "a byte order mark": b'\xef\xbb\xbf{"name":"a"}',
    "UTF-16": '{"name":"a"}'.encode("utf-16"),
    "UTF-16 without a mark": '{"name":"a"}'.encode("utf-16-le"),
    "UTF-32": '{"name":"a"}'.encode("utf-32"),
    "a lone surrogate in a value": b'{"name":"a","title":"\\ud800"}',
    "a lone surrogate in a property": b'{"name":"a","props":{"x":"\\udfff"}}',
    "a lone surrogate in a name": b'{"name":"a","props":{"\\ud800":1}}',
    "surrogates the wrong way round": b'{"name":"a","title":"\\udc00\\ud800"}',
    "invalid UTF-8 in a value": b'{"name":"a","title":"\xff"}',
    "invalid UTF-8 in a name": b'{"name":"a","\xff":1}',
    "invalid UTF-8 in a property's name": b'{"name":"a","props":{"\xff":1}}',
    "an encoded surrogate": b'{"name":"a","title":"\xed\xa0\x80"}',
    "an overlong slash": b'{"name":"a","title":"\xc0\xaf"}',
    "a comment": b'{"name":"a"/*x*/}',
    "a comma at the end": b'{"name":"a",}',
    "single quotes": b"{'name':'a'}",
    "a leading zero": b'{"name":"a","props":{"x":01}}',
    "a plus": b'{"name":"a","props":{"x":+1}}',
    "a hexadecimal number": b'{"name":"a","props":{"x":0x1}}',
    "a raw line feed in a text": b'{"name":"a","title":"x\ny"}',
    "a raw NUL in a text": b'{"name":"a","title":"x\x00y"}',
    "a form": b"name=a&title=b",
}


@pytest.mark.parametrize("case", NOT_JSON)
async def test_row_10_what_is_not_json_in_utf_8_is_refused(both: Running, key: str, case: str) -> None:
    with both.refusing("/collect", "json_invalid"):
        refused_with(
            (await both.talk(request_bytes(headers={"Origin": PAGE}, body=NOT_JSON[case]))).only, 400, "json_invalid"
        )
    with both.refusing("/api/v1/conversions", "json_invalid"):
        refused_with(await both.api("/api/v1/conversions", NOT_JSON[case], key), 400, "json_invalid")
    await both.still_answers()


@pytest.mark.parametrize("case", ["", "{", '{"choice":', '{"choice":{"analytics":"\\ud800"}}', "\ufeff{}"])
async def test_row_10_a_choice_that_is_not_json_is_refused(both: Running, case: str) -> None:
    with both.refusing("/consent", "json_invalid"):
        said = await both.send("POST", "/consent", headers={"Origin": PAGE}, body=case.encode())
    refused_with(said, 400, "json_invalid")


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        (b'{"name":"a","value":1e400,"currency":"EUR"}', "amount_too_large", "value"),
        (b'{"name":"a","value":"1e400","currency":"EUR"}', "amount_too_large", "value"),
        (b'{"name":"a","value":1e-400,"currency":"EUR"}', "amount_too_fine", "value"),
        (b'{"name":"a","value":"NaN","currency":"EUR"}', "amount_not_finite", "value"),
        (b'{"name":"a","value":"sNaN","currency":"EUR"}', "amount_not_finite", "value"),
        (b'{"name":"a","value":"-Infinity","currency":"EUR"}', "amount_not_finite", "value"),
        (b'{"name":"a","value":' + b"9" * 60_000 + b',"currency":"EUR"}', "amount_too_large", "value"),
        (b'{"name":"a","value":"' + b"9" * 60_000 + b'","currency":"EUR"}', "amount_too_large", "value"),
        (b'{"name":"a","value":0.' + b"1" * 60_000 + b',"currency":"EUR"}', "amount_too_fine", "value"),
        (b'{"name":"a","props":{"x":1e400}}', "field_invalid", "props[...]"),
        (b'{"name":"a","props":{"x":' + b"9" * 60_000 + b"}}", "field_invalid", "props[...]"),
        (b'{"name":"a","occurred_at_ms":' + b"9" * 60_000 + b"}", "field_invalid", "occurred_at_ms"),
        (b'{"name":"a","items":[{"quantity":' + b"9" * 60_000 + b"}]}", "field_invalid", "items[0].quantity"),
    ],
    ids=range(13),
)
async def test_row_10_numbers_without_measure_are_refused_at_their_field(
    both: Running, key: str, body: bytes, code: str, field: str
) -> None:
    with both.refusing("/collect", code):
        refused_with((await both.talk(request_bytes(headers={"Origin": PAGE}, body=body))).only, 400, code, field)
    async with asyncio.timeout(1):
        refused_with(await both.api("/api/v1/events", body, key), 400, code, field)


# ------------------------------------------------------------------ repeated keys


@pytest.mark.parametrize(
    "body",
    named(
        [
            ("consent twice", b'{"name":"a","consent":{"advertising":"denied"},"consent":{"advertising":"granted"}}'),
            ("a purpose twice", b'{"name":"a","consent":{"advertising":"denied","advertising":"granted"}}'),
            ("a purpose in escapes", b'{"name":"a","consent":{"advertising":"denied","\\u0061dvertising":"granted"}}'),
            ("the first in escapes", b'{"name":"a","\\u0063onsent":{"advertising":"denied"},"consent":{"advertising":"granted"}}'),
            ("the second in escapes", b'{"name":"a","consent":{"advertising":"denied"},"c\\u006fnsent":{"advertising":"granted"}}'),
            ("in a list", b'{"events":[{"name":"a","consent":{"advertising":"denied"},"consent":{"advertising":"granted"}}]}'),
            ("beside a list", b'{"consent":{"advertising":"denied"},"events":[{"name":"a"}],"consent":{"advertising":"granted"}}'),
            ("after null", b'{"name":"a","consent":null,"consent":{"advertising":"denied"},"consent":{"advertising":"granted"}}'),
            ("beside its name", b'{"name":"a","title":"\\"consent\\"","consent":{"analytics":"denied"},"consent":{"analytics":"granted"}}'),
        ]
    ),
)  # fmt: skip
async def test_row_11_consent_said_twice_is_refused(both: Running, key: str, body: bytes) -> None:
    with both.refusing("/collect", "json_duplicate_key"):
        said = (await both.talk(request_bytes(headers={"Origin": PAGE}, body=body))).only
    refused_with(said, 400, "json_duplicate_key", "consent")
    refused_with(await both.api("/api/v1/events", body, key), 400, "json_duplicate_key", "consent")


@pytest.mark.parametrize(
    "body",
    named(
        [
            ("choice twice", b'{"choice":{"advertising":"denied"},"choice":{"advertising":"granted"}}'),
            ("a purpose twice", b'{"choice":{"advertising":"denied","advertising":"granted"}}'),
            ("a purpose in escapes", b'{"choice":{"advertising":"denied","\\u0061dvertising":"granted"}}'),
            ("the first in escapes", b'{"\\u0063hoice":{"advertising":"denied"},"choice":{"advertising":"granted"}}'),
        ]
    ),
)
async def test_row_11_a_choice_said_twice_is_refused(both: Running, body: bytes) -> None:
    with both.refusing("/consent", "json_duplicate_key"):
        said = await both.send("POST", "/consent", headers={"Origin": PAGE}, body=body)
    refused_with(said, 400, "json_duplicate_key", "consent")


async def test_row_11_under_two_names_of_one_purpose_the_refusal_wins(both: Running) -> None:
    body = {
        "id": "row11-alias",
        "name": "a",
        "consent": {"advertising": "granted", "ad_storage": "denied", "analytics": "granted"},
    }
    assert (await both.collect(body)).status == 204
    granted = both.facts("row11-alias")["judgement"]["granted"]
    assert granted & 8 == 0
    assert granted & 4 == 4


async def test_row_11_outside_consent_the_last_of_a_repeated_key_counts(both: Running) -> None:
    body = b'{"id":"row11-last","name":"first","name":"second","props":{"a":1,"a":2}}'
    assert (await both.talk(request_bytes(headers={"Origin": PAGE}, body=body))).only.status == 204
    assert both.rows("select name from event where event_id = 'row11-last'") == [("second",)]


# ------------------------------------------------------------------ fields


FIELDS: Final[dict[str, tuple[Any, str, str | None]]] = {
    "an array as the event": ([1], "field_type", None),
    "a text as the event": (CANARY, "field_type", None),
    "null as the event": (None, "field_type", None),
    "no name": ({}, "field_missing", "name"),
    "a name that is null": ({"name": None}, "event_name_invalid", "name"),
    "a name that is a number": ({"name": 7}, "event_name_invalid", "name"),
    "a name with capitals": ({"name": CANARY}, "event_name_invalid", "name"),
    "a name with a line feed at its end": ({"name": "page_view\n"}, "event_name_invalid", "name"),
    "a name of 41 characters": ({"name": "a" * 41}, "event_name_invalid", "name"),
    "an id with a space": ({"name": "a", "id": f"{CANARY} {CANARY}"}, "event_id_invalid", "id"),
    "an id of 7 characters": ({"name": "a", "id": "1234567"}, "event_id_invalid", "id"),
    "an id of 65 characters": ({"name": "a", "id": "1" * 65}, "event_id_invalid", "id"),
    "an id with a line feed at its end": ({"name": "a", "id": "12345678\n"}, "event_id_invalid", "id"),
    "a value that is a word": ({"name": "a", "value": CANARY}, "amount_invalid", "value"),
    "a value that is true": ({"name": "a", "value": True}, "amount_invalid", "value"),
    "a value that is a list": ({"name": "a", "value": [1]}, "amount_invalid", "value"),
    "a negative value": ({"name": "a", "value": -1}, "amount_negative", "value"),
    "a negative value as text": ({"name": "a", "value": "-0.01"}, "amount_negative", "value"),
    "a value of 1e15": ({"name": "a", "value": 1e15}, "amount_too_large", "value"),
    "a value of a trillion and a cent": ({"name": "a", "value": "1000000000000.01"}, "amount_too_large", "value"),
    "a value with three decimals": ({"name": "a", "value": "1.001"}, "amount_too_fine", "value"),
    "yen with decimals": ({"name": "a", "value": "1.5", "currency": "JPY"}, "amount_too_fine", "value"),
    "an unknown currency": ({"name": "a", "value": 1, "currency": "XXQ"}, "currency_unknown", "currency"),
    "a currency in lower case": ({"name": "a", "value": 1, "currency": "eur"}, "currency_unknown", "currency"),
    "a currency that is a number": ({"name": "a", "value": 1, "currency": 978}, "field_type", "currency"),
    "a currency of 9 characters": ({"name": "a", "value": 1, "currency": CANARY}, "field_too_long", "currency"),
    "an order id that is a number": ({"name": "a", "order_id": 7}, "field_type", "order_id"),
    "an order id of 65 characters": ({"name": "a", "order_id": "1" * 65}, "field_too_long", "order_id"),
    "an order id with a control character": ({"name": "a", "order_id": "1\x1b[31m"}, "field_invalid", "order_id"),
    "an empty order id": ({"name": "a", "order_id": ""}, "field_invalid", "order_id"),
    "a unit price that is a word": ({"name": "a", "items": [{}, {"price": CANARY}]}, "amount_invalid", "items[1].price"),
    "a negative unit price": ({"name": "a", "items": [{"price": -1}]}, "amount_negative", "items[0].price"),
    "a quantity of zero": ({"name": "a", "items": [{"quantity": 0}]}, "field_invalid", "items[0].quantity"),
    "a quantity that is true": ({"name": "a", "items": [{"quantity": True}]}, "field_type", "items[0].quantity"),
    "half a piece": ({"name": "a", "items": [{"quantity": 0.5}]}, "field_type", "items[0].quantity"),
    "a field of items that does not exist": ({"name": "a", "items": [{"sku": CANARY}]}, "field_unknown", "items[0].sku"),
    "201 items": ({"name": "a", "items": [{}] * 201}, "field_too_long", "items"),
    "300 properties": ({"name": "a", "props": {f"p{n}": n for n in range(300)}}, "fields_too_many", "props"),
    "300 fields that do not exist": ({"name": "a"} | {f"f{n}": CANARY for n in range(300)}, "field_unknown", "f0"),
    "a field with a name of ours in other case": ({"name": "a", "Title": CANARY}, "field_unknown", "Title"),
    "a property of 8,193 characters": ({"name": "a", "props": {"x": "x" * 8_193}}, "field_too_long", "props[...]"),
    "a property that is an object": ({"name": "a", "props": {"x": {"y": CANARY}}}, "field_type", "props[...]"),
    "a list of 51 in a property": ({"name": "a", "props": {"x": [1] * 51}}, "field_too_long", "props[...]"),
    "properties that are a list": ({"name": "a", "props": [CANARY]}, "field_type", "props"),
    "an address in a property": ({"name": "a", "props": {"email": CANARY}}, "field_personal", "props.email"),
    "an address in a property in capitals": ({"name": "a", "props": {"E_Mail": CANARY}}, "field_personal", "props.E_Mail"),
    "a title of 1,025 characters": ({"name": "a", "title": "x" * 1_025}, "field_too_long", "title"),
    "an address of 8,193 characters": ({"name": "a", "url": "x" * 8_193}, "field_too_long", "url"),
    "a person that is a text": ({"name": "a", "person": CANARY}, "field_type", "person"),
    "four addresses of a person": ({"name": "a", "person": {"email": [CANARY] * 4}}, "field_too_long", "person.email"),
    "a field of a person that does not exist": ({"name": "a", "person": {"mail": CANARY}}, "field_unknown", "person.mail"),
    "an unknown purpose": ({"name": "a", "consent": {"everything": "granted"}}, "purpose_unknown", "consent"),
    "consent that is true": ({"name": "a", "consent": {"analytics": True}}, "consent_value_invalid", "consent[...]"),
    "consent that is a word": ({"name": "a", "consent": {"analytics": CANARY}}, "consent_value_invalid", "consent[...]"),
    "consent in capitals": ({"name": "a", "consent": {"analytics": "Granted"}}, "consent_value_invalid", "consent[...]"),
    "consent that is a list": ({"name": "a", "consent": ["analytics"]}, "consent_value_invalid", "consent"),
    "test that is a text": ({"name": "a", "test": "true"}, "field_type", "test"),
    "a session of before 1970": ({"name": "a", "session": -1}, "field_invalid", "session"),
    "no events": ({"events": []}, "batch_empty", "events"),
    "101 events": ({"events": [{"name": "a"}] * 101}, "batch_too_long", "events"),
    "events beside a name": ({"name": "a", "events": [{"name": "a"}]}, "field_unknown", "name"),
    "events inside events": ({"events": [{"name": "a", "events": []}]}, "field_unknown", "events[0].events"),
    "a fault in the second event": ({"events": [{"name": "a"}, {"name": "a", "value": -1}]}, "amount_negative", "events[1].value"),
    "a second event without a name": ({"events": [{"name": "a"}, {}]}, "field_missing", "events[1].name"),
    "a second event with a bad name": ({"events": [{"name": "a"}, {"name": CANARY}]}, "event_name_invalid", "events[1].name"),
}  # fmt: skip


@pytest.mark.parametrize("case", FIELDS)
async def test_row_12_a_wrong_field_is_named_and_its_value_is_not(both: Running, key: str, case: str) -> None:
    body, code, field = FIELDS[case]
    written = len(both.log_text)
    with both.refusing("/collect", code):
        refused_with(await both.collect(json.dumps(body).encode()), 400, code, field)
    with both.refusing("/api/v1/events", code):
        refused_with(await both.api("/api/v1/events", json.dumps(body).encode(), key), 400, code, field)
    assert CANARY not in both.log_text[written:]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "a", "visitor": CANARY}, "visitor"),
        ({"name": "a", "client": {"ip": "192.0.2.1"}}, "client"),
        ({"conversions": [{"name": "a"}]}, "conversions"),
    ],
)
async def test_row_12_what_only_a_backend_may_say_is_refused_from_a_page(
    both: Running, body: dict[str, object], field: str
) -> None:
    with both.refusing("/collect", "field_unknown"):
        refused_with(await both.collect(body), 400, "field_unknown", field)


@pytest.mark.parametrize(
    ("click_ids", "code"),
    [
        ({CANARY: "abc"}, "field_unknown"),
        ({"gclid": f"{CANARY} "}, "field_invalid"),
        ({"gclid": "a\x00b"}, "field_invalid"),
        ({"gclid": ""}, "field_invalid"),
    ],
)
async def test_row_12_click_ids_that_cannot_be_one_are_refused_from_a_backend_and_left_out_for_a_page(
    both: Running, key: str, click_ids: dict[str, str], code: str
) -> None:
    body: dict[str, Any] = {
        "name": "a",
        "click_ids": click_ids,
        "consent": {"advertising": "granted", "analytics": "granted"},
    }
    with both.refusing("/api/v1/events", code):
        refused_with(await both.api("/api/v1/events", body, key), 400, code, "click_ids")
    said = await both.collect({**body, "id": "row12-clicks"})
    assert said.status == 204
    assert "__Host-gwclick" not in said.cookies()
    facts = both.facts("row12-clicks")
    assert "clicks" not in facts
    assert facts["marks"] == ["click_id_malformed"]


# ------------------------------------------------------------------ times


@pytest.mark.parametrize(
    ("fields", "at_ms"),
    named(
        [
            ("a day ahead", {"occurred_at_ms": NOW_MS + DAY_MS}, NOW_MS + 600_000),
            ("ten minutes ahead", {"occurred_at_ms": NOW_MS + 600_000}, None),
            ("a millisecond more", {"occurred_at_ms": NOW_MS + 600_001}, NOW_MS + 600_000),
            ("seven days ago", {"occurred_at_ms": NOW_MS - 7 * DAY_MS}, None),
            ("a millisecond more than seven days", {"occurred_at_ms": NOW_MS - 7 * DAY_MS - 1}, NOW_MS - 7 * DAY_MS),
            ("400 days ago", {"occurred_at_ms": NOW_MS - 400 * DAY_MS}, NOW_MS - 7 * DAY_MS),
            ("1970", {"occurred_at_ms": 0}, NOW_MS - 7 * DAY_MS),
            ("a moment before 1970", {"occurred_at_ms": -1}, NOW_MS - 7 * DAY_MS),
            ("the year 1", {"occurred_at": "0001-01-01T00:00:00+14:00"}, NOW_MS - 7 * DAY_MS),
            ("the year 9999", {"occurred_at": "9999-12-31T23:59:59-14:00"}, NOW_MS + 600_000),
        ]
    ),
)
async def test_row_13_a_time_of_a_page_is_clamped_and_marked(
    both: Running, fields: dict[str, object], at_ms: int | None
) -> None:
    event_id = f"row13-{both.count():06d}"
    assert (await both.collect({"name": "a", "id": event_id, **fields})).status == 204
    kept = both.rows("select occurred_at_ms from event where event_id = ?", event_id)[0][0]
    assert kept == (at_ms if at_ms is not None else fields["occurred_at_ms"])
    assert both.facts(event_id).get("marks", []) == ([] if at_ms is None else ["time_clamped"])


@pytest.mark.parametrize(
    ("fields", "code", "field"),
    [
        ({"occurred_at_ms": 10**18}, "field_invalid", "occurred_at_ms"),
        ({"occurred_at_ms": -(10**18)}, "field_invalid", "occurred_at_ms"),
        ({"occurred_at_ms": 1e18}, "field_type", "occurred_at_ms"),
        ({"occurred_at_ms": 1.5}, "field_type", "occurred_at_ms"),
        ({"occurred_at_ms": "1795176000000"}, "field_type", "occurred_at_ms"),
        ({"occurred_at_ms": True}, "field_type", "occurred_at_ms"),
        ({"occurred_at": "2026-03-29T02:30:00"}, "time_invalid", "occurred_at"),
        ({"occurred_at": "2026-11-20"}, "time_invalid", "occurred_at"),
        ({"occurred_at": "2026-02-30T00:00:00Z"}, "time_invalid", "occurred_at"),
        ({"occurred_at": "2026-11-20T25:00:00Z"}, "time_invalid", "occurred_at"),
        ({"occurred_at": "2026-11-20T12:00:00+99:00"}, "time_invalid", "occurred_at"),
        ({"occurred_at": "yesterday"}, "time_invalid", "occurred_at"),
        ({"occurred_at": ""}, "time_invalid", "occurred_at"),
        ({"occurred_at": "2026-11-20T12:00:00Z", "occurred_at_ms": NOW_MS}, "field_unknown", "occurred_at_ms"),
    ],
)
async def test_row_13_what_is_no_time_is_refused(
    both: Running, key: str, fields: dict[str, object], code: str, field: str
) -> None:
    with both.refusing("/collect", code):
        refused_with(await both.collect({"name": "a", **fields}), 400, code, field)
    refused_with(await both.api("/api/v1/events", {"name": "a", **fields}, key), 400, code, field)


@pytest.mark.parametrize(
    ("at_ms", "taken"),
    [
        (NOW_MS + 600_000, True),
        (NOW_MS + 600_001, False),
        (NOW_MS - 400 * DAY_MS, True),
        (NOW_MS - 400 * DAY_MS - 1, False),
        (NOW_MS + DAY_MS, False),
        (0, False),
        (-1, False),
    ],
)
async def test_row_13_a_time_of_a_backend_is_kept_or_refused(both: Running, key: str, at_ms: int, taken: bool) -> None:
    said = await both.api("/api/v1/events", {"name": "a", "id": f"row13-{at_ms}-x", "occurred_at_ms": at_ms}, key)
    if taken:
        assert said.status == 200
        assert both.rows("select occurred_at_ms from event where event_id = ?", f"row13-{at_ms}-x") == [(at_ms,)]
    else:
        refused_with(said, 400, "time_out_of_range", "occurred_at_ms")


async def test_row_13_a_wrong_clock_of_a_page_is_corrected_by_when_it_says_it_sent(both: Running) -> None:
    """An hour slow: what it says happened a minute before sending, happened a minute ago."""
    hour = 3_600_000
    body = {"name": "a", "id": "row13-skew", "occurred_at_ms": NOW_MS - hour - 60_000, "sent_at_ms": NOW_MS - hour}
    assert (await both.collect(body)).status == 204
    assert both.rows("select occurred_at_ms from event where event_id = 'row13-skew'") == [(NOW_MS - 60_000,)]
    assert both.facts("row13-skew")["marks"] == ["clock_corrected"]


async def test_row_13_a_clock_that_is_wildly_wrong_corrects_nothing_beyond_the_bounds(both: Running) -> None:
    body = {
        "name": "a",
        "id": "row13-wild",
        "occurred_at_ms": 9_007_199_254_740_991,
        "sent_at_ms": -9_007_199_254_740_991,
    }
    assert (await both.collect(body)).status == 204
    assert both.rows("select occurred_at_ms from event where event_id = 'row13-wild'") == [(NOW_MS + 600_000,)]


async def test_row_13_slow_reading_of_one_connection_never_holds_up_another(both: Running) -> None:
    """A body that is on its way for a while costs only its own connection."""
    async with opened(both.port) as (reader, writer):
        data = request_bytes(headers={"Origin": PAGE}, body=EVENT)
        writer.write(data[:-5])
        await writer.drain()
        await both.still_answers()
        writer.write(data[-5:])
        assert (await hear(reader)).only.status == 204
