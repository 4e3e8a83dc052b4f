"""Hostile and broken validators against a whole node: every row of PROTOCOL "What each
request gets".

Whatever is sent, the node's processes live on (same pids, no restart), nothing senseless is signed,
and the next sensible request is served: on the same connection after a refusal, on a new one after
broken bytes.
"""

import asyncio
import os
import pathlib
import re
from dataclasses import replace

import pytest

from cometkms.core import choose
from cometkms.limits import HEARTBEAT_INTERVAL_S, JUMP_HEIGHTS, MESSAGE_MAX_BYTES, RESPONSE_MAX_BYTES
from cometkms.model import BlockID, Dialect, Kind, Message, RemoteSignerError, SignedType, Timestamp
from cometkms.operator.standin import block_of, proposal_request, vote_request
from tests.e2e.node import free_tcp, until

from .wire import AT_ONCE_S, CHAIN, PATIENCE_S, WireNode, assert_nothing_signed, connect, connected

pytestmark = pytest.mark.long

CORE = choose.load()
PREVOTE, PRECOMMIT, PROPOSAL = SignedType.PREVOTE, SignedType.PRECOMMIT, SignedType.PROPOSAL
SEVERAL = 4  # tcp addresses, so that several connections can stall at once


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    directory = tmp_path_factory.mktemp("wire")
    made = WireNode(directory / "home", [*(free_tcp() for _ in range(SEVERAL)), *_unix(directory)])
    yield made
    assert made.stop() == 0


def _unix(directory):
    return [f"unix://{directory}/a.sock", f"unix://{directory}/b.sock"]


@pytest.fixture(autouse=True)
def processes_survive(node):
    """No test may cost the node a process, or move its watermark past what was rightly signed."""
    before = node.pids()
    yield
    assert node.pids() == before
    until("it is healthy", lambda: node.get("/healthz") == (200, b"ok"))


@pytest.fixture(params=["tcp", "unix"])
def address(request, node):
    return next(a for a in node.addresses if a.startswith(request.param))


@pytest.fixture
def tcp(node):
    return node.addresses[0]


def play(scenario):
    asyncio.run(scenario)


# --- senseless requests ---


def vote(height, /, **changes):
    """A sensible prevote, but for `changes`."""
    sensible = vote_request(CHAIN, PREVOTE, (height, 0), block_of(CHAIN, height, 0))
    return replace(sensible, vote=replace(sensible.vote, **changes))


def proposal(height, /, **changes):
    """A sensible proposal, but for `changes`."""
    sensible = proposal_request(CHAIN, (height, 0), block_of(CHAIN, height, 0))
    return replace(sensible, proposal=replace(sensible.proposal, **changes))


