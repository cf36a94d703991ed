"""Whole files as people have them: samples of every set, streamed in any pieces, and bytes that are no file at all."""

import itertools
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.errors import CODES, Refusal
from gateway.pages.tables import ErrorFile
from gateway.protocols.offline import (
    Head,
    OfflineAdjustment,
    OfflineReader,
    OfflineRow,
    Outcome,
    RowProblem,
    Upload,
    read,
)
from gateway.purposes import AD_USER_DATA, ANALYTICS
from tests.support.properties import tried

SAMPLES: Final = Path(__file__).with_name("offline")
NOW: Final = 1_795_176_000_000  # 2026-11-20T12:00:00Z
UPLOAD: Final = Upload(
    site="shop",
    trust="server",
    received_at_ms=NOW,
    zone="Europe/Berlin",
    currency="EUR",
    row_id=lambda digest: digest.hex()[:26],
)
quick = tried(300)


def sample(name: str) -> list[Outcome]:
    return list(read([(SAMPLES / name).read_bytes()], UPLOAD))


def told(outcome: Outcome) -> tuple[object, ...]:
    """The short of an outcome: line, then name and amount, or kind, order and amount, or column and code."""
    match outcome:
        case OfflineRow(line=line, received=received):
            return line, received.name, received.amount_minor
        case OfflineAdjustment(line=line, kind=kind, order_id=order_id, amount_minor=amount_minor):
            return line, kind, order_id, amount_minor
        case RowProblem(line=line, column=column, code=code):
            return line, column, code


# ------------------------------------------------------------------ samples

EXPECTED: Final[dict[str, tuple[Head, list[tuple[object, ...]]]]] = {
    "gateway.csv": (
        Head("gateway", ","),
        [
            (2, "store_sale", 1_250),
            (4, "store_sale", 0),
            (6, "lead", None),
            (7, "refund", "R-1001", 250),
            (8, "cancelled", "R-1002", None),
        ],
    ),
    "gateway_semicolon.csv": (
        Head("gateway", ";"),
        [
            (3, "store_sale", 123_450),
            (4, "time", "time_nonexistent"),
            (5, "store_sale", 1_000),
            (6, "value", "amount_invalid"),
        ],
    ),
    "gateway.tsv": (Head("gateway", "\t"), [(2, "store_sale", 100), (3, "value", "amount_invalid")]),
    "gateway.jsonl": (
        Head("gateway", ""),
        [(1, "store_sale", 1_250), (3, "store_sale", 1_250), (4, "phone", "column_repeated")],
    ),
    "google_clicks.csv": (
        Head("google_clicks", ","),
        [
            (6, "store_sale", 25_000),
            (7, "store_sale", 25_000),
            (8, "qualified_lead", None),
            (9, "qualified_lead", None),
            (10, "Google Click ID", "field_missing"),
            (11, "Ad User Data", "consent_value_invalid"),
        ],
    ),
    "google_calls.csv": (
        Head("google_calls", ","),
        [(3, "phone_order", 8_000), (4, "Conversion Time", "field_invalid")],
    ),
    "meta_uploader.csv": (Head("meta", ",", ("madid",)), [(2, "purchase", 1_500), (3, "purchase", 1_500)]),
    "meta_capi.csv": (Head("meta", ",", ("content_type",)), [(2, "purchase", 2_000), (3, "in_store_visit", None)]),
}


def test_every_sample_is_expected_and_every_expectation_has_its_sample() -> None:
    assert {path.name for path in SAMPLES.iterdir()} == EXPECTED.keys()


@pytest.mark.parametrize("name", EXPECTED)
def test_a_sample_is_read_as_its_set_and_row_by_row(name: str) -> None:
    head, rows = EXPECTED[name]
    reader = OfflineReader(UPLOAD)
    found = [*reader.feed((SAMPLES / name).read_bytes()), *reader.finish()]
    assert reader.head == head
    assert [told(outcome) for outcome in found] == rows
    assert reader.rows == len(rows)


