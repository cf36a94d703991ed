"""The pages' commands and calls, run as they stand against a gateway that runs.

Each page gets an installation of its own, with the settings the page shows. Its blocks of shell run in one shell, one after
the other, and stop at the first command that fails. `https://t.shop.example` stands for the gateway on this machine, and a
call that is refused is a failure.
"""

import asyncio
import os
import re
import shutil
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from io import StringIO
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import pytest
from playwright.async_api import async_playwright

from gateway import app
from gateway.clock import ManualClock
from gateway.entropy import SeededEntropy
from gateway.handlers.routes import COLLECTION
from gateway.settings import load
from tests.journeys.conftest import AGENT, FLAGS, chromium
from tests.journeys.staging import Stage, demo_of
from tests.support.running import NOW_MS, Running, install, logging_to

ROOT: Final = Path(__file__).parents[2]
DOCS: Final = ROOT / "docs"
RECIPES: Final = "how-to/recipes.md"
PAGES: Final = (
    *(f"tutorial/{name}.md" for name in ("shop", "lead-site", "app-install", "sms-recovery", "qr-campaign")),
    *(
        f"how-to/{name}.md"
        for name in (
            "links", "goals", "campaign-tag", "uploads", "calls", "notifications", "order-webhooks", "reports",
            "adjustments", "attribution",
        )
    ),
)  # fmt: skip
SETTINGS: Final = """
[listen]
port = 0
admin_port = 0

[data]
dir = "{data}"

[[site]]
id = "main"
hosts = ["t.shop.example", "localhost"]
domains = ["shop.example"]
currency = "EUR"
"""
CURL: Final = """#!{python}
import os, sys
here = {{"https://t.shop.example": "http://localhost:{port}", "http://127.0.0.1:8081": "http://localhost:{admin_port}"}}
said = sys.argv[1:]
for there, address in here.items():
    said = [text.replace(there, address) for text in said]
method = said[said.index("-X") + 1] if "-X" in said else "POST" if {{"-d", "--data-binary"}} & set(said) else "GET"
with open("{calls}", "a") as calls:
    calls.writelines(f"{{method}} {{text}}\\n" for text in said if text.startswith("http"))
os.execv("{curl}", ["curl", "--fail-with-body", "--silent", "--show-error", *said])
"""
"""Stands before curl: leads the addresses of the pages to this machine, and writes down what was called."""
SECRET: Final = "whsec_QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo="
EXAMPLES: Final = [(14_999, "USD", "ORD-12345"), (2_500, "USD", "LEAD-67890"), (500, "USD", None)]
"""What the three worked examples leave behind."""
KINDS: Final = ("campaigns", "links", "ambassadors", "coupons", "goals")
"""Parts of the catalogue: what is shown of one goes for all."""
TO_THE_END: Final = "the-page-was-read-to-its-end"
TIMEOUT_S: Final = 120


def blocks(page: str, language: str, under: str | None = None) -> list[str]:
    """The code blocks of a page in one language; `under` one of its headings only."""
    text = (DOCS / page).read_text()
    if under is not None:
        text = re.split(r"^## ", re.split(rf"^## {under}$", text, flags=re.MULTILINE)[1], flags=re.MULTILINE)[0]
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


class Installed:
    """A gateway with the settings of a page, and the shell of whoever reads it."""

    def __init__(self, running: Running, environment: Mapping[str, str]) -> None:
        self.running = running
        self._environment = environment

    async def run(self, *command: str, said: str = "") -> str:
        """Run a command in the directory of the settings. Answers its output; a failure fails the test."""
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=self.running.directory,
            env=self._environment,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(TIMEOUT_S):
            output, errors = await process.communicate(said.encode())
        assert process.returncode == 0, (output.decode()[-2_000:], errors.decode()[-2_000:])
        assert "Traceback" not in errors.decode(), errors.decode()
        return output.decode()

    async def shell(self, texts: list[str]) -> str:
        """Run blocks of shell one after the other in one shell; each command is shown where one fails."""
        output = await self.run("bash", "-eux", "-o", "pipefail", said="\n".join([*texts, f"echo {TO_THE_END}"]))
        assert output.endswith(f"{TO_THE_END}\n"), "a command has read the rest of the page"
        return output.removesuffix(f"{TO_THE_END}\n")

    def called(self) -> list[tuple[str, str]]:
        """Method and path of every call that curl made."""
        lines = [line.split(" ", 1) for line in (self.running.directory / "calls").read_text().splitlines()]
        return [(method, urlsplit(address).path) for method, address in lines]

    def counted(self, goal: str = "recipe") -> list[tuple[int, str, str | None]]:
        """Amount, currency and order id of the conversions of a goal that count, in their order."""
        return self.running.rows(
            "select amount_minor, currency, order_id from conversion where goal = ? and fate = 'counted' "
            "order by event_seq",
            goal,
        )


