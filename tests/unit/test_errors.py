"""Errors of the system in a person's words, and a disk that is full or fails told as that, whoever
stumbled over it.
"""

import asyncio
import errno
import json
import os
import socket
import ssl
from pathlib import Path

import pytest

from cometkms.address import Address
from cometkms.errors import (
    ConfigError,
    KeyFileError,
    StateError,
    StoreFailure,
    cure_of_file,
    disk_failure,
    no_json,
    os_words,
    place_of,
    said,
)
from cometkms.net.dial import connect


def raised(kind: type[Exception], words: str, number: int, path: str | None = "/home/x/file", **more: str) -> Exception:
    try:
        try:
            raise OSError(number, os.strerror(number), path) if path else OSError(number, os.strerror(number))
        except OSError as error:
            raise kind(words, **more) from error
    except kind as error:
        return error


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS])
@pytest.mark.parametrize("kind", [KeyFileError, StateError, ConfigError, StoreFailure, RuntimeError])
def test_the_disk_is_named_and_no_file_is_blamed(kind: type[Exception], number: int) -> None:
    cure = {} if kind is RuntimeError else {"cure": "`cmkms recover --min-height HEIGHT`"}
    error = raised(kind, "/home/x/file cannot be understood", number, **cure)
    failure = disk_failure(error)
    assert failure is not None
    assert failure.exit_code == 7
    assert str(failure).startswith(f"/home/x/file: {os.strerror(number).lower()}; cure: ")
    assert "recover" not in str(failure)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS])
def test_a_disk_that_takes_nothing_is_no_matter_of_whose_file_it_is(number: int) -> None:
    """The doctor of a node on a read-only mount said to run it as another user."""
    assert cure_of_file(OSError(number, os.strerror(number), "/x"), "chown") == cure_of(number)
    assert cure_of_file(OSError(errno.EACCES, os.strerror(errno.EACCES), "/x"), "chown") == "chown"
    assert cure_of_file(OSError("said by Python"), "chown") == "chown"


def cure_of(number: int) -> str:
    failure = disk_failure(OSError(number, os.strerror(number), "/x"))
    assert failure is not None
    return failure.cure


def test_words_that_say_it_already_stay_but_for_their_cure() -> None:
    words = "/p/identity_key.json cannot be made: no space left on device"
    error = raised(KeyFileError, words, errno.ENOSPC, None, cure="chown")
    assert str(disk_failure(error)).startswith(
        "/p/identity_key.json cannot be made: no space left on device; cure: make room"
    )


def test_a_bare_error_of_the_system_is_one_too() -> None:
    failure = disk_failure(OSError(errno.ENOSPC, "No space left on device"))
    assert str(failure).startswith("a file of this node: no space left on device; cure: ")


@pytest.mark.parametrize("number", [errno.EACCES, errno.ENOENT, errno.EADDRINUSE, errno.ECONNREFUSED])
def test_what_is_not_the_disks_stays_what_it_is(number: int) -> None:
    assert disk_failure(raised(KeyFileError, "words", number)) is None
    assert disk_failure(KeyFileError("no space left on device")) is None, "words are no code"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "anything"), "no space left on device"),
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed ('127.0.0.1', 1)"), "connection refused"),
        (TimeoutError(), "timed out"),
        (TimeoutError(errno.ETIMEDOUT, "x"), "connection timed out"),
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "name or service not known"),
        (OSError("short write: 1 of 2 bytes"), "short write: 1 of 2 bytes"),
    ],
)
def test_a_person_reads_no_number_and_no_python(error: OSError, words: str) -> None:
    assert os_words(error) == words


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "x"), "no space left on device"),
        (ValueError("7 is no height"), "7 is no height"),
        (KeyError(), "KeyError"),
    ],
)
def test_any_error_says_something(error: Exception, words: str) -> None:
    assert said(error) == words


def test_an_untrusted_certificate_is_told_as_such() -> None:
    error = ssl.SSLCertVerificationError(1, "x")
    error.verify_message = "self-signed certificate"
    assert os_words(error) == "its certificate is not trusted: self-signed certificate"


def test_an_error_of_the_system_names_its_file_or_where_it_was_met(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as found:
        os.open(tmp_path / "none", os.O_RDONLY)
    assert place_of(found.value) == str(tmp_path / "none")
    with pytest.raises(OSError, match="Bad file") as found_too:
        sync_directory_of_nothing()
    assert place_of(found_too.value).startswith("it is not known where")
    with pytest.raises(ConnectionRefusedError) as refused, socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        taken.close()
        asyncio.run(connect(Address("127.0.0.1", port)))
    assert place_of(refused.value).startswith("dial.py, line ")


def sync_directory_of_nothing() -> None:
    reading, writing = os.pipe()
    os.close(writing)
    os.close(reading)
    os.fsync(reading)


def test_an_error_has_its_cure_apart_from_what_is_wrong() -> None:
    """A program takes the two fields; a person reads both in one line."""
    error = StateError("it is gone", cure="put it back; or not")
    assert (error.what, error.cure, str(error)) == (
        "it is gone",
        "put it back; or not",
        "it is gone; cure: put it back; or not",
    )
    assert (KeyFileError("it is gone").cure, str(KeyFileError("it is gone"))) == ("", "it is gone")


def test_several_errors_are_one_and_keep_their_cures() -> None:
    """Each part keeps its own cure, however often errors are put together."""
    one, two, three = ConfigError("one", cure="a"), ConfigError("two"), ConfigError("three", cure="c")
    error = ConfigError.together([ConfigError.together([one, two]), three])
    assert type(error) is ConfigError
    assert error.parts == (one, two, three)
    assert str(error) == "one; cure: a\ntwo\nthree; cure: c"


def test_where_an_error_came_up_stands_in_front_of_its_words_and_not_of_its_cure() -> None:
    """The kind of the error, and so the exit code, stay what they were."""
    error = KeyFileError("it is no key", cure="the key").at("/priv/key.json")
    assert (type(error), error.what, error.cure) == (KeyFileError, "/priv/key.json: it is no key", "the key")


def test_bytes_that_are_no_text_are_told_in_words() -> None:
    with pytest.raises(UnicodeDecodeError) as caught:
        b"key\xff".decode()
    assert said(caught.value) == "byte 4 is of no text in UTF-8"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\xef\xbb\xbf{}", "it begins with a byte order mark: save it as UTF-8 without one"),
        ("{}".encode("utf-16"), "it is text in UTF-16: save it as UTF-8, without a byte order mark"),
        (b"{\n  x", "it goes wrong in line 2, column 3"),
        (b"[" * 100_000, "it is nested too deep"),
    ],
)
def test_text_that_is_no_json_is_told_in_words(data: bytes, words: str) -> None:
    with pytest.raises((ValueError, RecursionError)) as caught:
        json.loads(data.decode())
    assert no_json(caught.value) == f"it is no JSON ({words})"