@pytest.mark.parametrize("name", EXPECTED)
@pytest.mark.parametrize("size", [1, 7, 64])
def test_a_sample_is_read_alike_in_pieces(name: str, size: int) -> None:
    data = (SAMPLES / name).read_bytes()
    chunks = (data[at : at + size] for at in range(0, len(data), size))
    assert list(read(chunks, UPLOAD)) == sample(name)


def row_of(name: str, line: int) -> OfflineRow:
    (found,) = [row for row in sample(name) if isinstance(row, OfflineRow) and row.line == line]
    return found


def test_the_zone_of_googles_parameters_line_is_that_of_times_without_one() -> None:
    local, offset = row_of("google_clicks.csv", 6), row_of("google_clicks.csv", 7)
    assert local.received.occurred_at_ms == 1_794_670_200_000  # 15:30 UTC, half past ten in New York
    assert offset.received.occurred_at_ms == 1_794_612_600_000
    assert row_of("google_calls.csv", 3).received.occurred_at_ms == 1_794_647_550_000


def test_googles_consent_and_click_id_arrive() -> None:
    row = row_of("google_clicks.csv", 6)
    assert row.received.click_ids == {"gclid": "Cj0KCQiA_click-1"}
    assert row.click_id is None
    assert row.received.claim is not None
    assert row.received.claim.granted == AD_USER_DATA


def test_several_addresses_and_numbers_arrive_in_their_order() -> None:
    person = row_of("meta_uploader.csv", 2).received.person
    assert person is not None
    assert [email.reveal() for email in person.email] == ["eve@example.com", "eve.o@example.com", "eo@example.com"]
    assert len(person.phone) == 3


def test_metas_sample_contents_are_lines_of_the_order() -> None:
    items = row_of("meta_capi.csv", 2).received.items
    assert [(item.id, item.price_minor, item.quantity) for item in items] == [
        ("810547695", 1_199, 2),
        ("810409941", 399, 1),
    ]


def test_a_cell_over_two_lines_arrives_whole() -> None:
    assert row_of("gateway.csv", 2).received.props["meta_note"] == "two lines,\none cell"


def test_free_members_of_json_keep_their_types() -> None:
    props = row_of("gateway.jsonl", 1).received.props
    assert props == {
        "source": "offline", "kind": "store", "meta_till": 7, "meta_weight": 1.5, "meta_gift": True,
    }  # fmt: skip


# ------------------------------------------------------------------ before the header

PREAMBLES: Final = {
    "nothing": "",
    "empty lines": "\n\r\n,,,\n",
    "comments": "### INSTRUCTIONS ###,,,\n# anything\n",
    "parameters": "Parameters:TimeZone=Europe/Berlin\n",
    "parameters with the row's delimiters": "Parameters:TimeZone=Europe/Berlin,,,,\n",
    "parameters in quotes": '"Parameters:TimeZone=Europe/Berlin"\n',
    "parameters of the older template": "Parameters:EntityType=OFFLINECONVERSION;TimeZone=+0100;\n",
    "parameters with a remark": "Parameters:TimeZone=+01:00,,,# Optional #\n",
    "a spreadsheet's hint": "sep=,\n",
}


@pytest.mark.parametrize("case", PREAMBLES)
def test_what_templates_put_before_the_header_is_read(case: str) -> None:
    text = PREAMBLES[case] + "goal,time,order_id\nx,2026-11-14 10:30,1\n"
    (row,) = read([text.encode()], UPLOAD)
    assert isinstance(row, OfflineRow)
    assert row.received.occurred_at_ms == 1_794_648_600_000


