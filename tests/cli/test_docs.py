"""Pages tell the truth: links lead somewhere, samples parse, commands exist, the unit is as tight as it says."""

import fnmatch
import hashlib
import hmac
import json
import re
import subprocess
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import click
import msgspec
import pytest

from gateway import access
from gateway.cli import main
from gateway.outbound import webhook_keys, webhook_signature
from gateway.protocols.adjusting import WireAdjustment
from gateway.protocols.catalogue_shapes import SHAPES, WireLink, WireSigned
from gateway.protocols.goals_compat import Figures, Period, answer_metrics, read_track, read_track_with_token
from gateway.protocols.notification import Notice, body_of
from gateway.protocols.spend import SpendProblem, SpendTerms, read_spend
from gateway.protocols.wire import WireBatch, WireChoice
from gateway.settings import parse

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])


def blocks(language: str) -> Iterator[tuple[str, str]]:
    for page in PAGES:
        for found in re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
            yield str(page.relative_to(ROOT)), found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_a_file(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        if not target.startswith(("https://", "http://")):
            assert (page.parent / target).exists(), target


def test_every_page_is_reachable_from_the_readme() -> None:
    seen, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in seen or page.suffix != ".md":
            continue
        seen.add(page)
        waiting += [
            (page.parent / target).resolve()
            for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text())
            if not target.startswith("http")
        ]
    assert not {str(page) for page in PAGES} - {str(page) for page in seen}


def test_settings_in_pages_are_settings(tmp_path: Path) -> None:
    count = 0
    for page, text in blocks("toml"):
        inside = re.search(r"^\[+site\.", text, re.MULTILINE) is not None and "[[site]]" not in text
        raw = tomllib.loads(f"[[site]]\n{text}" if inside else text)
        raw.setdefault("site", [{}])
        raw["site"][0].setdefault("id", "main")
        raw["site"][0].setdefault("hosts", ["t.shop.example"])
        for table in [*raw["site"][0].get("destination", []), *raw["site"][0].get("webhook", [])]:
            for key in [key for key in table if key.endswith("_file")]:
                (tmp_path / table[key]).write_text("whsec_QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo=")
                (tmp_path / table[key]).chmod(0o600)
        assert parse(raw, {}, tmp_path).site, page
        count += 1
    assert count >= 2


READERS: Final[dict[str, Callable[[bytes], object]]] = {
    r"/api/conversions/track/.+": read_track,
    r"/api/v1/conversions/track": read_track_with_token,
    r"/api/v1/conversions/goals": lambda body: msgspec.json.decode(body)["goal"]["name"],
    r"/api/v1/conversions/.+/adjustments": lambda body: msgspec.json.decode(body, type=WireAdjustment),
    r"/api/v1/(events|conversions|conversions/batch)": lambda body: msgspec.json.decode(body, type=WireBatch),
    r"/consent": lambda body: msgspec.json.decode(body, type=WireChoice).choice,
    r"/api/v1/links/batch": lambda body: [msgspec.convert(one, WireLink) for one in msgspec.json.decode(body)["links"]],
    r"/api/v1/links/[^/]+/signed": lambda body: msgspec.json.decode(body, type=WireSigned),
    r"/api/v1/spend": lambda body: (
        [one for one in read_spend(body, SpendTerms(last_day=1 << 20)) if _is_wrong(one)] == []
    ),
} | {
    rf"/api/v1/{kind}s(/.+)?": lambda body, shape=shape: msgspec.json.decode(body, type=shape)
    for kind, shape in SHAPES.items()
}
"""Path of a call to what reads its body."""


def _is_wrong(row: object) -> bool:
    return isinstance(row, SpendProblem)


def test_bodies_in_pages_are_taken() -> None:
    count = 0
    for page, text in blocks("sh"):
        for path, body in re.findall(
            r"(?:example|GATEWAY)(/[^ \"?]*)(?:[^\n]|\\\n)*?-d '([{\[].*?[}\]])'", text, re.DOTALL
        ):
            reader = next((read for pattern, read in READERS.items() if re.fullmatch(pattern, path)), None)
            assert reader is not None, f"{page}: {path}"
            assert reader(body.encode()), f"{page}: {path}"
            count += 1
    said = [text for _, text in blocks("sh")]
    assert count == sum([len(re.findall(r"-d '[{\[]", text)) for text in said]), "a body that is not looked at"


def test_p68_every_sample_of_json_is_json_without_comments_and_typographic_quotes() -> None:
    samples = [*blocks("json"), *((page, line) for page, text in blocks("jsonl") for line in text.splitlines())]
    for page, text in samples:
        assert isinstance(json.loads(text), dict | list), page
    assert len(samples) >= 6
    for file in PAGES:
        for text in re.findall(r"^```\w+\n(.*?)^```", file.read_text(), re.MULTILINE | re.DOTALL):
            assert not re.search("[\u201c\u201d\u201e\u2018\u2019]", text), file.name


