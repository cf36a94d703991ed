"""`gateway consent decode` and `what-if`, as an operator runs them."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import pytest
from click.testing import CliRunner, Result

from gateway.cli import main
from gateway.purposes import Group
from tests.support.cases import named
from tests.support.command_line import gateway
from tests.support.signals import ALL, gpp_string, tc_string

ROOT: Final = Path(__file__).parents[2]
VECTORS: Final = ROOT / "tests" / "vectors"


def vectors(file: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((VECTORS / f"{file}.json").read_bytes())
    return found


def said(*arguments: str) -> Result:
    """One command in this process."""
    return CliRunner().invoke(main, ["consent", *arguments])


def decoded(*arguments: str, code: int = 0) -> dict[str, Any]:
    """What `decode` answers."""
    result = said("decode", *arguments)
    assert result.exit_code == code, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


# ------------------------------------------------------------------ outside test data, line by line

Row = dict[str, Any]
Question = tuple[str, dict[str, Any], Callable[[dict[str, Any]], None]]
"""Name of the row, what is asked on one line, what must be true of the answer."""


def _is(part: str, expected: Any) -> Callable[[dict[str, Any]], None]:
    """The answer has exactly these fields, besides what is said about its use."""

    def look(answer: dict[str, Any]) -> None:
        found = {name: value for name, value in answer[part].items() if name not in ("usable", "why", "error")}
        assert found == expected

    return look


def _holds(part: str, expected: Mapping[str, Any]) -> Callable[[dict[str, Any]], None]:
    """The answer has these fields among others."""
    return lambda answer: _same({name: answer[part].get(name) for name in expected}, dict(expected))


def _refused(part: str) -> Callable[[dict[str, Any]], None]:
    """It cannot be decoded: the answer is one stable code."""

    def look(answer: dict[str, Any]) -> None:
        assert set(answer[part]) == {"error"}
        assert answer[part]["error"].replace("_", "").isalpha()

    return look


def _read(part: str) -> Callable[[dict[str, Any]], None]:
    return lambda answer: _same("error" in answer[part], False)


def _same(one: object, other: object) -> None:
    assert one == other


HARMLESS: Final = {
    "tcf-bad-045": "a part of an unknown type is ignored",
    "tcf-bad-047": "restriction type 3 is read as 0",
    "tcf-bad-052": "the country is unknown, the rest is fine",
    "tcf-bad-053": "lower-case country letters are letters",
    "tcf-bad-058": "the same restriction twice is one",
    "tcf-bad-059": "contradicting restrictions: the strictest counts",
    "tcf-bad-060": "ranges are merged and never spread out",
    "tcf-bad-062": "so are those of restrictions",
    "tcf-bad-063": "a long bitfield below the length limit",
    "gpp-bad-033": "a 3 is kept as written and read as a refusal",
    "gpp-bad-034": "a 0 is kept as written and decides nothing",
    "gpp-bad-041": "the part in front is skipped",
    "gpp-bad-044": "ranges are merged and never spread out",
}
"""Rows of the malformed groups whose `recommended` is something else than a refusal, and what is done instead."""

CONTRADICTED: Final = {"ac-11": {626, 1693}}
"""Providers that stand in both lists of row ac-11, which expects them as consented. Row ac-12 was made for this case and says
that they are not; a provider that was shown and not consented to is not consented to."""


def _additional(row: Row) -> Callable[[dict[str, Any]], None]:
    if not row["valid"]:
        return _refused("ac")
    expected = {name: row[name] for name in ("version", "consented", "disclosedNotConsented")}
    both = CONTRADICTED.get(row["id"], set())
    assert both <= set(row["consented"]) & set(row["disclosedNotConsented"] or ())
    expected["consented"] = [number for number in row["consented"] if number not in both]
    return _is("ac", {"valid": True, **expected})


def _malformed(part: str, row: Row) -> Callable[[dict[str, Any]], None]:
    assert (row["id"] in HARMLESS) != row["recommended"].startswith("reject") or row["recommended"] in _TWO_WAYS, row
    return _read(part) if row["id"] in HARMLESS else _refused(part)


_TWO_WAYS: Final = {
    "reject, or treat as type 0 (not allowed); never ignore silently",
    "reject or mark country invalid",
    "reject above a work limit (sum of range widths), or merge ranges without expanding",
    "reject above a work limit",
    "reject on length (> 16 kB) or merge without expanding",
}


def _of_tcf() -> list[Question]:
    rows = vectors("tcf")
    return [
        *((r["id"], {"tcf": r["tcString"]}, _is("tcf", r["decoded"])) for r in rows["valid"]),
        *((r["id"], {"tcf": r["tcString"]}, _malformed("tcf", r)) for r in rows["malformed"]),
        *(
            (
                r["id"],
                {"tcf": r["tcString"], "vendor": r["gvlVendor"], "query": r["query"]},
                _is("vendor", r["expected"]),
            )
            for r in rows["vendor_permission"]
        ),
        *((r["id"], {"ac": r["acString"]}, _additional(r)) for r in rows["additional_consent"]),
    ]


def _of_gpp() -> list[Question]:
    rows = vectors("gpp")
    return [
        *((r["id"], {"gpp": r["gppString"]}, _is("gpp", r["decoded"])) for r in rows["valid"] + rows["legacy_tcfcav1"]),
        *((r["id"], {"gpp": r["gppString"]}, _malformed("gpp", r)) for r in rows["malformed"]),
    ]


def _of_consent_mode() -> list[Question]:
    rows, parameters = vectors("consent-mode"), ("gcs", "gcd", "npa", "dma", "dma_cps")
    captured = rows["captured"] + rows["derived"]
    return [
        *(
            (
                r["id"],
                {name: r[name] for name in parameters if r.get(name) is not None},
                _holds("consent_mode", r["decoded"]),
            )
            for r in captured
        ),
        *(
            (
                r["id"],
                {name: value for name, value in r["hit"].items() if value is not None},
                _holds("consent_mode", {"state": r["decodedState"], "tcfd": r["decodedTcfd"]}),
            )
            for r in rows["tcf_to_consent_mode"]
        ),
        *(
            (
                r["gcs"],
                {"gcs": r["gcs"]},
                _holds("consent_mode", {name: r[name] for name in ("ad_storage", "analytics_storage")}),
            )
            for r in rows["gcs"]
        ),
        *((r["id"], {r["param"]: r["value"]}, _refused("consent_mode")) for r in rows["malformed"]),
    ]


def _of_cmp_cookies() -> list[Question]:
    rows = vectors("cmp-cookies")
    asked = []
    for row in rows["captured"] + rows["constructed"] + rows["malformed"]:
        question = {"cookie_header": row["cookieHeader"], "cmp": row["cmp"], "mapping": row.get("siteMapping")}
        if row["expected"].get("services"):
            # The page knew these; a cookie names only those that were accepted.
            question["services"] = list(row["expected"]["services"])
        asked.append((row["id"], question, _is("cmp", row["expected"])))
    return asked


@pytest.mark.parametrize(
    ("questions", "count"),
    named(
        [
            ("tcf.json", _of_tcf(), 465),
            ("gpp.json", _of_gpp(), 179),
            ("consent-mode.json", _of_consent_mode(), 226),
            ("cmp-cookies.json", _of_cmp_cookies(), 78),
        ]
    ),
)
def test_every_row_of_the_outside_test_data_is_answered_as_it_says(questions: list[Question], count: int) -> None:
    assert len(questions) == count
    stdin = b"".join(json.dumps(asked).encode() + b"\n" for _, asked, _ in questions)
    done = gateway("consent", "decode", "--jsonl", stdin=stdin, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == count, "one answer for each line, in order"
    wrong = []
    for (name, asked, look), answer in zip(questions, answers, strict=True):
        try:
            look(answer)
        except (AssertionError, KeyError) as error:
            wrong.append((name, asked, answer, error))
    assert not wrong, (len(wrong), wrong[:3])


def test_every_exception_is_one() -> None:
    """A row that stands in a list above and does not need to would hide a fault."""
    rows = {row["id"]: row for row in vectors("tcf")["malformed"] + vectors("gpp")["malformed"]}
    assert HARMLESS.keys() <= rows.keys()
    (row,) = [row for row in vectors("tcf")["additional_consent"] if row["id"] == "ac-11"]
    assert set(row["consented"]) & set(row["disclosedNotConsented"]) == CONTRADICTED["ac-11"]


# ------------------------------------------------------------------ lines

LINES: Final[list[tuple[str, bytes, str | None]]] = [
    ("no JSON", b"{", "json_invalid"),
    ("bytes that are no UTF-8", b'{"tcf":"\xff"}', "json_invalid"),
    ("a list", b"[]", "json_invalid"),
    ("half a letter", b'{"tcf":"\\ud800"}', "json_invalid"),
    ("deep", b'{"tcf":' + b"[" * 100_000, "json_invalid"),
    ("nothing asked", b"{}", "field_missing"),
    ("an unknown field", b'{"tcs":"x"}', "field_unknown"),
    ("a number", b'{"gpp":7}', "field_type"),
    ("a list of services that is none", b'{"cmp":"klaro","cookie_header":"","services":"ga4"}', "field_type"),
    ("services that are no names", b'{"cmp":"klaro","cookie_header":"","services":[1]}', "field_type"),
    ("a mapping that is a list", b'{"cmp":"klaro","cookie_header":"","mapping":["a"]}', "field_type"),
    ("a mapping to no purpose", b'{"cmp":"klaro","cookie_header":"","mapping":{"a":"b"}}', "field_invalid"),
    ("a mapping to an object", b'{"cmp":"klaro","cookie_header":"","mapping":{"a":[{}]}}', "field_invalid"),
    ("an unknown platform", b'{"cmp":"nobody","cookie_header":"a=b"}', "field_invalid"),
    ("no platform, and the cookie does not tell", b'{"cookie_header":"a=b"}', "field_missing"),
    ("a vendor without a string", b'{"vendor":{},"query":{}}', "field_missing"),
    ("a string that is none", b'{"tcf":"null"}', None),
    ("a vendor that is none", b'{"tcf":"%b","vendor":[],"query":{}}' % tc_string().encode(), None),
    ("a question that is none", b'{"tcf":"%b","vendor":{"id":1,"purposes":[]},"query":{"kind":"x"}}' % tc_string().encode(), None),
]  # fmt: skip


def test_a_line_that_is_wrong_has_an_answer_and_the_next_one_is_read() -> None:
    good = b'{"us_privacy":"1YYN"}'
    stdin = b"\n".join(line + b"\n" + good for _, line, _ in LINES) + b"\n\n"
    done = gateway("consent", "decode", "--jsonl", stdin=stdin, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, b"")
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == 2 * len(LINES)
    for (name, _, code), answer, after in zip(LINES, answers[::2], answers[1::2], strict=True):
        if code is not None:
            assert answer["error"]["code"] == code, name
        else:
            assert any("error" in part for part in answer.values()), name
        assert after["us_privacy"]["OptOutSale"] == "Y"


def test_several_signals_of_one_line_are_answered_beside_each_other() -> None:
    line = json.dumps({"tcf": tc_string(), "gpp": "x", "us_privacy": "1YYN", "ac": "2~~dv.", "gcs": "G111"}).encode()
    answer = json.loads(gateway("consent", "decode", "--jsonl", stdin=line, cwd=ROOT).stdout)
    assert set(answer) == {"tcf", "gpp", "us_privacy", "ac", "consent_mode"}
    assert answer["gpp"] == {"error": "header_type"}


@pytest.mark.parametrize(
    ("created", "usable", "why"),
    [("2026-01-01", True, ""), ("2023-10-01", True, ""), ("2150-01-01", False, "created_in_future")],
)
def test_decoded_is_not_usable(created: str, usable: bool, why: str) -> None:
    answer = decoded("--tcf", tc_string(created=created, disclosed=(1,)))
    assert (answer["tcf"]["usable"], answer["tcf"]["why"]) == (usable, why)


# ------------------------------------------------------------------ platforms by their cookies

GROUPS: Final = "OptanonConsent=groups=C0002:1,C0004:0"
CLOSED: Final = "OptanonAlertBoxClosed=2026-03-10T08:15:30.114Z"
ONETRUST: Final = f"{GROUPS}; {CLOSED}"
ANALYTICS_ONLY: Final = ("unset", "granted", "denied")
ADS_ONLY: Final = ("unset", "unset", "granted")
VANILLA: Final = 'cc_cookie={"categories":["ads"],"services":{}}'


@pytest.mark.parametrize(
    ("arguments", "neutral"),
    named(
        [
            ("named", ("--cookie", ONETRUST, "--platform", "onetrust"), ANALYTICS_ONLY),
            ("by another name people use", ("--cookie", ONETRUST, "--platform", "CookiePro"), ANALYTICS_ONLY),
            ("told by the cookie", ("--cookie", ONETRUST), ANALYTICS_ONLY),
            ("each cookie for itself", ("--cookie", GROUPS, "--cookie", CLOSED), ANALYTICS_ONLY),
            ("by the beginning of its name", ("--cookie", '_iub_cs-1={"purposes":{"4":true,"5":false}}'), ANALYTICS_ONLY),
            ("mapped by the person", ("--cookie", VANILLA, "--map", "ads=advertising"), ADS_ONLY),
            (
                "under a name the site gave it",
                ("--cookie", VANILLA.replace("cc_cookie", "mine"), "--platform", "vanilla-cookieconsent", "--map", "ads=marketing"),
                ADS_ONLY,
            ),
            (
                "of a name that only begins alike",
                ("--cookie", 'klarox={"a":true}', "--platform", "several", "--map", "a=analytics"),
                ("unset", "unset", "unset"),
            ),
        ]
    ),
)  # fmt: skip
def test_a_platform_is_named_or_told_by_its_cookies(arguments: tuple[str, ...], neutral: tuple[str, ...]) -> None:
    assert tuple(decoded(*arguments)["cmp"]["neutral"].values()) == neutral


def test_cookies_of_two_platforms_are_named_and_never_merged() -> None:
    answer = decoded("--cookie", ONETRUST, "--cookie", VANILLA, "--map", "ads=advertising")
    assert answer["platforms"] == ["vanilla-cookieconsent", "onetrust"]
    assert set(answer["cmp"]["neutral"].values()) == {"unset"}
    assert (answer["cmp"]["choice"], answer["cmp"]["raw"]) == ("explicit", None)
    assert "only the CMP named" in answer["cmp"]["rule"]
    undecided = decoded("--cookie", GROUPS, "--cookie", VANILLA)
    assert undecided["cmp"]["choice"] == "none", "they do not agree whether anybody chose"


def test_services_the_site_knows_of_are_refused_when_a_cookie_does_not_list_them() -> None:
    cookie = 'cc_cookie={"categories":["ads"],"services":{"ads":["meta"]}}'
    answer = decoded("--cookie", cookie, "--map", "ads=marketing", "--service", "ga4", "--service", "meta")
    assert answer["cmp"]["services"] == {"ga4": "denied", "meta": "granted"}


# ------------------------------------------------------------------ options and exit codes


@pytest.mark.parametrize(
    ("arguments", "code", "part"),
    named(
        [
            ("a TC string", ("--tcf", tc_string()), 0, "tcf"),
            ("one that is none", ("--tcf", "null"), 1, "tcf"),
            ("a GPP string", ("--gpp", gpp_string(usca={})), 0, "gpp"),
            ("one that is none", ("--gpp", "null"), 1, "gpp"),
            ("a US Privacy string", ("--us-privacy", "1YYN"), 0, "us_privacy"),
            ("an additional consent string", ("--ac", "2~1~dv."), 0, "ac"),
            ("consent mode", ("--gcs", "G101", "--gcd", "13r3p3q3r5l1"), 0, "consent_mode"),
            ("consent mode that is none", ("--gcs", "G2DD"), 1, "consent_mode"),
            ("a cookie that cannot be read", ("--cookie", "klaro=x", "--map", "a=analytics"), 1, "cmp"),
        ]
    ),
)
def test_the_exit_code_says_whether_everything_was_decoded(arguments: tuple[str, ...], code: int, part: str) -> None:
    for more in ((), ("--json",)):
        assert ("error" in decoded(*arguments, *more, code=code)[part]) == (code == 1)


WRONG_USE: Final = [
    ("nothing", ("decode",), "say what to decode"),
    ("an unknown platform", ("decode", "--cookie", "a=b", "--platform", "nobody"), "known are axeptio, civic"),
    ("a cookie nobody knows", ("decode", "--cookie", "a=b"), "no platform is known by the cookie a; name it with --platform"),
    ("a cookie without a value", ("decode", "--cookie", "klaro"), "--cookie: NAME=VALUE is needed"),
    ("a map that is none", ("decode", "--cookie", "klaro=x", "--map", "analytics"), "--map: write NAME=VALUE"),
    ("a map to no purpose", ("decode", "--cookie", "klaro=x", "--map", "a=everything"), "--map: The field's value"),
    ("a map twice", ("decode", "--cookie", "klaro=x", "--map", "a=analytics", "--map", "a=marketing"), "each name once"),
    ("a platform without a cookie", ("decode", "--platform", "klaro"), "--cookie; none is given"),
    ("lines and something else", ("decode", "--jsonl", "--gcs", "G111"), "give nothing else"),
    ("an option nobody knows", ("decode", "--tfc", "x"), "--tfc"),
    ("a claim that is none", ("what-if", "--consent", "analytics"), "--consent: write NAME=VALUE"),
    ("a claim twice", ("what-if", "--consent", "analytics=granted", "--consent", "analytics=denied"), "each name once"),
    ("a purpose nobody knows", ("what-if", "--consent", "everything=granted"), "--consent: The purpose is not one"),
    ("a word nobody knows", ("what-if", "--consent", "analytics=yes"), "--consent: A consent value is"),
    ("an earlier choice of a purpose nobody knows", ("what-if", "--stored", "all=denied"), "--stored: The purpose is not"),
    ("a place that is none", ("what-if", "--place", "Germany"), "--place: The field's value"),
    ("a category that is none", ("what-if", "--sensitive", "taste"), "--sensitive: The field's value"),
    ("sections that are none", ("what-if", "--gpp", "x", "--gpp-sid", "7;8"), "--gpp-sid: write section numbers"),
    ("a site that is not there", ("what-if", "--site", "nobody"), "--site: There is no such site"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "text"), named(WRONG_USE))
def test_wrong_use_is_named_by_its_option_and_leaves_with_2(
    arguments: tuple[str, ...], text: str, site: Callable[..., Result]
) -> None:
    result = site(*arguments) if arguments[0] == "what-if" else said(*arguments)
    assert result.exit_code == 2, result.output
    assert text in " ".join(result.stderr.split())
    assert "Traceback" not in result.output


def test_both_commands_run_as_processes(tmp_path: Path) -> None:
    done = gateway("consent", "decode", "--us-privacy", "1YYN", cwd=tmp_path)
    assert (done.returncode, json.loads(done.stdout)["us_privacy"]["OptOutSale"]) == (0, "Y")
    done = gateway("consent", "what-if", cwd=tmp_path)
    assert done.returncode == 1
    assert b"There is no settings file" in done.stderr


# ------------------------------------------------------------------ what if

SETTINGS: Final = """
[data]
dir = "{directory}"

