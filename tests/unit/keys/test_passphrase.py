"""Passphrases: every source, what each refuses, and that nothing is left behind."""

import os
from pathlib import Path

import pytest

from cometkms.errors import KeyFileError
from cometkms.keys.passphrase import (
    Passphrase,
    PassphraseCredential,
    PassphraseDescriptor,
    PassphraseFile,
    PassphraseHeld,
    hold,
)
from cometkms.limits import PASSPHRASE_MAX_BYTES


def file_with(tmp_path: Path, data: bytes, mode: int = 0o600) -> Path:
    path = tmp_path / "passphrase"
    path.write_bytes(data)
    path.chmod(mode)
    return path


@pytest.mark.parametrize("written", [b"a word", b"a word\n", b"a word\r\n"])
def test_a_lines_end_is_no_part_of_it(tmp_path: Path, written: bytes) -> None:
    with PassphraseFile(file_with(tmp_path, written)).read() as passphrase:
        assert passphrase.view == b"a word"


def test_only_one_lines_end_is_taken(tmp_path: Path) -> None:
    assert PassphraseFile(file_with(tmp_path, b" two\n\n")).read().view == b" two\n"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_file_that_others_can_read_is_refused_with_the_cure(tmp_path: Path, mode: int) -> None:
    path = file_with(tmp_path, b"a word", mode)
    with pytest.raises(KeyFileError, match=f"chmod 600 {path}"):
        PassphraseFile(path).read()


@pytest.mark.parametrize("written", [b"", b"\n", b"\r\n"])
def test_an_empty_one_is_refused(tmp_path: Path, written: bytes) -> None:
    with pytest.raises(KeyFileError, match="is empty"):
        PassphraseFile(file_with(tmp_path, written)).read()


def test_the_longest_fits_and_a_longer_one_is_refused(tmp_path: Path) -> None:
    longest = b"x" * PASSPHRASE_MAX_BYTES
    assert PassphraseFile(file_with(tmp_path, longest + b"\r\n")).read().view == longest
    for endless in (longest + b"x", longest * 100):
        with pytest.raises(KeyFileError, match="more than 1024"):
            PassphraseFile(file_with(tmp_path, endless)).read()
    with pytest.raises(KeyFileError, match="more than 1024"):
        Passphrase.of_text("x" * (PASSPHRASE_MAX_BYTES + 1))


def test_a_missing_file_and_a_directory_are_named(tmp_path: Path) -> None:
    for path in (tmp_path / "no", tmp_path):
        with pytest.raises(KeyFileError, match=f"{path} cannot be read"):
            PassphraseFile(path).read()


def test_a_credential_is_found_below_its_directory_whatever_its_mode_shows(tmp_path: Path) -> None:
    """systemd grants by an access list, which shows as a group's permission."""
    path = file_with(tmp_path, b"a word", 0o440)
    environment = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert PassphraseCredential(path.name, environment).read().view == b"a word"
    with pytest.raises(KeyFileError, match="LoadCredential=passphrase"):
        PassphraseCredential(path.name, {}).read()


def test_a_descriptor_is_read_in_parts_to_its_end_and_closed() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"a ")
    os.write(writing, b"word\n")
    os.close(writing)
    source = PassphraseDescriptor(reading)
    assert source.read().view == b"a word"
    with pytest.raises(KeyFileError, match=f"descriptor {reading} cannot be read"):
        source.read()


def test_what_can_be_read_once_is_held_and_what_can_be_read_again_is_not(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"a word")
    os.close(writing)
    held = hold(PassphraseDescriptor(reading))
    assert isinstance(held, PassphraseHeld)
    for _ in range(2):
        with held.read() as copy:
            assert copy.view == b"a word"
    held.forget()
    held.forget()
    with pytest.raises(KeyFileError, match="gave the passphrase up"):
        held.read()
    file = PassphraseFile(file_with(tmp_path, b"x"))
    assert hold(file) is file
    assert hold(None) is None


def test_nothing_shows_it_and_the_end_wipes_it() -> None:
    with Passphrase.of_text("a word") as passphrase:
        assert passphrase.view == Passphrase.of_text("a word").view
        view = passphrase.view
        assert "word" not in repr(passphrase)
    assert bytes(view) == bytes(6)
    assert passphrase.view == b""
