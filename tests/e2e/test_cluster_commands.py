"""An operator's steps on running clusters, as docs/CLUSTER.md tells them: each with a real validator that asks before and after."""

import json
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.node import (
    PATIENCE_S,
    PRECOMMIT,
    Validator,
    alive,
    children_of,
    cmkms,
    environment,
    free_port,
    free_ports,
    free_tcp,
    until,
)

CHAIN = "test-1"


class Member:
    """A home that `cmkms testnet` made, and the node that runs in it by its own config.toml."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.id = home.name
        self.process: subprocess.Popen[bytes] | None = None

    def run(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        """A command on this home."""
        done = cmkms("--home", str(self.home), *arguments)
        assert done.returncode == code, done.stdout + done.stderr
        return done

    def start(self) -> "Member":
        with (self.home / "log").open("ab") as log:
            command = [sys.executable, "-m", "cometkms", "start", "--home", str(self.home)]
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment()
            )
        return self

    def stop(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(PATIENCE_S) == 0, self.log()

    def kill(self) -> None:
        assert self.process is not None
        children = children_of(self.process.pid)
        self.process.kill()
        self.process.wait()
        until("its children die with it", lambda: not any(alive(pid) for pid in children))

    def log(self) -> str:
        return (self.home / "log").read_text(errors="replace")

    def peers(self) -> dict[str, Any]:
        """What this node says of all; {} while it does not run."""
        done = cmkms("--home", str(self.home), "peers", "--json")
        return json.loads(done.stdout) if done.returncode == 0 else {}

    def leads(self) -> bool:
        return bool(self.peers().get("is_leader"))

    def sees_all(self) -> bool:
        members = self.peers().get("members", [])
        return bool(members) and all(one["connected"] and one["state"] == "complete" for one in members)

    def raft_port(self) -> int:
        document = tomllib.loads((self.home / "config.toml").read_text())
        return int(document["raft_addr"].rpartition(":")[2])

    def configure(self, ids: list[str], ports: dict[str, int]) -> None:
        """Write another peer list."""
        path = self.home / "config.toml"
        listed = ", ".join(f'"{name}=127.0.0.1:{ports[name]}"' for name in ids)
        lines = [
            line for line in path.read_text().splitlines() if not line.startswith(("peer =", "raft_addr =", "id ="))
        ]
        head = [f'id = "{self.id}"', f'raft_addr = "127.0.0.1:{ports[self.id]}"', f"peer = [{listed}]"]
        path.write_text("\n".join([*head, *lines]))


@pytest.fixture
def validator() -> Iterator[Validator]:
    found = Validator(free_tcp())
    yield found
    found.close()


@pytest.fixture
def make_homes(tmp_path: Path, validator: Validator) -> Iterator[Callable[..., list[Member]]]:
    made: list[Member] = []

    def make(directory: str, nodes: int, *arguments: str) -> list[Member]:
        target = tmp_path / directory
        names = ["testnet", "--dir", str(target), "--nodes", str(nodes), "--chain-id", CHAIN]
        ports = ["--starting-port", str(free_ports(2 * nodes)), "--http-port", str(free_ports(2 * nodes))]
        done = cmkms(*names, *ports, "--validator-addr", validator.address, *arguments)
        assert done.returncode == 0, done.stderr
        made.extend(found := [Member(home) for home in sorted(target.iterdir())])
        return found

    yield make
    for member in made:
        if member.process is not None and member.process.poll() is None:
            member.process.kill()
            member.process.wait()


def whole(members: list[Member]) -> None:
    until("every node sees all the others complete", lambda: all(one.sees_all() for one in members))


def leader_of(members: list[Member]) -> Member:
    return until("one leads", lambda: next((one for one in members if one.leads()), None))


def copy_key(source: Member, target: Member) -> None:
    for name in ("priv_validator_key.json", "priv_validator_state.json"):
        shutil.copy(source.home / "priv" / name, target.home / "priv" / name)


def seal(member: Member) -> Path:
    path = member.home.parent.parent / f"{member.id}.seal"
    path.write_text(member.run("epoch", "seal", "--yes").stdout)
    return path


def begin(members: list[Member], seals: list[Path]) -> None:
    files = [part for path in seals for part in ("--seal-file", str(path))]
    for member in members:
        ids = ",".join(one.id for one in members)
        assert "begins epoch 2" in member.run("epoch", "begin", "--members", ids, *files).stdout


def test_the_leader_hands_over_at_an_operators_word_and_signing_goes_on(
    make_homes: Callable[..., list[Member]], validator: Validator
) -> None:
    members = [one.start() for one in make_homes("net", 3)]
    whole(members)
    validator.connect()
    validator.must_sign(PRECOMMIT, 5)
    told = []

    def handed_over() -> Member | None:
        """Whoever leads hands over to another, which then says that it leads; all again when somebody else was elected meanwhile."""
        first = leader_of(members)
        heir = next(one for one in members if one is not first)
        already = cmkms("--home", str(heir.home), "leader", "transfer", "--to", first.id)
        done = cmkms("--home", str(heir.home), "leader", "transfer", "--to", heir.id)
        shown = cmkms("--home", str(heir.home), "leader", "show")
        told.append([one.stdout + one.stderr for one in (already, done, shown)])
        said = (
            f"{first.id} leads already" in already.stdout
            and done.stdout.startswith(f"{first.id} handed over to {heir.id} in")
            and shown.stdout.startswith(f"{heir.id} leads, this node")
        )
        return first if said else None

    first = until(lambda: f"the lead is handed over: {told}", handed_over)
    assert "order" in first.log()
    validator.connect()
    assert validator.must_sign(PRECOMMIT, 5, second=1)["verified"]
    validator.must_refuse(PRECOMMIT, 5, block="bb")
    validator.must_sign(PRECOMMIT, 6)
    digests = {one.run("config", "digest").stdout for one in members}
    assert len(digests) == 1
    assert str(members[0].peers()["digest"]) in digests.pop()


def test_one_node_becomes_three_and_remembers_what_it_signed(
    make_homes: Callable[..., list[Member]], validator: Validator
) -> None:
    [old] = make_homes("one", 1)
    old.start()
    validator.connect()
    validator.must_sign(PRECOMMIT, 5)
    old.stop()
    sealed = seal(old)
    assert "was sealed here" in old.run("start", code=5).stderr
    key = old.home / "priv" / "priv_validator_key.json"
    members = make_homes("three", 3, "--key-file", str(key))
    (old.home / "config.toml").write_bytes((members[0].home / "config.toml").read_bytes())
    members[0] = old
    begin(members, [sealed])
    for member in members:
        member.start()
    whole(members)
    validator.connect()
    validator.must_refuse(PRECOMMIT, 5, block="bb")
    validator.must_refuse(PRECOMMIT, 4)
    validator.must_sign(PRECOMMIT, 6)


def replace_dead(living: list[Member], make_homes: Callable[..., list[Member]]) -> list[Member]:
    """From two that are stopped to three that run: node3 is new."""
    seals = [seal(member) for member in living]
    [new] = make_homes("new", 1, "--key-file", str(living[0].home / "priv" / "priv_validator_key.json"))
    new.home = new.home.rename(new.home.with_name("node3"))
    new.id = "node3"
    members = [*living, new]
    ports = {**{member.id: member.raft_port() for member in living}, "node3": free_port()}
    for member in members:
        member.configure([each.id for each in members], ports)
    names = ",".join(member.id for member in members)
    alone = living[0].run("epoch", "begin", "--members", names, "--seal-file", str(seals[0]), code=5)
    assert "a majority is 2" in alone.stderr
    begin(members, seals)
    for member in members:
        member.start()
    whole(members)
    return members


def between_epochs(member: Member) -> bool:
    """What a node of the old epoch says beside those of the new one."""
    shown = cmkms("--home", str(member.home), "status", "--json")
    status = json.loads(shown.stdout or "{}")
    alerts = {one["name"] for one in status.get("alerts", [])}
    codes = {one.get("error_code") for one in status.get("members", []) if not one.get("self")}
    told = status.get("situation", {})
    return (
        shown.returncode == 1
        and (told.get("leads"), told.get("signs")) == ("nobody", "nobody")
        and codes & {"unlisted", "members"} != set()
        and {"no_leader", "config_differs"} <= alerts
    )


def test_a_dead_node_is_replaced_and_counts_no_more_when_it_returns(
    make_homes: Callable[..., list[Member]], validator: Validator
) -> None:
    zero, one, two = (member.start() for member in make_homes("net", 3))
    whole([zero, one, two])
    validator.connect()
    validator.must_sign(PRECOMMIT, 5)
    two.kill()
    zero.stop()
    one.stop()
    replace_dead([zero, one], make_homes)
    validator.connect()
    validator.must_refuse(PRECOMMIT, 5, block="bb")
    validator.must_sign(PRECOMMIT, 6)
    two.start()
    until("those that are left turn it away", lambda: "is not in the peer list" in zero.log())
    until("it runs, and knows no leader", lambda: two.peers().get("leader_id", "") is None)
    until("it says so, and why", lambda: between_epochs(two))
    validator.must_sign(PRECOMMIT, 7)
    assert not two.leads()


def lose_two(make_homes: Callable[..., list[Member]], validator: Validator) -> tuple[Member, Member, Member]:
    """Three that signed height 5; then node0's data is gone, node1 runs, node2 is dead for good."""
    zero, one, two = members = [member.start() for member in make_homes("net", 3)]
    whole(members)
    validator.connect()
    validator.must_sign(PRECOMMIT, 5)
    for member in members:
        member.kill()
    shutil.rmtree(zero.home / "data" / zero.id)
    zero.start()
    one.start()
    until("the wiped one knows that it is, and waits", lambda: zero.peers().get("node_state") == "recovering")

    def met() -> bool:
        seen = zero.peers()
        return bool(seen) and seen["members"][1]["connected"] and "node2 (not connected)" in seen["why"]

    until("it has met the other, and misses the third", met)
    assert zero.run("status", code=1).stdout.count("NOT HEALTHY") == 1
    assert not zero.leads()
    assert not one.leads()
    zero.stop()
    return zero, one, two


def test_a_wiped_node_takes_a_dead_ones_store_for_its_answer(
    make_homes: Callable[..., list[Member]], validator: Validator
) -> None:
    zero, _, two = lose_two(make_homes, validator)
    zero.run("recover", "--from-store", str(two.home / "data" / "node2" / "promises"), "--yes")
    zero.start()
    validator.connect()
    validator.must_refuse(PRECOMMIT, 5, block="bb")
    validator.must_sign(PRECOMMIT, 6)
    until("it says that it is complete", lambda: zero.peers().get("node_state") == "complete")


def test_beside_a_dead_node_a_wiped_one_is_vouched_for_by_a_height_and_the_dead_one_replaced(
    make_homes: Callable[..., list[Member]], validator: Validator
) -> None:
    zero, one, _ = lose_two(make_homes, validator)
    one.stop()
    zero.run("recover", "--min-height", "20", "--yes-height", "20")
    replace_dead([zero, one], make_homes)
    validator.connect()
    validator.must_refuse(PRECOMMIT, 20)
    validator.must_sign(PRECOMMIT, 21)
