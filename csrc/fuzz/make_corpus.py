"""Write the fuzzers' corpus: python csrc/fuzz/make_corpus.py DIRECTORY makes one
sub-directory per fuzz entry.

The inputs are the vectors of tests/vectors, cut to what each entry reads, and shapes that no
validator sends. An entry without inputs of its own gets messages and sealed frames, plain and
behind the two bytes (a choice, a segment's size) that stateful entries start with.
"""

import json
import struct
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from cometkms.core.pure.audit import pack
from cometkms.core.pure.core import CORE
from cometkms.limits import PREPARED_MAX_BYTES
from cometkms.model import (
    BlockID,
    Decision,
    Dialect,
    Kind,
    Message,
    Outcome,
    Proposal,
    Reason,
    RemoteSignerError,
    Timestamp,
    Vote,
)
from cometkms.wire.agent_messages import Answer, Ask, Ping, encode

HERE: Final = Path(__file__).parent
VECTORS: Final = HERE.parent.parent / "tests" / "vectors"

_PROTO_FILES: Final = ("messages.json", "v040/pubkeys_v040.json", "v1/messages_v1.json")
_AMINO_FILES: Final = ("amino/messages_amino.json",)
_WALK_FILES: Final = {"proto": ("file_pv.json", "v1/file_pv_v1.json"), "amino": ("amino/file_pv_amino.json",)}
# walks repeat themselves; a few requests of each are enough to start from
_STEPS_PER_WALK: Final = 12

#: Bodies that nobody sends: groups, repeated members, merged parts, odd tags, overlong varints.
ODD_PROTO: Final = (
    "",
    "1a00",
    "0a001a00",
    "1a060a0008011200",
    "1a0a0a0208010a0210051200",
    "1a0e0a0c22020a0022041202080122003200",
    "535b0c0c54",
    "5b085c1a00",
    "8a808080800100",
    "1affffffffffffffffff01",
    "1a80808080808080808000",
    "5d01020304",
    "5901020304050607083a00",
    "1a0418001801",
    "1a0c18808080808080808080800112",
    "120a0a001a0022020a00220178",
    "4a060a0112120113",
    "4a0a0a01631201721a026964",
    "4a040a002201",
    "4a0212001a00",
    "4a061200120272651a00",
    "520a0a0012040801120078",
    "0800",
    "1c",
    "00",
)
ODD_AMINO: Final = (
    "",
    "cb94",
    "f3f41204",
    "f3f412040a00",
    "f3f412040a042a021005",
    "f3f412040a042a020805",
    "f3f412040a0208020a00",
    "00010203cb94d620",
    "a29a031a0a00",
)
ODD_LENGTHS: Final = ("", "00", "80", "8000", "7f", "8001", "ffffffffffffffffff01", "ffffffffffffffffff02", "80" * 11)


def corpus() -> dict[str, list[bytes]]:
    """Inputs by the name of the fuzz entry."""
    wires = {"proto": list(_messages(_PROTO_FILES)), "amino": list(_messages(_AMINO_FILES))}
    for dialect, names in _WALK_FILES.items():
        for name in names:
            wires[dialect] += _walk_requests(name)
    return {
        "fuzz_decode_proto": [_body(wire) for wire in wires["proto"]] + _from_hex(ODD_PROTO),
        "fuzz_decode_amino": [_body(wire) for wire in wires["amino"]] + _from_hex(ODD_AMINO),
        "fuzz_sign_bytes": list(_sign_bytes()),
        "fuzz_agent": list(_agent()),
        "fuzz_hot": list(_hot()),
        "fuzz_line": list(_lines()),
        "fuzz_noise": list(_noise()),
        "fuzz_raw_bytes": list(_raw_bytes()),
        "fuzz_session": [*_anything(), *_precommits()],
        "fuzz_length": _from_hex(ODD_LENGTHS) + [wire[:4] for wire in wires["proto"][:20]],
    }


def write(directory: Path) -> None:
    """Write every entry's inputs under `directory`, named by their number."""
    made = corpus()
    for entry in sorted(HERE.glob("fuzz_*.c")):
        inputs = made.get(entry.stem) or list(_anything())
        target = directory / entry.stem
        target.mkdir(parents=True, exist_ok=True)
        for number, data in enumerate(inputs):
            (target / f"{number:04}").write_bytes(data)


def _cases(name: str) -> list[dict[str, Any]]:
    cases: list[dict[str, Any]] = json.loads((VECTORS / name).read_text())["cases"]
    return cases