def test_the_samples_of_answers_have_the_keys_of_the_answers() -> None:
    (notice,) = [json.loads(text) for page, text in blocks("json") if "conversion.tracked" in text]
    told = json.loads(body_of(Notice(conversion_id="c1_1", occurred_at_ms=0, goal="purchase")))
    assert list(notice) == list(told)
    (metrics,) = [json.loads(text) for page, text in blocks("json") if "average_value" in text]
    figures = Figures(conversions=0, clicks=0, rate_pct=None, money={}, time_to_convert_s=None)
    assert list(metrics) == list(json.loads(answer_metrics(figures, Period(None, 30))))


def test_p23_the_check_of_the_notification_page_takes_our_signature_and_no_other() -> None:
    (sample,) = [text for page, text in blocks("python") if "def is_ours" in text]
    space: dict[str, Any] = {}
    exec(sample, space)
    secret, body = "whsec_QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo=", b'{"event":"conversion.tracked"}'
    now_s = int(time.time())  # noqa: TID251 - the sample looks at the clock
    headers = {"webhook-id": "msg_1", "webhook-timestamp": str(now_s)}
    headers["webhook-signature"] = webhook_signature(webhook_keys(secret), "msg_1", now_s, body)
    assert space["is_ours"](secret, headers, body)
    assert space["is_ours"](f"whsec_{'A' * 32} {secret}", headers, body)
    assert not space["is_ours"](secret, headers, body + b" ")
    assert not space["is_ours"](f"whsec_{'A' * 32}", headers, body)
    assert not space["is_ours"](secret, headers | {"webhook-timestamp": str(now_s - 301)}, body)


def test_commands_in_pages_exist() -> None:
    count = 0
    for page, text in blocks("sh"):
        for line in re.findall(r"(?:^|bin/|sudo -u gateway )gateway ((?:[a-z]+ ?)+)", text, re.MULTILINE):
            command: click.Command = main
            for word in line.split():
                if not isinstance(command, click.Group):
                    break
                found = command.commands.get(word)
                assert found is not None, f"{page}: gateway {line}"
                command = found
            count += 1
    assert count >= 8


def test_the_signature_of_the_backend_page_is_accepted() -> None:
    (sample,) = [text for page, text in blocks("python") if "def signature" in text]
    space: dict[str, object] = {}
    exec(sample, space)
    root, body = b"r" * 32, b'{"name":"purchase"}'
    make = space["signature"]
    assert callable(make)
    header = make(access.signing_secret(root), "POST", "/api/v1/conversions", body)
    read = access.read_signature(header)
    assert read is not None
    assert access.verify_signature(
        read, (root,), method="POST", path="/api/v1/conversions", body=body, now_ms=read.at_s * 1000
    )
    assert not access.verify_signature(
        read, (root,), method="POST", path="/api/v1/events", body=body, now_ms=read.at_s * 1000
    )
    assert hmac.new(b"k", b"m", hashlib.sha256).hexdigest()


def test_the_systemd_unit_is_tight() -> None:
    done = subprocess.run(
        [
            "systemd-analyze",
            "security",
            "--offline=true",
            "--threshold=15",
            str(ROOT / "deploy/systemd/gateway.service"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-300:] + done.stderr


def test_the_deploy_page_and_the_unit_name_the_same_user_and_places() -> None:
    unit = (ROOT / "deploy/systemd/gateway.service").read_text()
    page = (ROOT / "docs/how-to/deploy.md").read_text()
    assert re.findall(r"^(?:User|Group)=(.*)$", unit, re.MULTILINE) == ["gateway", "gateway"]
    assert "install -d -o gateway -g gateway -m 700 /etc/gateway /var/lib/gateway" in page
    assert "init --directory /etc/gateway --data /var/lib/gateway" in page
    assert "--settings /etc/gateway/gateway.toml" in unit
    assert "StateDirectory=gateway\n" in unit


def test_what_init_makes_in_a_checkout_is_never_committed() -> None:
    rules = (ROOT / ".gitignore").read_text().split()
    for made in ("/data/", "/gateway.toml", "/meta-token", "/crm-secret"):
        assert any(fnmatch.fnmatchcase(made, rule) for rule in rules), made


def test_no_page_and_no_lock_names_a_package_index() -> None:
    for path in [*(ROOT / "locks").iterdir(), ROOT / "pyproject.toml", *PAGES]:
        text = path.read_text()
        assert not re.search(r"pypi\.org|registry\.npmjs|--index|files\.pythonhosted|extra-index", text), path


def test_the_published_tag_versions_stand_in_the_reference() -> None:
    published = json.loads((ROOT / "gateway/browser/integrity.json").read_text())
    page = (ROOT / "docs/reference/tag.md").read_text()
    assert all(f"`{digest}`" in page for digest in published.values())