[[site]]
id = "shop"
hosts = ["t.shop.example"]
regime = "{regime}"
{rows}

[[site.destination]]
platform = "meta"
dataset_id = "1234567890"
access_token = "EAAGabcdefghij"
opted_out = "restricted"

[[site.destination]]
platform = "google_ads"
tcf_vendor = 755

[[site.destination]]
platform = "webhook"
name = "crm"
url = "https://crm.example/in"
purposes = ["analytics"]
events = ["sign_up"]

[[site.destination]]
platform = "webhook"
name = "unspoken"
url = "https://other.example/in"

[[site]]
id = "kiosk"
hosts = ["t.kiosk.example"]
regime = "opt_out"
"""


@pytest.fixture
def site(tmp_path: Path) -> Callable[..., Result]:
    """`gateway consent ...` on a site of its own; `regime` and `rows` are of the first site's table."""

    def run(*arguments: str, regime: str = "opt_in", rows: str = "") -> Result:
        path = tmp_path / "gateway.toml"
        path.write_text(SETTINGS.format(directory=tmp_path, regime=regime, rows=rows))
        return said(*arguments, "--settings", str(path))

    return run


def what_if(site: Callable[..., Result], *arguments: str, **settings: str) -> dict[str, Any]:
    result = site("what-if", *arguments, "--json", **settings)
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    found["by_name"] = {row["destination"]: row for row in found["destinations"]}
    return found


