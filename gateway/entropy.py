"""Randomness: the only module that asks the operating system for it.

Rooms that are pure receive random bytes as an argument. `SeededEntropy` gives tests the same bytes on every run.
"""

import hashlib
import secrets
from typing import Protocol

__all__ = ["Entropy", "SeededEntropy", "SystemEntropy"]


class Entropy(Protocol):
    """Where random bytes come from."""

    def token_bytes(self, count: int) -> bytes:
        """`count` unpredictable bytes."""
        ...

    def fraction(self) -> float:
        """A number in [0, 1), for jitter."""
        ...


class SystemEntropy:
    """The operating system's generator."""

    __slots__ = ()

    def token_bytes(self, count: int) -> bytes:
        """`count` unpredictable bytes."""
        return secrets.token_bytes(count)

    def fraction(self) -> float:
        """A number in [0, 1), 53 bits fine."""
        return int.from_bytes(secrets.token_bytes(7)) % (1 << 53) / (1 << 53)


class SeededEntropy:
    """Repeatable bytes from a seed: for tests and examples, never for keys or ids in service."""

    __slots__ = ("_count", "_seed")

    def __init__(self, seed: bytes = b"seed") -> None:
        self._seed = seed
        self._count = 0

    def token_bytes(self, count: int) -> bytes:
        """The next `count` bytes of the seeded stream."""
        out = b""
        while len(out) < count:
            out += hashlib.sha256(self._seed + self._count.to_bytes(8)).digest()
            self._count += 1
        return out[:count]

    def fraction(self) -> float:
        """A number in [0, 1) from the seeded stream."""
        return int.from_bytes(self.token_bytes(7)) % (1 << 53) / (1 << 53)
