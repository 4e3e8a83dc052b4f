"""Procedures of docs/CLUSTER.md, RUNBOOK.md and MOVING.md to the first signature, with the old
machine coming back when it hurts most.

Those that have tests of their own elsewhere are in the table of docs/SAFETY.md, "Every procedure
and its tests".
"""

import os
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.e2e.cluster import Judge, Rivals
from tests.e2e.namespaces import Namespaces
from tests.e2e.node import CHAIN, PRECOMMIT, ballot, cmkms, free_port, until
from tests.e2e.test_cluster_commands import (
    Judged,
    Member,
    begin,
    carry,
    entry,
    files_of,
    judge,
    lose_two,
    make_homes,
    prepare,
    replace_node2,
    rival,
    seal,
    validator,
    whole,
)
from tests.e2e.test_incarnations import lead, machines, said
from tests.e2e.test_recover import recover, signs_above, wipe
from tests.vectors.moving.homes import CHAIN as OLD_CHAIN
from tests.vectors.moving.homes import old_home

pytestmark = pytest.mark.long

__all__ = ["judge", "machines", "make_homes", "rival", "validator"]

Homes = Callable[..., list[Member]]


def three(make_homes: Homes, validator: Judged) -> tuple[Member, Member, Member]:
    """That run, and signed height 5."""
    zero, one, two = members = [member.start() for member in make_homes("net", 3)]
    whole(members)
    validator.connect()
    validator.must_sign(PRECOMMIT, 5)
    return zero, one, two


def test_a_key_that_went_out_of_a_cluster_signs_there_and_comes_back(
    make_homes: Homes, validator: Judged, rival: Judged, tmp_path: Path
) -> None:
    """MOVING "Out of a cluster", and back: whoever was not sealed, and whoever was,
    signs nothing meanwhile.
    """
    zero, one, two = members = three(make_homes, validator)
    two.stop()
    names = ("node0", "node1", "node2")
    seals = [seal(member, names) for member in (zero, one)]
    for member in (zero, one):
        member.stop()
    gaia = tmp_path / "gaia"
    for folder in ("config", "data"):
        (gaia / folder).mkdir(parents=True)
    zero.run("export", "--to", "filepv", str(gaia), *files_of(seals), "--yes")
    keys = {
        "key_file": str(gaia / "config" / "priv_validator_key.json"),
        "state_file": str(gaia / "data" / "priv_validator_state.json"),
    }
    assert validator.ask(cmd="load_filepv", **keys)["verified"]
    for height, block in ((5, "bb"), (6, "aa"), (7, "aa")):
        asked = ballot(PRECOMMIT, height, 0, block)
        answer = validator.ask(**asked, target="filepv")
        assert bool(answer.get("signature")) is (height > 5), answer

    two.serves(rival).start()  # it was not sealed, and is no majority
    assert "this key went out, to filepv" in zero.run("start", code=5).stderr
    assert "was sealed here" in one.run("start", code=5).stderr
    until("it is there, and knows no leader", two.knows_no_leader)
    rival.gets_nothing(1)
    two.stop()
    two.serves(validator)

    for member in (zero, one):
        done = member.run("import", "--from", "filepv", str(gaia), "--yes")
        assert "Done: test-1 stands at height 7 round 0 step 3 (signed)" in done.stdout
    begin(list(members), seals)
    for member in members:
        member.start()
    whole(list(members))
    validator.connect()
    for height in (6, 7):
        validator.must_refuse(PRECOMMIT, height, block="bb")
    validator.must_sign(PRECOMMIT, 8)


def gives_nothing(rival: Judged, *heights: int) -> None:
    """Whoever serves it signs no other block at these heights, nor at the next."""
    for height in (*heights, max(heights) + 1):
        answer = rival.ask(**ballot(PRECOMMIT, height, 0, "ee"))
        assert not answer.get("signature"), (height, answer)


def refuses(member: Member, validator: Judged, height: int) -> None:
    """Also when that member leads, whom the validator asks."""
    until(f"{member.id} is a member", lambda: member.is_("complete"))
    assert not validator.ask(**ballot(PRECOMMIT, height, 0, "ee")).get("signature")


def alone(member: Member, disk: Path, rival: Judged) -> Member:
    """The old machine with its old disk, serving another validator, beside nobody that
    has its id here.
    """
    old = Member(disk)
    old.id = member.id
    return old.serves(rival).start()