HASH = b"\x11" * 32
SENSELESS = {
    "a vote of no type": lambda h: vote(h, type=0),
    "a vote of an unknown type": lambda h: vote(h, type=7),
    "a vote of a negative type": lambda h: vote(h, type=-1),
    "a vote of the proposal's type": lambda h: vote(h, type=PROPOSAL),
    "a proposal of no type": lambda h: proposal(h, type=0),
    "a proposal of a vote's type": lambda h: proposal(h, type=PRECOMMIT),
    "a proposal of an unknown type": lambda h: proposal(h, type=33),
    "a vote of negative height": lambda h: vote(-1),
    "a vote of the lowest height": lambda h: vote(h, height=-(1 << 63)),
    "a vote of negative round": lambda h: vote(h, round=-1),
    "a proposal of negative height": lambda h: proposal(h, height=-1),
    "a proposal of negative round": lambda h: proposal(h, round=-(1 << 31)),
    "a proposal with a proof-of-lock round below -1": lambda h: proposal(h, pol_round=-2),
    "a block id without part hash": lambda h: vote(h, block_id=BlockID(HASH, 1, b"")),
    "a block id without hash": lambda h: vote(h, block_id=BlockID(b"", 1, HASH)),
    "a block id with a part count alone": lambda h: vote(h, block_id=BlockID(b"", 3, b"")),
    "a proposal with a half-empty block id": lambda h: proposal(h, block_id=BlockID(HASH, 1, b"")),
    "a hash of 31 bytes": lambda h: vote(h, block_id=BlockID(HASH[:31], 1, HASH)),
    "a part hash of 33 bytes": lambda h: vote(h, block_id=BlockID(HASH, 1, HASH + b"\x00")),
    "a proposal with a hash of 31 bytes": lambda h: proposal(h, block_id=BlockID(HASH[:31], 1, HASH)),
    "a validator address of 19 bytes": lambda h: vote(h, validator_address=b"\x01" * 19),
    "an extension on a prevote": lambda h: vote(h, extension=b"x"),
    "an extension on a nil precommit": lambda h: vote(h, type=PRECOMMIT, block_id=BlockID(), extension=b"x"),
    "a timestamp of negative nanoseconds": lambda h: vote(h, timestamp=Timestamp(1, -1)),
    "a timestamp of a whole second in nanoseconds": lambda h: vote(h, timestamp=Timestamp(1, 1_000_000_000)),
    "a vote for another chain": lambda h: replace(vote(h), chain_id="another-1"),
    "a vote for no chain": lambda h: replace(vote(h), chain_id=""),
    "a vote for a chain of a long name": lambda h: replace(vote(h), chain_id="c" * 5000),
    "a proposal for another chain": lambda h: replace(proposal(h), chain_id=CHAIN + "0"),
    "a proposal for no chain": lambda h: replace(proposal(h), chain_id=""),
    "no vote at all": lambda h: Message(Kind.SIGN_VOTE_REQUEST, chain_id=CHAIN),
    "no proposal at all": lambda h: Message(Kind.SIGN_PROPOSAL_REQUEST, chain_id=CHAIN),
    "a height absurdly far ahead": lambda h: vote(h + 1000 * JUMP_HEIGHTS),
}


@pytest.mark.parametrize("senseless", SENSELESS)
def test_a_senseless_request_is_refused_in_words_and_the_connection_serves_on(node, address, senseless):
    async def scenario():
        async with connected(node, CORE, address) as validator:
            await validator.must_serve(node.next_height())
            height = node.next_height()
            await validator.must_refuse(SENSELESS[senseless](height))
            await validator.must_serve(height)

    play(scenario())


def test_a_conflict_is_refused_and_the_recorded_signature_is_given_again(node, address):
    async def scenario():
        async with connected(node, CORE, address) as validator:
            height = node.next_height()
            for request, other in (
                (proposal(height), proposal(height, block_id=block_of(CHAIN, height, 0, "other"))),
                (vote(height), vote(height, block_id=BlockID())),
                (vote(height, type=PRECOMMIT), vote(height, type=PRECOMMIT, block_id=block_of(CHAIN, height, 9))),
            ):
                first = await validator.must_sign(request)
                await validator.must_refuse(other)
                ballot = request.vote or request.proposal
                later = replace(ballot, timestamp=replace(ballot.timestamp, seconds=ballot.timestamp.seconds + 9))
                again = await validator.must_sign(replace(request, **{"vote" if request.vote else "proposal": later}))
                given, given_again = first.vote or first.proposal, again.vote or again.proposal
                assert given_again.signature == given.signature
                assert given_again.timestamp == given.timestamp == ballot.timestamp
            await validator.must_serve(node.next_height())

    play(scenario())


def test_a_regression_of_height_round_or_step_is_refused_and_the_connection_serves_on(node, address):
    async def scenario():
        async with connected(node, CORE, address) as validator:
            height = node.next_height()
            await validator.must_sign(vote(height, type=PRECOMMIT, round=5))
            for lower in (
                vote(height - 1, round=9),
                vote(height, round=4),
                vote(height, round=5),
                proposal(height, round=5),
            ):
                words = await validator.must_refuse(lower)
                assert "regression" in words
            await validator.must_serve(node.next_height())

    play(scenario())


