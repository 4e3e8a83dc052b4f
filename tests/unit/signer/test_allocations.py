"""After warm-up a signature leaves nothing behind: no block of memory, no cycle for the collector,
which runs by hand (ipc/child.py).

That the C core itself allocates nothing at all is tests/lint/test_csrc.py's.
"""

import gc
import sys
from collections.abc import Callable
from pathlib import Path

from cometkms.model import Permit, Reason, Watermark
from cometkms.rules.incarnation import FIRST
from cometkms.wire.peer_messages import Promise, Promised
from cometkms.wire.queue_messages import PermitGranted, Reserve, decode
from tests.unit.signer.test_sign import NONCE, Stage
from tests.unit.state.test_hot import ROWS, Node, framed, promise, sign_bytes

WARMUP, SIGNATURES, ROUNDS = 500, 2000, 4
SLACK_BLOCKS = 20  # caches of the interpreter, not one block a signature


def growth(sign_one: Callable[[int], None]) -> int:
    """Blocks that so many signatures leave allocated; and nothing that only the collector would
    find.

    Of rounds after another it is the least: what a signature leaves is left in each of them, and
    what another thread of the tests' runner takes meanwhile is not.
    """
    gc.collect()  # it empties the interpreter's free lists: the warm-up fills them again
    gc.disable()
    try:
        for height in range(1, WARMUP):
            sign_one(height)
        grown = []
        for first in range(WARMUP, WARMUP + ROUNDS * SIGNATURES, SIGNATURES):
            before = sys.getallocatedblocks()
            for height in range(first, first + SIGNATURES):
                sign_one(height)
            grown.append(sys.getallocatedblocks() - before)
            if grown[-1] < SLACK_BLOCKS:  # no later round can say more
                break
        assert gc.collect() == 0
        return min(grown)
    finally:
        gc.enable()


def test_one_block_of_every_tenth_signature_is_seen() -> None:
    kept: list[bytes] = []

    def keep_one(height: int) -> None:
        if height % 10 == 0:
            kept.append(bytes(100))

    assert growth(keep_one) >= SIGNATURES // 10


def test_the_signers_hop_leaves_nothing_behind() -> None:
    stage = Stage(hot=True)
    stage.mark(0)
    connection = stage.connections[0]

    def sign_one(height: int) -> None:
        stage.ask(0, height, 1, 0)
        asked = decode(stage.reservations.pop() or b"")
        assert isinstance(asked, Reserve)
        stage.tell(PermitGranted(NONCE, asked.request_id, 0, Permit(asked.sign_bytes)))
        assert connection.theirs.recv(4096)
        stage.reservations.pop()  # the report
        assert stage.path is not None
        assert len(stage.path.drain()) == 1

    assert growth(sign_one) < SLACK_BLOCKS
    stage.close()


def test_the_leaders_hops_leave_nothing_behind(tmp_path: Path) -> None:
    node = Node(tmp_path / "promises")

    def sign_one(height: int) -> None:
        data = sign_bytes(ROWS[0], height)
        assert node.reserve(1, data, height) == []  # the signer's chain 1 is row 0
        for wire in node.wires:
            (asked,) = wire.received()
            assert isinstance(asked, Promise)
            wire.send(framed(Promised(asked.nonce, asked.request_id, Reason.NONE, Watermark(), height, FIRST)))
            assert wire.lane.turn(serve=True) == b""
        (permit,) = node.granted()
        assert permit.permit.sign_bytes == data
        node.synced.clear()
        node.permitted.clear()

    assert growth(sign_one) < SLACK_BLOCKS
    node.close()


def test_a_members_hop_leaves_nothing_behind(tmp_path: Path) -> None:
    node = Node(tmp_path / "promises")
    wire = node.wires[0]

    def answer_one(height: int) -> None:
        wire.send(framed(promise(ROWS[0], sign_bytes(ROWS[0], height), height)))
        assert wire.lane.turn(serve=True) == b""
        (answer,) = wire.received()
        assert isinstance(answer, Promised)
        node.synced.clear()

    assert growth(answer_one) < SLACK_BLOCKS
    node.close()