def test_two_are_lost_for_good_and_another_id_takes_the_place_of_one(
    make_homes: Homes, validator: Judged, rival: Judged
) -> None:
    """RUNBOOK "Two nodes are lost", last row: first under the old ids, then a change of members.

    Then both old machines come back.
    """
    zero, one, two = three(make_homes, validator)
    disks = {member.id: wipe(member) for member in (zero, two)}
    for member in (zero, two):
        member.start()
    until("each waits for the other", lambda: all(m.is_("recovering") for m in (zero, two)))
    zero.stop()
    recover(zero)
    zero.start()
    whole([zero, one, two])
    signs_above(validator)
    # whose start met node2 while that had yet to recover: a seal vouches after all others were read
    zero.stop()
    zero.start()
    whole([zero, one, two])
    two.kill()
    fourth, _ = replace_node2(make_homes, zero, one, two)
    members = [member.start() for member in (zero, one, fourth)]
    whole(members)
    validator.connect()
    validator.must_refuse(PRECOMMIT, 21, block="bb")
    validator.must_sign(PRECOMMIT, 22)

    old = alone(two, disks["node2"], rival)
    until("it runs, and knows no leader", old.knows_no_leader)
    gives_nothing(rival, 5, 22)
    # both at once, each with the disk that was declared lost, are beyond any protocol
    # (docs/SAFETY.md)
    old.kill()
    zero.stop()
    other = alone(zero, disks["node0"], rival)
    until("it runs, and knows no leader", other.knows_no_leader)
    gives_nothing(rival, 5, 22)
    other.kill()
    zero.start()
    whole(members)
    validator.must_sign(PRECOMMIT, 23)


def test_all_are_lost_and_new_homes_are_made_for_new_machines(
    make_homes: Homes, validator: Judged, rival: Judged, tmp_path: Path
) -> None:
    """RUNBOOK "All nodes are lost".

    One old machine, which nobody expected, comes back with its disk.
    """
    old = three(make_homes, validator)
    for member in old:
        member.kill()
    backup = tmp_path / "backup"
    backup.mkdir()
    shutil.copy(old[0].home / "priv" / "priv_validator_key.json", backup)
    (backup / "priv_validator_state.json").write_text('{"height":"0","round":0,"step":0}')
    new = make_homes("new", 3, "--key-file", str(backup / "priv_validator_key.json"))
    for member in new:
        recover(member)
        member.start()
    whole(new)
    signs_above(validator)

    new[1].stop()
    old[1].serves(rival).start()
    until("it runs, and knows no leader", old[1].knows_no_leader)
    gives_nothing(rival, 5, 21)
    old[1].stop()
    new[1].start()
    whole(new)
    validator.connect()
    validator.must_sign(PRECOMMIT, 22)


def test_members_are_sealed_for_two_lists_and_go_on_with_the_one_that_has_a_majority(
    make_homes: Homes, validator: Judged
) -> None:
    """RUNBOOK "Members are sealed for different lists", second row. Then the old homes are started."""
    zero, one, two = three(make_homes, validator)
    two.kill()
    new = prepare(make_homes, zero, "node3", [zero, one, two])
    change = ("member", "replace", "node2", entry(new), "--yes")
    zero.run(*change)
    one.run("member", "replace", "node2", "node4=127.0.0.1:9", "--yes", "--although-sealed-for-others")
    two.start()
    until("node2 is there", lambda: bool(two.peers()))
    two.run(*change, "--although-sealed-for-others")
    for member in (zero, one, two):
        member.stop()
    carry([zero, two], [zero, new])
    height = ("--min-height", "20", "--yes-height", "20")
    assert "node0 begins epoch 2 with node0, node1, node3" in zero.run(*change, *height).stdout
    new.run(*change, *height)
    begin([new], sorted((new.home / "seals").glob("*.seal")), *height)
    zero.start()
    new.start()
    validator.connect()
    signs_above(validator)

    old = one.home.rename(one.home.with_name("node1-old"))
    shutil.copytree(zero.home / "priv", one.home / "priv")
    shutil.copy(old / "config.toml", one.home)
    members = [zero, one, new]
    one.configure([member.id for member in members], {member.id: member.raft_port() for member in members})
    one.start()
    whole(members)
    zero.stop()
    validator.connect()
    validator.must_refuse(PRECOMMIT, 21, block="bb")
    validator.must_sign(PRECOMMIT, 22)

    one.stop()  # the old home has its addresses
    back = Member(old)
    back.id = "node1"
    for member in (back, two):
        assert "was sealed here" in member.run("start", code=5).stderr