FILES_REFUSED: Final[dict[str, tuple[bytes, str, str]]] = {
    "nothing": (b"", "header_unknown", "line 1"),
    "a mark and nothing": (b"\xef\xbb\xbf", "header_unknown", "line 1"),
    "a title": (b"Report of November\ngoal,time\n", "header_unknown", "line 1"),
    "an unknown parameter": (b"Parameters:Attribution Model = linear\ngoal,time\n", "field_unknown", "Parameters"),
    "an unknown zone": (b"Parameters:TimeZone=Mars/Olympus\ngoal,time\n", "zone_unknown", "TimeZone"),
    "this machine's zone": (b"Parameters:TimeZone=localtime\ngoal,time\n", "zone_unknown", "TimeZone"),
    "a broken header": (b'goal,"time" x\n', "quotes_invalid", "line 1"),
    "a header never closed": (b'goal,"time\n', "header_unknown", "line 1"),
    "latin-1": ("goal,time,city\nx,2026-11-14 10:30,Köln\n".encode("latin-1"), "text_not_utf8", "line 2"),
    "UTF-16": ("goal,time\n".encode("utf-16"), "text_not_utf8", "line 1"),
    "a spreadsheet": (b"PK\x03\x04\x14\x00\x06\x00", "text_not_utf8", "line 1"),
    "old line ends": (b"goal,time\rx,2026-11-14 10:30\r", "header_unknown", "line 1"),
    "a long line": (b"goal,time\nx," + b"y" * 1_100_000, "line_too_long", "line 2"),
    "a quote without end": (b'goal,time\n"x' + b"\n" * 1_100_000, "line_too_long", "line 2"),
}


@pytest.mark.parametrize("case", FILES_REFUSED)
def test_a_file_that_cannot_be_read_is_refused_with_its_place(case: str) -> None:
    data, code, field = FILES_REFUSED[case]
    with pytest.raises(Refusal) as refused:
        list(read([data], UPLOAD))
    assert (refused.value.code, refused.value.field) == (code, field)


def test_the_rows_before_an_unreadable_place_are_answered_before_it() -> None:
    reader = read([b"goal,time,order_id\nx,2026-11-14 10:30,1\n", b"x,2026-11-14 10:30,2\n\xff\n"], UPLOAD)
    assert [type(next(reader)) for _ in range(2)] == [OfflineRow, OfflineRow]
    with pytest.raises(Refusal, match="text_not_utf8"):
        next(reader)


def test_a_row_left_open_at_the_end_of_the_file_is_told_with_all_its_lines() -> None:
    reader = OfflineReader(UPLOAD)
    assert list(reader.feed(b'goal,time,order_id\nx,2026-11-14 10:30,"1\nx,2026-11-14 10:30,2\n')) == []
    assert list(reader.finish()) == [RowProblem(2, None, "quotes_invalid", 3)]
    assert reader.rows == 1


def test_more_rows_than_the_limit_are_refused_behind_the_limit() -> None:
    three = msgspec.structs.replace(UPLOAD, rows_max=3)
    reader = read([b"goal,time,order_id\n\n" + b"x,2026-11-14 10:30,1\n\n" * 4], three)
    assert len(list(itertools.islice(reader, 3))) == 3
    with pytest.raises(Refusal) as refused:
        next(reader)
    assert (refused.value.code, refused.value.field) == ("rows_too_many", "line 9")


def test_an_unknown_zone_of_the_upload_is_refused_before_anything_is_read() -> None:
    with pytest.raises(Refusal) as refused:
        OfflineReader(msgspec.structs.replace(UPLOAD, zone="Nowhere"))
    assert (refused.value.code, refused.value.field) == ("zone_unknown", "zone")


def test_rows_not_taken_come_with_the_next_answer() -> None:
    reader = OfflineReader(UPLOAD)
    assert next(reader.feed(b"goal,time,order_id\nx,2026-11-14 10:30,1\nx,2026-11-14 10:30,2\n")) is not None
    assert [told(outcome)[0] for outcome in reader.feed(b"x,2026-11-14 10:30,3\n")] == [3, 4]


# ------------------------------------------------------------------ JSON lines

