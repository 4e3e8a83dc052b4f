"""`cmkms recover` as docs/CLUSTER.md and docs/RUNBOOK.md tell it, to the first signature: and once
more with the old machine coming back.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

from cometkms.errors import SupersededError
from tests.e2e.node import PRECOMMIT, Validator, cmkms, free_port, until
from tests.e2e.test_cluster_commands import (
    PATIENCE_S,
    Judged,
    Member,
    between_epochs,
    carry,
    judge,
    make_homes,
    validator,
    whole,
)

__all__ = ["judge", "make_homes", "validator"]

Homes = Callable[..., list[Member]]
HEIGHT = "20"
FAR = "500000"  # of which the third finds nothing plausible by itself


def three(make_homes: Homes, validator: Validator) -> tuple[Member, Member, Member]:
    """That run, and signed height 5."""
    zero, one, two = members = [member.start() for member in make_homes("net", 3)]
    whole(members)
    validator.connect()
    validator.must_sign(PRECOMMIT, 5)
    return zero, one, two


def wipe(member: Member) -> Path:
    """Its machine is gone; returns the disk that was in it."""
    member.kill()
    disk = member.home.with_name(f"old-{member.id}")
    shutil.copytree(member.home, disk, ignore=shutil.ignore_patterns("*control.sock"))
    shutil.rmtree(member.home / "data")
    return disk


def recover(member: Member) -> None:
    member.run("recover", "--min-height", HEIGHT, "--yes-height", HEIGHT)


def signs_above(validator: Validator, height: int = 20) -> None:
    validator.connect()
    validator.must_refuse(PRECOMMIT, 5, block="bb")
    validator.must_refuse(PRECOMMIT, height)
    validator.must_sign(PRECOMMIT, height + 1)


def old_machine(member: Member, disk: Path) -> Member:
    """The one that was replaced, switched on again, with its own address."""
    member.kill()  # the address is the same: the new one is away just then
    old = Member(disk)
    old.id = member.id
    return old.start()


def ends_superseded(old: Member) -> None:
    assert old.process is not None
    assert old.process.wait(PATIENCE_S) == SupersededError.exit_code, old.log()
    assert f"another store stands for {old.id} now" in old.log()


def test_one_wiped_beside_one_lost_for_good_while_the_third_runs_on(make_homes: Homes, validator: Validator) -> None:
    zero, one, two = three(make_homes, validator)
    two.kill()
    disk = wipe(zero)
    recover(zero)
    zero.start()
    signs_above(validator)
    until("what was recovered counts", lambda: zero.is_("complete"))
    assert "an older copy was put back" not in zero.log() + one.log()

    old = old_machine(zero, disk)
    ends_superseded(old)
    zero.start()
    validator.connect()
    validator.must_refuse(PRECOMMIT, 21, block="bb")
    validator.must_sign(PRECOMMIT, 22)

    two.start()  # it was not lost for good after all
    whole([zero, one, two])
    validator.must_sign(PRECOMMIT, 23)


def test_both_lost_ones_are_new_one_is_recovered_and_the_other_reads(make_homes: Homes, validator: Validator) -> None:
    zero, one, two = three(make_homes, validator)
    wipe(zero)
    disk = wipe(two)
    for member in (zero, two):
        member.start()
    until("each waits for the other", lambda: all(m.is_("recovering") for m in (zero, two)))
    zero.stop()
    recover(zero)
    zero.start()
    whole([zero, one, two])
    signs_above(validator)

    old = old_machine(two, disk)
    ends_superseded(old)
    two.start()
    whole([zero, one, two])
    validator.connect()
    validator.must_sign(PRECOMMIT, 22)


def test_the_third_takes_the_height_of_two_that_were_recovered_far_above_it_and_leads(
    make_homes: Homes, validator: Validator
) -> None:
    zero, one, two = three(make_homes, validator)
    for member in (zero, two):
        wipe(member)
        member.run("recover", "--min-height", FAR, "--yes-height", FAR)
        member.start()
    whole([zero, one, two])

    def leads() -> bool:
        return one.leads() or (cmkms("--home", str(one.home), "leader", "transfer", "--to", one.id) and one.leads())

    until("the third leads", leads)
    signs_above(validator, int(FAR))
    until("its log says so", lambda: "is taken for the chain's" in one.log())


def test_all_are_lost_and_recovered(make_homes: Homes, validator: Validator) -> None:
    members = three(make_homes, validator)
    disks = [wipe(member) for member in members]
    for member in members:
        recover(member)
        member.start()
    whole(list(members))
    signs_above(validator)

    old = old_machine(members[1], disks[1])
    ends_superseded(old)
    members[1].start()
    whole(list(members))
    validator.connect()
    validator.must_sign(PRECOMMIT, 22)


def test_recovered_twice_and_started_in_another_order(make_homes: Homes, validator: Validator) -> None:
    zero, one, two = three(make_homes, validator)
    for member in (zero, one, two):
        wipe(member)
        recover(member)
    recover(one)  # typed once more
    two.start()
    one.start()
    signs_above(validator)
    zero.start()
    whole([zero, one, two])
    validator.must_sign(PRECOMMIT, 22)


def test_one_of_two_is_lost_after_the_other_was_sealed_and_switched_off(make_homes: Homes, validator: Judged) -> None:
    """It can meet nobody: a sealed node does not start.

    What the seal of the other says of it is as good, and every step is named by the last.
    """
    zero, one = members = [member.start() for member in make_homes("net", 2)]
    whole(members)
    shutil.rmtree(wipe(one))  # its store begins anew, and node0 records that
    one.start()
    whole(members)
    validator.connect()
    validator.must_sign(PRECOMMIT, 5)
    change = ("add", f"node2=127.0.0.1:{free_port()}", "--yes")
    zero.run("member", *change)
    zero.stop()
    disk = wipe(one)
    carry([zero], [one])

    one.start()
    until("it knows that it lost its store", lambda: one.is_("recovering"))
    assert (
        "this node lost what it promised, and without its seal there is no majority: stop this node; cmkms recover"
        in (one.run("member", *change).stdout)
    )
    one.stop()
    recover(one)
    listed = ",".join(("node0", "node1", "node2"))
    refused = one.run("epoch", "seal", "--next", listed, "--yes", code=5).stderr
    assert "has not met node0 since" in refused
    one.start()  # as the cure says first; but node0 does not start
    assert "was sealed here" in zero.run("start", code=5).stderr
    assert "has not met node0 since" in one.run("epoch", "seal", "--next", listed, "--yes", code=1).stderr
    assert (
        "Where one is sealed and stopped: stop this node, then the `cmkms member` command of that change here"
        in one.peers()["why"]
    )
    one.stop()
    assert "node1 begins epoch 2 with node0, node1, node2" in one.run("member", *change).stdout
    carry([one], [zero])
    assert "node0 begins epoch 2 with node0, node1, node2" in zero.run("member", *change).stdout
    for member in members:
        member.start()
    signs_above(validator)

    old = old_machine(one, disk)
    until("it says that it is of another epoch", lambda: between_epochs(old))
    validator.gets_nothing(22)
    old.kill()
    one.start()
    validator.connect()
    validator.must_refuse(PRECOMMIT, 21, block="bb")
    validator.must_sign(PRECOMMIT, 22)
