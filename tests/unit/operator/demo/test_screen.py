"""The demo's terminal: what cannot be written over is not written over."""

import os
import pty

import pytest

from cometkms.operator.demo.screen import Screen
from cometkms.printable import rewritable
from tests.unit.terminal import read_to_end


def shown(monkeypatch: pytest.MonkeyPatch, **environment: str) -> bytes:
    """What a terminal gets of two live lines and a lasting one."""
    for name in ("TERM", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    ours, theirs = pty.openpty()
    try:
        with os.fdopen(theirs, "w") as out:
            assert rewritable(out) is (environment["TERM"] != "dumb")
            screen = Screen(out)
            for line in ("height 1", "height 2"):
                screen.show(line)
            screen.say("node0 led and was killed", loud=True)
            screen.finish()
        return read_to_end(ours)
    finally:
        os.close(ours)


def test_a_line_is_rewritten_in_place_and_a_loud_one_is_bold(monkeypatch: pytest.MonkeyPatch) -> None:
    got = shown(monkeypatch, TERM="xterm")
    assert got == b"\r\x1b[Kheight 1\r\x1b[Kheight 2\r\x1b[K\x1b[1mnode0 led and was killed\x1b[0m\r\n"


def test_without_colours_nothing_is_bold(monkeypatch: pytest.MonkeyPatch) -> None:
    assert b"\x1b[1m" not in shown(monkeypatch, TERM="xterm", NO_COLOR="1")


def test_a_dumb_terminal_gets_plain_lines_one_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(monkeypatch, TERM="dumb") == b"height 1\r\nnode0 led and was killed\r\n"


def test_a_file_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    with open(os.devnull, "w") as out:
        assert not rewritable(out)
