"""A node that root starts, in homes of every kind; what others can write; and what is
left of a passphrase.
"""

import os
import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from cometkms.limits import API_UID, AUDIT_UID, SIGNER_UID, STATE_UID
from tests.e2e.node import CHAIN, PRECOMMIT, PREVOTE, Node, Validator, alive, children_of, cmkms, free_tcp, until

MakeNode = Callable[..., Node]
MakeValidator = Callable[..., Validator]
AS_ROOT = os.geteuid() == 0
ALICE = 62_600
ACCOUNTS = {"state": STATE_UID, "signer": SIGNER_UID, "api": API_UID, "audit": AUDIT_UID}


def uid_of(pid: int) -> int:
    return int(re.findall(r"^Uid:\s+(\d+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)[0])


def helpers_of(node: Node) -> list[int]:
    """What the state process and the signer have forked, and the supervisor adopted."""
    assert node.process is not None
    known = {child["pid"] for child in node.status()["children"]}
    return [pid for pid in children_of(node.process.pid) if pid not in known and alive(pid)]


def owners(home: Path) -> dict[str, int]:
    return {str(path.relative_to(home)): path.lstat().st_uid for path in home.rglob("*")}


def give(home: Path, uid: int) -> None:
    for path in (home, *home.rglob("*")):
        os.chown(path, uid, uid, follow_symlinks=False)


@pytest.mark.parametrize("owner", [0, ALICE], ids=["root's", "alice's"])
def test_each_process_is_somebody_else_and_the_home_stays_whose_it_was(
    owner: int, make_node: MakeNode, make_validator: MakeValidator
) -> None:
    """Twice: the second start finds what the first left.

    Then as a start before had left it, all root's.
    """
    address = free_tcp()
    node, validator = make_node(address), make_validator(address)
    if AS_ROOT:
        give(node.home, owner)
    for height in (1, 2, 3):
        node.start()
        validator.connect()
        validator.must_sign(PREVOTE, height)
        until("the state file follows", lambda at=height: node.file_state()["height"] == str(at))
        if AS_ROOT:
            until("the audit process is up", lambda: node.child("audit")["state"] == "running")
            assert {name: uid_of(node.child(name)["pid"]) for name in ACCOUNTS} == ACCOUNTS
            assert [uid_of(pid) for pid in helpers_of(node)] == [owner], "who writes beside the keys"
        assert node.stop() == 0
        if AS_ROOT:
            found = owners(node.home)
            assert found["data/node0"] == found["data/node0/promises"] == STATE_UID
            assert found["data/node0/audit"] == found["data/node0/audit/000000000001.jsonl"] == AUDIT_UID
            assert {uid for path, uid in found.items() if path.startswith("priv") and "identity" not in path} == {owner}
            if height == 2:
                give(node.home / "data", 0)


def test_a_home_of_anothers_has_root_sign_with_no_key_of_roots(make_node: MakeNode) -> None:
    """Its settings, which are that user's, would choose the validator and the watermark."""
    if not AS_ROOT:
        return
    roots, node = make_node(free_tcp()), make_node(free_tcp())
    chain = {"id": CHAIN, "key_file": roots.key_path, "state_file": node.state_path, "validator_addr": free_tcp()}
    lines = [f'{name} = "{value}"' for name, value in chain.items()]
    (node.home / "config.toml").write_text("\n".join(["[[chain]]", *lines, ""]))
    give(node.home, ALICE)
    done = cmkms("start", "--home", str(node.home), "--http-addr", f"127.0.0.1:{node.http_port}")
    assert done.returncode == 9
    assert f"{roots.key_path} belongs to uid 0" in done.stderr


def test_a_link_in_the_data_directory_is_not_given_away(make_node: MakeNode, tmp_path: Path) -> None:
    """What a process left there that was taken over: root does not fall for it."""
    if not AS_ROOT:
        return
    node = make_node(free_tcp())
    node.start()
    assert node.stop() == 0
    (tmp_path / "roots").write_text("root's own")
    (node.home / "data" / "node0" / "trap").hardlink_to(tmp_path / "roots")
    done = cmkms("start", "--home", str(node.home), "--http-addr", f"127.0.0.1:{node.http_port}")
    assert done.returncode == 9
    assert "trap" in done.stderr
    assert (tmp_path / "roots").stat().st_uid == 0


def test_a_process_that_is_killed_comes_back_as_the_same_account(
    make_node: MakeNode, make_validator: MakeValidator
) -> None:
    address = free_tcp()
    node, validator = make_node(address), make_validator(address)
    node.start()
    validator.connect()
    validator.must_sign(PREVOTE, 1)
    for name in ("state", "api", "audit", "signer"):
        until(f"{name} runs", lambda which=name: node.child(which)["state"] == "running")
        pid = node.child(name)["pid"]
        os.kill(pid, signal.SIGKILL)
        until("it is started again", lambda which=name, old=pid: _another(node, which, old))
        if AS_ROOT:
            assert uid_of(node.child(name)["pid"]) == ACCOUNTS[name]
    until("it signs", node.healthy)
    validator.connect()
    validator.must_sign(PRECOMMIT, 2)
    writer = helpers_of(node)[0]
    state = node.child("state")["pid"]
    # its end is the state process's: no state file is left behind in silence
    os.kill(writer, signal.SIGKILL)
    validator.must_sign(PRECOMMIT, 3)
    until("the state process is started again", lambda: _another(node, "state", state))
    validator.connect()
    validator.must_sign(PRECOMMIT, 4)
    until("the state file follows", lambda: node.file_state()["height"] == "4")
    for pid in helpers_of(node):
        os.kill(pid, signal.SIGSTOP)
    node.kill()  # with everything that it started, what stands still included


def _another(node: Node, name: str, old: int) -> bool:
    try:
        child = node.child(name)
    except OSError:  # the api process itself
        return False
    return bool(child["state"] == "running" and child["pid"] not in (0, old))


@pytest.mark.parametrize("place", ["", "priv", "data", "data/node0", "config.toml", "priv/priv_validator_key.json"])
def test_what_others_can_write_is_no_start_and_the_cure_is_the_command(place: str, make_node: MakeNode) -> None:
    node = make_node(free_tcp())
    (node.home / "data" / "node0").mkdir(mode=0o700)
    path = node.home / place
    path.chmod(path.stat().st_mode | 0o022)
    done = cmkms("start", "--home", str(node.home), "--http-addr", f"127.0.0.1:{node.http_port}")
    assert done.returncode == 9, done.stderr
    cures = re.findall(r"cure: chmod (\S+) ([^;\n]+)", done.stderr)
    assert cures == [("go-w", str(path))]
    path.chmod(path.stat().st_mode & ~0o022)
    node.start()
    assert node.stop() == 0


def memory_of(pid: int, wanted: bytes) -> int:
    """How often it stands in what the process can write to."""
    count = 0
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            area = re.match(r"([0-9a-f]+)-([0-9a-f]+) r", line)
            if area is not None:
                begin, end = (int(one, 16) for one in area.groups())
                try:
                    memory.seek(begin)
                    count += memory.read(end - begin).count(wanted)
                except (OSError, ValueError, OverflowError):
                    continue
    return count


def test_a_passphrase_from_a_descriptor_is_in_the_supervisor_and_nowhere_else(
    make_node: MakeNode, make_validator: MakeValidator, tmp_path: Path
) -> None:
    """Where the signer is started again from. Looked for in the memory of each process, as root."""
    if not AS_ROOT:
        return
    by_tcp, by_socket = free_tcp(), f"unix://{tmp_path}/v.sock"
    node = make_node(by_tcp, by_socket)
    validators = [make_validator(by_tcp), make_validator(by_socket)]
    word = b"a word that is nowhere else 4711"
    (tmp_path / "word").write_bytes(word + b"\n")
    (tmp_path / "word").chmod(0o600)
    sealing = ["keys", "encrypt", "--memory-mib", "8", "--passphrase-file", str(tmp_path / "word")]
    assert cmkms(*sealing, "--home", str(node.home)).returncode == 0
    reading, writing = os.pipe()
    os.write(writing, word)
    os.close(writing)
    node.start("--key-passphrase-fd", str(reading), inherit=(reading,))
    os.close(reading)
    for validator in validators:
        validator.connect()
        validator.must_sign(PREVOTE, 1)
    assert node.process is not None
    for _ in range(2):
        until("the audit process is up", lambda: node.child("audit")["state"] == "running")

        def all_there() -> dict[str, int] | None:
            """The helpers of the signer that was killed end a moment after it."""
            found = {name: node.child(name)["pid"] for name in ACCOUNTS}
            found |= {f"helper {number}": pid for number, pid in enumerate(helpers_of(node))}
            return found if len(found) == 6 and all(found.values()) else None

        pids = until("six processes", all_there)
        assert {name: memory_of(pid, word) for name, pid in pids.items()} == dict.fromkeys(pids, 0)
        assert memory_of(node.process.pid, word) >= 1
        os.kill(pids["signer"], signal.SIGKILL)
        until("the signer is started again", lambda old=pids["signer"]: _another(node, "signer", old))
        validators[0].connect()
    assert node.stop() == 0


def test_a_passphrase_from_stdin_is_open_in_no_process(make_node: MakeNode, tmp_path: Path) -> None:
    """A file that was read to its end is read again by whoever has it open: the process that talks
    HTTP to strangers, too.
    """
    node = make_node(free_tcp())
    word = tmp_path / "word"
    word.write_text("a word that is nowhere else 4712\n")
    word.chmod(0o600)
    sealing = ["keys", "encrypt", "--memory-mib", "8", "--passphrase-file", str(word)]
    assert cmkms(*sealing, "--home", str(node.home)).returncode == 0
    node.before = ("/bin/sh", "-c", f'exec "$@" < {word}', "sh")
    node.start("--key-passphrase-fd", "0")
    assert node.process is not None
    pids = {node.child(name)["pid"] for name in ACCOUNTS} | set(helpers_of(node)) | {node.process.pid}
    for pid in sorted(pids):
        assert os.readlink(f"/proc/{pid}/fd/0") == os.devnull
    assert node.stop() == 0
