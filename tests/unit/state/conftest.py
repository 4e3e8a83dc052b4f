"""What the tests of this folder share."""

from pathlib import Path

import pytest

from tests.unit.state.three import Three


@pytest.fixture
def three(tmp_path: Path) -> Three:
    """A world without nodes."""
    return Three(tmp_path)
