"""An operator's steps on running clusters, as docs/CLUSTER.md tells them: each with a real
validator that asks before and after.
"""

import json
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from cometkms.errors import OperatorError
from cometkms.net.control import ask
from cometkms.store.lock import is_locked
from tests.e2e.cluster import Judge
from tests.e2e.node import (
    PATIENCE_S,
    PRECOMMIT,
    PREVOTE,
    Validator,
    alive,
    ballot,
    children_of,
    cmkms,
    environment,
    free_port,
    free_ports,
    free_tcp,
    make_home,
    until,
)

CHAIN = "test-1"
NOBODY_DIALS = "endpoint connection timed out"  # CometBFT's words
ASKED_UNSERVED = 4  # times in a row, some 25 seconds


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
        """Until it holds its home, so that a command finds a node there; or has ended."""
        with (self.home / "log").open("ab") as log:
            command = [sys.executable, "-m", "cometkms", "start", "--home", str(self.home)]
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment())
        self.process = process
        until("it holds its home", lambda: is_locked(self.home) or process.poll() is not None)
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
        """What this node says of all; {} while it does not run.

        As `cmkms peers --json` asks, without a process for each look.
        """
        try:
            return ask(self.home / "data" / self.id / "control.sock", {"op": "peers"}, PATIENCE_S)
        except (OperatorError, OSError):
            return {}

    def leads(self) -> bool:
        return bool(self.peers().get("is_leader"))

    def is_(self, state: str) -> bool:
        return self.peers().get("node_state") == state

    def knows_no_leader(self) -> bool:
        """It runs, and says that nobody leads."""
        return self.peers().get("leader_id", "") is None

    def serves(self, rival: Validator) -> "Member":
        """Its next start dials another validator."""
        path = self.home / "config.toml"
        lines = [line for line in path.read_text().splitlines() if not line.startswith("validator_addr =")]
        path.write_text("\n".join([f'validator_addr = "{rival.address}"', *lines]))
        return self

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


class Judged(Validator):
    """A validator whose every answer a judge sees: one that asks the old machines sees what the
    others gave, too.
    """

    def __init__(self, judge: Judge, chain: str = CHAIN) -> None:
        super().__init__(free_tcp(), chain=chain)
        self.judge = judge

    def ask(self, **request: Any) -> dict[str, Any]:
        answer = super().ask(**request)
        if request.get("cmd") == "sign":
            self.judge.saw(request, answer)
        return answer

    def gets_nothing(self, height: int) -> None:
        """Whoever serves it gives no signature for another block, at any place from
        here to above the height.

        While nobody dials it CometBFT answers so after three to nine seconds: then it is not asked
        for all of them.
        """
        unserved = 0
        for place in range(1, height + 3):
            for kind in (PREVOTE, PRECOMMIT):
                answer = self.ask(**ballot(kind, place, 0, "ee"))
                assert not answer.get("signature"), (place, answer)
                unserved = unserved + 1 if NOBODY_DIALS in answer.get("error", "") else 0
                if unserved == ASKED_UNSERVED:
                    return


@pytest.fixture
def judge() -> Iterator[Judge]:
    """Every signature that left, to whomever; the verdict comes at the end."""
    made = Judge()
    yield made
    assert not made.double, made.double


@pytest.fixture
def validator(judge: Judge) -> Iterator[Judged]:
    found = Judged(judge)
    yield found
    found.close()


@pytest.fixture
def rival(judge: Judge) -> Iterator[Judged]:
    """Whom old machines serve when they come back."""
    found = Judged(judge)
    yield found
    found.close()


@pytest.fixture
def make_homes(tmp_path: Path, validator: Judged) -> Iterator[Callable[..., list[Member]]]:
    made: list[Member] = []

    def make(directory: str, nodes: int, *arguments: str) -> list[Member]:
        target = tmp_path / directory
        names = ["testnet", "--dir", str(target), "--nodes", str(nodes), "--chain-id", CHAIN]
        ports = ["--starting-port", str(free_ports(2 * nodes)), "--http-port", str(free_ports(2 * nodes))]
        make_home(*names, *ports, "--validator-addr", validator.address, *arguments)
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


