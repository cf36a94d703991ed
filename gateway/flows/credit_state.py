"""Credit state: what crediting keeps between conversions, in the house."""

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.catalogue import Goal

__all__ = ["Crediting"]


class Crediting:
    """`wake` is set when a conversion was counted; `lock` is held while a portion is decided.

    `goals` are old versions of goals, which never change, by site, id and version. `failed` are conversions that could not
    be decided because of a fault of the gateway; they are left alone until the next start.
    """

    __slots__ = ("failed", "goals", "lock", "wake")

    def __init__(self) -> None:
        self.wake = asyncio.Event()
        self.lock = asyncio.Lock()
        self.goals: dict[tuple[str, str, int], Goal] = {}
        self.failed: dict[str, None] = {}
