"""What an attacker does in a process that is his.

Each returns what he got: the names of what went, so that nothing is "[]".
"""

import asyncio
import ctypes
import fcntl
import gc
import json
import mmap
import os
import signal
import socket
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Any

from cometkms.audit.files import name_of
from cometkms.board.memory import OneWriterMemory
from cometkms.core import choose
from cometkms.ipc.child import RELOAD_SECTION, ChildContext
from cometkms.model import HRS, BlockID, Dialect, Kind, Message, Permit, Timestamp, Vote, Watermark
from cometkms.state.node import ClusterNode
from cometkms.state.signatures import row_key
from cometkms.wire.peer_messages import Promise
from cometkms.wire.queue_messages import PermitGranted

_libc = ctypes.CDLL(None, use_errno=True)
_HEAD_AT, _CONTENT_AT, _SECTION_AT = 8, 16, 64
_OFD_UNLOCK = struct.pack("hhqqi4x", fcntl.F_UNLCK, os.SEEK_SET, 0, 0, 0)


class _Buffer(ctypes.Structure):
    """The beginning of Py_buffer, and room for the rest."""

    _fields_ = (("at", ctypes.c_void_p), ("rest", ctypes.c_byte * 256))


def address_of(view: memoryview) -> int:
    """Of what a view shows, read-only or not."""
    buffer = _Buffer()
    ctypes.pythonapi.PyObject_GetBuffer(ctypes.py_object(view), ctypes.byref(buffer), 0)
    return int(buffer.at)


def writable_by_force(memory: OneWriterMemory) -> memoryview | None:
    """The part of another process's board that lies here read-only, made writable;
    None: it cannot be.
    """
    at, size = address_of(memory.readable), len(memory.readable)
    if _libc.mprotect(ctypes.c_void_p(at), ctypes.c_size_t(size), mmap.PROT_READ | mmap.PROT_WRITE) != 0:
        return None
    return memoryview((ctypes.c_ubyte * size).from_address(at)).cast("B")