def sent(found: dict[str, Any]) -> dict[str, str]:
    """For each destination: yes, restricted, or the reason why not."""
    return {
        name: "restricted" if row["restricted"] else "yes" if row["sent"] else row["reason"]
        for name, row in found["by_name"].items()
    }


MISSING: Final = "consent_missing"
AGREED: Final = ("--consent", "analytics=granted", "--consent", "marketing=granted")
TC_YES: Final = tc_string(purposes=ALL, interests=ALL, vendors=(755,), vendor_interests=(755,), disclosed=(755,))
NOTHING: Final = {"meta": MISSING, "google_ads": MISSING, "crm": MISSING, "unspoken": MISSING}
OPTED_OUT: Final = NOTHING | {"meta": "opted_out", "google_ads": "opted_out", "crm": "yes"}
EVERYTHING: Final = {"meta": "yes", "google_ads": "yes", "crm": "yes", "unspoken": MISSING}

CASES: Final[list[tuple[str, tuple[str, ...], dict[str, str]]]] = [
    ("nothing said", (), NOTHING),
    ("everything agreed to", AGREED, EVERYTHING),
    ("only analytics", ("--consent", "analytics=granted"), NOTHING | {"crm": "yes"}),
    ("without user data", ("--consent", "advertising=granted"), NOTHING),
    ("refused earlier", (*AGREED, "--stored", "marketing=denied"), NOTHING | {"crm": "yes"}),
    ("agreed earlier", ("--stored", "marketing=granted"), NOTHING | {"meta": "yes", "google_ads": "yes"}),
    ("Global Privacy Control", (*AGREED, "--gpc"), OPTED_OUT),
    ("nothing said in California", ("--place", "us-ca", "--site", "shop"), NOTHING),
    ("a minor", (*AGREED, "--minor"), NOTHING | {"crm": "yes"}),
    ("sensitive data", (*AGREED, "--sensitive", "health"), NOTHING | {"crm": "yes"}),
    ("sensitive data that was agreed to", (*AGREED, "--sensitive", "health", "--consent", "sensitive_data=granted"), EVERYTHING),
    ("a string without its list", (*AGREED, "--tcf", TC_YES), EVERYTHING | {"google_ads": MISSING}),
    ("an opt-out in a GPP string", (*AGREED, "--gpp", gpp_string(usnat={"SaleOptOut": 1}), "--gpp-sid", "7"), OPTED_OUT),
    ("an opt-out in a US Privacy string", (*AGREED, "--us-privacy", "1YYN"), OPTED_OUT),
    ("consent mode denies", (*AGREED, "--gcs", "G101"), EVERYTHING | {"google_ads": MISSING}),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "expected"), named(CASES))
