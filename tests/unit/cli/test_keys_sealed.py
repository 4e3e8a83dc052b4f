"""`cmkms keys encrypt|decrypt`, and every other command that meets a sealed key."""

import json
import os
import pty
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cometkms.keys.validator_key import load_public_key
from cometkms.limits import PASSPHRASE_MIN_BYTES
from cometkms.store.lock import locked_home
from tests.e2e.node import PATIENCE_S, environment, free_port
from tests.unit.cli.inside import cmkms
from tests.unit.cli.test_cli import tree

WORD = "correct horse battery"
CHEAP = ("--memory-mib", "8")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    path = tmp_path / "home"
    done = cmkms("init", "--home", str(path), "--new-key", "--chain-id", "c-1", "--validator-addr", "tcp://127.0.0.1:1")
    assert done.returncode == 0, done.stderr
    return path


@pytest.fixture
def word(tmp_path: Path) -> str:
    path = tmp_path / "word"
    path.write_text(WORD + "\n")
    path.chmod(0o600)
    return str(path)


def key_of(home: Path) -> Path:
    return home / "priv" / "priv_validator_key.json"


@pytest.fixture
def sealed(home: Path, word: str) -> Path:
    done = cmkms("keys", "encrypt", "--home", str(home), *CHEAP, "--passphrase-file", word)
    assert done.returncode == 0, done.stderr
    return home


def test_encrypt_and_decrypt_give_the_file_back_to_the_letter(home: Path, word: str) -> None:
    plain, address = key_of(home).read_bytes(), load_public_key(key_of(home))
    secret = json.loads(plain)["priv_key"]["value"]
    done = cmkms("keys", "encrypt", "--home", str(home), *CHEAP, "--passphrase-file", word)
    assert done.returncode == 0, done.stderr
    assert "Without the passphrase the key is lost" in done.stdout
    assert secret not in done.stdout + key_of(home).read_text()
    assert load_public_key(key_of(home)) == address
    assert key_of(home).stat().st_mode & 0o777 == 0o600
    assert not list(key_of(home).parent.glob(".*"))
    done = cmkms("keys", "decrypt", "--home", str(home), "--passphrase-file", word)
    assert done.returncode == 0, done.stderr
    assert key_of(home).read_bytes() == plain


def test_a_wrong_passphrase_changes_nothing(sealed: Path, tmp_path: Path) -> None:
    before = tree(sealed)
    (tmp_path / "other").write_text("another passphrase")
    (tmp_path / "other").chmod(0o600)
    refused = cmkms("keys", "decrypt", "--home", str(sealed), "--passphrase-file", str(tmp_path / "other"))
    assert refused.returncode == 4
    assert "the passphrase does not open it" in refused.stderr
    assert tree(sealed) == before


def test_what_is_done_already_is_said(home: Path, word: str) -> None:
    refused = cmkms("keys", "decrypt", "--home", str(home), "--passphrase-file", word)
    assert (refused.returncode, "is not sealed" in refused.stderr) == (4, True)
    assert cmkms("keys", "encrypt", "--home", str(home), *CHEAP, "--passphrase-file", word).returncode == 0
    before = tree(home)
    refused = cmkms("keys", "encrypt", "--home", str(home), *CHEAP, "--passphrase-file", word)
    assert (refused.returncode, "is sealed already" in refused.stderr) == (4, True)
    assert tree(home) == before


def test_a_running_node_is_refused(home: Path, word: str) -> None:
    before = tree(home)
    with locked_home(home):
        refused = cmkms("keys", "encrypt", "--home", str(home), *CHEAP, "--passphrase-file", word)
    assert refused.returncode == 6
    assert tree(home) == before


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ((), 4, "nobody is there to type it; cure: --passphrase-file"),
        (("--passphrase-file", "/no/such"), 4, "/no/such cannot be read"),
        (("--passphrase-file", "/etc/hostname"), 4, "chmod 600 /etc/hostname"),
        (("--passphrase-fd", "973"), 4, "descriptor 973 cannot be read"),
        (("--passphrase-credential", "a/b"), 3, "is no credential's name"),
        (("--passphrase-credential", "cmkms"), 4, "LoadCredential=cmkms"),
        (("--passphrase-fd", "3", "--passphrase-credential", "cmkms"), 2, "give one of"),
        (("--memory-mib", "4"), 2, "8<=x<=1024"),
        (("--memory-mib", "2048"), 2, "8<=x<=1024"),
    ],
)
def test_bad_input_is_told_and_nothing_changes(home: Path, arguments: tuple[str, ...], code: int, words: str) -> None:
    before = tree(home)
    refused = cmkms("keys", "encrypt", "--home", str(home), *arguments)
    assert refused.returncode == code, refused.stderr
    assert words in refused.stderr
    assert tree(home) == before


def test_a_passphrase_that_anybody_guesses_is_refused(home: Path, tmp_path: Path) -> None:
    short = tmp_path / "short"
    short.write_text("x" * (PASSPHRASE_MIN_BYTES - 1))
    short.chmod(0o600)
    refused = cmkms("keys", "encrypt", "--home", str(home), *CHEAP, "--passphrase-file", str(short))
    assert refused.returncode == 4
    assert "less than 8 bytes" in refused.stderr


# --- the other commands ---