def put(memory: memoryview, data: bytes) -> None:
    """A section's content, as its writer would leave it there."""
    struct.pack_into("=II", memory, _SECTION_AT + _HEAD_AT, len(data), zlib.crc32(data))
    memory[_SECTION_AT + _CONTENT_AT : _SECTION_AT + _CONTENT_AT + len(data)] = data
    words = memory.cast("Q")
    words[_SECTION_AT // 8] = (words[_SECTION_AT // 8] | 1) + 1


def forge_the_board(context: ChildContext, parts: Any) -> list[str]:
    """The way to a signing oracle: a reload section with the attacker's validator, and heartbeats
    that have the others killed.
    """
    address, chain = os.environ["ATTACKER"], os.environ["ATTACKED_CHAIN"]
    bounds = {"stall_s": 0.0, "latency_s": 0.0, "disk_s": 0.0}
    forged = {"log_level": "info", "validator_addrs": {chain: [address]}, "alerts": bounds}
    board, went = context.board, []

    def attempt(name: str, work: Callable[[], object]) -> None:
        try:
            work()
        except Exception:  # noqa: BLE001 - what stood in the way does not matter to him
            return
        went.append(name)

    attempt("write the reload section", lambda: board.section(RELOAD_SECTION).write(forged))
    attempt("write the supervisor's section", lambda: board.section("supervisor").write({"children": []}))
    for other in ("state", "signer"):
        if other != context.name:
            attempt(f"beat for {other}", lambda other=other: board.beat(other))  # type: ignore[misc]
            attempt(f"forget {other}", lambda other=other: board.forget_beat(other))  # type: ignore[misc]
    for name, memory in board._memories.items():
        if name != context.name and (view := writable_by_force(memory)) is not None:
            went.append(f"mprotect {name}")
            view.cast("Q")[0] = 1
            put(view, json.dumps(forged).encode())
    return went


HOSTILE = (
    b"{", b"null", b"[]", b"\xff\xfe", b'{"chains": NaN}', b'{"chains": 1e999}', b'{"a":' * 9000, b'{"a": "\\ud800"}',
    b'{"chains": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", b'{"chains": 7, "hardening": "x", "warnings": {"a": 1}}',
    b'{"chains": [[], {"validators": 3, "counters": [], "latency_hist": {"buckets": [[], 1]}, "refusals": [{"at": "x"}]}]}',
    b'{"rows": [{"public_key": "zz", "chain_id": 5}], "members": {"a": 1}, "events": [{"at": null}], "why": []}',
    b'{"rows": [{"public_key": "zz", "chain_id": "c", "watermark": {"height": -18446744073709551615}, "signed_at": 1e300}]}',
    b'{"error": {}, "dropped": "many", "head": 3}', b'{"hardening": [{"process": 3}, 4]}',
)  # fmt: skip


def spoil_the_own_section(context: ChildContext, parts: Any) -> list[str]:
    """What is his he may write: one after the other, whatever could end a reader. The last stays."""
    view = context.board._memories[context.name].writable
    pieces = iter(HOSTILE * 4)
    loop = asyncio.get_running_loop()

    def next_piece() -> None:
        for piece in pieces:
            put(view, piece)
            loop.call_later(0.03, next_piece)
            return
        os.write(1, b'{"payload": "spoiled", "found": []}\n')
        loop.call_later(0.001, keep_spoilt)

    def keep_spoilt() -> None:
        put(view, HOSTILE[9])
        loop.call_later(0.02, keep_spoilt)

    next_piece()
    return []


def kill_by_a_descriptor(context: ChildContext, parts: Any) -> list[str]:
    """The kernel sends a signal of one's choice to a descriptor's owner, who is of one's choice,
    when something arrives there.
    """
    went, (here, there) = [], socket.socketpair()
    for pid in {os.getppid(), *range(os.getppid() - 2, os.getppid() + 64)} - {os.getpid()}:
        try:
            fcntl.fcntl(here, fcntl.F_SETOWN, pid)
            fcntl.fcntl(here, 10, signal.SIGKILL)  # F_SETSIG
            fcntl.fcntl(here, fcntl.F_SETFL, os.O_NONBLOCK | 0o20000)  # O_ASYNC
            there.send(b"x")
            went.append(f"a signal to {pid}")
        except OSError:
            continue
    return went


def change_modes(context: ChildContext, parts: Any) -> list[str]:
    """What may be read may be opened, and a descriptor is enough to change its mode: of the code
    that the next start needs, where that is his.
    """
    went = []
    for path in (os.path.dirname(choose.__file__), choose.__file__, "."):
        try:
            fd = os.open(path, os.O_RDONLY)
            # as it is: the program of these tests must live on
            os.fchmod(fd, os.fstat(fd).st_mode & 0o777)
            went.append(path)
        except OSError:
            continue
    return went


def leave_snares(context: ChildContext, parts: Any) -> list[str]:
    """In the audit process: what the next one finds in its directory, and the next start with it.

    What it could not leave is named.
    """
    missing = []

    def leave(name: str, work: Callable[[], object]) -> None:
        try:
            work()
        except OSError:
            missing.append(name)

    def huge() -> None:
        fd = os.open(name_of(2000), os.O_CREAT | os.O_WRONLY, 0o600)
        os.ftruncate(fd, 1 << 40)

    leave("a directory", lambda: os.mkdir(name_of(3000)))
    leave("a file that nobody may read", lambda: os.open(name_of(2001), os.O_CREAT | os.O_WRONLY, 0))
    leave("a file without end", huge)
    leave("a name beyond all", lambda: os.open(name_of(10**19), os.O_CREAT | os.O_WRONLY, 0o600))
    return missing


def everything(context: ChildContext, parts: Any) -> list[str]:
    """One after the other; spoiling goes on until the end."""
    return [
        attack
        for one in (forge_the_board, unlock_everything, kill_by_a_descriptor, change_modes, spoil_the_own_section)
        for attack in one(context, parts)
    ]


def open_descriptors() -> Iterator[int]:
    """His own, found without /proc."""
    for fd in range(3, 512):
        try:
            os.fstat(fd)
        except OSError:
            continue
        yield fd


def reach_out(context: ChildContext, parts: Any) -> list[str]:
    """From a process that talks to one host by another's hands: to anywhere else, to the key, and
    to the secret address at its place.
    """
    went = []
    host, port = os.environ["ELSEWHERE"].split(":")
    for family in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX):
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            try:
                socket.socket(family, kind)
                went.append(f"a socket of family {family}")
            except OSError:
                continue
    for path in os.environ["PRECIOUS"].split(":"):
        try:
            os.open(path, os.O_RDONLY)
            went.append(path)
        except OSError:
            continue
    # the connection to who connects: it takes a number, and has one only
    for fd in open_descriptors():
        for asked in (struct.pack("=II", 77, 1), f"{host}:{port}".encode().ljust(8)):
            try:
                end = socket.socket(fileno=os.dup(fd))
                if end.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE) != socket.SOCK_SEQPACKET:
                    continue
                end.send(asked)
                end.settimeout(2.0)
                _, fds, _, _ = socket.recv_fds(end, 64, 4)
                went += [f"{len(fds)} connections"] if fds else []
            except OSError:
                continue
    return went