def test_what_each_destination_would_be_sent(
    site: Callable[..., Result], arguments: tuple[str, ...], expected: dict[str, str]
) -> None:
    assert sent(what_if(site, *arguments)) == expected


@pytest.mark.parametrize(
    ("arguments", "meta"),
    named(
        [
            ("an opt-out leads to the restricted mode", ("--gpc",), "restricted"),
            ("unless the visitor refused as well", ("--gpc", "--consent", "marketing=denied"), "opted_out"),
            ("or refused earlier", ("--gpc", "--stored", "marketing=denied"), "opted_out"),
            ("or is a minor", ("--gpc", "--minor"), "opted_out"),
            ("without an opt-out it goes whole", (), "yes"),
            ("without an opt-out a refusal withholds it", ("--consent", "marketing=denied"), MISSING),
        ]
    ),
)
def test_a_visitor_in_a_state_with_a_right_to_opt_out(
    site: Callable[..., Result], arguments: tuple[str, ...], meta: str
) -> None:
    found = what_if(site, "--place", "US-CA", *arguments, regime="opt_out")
    assert sent(found)["meta"] == meta
    assert found["regime"] == "opt_out_signal"


def test_a_group_of_fields_says_what_it_needs_and_what_is_missing(site: Callable[..., Result]) -> None:
    crm = what_if(site, "--event", "sign_up", "--consent", "analytics=granted")["by_name"]["crm"]
    assert (crm["sent"], crm["owed"]) == (True, True)
    assert set(crm["groups"]) == {group.value for group in Group}
    assert crm["groups"]["page"] == {"shown": True, "needs": ["analytics"]}
    assert crm["groups"]["contact"] == {
        "shown": False,
        "needs": ["analytics", "ad_user_data"],
        "missing": ["ad_user_data"],
    }
    withheld = what_if(site)["by_name"]["meta"]
    assert withheld["missing"] == ["advertising", "ad_user_data"]
    assert withheld["because"] == "The purposes this destination needs are not granted."
    assert not any(group["shown"] for group in withheld["groups"].values())


