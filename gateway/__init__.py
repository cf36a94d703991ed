"""A privacy-first, self-hosted, server-side tagging gateway.

The water flows one way: doors let a request in, edges turn it into a value, flows carry the value from room to room,
rooms decide, words are what the values are made of. `docs/explanation/river.md` tells the whole story.
"""

from typing import Final

__all__ = ["VERSION"]

VERSION: Final = "0.1.0"
