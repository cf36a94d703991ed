"""The bridge as it is served, its size and its hash, and the body with which it reports what a consent platform says."""

import gzip
import json
import re
import textwrap
import tomllib
from pathlib import Path

import pytest

from gateway.errors import Refusal
from gateway.event import Signals
from gateway.pages import tag
from gateway.protocols.native import read_choice
from gateway.signals import cmp
from gateway.signals.cmp_platforms import platform
from tests.support.running import PAGE, Running, refused_with

ROOT = Path(__file__).parents[2]


# ------------------------------------------------------------------ the script


def test_a_page_without_a_consent_platform_pays_3000_bytes_at_most_and_one_with_it_4000_more() -> None:
    for version, made in tag.VERSIONS.items():
        assert len(gzip.compress(made.source, 9, mtime=0)) <= 3_000, version
    for version, made in tag.BRIDGES.items():
        assert len(gzip.compress(made.source, 9, mtime=0)) <= 4_000, version


def test_a_published_bridge_has_the_bytes_it_was_published_with() -> None:
    published = json.loads((ROOT / "gateway/browser/bridge-integrity.json").read_text())
    assert {version: f"sha384-{made.sha384}" for version, made in tag.BRIDGES.items()} == published


def test_a_tag_that_loads_a_bridge_names_its_own_number_and_its_hash() -> None:
    loading = {version: made for version, made in tag.VERSIONS.items() if b"/gw-bridge." in made.source}
    assert tag.LATEST in loading
    for version, made in loading.items():
        assert re.findall(rb"/gw-bridge\.([0-9.]+)\.js", made.source) == [version.encode()]
        assert made.source.count(b"sha384-" + tag.BRIDGES[version].sha384.encode()) == 1


def test_the_bridge_uses_nothing_a_strict_policy_forbids() -> None:
    source = (ROOT / "gateway/browser/gw-bridge.js").read_text()
    code = re.sub(r"/\*.*?\*/|//[^\n]*", "", source, flags=re.DOTALL)
    for forbidden in (
        "eval(",
        "new Function",
        "innerHTML",
        "document.write",
        ".style",
        "cookie ",
        "javascript:",
        "import(",
    ):
        assert forbidden not in code, forbidden


@pytest.mark.asyncio(loop_scope="module")
async def test_the_bridge_is_served_for_good_and_readable_by_every_page(shared: Running) -> None:
    made = tag.BRIDGES[tag.LATEST]
    plain = await shared.send("GET", f"/gw-bridge.{tag.LATEST}.js", headers={"Origin": PAGE})
    assert (plain.status, plain.body) == (200, made.source)
    assert plain.header("content-type") == "text/javascript; charset=utf-8"
    assert plain.header("cache-control") == "public, max-age=31536000, immutable"
    assert plain.header("access-control-allow-origin") == "*", "without it a script with a hash does not run"
    assert plain.header("cross-origin-resource-policy") == "cross-origin"
    assert plain.header("set-cookie") is None
    packed = await shared.send("GET", f"/gw-bridge.{tag.LATEST}.js", headers={"Accept-Encoding": "gzip"})
    assert gzip.decompress(packed.body) == made.source


@pytest.mark.parametrize(
    "path", ["/gw-bridge.js", "/gw-bridge", "/gw-bridge.", "/gw-bridge.0.0.0.js", "/gw-bridge.1.0.0"]
)
@pytest.mark.asyncio(loop_scope="module")
async def test_there_is_no_bridge_without_a_number(shared: Running, path: str) -> None:
    refused_with(await shared.send("GET", path), 404, "route_unknown")


# ------------------------------------------------------------------ the guide

GUIDE = (ROOT / "docs/how-to/consent-platforms.md").read_text()


def test_the_guide_names_every_source_of_the_bridge_and_no_other() -> None:
    source = (ROOT / "gateway/browser/gw-bridge.js").read_text()
    sources = set(re.findall(r"^    ([a-z]+): function \(\) \{", source[source.index("var SOURCES") :], re.MULTILINE))
    named = {word for text in re.findall(r'data-consent="([^"]*)"', GUIDE) for word in text.split()}
    assert sources == named == set("tcf gpp google usercentrics osano shopify callback".split())


