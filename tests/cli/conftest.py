"""What several tests of commands begin with."""

from pathlib import Path

import pytest

from tests.support.command_line import initialised


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A directory with a new gateway that is not running."""
    return initialised(tmp_path)