def test_a_destination_without_a_purpose_gets_nothing_and_is_told_why(site: Callable[..., Result]) -> None:
    unspoken = what_if(site, *AGREED)["by_name"]["unspoken"]
    assert (unspoken["sent"], unspoken["because"]) == (
        False,
        "The settings declare no purpose for this destination, so it gets nothing.",
    )


def test_a_destination_a_signal_names_has_reasons_of_its_own(site: Callable[..., Result]) -> None:
    found = what_if(site, *AGREED, "--tcf", TC_YES)
    assert any("signal tcf_no_list" in line for line in found["by_name"]["google_ads"]["reasons"])
    assert not any("tcf" in line for line in found["by_name"]["meta"]["reasons"])
    assert found["by_name"]["meta"]["reasons"] == found["reasons"]


def test_vendor_lists_of_the_data_directory_are_used_and_broken_ones_are_named(
    site: Callable[..., Result], tmp_path: Path
) -> None:
    lists = tmp_path / "gvl"
    lists.mkdir()
    (lists / "vendor-list-v150.json").write_bytes((VECTORS / "gvl-fixture.json").read_bytes())
    (lists / "vendor-list-v151.json").write_text("{}")
    found = what_if(site, "--tcf", TC_YES)
    assert sent(found) == NOTHING | {"google_ads": "yes"}
    assert found["problems"] == ["vendor list vendor-list-v151.json: not used (wrong_shape)"]
    assert "problem: vendor list" in site("what-if", "--tcf", TC_YES).stdout