def seal(member: Member, following: Sequence[str], *more: str) -> Path:
    path = member.home.parent.parent / f"{member.id}.seal"
    path.write_text(member.run("epoch", "seal", "--next", ",".join(following), "--yes", *more).stdout)
    return path


def files_of(seals: Sequence[Path]) -> list[str]:
    return [part for path in seals for part in ("--seal-file", str(path))]


def begin(members: list[Member], seals: Sequence[Path], *more: str) -> None:
    for member in members:
        said = member.run("epoch", "begin", *files_of(seals), *more).stdout
        assert f"{member.id} begins epoch 2 with" in said


def rewrite(member: Member, members: Sequence[Member], ports: dict[str, int]) -> None:
    member.configure([one.id for one in members], ports)


def test_the_leader_hands_over_at_an_operators_word_and_signing_goes_on(
    make_homes: Callable[..., list[Member]], validator: Judged
) -> None:
    members = [one.start() for one in make_homes("net", 3)]
    whole(members)
    validator.connect()
    validator.must_sign(PRECOMMIT, 5)
    told = []

    def handed_over() -> Member | None:
        """Whoever leads hands over to another, which then says that it leads; all again when
        somebody else was elected meanwhile.
        """
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
    until("its log says so", lambda: "order" in first.log())
    validator.connect()
    assert validator.must_sign(PRECOMMIT, 5, second=1)["verified"]
    validator.must_refuse(PRECOMMIT, 5, block="bb")
    validator.must_sign(PRECOMMIT, 6)
    digests = {one.run("config", "digest").stdout for one in members}
    assert len(digests) == 1
    told = json.loads(members[0].run("peers", "--json").stdout)
    assert str(told["digest"]) in digests.pop()
    assert [one["id"] for one in told["members"]] == [one.id for one in members]


def prepare(make_homes: Callable[..., list[Member]], source: Member, name: str, peers: Sequence[Member]) -> Member:
    """A new machine as RUNBOOK says: the key and the state of a living node, its config.toml with
    an id and an address of its own.
    """
    carried = source.home.with_name(f"for-{name}")
    carried.mkdir()
    for what in ("key", "state"):
        shutil.copy(source.home / "priv" / f"priv_validator_{what}.json", carried)
    [new] = make_homes(f"of-{name}", 1, "--key-file", str(carried / "priv_validator_key.json"))
    new.home, new.id = new.home.rename(new.home.with_name(name)), name
    ports = {one.id: one.raft_port() for one in peers} | {name: free_port()}
    new.configure([one.id for one in peers], ports)
    return new


def entry(member: Member) -> str:
    return f"{member.id}=127.0.0.1:{member.raft_port()}"


def carry(sources: Sequence[Member], targets: Sequence[Member]) -> None:
    """The seals, by the operator's hand."""
    for source in sources:
        for path in (source.home / "seals").glob("*.seal"):
            for target in targets:
                (target.home / "seals").mkdir(exist_ok=True)
                if source is not target:
                    shutil.copy(path, target.home / "seals" / path.name)


def says(member: Member, *arguments: str) -> str:
    """`cmkms member …`, twice: a step that is done is not done again."""
    first = member.run("member", *arguments, "--yes").stdout
    again = member.run("member", *arguments, "--yes").stdout
    assert "begins epoch" not in again
    return first


def epoch_of(member: Member) -> int:
    return int(json.loads(member.run("epoch", "show", "--json").stdout)["epoch"])


