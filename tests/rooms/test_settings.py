"""Settings: what is not in the table refuses to start, and so does anything that would weaken the installation in silence."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import SettingsError
from gateway.settings import Data, Listen, Secret, Settings, Site, load, parse, placeholder, process_environment
from tests.support.properties import tried

quick = tried(100)

MINIMAL: Final = """
[[site]]
id = "shop"
hosts = ["t.shop.example"]
"""
FULL: Final = """
[listen]
port = 9000

[[site]]
id = "shop"
hosts = ["t.shop.example", "u.shop.example"]
cookie_domain = "shop.example"
currency = "EUR"

[[site.destination]]
platform = "meta"
dataset_id = "123"
access_token_file = "meta-token"

[[site.destination]]
platform = "webhook"
name = "crm"
purposes = ["analytics"]

[[site]]
id = "blog"
hosts = ["t.blog.example"]
"""


def settings_of(text: str, base: Path, environment: Mapping[str, str] | None = None) -> Settings:
    return parse(tomllib.loads(text), environment or {}, base)


def problems_of(text: str, base: Path, environment: Mapping[str, str] | None = None) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        settings_of(text, base, environment)
    assert caught.value.problems
    return caught.value.problems


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A directory with a token file that only its owner reads."""
    token = tmp_path / "meta-token"
    token.write_text("  EAAsecret\n", "utf-8")
    token.chmod(0o600)
    return tmp_path


# ------------------------------------------------------------------ what is read


def test_a_site_with_a_host_is_enough(base: Path) -> None:
    made = settings_of(MINIMAL, base)
    assert made == Settings(site=(Site(id="shop", hosts=("t.shop.example",)),))
    assert (made.listen, made.data) == (Listen(), Data())
    assert made.listen.admin_host == "127.0.0.1"


def test_a_silent_default_is_always_the_stricter_one(base: Path) -> None:
    (site,) = settings_of(MINIMAL, base).site
    assert (site.regime, site.granted_by_default, site.gpc_grant_overrides) == ("opt_in", (), False)
    assert (site.cookieless, site.without_analytics, site.cookie_domain) == ("off", "reduced", None)
    assert site.id_days <= 400
    assert not settings_of(MINIMAL, base).proxy.trusted


def test_everything_is_where_it_was_written(base: Path) -> None:
    made = settings_of(FULL, base)
    shop, blog = made.site
    assert made.listen.port == 9_000
    assert (shop.cookie_domain, shop.currency, blog.destination) == ("shop.example", "EUR", ())
    meta, crm = shop.destination
    assert (meta.platform, meta.name, meta.options["dataset_id"]) == ("meta", "meta", "123")
    assert (crm.name, crm.purposes) == ("crm", ("analytics",))


def test_a_secret_comes_from_its_file_without_the_spaces_around_and_is_not_printed(base: Path) -> None:
    made = settings_of(FULL, base)
    secret = made.site[0].destination[0].options["access_token"]
    assert isinstance(secret, Secret)
    assert secret.reveal() == "EAAsecret"
    assert "EAAsecret" not in repr(made)


# ------------------------------------------------------------------ what is refused, each with its place

ONE_SITE: Final = MINIMAL
DESTINATION: Final = ONE_SITE + '\n[[site.destination]]\nplatform = "meta"\n'