AMINO_SENSELESS = [
    "a vote of no type",
    "a vote of the proposal's type",
    "a proposal of a vote's type",
    "a vote of negative height",
    "a block id without part hash",
    "a hash of 31 bytes",
]


@pytest.mark.parametrize("senseless", AMINO_SENSELESS)
def test_a_senseless_request_in_amino_is_refused_in_words_and_the_connection_serves_on(node, address, senseless):
    async def scenario():
        async with connected(node, CORE, address, Dialect.AMINO) as validator:
            height = node.next_height()
            await validator.must_refuse(SENSELESS[senseless](height))
            await validator.must_serve(height)

    play(scenario())


def test_the_key_is_not_given_for_another_chain(node, address):
    async def scenario():
        async with connected(node, CORE, address) as validator:
            for chain_id in ("another-1", "", CHAIN + "\x00"):
                answer = await validator.ask(Message(Kind.PUB_KEY_REQUEST, chain_id=chain_id))
                assert answer.kind is Kind.PUB_KEY_RESPONSE
                assert answer.error is not None
                assert answer.error.description
                assert answer.pub_key == b""
            answer = await validator.ask(Message(Kind.PUB_KEY_REQUEST, chain_id=CHAIN))
            assert answer.error in (None, RemoteSignerError())
            assert len(answer.pub_key) == 32

    play(scenario())


UNKNOWN_KINDS = {
    "no kind": b"\x00",
    "an unknown kind": b"\x02\x7a\x00",
    "bytes to sign": b"\x06\x4a\x04\x0a\x02\x08\x01",
    "Celestia's raw bytes to sign": b"\x09\x4a\x07\x0a\x01a\x12\x00\x1a\x00",
    "an answer sent as a request": b"\x04\x12\x02\x0a\x00",
    "a signed vote sent as a request": b"\x02\x22\x00",
}


@pytest.mark.parametrize("unknown", UNKNOWN_KINDS)
def test_an_unknown_kind_is_never_signed_and_the_connection_serves_on(node, address, unknown):
    async def scenario():
        async with connected(node, CORE, address) as validator:
            answer = await validator.ask_raw(UNKNOWN_KINDS[unknown])
            assert answer.pub_key == b""
            assert_nothing_signed(answer)
            await validator.must_serve(node.next_height())

    play(scenario())


# --- v1.x ---


def test_v1_is_served_without_a_setting_and_its_line_is_shown(node, address):
    """skip_extension_signing is obeyed where it comes; a repeat without it has the extension that
    the first answer lacked.
    """

    def line():
        validators = node.status()["chains"][0]["validators"]
        return next(one["line"] for one in validators if one["addr"] == address)

    def skipping(request):
        return replace(request, skip_extension=True)

    async def scenario():
        async with connected(node, CORE, address) as validator:
            key = await validator.ask(Message(Kind.PUB_KEY_REQUEST, chain_id=CHAIN))
            assert key.pub_key == key.pub_key_bytes != b""
            assert key.pub_key_type == "ed25519"
            height = node.next_height()
            await validator.must_sign(skipping(vote(height)))
            precommit = vote(height, type=PRECOMMIT, extension=b"x")
            first = await validator.must_sign(skipping(precommit))
            again = await validator.must_sign(precommit)
            assert again.vote.extension_signature
            assert replace(again.vote, extension_signature=b"") == first.vote
            height = node.next_height()
            # as FilePV v1.x does
            await validator.must_sign(skipping(vote(height, extension=b"stray")))
            await validator.must_sign(vote(height, type=PRECOMMIT, extension=b"x"))
            for value, why in (
                (b"v" * 32, "bytes not allowed: "),
                (CORE.check_request(Dialect.PROTO, CHAIN, vote(height + 1)).sign_bytes, "bytes are a vote: "),
            ):
                words = await validator.must_refuse(Message(Kind.SIGN_BYTES_REQUEST, value=value))
                assert words.startswith(why)
            await asyncio.to_thread(until, "the line is shown", lambda: line() == "v1")
            await validator.must_serve(node.next_height())
            await asyncio.to_thread(until, "another line speaks now", lambda: line() == "v0.34-v0.40")
        async with connected(node, CORE, address, Dialect.AMINO) as validator:
            await asyncio.to_thread(until, "amino is v0.33", lambda: line() == "v0.33")

    play(scenario())


