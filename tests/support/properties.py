"""How often a property is tried.

`make check` runs with the profile `fast`, in which every property is tried a tenth as often: what is wrong for one input in
a few is found in the developer's loop, what is rarer by `make test`.
"""

from typing import Final

from hypothesis import settings

__all__ = ["FAST_EXAMPLES", "tried"]

FAST_EXAMPLES: Final = 10
_USUAL: Final = 100
"""What hypothesis tries without a profile."""


def tried(times: int) -> settings:
    """Settings of a property tried `times` times by `make test`."""
    return settings(deadline=None, max_examples=max(FAST_EXAMPLES, times * settings().max_examples // _USUAL))