@pytest.mark.parametrize(
    ("arguments", "rows", "kept", "visitor"),
    named(
        [
            ("agreed", AGREED, "", "whole", "signed"),
            ("silent", (), "", "reduced", "none"),
            ("silent, counted by day", (), 'cookieless = "daily"', "reduced", "daily"),
            ("silent, nothing kept", (), 'without_analytics = "nothing"', "nothing", "none"),
            ("an id under advertising", ("--consent", "advertising=granted"), 'id_needs = "advertising"', "reduced", "signed"),
            ("a backend", ("--backend",), 'without_analytics = "nothing"', "reduced", "none"),
        ]
    ),
)  # fmt: skip
def test_what_the_site_itself_keeps(
    site: Callable[..., Result], arguments: tuple[str, ...], rows: str, kept: str, visitor: str
) -> None:
    found = what_if(site, *arguments, rows=rows)
    assert (found["kept"], found["visitor"]) == (kept, visitor)
    assert found["by_name"]["meta"]["owed"] is (kept != "nothing")


def test_a_visitor_known_for_a_day_is_forwarded_to_nobody(site: Callable[..., Result]) -> None:
    found = what_if(site, "--consent", "marketing=granted", rows='cookieless = "daily"')
    assert set(sent(found).values()) == {"cookieless"}