def test_what_needs_the_public_key_only_needs_no_passphrase(sealed: Path) -> None:
    shown = cmkms("keys", "show", "--home", str(sealed))
    assert shown.returncode == 0, shown.stderr
    assert "Argon2id, 3 passes over 8 MiB" in shown.stdout
    for command in (("state", "show"), ("config", "digest"), ("epoch", "show")):
        done = cmkms(*command, "--home", str(sealed))
        assert done.returncode == 0, (command, done.stderr)


def test_a_sealed_key_is_copied_sealed(sealed: Path, tmp_path: Path) -> None:
    """`keys import` and `testnet --key-file` never see the plain one."""
    other = tmp_path / "other"
    assert cmkms("init", "--home", str(other), "--chain-id", "c-1").returncode == 0
    done = cmkms("keys", "import", "--home", str(other), str(key_of(sealed)))
    assert done.returncode == 0, done.stderr
    assert key_of(other).read_bytes() == key_of(sealed).read_bytes()
    done = cmkms("testnet", "--dir", str(tmp_path / "net"), "--chain-id", "c-1", "--key-file", str(key_of(sealed)))
    assert done.returncode == 0, done.stderr
    assert "The key is sealed" in done.stdout
    for node in (tmp_path / "net").iterdir():
        assert key_of(node).read_bytes() == key_of(sealed).read_bytes()
    bent = tmp_path / "bent"
    bent.write_text(key_of(sealed).read_text().replace("argon2id13", "argon2i"))
    bent.chmod(0o600)
    key_of(other).unlink()
    refused = cmkms("keys", "import", "--home", str(other), str(bent))
    assert (refused.returncode, "its kdf is 'argon2i'" in refused.stderr) == (4, True)


def test_the_digest_of_a_cluster_needs_the_passphrase_once(sealed: Path, tmp_path: Path, word: str) -> None:
    """Its nodes know each other by what is derived from the key."""
    arguments = ("--dir", str(tmp_path / "net"), "--chain-id", "c-1", "--key-file", str(key_of(sealed)))
    assert cmkms("testnet", *arguments).returncode == 0
    node = tmp_path / "net" / "node1"
    refused = cmkms("config", "digest", "--home", str(node))
    assert (refused.returncode, "a passphrase is needed" in refused.stderr) == (4, True)
    (node / "config.toml").write_text(f'key_passphrase_file = "{word}"\n' + (node / "config.toml").read_text())
    done = cmkms("config", "digest", "--home", str(node))
    assert done.returncode == 0, done.stderr
    assert "member   node1" in done.stdout


def at_a_terminal(*arguments: str, typed: list[str], until: bytes = b"") -> tuple[int, str]:
    """Run the command at a terminal of its own; each text is typed at the next prompt.

    `until`: what ends it, with Ctrl-C, once it is shown.
    """
    pid, terminal = pty.fork()
    if pid == 0:  # pragma: no cover - the child
        # a shell's background jobs inherit it as ignored
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.execve(sys.executable, [sys.executable, "-m", "cometkms", *arguments], environment())
    shown = since = b""
    left = list(typed)
    while True:
        ready, _, _ = select.select([terminal], [], [], PATIENCE_S)
        assert ready, shown
        try:
            part = os.read(terminal, 4096)
        except OSError:  # Linux says so when the other end is closed
            break
        if not part:
            break
        shown, since = shown + part, since + part
        if until and until in shown:
            until = b""
            os.kill(pid, signal.SIGINT)
        if left and since.rstrip().endswith(b":"):  # a prompt that was not answered yet
            since = b""
            os.write(terminal, left.pop(0).encode() + b"\n")
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    return os.waitstatus_to_exitcode(status), shown.decode()


def test_the_prompt_hides_and_asks_twice(home: Path) -> None:
    plain = key_of(home).read_bytes()
    code, shown = at_a_terminal("keys", "encrypt", "--home", str(home), *CHEAP, typed=[WORD, WORD])
    assert code == 0, shown
    assert WORD not in shown
    assert json.loads(key_of(home).read_text())["sealed_key"]["memory_mib"] == 8
    code, shown = at_a_terminal("keys", "decrypt", "--home", str(home), typed=[WORD])
    assert code == 0, shown
    assert key_of(home).read_bytes() == plain


def test_two_different_texts_at_the_prompt_seal_nothing(home: Path) -> None:
    before = tree(home)
    _, shown = at_a_terminal("keys", "encrypt", "--home", str(home), *CHEAP, typed=[WORD, "another", "\x03"])
    assert "do not match" in shown
    assert tree(home) == before


def test_a_descriptor_as_the_shell_opens_it(home: Path, word: str) -> None:
    command = f"{sys.executable} -m cometkms keys encrypt --home {home} --memory-mib 8 --passphrase-fd 3 3<{word}"
    done = subprocess.run(["sh", "-c", command], env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    command = f"printf '%s' '{WORD}' | {sys.executable} -m cometkms keys decrypt --home {home} --passphrase-fd 0"
    done = subprocess.run(["sh", "-c", command], env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_start_at_a_terminal_asks_for_the_passphrase(sealed: Path) -> None:
    """The right one opens the key in the signer; a wrong one ends the start."""
    where = ("--home", str(sealed), "--http-addr", f"127.0.0.1:{free_port()}")
    code, shown = at_a_terminal("start", *where, typed=[WORD], until=b"child=signer")
    assert code == 0, shown
    assert WORD not in shown
    code, shown = at_a_terminal("start", *where, typed=["something else"])
    assert code == 4, shown
    assert "does not open it" in shown
