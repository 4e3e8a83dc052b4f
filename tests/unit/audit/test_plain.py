"""Lines that the C core makes are those of the general path, byte for byte, whatever is decided and
in whatever portions it comes.
"""

import hashlib
import json
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cometkms.audit.files import files_in, verify
from cometkms.audit.lines import NO_HASH, encode, time_of
from cometkms.audit.log import AuditLog
from cometkms.core import native
from cometkms.core.pure.audit import pack
from cometkms.limits import AUDIT_BATCH, AUDIT_LINE_MAX_BYTES
from cometkms.model import Decision, Kind, Outcome, Reason
from tests.unit.audit.logs import BEGAN, LIFE, NOW_NS, make, noted, refused, signed
from tests.unit.wire.test_decisions import DECISIONS

CHAINS = ("c-1", 'a "quoted" \\ chain, \u00e4 and \u2028')
LINES = native.load().audit_lines(CHAINS)
PLAIN = st.builds(
    replace,
    DECISIONS,
    outcome=st.sampled_from([Outcome.SIGNED, Outcome.REPEATED]),
    reason=st.just(Reason(0)),
    kind=st.sampled_from([Kind.SIGN_VOTE_REQUEST, Kind.SIGN_PROPOSAL_REQUEST]),
    chain=st.integers(0, len(CHAINS) - 1),
    validator=st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E, exclude_characters='"\\'), max_size=99).map(
        str.encode
    ),
)


def both(tmp_path: Path, batches: Sequence[Sequence[bytes]], **more: object) -> tuple[AuditLog, AuditLog]:
    """A log by the C core and one by the general path, after these batches."""
    found = []
    for name, lines in (("c", LINES), ("general", None)):
        log = make(tmp_path / name, **{"chains": CHAINS, **more, "lines": lines})
        log.open()
        for batch in batches:
            log.take(batch)
            log.flush()
        found.append(log)
    return found[0], found[1]


def same(one: AuditLog, other: AuditLog) -> None:
    for name in ("seq", "head", "records", "dropped", "unreadable", "size"):
        assert getattr(one, name) == getattr(other, name), name
    files = [files_in(log.directory) for log in (one, other)]
    assert [path.name for path in files[0]] == [path.name for path in files[1]]
    assert [path.read_bytes() for path in files[0]] == [path.read_bytes() for path in files[1]]
    assert verify(one.directory) == verify(other.directory)


@given(decision=PLAIN, at_ns=st.integers(1, 2**63 - 1), seq=st.integers(0, 2**63))
def test_a_plain_line_is_the_general_paths(decision: Decision, at_ns: int, seq: int) -> None:
    taken, line, head = LINES.make(
        [pack(LIFE, 9, at_ns, decision)], life=LIFE, number=8, seq=seq, head=NO_HASH, room=AUDIT_LINE_MAX_BYTES
    )
    assert taken == 1
    assert f'"at":"{time_of(at_ns)}"'.encode() in line
    assert len(line) <= AUDIT_LINE_MAX_BYTES
    assert line.endswith(b'"hash":"%s"}\n' % head.encode())
    fields = json.loads(line)
    del fields["hash"], fields["seq"], fields["at"], fields["what"]
    again = encode(NO_HASH, seq + 1, at_ns, decision.outcome.name.lower(), **fields)
    assert again == (line, head)
    assert fields["bytes"] == (hashlib.sha256(decision.sign_bytes).hexdigest() if decision.sign_bytes else "")


@settings(max_examples=60, deadline=None)
@given(
    decisions=st.lists(st.one_of(PLAIN, PLAIN, PLAIN, DECISIONS), max_size=90),
    seed=st.integers(0, 2**32),
)
def test_whatever_is_decided_both_write_the_same_files(
    decisions: list[Decision], seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """With lives that change, numbers that are missing or come twice, and messages that are none."""
    rng = random.Random(seed)
    life, number, messages = LIFE, 0, [noted(1, BEGAN)]
    for decision in decisions:
        match rng.randrange(30):
            case 0:
                life, number = life + 1, 0
            case 1:
                number += rng.randrange(5)
            case 2:
                messages.append(rng.randbytes(rng.randrange(512)))
        number += rng.randrange(30) > 0
        message = pack(life, number, NOW_NS + number, decision)
        messages.append(message if rng.randrange(40) else message[: rng.randrange(len(message))])
    batches = []
    while messages:
        size = rng.choice([1, 3, AUDIT_BATCH, AUDIT_BATCH + 1, 90])
        batches.append(messages[:size])
        messages = messages[size:]
    same(*both(tmp_path_factory.mktemp("logs"), batches, file_bytes=16 << 10))


def test_a_file_is_full_at_the_same_line(tmp_path: Path) -> None:
    messages = [noted(1, BEGAN), *(noted(number, signed(number)) for number in range(2, 300))]
    one, other = both(tmp_path, [messages[:7], messages[7:]], file_bytes=8 << 10)
    assert len(files_in(one.directory)) > 10
    same(one, other)


@pytest.mark.parametrize(
    ("message", "what"),
    [
        (noted(3, signed(3)), "a number is missing"),
        (noted(1, signed(3)), "a number came already"),
        (noted(2, signed(3), LIFE + 1), "another life"),
        (noted(2, refused(3)), "a refusal"),
        (noted(2, BEGAN), "no decision"),
        (noted(2, signed(3, chain=2)), "no such chain"),
        (noted(2, replace(signed(3), reason=Reason.CONFLICT)), "signed, and a reason"),
        (noted(2, replace(signed(3), kind=Kind.PING_REQUEST)), "no vote"),
        (noted(2, replace(signed(3), validator=b"tcp://\xc3\xa4:1")), "not ASCII"),
        (noted(2, replace(signed(3), validator=b'"')), "to be escaped"),
        (noted(2, replace(signed(3), validator=b"\x7f")), "DEL, which is not escaped, and not printable"),
        (pack(LIFE, 2, 0, signed(3)), "no time"),
        (pack(LIFE, 2, -1, signed(3)), "before 1970"),
        (noted(2, signed(3))[:-1], "cut off"),
        (noted(2, signed(3)) + b"x", "too long"),
        (b"", "nothing"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_not_plain_is_left_to_the_general_path(message: bytes, what: str) -> None:
    plain = noted(2, signed(2))
    where = {"life": LIFE, "number": 1, "seq": 4, "head": NO_HASH, "room": 1 << 20}
    assert LINES.make([message, plain], **where) == (0, b"", NO_HASH), what
    assert LINES.make([plain, message], **where)[0] == 1 or what == "a number is missing"


def test_a_line_that_may_not_fit_the_file_is_left_to_the_general_path() -> None:
    messages = [noted(number, signed(number)) for number in range(2, 20)]
    where = {"life": LIFE, "number": 1, "seq": 4, "head": NO_HASH}
    for room in (-5, 0, AUDIT_LINE_MAX_BYTES - 1):
        assert LINES.make(messages, room=room, **where)[0] == 0
    one = LINES.make(messages, room=AUDIT_LINE_MAX_BYTES, **where)
    assert one[0] == 1
    several = LINES.make(messages, room=3 * AUDIT_LINE_MAX_BYTES, **where)
    assert several[0] > 3
    assert len(several[1]) <= 3 * AUDIT_LINE_MAX_BYTES