def file_pv(validator: Judged, home: Path) -> Callable[..., dict[str, object]]:
    """CometBFT's own signer on the files of a home, made if they are missing."""
    for folder in ("config", "data"):
        (home / folder).mkdir(parents=True, exist_ok=True)
    files = {"key_file": "config/priv_validator_key.json", "state_file": "data/priv_validator_state.json"}
    asked = {name: str(home / path) for name, path in files.items()}
    assert validator.ask(cmd="load_filepv", **asked)["verified"]

    def sign(height: int, block: str = "aa") -> dict[str, object]:
        return validator.ask(**ballot(PRECOMMIT, height, 0, block), target="filepv")

    return sign


def taken_over(members: Sequence[Member], gaia: Path) -> None:
    for member in members:
        for name in ("priv_validator_key.json", "priv_validator_state.json"):
            (member.home / "priv" / name).unlink()
        member.run("import", "--from", "filepv", str(gaia), "--yes")


def test_a_key_is_imported_into_a_new_cluster_while_the_old_signer_signs_once_more(
    make_homes: Homes, validator: Judged, tmp_path: Path
) -> None:
    """MOVING "Into a cluster": after the last import that was made anywhere counts,
    wherever it was made.
    """
    gaia = tmp_path / "gaia"
    sign = file_pv(validator, gaia)
    assert sign(10)["signature"]
    members = make_homes("net", 3)
    taken_over(members, gaia)
    assert sign(11)["signature"]
    members[2].run("import", "--from", "filepv", str(gaia), "--yes")
    for member in members:
        member.start()
    whole(members)
    validator.connect()
    for height in (10, 11):
        validator.must_refuse(PRECOMMIT, height, block="bb")
    validator.must_sign(PRECOMMIT, 12)


def test_a_cluster_whose_key_signed_elsewhere_is_raised_on_a_majority(
    make_homes: Homes, validator: Judged, tmp_path: Path
) -> None:
    """MOVING "Into a cluster", of one that has lived, and RUNBOOK "The key may be in use
    elsewhere": it is our own forgotten machine.
    """
    gaia = tmp_path / "gaia"
    elsewhere = file_pv(validator, gaia)
    assert elsewhere(2)["signature"]
    zero, one, two = members = make_homes("net", 3)
    taken_over(members, gaia)
    for member in members:
        member.start()
    whole(members)
    validator.connect()
    validator.must_sign(PRECOMMIT, 5)
    assert elsewhere(30)["signature"]
    zero.stop()
    move = ("import", "--from", "filepv", str(gaia), "--min-height", "40", "--yes")
    assert "answers at" in zero.run(*move, code=6).stderr
    one.stop()
    two.stop()
    assert "This holds once 2 of node0, node1, node2 have it" in zero.run(*move).stdout
    one.run(*move)
    two.start()  # the one that was not told, and whoever else comes first
    one.start()
    validator.connect()
    for height in (5, 30, 40):
        validator.must_refuse(PRECOMMIT, height, block="bb")
    validator.must_sign(PRECOMMIT, 41)
    zero.start()
    whole(members)
    assert zero.run("state", "show").stdout.count("height 41")


def test_the_clusters_secret_is_changed_and_a_node_comes_back_with_the_old_one(
    make_homes: Homes, validator: Judged, rival: Judged
) -> None:
    """CLUSTER "Who knows whom": all nodes are stopped for it; who has not got it is
    another node to the others.
    """
    zero, one, two = members = three(make_homes, validator)
    for member in members:
        member.stop()
    secret = os.urandom(32).hex()

    def give(member: Member) -> None:
        path = member.home / "priv" / "cluster.key"
        path.touch(0o600)
        path.write_text(secret)

    for member in (zero, one):
        give(member)
        member.start()
    two.serves(rival).start()
    validator.connect()
    validator.must_refuse(PRECOMMIT, 5, block="bb")
    validator.must_sign(PRECOMMIT, 6)
    until("it runs, and knows no leader", two.knows_no_leader)
    gives_nothing(rival, 6)
    two.stop()
    give(two)
    two.serves(validator).start()
    whole(list(members))
    validator.must_refuse(PRECOMMIT, 6, block="bb")
    validator.must_sign(PRECOMMIT, 7)


