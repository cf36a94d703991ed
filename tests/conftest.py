"""How often properties are tried: in full by `make test`, a tenth as often by `make check`."""

import gc

from hypothesis import settings

from tests.support.properties import FAST_EXAMPLES

settings.register_profile("fast", max_examples=FAST_EXAMPLES)


def pytest_collection_finish() -> None:
    gc.collect()
    gc.freeze()
