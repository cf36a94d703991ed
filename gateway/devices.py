"""Devices: what a user-agent text says about device, system, browser and robots (pure, cached).

The text is cut to 512 characters before anything looks at it. Verdicts are kept for 10,000 different texts, because
reading an unknown one costs a tenth of a millisecond, or one and a half when it is as long as it may be, and the same few
thousand repeat all day. The parsing itself runs in ua-parser's compiled matcher, handed to user-agents, whose own parser
can be made to burn 60 ms by a crafted text.

Source: crawler-user-agents 1.67 (MIT), user-agents 2.2, ua-parser 1.0 with ua-parser-rs; W3C Resource Hints for prefetch.
"""

import re
from functools import lru_cache
from typing import Final

import ua_parser
from crawleruseragents import CRAWLER_USER_AGENTS_DATA
from user_agents import parsers

from gateway.event import Agent

__all__ = ["USER_AGENT_MAX_CHARACTERS", "is_prefetch", "read_agent"]

USER_AGENT_MAX_CHARACTERS: Final = 512
_CACHED: Final = 10_000

_PHONES: Final = frozenset({r"AP3A\.240617\.008"})
"""Rows of the list that are no robots: this one is a build of Android 15 on the phones of several makers."""

_CRAWLERS: Final = re.compile(
    "|".join(f"(?:{row['pattern']})" for row in CRAWLER_USER_AGENTS_DATA if row["pattern"] not in _PHONES)
)

_IN_APP: Final = re.compile(r"\b(?:FBAN|FBAV|MetaIAB|Instagram|Google/google)\b")
"""In-app browsers of people whose texts contain a robot's name."""


class _Reading(parsers.UserAgent):
    """user-agents' rules over ua-parser's compiled matcher instead of its own Python one."""

    def __init__(self, text: str) -> None:
        parsed = ua_parser.parse(text)
        agent, system, device = parsed.user_agent, parsed.os, parsed.device
        self.ua_string = text
        self.os = parsers.parse_operating_system(
            system.family if system else "Other",
            *((system.major, system.minor, system.patch, system.patch_minor) if system else (None,) * 4),
        )
        self.browser = parsers.parse_browser(
            agent.family if agent else "Other", *((agent.major, agent.minor, agent.patch) if agent else (None,) * 3)
        )
        self.device = parsers.parse_device(
            device.family if device else "Other", device.brand if device else None, device.model if device else None
        )


def read_agent(text: str | None) -> Agent:
    """Read a user-agent text of any length. An absent or empty one is a robot of the kind `no_user_agent`."""
    if not text:
        return _NO_AGENT
    text = text[:USER_AGENT_MAX_CHARACTERS]
    return _read(text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8"))


_NO_AGENT: Final = Agent(bot="no_user_agent")


@lru_cache(maxsize=_CACHED)
def _read(text: str) -> Agent:
    reading = _Reading(text)
    bot = None
    if _CRAWLERS.search(text) is not None and _IN_APP.search(text) is None:
        bot = "crawler_list"
    elif reading.is_bot:
        bot = "user_agents"
    if reading.is_tablet:
        device = "tablet"
    elif reading.is_mobile:
        device = "mobile"
    elif reading.is_pc:
        device = "desktop"
    else:
        device = "other"
    return Agent(device, _family(reading.os.family), _family(reading.browser.family), bot)


def _family(text: str) -> str:
    return text[:40].lower() if text.isascii() and text.isprintable() else "other"


def is_prefetch(purposes: tuple[str | None, ...]) -> bool:
    """Whether a request was made ahead of a click: any of the given Sec-Purpose, Purpose, X-Moz values says so."""
    return any(value is not None and value.strip().lower().startswith("prefetch") for value in purposes)