REFUSED: Final = {
    "an unknown table": (ONE_SITE + "[extra]\na = 1", "extra"),
    "an unknown key": ('[listen]\nprot = 1' + ONE_SITE, "prot"),
    "an unknown key of a site": (ONE_SITE + 'regimes = "none"', "regimes"),
    "a port below the range": ("[listen]\nport = -1" + ONE_SITE, "listen.port"),
    "a port above the range": ("[listen]\nport = 65536" + ONE_SITE, "listen.port"),
    "a body limit of nothing": ("[limits]\nbody_max_bytes = 0" + ONE_SITE, "limits.body_max_bytes"),
    "a body limit without an end": ("[limits]\nbody_max_bytes = 1000000000" + ONE_SITE, "limits.body_max_bytes"),
    "a batch of thousands": ("[limits]\nbatch_events_max = 1001" + ONE_SITE, "limits.batch_events_max"),
    "no time for headers": ("[limits]\nheader_timeout_s = 0" + ONE_SITE, "limits.header_timeout_s"),
    "endless time for a body": ("[limits]\nbody_timeout_s = 121" + ONE_SITE, "limits.body_timeout_s"),
    "an endless wait for a commit": ("[limits]\nstore_timeout_s = 61" + ONE_SITE, "limits.store_timeout_s"),
    "a cookie that lives longer than browsers keep it": (ONE_SITE + "id_days = 401", "site[0].id_days"),
    "a choice believed for ever": (ONE_SITE + "choice_days = 401", "site[0].choice_days"),
    "a log that says more than it may": ('[log]\nlevel = "debug"' + ONE_SITE, "log.level"),
    "a header of a proxy nobody sends": ('[proxy]\nheader = "x-real-ip"' + ONE_SITE, "proxy.header"),
    "a regime nobody knows": (ONE_SITE + 'regime = "opt-in"', "site[0].regime"),
    "an id cookie for marketing": (ONE_SITE + 'id_needs = "marketing"', "site[0].id_needs"),
    "a site id in capitals": ('[[site]]\nid = "Shop"\nhosts = ["a.example"]', "site[0].id"),
    "a site id with a slash": ('[[site]]\nid = "a/b"\nhosts = ["a.example"]', "site[0].id"),
    "a site id with a line end": ('[[site]]\nid = "shop\\n"\nhosts = ["a.example"]', "site[0].id"),
    "a host with a port": ('[[site]]\nid = "shop"\nhosts = ["a.example:80"]', "site[0].hosts[0]"),
    "a host in capitals": ('[[site]]\nid = "shop"\nhosts = ["A.example"]', "site[0].hosts[0]"),
    "a host with a scheme": ('[[site]]\nid = "shop"\nhosts = ["https://a.example"]', "site[0].hosts[0]"),
    "an event in capitals": (ONE_SITE + 'conversion_events = ["Purchase"]', "site[0].conversion_events[0]"),
    "a text where a number belongs": ('[listen]\nport = "many"' + ONE_SITE, "listen.port"),
    "a number where a list belongs": (ONE_SITE + "domains = 5", "site[0].domains"),
    "a site that is no table": ("site = 5", "site"),
    "a site that is a single table": ("[site]\nid = 'shop'", "site"),
    "sites that are numbers": ("site = [5]", "site[0]"),
    "no site at all": ("", "site"),
    "a site without an id": ('[[site]]\nhosts = ["a.example"]', "id"),
    "a site without hosts": ('[[site]]\nid = "shop"\nhosts = []', "hosts"),
    "two sites of one id": (ONE_SITE + '[[site]]\nid = "shop"\nhosts = ["b.example"]', "used twice"),
    "two sites of one host": (ONE_SITE + '[[site]]\nid = "blog"\nhosts = ["t.shop.example"]', "belongs to site shop"),
    "a cookie for another domain": (ONE_SITE + 'cookie_domain = "other.example"', "not inside other.example"),
    "a cookie for half a name": (ONE_SITE + 'cookie_domain = "hop.example"', "not inside hop.example"),
    "a currency nobody knows": (ONE_SITE + 'currency = "XXQ"', "ISO 4217"),
    "a currency in small letters": (ONE_SITE + 'currency = "eur"', "ISO 4217"),
    "a calling code with a plus": (ONE_SITE + 'calling_code = "+49"', "site[0].calling_code"),
    "silence that grants nonsense": (ONE_SITE + 'regime = "none"\ngranted_by_default = ["nonsense"]', "unknown purpose"),
    "silence that grants where it may not": (ONE_SITE + 'granted_by_default = ["analytics"]', "only under regime none"),
    "a destination without a platform": (ONE_SITE + "[[site.destination]]\nname = 'x'", "platform"),
    "a destination that is no table": (ONE_SITE + "destination = [5]", "[[site.destination]]"),
    "destinations that are a number": (ONE_SITE + "destination = 5", "site[0].destination"),
    "a destination with an odd name": (DESTINATION + 'name = "a.b"', "name"),
    "two destinations of one name": (DESTINATION + '[[site.destination]]\nplatform = "meta"', "used twice"),
    "a destination of an unknown purpose": (DESTINATION + 'purposes = ["fun"]', "unknown purpose"),
    "a flag in other words": (DESTINATION + 'enabled = "perhaps"', "enabled"),
    "a secret file that is not there": (DESTINATION + 'access_token_file = "no-such-file"', "cannot be read"),
    "a secret file that is a directory": (DESTINATION + 'access_token_file = "."', "cannot be read"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "place"), REFUSED.values(), ids=REFUSED.keys())