def test_one_node_becomes_three_step_by_step_and_remembers_what_it_signed(
    make_homes: Callable[..., list[Member]], validator: Judged, rival: Judged
) -> None:
    [old] = make_homes("one", 1)
    old.start()
    validator.connect()
    validator.must_sign(PRECOMMIT, 5)
    new = [prepare(make_homes, old, name, [old]) for name in ("node1", "node2")]
    change = ("add", entry(old), *map(entry, new))
    assert "ready    node1" in says(new[0], *change)
    old.stop()
    old.start()  # a restart before the seal: nothing is different
    validator.connect()
    validator.must_sign(PRECOMMIT, 6)
    assert "next     stop this node" in says(old, *change)
    assert not validator.ask(**ballot(PRECOMMIT, 7)).get("signature")
    old.stop()
    assert "was sealed here" in old.run("start", code=5).stderr
    assert "node0 begins epoch 2 with node0, node1, node2" in says(old, *change)
    carry([old], new)
    zero_alone = old.start()
    until("it waits for a majority", lambda: zero_alone.peers().get("epoch") == 2)
    for member in new:
        assert f"{member.id} begins epoch 2" in says(member, *change)
    new[0].start()  # two of three are enough: node2 has not booted
    validator.connect()
    validator.must_refuse(PRECOMMIT, 6, block="bb")
    validator.must_sign(PRECOMMIT, 7)
    new[1].start()
    members = [old, *new]
    whole(members)
    assert "done     node2 is complete in epoch 2" in says(new[1], *change)
    validator.must_sign(PRECOMMIT, 8)


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


def replace_node2(
    make_homes: Callable[..., list[Member]], zero: Member, one: Member, two: Member
) -> tuple[Member, tuple[str, ...]]:
    """Two that run are sealed, stopped and have begun; node3 is prepared, and nothing
    has started yet.
    """
    three = prepare(make_homes, zero, "node3", [zero, one, two])
    change = ("replace", "node2", entry(three))
    assert "ready    node3" in says(three, *change)
    assert "1 more of node1, node2 must be sealed" in says(zero, *change)
    carry([zero], [one])
    assert "next     stop this node" in says(one, *change)
    carry([one], [zero, three])
    carry([zero], [three])
    zero.stop()
    one.stop()
    assert "node0 begins epoch 2 with node0, node1, node3\nfrom the seals of node0, node1" in says(zero, *change)
    assert "node1 begins epoch 2" in says(one, *change)
    assert "start this node, empty" in says(three, *change)
    return three, change


@pytest.mark.long
def test_a_dead_node_is_replaced_by_a_machine_that_does_not_boot_and_counts_no_more_when_it_returns(
    make_homes: Callable[..., list[Member]], validator: Judged, rival: Judged
) -> None:
    """A majority of the new members signs at once; and an old machine that comes back, in between
    or later, gives nothing.
    """
    zero, one, two = (member.start() for member in make_homes("net", 3))
    whole([zero, one, two])
    validator.connect()
    validator.must_sign(PRECOMMIT, 5)
    two.kill()
    three, change = replace_node2(make_homes, zero, one, two)
    two.serves(rival).start()
    zero.start()
    one.start()
    validator.connect()
    validator.must_refuse(PRECOMMIT, 5, block="bb")
    validator.must_sign(PRECOMMIT, 6)
    three.start()
    whole([zero, one, three])
    assert "done     node3 is complete in epoch 2" in says(three, *change)
    validator.must_sign(PRECOMMIT, 7)
    until("those that are left turn it away", lambda: "is not in the peer list" in zero.log())
    until("it runs, and knows no leader", two.knows_no_leader)
    until("it says so, and why", lambda: between_epochs(two))
    until("it does not lead", lambda: two.peers().get("is_leader") is False)
    rival.gets_nothing(7)


@pytest.mark.long
def test_the_old_machine_comes_back_between_the_first_seal_and_the_second(
    make_homes: Callable[..., list[Member]], validator: Judged, rival: Judged
) -> None:
    """It makes a majority of the old epoch with the one that is not sealed yet.

    What they sign, that one's seal shows.
    """
    zero, one, two = (member.start() for member in make_homes("net", 3))
    whole([zero, one, two])
    validator.connect()
    validator.must_sign(PRECOMMIT, 5)
    three = prepare(make_homes, zero, "node3", [zero, one, two])
    following = ("node0", "node1", "node3")
    seals = [seal(zero, following)]
    validator.must_sign(PRECOMMIT, 6)  # by node1 and node2
    two.stop()
    two.serves(rival).start()
    until("node1 or node2 leads", lambda: one.leads() or two.leads())
    seals.append(seal(one, following))
    rival.gets_nothing(6)
    zero.stop()
    one.stop()
    ports = {member.id: member.raft_port() for member in (zero, one, three)}
    for member in (zero, one, three):
        rewrite(member, [zero, one, three], ports)
    begin([zero, one], seals)
    zero.start()
    one.start()
    validator.connect()
    validator.must_refuse(PRECOMMIT, 6, block="bb")
    validator.must_sign(PRECOMMIT, 7)
    rival.gets_nothing(7)


