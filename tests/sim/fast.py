"""The fast path in the simulation: the C core that ships, over a disk, a network and a clock that
the world makes.

    Calls       a machine's table of calls (csrc/calls.h): its simulated disk, sockets and clock
    PeerEnd     a machine's end of a connection to a member: the program's own Stream and lane; the
                world has its hands on the bytes
    FastState   what state/process.py does around the hot path
    FastSigner  what signer/process.py does around the signer's path
    Line        a validator's connection to a signer, as signer/link.py serves it

Agents and their links are in relays.py.

The world knows the keys of every connection. So it can delay, double, reorder and lose single
messages behind the ciphers' backs, as it does between nodes of the general path, and the receiver's
C opens and judges each of them.
"""

import contextlib
import errno
import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from cometkms._native import ffi

from cometkms.core import choose
from cometkms.core.interface import KeySlot, Request, Turn
from cometkms.core.native.hot import NativeHotPath
from cometkms.core.native.queue import RingQueue
from cometkms.core.native.sign import NativeSignPath
from cometkms.errors import ProtocolError
from cometkms.layouts import ROW_MAGIC
from cometkms.limits import INBOX_BYTES, PEER_FRAME_MAX_BYTES
from cometkms.model import HRS, Dialect, Kind, Message, Vote
from cometkms.rules.birth import NodeState
from cometkms.state.node import ClusterNode
from cometkms.state.peers.frames import HEAD, FrameReader, FrameType, Stream
from cometkms.store import promise_store
from cometkms.wire.queue_messages import decode
from tests.sim.disk import SimDisk

if TYPE_CHECKING:
    from tests.sim.ground import Connection
    from tests.sim.machine import Node
    from tests.sim.signing import Signer, Validator

CORE = choose.load()
KEY_IN, KEY_OUT = b"i" * 32, b"o" * 32
SHORT = 0.01  # of the sends of a lossy world: the socket does not take all of it
CUT = 0.05  # of the deliveries come in two pieces
SPOILT = 0.0005  # of the deliveries of a lossy world lack a byte: the connection ends by it
REPORT_DELAY_S = 0.002
LOG_LINES = 8
OUT_OF_ROOM = BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
Value = TypeVar("Value")
_fds = itertools.count(1 << 20)  # of sockets: no descriptor of this process has such a number


class Calls:
    """The calls of one machine's processes."""

    def __init__(
        self,
        disk: SimDisk,
        clock_ns: Callable[[], int],
        on_durable: Callable[[bytes], None],
        count: Callable[[str], None],
    ) -> None:
        """`on_durable`: is given every sector that a sync has made durable.

        `count`: is told each fault that C meets.
        """
        self.sockets: dict[int, Socket] = {}
        self._disk, self._on_durable, self._count = disk, on_durable, count
        self._written: dict[int, list[bytes]] = {}
        self.sending = False  # C, and not the general path
        self._raised: BaseException | None = None
        self._callbacks = {
            "recv": ffi.callback("ssize_t(int, void *, size_t, int)", self._recv),
            "send": ffi.callback("ssize_t(int, const void *, size_t, int)", self._send),
            "pwrite": ffi.callback("ssize_t(int, const void *, size_t, int64_t)", self._pwrite),
            "fdatasync": ffi.callback("int(int)", self._fdatasync),
            "now_ns": ffi.callback("uint64_t(void)", clock_ns),
        }
        self.table = ffi.new("ck_calls *", self._callbacks)

    def run(self, step: Callable[..., Value], *arguments: Any, **named: Any) -> Value:
        """A step that may enter C. What the world raised inside of it is raised here."""
        try:
            return step(*arguments, **named)
        finally:
            if self._raised is not None:
                raised, self._raised = self._raised, None
                raise raised

    def _result(self, step: Callable[..., int], *arguments: Any) -> int:
        try:
            return step(*arguments)
        except OSError as error:
            ffi.errno = error.errno
        except BaseException as error:  # noqa: BLE001 - C cannot pass it on: run() does
            self._raised = error
            ffi.errno = errno.EIO
        return -1

    def _recv(self, fd: int, into: Any, size: int, _flags: int) -> int:
        return self._result(self.sockets[fd].recv_into, ffi.buffer(into, size))

    def _send(self, fd: int, data: Any, size: int, _flags: int) -> int:
        self.sending = True
        sent = self._result(self.sockets[fd].send, bytes(ffi.buffer(data, size)))
        self.sending = False
        if sent < size:
            self._count("short send in C")
        return sent

    def _pwrite(self, fd: int, data: Any, size: int, offset: int) -> int:
        sector = bytes(ffi.buffer(data, size))
        self._written.setdefault(fd, []).append(sector)
        written = self._result(self._disk.pwrite, fd, sector, offset)
        if written < size:
            self._count("write failed in C" if written < 0 else "short write in C")
        return written

    def _fdatasync(self, fd: int) -> int:
        written = self._written.pop(fd, [])
        status = self._result(self._sync, fd, written)
        if status != 0:
            self._count("power lost in C's sync" if self._disk.dark else "sync failed in C")
        return status

    def _sync(self, fd: int, written: list[bytes]) -> int:
        self._disk.fdatasync(fd)
        for sector in written:
            self._on_durable(sector)
        return 0