def test_what_cannot_be_read_is_noted(site: Callable[..., Result]) -> None:
    assert what_if(site, "--tcf", "null", "--gpp", "x")["noted"] == ["gpp_header_type", "tcf_version"]
    assert "noted: tcf_version" in site("what-if", "--tcf", "null").stdout


def test_the_platforms_cookie_counts_as_the_site_maps_it(site: Callable[..., Result]) -> None:
    rows = '[site.consent_platform]\nname = "klaro"\nmapping = { stats = "analytics" }\n'
    found = what_if(site, "--cookie", 'a=b; klaro={"stats":true}', rows=rows)
    assert (found["signals"], found["granted"]) == (["platform"], ["necessary", "analytics"])


def test_another_site_is_judged_by_its_own_rules(site: Callable[..., Result]) -> None:
    found = what_if(site, "--site", "kiosk")
    assert (found["site"], found["regime"], found["destinations"]) == ("kiosk", "opt_out", [])


def test_do_not_track_is_read_where_the_site_says_so(site: Callable[..., Result]) -> None:
    assert what_if(site, "--dnt")["signals"] == []
    found = what_if(site, "--dnt", rows="do_not_track = true")
    assert found["signals"] == ["dnt"]


def test_a_page_that_says_the_tcf_applies_is_believed_elsewhere(site: Callable[..., Result]) -> None:
    arguments = ("--place", "US-VA", "--tcf", tc_string(disclosed=(755,)))
    assert sent(what_if(site, *arguments, regime="opt_out"))["google_ads"] == "yes"
    assert sent(what_if(site, *arguments, "--gdpr", regime="opt_out"))["google_ads"] == MISSING
    assert sent(what_if(site, *arguments, "--no-gdpr", regime="opt_out"))["google_ads"] == "yes"