@asynccontextmanager
async def installed(directory: Path, page: str = "") -> AsyncIterator[Installed]:
    """A gateway with the settings that a page shows, an API key of every right, and a goal `recipe` with its token."""
    shown = "\n".join(blocks(page, "toml")) if page else ""
    file = directory / "gateway.toml"
    file.write_text(SETTINGS.format(data=install(directory)) + shown)
    for secret in re.findall(r'_file = "([^"]+)"', shown):
        (directory / secret).write_text(SECRET)
        (directory / secret).chmod(0o600)
    (directory / "docs").symlink_to(DOCS)
    clock = ManualClock(NOW_MS)
    with logging_to(StringIO()) as log:
        async with app.running(load(file, {}), clock=clock, entropy=SeededEntropy(b"recipes")) as gateway:
            running = Running(gateway, directory, clock, log)
            key = await running.new_key()
            goal = {"name": "Recipe", "code": "recipe"}
            made = await running.admin("POST", "/api/admin/v1/catalogue/main/goals", body=goal)
            assert made.status == 201, made
            tools = directory / "bin"
            tools.mkdir()
            curl = CURL.format(
                python=sys.executable,
                curl=shutil.which("curl"),
                calls=directory / "calls",
                port=running.port,
                admin_port=running.admin_port,
            )
            (tools / "curl").write_text(curl)
            (tools / "curl").chmod(0o700)
            yield Installed(
                running,
                {
                    "PATH": os.pathsep.join([str(tools), str(Path(sys.executable).parent), os.environ["PATH"]]),
                    "HOME": str(directory),
                    "LC_ALL": "C.UTF-8",
                    "GATEWAY": f"http://localhost:{running.port}",
                    "GATEWAY_KEY": key["key"],
                    "POSTBACK_TOKEN": made.json()["postback_token"],
                },
            )


# ------------------------------------------------------------------ recipes


async def test_p48_p49_p50_the_three_conversion_calls_in_curl(tmp_path: Path) -> None:
    async with installed(tmp_path) as shop:
        posts, image = blocks(RECIPES, "sh", "curl")
        answers = await shop.shell([posts])
        assert answers.count('"status":"accepted"') == 3
        assert answers.count('"marks":["order_id_missing"]') == 1, "only the install says no order id"
        assert shop.counted() == EXAMPLES
        await shop.shell([image])
        assert shop.counted() == EXAMPLES, "the image repeats an order"


async def test_p48_p49_p50_the_python_recipe(tmp_path: Path) -> None:
    async with installed(tmp_path) as shop:
        (text,) = blocks(RECIPES, "python")
        for fate in ("accepted", "duplicate"):
            answers = await shop.run(sys.executable, "-", said=text)
            assert answers.count(f"'status': '{fate}'") == 3
            assert shop.counted() == EXAMPLES


async def test_p52_the_php_recipe(tmp_path: Path) -> None:
    if shutil.which("php") is None:
        pytest.skip("PHP is not installed here")
    async with installed(tmp_path) as shop:
        (text,) = blocks(RECIPES, "php")
        for fate in ("accepted", "duplicate"):
            answers = await shop.run("php", said=text)
            assert answers.count(f"[status] => {fate}") == 3
            assert shop.counted() == EXAMPLES


RAILS: Final = """
class ApplicationJob  # what of Rails the recipe needs: a queue that works at once, with what survives being written down
  def self.queue_as(*) = nil
  def self.retry_on(*, **) = nil
  def self.perform_later(*said) = puts(new.perform(*JSON.parse(JSON.generate(said))).to_s)
end
"""


async def test_p53_the_rails_recipe(tmp_path: Path) -> None:
    if shutil.which("ruby") is None:
        pytest.skip("Ruby is not installed here")
    async with installed(tmp_path) as shop:
        (text,) = blocks(RECIPES, "ruby")
        for fate in ("accepted", "duplicate"):
            answers = await shop.run("ruby", "-rtimeout", said=RAILS + text)
            assert len(re.findall(rf'"status"\s*=>\s*"{fate}"', answers)) == 3
            assert shop.counted() == EXAMPLES


