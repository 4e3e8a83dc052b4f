"""The peers' channel over real sockets: members reach each other, again and again."""

import itertools
import struct

import pytest

from cometkms.address import Address
from cometkms.board.sections import PeerState
from cometkms.core.interface import Core
from cometkms.limits import PEER_FRAME_MAX_BYTES, PEER_GREETINGS_MAX
from cometkms.state.peers.frames import FrameType
from cometkms.state.peers.network import PeerTarget, _Peer
from tests.unit.state.peers.ends import authenticated, ended, pair, run, until


def test_members_exchange_frames_in_order_whatever_their_size(core: Core) -> None:
    async def work() -> None:
        a, b = pair()
        a.open(core, b)
        b.open(core, a)
        await until(lambda: a.network.connected() and b.network.connected())
        sent = [bytes([n]) * size for n, size in enumerate((0, 1, 1023, 1024, 5000, PEER_FRAME_MAX_BYTES))]
        for one in sent:
            assert a.network.send("b", one)
            assert b.network.send("a", one)
        await until(lambda: len(a.got) == len(b.got) == len(sent))
        assert [payload for _, payload in b.got] == sent
        assert a.events == ["+b"]
        await a.network.stop()
        await until(lambda: "-a closed" in b.events)
        assert not b.network.send("a", b"x")
        await b.network.stop()

    run(work)


def test_a_peer_that_comes_back_is_connected_again(core: Core) -> None:
    async def work() -> None:
        a, b = pair()
        a.open(core, b)
        for _ in range(2):
            b.open(core, a)
            await until(lambda: a.network.connected() and b.network.connected())
            await b.network.stop()
            await until(lambda: not a.network.connected())
        assert a.events == ["+b", "-b closed"] * 2
        await a.network.stop()

    run(work)


def test_a_member_that_opens_one_connection_after_the_other_keeps_a_few(core: Core) -> None:
    """It proved who it is, so it is no stranger: without a bound of its own it would use up this
    process's descriptors.
    """

    async def work() -> None:
        a, b = pair()
        a.open(core, b)
        opened = [await authenticated(core, a, b) for _ in range(3 * PEER_GREETINGS_MAX)]
        for reader, *_ in opened[:-PEER_GREETINGS_MAX]:
            await ended(reader)
        kept = opened[-PEER_GREETINGS_MAX:]
        reader, writer, handshake, _ = kept[-1]
        hello = b"hello from b"
        sealed = handshake.frames.seal(struct.pack("<IB", 1 + len(hello), FrameType.HELLO) + hello)
        writer.write(sealed + handshake.frames.seal(struct.pack("<IB", 1, FrameType.OK)))
        await until(lambda: a.events == ["+b"])
        assert a.network.counters()["half_open_dropped"] == 2 * PEER_GREETINGS_MAX
        for _, one, *_ in opened:
            one.close()
        await until(lambda: a.events == ["+b", "-b closed"])
        await a.network.stop()

    run(work)


def test_the_one_of_two_that_waits_for_the_other_says_so_until_it_comes(core: Core) -> None:
    async def work() -> None:
        a, b = pair()
        a.open(core, b)
        told = a.network.document()[0]
        assert (told["error_code"], told["last_error"]) == (
            "not_dialled",
            f"it dials this node, and has not come to 127.0.0.1:{a.port} yet",
        )
        b.open(core, a)
        assert b.network.document()[0]["last_error"] == ""
        await until(lambda: a.network.connected() and b.network.connected())
        assert a.network.document()[0]["last_error"] == ""
        for end in (a, b):
            await end.network.stop()

    run(work)


def test_how_long_a_member_is_away_does_not_begin_anew_with_each_dial(monkeypatch: pytest.MonkeyPatch) -> None:
    now = itertools.count(1000.0)
    monkeypatch.setattr("cometkms.state.peers.network.time.time", lambda: next(now))
    peer = _Peer(PeerTarget("b", bytes(32), Address("127.0.0.1", 1)))
    coming = (PeerState.DIALING, PeerState.HANDSHAKE, PeerState.HELLO)
    seen = []
    for state in (
        *coming,
        PeerState.WAITING,
        *coming,
        PeerState.CONNECTED,
        PeerState.WAITING,
        *coming,
        PeerState.WAITING,
    ):
        peer.enter(state)
        seen.append((state, peer.since))
    assert [since for _, since in seen] == [0.0] * 7 + [1000.0] + [1001.0] * 5