class Socket:
    """A process's end of a stream.

    `take`: what becomes of the bytes it sends; `room`: how many of them it takes.

    `ended`: the other end is closed, and what has arrived is all there is.
    """

    def __init__(self, calls: Calls, take: Callable[[bytes], None], room: Callable[[int], int]) -> None:
        self.fd = next(_fds)
        self.arrived = bytearray()
        self.ended = False
        self._take, self._room = take, room
        self._calls = calls
        calls.sockets[self.fd] = self

    def recv_into(self, buffer: Any) -> int:
        size = min(len(buffer), len(self.arrived))
        if size == 0 and not self.ended:
            raise OUT_OF_ROOM
        buffer[0:size] = bytes(self.arrived[:size])
        del self.arrived[:size]
        return size

    def send(self, data: bytes | bytearray) -> int:
        size = self._room(len(data))
        if size == 0:
            raise OUT_OF_ROOM
        self._take(bytes(data[:size]))
        return size

    def close(self) -> None:
        self._calls.sockets.pop(self.fd, None)


def row_promised(sector: bytes, node: "Node") -> Any:
    """The mark that a sector of the promise store records."""
    found = promise_store._open_sector(ROW_MAGIC, sector, node.files.store_path)
    assert found is not None
    return promise_store._decode_row(found[1])[1].mark


