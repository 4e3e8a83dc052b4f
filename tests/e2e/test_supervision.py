"""Children and parent killed and frozen; stopping; locks; corrupt homes."""

import os
import re
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cometkms.limits import HUNG_AFTER_S
from tests.e2e.node import PATIENCE_S, PRECOMMIT, Node, Validator, alive, children_of, cmkms, free_port, free_tcp, until


@pytest.mark.parametrize("name", ["state", "signer", "api"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_child_that_dies_or_hangs_is_replaced_and_signing_goes_on(
    name: str, number: signal.Signals, make_node: Callable[..., Node], make_validator: Callable[..., Validator]
) -> None:
    address = free_tcp()
    validator, node = make_validator(address), make_node(address).start()
    validator.connect()
    validator.must_sign(PRECOMMIT, 1)
    assert node.process is not None
    before = {os.readlink(f"/proc/{pid}/exe"): pid for pid in children_of(node.process.pid)}
    assert before
    pid = node.child(name)["pid"]
    os.kill(pid, number)
    until(f"{name} is replaced", lambda: _replaced(node, name, pid))
    until("healthy again", node.healthy)
    validator.connect()
    validator.must_sign(PRECOMMIT, 2)
    validator.must_refuse(PRECOMMIT, 1)
    assert not alive(pid)
    assert node.child(name)["restarts"] >= 1
    assert node.stop() == 0


@pytest.mark.parametrize("name", ["api", "audit", "signer", "state"])
def test_a_child_that_is_killed_each_time_while_it_boots_never_ends_the_node(
    name: str, make_node: Callable[..., Node], make_validator: Callable[..., Validator]
) -> None:
    """Four kills, each as soon as the next process is there; the others live through it, and
    signing goes on.
    """
    address = free_tcp()
    validator, node = make_validator(address), make_node(address).start()
    validator.connect()
    validator.must_sign(PRECOMMIT, 1)
    assert node.process is not None
    supervisor = node.process.pid
    others = {one: _pid_of(supervisor, one) for one in ("api", "audit", "signer", "state") if one != name}
    killed = 0
    for _ in range(4):
        pid = _next_pid(supervisor, name, killed)
        os.kill(pid, signal.SIGKILL)
        killed = pid
    until("healthy again", node.healthy)
    assert {one: _pid_of(supervisor, one) for one in others} == others
    validator.connect()
    validator.must_sign(PRECOMMIT, 2)
    validator.must_refuse(PRECOMMIT, 1)
    assert node.stop() == 0


def _next_pid(supervisor: int, name: str, before: int) -> int:
    """Of the process that is there in the place of `before`."""

    def found() -> int:
        pid = _pid_of(supervisor, name)
        return pid if pid != before else 0

    return until(f"{name} is there again", found)


def _pid_of(supervisor: int, name: str) -> int:
    """Of the child with this name, as the kernel knows it: the status page may be what was killed.

    0: it is not there.
    """
    for pid in children_of(supervisor):
        try:
            if Path(f"/proc/{pid}/comm").read_text().strip() == f"cmkms-{name}" and alive(pid):
                return pid
        except OSError:
            continue
    return 0


def _replaced(node: Node, name: str, pid: int) -> bool:
    try:
        return node.child(name)["pid"] not in (0, pid)
    except OSError:
        return False


def test_while_a_child_is_down_healthz_says_which(make_node: Callable[..., Node]) -> None:
    node = make_node(free_tcp()).start()
    os.kill(node.child("signer")["pid"], signal.SIGSTOP)

    def trouble() -> str | None:
        code, text = node.fetch("/healthz")
        return text if code == 503 else None

    assert "signer" in until("healthz is 503", trouble)
    until("healthy again", node.healthy)


def test_a_parent_that_was_frozen_for_long_kills_nobody_when_it_goes_on(
    make_node: Callable[..., Node], make_validator: Callable[..., Validator]
) -> None:
    """Its children signed on meanwhile; their heartbeats must not look old to a clock
    that stood still.
    """
    address = free_tcp()
    validator, node = make_validator(address), make_node(address).start()
    validator.connect()
    assert node.process is not None
    until("every child runs", lambda: all(child["state"] == "running" for child in node.status()["children"]))
    before = [(child["name"], child["pid"]) for child in node.status()["children"]]
    os.kill(node.process.pid, signal.SIGSTOP)
    signer = node.child("signer")["pid"]
    os.kill(signer, signal.SIGSTOP)  # it too stands still, and is not hung for that
    time.sleep(HUNG_AFTER_S + 1)
    assert any("the supervisor has not beaten" in one for one in node.status()["warnings"])
    os.kill(signer, signal.SIGCONT)
    os.kill(node.process.pid, signal.SIGCONT)
    until("it watches again", lambda: not any("the supervisor" in one for one in node.status()["warnings"]))
    validator.connect()
    validator.must_sign(PRECOMMIT, 1)
    time.sleep(1)
    assert [(child["name"], child["pid"]) for child in node.status()["children"]] == before
    assert node.stop() == 0


def test_the_parents_death_ends_the_children(make_node: Callable[..., Node]) -> None:
    node = make_node(free_tcp()).start()
    node.kill()  # asserts that the children are gone
    node.start()
    assert node.stop() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_signal_to_the_whole_group_leaves_nothing_behind(
    number: signal.Signals, make_node: Callable[..., Node]
) -> None:
    node = make_node(free_tcp()).start()
    assert node.process is not None
    children = children_of(node.process.pid)
    for pid in [*children, node.process.pid]:
        os.kill(pid, number)
    assert node.process.wait(timeout=PATIENCE_S) == 0
    assert not any(alive(pid) for pid in children)
    assert "child died" not in node.log()


def test_a_start_right_after_the_supervisor_was_killed_waits_for_its_dying_children(
    make_node: Callable[..., Node],
) -> None:
    node = make_node(free_tcp()).start()
    for _ in range(3):
        assert node.process is not None
        children = children_of(node.process.pid)
        node.process.kill()
        node.start()
        # they have let go of the home; on a busy machine the kernel may not be done with one yet
        until("they are gone", lambda children=children: not any(alive(pid) for pid in children))


def test_a_second_start_on_the_same_home_is_refused(make_node: Callable[..., Node]) -> None:
    node = make_node(free_tcp()).start()
    assert node.process is not None
    done = cmkms("start", "--home", str(node.home), "--http-addr", "127.0.0.1:1")
    assert done.returncode == 6
    assert str(node.process.pid) in done.stderr
    done = cmkms("state", "import", "--home", str(node.home), str(node.state_path))
    assert done.returncode == 6


@pytest.mark.parametrize(
    ("damage", "code", "words"),
    [
        (lambda node: node.state_path.unlink(), 5, "priv_validator_state.json is missing"),
        (lambda node: node.state_path.write_text("{"), 5, "not a validator's state file"),
        (lambda node: node.store_path.unlink(), 5, "cmkms recover --min-height"),
        (lambda node: node.store_path.write_bytes(b"\1" * 100_000), 5, "cmkms recover --min-height"),
        (lambda node: node.key_path.unlink(), 4, "priv_validator_key.json is missing"),
        (lambda node: node.key_path.chmod(0o644), 4, "chmod 600"),
        (lambda node: (node.home / "config.toml").write_text("chain_idd = 1"), 3, "did you mean 'chain_id'"),
    ],
)
def test_a_damaged_home_is_refused_with_the_file_and_the_cure(
    damage: Callable[[Node], object], code: int, words: str, make_node: Callable[..., Node]
) -> None:
    node = make_node(free_tcp()).start()
    assert node.stop() == 0
    damage(node)
    done = cmkms("start", "--home", str(node.home), "--http-addr", f"127.0.0.1:{node.http_port}")
    assert done.returncode == code, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_recovery_burns_and_signing_goes_on_above(
    make_node: Callable[..., Node], make_validator: Callable[..., Validator]
) -> None:
    address = free_tcp()
    validator, node = make_validator(address), make_node(address).start()
    validator.connect()
    validator.must_sign(PRECOMMIT, 7)
    assert node.stop() == 0
    node.store_path.unlink()
    wrong = cmkms("recover", "--home", str(node.home), "--min-height", "20", "--yes-height", "21")
    assert wrong.returncode == 5
    done = cmkms("recover", "--home", str(node.home), "--min-height", "20", "--yes-height", "20")
    assert done.returncode == 0, done.stderr
    node.start()
    validator.connect()
    assert "regression" in validator.must_refuse(PRECOMMIT, 20)
    validator.must_sign(PRECOMMIT, 21)


def test_an_address_in_use_ends_the_node_with_its_name(make_node: Callable[..., Node]) -> None:
    first, second = make_node(free_tcp()).start(), make_node(free_tcp())
    done = cmkms("start", "--home", str(second.home), "--http-addr", f"127.0.0.1:{first.http_port}")
    assert done.returncode == 6
    assert f"http_addr 127.0.0.1:{first.http_port} is in use" in done.stderr
    assert not second.store_path.exists(), "it was told before anything could lead or promise"
    assert "child=" not in done.stdout + done.stderr


def test_an_agents_port_in_use_is_told_before_the_node_could_lead(make_node: Callable[..., Node]) -> None:
    """The door binds it in a process that begins while another one may lead already."""
    node = make_node(free_tcp())
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = f"127.0.0.1:{other.getsockname()[1]}"
        config = node.home / "config.toml"
        text = re.sub(
            r"(?m)^validator_addr = .*$", f'agent_addr = "{taken}"\nagents = ["a:{"ab" * 32}"]', config.read_text()
        )
        config.write_text(text)
        done = cmkms("start", "--home", str(node.home), "--http-addr", f"127.0.0.1:{node.http_port}")
    assert done.returncode == 6, done.stderr
    assert f"agent_addr {taken} is in use by another process; cure: choose another agent_addr" in done.stderr
    assert not node.store_path.exists()


def test_an_address_of_this_node_s_own_is_refused_under_another_name_too(make_node: Callable[..., Node]) -> None:
    """The settings show two hosts, and both are this machine: found when a start asks what they
    stand for, and nothing has begun.
    """
    node, port = make_node(free_tcp()), free_port()
    # short for the other; to who only reads the settings it is a name
    name, raft = "127.1", f"127.0.0.1:{port}"
    done = cmkms("start", "--home", str(node.home), "--http-addr", f"{name}:{port}", "--raft-addr", raft)
    assert done.returncode == 3, done.stderr
    assert f"http_addr: {name}:{port} is where raft_addr {raft} listens" in done.stderr
    assert "child=" not in done.stdout + done.stderr


@pytest.mark.parametrize("name", ["priv/priv_validator_key.json", "priv/priv_validator_state.json", "config.toml"])
def test_a_fifo_in_a_files_place_is_told_and_never_waited_for(make_node: Callable[..., Node], name: str) -> None:
    node = make_node(free_tcp())
    (node.home / name).unlink()
    os.mkfifo(node.home / name, 0o600)
    done = cmkms("start", "--home", str(node.home), "--http-addr", f"127.0.0.1:{node.http_port}")
    assert done.returncode in (3, 4, 5), done.stderr
    assert f"{name} " in done.stderr
    assert "no regular file" in done.stderr


def test_a_lease_that_the_log_cannot_keep_is_told_with_its_bounds(make_node: Callable[..., Node]) -> None:
    node = make_node(free_tcp())
    for text in ("1ms", "0s", "50ms", "1h", "9" * 400 + "h"):
        done = cmkms(
            "start", "--home", str(node.home), "--http-addr", f"127.0.0.1:{node.http_port}", "--default-ttl", text
        )
        assert done.returncode == 3, done.stderr
        assert "--default-ttl: " in done.stderr
        assert "write 150ms to 60s" in done.stderr


def test_the_signer_cannot_be_dumped_and_the_api_process_reaches_no_queue(make_node: Callable[..., Node]) -> None:
    """A process that is not dumpable has its /proc files owned by root, and no core limit above 0."""

    node = make_node(free_tcp()).start()
    pid = node.child("signer")["pid"]
    limits = Path(f"/proc/{pid}/limits").read_text()
    assert next(line for line in limits.splitlines() if line.startswith("Max core file size")).split()[4:6] == [
        "0",
        "0",
    ]
    locked = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmLck"))
    assert int(locked.split()[1]) > 0
    secret = node.key_path.read_text().split('"priv_key"')[1].split('"value": "')[1].split('"')[0]
    assert secret not in node.log()
    maps = {name: Path(f"/proc/{node.child(name)['pid']}/maps").read_text() for name in ("signer", "api")}
    shared = {name: text.count("/dev/zero") for name, text in maps.items()}  # a ring a queue
    assert shared["api"] == 0, shared
    assert shared["signer"] > 2 or os.environ.get("COMETKMS_PURE"), shared
    board = {
        name: {
            line.split("cmkms-")[1].split()[0]: line.split()[1] for line in text.splitlines() if "memfd:cmkms-" in line
        }
        for name, text in maps.items()
    }  # the last mapping of each part: of its own a process has two, one of which is writable
    names = {"supervisor", "reload", "notes", "state", "signer", "audit", "api"}
    assert all(set(parts) == names for parts in board.values()), board
    for name, text in maps.items():
        writable = [line for line in text.splitlines() if "memfd:cmkms-" in line and "rw-s" in line]
        assert [f"cmkms-{name}" in line for line in writable] == [True], writable


def test_a_home_whose_lock_file_something_stands_for_is_an_alert_until_it_is_held_again(
    make_node: Callable[..., Node],
) -> None:
    node = make_node(free_tcp())
    node.start()
    lock = node.home / "cmkms.lock"

    def told() -> list[str]:
        return [one["what"] for one in node.status()["alerts"] if one["name"] == "home_unlocked"]

    lock.unlink()
    lock.mkdir()
    until("it is told", told)
    assert told() == [f"this node does not hold its home's lock: {lock} cannot be opened: is a directory"]
    lock.rmdir()
    until("it is over", lambda: not told())
    assert node.stop() == 0
