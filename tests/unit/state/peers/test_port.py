"""The peers' port: members get through, and nobody else gets anything out of it."""

import asyncio
import errno
import os
import socket

import pytest

from cometkms.board.sections import MemberReport
from cometkms.core.interface import Core
from cometkms.errors import BusyError
from cometkms.limits import PEER_HALF_OPEN_MAX
from cometkms.state.peers.frames import HEAD, FrameType
from cometkms.wire.identity import Identity
from cometkms.wire.why import PeerCode, Why
from tests.unit.state.peers.ends import End, authenticated, ended, pair, run, until


def test_another_identity_is_refused_on_both_sides_and_counted(core: Core) -> None:
    async def work() -> None:
        a, b = pair()
        a.open(core, b, key=Identity.generate().public_key)
        b.open(core, a, key=Identity.generate().public_key)
        await until(lambda: "is no member" in a.log.text() and "is not 'a' of this cluster" in b.log.text())
        assert a.network.counters()["strangers"] >= 1
        assert not a.events
        assert not b.events
        await a.network.stop()
        await b.network.stop()

    run(work)


def test_a_member_that_came_with_another_key_is_named_where_it_is_missed(core: Core) -> None:
    """Its own log knew, and those of the others; alert, status and doctor said to start it."""

    async def work() -> None:
        a, b = pair()
        a.open(core, b, key=Identity.generate().public_key)
        b.open(core, a, key=Identity.generate().public_key)

        def told() -> MemberReport:
            return a.network.document()[0]

        await until(lambda: told()["error_code"] == "stranger")
        assert told()["last_error"] == (
            f"it dials this node, and has not come to 127.0.0.1:{a.port} yet; a node at 127.0.0.1 calls itself 'b' and has another validator "
            "key or cluster.key"
        )
        assert "it calls itself 'b'" in a.log.text()
        assert b.network.document()[0]["error_code"] == "key", "it knows the other end by itself"
        await b.network.stop()
        a.network._peers["b"].claimed_at -= 60
        assert told()["error_code"] == "not_dialled", "no more is heard of it"
        a.network._on_claim("127.0.0.1", "b")
        a.network._peers["b"].last_error = Why(PeerCode.DIGEST, "digests differ")
        assert (told()["error_code"], told()["last_error"][:14]) == ("digest", "digests differ")
        await a.network.stop()

    run(work)


@pytest.mark.parametrize(
    "goodbye", [b"", b"[key] c", b"[key] b\n", b"[key] " + b"b" * 900, b"[digest] b", b"\xff" * 900]
)
def test_a_stranger_without_a_members_name_is_told_by_its_host_alone(core: Core, goodbye: bytes) -> None:
    async def work() -> None:
        a, b = pair()
        a.open(core, b, key=Identity.generate().public_key)
        reader, writer, handshake, _ = await authenticated(core, a, b)
        writer.write(handshake.frames.seal(HEAD.pack(1 + len(goodbye), FrameType.GOODBYE) + goodbye))
        await until(lambda: a.network.counters()["strangers"])
        await ended(reader)
        writer.close()
        assert a.network.document()[0]["last_error"].endswith(
            "; a node at 127.0.0.1 has another validator key or cluster.key"
        )
        assert not a.events
        await a.network.stop()

    run(work)


def test_an_address_that_leads_to_another_member_or_here_is_no_other_key(core: Core) -> None:
    async def work() -> None:
        a, b = pair()
        wrong = End("0", b.port, Identity.generate())  # its address in b's list is b's own
        misled = End("00", a.port, Identity.generate())  # … and this one's is a's
        a.open(core, b)
        b.open(core, a, wrong, misled)
        await until(lambda: sum("is not '0" in line for line in b.log.text().split("\n")) >= 2)
        await until(lambda: (a.network.connected(), b.network.connected()) == ({"b"}, {"a"}))
        assert [one["last_error"] for one in a.network.document()] == [""]
        assert not [peer for end in (a, b) for peer in end.network._peers.values() if peer.claim]
        for end in (a, b):
            await end.network.stop()

    run(work)


def test_a_stranger_that_is_known_otherwise_is_told_why_on_both_sides(core: Core) -> None:
    async def work() -> None:
        a, b = pair()
        a.known_stranger = "'b' is not in the list here"
        a.open(core)
        b.open(core, a)
        await until(lambda: "refused by a: 'b' is not in the list here" in b.log.text())
        assert "'b' is not in the list here" in a.log.text()
        assert a.strangers[0] == (b.identity.public_key, b"hello from b")
        assert not a.events
        assert not b.events
        await a.network.stop()
        await b.network.stop()

    run(work)


def test_half_open_connections_do_not_keep_a_member_out(core: Core) -> None:
    async def work() -> None:
        a, b = pair()
        a.open(core, b)
        flood = []
        for _ in range(3 * PEER_HALF_OPEN_MAX):
            one = socket.socket()
            one.setblocking(False)
            await asyncio.get_running_loop().sock_connect(one, ("127.0.0.1", a.port))
            flood.append(one)
        await until(lambda: a.network.counters()["accepted"] >= len(flood))
        b.open(core, a)
        await until(lambda: a.network.connected())
        assert a.network.counters()["half_open_dropped"] >= PEER_HALF_OPEN_MAX
        for one in flood:
            one.close()
        await a.network.stop()
        await b.network.stop()

    run(work)


@pytest.mark.parametrize("untrusted", [b"GET / HTTP/1.1\r\n\r\n", b"\x22\x0a\x20" + bytes(32), b"\xff" * 4096])
def test_bytes_that_are_no_handshake_end_the_connection(core: Core, untrusted: bytes) -> None:
    async def work() -> None:
        a, b = pair()
        a.open(core, b)
        reader, writer = await asyncio.open_connection("127.0.0.1", a.port)
        writer.write(untrusted)
        await ended(reader)
        writer.close()
        assert a.network.counters()["handshake_failed"] == 1
        await a.network.stop()

    run(work)


def test_a_replayed_handshake_authenticates_nobody(core: Core) -> None:
    async def work() -> None:
        a, b = pair()
        a.open(core, b)
        _, writer, _, sent = await authenticated(core, a, b)
        writer.close()
        reader, again = await asyncio.open_connection("127.0.0.1", a.port)
        again.write(sent)
        await ended(reader)
        again.close()
        assert a.network.counters()["handshake_failed"] == 1
        await a.network.stop()

    run(work)


def test_a_taken_port_is_an_error_that_names_it(core: Core) -> None:
    async def work() -> None:
        a, b = pair()
        with socket.create_server(("127.0.0.1", a.port)), pytest.raises(BusyError, match=str(a.port)):
            a.open(core, b)

    run(work)


def test_an_address_that_is_not_here_is_an_error_whatever_its_kind(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    """An IPv6 one was passed over, and the node listened nowhere without a word."""

    class Elsewhere(socket.socket):
        def bind(self, address: object) -> None:
            raise OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))

    async def work() -> None:
        here = [(socket.AF_INET6, socket.SOCK_STREAM, 0, "", ("2001:db8::1", 1, 0, 0))]
        a, b = pair()
        with monkeypatch.context() as patched:
            patched.setattr("cometkms.state.peers.port.socket.socket", Elsewhere)
            patched.setattr("cometkms.state.peers.port.socket.getaddrinfo", lambda *_, **__: here)
            with pytest.raises(BusyError, match="cure: write an address that this machine has"):
                a.open(core, b)

    run(work)