def _messages(names: tuple[str, ...]) -> Iterator[bytes]:
    for name in names:
        yield from (bytes.fromhex(case["bytes"]) for case in _cases(name))


def _walk_requests(name: str) -> Iterator[bytes]:
    for case in _cases(name):
        yield from (bytes.fromhex(step["request"]) for step in case["steps"][:_STEPS_PER_WALK])


def _sign_bytes() -> Iterator[bytes]:
    """Each on its own, and next to its neighbour so that two are compared."""
    found = [bytes.fromhex(case["sign_bytes"]) for case in _cases("sign_bytes.json")]
    found += [bytes.fromhex(case["sign_bytes"]) for case in _cases(_AMINO_FILES[0]) if "sign_bytes" in case]
    yield from found
    yield from (one + other for one, other in pairwise(found))


def _hot() -> Iterator[bytes]:
    """Frames of a member and messages of the queue (csrc/hot.c), behind what fuzz_hot.c
    reads first.
    """
    for case in _cases("sign_bytes.json")[:40]:
        data, chain = bytes.fromhex(case["sign_bytes"]), case["chain_id"].encode("utf-8", "surrogateescape")
        number = b"\xcf" + (77).to_bytes(8, "big")
        end = b"\x07\x92\0\0"  # seq and incarnation
        promise = b"\x97\x02" + number + b"\x05\xc4\x20" + b"k" * 32 + b"\xc4" + bytes([len(data)]) + data + end
        asked = b"\xcf" + ((1 << 50) + 64).to_bytes(8, "big")
        promised = b"\x97\x03" + number + asked + b"\0\x95\0\0\0\xc4\0\xc4\0" + end
        head = bytes([0, len(chain)]) + chain
        yield head + _frame(promise)
        yield head + _frame(promise) + _frame(promised) + _frame(promise)
        yield b"\2" + head[1:] + _frame(promised)
        parsed = CORE.parse_sign_bytes(data).hrs
        reserve = struct.pack("<BQQHqiBBHB", 2, 9, 8, 0, *parsed, 0, len(data), 0) + data
        message = bytes([min(255, len(reserve) - 1)]) + reserve
        yield b"\1" + head[1:] + message + message


def _agent() -> Iterator[bytes]:
    """Requests, and what a node answers to them (csrc/relay.h), behind what fuzz_agent.c reads
    first. A signature of zeros verifies there.
    """
    block, at = BlockID(b"b" * 32, 1, b"p" * 32), Timestamp(1_700_000_000, 7)
    for dialect in Dialect:
        chain = "test-1" if dialect is Dialect.PROTO else ""
        answers = []
        for kind, extension, skip in ((1, b"", False), (2, b"ext", False), (2, b"", True), (32, b"", False)):
            if kind == 32:
                proposal = Proposal(32, 5, 0, -1, block, at)
                asked = Message(Kind.SIGN_PROPOSAL_REQUEST, chain, proposal=proposal)
                answer = Message(Kind.SIGNED_PROPOSAL_RESPONSE, proposal=replace(proposal, signature=bytes(64)))
            else:
                vote = Vote(kind, 5, 0, block, at, b"v" * 20, 3, b"", extension if dialect is Dialect.PROTO else b"")
                asked = Message(
                    Kind.SIGN_VOTE_REQUEST, chain, vote=vote, skip_extension=skip and dialect is Dialect.PROTO
                )
                signed = kind == 2 and not skip and dialect is Dialect.PROTO
                made = replace(
                    vote, extension=b"", signature=bytes(64), extension_signature=bytes(64) if signed else b""
                )
                answer = Message(Kind.SIGNED_VOTE_RESPONSE, vote=made)
            request = CORE.encode_message(dialect, asked)
            answers += [CORE.encode_message(dialect, answer)]
            refusal = Message(answer.kind, error=RemoteSignerError(35, "conflict"))
            for said in (answers[-1], CORE.encode_message(dialect, refusal)):
                yield bytes([1, dialect]) + len(request).to_bytes(2, "little") + request + said
            for urgent in (False, True):
                ask = encode(Ask(7 << urgent * 40, "test-1", dialect, urgent, request))
                yield bytes([0, dialect]) + ask + encode(Ping(1, ())) + ask
                yield bytes([2, dialect]) + ask
        yield from (bytes([2, dialect]) + encode(Answer(7 << 20, said)) for said in answers)