def test_it_refuses_to_start_with(base: Path, text: str, place: str) -> None:
    assert any(place in problem for problem in problems_of(text, base)), problems_of(text, base)


def test_every_problem_is_listed_at_once(base: Path) -> None:
    text = """
        [[site]]
        id = "shop"
        hosts = ["t.shop.example", "t.other.example"]
        cookie_domain = "shop.example"
        currency = "eur"
        granted_by_default = ["nonsense"]

        [[site.destination]]
        platform = "meta"
        access_token_file = "no-such-file"
        purposes = ["fun"]

        [[site.destination]]
        platform = "meta"

        [[site]]
        id = "shop"
        hosts = ["t.shop.example"]
    """
    problems = problems_of(text, base, {"GATEWAY__SITE__NOSUCH__CURRENCY": "EUR", "GATEWAY__": "x"})
    for part in (
        "GATEWAY__SITE__NOSUCH__CURRENCY", "GATEWAY__:", "cannot be read", "purposes: unknown purpose",
        "not inside shop.example", "ISO 4217", "granted_by_default: unknown purpose", "only under regime none",
        "destination meta: this name is used twice", "this id is used twice",
    ):  # fmt: skip
        assert sum(part in problem for problem in problems) == 1, part


def test_faults_of_two_destinations_are_both_listed(base: Path) -> None:
    text = MINIMAL + '[[site.destination]]\nplatform = 5\n[[site.destination]]\nplatform = "meta"\nname = "A B"'
    assert len([problem for problem in problems_of(text, base) if "destination" in problem]) == 2


# ------------------------------------------------------------------ secrets in files


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o602, 0o620], ids=oct)
def test_a_secret_file_that_others_can_read_or_write_refuses_to_start(base: Path, mode: int) -> None:
    (base / "meta-token").chmod(mode)
    assert any("can be read or written by others" in problem for problem in problems_of(FULL, base))


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o440, 0o640], ids=oct)
def test_a_secret_file_of_its_owner_or_group_is_taken(base: Path, mode: int) -> None:
    (base / "meta-token").chmod(mode)
    assert settings_of(FULL, base).site


CONTENTS: Final = {
    "nothing": (b"", "is empty"),
    "spaces": (b" \n\t", "is empty"),
    "no UTF-8": (b"\xff\xfe", "cannot be read"),
    "a placeholder": (b"changeme\n", "still a placeholder"),
    "another placeholder": (b"<your token>", "still a placeholder"),
}


@pytest.mark.parametrize(("content", "problem"), CONTENTS.values(), ids=CONTENTS.keys())
def test_a_secret_file_with_nothing_of_use_refuses_to_start(base: Path, content: bytes, problem: str) -> None:
    (base / "meta-token").write_bytes(content)
    problems = problems_of(FULL, base)
    assert any(problem in text and "access_token" in text for text in problems), problems