def test_unknown_fields_are_skipped(node, address):
    async def scenario():
        async with connected(node, CORE, address) as validator:
            plain = CORE.encode_message(Dialect.PROTO, Message(Kind.PUB_KEY_REQUEST, chain_id=CHAIN))
            body = plain[1:]  # its length fits one byte
            inner = body[2:] + b"\xf2\x07\x03abc" + b"\xf8\x07\x01"  # fields 126 and 127
            message = body[:1] + bytes([len(inner)]) + inner
            answer = await validator.ask_raw(bytes([len(message)]) + message)
            assert len(answer.pub_key) == 32

    play(scenario())


# --- broken bytes ---

BROKEN = {
    "bytes that do not decode": b"\x05\xff\xff\xff\xff\xff",
    "a request cut short inside": b"\x04\x1a\x20\x0a\x00",
    "a wrong wire type": b"\x03\x1a\x01\x08",
    "field number zero": b"\x02\x02\x00",
    "a length just over the limit": bytes(
        [
            0x81 | (MESSAGE_MAX_BYTES & 0x7F),
            0x80 | (MESSAGE_MAX_BYTES >> 7 & 0x7F),
            0x80 | (MESSAGE_MAX_BYTES >> 14 & 0x7F),
            MESSAGE_MAX_BYTES >> 21,
        ]
    ),
    "a length of gigabytes": b"\xff\xff\xff\xff\x7f",
    "a length that never ends": b"\xff" * 11,
    "a negative length": b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    "HTTP": b"GET / HTTP/1.1\r\nHost: validator\r\n\r\n" + b"\x80" * 80,  # "G" announces 71 bytes
}


@pytest.mark.parametrize("broken", BROKEN)
def test_broken_bytes_close_the_connection_which_is_dialled_again(node, address, broken):
    async def scenario():
        async with connected(node, CORE, address) as validator:
            await validator.must_serve(node.next_height())
            validator.link.send(BROKEN[broken])
            await validator.must_be_closed(AT_ONCE_S)
        async with connected(node, CORE, address) as validator:
            await validator.must_serve(node.next_height())

    play(scenario())


def bent_tag(sealed):
    return sealed[:-1] + bytes([sealed[-1] ^ 1])


def bent_data(sealed):
    return bytes([sealed[0] ^ 1]) + sealed[1:]


def zeros(sealed):
    return bytes(len(sealed))


@pytest.mark.parametrize("bend", [bent_tag, bent_data, zeros])
def test_a_frame_that_does_not_authenticate_closes_the_connection_which_is_dialled_again(node, tcp, bend):
    async def scenario():
        async with connected(node, CORE, tcp) as validator:
            ping = CORE.encode_message(Dialect.PROTO, Message(Kind.PING_REQUEST))
            validator.link.send_raw(bend(validator.link.seal(ping)))
            await validator.must_be_closed(AT_ONCE_S)
        async with connected(node, CORE, tcp) as validator:
            await validator.must_serve(node.next_height())

    play(scenario())


def test_a_replayed_frame_closes_the_connection_which_is_dialled_again(node, tcp):
    async def scenario():
        async with connected(node, CORE, tcp) as validator:
            sealed = validator.link.seal(CORE.encode_message(Dialect.PROTO, Message(Kind.PING_REQUEST)))
            validator.link.send_raw(sealed)
            answer = CORE.decode_message(Dialect.PROTO, await validator.receive())
            assert answer.kind is Kind.PING_RESPONSE
            validator.link.send_raw(sealed)
            await validator.must_be_closed(AT_ONCE_S)
        async with connected(node, CORE, tcp) as validator:
            await validator.must_serve(node.next_height())

    play(scenario())