def _precommits() -> Iterator[bytes]:
    """Requests for the chain of fuzz_session.c whose extensions are signed, and prepared before,
    behind what it reads first.
    """
    block, at = BlockID(b"b" * 32, 1, b"p" * 32), Timestamp(1_700_000_000, 7)
    for height, size in enumerate((0, 10, PREPARED_MAX_BYTES - 40, PREPARED_MAX_BYTES, PREPARED_MAX_BYTES + 1), 5):
        vote = Vote(2, height, 0, block, at, extension=bytes(range(256)) * (size // 256) + bytes(size % 256))
        for skip in (False, True):
            asked = Message(Kind.SIGN_VOTE_REQUEST, "test-1", vote=vote, skip_extension=skip)
            request = CORE.encode_message(Dialect.PROTO, asked)
            yield bytes([0, 255]) + request + request


def _lines() -> Iterator[bytes]:
    """Records of the audit log's queue, behind the room that fuzz_line.c reads first."""
    records = []
    for number, case in enumerate(_cases("sign_bytes.json")[:24], 1):
        data = bytes.fromhex(case["sign_bytes"])
        kind = Kind.SIGN_VOTE_REQUEST if number % 3 else Kind.SIGN_PROPOSAL_REQUEST
        hrs = CORE.parse_sign_bytes(data).hrs
        validator = b"tcp://10.0.0.%d:26658" % number
        decision = Decision(
            Outcome.SIGNED, Reason(0), kind, 0, hrs, data, b"b" * 32, validator, b"i" * 32, number * 1000
        )
        record = pack(7, number, 1_795_686_919_123_456_789 * (number % 5 + 1) % (1 << 63), decision)
        records.append(struct.pack("<H", len(record)) + record)
        yield bytes([39]) + records[0] * 2
    for several in (1, 3, 24):
        yield bytes([several * 9 % 40]) + b"".join(records[:several])
        yield bytes([39]) + b"".join(records[:several]) + b"\xff\xff"


def _noise() -> Iterator[bytes]:
    """Noise messages behind a segment's size: libp2p's own, small ones in a row, one that is not
    whole, and odd lengths.
    """
    for case in json.loads((VECTORS / "v040" / "noise_v040.json").read_text())["cases"][:6]:
        sealed = [bytes.fromhex(sent["sealed"]) for sent in case["transport"]]
        whole = b"".join(len(one).to_bytes(2, "big") + one for one in sealed)
        yield from (b"\xff\xff" + whole, b"\0\x06" + whole[:3000])
    row = b"".join((16 + size).to_bytes(2, "big") + bytes(16 + size) for size in (0, 1, 40, 3))
    yield from (b"\0\0" + row, b"\0\x10" + row[:-1], b"\0\1\0\x0f" + bytes(15), b"\0\1\xff\xff" + bytes(100), b"\0\0")


def _raw_bytes() -> Iterator[bytes]:
    """Values that are a vote's and hashes, parts of ballots, and raw bytes of Celestia, behind
    fuzz_raw_bytes.c's choice.
    """
    keys = json.loads((VECTORS / "v1" / "keys_v1.json").read_text())
    values = [bytes.fromhex(case["value"]) for case in keys["never"] + keys["keys"][0]["sign_bytes"]]
    values += [value[1:] for value in values]
    yield from (b"\0" + value for value in values)
    for number in range(24):
        parts = bytes((number * 37 + at * 11) % 256 for at in range(22))
        yield bytes([1 | number % 4 << 2]) + parts + b"chain-%d" % number
    for case in _cases("celestia/raw_bytes.json"):
        unique_id, raw = case["unique_id"].encode(), bytes.fromhex(case["raw_bytes"])
        yield bytes([2, len(unique_id) - 1]) + unique_id + raw


def _frame(payload: bytes) -> bytes:
    return struct.pack("<IB", 1 + len(payload), 4) + payload


def _anything() -> Iterator[bytes]:
    """For entries that this script does not know."""
    for name in (*_PROTO_FILES[:1], *_AMINO_FILES):
        for wire in _messages((name,)):
            yield from (wire, _body(wire), b"\0\xff" + wire, b"\2\x03" + wire)
            yield b"\4\x07" + (len(wire) + 16).to_bytes(2, "big") + wire + bytes(16)  # over noise
    yield from (b"\1\xff" + bytes.fromhex(case["sealed"]) for case in _cases("secret_connection.json"))
    yield from (bytes(range(256)), b"\0\1" * 300)


def _body(wire: bytes) -> bytes:
    """The message behind its length prefix."""
    prefix = next(i for i, byte in enumerate(wire) if byte < 0x80) + 1
    return wire[prefix:]


def _from_hex(texts: tuple[str, ...]) -> list[bytes]:
    return [bytes.fromhex(text) for text in texts]


if __name__ == "__main__":
    write(Path(sys.argv[1]))
