"""The walls between the processes of one node: what code in one of them does to the others.

Real processes, all of them.
"""

import base64
import contextlib
import json
import os
import re
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pytest
from nacl.signing import VerifyKey

from cometkms.core import choose
from cometkms.keys.cluster import _cluster_secret
from cometkms.keys.source import key_source
from tests.e2e.node import CHAIN, HAS_NOT_FAILED, PREVOTE, Node, children_of, cmkms, free_port, free_tcp, until
from tests.e2e.receiver import Receiver
from tests.e2e.test_audit import sign_bytes_of

CHILDREN = ("state", "signer", "audit", "api")
BUSY = 6


def in_hands_of_an_attacker(node: Node, child: str, payload: str) -> Node:
    node.program = [sys.executable, "-m", "tests.attacks.taken", child, payload]
    return node


def found_by(node: Node, payload: str) -> Any:
    """What the payload said it got."""

    def said() -> dict[str, Any] | None:
        lines = [line for line in node.log().splitlines() if line.startswith('{"payload": "' + payload)]
        return json.loads(lines[-1]) if lines else None

    return until(f"the payload ran\n{node.log()}", said)["found"]


def pids_of(node: Node) -> dict[str, int]:
    return {child["name"]: child["pid"] for child in node.status()["children"]}


@pytest.fixture
def attacker() -> Iterator[socket.socket]:
    """Where the attacker waits for a signer that dials him."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        yield listener


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[str]:
    """A service manager that listens: the supervisor reads the sections to tell it how the node is."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        path = str(tmp_path / "notify")
        listener.bind(path)
        yield path


@pytest.mark.parametrize("child", CHILDREN)
def test_code_in_one_child_steers_no_other_process(
    child: str,
    make_node: Callable[..., Node],
    make_validator: Callable[..., Any],
    attacker: socket.socket,
    manager: str,
) -> None:
    """It forges a reload with the attacker's validator, a heartbeat that has the signer killed,
    unlocks the home for a second node, and leaves in its own section whatever could end a reader. A
    signer that starts meanwhile is the old one's heir, and not the attacker's.
    """
    validator = make_validator(free_tcp())
    node = in_hands_of_an_attacker(make_node(validator.address), child, "everything")
    node.start(
        wait=False,
        ATTACKER=f"tcp://127.0.0.1:{attacker.getsockname()[1]}",
        ATTACKED_CHAIN=CHAIN,
        NOTIFY_SOCKET=manager,
    )
    assert found_by(node, "everything") == []
    found_by(node, "spoiled")
    before = until("all processes run", lambda: all_run(node))
    validator.connect()
    validator.must_sign(PREVOTE, 5)
    refuses_a_second_start(node)
    answers_all(node, child)
    os.kill(before["signer"], signal.SIGKILL)  # what he wanted: a signer that starts now
    until("another signer", lambda: (all_run(node) or before)["signer"] != before["signer"])
    validator.connect()
    validator.must_sign(PREVOTE, 6)
    with pytest.raises(BlockingIOError):
        attacker.accept()
    assert {**pids_of(node), "signer": 0} == {**before, "signer": 0}
    died = re.findall(r"^E\[[^]]*\] child died .*", node.log(), re.MULTILINE)
    assert [("child=signer" in line, "SIGKILL" in line) for line in died] == [(True, True)]
    assert "child hangs" not in node.log()
    assert "request failed" not in node.log()


def refuses_a_second_start(node: Node) -> None:
    assert node.process is not None
    second = cmkms("start", "--home", str(node.home), "--http-addr", f"127.0.0.1:{free_port()}")
    assert second.returncode == BUSY, second.stderr
    assert f"pid {node.process.pid}" in second.stderr
    for pid in children_of(node.process.pid):
        assert [entry for entry in listed(Path(f"/proc/{pid}/fdinfo")) if is_flock(entry)] == []


def listed(directory: Path) -> list[Path]:
    """Of a process that may have ended meanwhile, as those do that open a key or connect once: then
    it has nothing any more.
    """
    try:
        return list(directory.iterdir())
    except (FileNotFoundError, ProcessLookupError):
        return []


def link_of(entry: Path) -> str:
    """Likewise of a descriptor."""
    try:
        return os.readlink(entry)
    except (FileNotFoundError, ProcessLookupError):
        return ""


def answers_all(node: Node, spoilt: str) -> None:
    for path in ("/status", "/metrics", "/"):
        assert node.fetch(path)[0] == 200
    if spoilt in ("state", "signer"):
        words = f"what the {spoilt} process says of itself is not all of its form"
        until("the page says so", lambda: any(words in one for one in node.status()["warnings"]))


