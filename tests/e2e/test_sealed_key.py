"""A whole node on a sealed key: every way to give the passphrase, a signer that comes back, and
where the passphrase is not.
"""

import base64
import json
import os
import re
import secrets
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.cluster import Cluster
from tests.e2e.node import PRECOMMIT, PREVOTE, Node, Validator, cmkms, free_tcp, until

WORD = f"a passphrase {secrets.token_hex(8)}"
MakeNode = Callable[..., Node]
MakeValidator = Callable[..., Validator]


def write_word(path: Path, mode: int = 0o600) -> Path:
    path.write_text(WORD + "\n")
    path.chmod(mode)
    return path


def seal(node: Node, word: Path) -> Node:
    done = cmkms("keys", "encrypt", "--home", str(node.home), "--memory-mib", "8", "--passphrase-file", str(word))
    assert done.returncode == 0, done.stderr
    return node


@pytest.fixture
def word(tmp_path: Path) -> Path:
    return write_word(tmp_path / "word")


@pytest.mark.parametrize(
    ("way", "key_type"),
    [("variable", "ed25519"), ("credential", "ed25519"), ("variable", "secp256k1"), ("variable", "bls12_381")],
)
def test_each_way_opens_the_key_at_every_start_of_the_signer(
    make_node: MakeNode, make_validator: MakeValidator, word: Path, tmp_path: Path, way: str, key_type: str
) -> None:
    address = free_tcp()
    node = seal(make_node(address, key_type=key_type), word)
    arguments, variables = [], {}
    if way == "variable":
        variables = {"COMETKMS_KEY_PASSPHRASE_FILE": str(word)}
    else:
        (tmp_path / "run").mkdir()
        write_word(tmp_path / "run" / "cmkms", 0o440)  # as an access list shows
        arguments = ["--key-passphrase-credential", "cmkms"]
        variables = {"CREDENTIALS_DIRECTORY": str(tmp_path / "run")}
    node.start(*arguments, **variables)
    validator = make_validator(address, "v1")
    validator.connect()
    validator.must_sign(PREVOTE, 1)
    assert node.stop() == 0


def memory_of(pid: int) -> bytes:
    """Everything that the process can write."""
    found = b""
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            start, end, modes = re.match(r"(\w+)-(\w+) (\S+)", line).groups()
            if modes.startswith("rw") and "[v" not in line:
                memory.seek(int(start, 16))
                try:
                    found += memory.read(int(end, 16) - int(start, 16))
                except OSError:  # a guard page
                    continue
    return found


def test_a_descriptors_passphrase_outlives_the_signer_and_is_in_no_other_child(
    make_node: MakeNode, make_validator: MakeValidator, word: Path
) -> None:
    """It can be read once, and the signer may have to open the key again."""
    address = free_tcp()
    node = seal(make_node(address), word)
    reading = os.open(word, os.O_RDONLY)
    os.set_inheritable(reading, True)
    node.start("--key-passphrase-fd", str(reading), inherit=(reading,))
    os.close(reading)
    validator = make_validator(address)
    validator.connect()
    validator.must_sign(PREVOTE, 1)
    first = node.child("signer")["pid"]
    os.kill(first, signal.SIGKILL)
    until("the signer is started again", lambda: node.child("signer")["pid"] not in (0, first))
    validator.connect()
    validator.must_sign(PRECOMMIT, 1)
    assert node.process is not None
    assert WORD.encode() in memory_of(node.process.pid), "the supervisor keeps it: else this test sees nothing"
    for name in ("state", "api"):
        assert WORD.encode() not in memory_of(node.child(name)["pid"]), name


@pytest.mark.parametrize("sealed", [False, True], ids=["plain", "sealed"])
def test_no_copy_of_seed_or_passphrase_outlives_the_loading(
    make_node: MakeNode, make_validator: MakeValidator, word: Path, sealed: bool
) -> None:
    """The seed is in the page that libsodium guards, read-only, and nowhere else; not
    as text either.
    """
    address = free_tcp()
    node = make_node(address)
    text = json.loads(node.key_path.read_text())["priv_key"]["value"].encode()
    if sealed:
        seal(node, word)
    node.start("--key-passphrase-file", str(word))
    validator = make_validator(address)
    validator.connect()
    validator.must_sign(PREVOTE, 1)
    seed = base64.b64decode(text)[:32]
    assert node.process is not None
    for pid in (node.process.pid, *(node.child(name)["pid"] for name in ("state", "signer", "api"))):
        if pid == node.child("signer")["pid"] and os.geteuid() != 0:
            # it is not dumpable: its own user cannot look either
            with pytest.raises(PermissionError):
                memory_of(pid)
            continue
        memory = memory_of(pid)
        assert str(node.home).encode() in memory, "the process's objects are there"
        for secret in (seed, text[:40], WORD.encode()):
            assert secret not in memory


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "is sealed with a passphrase, and none is given"),
        (("--key-passphrase-file", "WRONG"), "the passphrase does not open it"),
        (("--key-passphrase-credential", "cmkms"), "LoadCredential=cmkms"),
    ],
)
def test_a_key_that_does_not_open_ends_the_start_with_the_cure(
    make_node: MakeNode, word: Path, tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    node = seal(make_node(free_tcp()), word)
    wrong = tmp_path / "wrong"
    wrong.write_text("something else")
    wrong.chmod(0o600)
    given = [str(wrong) if one == "WRONG" else one for one in arguments]
    done = cmkms("start", "--home", str(node.home), "--http-addr", f"127.0.0.1:{node.http_port}", *given)
    assert done.returncode == 4, done.stderr
    assert words in done.stderr
    assert WORD not in done.stderr + done.stdout
    assert not (node.home / "data" / "node0" / "promises").exists()


def test_a_cluster_of_sealed_keys_knows_each_other(tmp_path: Path, word: Path, make_validator: MakeValidator) -> None:
    """The cluster's secret is derived from the seed, in a child that opens the key as
    the signer does.
    """
    address = free_tcp()
    cluster = Cluster(tmp_path, 3, address)
    try:
        seal(cluster.nodes["node0"], word)
        seal(cluster.nodes["node1"], word)  # with a salt of its own; node2's stays plain
        for name in ("node0", "node1"):
            cluster.extra[name] = ["--key-passphrase-file", str(word)]
        cluster.start()
        cluster.wait_leader()
        validator = make_validator(address)
        validator.connect()
        validator.must_sign(PREVOTE, 1)
    finally:
        cluster.stop()