def test_a_disk_that_answered_for_its_dead_node_runs_again(make_homes: Homes, validator: Judged, rival: Judged) -> None:
    """CLUSTER "recover", from a dead node's store: that node was not dead after all, and is a
    member that was away.
    """
    zero, one, two = members = lose_two(make_homes, validator)
    zero.run("recover", "--from-store", str(two.home / "data" / "node2" / "promises"), "--yes")
    zero.start()
    validator.connect()
    validator.must_refuse(PRECOMMIT, 5, block="bb")
    validator.must_sign(PRECOMMIT, 6)
    two.serves(rival).start()
    refuses(two, rival, 6)
    # what it signs from here on it signs with the one that came back, and with the one that read
    # its disk
    one.stop()
    two.stop()
    two.serves(validator).start()
    until(
        "it counts again", lambda: two.is_("complete")
    )  # what is asked of node0 alone meanwhile it would burn (rule 8)
    validator.connect()
    validator.must_refuse(PRECOMMIT, 6, block="bb")
    validator.must_sign(PRECOMMIT, 7)
    one.start()
    whole(list(members))


def test_one_node_became_three_and_its_old_data_come_back(make_homes: Homes, validator: Judged) -> None:
    """CLUSTER "One node becomes three": with the peer list of the time, it would be its own
    majority; its priv/ knows better.
    """
    [old] = make_homes("one", 1)
    old.start()
    validator.connect()
    validator.must_sign(PRECOMMIT, 5)
    old.stop()
    image, settings = old.home.with_name("image"), (old.home / "config.toml").read_text()
    shutil.copytree(old.home / "data", image)
    new = [prepare(make_homes, old, name, [old]) for name in ("node1", "node2")]
    change = ("add", entry(old), *map(entry, new), "--yes")
    old.run("member", *change)
    carry([old], new)
    members = [old, *new]
    for member in members:
        assert f"{member.id} begins epoch 2" in member.run("member", *change).stdout or member is old
        member.start()
    whole(members)
    validator.connect()
    validator.must_sign(PRECOMMIT, 6)

    old.stop()
    listed = (old.home / "config.toml").read_text()
    shutil.rmtree(old.home / "data")
    image.rename(old.home / "data")
    (old.home / "config.toml").write_text(settings)
    assert "this node was in a later one" in old.run("start", code=5).stderr
    (old.home / "config.toml").write_text(listed)
    old.start()
    whole(members)
    validator.connect()
    validator.must_refuse(PRECOMMIT, 6, block="bb")
    validator.must_sign(PRECOMMIT, 7)


def test_a_jump_is_admitted_on_a_majority_and_one_that_was_away_comes_back(
    make_homes: Homes, validator: Judged, rival: Judged
) -> None:
    """RUNBOOK "height_jump": the one that was away was told nothing, and serves a validator that
    wants another block there.
    """
    zero, one, two = members = three(make_homes, validator)
    two.stop()
    validator.connect()
    assert "height jump" in validator.must_refuse(PRECOMMIT, 50_000)
    for member in (zero, one):
        member.run("chain", "admit", CHAIN, "--height", "50000", "--yes")
    validator.must_sign(PRECOMMIT, 50_000)
    two.serves(rival).start()
    refuses(two, rival, 50_000)
    refuses(two, rival, 6)
    whole(list(members))
    two.stop()
    two.serves(validator).start()
    whole(list(members))
    validator.connect()
    for height in (6, 50_000):
        validator.must_refuse(PRECOMMIT, height, block="bb")
    validator.must_sign(PRECOMMIT, 50_001)