TABLE: Final = """\
site shop, regime opt_out_signal in US-CA
signals heard: sec_gpc, claim
  necessary: granted, because it needs no consent
  functional: granted at step 8 (regime_default, signal opt_out_signal: the rules of the place (opt_out_signal)), because nothing was said, and the rules of the place allow it then
  analytics: denied at step 5 (own_choice, signal claim: the page), because the visitor's choice on this site does not permit it
  advertising: denied at step 3 (opt_out_signal, signal sec_gpc: Global Privacy Control), because the browser sent an opt-out signal with this request
  ad_user_data: denied at step 3 (opt_out_signal, signal sec_gpc: Global Privacy Control), because the browser sent an opt-out signal with this request
  ad_personalization: denied at step 3 (opt_out_signal, signal sec_gpc: Global Privacy Control), because the browser sent an opt-out signal with this request
the site keeps the event without visitor, page details and properties

destination       sent         identifiers  contact      device       page         value
meta              restricted   yes          yes          yes          yes          yes
google_ads        no           -            -            -            -            -
    withheld (opted_out): The visitor opted out of sale, sharing or targeted advertising. Not granted: advertising, ad_user_data.
crm               no           -            -            -            -            -
    withheld (consent_missing): The purposes this destination needs are not granted. Not granted: analytics.
    this event is not owed to it: see its settings enabled and events
unspoken          no           -            -            -            -            -
    withheld (consent_missing): The settings declare no purpose for this destination, so it gets nothing.
"""  # noqa: E501 - as it is printed


def test_the_table_for_people(site: Callable[..., Result]) -> None:
    result = site("what-if", "--place", "US-CA", "--gpc", "--consent", "analytics=denied", regime="opt_out")
    assert result.exit_code == 0
    assert result.stdout == TABLE
