"""Each hot function, C against pure Python, through the one typed interface."""

import base64
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from nacl.signing import SigningKey

from cometkms import native, purepy
from cometkms.interface import Core
from cometkms.ipc.queues import make_queue
from cometkms.model import HRS, BlockID, Dialect, Kind, Message, Row, Timestamp, Vote, Watermark
from cometkms.store.promise_store import Header, NodeState, PromiseStore

CHAIN = "bench-1"
SEED = bytes(range(32))


def time_ns(function: Callable[[], object], budget_s: float = 0.3) -> float:
    """The best mean of five rounds, nanoseconds a call."""
    function()
    started, calls = time.perf_counter(), 0
    while time.perf_counter() - started < budget_s / 5:
        function()
        calls += 1
    best = float("inf")
    for _ in range(5):
        begun = time.perf_counter_ns()
        for _ in range(calls):
            function()
        best = min(best, (time.perf_counter_ns() - begun) / calls)
    return best


def functions(core: Core) -> dict[str, Callable[[], object]]:
    public = bytes(SigningKey(SEED).verify_key)
    slot = core.key_slot(bytearray(base64.b64encode(SEED + public)), CHAIN)
    vote = Vote(2, 1, 0, BlockID(b"a" * 32, 1, b"b" * 32), Timestamp(1_700_000_000, 5), b"v" * 20)
    message = Message(Kind.SIGN_VOTE_REQUEST, CHAIN, vote=vote)
    wire = core.encode_message(Dialect.PROTO, message)
    request = core.check_request(Dialect.PROTO, CHAIN, message)
    other = core.check_request(
        Dialect.PROTO, CHAIN, Message(Kind.SIGN_VOTE_REQUEST, CHAIN, vote=Vote(2, 1, 0, vote.block_id, Timestamp(9, 9)))
    )
    frames = core.frames(b"1" * 32, b"2" * 32)
    queue = make_queue(core.name)
    session = core.session(Dialect.PROTO, CHAIN, None, b"")

    def take_and_sign() -> None:
        session.inbox[: len(wire)] = wire
        session.received(len(wire))
        asked = session.next_request()
        if asked is None:
            raise RuntimeError("the request was not decoded")
        session.answer_sign(slot, asked.sign_bytes)

    def seal_and_open() -> None:
        core.frames(b"2" * 32, b"1" * 32).open(core.frames(b"1" * 32, b"2" * 32).seal(wire))

    def queue_round() -> None:
        queue.push(wire)
        queue.pop()

    return {
        "decode a vote request": lambda: core.decode_message(Dialect.PROTO, wire),
        "judge it, make its sign bytes": lambda: core.check_request(Dialect.PROTO, CHAIN, message),
        "parse sign bytes": lambda: core.parse_sign_bytes(request.sign_bytes),
        "same but timestamp": lambda: core.same_but_timestamp(request.sign_bytes, other.sign_bytes),
        "seal one frame": lambda: frames.seal(wire),
        "seal and open one frame": seal_and_open,
        "key slot signs": lambda: slot.sign(request.sign_bytes),
        "queue: push and pop": queue_round,
        "request to answer, without the disk": take_and_sign,
    }


def run() -> list[dict[str, object]]:
    cores = [functions(native.load()), functions(purepy.CORE)]
    rows = []
    for name in cores[0]:
        fast, slow = (time_ns(functions[name]) for functions in cores)
        rows.append({"what": name, "native_ns": round(fast), "pure_ns": round(slow), "ratio": round(slow / fast, 1)})
    return [*rows, store_row()]


def store_row() -> dict[str, object]:
    """One promise on this disk: the same code for both cores."""
    row = Row(b"k" * 32, CHAIN)
    with tempfile.TemporaryDirectory(dir=os.environ.get("CMKMS_BENCH_DIR", ".")) as name:
        header = Header("n", 1, ("n",), NodeState.COMPLETE, bytes(8))
        store = PromiseStore.create(Path(name) / "promises", header, [(row, Watermark())])
        times = []
        for height in range(1, 1001):
            begun = time.perf_counter_ns()
            store.write_mark(0, Watermark(HRS(height, 0, 1), b"x" * 110))
            times.append(time.perf_counter_ns() - begun)
        store.close()
    return {
        "what": "promise: write one sector, fdatasync (p50)",
        "native_ns": sorted(times)[500],
        "pure_ns": None,
        "ratio": None,
    }