@pytest.mark.long
def test_a_member_goes_and_what_it_held_is_of_no_more_use(
    make_homes: Callable[..., list[Member]], validator: Judged, rival: Judged
) -> None:
    zero, one, two = (member.start() for member in make_homes("net", 3))
    whole([zero, one, two])
    validator.connect()
    validator.must_sign(PRECOMMIT, 5)
    change = ("remove", "node2")
    old = two.home.with_name("old-copy")
    two.stop()
    shutil.copytree(two.home, old)
    # stopped: it is sealed all the same
    assert "is no member of the next epoch" not in says(two, *change)
    validator.must_sign(PRECOMMIT, 6)
    says(zero, *change)
    says(one, *change)
    carry([zero, one, two], [zero, one])
    zero.stop()
    one.stop()
    for member in (zero, one):
        assert "begins epoch 2 with node0, node1" in says(member, *change)
        member.start()
    validator.connect()
    validator.must_refuse(PRECOMMIT, 6, block="bb")
    validator.must_sign(PRECOMMIT, 7)
    ended = two.run("start", code=5).stderr
    assert (
        "was sealed here, for node0, node1 and without node2: it promises nothing more, and stays stopped for good"
        in ended
    )
    assert "nothing here; its seal (HOME/seals) goes to node0, node1" in ended
    assert ended.strip().splitlines()[-1].count("cure: ") == 1
    shutil.rmtree(two.home)
    old.rename(two.home)  # as it was before it was sealed
    two.serves(rival).start()
    until("it runs, and finds nobody", lambda: two.is_("starting") or two.is_("complete"))
    rival.gets_nothing(7)
    back = ("add", f"node2=127.0.0.1:{two.raft_port()}")
    says(zero, *back)
    says(one, *back)
    carry([zero, one], [zero, one, two])
    assert "stop this node; then" in says(two, *back)
    two.stop()
    zero.stop()
    one.stop()
    for member in (zero, one):
        assert "begins epoch 3 with node0, node1, node2" in says(member, *back)
    assert "when node0, node1 run in epoch 3: start this node" in says(two, *back)
    two.start()  # alone it is nobody
    until("it recovers", lambda: two.is_("recovering"))
    rival.gets_nothing(8)
    two.stop()
    zero.start()
    one.start()
    two.serves(validator).start()
    whole([zero, one, two])
    validator.connect()
    validator.must_refuse(PRECOMMIT, 7, block="bb")
    validator.must_sign(PRECOMMIT, 8)
    zero.kill()
    validator.must_sign(PRECOMMIT, 9)  # with its promise


def test_one_node_that_is_left_signs_on_beside_the_one_that_was_taken_out_and_still_runs(
    make_homes: Callable[..., list[Member]], validator: Judged
) -> None:
    """It dials its old member, with promises of its own behind it; but it is sealed,
    and no second majority.
    """
    zero, one = (member.start() for member in make_homes("net", 2))
    whole([zero, one])
    validator.connect()
    validator.must_sign(PRECOMMIT, 5)
    change = ("remove", "node1")
    says(one, *change)
    says(zero, *change)
    carry([zero, one], [zero])
    zero.stop()
    assert "begins epoch 2 with node0" in says(zero, *change)
    zero.start()
    until("it was dialled", lambda: "'node1' is sealed in epoch 1 of node0, node1" in zero.log())
    validator.connect()
    validator.must_sign(PRECOMMIT, 6)
    assert "signs no more until it is started again" not in zero.log()
    assert "'node0' is alone, in epoch 2" in str(one.peers())