JSON_PROBLEMS: Final = {
    "no JSON": ('{"goal": ', None, "json_invalid"),
    "a list": ("[]", None, "json_invalid"),
    "a word": ('"goal"', None, "json_invalid"),
    "NaN": ('{"value": NaN}', None, "json_invalid"),
    "half a surrogate": ('{"order_id": "\\ud800"}', None, "json_invalid"),
    "half a surrogate as a name": ('{"\\ud800": 1}', None, "json_invalid"),
    "deep": ('{"goal": ' + "[" * 200_000, None, "json_too_deep"),
    "an unknown member": ('{"goal": "x", "mail": "a@example.com"}', "#2", "field_unknown"),
    "a name in capitals": ('{"GOAL": "x"}', "#1", "field_unknown"),
    "a personal member": ('{"meta_phone": "1"}', "#1", "field_personal"),
    "consent twice": ('{"consent": "none", "consent": "marketing"}', "consent", "column_repeated"),
    "a free member twice": ('{"meta_a": 1, "meta_a": 2}', "meta_a", "column_repeated"),
    "four addresses": ('{"email": ["a", "b", "c", "d"]}', "email", "column_repeated"),
    "an object": ('{"order_id": {"a": 1}}', "order_id", "field_type"),
    "a list of orders": ('{"order_id": ["a"]}', "order_id", "field_type"),
    "true as goal": ('{"goal": true}', "goal", "field_type"),
    "a free object": ('{"meta_a": {}}', "meta_a", "field_type"),
    "a number in consent's list": ('{"consent": [null]}', "consent", "field_type"),
    "a zero character": ('{"order_id": "a\\u0000b"}', "order_id", "field_invalid"),
    "a number beyond numbers": ('{"meta_a": 1e999}', "meta_a", "field_invalid"),
    "no goal": ('{"time": "2026-11-14 10:30"}', "goal", "field_missing"),
    "an exponent": (
        '{"goal": "x", "time": "2026-11-14 10:30", "order_id": 1, "value": 1e2}',
        "value",
        "amount_invalid",
    ),
}


@pytest.mark.parametrize("case", JSON_PROBLEMS)
def test_a_line_of_json_is_refused_with_its_member_and_its_code(case: str) -> None:
    line, column, code = JSON_PROBLEMS[case]
    first, problem, last = read(
        [b'{"goal": "x", "time": "2026-11-14 10:30", "order_id": 1}\n', f"{line}\n".encode(), b"{}"], UPLOAD
    )
    assert isinstance(first, OfflineRow)
    assert told(problem) == (2, column, code)
    assert told(last) == (3, "goal", "field_missing")


def test_json_lines_are_of_our_own_columns_only() -> None:
    named = msgspec.structs.replace(UPLOAD, columns="meta")
    with pytest.raises(Refusal, match="header_unknown"):
        list(read([b'{"event_name": "Purchase"}\n'], named))


@pytest.mark.parametrize(
    ("text", "granted"), [("[]", 0), ('""', ANALYTICS), ("null", ANALYTICS), ('["ad_user_data"]', AD_USER_DATA)]
)
def test_an_empty_list_of_purposes_grants_nothing_and_no_list_the_default(text: str, granted: int) -> None:
    line = f'{{"goal": "x", "time": "2026-11-14 10:30", "order_id": 1, "consent": {text}}}'
    (row,) = read([line.encode()], msgspec.structs.replace(UPLOAD, granted=ANALYTICS))
    assert isinstance(row, OfflineRow)
    assert row.received.claim is not None
    assert row.received.claim.granted == granted


def test_an_amount_in_json_never_passes_through_a_float() -> None:
    (row,) = read([b'{"goal": "x", "time": "2026-11-14 10:30", "order_id": 1, "value": 90071992547.41}'], UPLOAD)
    assert isinstance(row, OfflineRow)
    assert row.received.amount_minor == 9_007_199_254_741


# ------------------------------------------------------------------ any bytes