class PeerEnd:
    """A machine's end of one connection to a member."""

    def __init__(self, node: "Node", connection: "Connection", other: str) -> None:
        self.node, self.world, self.connection, self.other = node, node.world, connection, other
        self.rng = node.world.wire
        assert node.calls is not None
        self.calls = node.calls
        self.incarnation = node.incarnation
        self.socket = Socket(self.calls, self.on_sent, self.room)
        self.stream = Stream(self.socket, CORE.frames(KEY_IN, KEY_OUT), b"")
        self.stream.reader.most = PEER_FRAME_MAX_BYTES
        self.open = True
        self.spoilt = self._reading = self._flushing = False
        self._coming = bytearray()
        self._inbox = bytearray(INBOX_BYTES)
        self._world_frames = CORE.frames(KEY_OUT, KEY_IN)
        self._sent = FrameReader(PEER_FRAME_MAX_BYTES)

    @property
    def member(self) -> str:
        return self.world.nodes[self.other].member

    def establish(self) -> None:
        """Both ends are known to each other: the plain messages are the lane's from now on."""
        if self.node.fast is not None and self.open:
            self.stream.adopt(self.node.fast.hot.lane(self.member, self.stream.frames, self.socket.fd))

    def close(self) -> None:
        """This machine is done with the connection."""
        if self.open:
            self.open = False
            if self.stream.lane is not None:
                self.stream.lane.close()

    # --- what leaves ---

    def room(self, size: int) -> int:
        return self.rng.randrange(size) if self.world.lossy and self.rng.random() < SHORT else size

    def on_sent(self, sealed: bytes) -> None:
        try:
            self._sent.feed(self._world_frames.open(sealed))
        except ProtocolError as error:
            raise self.world.violation(f"{self.node.name} sends bytes out of their order: {error}") from error
        while (frame := self._sent.next()) is not None:
            self.world.transmit(self.connection, self.node.name, self.other, frame[1])

    def write(self, payload: bytes) -> None:
        """A message of the general path."""
        self.stream.write(FrameType.DATA, payload)
        self.watch()

    def watch(self) -> None:
        """The socket takes bytes again after a while."""
        if self.stream.outbox.waits and not self._flushing:
            self._flushing = True
            self.world.after(self.rng.uniform(0.0005, 0.02), self.flush)

    def flush(self) -> None:
        if not self.lives:
            return
        if self.world.stands_still(self.node.frozen_until, self.flush):
            return
        self._flushing = False
        self.stream.outbox.flush()
        self.watch()

    @property
    def lives(self) -> bool:
        """Whether the process is there that this is an end of, and has not closed it."""
        return self.open and self.node.cluster is not None and self.node.incarnation == self.incarnation

    # --- what arrives ---

    def arrive(self, payload: bytes) -> None:
        """The network brings a message: whole, or its first bytes before the rest."""
        sealed = self._world_frames.seal(HEAD.pack(1 + len(payload), FrameType.DATA) + payload)
        if self.world.lossy and self.rng.random() < SPOILT:
            self.spoilt, sealed = True, sealed[1:]
            self.world.count("bytes lost")
        self._coming += sealed
        self.bring(self.rng.randrange(len(self._coming)) if self.rng.random() < CUT else len(self._coming))

    def bring(self, size: int) -> None:
        self.socket.arrived += self._coming[:size]
        del self._coming[:size]
        if self._coming:
            self.world.after(self.rng.uniform(0, 0.002), self.bring, len(self._coming))
        if self.socket.arrived and not self._reading:
            self._reading = True
            self.world.after(self.rng.uniform(0, 0.0003), self.on_readable)

    def on_readable(self) -> None:
        if not self.lives:
            return
        if self.world.stands_still(self.node.frozen_until, self.on_readable):
            return
        self._reading = False
        self.connection.heard[self.node.name] = self.world.now
        try:
            self.node.guarded(self.turn)
        except ProtocolError as error:
            self.world.on_broken(self.connection, self.other, self.node.name, error)
            return
        if self.lives:
            self.watch()
            self.bring(0)

    def turn(self) -> None:
        """As state/peers/: one receipt, and what of it is not the lane's."""
        try:
            more = self.calls.run(self.stream.receive, self._inbox)
        except BlockingIOError:
            return
        except ProtocolError as error:
            if not self.spoilt:
                raise self.world.violation(f"{self.node.name} cannot open what arrives: {error}") from error
            raise
        finally:
            if self.node.fast is not None:
                self.node.fast.judge()
        while more and self.lives and (frame := self.stream.reader.next()) is not None:
            assert self.node.cluster is not None
            self.node.cluster.on_frame(self.member, frame[1])


class FastState:
    """The hot path of a node's state process."""

    def __init__(self, node: "Node", cluster: ClusterNode) -> None:
        opened = node.opened
        assert opened is not None
        assert node.queues is not None
        assert node.calls is not None
        self.node = node
        self.permitted = 0
        hot = CORE.hot_path(
            path=opened.store.path,
            fd=opened.store.fileno(),
            nonce=cluster.nonce,
            quorum=cluster.epoch.quorum,
            others=cluster.epoch.others,
            rows=opened.store.rows,
            chains=opened.rows,
            permits=node.queues.permits,
            may=cluster.may,
            on_synced=lambda took_ns: cluster.reservations.sync_ns.add(took_ns),
            on_permit=lambda took_ns: cluster.reservations.round_trip_ns.add(took_ns),
        )
        assert isinstance(hot, NativeHotPath)
        self.hot = hot
        self.hot.c.calls = node.calls.table

    def on_queue(self) -> None:
        """As state/process.py: plain reservations are on their way before the rest is looked at."""
        node = self.node
        assert node.queues is not None
        assert node.calls is not None
        while node.fast is self:
            try:
                rest, taken = node.calls.run(self.hot.take, node.queues.requests)
            finally:
                self.judge()
            if taken == 0:
                return
            for end in node.ends():
                end.stream.outbox.collect()
                end.watch()
            assert node.cluster is not None
            node.cluster.reservations.on_hot()
            for untrusted in rest:
                node.cluster.on_signer(decode(untrusted))

    def judge(self) -> None:
        """A permit that was made here rests on a majority, like any other."""
        if self.hot.c.permitted != self.permitted:
            self.permitted = self.hot.c.permitted
            self.node.world.count("permits in C")
            place = self.hot.c.places[0]
            self.node.world.judge_permit(bytes(ffi.buffer(place.bytes, place.bytes_len)))