def test_a_node_that_is_left_alone_tells_who_was_away_from_an_old_copy_of_who_was_sealed(
    make_homes: Callable[..., list[Member]], validator: Judged
) -> None:
    """Who gave no seal is one of a minority, for ever.

    Old copies of those who gave one could be a majority: for them it stops.
    """
    zero, one, two = (member.start() for member in make_homes("net", 3))
    whole([zero, one, two])
    validator.connect()
    validator.must_sign(PRECOMMIT, 5)
    one.kill()
    shutil.copytree(one.home, copy := one.home.with_name("copy"), ignore=shutil.ignore_patterns("*control.sock"))
    one.start()
    whole([zero, one, two])
    two.kill()
    seals = [seal(member, (zero.id,)) for member in (zero, one)]
    zero.stop()
    one.stop()
    rewrite(zero, [zero], {zero.id: zero.raft_port()})
    begin([zero], seals)
    zero.start()
    two.start()
    until("who was away is told", lambda: "'node2' was away when epoch 1 of node0, node1, node2 ended" in zero.log())
    validator.connect()
    validator.must_sign(PRECOMMIT, 6)
    assert "signs no more until it is started again" not in zero.log()
    two.stop()
    old = Member(copy)
    old.id = one.id
    old.start()
    until("it is stopped by the old copy", lambda: "signs no more until it is started again" in zero.log())
    old.stop()


def test_a_slip_in_the_id_seals_nobody_for_a_list_that_nobody_shares(
    make_homes: Callable[..., list[Member]], validator: Judged
) -> None:
    """With node2 dead, node0 sealed for one list and node1 for another no epoch could begin, ever."""
    zero, one, two = (member.start() for member in make_homes("net", 3))
    whole([zero, one, two])
    validator.connect()
    validator.must_sign(PRECOMMIT, 5)
    two.kill()
    three = prepare(make_homes, zero, "node3", [zero, one, two])
    change = ("replace", "node2", f"node3=127.0.0.1:{three.raft_port()}", "--yes")
    slip = ("replace", "node2", f"node4=127.0.0.1:{three.raft_port()}", "--yes")
    assert "sealed   node0 in epoch 1" in zero.run("member", *change).stdout
    refused = one.run("member", *slip, code=1).stderr
    assert "node0 is sealed for node0, node1, node3, and this would seal node1 for node0, node1, node4" in refused
    refused = one.run("epoch", "seal", "--next", "node0,node1,node4", "--yes", code=1).stderr
    assert "node1 is not sealed" in refused
    one.stop()
    one.start()  # it is told so again
    until(
        "node0 is there", lambda: any(at["id"] == "node0" and at["connected"] for at in one.peers().get("members", []))
    )
    assert "this would seal node1" in one.run("member", *slip, code=1).stderr
    zero.stop()  # its last word stands
    assert "this would seal node1" in one.run("member", *slip, code=1).stderr
    assert one.is_("complete")
    assert (
        "sealed   node1 in epoch 1 of node0, node1, node2; next: node0, node1, node3"
        in one.run("member", *change).stdout
    )


def test_two_seals_begin_one_epoch_only(
    make_homes: Callable[..., list[Member]], validator: Judged, rival: Judged
) -> None:
    """Fault (a): node0, node1 and node4 began epoch 2, and node3 began it alone from
    the same seals.
    """
    zero, one, two = (member.start() for member in make_homes("net", 3))
    whole([zero, one, two])
    validator.connect()
    validator.must_sign(PRECOMMIT, 5)
    two.kill()
    three = prepare(make_homes, zero, "node3", [zero, one, two]).serves(rival)
    four = prepare(make_homes, zero, "node4", [zero, one, two])
    following = ("node0", "node1", "node4")
    seals = [seal(member, following) for member in (zero, one)]
    for member in (zero, one):
        assert "for ever" in member.run("epoch", "seal", "--next", "node3", "--yes", code=1).stderr
        member.stop()
        assert "for ever" in member.run("epoch", "seal", "--next", "node3", "--yes", code=5).stderr
    ports = {member.id: member.raft_port() for member in (zero, one, three, four)}
    rewrite(three, [three], ports)
    refused = three.run("epoch", "begin", "--members", "node3", *files_of(seals), code=5)
    assert "the seals name node0, node1, node4 as the members of epoch 2" in refused.stderr
    for member in (zero, one, four):
        rewrite(member, [zero, one, four], ports)
    begin([zero, one, four], seals)
    four.start()
    one.start()
    validator.connect()
    validator.must_refuse(PRECOMMIT, 5, block="bb")
    validator.must_sign(PRECOMMIT, 6)