HEADERS: Final = (
    b"goal,time,order_id,value,consent,status,kind,email,meta_a\n",
    b"goal;time;order_id;value;coupon\n",
    b"Parameters:TimeZone=Europe/Berlin\nGoogle Click ID,Conversion Name,Conversion Time,Ad User Data\n",
    b"event_name,event_time,email,email,dob,doby,age,contents,value,currency,store\n",
    b'{"goal": "x", "time": "2026-11-14 10:30", "order_id": 1}\n',
    b"",
)
WORDS: Final = (
    b"store_sale", b"Purchase", b"2026-11-14 10:30", b"2026-10-25 02:30", b"1715302704", b"12.50", b"-1", b"EUR", b"refund",
    b"analytics", b"GRANTED", b"a@example.com", b"+493055501000", b'"', b'""', b",", b";", b"\n", b"\r\n", b"\t", b"{", b"}",
    b'"goal"', b":", b"[", b"]", b"\xff", b"\0", b"=1", b"10/21/68", b"\\ud800", b"\xef\xbb\xbf", b"sep=;", b"Parameters:",
)  # fmt: skip
pieces = st.lists(st.sampled_from(WORDS) | st.binary(max_size=8), max_size=40).map(b"".join)


@quick
@given(header=st.sampled_from(HEADERS), body=pieces, cut=st.integers(0, 400))
@example(header=b"", body=b"\xef\xbb", cut=1)
def test_any_bytes_are_rows_problems_or_a_refusal_and_the_cut_makes_no_difference(
    header: bytes, body: bytes, cut: int
) -> None:
    data = header + body
    outcomes: list[list[tuple[object, ...]]] = []
    for chunks in ([data], [data[:cut], data[cut:]]):
        found: list[tuple[object, ...]] = []
        reader = OfflineReader(UPLOAD)
        try:
            for chunk in chunks:
                for outcome in reader.feed(chunk):
                    found.append(told(outcome))
                    if isinstance(outcome, RowProblem):
                        assert outcome.code in CODES
            found.extend(told(outcome) for outcome in reader.finish())
        except Refusal as refusal:
            found.append((refusal.code, refusal.field))
        outcomes.append(found)
    assert outcomes[0] == outcomes[1]


def rows_without_end(count: int) -> Iterator[bytes]:
    yield b"goal,time,order_id,value,email,first_name,consent,meta_note\n"
    for number in range(count):
        yield (
            f"store_sale,2026-11-14 10:30,R-{number},12.50,p{number}@example.com,Anna,analytics,"
            f'"a note\nover two lines"\n'
        ).encode()


def peak_of(work: Callable[[], int]) -> tuple[int, int]:
    tracemalloc.start()
    try:
        return work(), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_stays_where_it_is_however_long_the_file() -> None:
    def read_all(count: int) -> int:
        return sum(isinstance(outcome, OfflineRow) for outcome in read(rows_without_end(count), UPLOAD))

    read_all(10)
    short, peak_of_short = peak_of(lambda: read_all(500))
    long, peak_of_long = peak_of(lambda: read_all(10_000))
    assert (short, long) == (500, 10_000)
    assert peak_of_long < peak_of_short + 500_000, "twenty times the rows, no half megabyte more"


def test_a_line_that_never_ends_holds_no_more_than_its_limit() -> None:
    def refuse() -> int:
        with pytest.raises(Refusal, match="line_too_long"):
            list(read(itertools.chain([b"goal,time\n"], itertools.repeat(b"x" * 8_192)), UPLOAD))
        return 0

    assert peak_of(refuse)[1] < 8_000_000


# ------------------------------------------------------------------ the file of refused rows


def test_problems_of_an_upload_become_the_error_file_and_nothing_that_was_sent_is_in_it() -> None:
    data = (
        b"goal,time,order_id,value,email\n"
        b"store_sale,2026-11-14 10:30,anna@example.com,1.00,secret@example.com\n"
        b"store_sale,2026-11-14 10:30,R-1,=SUM(A1),secret@example.com\n"
        b'store_sale,"2026-11-14\n10:30"x,R-1,1.00,secret@example.com\n'
    )
    file = ErrorFile()
    written = b"".join(
        file.add(outcome.line, outcome.column, outcome.code, outcome.last_line)
        for outcome in read([data], UPLOAD)
        if isinstance(outcome, RowProblem)
    )
    assert written.decode().splitlines() == [
        "line,column,code,message",
        f'2,order_id,field_personal,"{CODES["field_personal"].message}"',
        f"3,value,amount_invalid,{CODES['amount_invalid'].message}",
        f"4..5,,quotes_invalid,{CODES['quotes_invalid'].message}",
    ]