def test_a_secret_file_may_stand_elsewhere(base: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("secrets") / "token"
    elsewhere.write_text("elsewhere", "utf-8")
    elsewhere.chmod(0o600)
    made = settings_of(FULL.replace('"meta-token"', f'"{elsewhere}"'), base)
    assert made.site[0].destination[0].options["access_token"] == Secret("elsewhere")


PLACEHOLDERS: Final = {
    "changeme": True, "change-me": True, "CHANGE_ME": True, "secret": True, "Password": True, "default": True,
    "example": True, "test": True, "TODO": True, "xxx": True, "xxxxxxxx": True, "your-token-here": True,
    "your token": True, "<token>": True, "...": True, " changeme ": True,
    "EAAB": False, "xx": False, "secretive": False, "s3cr3t": False, "yourtoken": False, "whsec_abc": False, "": False,
}  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), PLACEHOLDERS.items(), ids=[repr(text) for text in PLACEHOLDERS])
def test_a_word_people_leave_in_examples(text: str, expected: bool) -> None:
    assert placeholder(text) is expected


def test_a_trusted_proxy_is_an_address_or_a_network(base: Path) -> None:
    told = problems_of('[proxy]\ntrusted = ["localhost", "10.0.0.0/33", "10.1.2.3/8", "::1"]' + ONE_SITE, base)
    assert told == [
        'proxy.trusted: "localhost" is not an address or network, such as 127.0.0.1/32',
        'proxy.trusted: "10.0.0.0/33" is not an address or network, such as 127.0.0.1/32',
    ]


# ------------------------------------------------------------------ credentials of the service manager


def credential(directory: Path, name: str, text: bytes = b"from systemd\n", mode: int = 0o400) -> Mapping[str, str]:
    path = directory / name
    path.write_bytes(text)
    path.chmod(mode)
    return {"CREDENTIALS_DIRECTORY": str(directory)}


@pytest.fixture
def given_by_systemd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("credentials")


def test_a_credential_is_the_secret_of_its_site_and_destination(base: Path, given_by_systemd: Path) -> None:
    credential(given_by_systemd, "shop.crm.signing_secret", b"for the webhook")
    credential(given_by_systemd, "blog.meta.access_token", b"for nobody")
    environment = credential(given_by_systemd, "shop.meta.access_token")
    shop, blog = settings_of(FULL, base, environment).site
    assert shop.destination[0].options["access_token"] == Secret("from systemd"), "stronger than the file"
    assert shop.destination[1].options == {"signing_secret": Secret("for the webhook")}
    assert blog.destination == ()


BAD_CREDENTIALS: Final = {
    "empty": (b"", 0o400, "is empty"),
    "no UTF-8": (b"\xff", 0o400, "cannot be read"),
    "a placeholder": (b"changeme", 0o400, "still a placeholder"),
    "readable by everybody": (b"token", 0o444, "can be read or written by others"),
}


@pytest.mark.parametrize(("content", "mode", "problem"), BAD_CREDENTIALS.values(), ids=BAD_CREDENTIALS.keys())
def test_a_bad_credential_is_a_problem_and_not_a_crash(
    base: Path, given_by_systemd: Path, content: bytes, mode: int, problem: str
) -> None:
    environment = credential(given_by_systemd, "shop.meta.access_token", content, mode)
    problems = problems_of(FULL, base, environment)
    assert any(problem in text and "access_token" in text for text in problems), problems


def test_a_credential_that_is_a_directory_is_a_problem_and_not_a_crash(base: Path, given_by_systemd: Path) -> None:
    (given_by_systemd / "shop.meta.access_token").mkdir()
    environment = {"CREDENTIALS_DIRECTORY": str(given_by_systemd)}
    assert any("cannot be read" in problem for problem in problems_of(FULL, base, environment))


def test_a_directory_of_credentials_that_is_not_there_holds_none(base: Path) -> None:
    assert settings_of(FULL, base, {"CREDENTIALS_DIRECTORY": str(base / "nowhere")}) == settings_of(FULL, base)


# ------------------------------------------------------------------ the environment

