"""Each hot function, C against pure Python, through the one typed interface."""

import base64
import os
import select
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nacl.signing import SigningKey

from cometkms.core import native
from cometkms.core.interface import Core, Queue
from cometkms.core.pure import core as pure
from cometkms.ipc.queues import make_queue
from cometkms.keytypes import BLS12_381, ED25519, KEY_TYPES, KeyType
from cometkms.model import HRS, BlockID, Dialect, Kind, Message, Permit, Row, Timestamp, Vote, Watermark
from cometkms.state.acceptor import Acceptor
from cometkms.state.proposer import Proposer
from cometkms.store.promise_store import Header, NodeState, PromiseStore
from cometkms.wire.queue_messages import Reserve, encode

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
        session.answer_sign(slot, Permit(asked.sign_bytes))

    def seal_and_open() -> None:
        core.frames(b"2" * 32, b"1" * 32).open(core.frames(b"1" * 32, b"2" * 32).seal(wire))

    def queue_round() -> None:
        queue.push(wire)
        queue.pop()

    def signs(key_type: KeyType) -> Callable[[], object]:
        secret = SEED[::-1]  # a key of every type
        other_slot = core.key_slot(bytearray(base64.b64encode(secret)), CHAIN, key_type)
        return lambda: other_slot.sign(Permit(request.sign_bytes))

    def signs_prepared(key_type: KeyType) -> Callable[[], object]:
        other_slot = core.key_slot(bytearray(base64.b64encode(SEED[::-1])), CHAIN, key_type)
        other_slot.prepare(request.sign_bytes)
        return lambda: other_slot.sign(Permit(request.sign_bytes))

    others = {f"key slot signs, {one.name}": signs(one) for one in KEY_TYPES if one is not ED25519}
    return {
        "decode a vote request": lambda: core.decode_message(Dialect.PROTO, wire),
        "judge it, make its sign bytes": lambda: core.check_request(Dialect.PROTO, CHAIN, message),
        "parse sign bytes": lambda: core.parse_sign_bytes(request.sign_bytes),
        "same but timestamp": lambda: core.same_but_timestamp(request.sign_bytes, other.sign_bytes),
        "seal one frame": lambda: frames.seal(wire),
        "seal and open one frame": seal_and_open,
        "key slot signs": lambda: slot.sign(Permit(request.sign_bytes)),
        **others,
        "key slot signs, bls12_381, prepared": signs_prepared(BLS12_381),
        "queue: push and pop": queue_round,
        "request to answer, without the disk": take_and_sign,
    }


def run(budget_s: float = 0.3) -> dict[str, dict[str, Any]]:
    """Of each function the nanoseconds a call, and how many times slower pure Python is."""
    cores = [functions(native.load()), functions(pure.CORE)]
    rows: dict[str, dict[str, Any]] = {}
    for name in cores[0]:
        fast, slow = (time_ns(functions[name], budget_s) for functions in cores)
        rows[name] = {"C, ns": round(fast), "Python, ns": round(slow), "ratio": round(slow / fast, 1)}
    fast, slow = (queue_trip_ns(core, max(50, int(budget_s * 10_000))) for core in ("native", "pure"))
    rows["queue: to another process and back (p50)"] = {
        "C, ns": fast,
        "Python, ns": slow,
        "ratio": round(slow / fast, 1),
    }
    return rows | promises(max(50, int(budget_s * 3000)))


