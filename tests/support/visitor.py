"""A visitor's browser without script: keeps cookies, reads pages as a tree, fills in forms and sends them.

    visitor = Visitor(shop.port, HOST)
    page = await visitor.open("/privacy")
    await visitor.submit(page.form("withdraw"), action="withdraw")

It knows what a browser must know to be refused or let in: which cookies it has, where a form came from, redirects.
"""

from collections.abc import Iterator, Mapping
from html.parser import HTMLParser
from typing import Final
from urllib.parse import urlencode

import msgspec

from tests.support.running import AGENT, Said, request_bytes, talk

__all__ = ["Document", "Node", "Visitor"]

VOID: Final = frozenset({"meta", "link", "input", "br", "img", "hr"})


class Node(msgspec.Struct):
    """One element. Children are elements and texts in order."""

    tag: str
    attributes: dict[str, str]
    children: list["Node | str"] = []

    def walk(self) -> Iterator["Node"]:
        """This element and all inside it, in the order of the page."""
        yield self
        for child in self.children:
            if isinstance(child, Node):
                yield from child.walk()

    def all(self, tag: str, **attributes: str) -> list["Node"]:
        """Every element of a kind inside this one."""
        return [
            node
            for node in self.walk()
            if node.tag == tag and all(node.attributes.get(name) == value for name, value in attributes.items())
        ]

    @property
    def text(self) -> str:
        """All words inside, with single blanks."""
        return " ".join(" ".join(self._texts()).split())

    def _texts(self) -> Iterator[str]:
        for child in self.children:
            if isinstance(child, str):
                yield child
            else:
                yield from child._texts()


class _Reader(HTMLParser):
    """Reads strictly: what is opened is closed, in order, and no attribute stands twice."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = Node("", {})
        self._open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs), (tag, attrs)
        node = Node(tag, {name: value or "" for name, value in attrs}, [])
        self._open[-1].children.append(node)
        if tag not in VOID:
            self._open.append(node)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop().tag == tag, tag

    def handle_data(self, data: str) -> None:
        self._open[-1].children.append(data)

    def finish(self) -> Node:
        self.close()
        assert self._open == [self.root], [node.tag for node in self._open]
        return self.root


class Document(msgspec.Struct):
    """A page that was read."""

    said: Said
    root: Node

    @property
    def text(self) -> str:
        """All words of the page."""
        return self.root.all("body")[0].text

    @property
    def message(self) -> str | None:
        """What the page says about what was just done."""
        found = [node for node in self.root.walk() if node.attributes.get("role") in {"status", "alert"}]
        assert len(found) <= 1
        return found[0].text if found else None

    def section(self, name: str) -> Node:
        """The part of the page under one heading."""
        (found,) = [node for node in self.root.all("section") if node.attributes.get("aria-labelledby") == name]
        return found

    def form(self, section: str) -> dict[str, str]:
        """What a form would send as it stands: hidden fields, and what is chosen already."""
        (form,) = self.section(section).all("form")
        assert (form.attributes["method"], form.attributes["action"]) == ("post", "/privacy")
        sent = {}
        for node in form.all("input"):
            if node.attributes["type"] == "hidden" or "checked" in node.attributes:
                sent[node.attributes["name"]] = node.attributes["value"]
        return sent


def read(said: Said) -> Document:
    """Read a page. Fails on anything that is not well-formed HTML."""
    assert said.header("content-type") == "text/html; charset=utf-8", said
    reader = _Reader()
    reader.feed(said.body.decode("utf-8"))
    return Document(said, reader.finish())


class Visitor:
    """One browser on one host of the gateway."""

    def __init__(self, port: int, host: str, *, language: str = "en", **headers: str) -> None:
        self.port = port
        self.host = host
        self.cookies: dict[str, str] = {}
        self.headers = {"User-Agent": AGENT, "Accept-Language": language}
        self.headers |= {name.replace("_", "-"): value for name, value in headers.items()}

    @property
    def cookie(self) -> str:
        """The Cookie header."""
        return "; ".join(f"{name}={value}" for name, value in self.cookies.items())

    async def send(
        self, method: str, path: str, *, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Said:
        """One request with this browser's cookies; those of the answer are kept."""
        named = {**self.headers, **({"Cookie": self.cookie} if self.cookies else {}), **(headers or {})}
        said = (await talk(self.port, request_bytes(method, path, host=self.host, headers=named, body=body))).only
        self.cookies |= said.cookies()
        self.cookies = {name: value for name, value in self.cookies.items() if value}
        return said

    async def open(self, path: str = "/privacy") -> Document:
        """Look at a page."""
        said = await self.send("GET", path)
        assert said.status == 200, said
        return read(said)

    async def post(self, fields: Mapping[str, str], headers: Mapping[str, str] | None = None) -> Said:
        """Send a form as a browser does that has it from our page; `headers` may say otherwise, empty takes one away."""
        own = {
            "Origin": f"https://{self.host}",
            "Sec-Fetch-Site": "same-origin",
            "Content-Type": "application/x-www-form-urlencoded",
            **(headers or {}),
        }
        given = {name: value for name, value in own.items() if value}
        return await self.send("POST", "/privacy", body=urlencode(fields).encode(), headers=given)

    async def submit(self, form: Mapping[str, str], **fields: str) -> Document:
        """Send a form and go where the answer leads."""
        said = await self.post({**form, **fields})
        if said.status == 303:
            where = said.header("location")
            assert where is not None
            return await self.open(where)
        return read(said)

    async def choose(self, origin: str, **choice: str) -> None:
        """Choose in the site's own dialog."""
        body = msgspec.json.encode({"choice": choice})
        said = await self.send("POST", "/consent", body=body, headers={"Origin": origin})
        assert said.status == 200, said

    async def hit(self, origin: str, name: str = "page_view", **fields: object) -> None:
        """One event of a page."""
        body = msgspec.json.encode({"name": name, **fields})
        said = await self.send("POST", "/collect", body=body, headers={"Origin": origin})
        assert said.status == 204, said