OVERLAYS: Final[dict[str, tuple[str, str, Any]]] = {
    "a number": ("GATEWAY__LISTEN__PORT", "7000", lambda s: s.listen.port == 7_000),
    "a text": ("GATEWAY__DATA__DIR", "/srv/gateway", lambda s: s.data.dir == "/srv/gateway"),
    "a table that is not in the file": ("GATEWAY__LOG__LEVEL", "error", lambda s: s.log.level == "error"),
    "a fraction": ("GATEWAY__DELIVERY__RETRY_BASE_S", "1.5", lambda s: s.delivery.retry_base_s == 1.5),
    "a list of one": ("GATEWAY__PROXY__TRUSTED", "10.0.0.0/8", lambda s: s.proxy.trusted == ("10.0.0.0/8",)),
    "a list with spaces": ("GATEWAY__PROXY__TRUSTED", " ::1 , 10.0.0.1 ,", lambda s: s.proxy.trusted == ("::1", "10.0.0.1")),
    "an empty list": ("GATEWAY__PROXY__TRUSTED", "", lambda s: s.proxy.trusted == ()),
    "a list of numbers": ("GATEWAY__DELIVERY__WEBHOOK_PORTS", "443,8443", lambda s: s.delivery.webhook_ports == (443, 8443)),
    "a row of a site": ("GATEWAY__SITE__BLOG__CURRENCY", "USD", lambda s: s.site[1].currency == "USD"),
    "a flag of a site": ("GATEWAY__SITE__SHOP__GPC_GRANT_OVERRIDES", "true", lambda s: s.site[0].gpc_grant_overrides),
    "an option of a destination": (
        "GATEWAY__SITE__SHOP__DESTINATION__META__DATASET_ID", "456", lambda s: s.site[0].destination[0].options["dataset_id"] == "456",
    ),
    "a row of a destination with a name": (
        "GATEWAY__SITE__SHOP__DESTINATION__CRM__ENABLED", "false", lambda s: not s.site[0].destination[1].enabled,
    ),
    "purposes of a destination": (
        "GATEWAY__SITE__SHOP__DESTINATION__CRM__PURPOSES", "analytics,functional",
        lambda s: s.site[0].destination[1].purposes == ("analytics", "functional"),
    ),
    "something of another program": ("GATEWAY_LISTEN_PORT", "1", lambda s: s.listen.port == 9_000),
}  # fmt: skip


@pytest.mark.parametrize(("variable", "value", "holds"), OVERLAYS.values(), ids=OVERLAYS.keys())
def test_the_environment_overlays(base: Path, variable: str, value: str, holds: Any) -> None:
    assert holds(settings_of(FULL, base, {variable: value}))


def test_a_site_with_a_dash_is_named_with_an_underscore(base: Path) -> None:
    text = '[[site]]\nid = "my-shop"\nhosts = ["t.shop.example"]'
    assert settings_of(text, base, {"GATEWAY__SITE__MY_SHOP__CURRENCY": "EUR"}).site[0].currency == "EUR"


BAD_OVERLAYS: Final = {
    "an unknown key": ("GATEWAY__LISTEN__PROT", "1", "prot"),
    "an unknown table": ("GATEWAY__NOSUCH__KEY", "1", "nosuch"),
    "a table itself": ("GATEWAY__LISTEN", "1", "listen"),
    "an unknown site": ("GATEWAY__SITE__NOSUCH__CURRENCY", "EUR", "no such site"),
    "an unknown destination": ("GATEWAY__SITE__SHOP__DESTINATION__NOSUCH__X", "1", "no such site or destination"),
    "a destination of a site without any": ("GATEWAY__SITE__BLOG__DESTINATION__META__X", "1", "no such site or destination"),
    "a site without a row": ("GATEWAY__SITE__SHOP", "1", "GATEWAY__SITE__SHOP"),
    "nothing": ("GATEWAY__", "1", "not the name of a setting"),
    "half a name": ("GATEWAY__LISTEN____PORT", "1", "not the name of a setting"),
    "below a value": ("GATEWAY__LISTEN__PORT__X", "1", "GATEWAY__LISTEN__PORT__X"),
    "a site below a value": ("GATEWAY__LISTEN__PORT__SITE__A__B", "1", "GATEWAY__LISTEN__PORT__SITE__A__B"),
    "a number out of its range": ("GATEWAY__LISTEN__PORT", "70000", "listen.port"),
    "a number in words": ("GATEWAY__LISTEN__PORT", "many", "listen.port"),
}  # fmt: skip


