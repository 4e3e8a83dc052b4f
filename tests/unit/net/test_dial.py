"""Connections to validators: what is at a unix socket's path in its place is said."""

import asyncio
from pathlib import Path

import pytest

from cometkms.errors import os_words
from cometkms.net.dial import NoSocketError, connect
from cometkms.net.target import UnixTarget
from tests.unit.net.socket_places import make_places


def test_what_is_in_a_sockets_place_is_said_and_not_that_a_connection_was_refused(tmp_path: Path) -> None:
    for path, words in make_places(tmp_path).items():
        with pytest.raises(OSError) as failed:
            asyncio.run(connect(UnixTarget(path)))
        assert os_words(failed.value) == words, path
        assert isinstance(failed.value, NoSocketError) == words.startswith("it is no socket")