def unlock_everything(context: ChildContext, parts: Any) -> list[str]:
    """Give up every lock of every descriptor here, and ask for none."""
    for fd in open_descriptors():
        for unlock in (
            lambda fd=fd: fcntl.flock(fd, fcntl.LOCK_UN),
            lambda fd=fd: fcntl.lockf(fd, fcntl.LOCK_UN),
            lambda fd=fd: fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _OFD_UNLOCK),
        ):
            try:
                unlock()  # type: ignore[no-untyped-call]
            except OSError:
                continue
    return []


def forge_permits(context: ChildContext, parts: Any) -> list[str]:
    """In the state process: each permit is for another block, for a lower place, for another chain,
    or for bytes that are none. Twenty, and then it is honest again.
    """
    node = next(one for one in gc.get_objects() if isinstance(one, ClusterNode))
    chain, core, honest = parts.settings.chains[0].id, choose.load(), node._outside.to_signer
    forged: list[int] = []

    def bytes_at(place: HRS, on: str) -> bytes:
        vote = Vote(
            place.step - 1, place.height, place.round, BlockID(b"e" * 32, 1, b"p" * 32), Timestamp(1_700_000_000, 0)
        )
        return core.check_request(Dialect.PROTO, on, Message(Kind.SIGN_VOTE_REQUEST, on, vote=vote)).sign_bytes

    def to_signer(message: Any) -> None:
        if not isinstance(message, PermitGranted) or len(forged) >= 20:
            honest(message)
            return
        place = core.parse_sign_bytes(message.permit.sign_bytes).hrs
        false = (
            bytes_at(place, chain),
            bytes_at(HRS(place.height - 1, 0, 3), chain),
            bytes_at(place, f"{chain}-2"),
            b"no sign bytes",
        )[len(forged) % 4]
        forged.append(place.height)
        honest(PermitGranted(message.nonce, message.request_id, message.chain, Permit(false)))
        if len(forged) == 20:
            os.write(1, json.dumps({"payload": "forged_permits", "found": len(forged)}).encode() + b"\n")

    node._outside.to_signer = to_signer  # type: ignore[method-assign]
    return []


def raise_the_marks(context: ChildContext, parts: Any) -> list[str]:
    """In the state process, as a member towards the others: once they are there, promise after
    promise, each 900 heights higher, and a million.
    """
    node = next(one for one in gc.get_objects() if isinstance(one, ClusterNode))
    row, chain = node.acceptor._store.rows[0], parts.settings.chains[0].id
    core, loop = choose.load(), asyncio.get_running_loop()
    asked: list[int] = []

    def bytes_at(height: int) -> bytes:
        vote = Vote(2, height, 0, BlockID(b"e" * 32, 1, b"p" * 32), Timestamp(1_700_000_000, 0))
        return core.check_request(Dialect.PROTO, chain, Message(Kind.SIGN_VOTE_REQUEST, chain, vote=vote)).sign_bytes

    def attack() -> None:
        others = node.epoch.others
        if (
            not node.membership.ready
            or not node.signed(0).signature
            or not all(node.roster.members[name].connected for name in others)
        ):
            loop.call_later(0.1, attack)
            return
        height = node.signed(0).hrs.height
        if len(asked) < 200:
            asked.append(height + 900 * (len(asked) + 1) + (1_000_000 if len(asked) % 2 else 0))
            for name in others:
                request_id = 1 << 40 | len(asked)
                promise = Promise(
                    node.nonce,
                    request_id,
                    row.public_key,
                    bytes_at(asked[-1]),
                    node.acceptor._store.seq,
                    node.membership.incarnation,
                )
                node.roster.send(name, promise)
            loop.call_later(0.005, attack)
            return
        found = {"payload": "raised_the_marks", "found": asked[-1]}
        os.write(1, json.dumps(found).encode() + b"\n")

    attack()
    return []


def poison_the_log(context: ChildContext, parts: Any) -> list[str]:
    """In the state process, once it leads: marks far up that no signature proves go into the
    replicated sign state, the newest of all.
    """
    node = next(one for one in gc.get_objects() if isinstance(one, ClusterNode))
    row, loop = node.acceptor._store.rows[0], asyncio.get_running_loop()

    def attack() -> None:
        if not node.leading or not node.signed(0).signature:
            loop.call_later(0.1, attack)
            return
        known, far = node.signed(0), HRS(1_000_000, 0, 3)
        false = (
            Watermark(far),
            Watermark(far, known.sign_bytes),
            Watermark(far, known.sign_bytes, known.signature),
            Watermark(far, known.sign_bytes, bytes(64)),
        )
        went = [node.leadership.raft.submit(row_key(row), one) for one in false]
        os.write(1, json.dumps({"payload": "poisoned_the_log", "found": sum(went)}).encode() + b"\n")

    attack()
    return []