def test_the_guide_names_platforms_and_categories_that_are_read() -> None:
    tables = [
        tomllib.loads(textwrap.dedent(text))
        for text in re.findall(r"^ *```toml\n(.*?)^ *```", GUIDE, re.MULTILINE | re.DOTALL)
    ]
    configured = [site["consent_platform"] for table in tables for site in table["site"] if "consent_platform" in site]
    assert len(configured) >= 5
    for one in configured:
        found = platform(one["name"])
        assert found is not None, one["name"]
        if "mapping" in one:
            assert cmp.mapping_of(one["mapping"])
        else:
            assert found.mapping, f"{one['name']} has no mapping of its own"
    (others,) = re.findall(r"^### Others with a cookie\n(.*?)^#", GUIDE, re.MULTILINE | re.DOTALL)
    named = re.findall(r"`name = \"([a-z-]+)\"`", GUIDE) + re.findall(r"`([a-z-]+)`", others)
    assert len(named) >= 15
    assert [name for name in named if platform(name) is None] == []


# ------------------------------------------------------------------ the body


def test_a_choice_may_be_signals_alone() -> None:
    body = b"""{"method": "signal", "signals": {"tcf": "CQ", "gdpr": 1, "gpp_sid": [7], "google": {"b": "granted", "a": "denied"},
        "platform": "klaro", "choice": "explicit", "categories": {"y": true, "x": false}, "at_ms": 5}}"""
    choice = read_choice(body, server=False)
    assert (choice.granted, choice.denied, choice.method) == (0, 0, "signal")
    assert choice.signals == Signals(
        tcf="CQ",
        gdpr=True,
        gpp_sid=(7,),
        google=(("a", "denied"), ("b", "granted")),
        platform="klaro",
        choice="explicit",
        categories=(("x", False), ("y", True)),
        at_ms=5,
    )


def test_signals_may_be_empty_and_a_choice_may_stand_beside_them() -> None:
    assert read_choice(b'{"signals": {}}', server=False).signals == Signals()
    assert read_choice(b'{"signals": {}, "choice": {}}', server=True).signals == Signals()
    both = read_choice(b'{"choice": {"functional": "granted"}, "signals": {"us_privacy": "1YYN"}}', server=False)
    assert (both.granted, both.signals) == (2, Signals(us_privacy="1YYN"))
    assert read_choice(b'{"choice": {"functional": "granted"}}', server=False).signals is None


REFUSED = {
    "nothing said": (b"{}", "field_missing", "choice"),
    "signals that are null": (b'{"signals": null}', "field_missing", "choice"),
    "a choice that is null": (b'{"choice": null, "signals": {}}', "consent_value_invalid", "choice"),
    "a field nobody knows": (b'{"signals": {"tcstring": "x"}}', "field_unknown", "signals.tcstring"),
    "a word nobody knows": (
        b'{"signals": {"google": {"ad_storage": "maybe"}}}',
        "field_invalid",
        "signals.google[...]",
    ),
    "a choice nobody knows": (b'{"signals": {"choice": "perhaps"}}', "consent_value_invalid", "signals.choice"),
    "a granted behind a denied": (
        b'{"signals": {"google": {"ad_storage": "denied", "ad_storage": "granted"}}}',
        "json_duplicate_key",
        "consent",
    ),
    "an explicit behind a none": (
        b'{"signals": {"choice": "none", "choice": "explicit"}}',
        "json_duplicate_key",
        "consent",
    ),
    "choices beside each other": (
        b'{"choice": {"analytics": "denied"}, "choice": {"analytics": "granted"}, "signals": {}}',
        "json_duplicate_key",
        "consent",
    ),
}


@pytest.mark.parametrize(("body", "code", "field"), REFUSED.values(), ids=REFUSED)
def test_a_choice_by_signals_is_refused(body: bytes, code: str, field: str) -> None:
    with pytest.raises(Refusal) as caught:
        read_choice(body, server=False)
    assert (caught.value.code, caught.value.field) == (code, field)
