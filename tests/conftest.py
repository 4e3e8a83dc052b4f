"""Fixtures every test may use."""

import pytest

from cometkms import native, purepy
from cometkms.interface import Core


@pytest.fixture(params=["native", "pure"])
def core(request: pytest.FixtureRequest) -> Core:
    """Each implementation of the core in turn. Both must be there: a missing C core fails the test."""
    return native.load() if request.param == "native" else purepy.CORE