def all_run(node: Node) -> dict[str, int] | None:
    try:
        pids = pids_of(node)
    except OSError:
        return None
    return pids if set(pids) == set(CHILDREN) and all(pids.values()) else None


def is_flock(entry: Path) -> bool:
    """Whether that descriptor stands for the home's own lock."""
    try:
        return re.search(r"^lock:.*FLOCK .*WRITE", entry.read_text(), re.MULTILINE) is not None and str(
            os.readlink(entry.parent.parent / "fd" / entry.name)
        ).endswith("cmkms.lock")
    except OSError:
        return False


def test_code_in_the_process_that_sends_alerts_reaches_its_receiver_and_nothing_else(
    make_node: Callable[..., Node],
    make_validator: Callable[..., Any],
    make_receiver: Callable[..., Receiver],
    attacker: socket.socket,
    tmp_path: Path,
) -> None:
    """It makes no socket, opens neither the key nor the file with the address, and who connects for
    it takes no address from it.
    """
    receiver, validator = make_receiver(), make_validator(free_tcp())
    node = in_hands_of_an_attacker(make_node(validator.address), "webhook", "reach_out")
    secret = tmp_path / "address"
    secret.write_text(receiver.url(host="127.0.0.1") + "\n")
    secret.chmod(0o600)
    elsewhere = f"127.0.0.1:{attacker.getsockname()[1]}"
    precious = f"{node.key_path}:{secret}:/etc/shadow:{node.home}/priv/identity_key.json"
    node.start("--alert-webhook-file", str(secret), wait=False, ELSEWHERE=elsewhere, PRECIOUS=precious)
    assert found_by(node, "reach_out") == []
    with pytest.raises(BlockingIOError):
        attacker.accept()
    assert receiver.asked == []
    validator.connect()
    validator.must_sign(PREVOTE, 5)


@pytest.mark.parametrize("payload", ["forge_the_board", "unlock_everything"])
def test_code_in_the_process_that_sends_alerts_steers_no_other(
    payload: str, make_node: Callable[..., Node], make_receiver: Callable[..., Receiver], attacker: socket.socket
) -> None:
    node = in_hands_of_an_attacker(make_node(free_tcp()), "webhook", payload)
    address = f"tcp://127.0.0.1:{attacker.getsockname()[1]}"
    url = make_receiver().url()
    node.start("--alert-webhook", url, wait=False, ATTACKER=address, ATTACKED_CHAIN=CHAIN)
    assert found_by(node, payload) == []
    with pytest.raises(BlockingIOError):
        attacker.accept()


def test_what_code_in_the_audit_process_leaves_in_its_directory_ends_no_start(
    make_node: Callable[..., Node], make_validator: Callable[..., Any]
) -> None:
    """A directory, a file that cannot be read, one without end, in the place of the
    log's next files.
    """
    validator = make_validator(free_tcp())
    node = in_hands_of_an_attacker(make_node(validator.address), "audit", "leave_snares").start(wait=False)
    assert found_by(node, "leave_snares") == []
    validator.connect()
    validator.must_sign(PREVOTE, 5)
    assert node.stop() == 0
    node.program = [sys.executable, "-m", "cometkms"]
    node.start(wait=False)
    until("all processes run", lambda: all_run(node))
    validator.connect()
    validator.must_sign(PREVOTE, 6)
    until("the log says it", lambda: "the audit log was changed" in node.log())
    until("it is written on", lambda: node.status()["audit"]["records"] > 0)
    assert {child["last_exit"] for child in node.status()["children"]} <= HAS_NOT_FAILED


def test_code_in_the_state_process_has_nothing_signed_that_was_not_asked_for(
    make_node: Callable[..., Node], make_validator: Callable[..., Any]
) -> None:
    """It decides what is permitted, and the slot what is signed: the request's own bytes, above
    what was signed, or none.
    """
    validator = make_validator(free_tcp())
    node = in_hands_of_an_attacker(make_node(validator.address), "state", "forge_permits")
    node.start(wait=False, COMETKMS_PURE="1")  # every permit passes through the code that is his
    key = VerifyKey(bytes.fromhex(validator.connect()))
    assert found_by(node, "forge_permits") == []
    for height in (5, 6):  # asked again and again, until it is honest
        answer = validator.must_sign(PREVOTE, height)
        key.verify(sign_bytes_of(PREVOTE, height), bytes.fromhex(answer["signature"]))
    assert found_by(node, "forged_permits") == 20
    until("it is counted", lambda: node.status()["chains"][0]["counters"]["signed"] == 2)
    assert node.log().count("] signed ") == 2


# --- secrets ---


