"""The node killed, or its disk failing, at each step of a signature: never two
signatures for one place.

The faults are made by tests/faults/shim.c under the node's own system calls; the judge is the real
validator outside.
"""

import errno
import os
from collections.abc import Callable

import pytest

from tests.e2e.faults import Faults
from tests.e2e.node import PRECOMMIT, PREVOTE, Node, Validator, ballot, cmkms, free_tcp, until

#: where a signature is cut: (system call, path, what happens)
POINTS = {
    "before the store": ("pwrite", "/promises", "kill-before"),
    "between write and sync": ("pwrite", "/promises", "kill-after"),
    "after the sync, before the permit": ("fdatasync", "/promises", "kill-after"),
    "before the reply": ("send", "", "kill-before"),
    "after the reply": ("send", "", "kill-after"),
    "while the state file is written": ("fsync", "priv_validator_state", "kill-before"),
    "before the state file is renamed": ("rename", "priv_validator_state", "kill-before"),
}


@pytest.mark.parametrize("other_first", [False, True], ids=["same block first", "other block first"])
@pytest.mark.parametrize("point", POINTS)
def test_a_kill_at_each_step_never_lets_two_blocks_be_signed(
    point: str,
    other_first: bool,
    faults: Faults,
    make_node: Callable[..., Node],
    make_validator: Callable[..., Validator],
) -> None:
    address = free_tcp()
    validator, node = make_validator(address), make_node(address)
    node.start(**faults.of(*POINTS[point]))
    validator.connect()
    validator.must_sign(PREVOTE, 10)
    faults.arm()
    cut = validator.ask(**ballot(PRECOMMIT, 10, block="aa"))
    signed = {"aa"} if cut.get("signature") else set()
    until("a child died", lambda: "child died" in node.log() or "node ended" in node.log())
    faults.must_have_happened()
    node.kill()
    faults.disarm()
    node.start()
    validator.connect()
    for block in ("bb", "aa") if other_first else ("aa", "bb"):
        if validator.sign(PRECOMMIT, 10, block=block, second=3).get("signature"):
            signed.add(block)
    assert len(signed) == 1, (signed, node.log())
    validator.must_sign(PREVOTE, 11)  # life goes on
    assert node.stop() == 0
    assert node.file_state()["height"] == "11"


@pytest.mark.parametrize("how", ["EIO", "ENOSPC", "short"])
@pytest.mark.parametrize("call", ["pwrite", "fdatasync"])
def test_a_disk_that_fails_gets_no_signature_and_no_second_chance(
    call: str,
    how: str,
    faults: Faults,
    make_node: Callable[..., Node],
    make_validator: Callable[..., Validator],
) -> None:
    if (call, how) == ("fdatasync", "short"):
        # there is no short sync: the state file's own sync fails instead
        call, how = "fsync", "EIO"
    address = free_tcp()
    validator, node = make_validator(address), make_node(address)
    path = "/promises" if call != "fsync" else "priv_validator_state"
    node.start(**faults.of(call, path, how))
    validator.connect()
    validator.must_sign(PREVOTE, 10)
    faults.arm()
    answer = validator.ask(**ballot(PRECOMMIT, 10, block="aa"))
    if call != "fsync":
        faults.must_have_happened()
        assert not answer.get("signature"), answer
    assert node.process is not None
    process = node.process
    until("the node gives up", lambda: process.poll() is not None)
    faults.must_have_happened()
    assert process.returncode == 7, node.log()
    last = node.log().splitlines()[-1]
    assert str(node.home) in last
    assert f"{os.strerror(getattr(errno, how) if how != 'short' else errno.ENOSPC).lower()}; cure: " in last, last
    faults.disarm()
    # half a sector is a torn record: one node alone cannot know what stood there
    if how == "short":
        start = cmkms("start", "--home", str(node.home))
        assert (start.returncode, "cmkms recover" in start.stderr) == (5, True)
        assert cmkms("recover", "--home", str(node.home), "--min-height", "9", "--yes-height", "9").returncode == 0
    node.start()
    validator.connect()
    validator.must_sign(PRECOMMIT, 10, block="aa", second=1)
    validator.must_refuse(PRECOMMIT, 10, block="bb")


def test_a_stop_waits_for_a_slow_disk_and_leaves_the_state_file_in_step(
    faults: Faults, make_node: Callable[..., Node], make_validator: Callable[..., Validator]
) -> None:
    """One write of it is under way, and one is to come: whoever takes the file elsewhere takes it
    for final.
    """
    address = free_tcp()
    validator, node = make_validator(address), make_node(address)
    node.start(**faults.of("fsync", "priv_validator_state", "slow"))
    validator.connect()
    validator.must_sign(PREVOTE, 10)
    faults.arm()
    validator.must_sign(PRECOMMIT, 10)
    until("the file is being written", lambda: faults.injected > 0)
    validator.must_sign(PREVOTE, 11)
    assert node.stop() == 0, node.log()
    assert node.file_state()["height"] == "11"
    assert not [line for line in node.log().splitlines() if "child killed" in line and "child=state" in line]


def test_kills_at_random_moments_under_load(
    make_node: Callable[..., Node], make_validator: Callable[..., Validator]
) -> None:
    """Twelve SIGKILLs of the whole node while requests run; a judge keeps every signature it saw."""
    address = free_tcp()
    validator, node = make_validator(address), make_node(address).start()
    validator.connect()
    judge: dict[tuple[int, int], set[tuple[str, int]]] = {}
    height = 0
    for _ in range(12):
        for _ in range(30):
            height += 1
            for kind in (PREVOTE, PRECOMMIT):
                request = ballot(kind, height, block="aa")
                validator.send(**request)
                if height % 30 == 15 and kind == PRECOMMIT:
                    node.kill()
                answer = validator.receive()
                if not answer.get("signature") and node.process is not None and node.process.poll() is None:
                    answer = validator.sign(
                        kind, height, block="aa"
                    )  # the disk took its time: as a validator asks again
                if answer.get("signature"):
                    judge.setdefault((height, kind), set()).add((answer["signature"], answer["seconds"]))
                if height % 30 == 15 and kind == PRECOMMIT:
                    node.start()
                    validator.connect()
                    for block, second in (("bb", 0), ("aa", 1), ("bb", 2)):
                        again = validator.sign(kind, height, block=block, second=second)
                        if again.get("signature"):
                            judge.setdefault((height, kind), set()).add((again["signature"], again["seconds"]))
    assert all(len(found) == 1 for found in judge.values()), {k: v for k, v in judge.items() if len(v) > 1}
    assert len(judge) == 2 * height
