"""Files that an operator names: a pipe is read to its end, one that nobody writes into is given up,
one without end is read up to its bound.
"""

import os
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cometkms import durable
from cometkms.cli.commands import cli
from cometkms.errors import CometKMSError, KeyFileError, StateError
from tests.e2e.node import cmkms

#: Commands that read a file besides the home's own, behind whose arguments its path is put.
COMMANDS = {
    "keys import": ("keys", "import"),
    "keys encrypt": ("keys", "encrypt", "--memory-mib", "8", "--passphrase-file"),
    "state import": ("state", "import"),
    "epoch begin": ("epoch", "begin", "--seal-file"),
    "member add": ("member", "add", "node1=127.0.0.1:9", "node0=127.0.0.1:8", "--yes", "--seal-file"),
    "recover": ("recover", "--yes", "--from-store"),
    "import, a key": ("import", "--from", "filepv", "--never-signed", "--key-file"),
    "import, a state": ("import", "--from", "filepv", "--state-file"),
}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    path = tmp_path / "home"
    done = cmkms("init", "--home", str(path), "--new-key", "--chain-id", "c-1", "--validator-addr", "tcp://127.0.0.1:1")
    assert done.returncode == 0, done.stderr
    return path


def invoke(home: Path, *arguments: str) -> Result:
    verb, *rest = arguments
    return CliRunner().invoke(cli, [verb, *rest, *(["--home", str(home)])], standalone_mode=False)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_pipe_that_nobody_writes_into_and_a_file_without_end_are_refused(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setattr(durable, "GIVEN_FILE_S", 0.05)
    os.mkfifo(tmp_path / "pipe", 0o600)
    before = sorted(home.rglob("*"))
    for path in (tmp_path / "pipe", Path("/dev/zero"), tmp_path):
        refused = invoke(home, *COMMANDS[command], str(path))
        assert isinstance(refused.exception, CometKMSError), refused
        assert str(refused.exception)
    assert [one for one in sorted(home.rglob("*")) if one.suffix != ".lock" and one.name != "seals"] == [
        one for one in before if one.suffix != ".lock"
    ]


def test_a_pipe_is_read_to_its_end(home: Path, tmp_path: Path) -> None:
    """As the shell's <(command) is one: in pieces, and whenever they come."""
    key = home / "priv" / "priv_validator_key.json"
    content = key.read_bytes()
    key.unlink()
    os.mkfifo(tmp_path / "pipe", 0o600)

    def write() -> None:
        with (tmp_path / "pipe").open("wb", buffering=0) as pipe:
            pipe.write(content[:50])
            pipe.write(content[50:])

    writer = threading.Thread(target=write)
    writer.start()
    done = invoke(home, "keys", "import", str(tmp_path / "pipe"))
    writer.join()
    assert done.exception is None, done
    assert key.read_bytes() == content


def test_what_helps_is_the_file_itself_and_not_its_mode(home: Path) -> None:
    key = home / "priv" / "priv_validator_key.json"
    key.unlink()
    os.mkfifo(key, 0o600)
    refused = invoke(home, "keys", "show")
    assert isinstance(refused.exception, KeyFileError)
    assert str(refused.exception).endswith(
        "it is no regular file; cure: put the file itself there, in place of what is there now"
    )


def test_a_seal_file_that_is_a_pipe_without_a_writer_is_told(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(durable, "GIVEN_FILE_S", 0.05)
    os.mkfifo(tmp_path / "pipe", 0o600)
    refused = invoke(home, "epoch", "begin", "--seal-file", str(tmp_path / "pipe"))
    assert isinstance(refused.exception, StateError)
    assert "nothing came from it" in str(refused.exception)