@pytest.mark.slow
async def test_p51_the_browser_recipe_on_a_page_of_the_shop_and_on_a_strangers(tmp_path: Path) -> None:
    (text,) = blocks(RECIPES, "js")
    async with (
        async_playwright() as playwright,
        demo_of(tmp_path / "data") as demo,
        Stage(demo.urls["gateway"]).served() as stage,
    ):
        assert demo.gateway is not None
        running = Running(demo.gateway, tmp_path, demo.gateway.house.clock, StringIO())
        goal = {"name": "Recipe", "code": "recipe"}
        made = await running.admin("POST", "/api/admin/v1/catalogue/shop/goals", body=goal)
        recipe = text.replace("https://t.shop.example", demo.urls["gateway"])
        recipe = recipe.replace("POSTBACK_TOKEN", made.json()["postback_token"])
        recipe = re.sub(r"^reportConversion\((.*)\);$", r"told.push(reportConversion(\1));", recipe, flags=re.MULTILINE)
        page_address = stage.write("/thanks", script=f"var told = [];\n{recipe}")
        browser = await playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        page = await (await browser.new_context(user_agent=AGENT)).new_page()
        await page.goto(page_address)
        answers = await page.evaluate("Promise.all(told)")
        assert [answer["status"] for answer in answers] == ["accepted"] * 3
        assert sorted(Installed(running, {}).counted()) == sorted(EXAMPLES, key=lambda row: row[0])
        await page.goto(page_address.replace("shop.localhost", "stranger.localhost"))
        assert (
            await page.evaluate("Promise.allSettled(told).then(all => all.map(one => one.status))") == ["rejected"] * 3
        )
        assert len(Installed(running, {}).counted()) == 3, (
            "browsers ask before they send, and a stranger's page may not"
        )
        await browser.close()


@pytest.mark.slow
async def test_p54_every_call_of_the_recipes_in_curl(tmp_path: Path) -> None:
    async with installed(tmp_path, RECIPES) as shop:
        answers = await shop.shell(blocks(RECIPES, "sh"))
        assert (8_990, "EUR", "ORD-1") in shop.counted("purchase")
        assert ("lnk_" in answers, '"net":"69.90"' in answers) == (True, True)
        assert (shop.running.directory / "conversions.jsonl").read_text().count("\n") == len(
            shop.running.rows("select 1 from conversion where fate <> 'duplicate'")
        )
        called = shop.called()
        for method, path in [(route.method, route.path) for route in COLLECTION if route.path.startswith("/api/")]:
            kind = path.split("/")[3]
            paths = [path.replace(kind, other) for other in KINDS] if kind in KINDS else [path]
            wanted = re.compile("|".join([re.escape(one).replace(r"\*", ".+") for one in paths]) + r"\Z")
            assert method == "OPTIONS" or any(method == said and wanted.match(address) for said, address in called), (
                path
            )


# ------------------------------------------------------------------ pages


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
async def test_the_commands_and_calls_of_a_page_run(page: str, tmp_path: Path) -> None:
    async with installed(tmp_path, page) as shop:
        await shop.shell(blocks(page, "sh"))


def test_c36_c37_c38_c39_r37_the_shop_tutorial_goes_from_what_counts_to_a_test_purchase() -> None:
    text = (DOCS / "tutorial" / "shop.md").read_text()
    steps = re.findall(r"^## \d\. (.*)$", text, re.MULTILINE)
    assert steps[:3] == ["Say what counts", "Choose where conversions go", "Put the code where it belongs"]
    assert "Test it" in steps
    assert "no engineer needed" in text


def test_k12_the_page_of_the_campaign_tag_names_the_three_places() -> None:
    text = (DOCS / "how-to" / "campaign-tag.md").read_text().partition("## Where it belongs")[2].partition("## ")[0]
    assert all(place in text for place in ("order confirmation", "thank-you page", "follows a form"))


def test_p67_the_two_meanings_of_postback_have_two_words() -> None:
    text = (DOCS / "how-to" / "notifications.md").read_text()
    assert re.search(r"a \*postback\* comes \*\*in\*\*.*a \*notification\* goes \*\*out\*\*", text, re.DOTALL)