class Queues:
    """The two rings between a machine's processes; they outlive both."""

    def __init__(self) -> None:
        self.requests, self.permits = RingQueue(), RingQueue()

    def close(self) -> None:
        self.requests.close()
        self.permits.close()


class FastSigner:
    """The signer's path of a node's signer process, and its validators' connections."""

    def __init__(self, signer: "Signer", slot: KeySlot) -> None:
        node = signer.node
        assert node.queues is not None
        assert node.calls is not None
        self.signer, self.world, self.calls, self.queues = signer, signer.world, node.calls, node.queues
        self.queues.permits.discard()
        path = CORE.sign_path(
            nonce=signer.nonce,
            reservations=self.queues.requests,
            permits=self.queues.permits,
            slots=[slot],
        )
        assert isinstance(path, NativeSignPath)
        self.path = path
        self.path.c.calls = self.calls.table
        self.lines: dict[int, Line] = {}
        self.numbers = itertools.count()
        self._following = False

    def on_queue(self) -> None:
        """As signer/process.py: everything that the state process said, in its order."""
        more = True
        while more and self.signer.alive:
            untrusted, answered, more = self.calls.run(self.path.take)
            for number in answered:
                self.world.count("signed in C")
                self.follow_up()
                line = self.lines.get(number)
                if line is not None:
                    line.on_answered()
                elif self.signer.port is not None:
                    self.signer.port.on_answered(number)
            if untrusted is not None:
                self.signer.on_message(decode(untrusted))

    def follow_up(self) -> None:
        if not self._following:
            self._following = True
            self.world.after(REPORT_DELAY_S, self.on_follow_up)

    def on_follow_up(self) -> None:
        self._following = False
        if self.signer.alive:
            self.queues.requests.wake()
            self.count_signatures()

    def count_signatures(self) -> None:
        for made in self.path.drain():
            self.signer.chain.on_signature(made)

    def settle(self) -> None:
        """A request waits for its permit."""
        if self.path.unseen >= LOG_LINES:
            self.count_signatures()

    def release(self) -> None:
        """The lease is gone: so are the connections."""
        self.count_signatures()
        for line in tuple(self.lines.values()):
            line.drop()


def message_size(data: bytearray) -> int | None:
    """How many bytes the privval message in front has with its length; None while it is not whole."""
    size, used = 0, 0
    while used < len(data):
        byte = data[used]
        size |= (byte & 127) << 7 * used
        used += 1
        if byte < 128:
            return used + size if len(data) >= used + size else None
    return None