def queue_trip_ns(core: str, count: int) -> int:
    """A message to a process that sleeps on its queue, and its echo."""
    there, back = make_queue(core), make_queue(core)
    child = os.fork()
    if child == 0:
        try:
            _echo(there, back)
        finally:
            os._exit(0)
    times = []
    for _ in range(count):
        begun = time.perf_counter_ns()
        there.push(b"x" * 150)
        while back.pop() is None:
            select.select([back.fileno()], [], [], 5)
        times.append(time.perf_counter_ns() - begun)
    there.push(b"end")
    os.waitpid(child, 0)
    return sorted(times)[len(times) // 2]


def _echo(there: Queue, back: Queue) -> None:
    while True:
        message = there.pop()
        if message == b"end":
            return
        if message is None:
            select.select([there.fileno()], [], [], 5)
        else:
            back.push(message)


def promises(count: int) -> dict[str, dict[str, Any]]:
    """One promise on this disk, decided, written and synced: by the hot path in C, by its twin; and
    the write alone.
    """
    row = Row(b"k" * 32, CHAIN)
    with tempfile.TemporaryDirectory(dir=os.environ.get("CMKMS_BENCH_DIR", ".")) as name:

        def store(path: str) -> PromiseStore:
            header = Header("n", 1, ("n",), NodeState.COMPLETE, bytes(8))
            return PromiseStore.create(Path(name) / path, header, [(row, Watermark())])

        hot = _hot_promises(store("hot"), count)
        twin = _twin_promises(store("twin"), count)
        alone = store("alone")
        written = []
        for height in range(1, count + 1):
            begun = time.perf_counter_ns()
            alone.write_mark(0, Watermark(HRS(height, 0, 1), b"x" * 110))
            written.append(time.perf_counter_ns() - begun)
        alone.close()
    middle = count // 2
    return {
        "promise: judge, write, fdatasync, permit (p50)": {
            "C, ns": hot[middle],
            "Python, ns": twin[middle],
            "ratio": round(twin[middle] / hot[middle], 1),
        },
        "promise: write one sector, fdatasync (p50)": {
            "C, ns": None,
            "Python, ns": sorted(written)[middle],
            "ratio": None,
        },
    }


def _sign_bytes(round_: int) -> bytes:
    vote = Vote(1, 1, round_, BlockID(b"a" * 32, 1, b"b" * 32), Timestamp(1_700_000_000, 5))
    return (
        native.load().check_request(Dialect.PROTO, CHAIN, Message(Kind.SIGN_VOTE_REQUEST, CHAIN, vote=vote)).sign_bytes
    )


def _hot_promises(store: PromiseStore, count: int) -> list[int]:
    requests, permits = make_queue("native"), make_queue("native")
    hot = native.load().hot_path(
        path=store.path,
        fd=store.fileno(),
        nonce=1,
        quorum=1,
        others=(),
        rows=store.rows,
        chains=(0,),
        permits=permits,
        may=lambda: (True, True),
        on_synced=lambda _: None,
        on_permit=lambda _: None,
    )
    store.keep_in(hot.records)
    hot.set_reach(0, 1)
    times = []
    for round_ in range(1, count + 1):
        message = encode(Reserve(7, round_, 0, HRS(1, round_, 2), _sign_bytes(round_)))
        begun = time.perf_counter_ns()
        requests.push(message)
        hot.take(requests)
        if permits.pop() is None:
            raise RuntimeError(f"no permit for round {round_}")
        times.append(time.perf_counter_ns() - begun)
    store.close()
    return sorted(times)


def _twin_promises(store: PromiseStore, count: int) -> list[int]:
    core = pure.CORE
    acceptor = Acceptor(store, (0,), parse_sign_bytes=core.parse_sign_bytes, wall_clock=time.time)
    proposer = Proposer(
        row=0,
        public_key=store.rows[0].key,
        me="n",
        others=(),
        acceptor=acceptor,
        ask=lambda *_: None,
        same_but_timestamp=core.same_but_timestamp,
    )
    times = []
    for round_ in range(1, count + 1):
        sign_bytes = _sign_bytes(round_)
        begun = time.perf_counter_ns()
        if not isinstance(proposer.propose(HRS(1, round_, 2), sign_bytes), Permit):
            raise RuntimeError(f"no permit for round {round_}")
        times.append(time.perf_counter_ns() - begun)
    store.close()
    return sorted(times)