def memory_of(pid: int) -> Iterator[bytes]:
    """All that a process has mapped, piece by piece.

    Root's right; others are refused by the kernel, which is a wall, too.

    Nothing of one that has ended meanwhile.
    """
    with contextlib.ExitStack() as opened:
        try:
            spans = [line.split() for line in Path(f"/proc/{pid}/maps").read_text().splitlines()]
            memory = opened.enter_context(open(f"/proc/{pid}/mem", "rb", buffering=0))
        except (FileNotFoundError, ProcessLookupError):
            return
        for span, mode, *_ in spans:
            begin, end = (int(one, 16) for one in span.split("-"))
            if "r" not in mode or begin >= 1 << 63:
                continue
            try:
                memory.seek(begin)
                yield memory.read(end - begin) or b""
            except OSError:  # guard pages, the kernel's own
                continue


def holds(pid: int, secrets: dict[str, bytes]) -> set[str]:
    forms = {
        name: (raw, raw.hex().encode(), raw.hex().upper().encode(), base64.b64encode(raw)[:40])
        for name, raw in secrets.items()
    }
    return {name for piece in memory_of(pid) for name, shown in forms.items() if any(form in piece for form in shown)}


def tree_of(pid: int) -> list[int]:
    """A process and all that it started."""
    try:
        children = children_of(pid)
    except (FileNotFoundError, ProcessLookupError):  # it has ended since its parent was looked at
        return []
    return [pid, *(one for child in children for one in tree_of(child))]


def hoard(node: Node, secrets: dict[str, bytes]) -> dict[str, set[str]]:
    """Who holds what, by the kernel's name for a process; who holds nothing is not in it."""
    assert node.process is not None
    found = {}
    for pid in tree_of(node.process.pid):
        held = holds(pid, secrets)
        # its name is of one that has not ended
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            name = Path(f"/proc/{pid}/comm").read_text().strip()
            found[name] = found.get(name, set()) | held
    assert {f"cmkms-{child}" for child in CHILDREN} < found.keys()
    return {name: held for name, held in found.items() if held}


@pytest.mark.parametrize(
    ("source", "key_type"),
    [
        ("the validator's key", "ed25519"),
        ("priv/cluster.key", "ed25519"),
        ("the validator's key", "secp256k1"),
        ("the validator's key", "secp256k1eth"),
        ("the validator's key", "bls12_381"),
    ],
)
def test_no_running_process_holds_the_secret_and_one_holds_its_own_identity(
    source: str, key_type: str, make_node: Callable[..., Node], tmp_path: Path
) -> None:
    """Whoever reads one process out is one member at most. Also behind a restart, which derives
    again. Nor is there a file in it that the node's parent had left open.
    """
    precious = os.open(tmp_path / "precious", os.O_CREAT | os.O_WRONLY, 0o600)
    node = make_node(free_tcp(), key_type=key_type)
    if source == "priv/cluster.key":
        file = node.home / "priv" / "cluster.key"
        file.write_text("5a" * 16 + "c3" * 16)
        file.chmod(0o600)
    secret = _cluster_secret(node.home, [key_source(node.key_path, None)], choose.load())
    seeds = {
        name: blake2b(name.encode(), key=secret, digest_size=32, person=b"cmkms-node-key").digest()
        for name in ("node0", "node1", "node2")
    }
    authority = blake2b(key=secret, digest_size=32, person=b"cmkms-authority").digest()
    value = json.loads(node.key_path.read_text())["priv_key"]["value"]
    secrets = {"secret": secret, "authority": authority, "validator's key": base64.b64decode(value)[:32], **seeds}
    ports = [free_port() for _ in seeds]
    peers = [part for name, port in zip(seeds, ports, strict=True) for part in ("--peer", f"{name}=127.0.0.1:{port}")]
    node.start("--id", "node0", "--raft-addr", f"127.0.0.1:{ports[0]}", *peers, wait=False, inherit=(precious,))
    os.close(precious)

    pids = until("all processes run", lambda: all_run(node))
    assert node.process is not None
    for pid in tree_of(node.process.pid):
        links = [link_of(entry) for entry in listed(Path(f"/proc/{pid}/fd"))]
        assert [link for link in links if "precious" in link] == []
    if os.geteuid() != 0:
        with pytest.raises(PermissionError):
            holds(pids["state"], secrets)
        return
    expected = {"cmkms-state": {"node0"}, "cmkms-signer": {"validator's key"}}
    assert hoard(node, secrets) == expected
    for name in ("state", "signer"):
        os.kill(pids[name], signal.SIGKILL)
        until(f"another {name}", lambda name=name: (all_run(node) or pids)[name] != pids[name])
    until("all processes run", lambda: all_run(node))
    until("each has its own", lambda: hoard(node, secrets).keys() >= expected.keys())
    assert hoard(node, secrets) == expected