def test_a_go_cluster_is_taken_over_where_it_is_and_one_of_its_nodes_signs_once_more(
    judge: Judge, tmp_path: Path
) -> None:
    """MOVING "From the Go CometKMS": its state file is this program's, so what it writes before the
    start counts; one node is forgotten.
    """
    homes = old_home(tmp_path, "cometkms")
    validator = Judged(judge, OLD_CHAIN)
    members = [Member(home) for home in sorted(homes.iterdir())]
    ids, ports = [member.id for member in members], {member.id: free_port() for member in members}
    for member in members:
        member.configure(ids, ports)
        path = member.home / "config.toml"
        path.write_text(re.sub(r"(?m)^http_addr = .*", f'http_addr = "127.0.0.1:{free_port()}"', path.read_text()))
        member.serves(validator)
    try:
        for member in members[:2]:
            member.run("import", "--from", "cometkms", *(str(one.home) for one in members), "--yes")
        state = members[1].home / "priv" / "priv_validator_state.json"
        # a supervisor had started the old one again
        state.write_text('{"height":"200","round":0,"step":3}')
        for member in members:
            member.start()
        whole(members)
        validator.connect()
        for height in (73, 200):
            validator.must_refuse(PRECOMMIT, height, block="bb")
        validator.must_sign(PRECOMMIT, 201)
    finally:
        validator.close()
        for member in members:
            if member.process is not None:
                member.kill()


# --- with machines of their own ---


def signs_led_by(nodes: Namespaces, rivals: Rivals, wanted: str) -> None:
    for name in nodes.ids:
        nodes.run(name)
    until("a leader", nodes.seen_leading)
    rivals.start()
    rivals.progress(3)
    lead(nodes, wanted)
    rivals.progress(3)


def test_a_disk_is_put_into_another_machine_and_the_old_one_runs_again_from_an_image(
    machines: tuple[Namespaces, Rivals],
) -> None:
    """RUNBOOK "Two nodes are lost", second row: node0 is gone, node2's disk is in new2; and node2,
    which led, comes back each time it can.
    """
    nodes, rivals = machines
    signs_led_by(nodes, rivals, "node2")
    nodes.pull("node0")
    rivals.progress(3)
    nodes.pull("node2")
    moved = nodes.node("new2")
    shutil.copytree(
        nodes.nodes["node2"].home / "data",
        moved.home / "data",
        ignore=shutil.ignore_patterns("*control.sock"),
        dirs_exist_ok=True,
    )
    for name in ("priv_validator_state.json", "born.json"):
        shutil.copy(nodes.nodes["node2"].home / "priv" / name, moved.home / "priv" / name)
    nodes.run("new2")
    rivals.progress(5)

    nodes.pull("node2", out=False)  # it lives on: node1 has new2
    rivals.progress(5)
    moved.kill()  # now it may come in, with a store that lacks the last promises
    until("node1 has met the old one", lambda: said(nodes, "node1", "node2"))
    nodes.nodes["node1"].kill()  # and what node1 remembers of its seq is gone, too
    nodes.run("node1")
    nodes.run("new2")
    rivals.progress(5)
    nodes.pull("node0", out=False)
    rivals.progress(5)


NEW_FIRST = {"node0": "node0", "node1": "node1", "node2": "node2", "new0": "node0"}


@pytest.mark.parametrize("machines", [NEW_FIRST], indirect=True, ids=["node0, which the others dial"])
def test_a_machine_is_replaced_at_another_address_while_the_old_one_answers_at_the_old_one(
    machines: tuple[Namespaces, Rivals],
) -> None:
    """RUNBOOK "Replace a machine", CLUSTER "a node moves": the lists change one by one, and the old
    node0, which led, is back in between.
    """
    nodes, rivals = machines
    signs_led_by(nodes, rivals, "node0")
    nodes.pull("node0")
    rivals.progress(3)
    nodes.run("new0")
    # in every list that is written from here on
    old, nodes.hosts["node0"] = nodes.hosts["node0"], nodes.hosts["new0"]
    nodes.nodes["node1"].stop()
    nodes.run("node1")
    rivals.progress(3)
    nodes.pull("node0", out=False)  # node2 dials it still
    until("node2 has the old one", lambda: nodes.log("node2").rfind("node0") > 0)
    rivals.progress(5)
    nodes.nodes["node2"].stop()
    nodes.run("node2")
    until("the new node0 is a member", lambda: said(nodes, "new0", "recovered: every other node was read"))
    rivals.progress(5)
    nodes.nodes["node0"].kill()  # with its own list, to which it belongs no more
    nodes.hosts["node0"] = old
    nodes.run("node0")
    home = str(nodes.nodes["new0"].home)

    def leads() -> bool:
        cmkms("leader", "transfer", "--to", "node0", "--home", home, "--id", "node0")
        return nodes.leads("new0")

    until("the new one leads", leads)
    rivals.progress(5)