def test_a_member_of_two_that_lost_its_store_after_the_other_was_sealed_is_recovered_and_sealed(
    make_homes: Callable[..., list[Member]], validator: Judged
) -> None:
    """A sealed member answers nobody, and of two both seals are needed: the node says what to type,
    and that leads to the first signature.

    Here the sealed one runs on; tests/e2e/test_recover.py has it switched off.
    """
    zero, one = (member.start() for member in make_homes("net", 2))
    whole([zero, one])
    validator.connect()
    validator.must_sign(PRECOMMIT, 5)
    following = (zero.id, one.id)
    seals = [seal(zero, following)]
    one.kill()
    shutil.rmtree(one.home / "data" / one.id)
    one.start()
    until("it says whom it waits for in vain", lambda: "is sealed and answers nobody" in one.peers().get("why", ""))
    assert (
        "cmkms recover --min-height" in one.run("epoch", "seal", "--next", ",".join(following), "--yes", code=1).stderr
    )
    one.stop()
    one.run("recover", "--min-height", "6", "--yes-height", "6")
    refused = one.run("epoch", "seal", "--next", ",".join(following), "--yes", code=5).stderr
    assert "start it while node0 runs, and seal it then" in refused
    one.start()
    until("it has met node0", lambda: one.is_("complete"))
    seals.append(seal(one, following))
    for member in (zero, one):
        member.stop()
    begin([zero, one], seals, "--min-height", "6", "--yes-height", "6")
    for member in (zero, one):
        member.start()
    validator.connect()
    validator.must_refuse(PRECOMMIT, 6)
    validator.must_sign(PRECOMMIT, 7)


@pytest.mark.long
def test_a_member_that_lost_everything_after_a_change_is_told_the_epoch_and_recovers(
    make_homes: Callable[..., list[Member]], validator: Judged
) -> None:
    """Faults (b) and (e): it cannot begin again; it starts, with its own priv/, another node's, or
    the key alone.
    """
    zero, one, two = (member.start() for member in make_homes("net", 3))
    whole([zero, one, two])
    validator.connect()
    validator.must_sign(PRECOMMIT, 5)
    two.kill()
    three, _ = replace_node2(make_homes, zero, one, two)
    members = [member.start() for member in (zero, one, three)]
    whole(members)
    validator.connect()
    validator.must_sign(PRECOMMIT, 6)
    seals = sorted((zero.home / "seals").glob("*.seal"))
    for height, (victim, source) in enumerate([(one, None), (three, one), (zero, three)], 7):
        victim.kill()
        shutil.rmtree(victim.home / "data" / victim.id)
        if source is None:
            refused = victim.run("epoch", "begin", *files_of(seals), code=5)
            assert "was in epoch 2 already" in refused.stderr
        else:  # a new machine: priv/ of another node, once with its born.json
            shutil.rmtree(victim.home / "priv")
            shutil.copytree(source.home / "priv", victim.home / "priv")
            if victim is zero:
                (victim.home / "priv" / "born.json").unlink()
        validator.must_sign(PRECOMMIT, height)
        victim.start()
        whole(members)
        assert epoch_of(victim) == 2
        validator.must_refuse(PRECOMMIT, height, block="bb")
    validator.must_sign(PRECOMMIT, 10)


