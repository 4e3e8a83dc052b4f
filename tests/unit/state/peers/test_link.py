"""One connection to a member: what its table allows, and what ends it."""

import asyncio
import socket
import struct

import pytest

from cometkms.core.interface import Core
from cometkms.limits import INBOX_BYTES
from cometkms.state.peers.frames import HEAD, FrameType
from cometkms.state.peers.link import TRANSITIONS, LinkStep, PeerLink, judge_pong
from tests.unit.state.doubles import Log
from tests.unit.state.peers.ends import authenticated, ended, pair, run, until


def test_a_ping_measures_the_round_trip_and_the_other_ends_clock(core: Core) -> None:
    """Both ends are this machine: its clock differs from itself by half a round trip at most."""

    async def work() -> None:
        a, b = pair()
        a.open(core, b)
        b.open(core, a)
        await until(lambda: a.network.document()[0]["rtt_us"] is not None)
        found = a.network.document()[0]
        assert abs(found["clock_ahead_ms"]) <= found["rtt_us"] / 2000 + 0.2
        await a.network.stop()
        await b.network.stop()

    run(work)


def test_a_clock_is_judged_in_the_middle_of_the_round_trip() -> None:
    assert judge_pong(1_000_000, 90_250_000_000, monotonic_ns=1_500_000, unix_ns=90_000_500_000) == (500.0, 249.8)
    assert judge_pong(5, 0, monotonic_ns=4, unix_ns=2_000_000_000) == (0.0, -2000.0)


def test_a_refused_hello_tells_both_sides_the_reason(core: Core) -> None:
    async def work() -> None:
        a, b = pair()
        a.refuse = "epochs differ: 1 here, 2 there"
        a.open(core, b)
        b.open(core, a)
        await until(lambda: "epochs differ" in a.log.text() and "refused by a: epochs differ" in b.log.text())
        assert not a.events
        assert not b.events
        assert a.network.counters()["refused"] >= 1
        await a.network.stop()
        await b.network.stop()

    run(work)


@pytest.mark.parametrize(
    "frame",
    [
        struct.pack("<IB", 1 << 30, FrameType.HELLO),
        struct.pack("<IB", 1, FrameType.DATA),
        struct.pack("<IB", 1, 99),
        struct.pack("<IB", 0, 0),
    ],
    ids=["a huge length", "data before the hello", "an unknown type", "a length of nothing"],
)
def test_what_breaks_the_framing_is_closed_and_counted(core: Core, frame: bytes) -> None:
    async def work() -> None:
        a, b = pair()
        a.open(core, b)
        reader, writer, handshake, _ = await authenticated(core, a, b)
        writer.write(handshake.frames.seal(frame))
        await ended(reader)
        writer.close()
        assert a.network.counters()["bad_frames"] == 1
        assert not a.events
        await a.network.stop()

    run(work)


def test_a_message_that_makes_no_sense_closes_the_connection(core: Core) -> None:
    async def work() -> None:
        a, b = pair()
        a.open(core, b)
        b.open(core, a)
        await until(lambda: a.network.connected() and b.network.connected())
        a.broken = True
        b.network.send("a", b"x")
        await until(lambda: "-b lost" in a.events)
        assert a.network.counters()["bad_frames"] == 1
        await a.network.stop()
        await b.network.stop()

    run(work)


class Owner:
    """Accepts every hello and remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def judge_hello(self, link: PeerLink, payload: bytes) -> str | None:
        return None

    def on_established(self, link: PeerLink) -> None:
        self.told.append("established")

    def on_data(self, link: PeerLink, payload: bytes) -> None:
        self.told.append("data")

    def on_pong(self, link: PeerLink, rtt_us: float, clock_ahead_ms: float) -> None:
        self.told.append("pong")

    def on_refused(self, link: PeerLink, reason: str) -> None:
        self.told.append("refused")

    def on_closed(self, link: PeerLink, why: str, *, closed: bool) -> None:
        self.told.append(why)


#: The frames that bring a link to each step.
WAYS = {
    LinkStep.GREETING: [],
    LinkStep.ACCEPTED: [FrameType.HELLO],
    LinkStep.WELCOME: [FrameType.OK],
    LinkStep.ESTABLISHED: [FrameType.HELLO, FrameType.OK],
}
PAYLOADS = {FrameType.PING: b"s" * 8, FrameType.PONG: b"e" * 16}


@pytest.mark.parametrize("step", WAYS)
@pytest.mark.parametrize("kind", FrameType)
def test_a_frame_moves_a_link_as_the_table_says_and_any_other_ends_it(
    core: Core, step: LinkStep, kind: FrameType
) -> None:
    async def work() -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        keys = b"o" * 32, b"i" * 32
        far = core.frames(*keys)

        def frame(kind: FrameType) -> bytes:
            payload = PAYLOADS.get(kind, b"")
            return HEAD.pack(1 + len(payload), kind) + payload

        owner, counters = Owner(), {"bad_frames": 0}
        link = PeerLink(
            owner, "b", ours, core.frames(*reversed(keys)), b"",
            address="", inbox=bytearray(INBOX_BYTES), counters=counters, log=Log(),
        )  # fmt: skip
        served = asyncio.ensure_future(link.serve(b"hello"))
        await asyncio.sleep(0)
        theirs.sendall(far.seal(b"".join(frame(one) for one in WAYS[step])))
        await until(lambda: link.step is step)
        before = list(owner.told)
        theirs.sendall(far.seal(frame(kind)))
        following = TRANSITIONS[step].get(kind)
        if following is None:
            assert await served is (step is LinkStep.ESTABLISHED)
            assert owner.told == [*before, f"a {kind.name} frame came out of order"]
            assert counters == {"bad_frames": 1}
        elif following is LinkStep.CLOSED:
            assert await served is (step is LinkStep.ESTABLISHED)
            assert owner.told[len(before)] == "refused"
            assert counters == {"bad_frames": 0}
        else:
            told = {FrameType.DATA: ["data"], FrameType.PONG: ["pong"]}.get(kind, [])
            if following is LinkStep.ESTABLISHED is not step:
                told = ["established"]
            if following is LinkStep.ESTABLISHED:  # what comes behind it shows that it was taken
                theirs.sendall(far.seal(frame(FrameType.DATA)))
                told = [*told, "data"]
            await until(lambda: (owner.told, link.step) == ([*before, *told], following))
            link.close("the test is over")
            assert await served is (following is LinkStep.ESTABLISHED)
        theirs.close()

    run(work)


def test_a_link_is_closed_once_and_says_nothing_more(core: Core) -> None:
    async def work() -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        owner = Owner()
        link = PeerLink(
            owner, "b", ours, core.frames(b"i" * 32, b"o" * 32), b"",
            address="", inbox=bytearray(INBOX_BYTES), counters={}, log=Log(),
        )  # fmt: skip
        link.close("first")
        link.close("second")
        assert owner.told == ["first"]
        assert not link.say(FrameType.DATA, b"x")
        assert not await link.serve(b"hello")
        assert theirs.recv(64) == b""
        theirs.close()

    run(work)
