"""One event a line, whatever a validator wrote; nothing blocks; only plain values."""

import json
import os
import re

import pytest

from cometkms.core.pure import core as pure
from cometkms.errors import InvariantError
from cometkms.log import Log
from cometkms.model import Message, Reason

NASTY = 'a\nE[2026] forged=1 \x1b[31m"quoted" é\u2028'


def lines_of(line_format: str, level: str = "info", event: str = "event", **fields: object) -> list[str]:
    reader, writer = os.pipe()
    log = Log(level, line_format, fd=writer, node="n0")
    log.info(event, **fields)
    log.debug("hidden")
    log.error("seen")
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        return file.read().decode().splitlines()


@pytest.mark.parametrize("line_format", ["plain", "json"])
def test_untrusted_text_cannot_forge_a_line(line_format: str) -> None:
    first, second = lines_of(line_format, event=NASTY, why=NASTY)
    assert first.isascii()
    assert first.isprintable()
    assert "seen" in second


def test_plain_lines_look_like_cometbfts() -> None:
    first = lines_of("plain", height=5, why="two words", block=b"\xab\xcd", reason=Reason.CONFLICT, none=None)[0]
    assert re.fullmatch(
        r'I\[\d{4}-\d\d-\d\d\|\d\d:\d\d:\d\d\.\d{3}\] event {39} +node=n0 height=5 why="two words" block=abcd reason=conflict none=-',
        first,
    ), first


def test_json_lines_are_objects() -> None:
    document = json.loads(lines_of("json", height=5, block=b"\xab")[0])
    assert {**document, "ts": ""} == {
        "ts": "",
        "level": "info",
        "event": "event",
        "node": "n0",
        "height": 5,
        "block": "ab",
    }


def test_levels() -> None:
    assert len(lines_of("plain", "debug")) == 3
    assert len(lines_of("plain", "error")) == 1


@pytest.mark.parametrize("value", [Message(0), bytearray(b"secret"), pure.CORE, {"a": 1}])
def test_objects_that_may_hold_secrets_or_payloads_are_refused(value: object) -> None:
    with pytest.raises(InvariantError):
        lines_of("plain", value=value)


def test_a_reader_that_stalls_costs_events_and_never_time() -> None:
    reader, writer = os.pipe()
    log = Log(fd=writer, immediate=False)
    for number in range(30_000):
        log.info("event", number=number)
        if number % 1000 == 0:
            log.flush()
    os.set_blocking(reader, False)
    read = b""
    for _ in range(2000):
        log.flush()
        try:
            read += os.read(reader, 1 << 16)
        except BlockingIOError:
            break
    assert b"log events dropped" in read
    assert all(line.startswith((b"I[", b"E[")) for line in read.splitlines())
    os.close(reader)
    os.close(writer)
    log.info("after the end")
    log.flush()