class Line:
    """One connection between a validator and the signer that dialled it; a `Requester`.

    Sealed for every other one.
    """

    remote_identity = b""

    def __init__(self, validator: "Validator", signer: "Signer") -> None:
        assert signer.fast is not None
        self.validator, self.signer, self.fast, self.world = validator, signer, signer.fast, signer.world
        self.rng = signer.world.wire
        self.name = validator.name
        self.number = next(self.fast.numbers)
        sealed = self.number % 2 == 1
        self._frames = CORE.frames(KEY_OUT, KEY_IN) if sealed else None
        self.session = CORE.session(
            Dialect.PROTO, self.world.chain_id, CORE.frames(KEY_IN, KEY_OUT) if sealed else None, b""
        )
        self.socket = Socket(self.fast.calls, self.on_sent, self.room)
        self.open = True
        self.busy = self._reading = False
        self.outbox = bytearray()
        self.answer = bytearray()  # what the validator has received of it
        self.asked: Vote | None = None
        self.fast.lines[self.number] = self
        lane = signer.chain.lane(self.number, self, self.session, self.socket.fd)
        assert lane is not None
        self.lane = lane

    def serves(self, session: object) -> bool:
        return self.open and self.session is session and self.signer.serves(session)

    def ask(self, vote: Vote) -> None:
        """The validator sends a request."""
        self.asked = vote
        self.answer.clear()
        wire = CORE.encode_message(Dialect.PROTO, Message(Kind.SIGN_VOTE_REQUEST, self.world.chain_id, vote=vote))
        self.bring(self._frames.seal(wire) if self._frames is not None else wire)

    def bring(self, data: bytes) -> None:
        cut = self.rng.randrange(len(data)) if self.rng.random() < CUT else len(data)
        self.socket.arrived += data[:cut]
        if cut < len(data):
            self.world.after(self.rng.uniform(0, 0.002), self.bring, data[cut:])
        self.read_soon()

    def read_soon(self) -> None:
        if self.socket.arrived and not self._reading:
            self._reading = True
            self.world.after(self.rng.uniform(0, 0.0005), self.on_readable)

    def waits(self, step: Callable[[], None]) -> bool:
        """Whether the process stands still; it goes on with `step`."""
        return self.world.stands_still(self.signer.still_until, step)

    def on_readable(self) -> None:
        """As signer/link.py, _take()."""
        if not self.open or not self.signer.alive or self.waits(self.on_readable):
            return
        self._reading = False
        if self.busy:
            return
        node = self.signer.node
        started_ns = int(node.clock() * 1e9)
        last = self.fast.path.c.sections[0].last
        signed = HRS(last.height, last.round, last.step)
        try:
            found = self.fast.calls.run(self.lane.turn)
        except BlockingIOError:
            return
        if found is Turn.RESERVED:
            self.world.count("reserved in C")
            self.world.judge_reservation(self.asked, signed)
            self.busy = True
            self.fast.settle()
        elif isinstance(found, Request):
            self.busy = True
            self.signer.chain.submit(self, self.session, found, started_ns)
        else:
            self.read_soon()

    # --- the answer ---

    def deliver(self, frame: bytes, *, refused: bool | None = None) -> None:
        """The general path's answer."""
        self.busy = False
        sent = 0
        if not self.outbox:
            try:
                sent = self.socket.send(frame)
            except BlockingIOError:
                sent = 0
        self.keep(frame[sent:])
        self.read_soon()

    def on_answered(self) -> None:
        """The path answered."""
        self.busy = False
        self.keep(self.lane.take_unsent())
        self.read_soon()

    def keep(self, unsent: bytes) -> None:
        if unsent:
            if not self.outbox:
                self.world.after(self.rng.uniform(0.0005, 0.02), self.on_writable)
            self.outbox += unsent
            self.lane.blocked = True

    def on_writable(self) -> None:
        if not self.open or not self.signer.alive or self.waits(self.on_writable):
            return
        with contextlib.suppress(BlockingIOError):
            del self.outbox[: self.socket.send(self.outbox)]
        if self.outbox:
            self.world.after(self.rng.uniform(0.0005, 0.02), self.on_writable)
        else:
            self.lane.blocked = False

    def room(self, size: int) -> int:
        return self.rng.randrange(size) if self.world.lossy and self.rng.random() < SHORT else size

    def on_sent(self, data: bytes) -> None:
        """Bytes that left the machine: whatever the validator does with them, they are judged."""
        try:
            self.answer += self._frames.open(data) if self._frames is not None else data
        except ProtocolError as error:
            raise self.world.violation(f"{self.signer.node.name}'s signer sends bytes out of their order") from error
        size = message_size(self.answer)
        if size is None or self.asked is None:
            return
        if len(self.answer) > size:
            raise self.world.violation("an answer has more bytes than one message")
        vote, self.asked = self.asked, None
        self.world.after(self.rng.uniform(0, 0.001), self.validator.on_line, self, vote, bytes(self.answer))

    def drop(self) -> None:
        """Closed, by whichever end."""
        if self.open:
            self.open = False
            self.lane.close()
            self.session.close()
            self.fast.lines.pop(self.number, None)


def record_durable(node: "Node") -> Callable[[bytes], None]:
    """What a sync on this machine made durable, for the judge of permits."""

    def on_durable(sector: bytes) -> None:
        mark = row_promised(sector, node)
        if mark.sign_bytes and node.opened is not None and node.opened.store.header.state is NodeState.COMPLETE:
            node.world.promised.setdefault((mark.hrs, mark.sign_bytes), set()).add(node.member)

    return on_durable