PROTO_HELLO = b"\x22\x0a\x20"
AMINO_HELLO = b"\x21\x20"
LOW_ORDER = [
    bytes(32),
    b"\x01" + bytes(31),
    bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    bytes.fromhex("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
]
HANDSHAKES = {
    **{f"low-order key {i}": PROTO_HELLO + point for i, point in enumerate(LOW_ORDER)},
    "low-order key in amino": AMINO_HELLO + bytes(32),
    "HTTP": b"GET / HTTP/1.1\r\nHost: validator\r\n\r\n",
    "TLS": b"\x16\x03\x01\x00\xf4\x01\x00\x00\xf0\x03\x03" + bytes(240),
    "a hello of 31 bytes": b"\x21\x0a\x1f" + bytes(31) + bytes(40),
    "a hello of a megabyte": b"\x84\x80\x40\x0a\x80\x80\x40" + bytes(4096),
    "garbage behind the hello": PROTO_HELLO + os.urandom(32) + bytes(1044),
    "nothing": b"",
}


@pytest.mark.parametrize("handshake", HANDSHAKES)
def test_a_broken_handshake_is_closed_and_dialled_again(node, tcp, handshake):
    async def scenario():
        listener = node.listener(CORE, tcp)
        try:
            async with asyncio.timeout(PATIENCE_S):
                reader, writer = await listener.accept_raw()
            writer.write(HANDSHAKES[handshake])
            if handshake == "nothing":
                writer.close()
            else:
                async with asyncio.timeout(AT_ONCE_S):
                    said = await read_all(reader)
                # a hello and an authentication at most
                assert len(said) <= len(PROTO_HELLO) + 32 + 2 * 1044
                writer.transport.abort()
        finally:
            listener.close()
        async with connected(node, CORE, tcp) as validator:
            await validator.must_serve(node.next_height())

    play(scenario())


def test_a_reflected_handshake_is_closed_and_dialled_again(node, tcp):
    """A validator that only echoes must not be taken for one: it would sign with our own identity."""

    async def scenario():
        listener = node.listener(CORE, tcp)
        try:
            async with asyncio.timeout(PATIENCE_S):
                reader, writer = await listener.accept_raw()
                writer.write(PROTO_HELLO + os.urandom(32))
                hello = await reader.readexactly(35)
                writer.transport.abort()
                reader, writer = await listener.accept_raw()
                assert hello.startswith(PROTO_HELLO)
                writer.write(hello)
                while wire := await reader.read(4096):
                    writer.write(wire)
        except ConnectionError:
            pass  # closed with our echo still unread
        finally:
            listener.close()
        async with connected(node, CORE, tcp) as validator:
            await validator.must_serve(node.next_height())

    play(scenario())


async def read_all(reader):
    """Whatever still comes until the other side closes or resets."""
    everything = b""
    try:
        while wire := await reader.read(4096):
            everything += wire
    except ConnectionResetError:
        pass
    return everything


# --- stalls ---


def test_whoever_stalls_is_given_up_on_while_others_are_served(node):
    """Four tcp validators and one unix stall in their own ways, all at once; the other unix one is
    served meanwhile.
    """

    async def stall_handshake(address, sent):
        listener = node.listener(CORE, address)
        try:
            reader, writer = await listener.accept_raw()
            writer.write(sent)
            await read_all(reader)
            writer.transport.abort()
        finally:
            listener.close()

    async def stall_request(address, cut):
        async with connected(node, CORE, address) as validator:
            wire = validator.link.seal(CORE.encode_message(Dialect.PROTO, vote(node.next_height())))
            validator.link.send_raw(wire[: int(len(wire) * cut)])
            await validator.must_be_closed()

    async def stall_inside_a_message(address):
        async with connected(node, CORE, address) as validator:
            validator.link.send(CORE.encode_message(Dialect.PROTO, vote(node.next_height()))[:20])
            await validator.must_be_closed()

    async def scenario():
        async with asyncio.timeout(2 * PATIENCE_S):
            stalls = asyncio.gather(
                stall_handshake(node.addresses[0], b""),
                stall_handshake(node.addresses[1], PROTO_HELLO + b"\x07" * 5),
                stall_request(node.addresses[2], 0.5),
                stall_inside_a_message(node.addresses[3]),
                stall_inside_a_message(node.addresses[4]),
            )
            async with connected(node, CORE, node.addresses[5]) as validator:
                served = 0
                while not stalls.done():
                    await validator.must_serve(node.next_height())
                    served += 1
                    await asyncio.sleep(0.2)
                await stalls
                assert served > 1
            for address in node.addresses:
                async with connected(node, CORE, address) as validator:
                    await validator.must_serve(node.next_height())

    play(scenario())


# --- segments and sizes ---


def test_several_requests_in_one_segment_are_answered_in_order(node, address):
    async def scenario():
        async with connected(node, CORE, address) as validator:
            height = node.next_height()
            requests = [
                Message(Kind.PUB_KEY_REQUEST, chain_id=CHAIN),
                proposal(height),
                Message(Kind.PING_REQUEST),
                vote(height),
                vote(height, type=7),
                vote(height, type=PRECOMMIT),
                Message(Kind.PING_REQUEST),
            ]
            validator.link.send(b"".join(CORE.encode_message(Dialect.PROTO, request) for request in requests))
            answers = [CORE.decode_message(Dialect.PROTO, await validator.receive()) for _ in requests]
            assert [a.kind for a in answers] == [
                Kind.PUB_KEY_RESPONSE,
                Kind.SIGNED_PROPOSAL_RESPONSE,
                Kind.PING_RESPONSE,
                Kind.SIGNED_VOTE_RESPONSE,
                Kind.SIGNED_VOTE_RESPONSE,
                Kind.SIGNED_VOTE_RESPONSE,
                Kind.PING_RESPONSE,
            ]
            assert [a.error is not None for a in answers] == [False, False, False, False, True, False, False]

    play(scenario())


def test_one_request_in_as_many_segments_as_bytes_is_one_request(node, address):
    async def scenario():
        async with connected(node, CORE, address) as validator:
            for byte in validator.link.seal(CORE.encode_message(Dialect.PROTO, vote(node.next_height()))):
                validator.link.send_raw(bytes([byte]))
                await asyncio.sleep(0.0005)
            answer = CORE.decode_message(Dialect.PROTO, await validator.receive())
            assert len(answer.vote.signature) == 64
            await validator.must_serve(node.next_height())

    play(scenario())


@pytest.mark.parametrize("size", [0, 1, 1024, 1 << 20])
def test_an_extension_is_signed_and_never_sent_back(node, address, size):
    async def scenario():
        async with connected(node, CORE, address) as validator:
            height = node.next_height()
            request = vote(height, type=PRECOMMIT, extension=os.urandom(size))
            answer = await validator.must_sign(request)
            assert answer.vote.extension == b""
            assert len(CORE.encode_message(Dialect.PROTO, answer)) < RESPONSE_MAX_BYTES
            await validator.must_serve(node.next_height())

    play(scenario())


def test_a_message_at_the_limit_is_read_and_one_byte_more_closes_the_connection(node, address):
    async def scenario():
        async with connected(node, CORE, address) as validator:
            ping = b"\x3a" + b"\x00"
            filler = MESSAGE_MAX_BYTES - len(ping) - 5
            # field 50, unknown, as large as may be
            body = ping + b"\x92\x03" + uvarint(filler) + bytes(filler)
            assert len(body) == MESSAGE_MAX_BYTES
            validator.link.send(uvarint(len(body)) + body)
            assert CORE.decode_message(Dialect.PROTO, await validator.receive()).kind is Kind.PING_RESPONSE
            validator.link.send(uvarint(len(body) + 1))
            await validator.must_be_closed(AT_ONCE_S)

    play(scenario())


def uvarint(value):
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


# --- coming and going ---


def test_a_validator_that_drops_every_connection_is_dialled_again_each_time(node, tcp):
    async def scenario():
        for _ in range(15):
            validator = await connect(node, CORE, tcp)
            validator.link.close()
            validator.listener.close()
        async with connected(node, CORE, tcp) as validator:
            await validator.must_serve(node.next_height())

    play(scenario())


def test_a_validator_that_leaves_while_its_answer_is_made_costs_nothing(node, tcp):
    async def scenario():
        for _ in range(10):
            validator = await connect(node, CORE, tcp)
            request = vote(node.next_height())
            validator.link.send(CORE.encode_message(Dialect.PROTO, request))
            await asyncio.sleep(0)
            validator.link.close()
            validator.listener.close()
        async with connected(node, CORE, tcp) as validator:
            await validator.must_serve(node.next_height())

    play(scenario())


@pytest.mark.parametrize("linger", ["leaves", "reads at last"])
def test_a_validator_that_asks_and_does_not_read_costs_bounded_memory(node, tcp, linger):
    """A ping of three bytes is answered with a frame of 1044: the signer must stop reading, not
    pile up answers.
    """
    ping = CORE.encode_message(Dialect.PROTO, Message(Kind.PING_REQUEST))
    pings = 1 << 18

    async def scenario():
        async with connected(node, CORE, tcp) as validator:
            signer = node.pids()["signer"][0]
            before = peak_kib(signer)
            validator.link.pause_reading()
            validator.link.send(ping * pings)
            await no_more_served(node, tcp)
            assert peak_kib(signer) - before < 16 << 10
            if linger == "reads at last":
                validator.link.resume_reading()
                for _ in range(1000):
                    assert CORE.decode_message(Dialect.PROTO, await validator.receive()).kind is Kind.PING_RESPONSE
        async with connected(node, CORE, tcp) as validator:
            await validator.must_serve(node.next_height())

    play(scenario())


async def no_more_served(node, address):
    """Until the count of requests on that connection stands still."""
    async with asyncio.timeout(PATIENCE_S):
        before = None
        while (served := requests_of(node, address)) != before:
            before = served
            await asyncio.sleep(1)


def requests_of(node, address):
    return next(v["requests"] for v in node.status()["chains"][0]["validators"] if v["addr"] == address)


def peak_kib(pid):
    """VmHWM: the most memory a process has ever held."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1])


def test_senseless_requests_leave_no_trace_but_their_count(node, tcp):
    """The watermark, the last sign state and the counts of /status: what was signed,
    and nothing else.
    """

    async def scenario():
        async with connected(node, CORE, tcp) as validator:
            height = node.next_height()
            await validator.must_serve(height)
            before = await settle(node, height)
            for make in SENSELESS.values():
                await validator.must_refuse(make(height + 1))
            async with asyncio.timeout(PATIENCE_S):
                while sum(node.status()["chains"][0]["counters"]["refused"].values()) < (
                    sum(before["counters"]["refused"].values()) + len(SENSELESS)
                ):
                    await asyncio.sleep(0.05)
            after = node.status()["chains"][0]
            assert after["watermark"] == before["watermark"]
            assert after["last_sign_state"] == before["last_sign_state"]
            assert after["counters"]["signed"] == before["counters"]["signed"]

    play(scenario())


async def settle(node, height):
    """Until /status has caught up with the precommit of `height`: the state's section and the
    signer's come apart.
    """
    async with asyncio.timeout(PATIENCE_S):
        before = None
        while True:
            chain = node.status()["chains"][0]
            places = (chain["watermark"], chain["last_sign_state"])
            there = all(place is not None and (place["height"], place["step"]) == (height, 3) for place in places)
            if there and chain["counters"] == before:
                return chain
            before = chain["counters"]
            await asyncio.sleep(5 * HEARTBEAT_INTERVAL_S)