def test_a_store_that_was_put_back_cannot_vouch_for_what_it_forgot(
    make_homes: Callable[..., list[Member]], validator: Judged
) -> None:
    """Fault (c): node0 and node1 signed; an old copy of node0 is sealed with node2, which lags, and
    node1 is lost.
    """
    zero, one, two = (member.start() for member in make_homes("net", 3))
    whole([zero, one, two])
    validator.connect()
    validator.must_sign(PRECOMMIT, 5)
    for member in (zero, two):
        member.stop()
    old = zero.home.with_name("old-copy")
    shutil.copytree(zero.home, old)
    zero.start()
    # Height 6, asked of node1 while it still leads alone, would be burnt by node0, which starts
    # beside its promise (rule 8).
    until("node0 counts again", lambda: zero.is_("complete"))
    validator.connect()
    for height in range(6, 12):
        validator.must_sign(PRECOMMIT, height)
    zero.kill()
    one.kill()
    shutil.rmtree(zero.home)
    old.rename(zero.home)
    three = prepare(make_homes, zero, "node3", [zero, one, two])
    following = ("node0", "node2", "node3")
    seals = [seal(member, following) for member in (zero, two)]
    members = [zero, two, three]
    ports = {member.id: member.raft_port() for member in members}
    for member in members:
        rewrite(member, members, ports)
    refused = zero.run("epoch", "begin", *files_of(seals), code=5)
    assert "these seals do not show all that epoch 1 may have signed: 1 of 3 members gave no seal" in refused.stderr
    assert "--min-height" in refused.stderr
    begin([zero, two], seals, "--min-height", "20", "--yes-height", "20")
    zero.start()
    two.start()
    validator.connect()
    for height in (6, 11, 20):
        validator.must_refuse(PRECOMMIT, height, block="bb")
    validator.must_sign(PRECOMMIT, 21)


def test_old_seals_are_refused_with_the_cure(make_homes: Callable[..., list[Member]], validator: Judged) -> None:
    [old] = make_homes("one", 1)
    old.start()
    validator.connect()
    validator.must_sign(PRECOMMIT, 5)
    old.stop()
    refused = old.run("epoch", "begin", "--seal", "cmkms-seal-1:AAAA", code=5)
    assert "cmkms epoch seal --next LIST" in refused.stderr


def lose_two(make_homes: Callable[..., list[Member]], validator: Judged) -> tuple[Member, Member, Member]:
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
    until("the wiped one knows that it is, and waits", lambda: zero.is_("recovering"))

    def met() -> bool:
        seen = zero.peers()
        return bool(seen) and seen["members"][1]["connected"] and "node2 (not connected" in seen["why"]

    until("it has met the other, and misses the third", met)

    def said_once() -> bool:
        return cmkms("--home", str(zero.home), "status").stdout.count("NOT HEALTHY") == 1

    until("its status is served and says so", said_once)
    assert zero.run("status", code=1)
    until("neither leads", lambda: [member.peers().get("is_leader") for member in (zero, one)] == [False, False])
    zero.stop()
    return zero, one, two


def test_a_wiped_node_takes_a_dead_ones_store_for_its_answer(
    make_homes: Callable[..., list[Member]], validator: Judged
) -> None:
    zero, _, two = lose_two(make_homes, validator)
    zero.run("recover", "--from-store", str(two.home / "data" / "node2" / "promises"), "--yes")
    zero.start()
    validator.connect()
    validator.must_refuse(PRECOMMIT, 5, block="bb")
    validator.must_sign(PRECOMMIT, 6)
    until("it says that it is complete", lambda: zero.is_("complete"))


def test_beside_a_dead_node_a_wiped_one_is_vouched_for_by_a_height_and_the_dead_one_replaced(
    make_homes: Callable[..., list[Member]], validator: Judged
) -> None:
    zero, one, two = lose_two(make_homes, validator)
    one.stop()
    zero.run("recover", "--min-height", "20", "--yes-height", "20")
    three = prepare(make_homes, zero, "node3", [zero, one, two])
    following = ("node0", "node1", "node3")
    refused = zero.run("epoch", "seal", "--next", ",".join(following), "--yes", code=5).stderr
    assert "has not met 1 of node1, node2 since" in refused
    seals = [seal(one, following)]
    seals.append(seal(zero, following, *files_of(seals)))
    members = [zero, one, three]
    ports = {member.id: member.raft_port() for member in members}
    for member in members:
        rewrite(member, members, ports)
    # nobody can say that no old copy was sealed
    begin([zero, one], seals, "--min-height", "20", "--yes-height", "20")
    for member in members:
        member.start()
    whole(members)
    validator.connect()
    validator.must_refuse(PRECOMMIT, 20)
    validator.must_sign(PRECOMMIT, 21)