@pytest.mark.parametrize(("variable", "value", "problem"), BAD_OVERLAYS.values(), ids=BAD_OVERLAYS.keys())
def test_a_variable_that_fits_nowhere_refuses_to_start(base: Path, variable: str, value: str, problem: str) -> None:
    problems = problems_of(FULL, base, {variable: value})
    assert any(problem in text for text in problems), problems


def assert_settings_or_problems(document: dict[str, Any], variables: Mapping[str, str]) -> None:
    """Anything that is raised but a SettingsError fails the test."""
    try:
        made: Settings | SettingsError = parse(document, variables, Path("/nowhere"))
    except SettingsError as error:
        made = error
    assert isinstance(made, Settings) or all(made.problems)


PARTS = st.sampled_from(
    ["LISTEN", "PORT", "SITE", "SHOP", "BLOG", "DESTINATION", "META", "CRM", "X", "", "é", "DOMAINS"]
)


@quick
@given(
    variables=st.dictionaries(
        st.lists(PARTS, min_size=1, max_size=6).map(lambda parts: "GATEWAY__" + "__".join(parts)),
        st.sampled_from(["", "1", "true", "a,b", "EUR"]),
        min_size=1,
        max_size=3,
    )
)
def test_no_variables_raise_anything_but_a_settings_error(variables: dict[str, str]) -> None:
    text = FULL.replace('access_token_file = "meta-token"', "")
    assert_settings_or_problems(tomllib.loads(text), variables)


DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 70_000) | st.text("abz.-_ 9", max_size=8),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["id", "hosts", "site", "destination", "platform", "name", "purposes", "listen", "port", "x_file", "domains"]),
        inner,
        max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip


@quick
@given(document=st.dictionaries(st.sampled_from(["site", "listen", "limits", "log"]), DOCUMENTS, max_size=3))
def test_no_document_raises_anything_but_a_settings_error(document: dict[str, Any]) -> None:
    assert_settings_or_problems(document, {"GATEWAY__SITE__A__CURRENCY": "EUR"})


# ------------------------------------------------------------------ the file itself


def test_a_file_is_loaded_with_secrets_beside_it(base: Path) -> None:
    path = base / "gateway.toml"
    path.write_text(FULL, "utf-8")
    assert load(path, {}) == settings_of(FULL, base)
    assert load(path, {"GATEWAY__LISTEN__PORT": "1"}).listen.port == 1


FILES: Final = {
    "no TOML": (b"[[site", "not valid TOML"),
    "a key twice": (b"a = 1\na = 2", "not valid TOML"),
    "no UTF-8": (b'a = "\xff"', "cannot be read"),
}


@pytest.mark.parametrize(("content", "problem"), FILES.values(), ids=FILES.keys())
def test_a_file_that_cannot_be_read_refuses_to_start(base: Path, content: bytes, problem: str) -> None:
    path = base / "gateway.toml"
    path.write_bytes(content)
    with pytest.raises(SettingsError, match=problem):
        load(path, {})


def test_no_file_says_how_to_write_one(base: Path) -> None:
    with pytest.raises(SettingsError, match="gateway init"):
        load(base / "gateway.toml", {})
    with pytest.raises(SettingsError, match="cannot be read"):
        load(base, {})


def test_the_environment_of_the_process_is_read_in_one_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY__LISTEN__PORT", "9999")
    assert process_environment()["GATEWAY__LISTEN__PORT"] == "9999"
