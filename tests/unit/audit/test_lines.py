"""One line: one form only, and a hash over it and the line before."""

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cometkms.audit.lines import KEYS, NO_HASH, WHY_MAX, LineError, encode, parse, time_of
from cometkms.limits import AUDIT_LINE_MAX_BYTES, AUDIT_VALIDATOR_MAX_BYTES, CHAIN_ID_MAX_BYTES, NODE_ID_MAX_BYTES
from tests.unit.audit.logs import NOW_NS

DECISION = {
    "number": 5,
    "chain": "c-1",
    "height": 7,
    "round": 0,
    "step": 3,
    "kind": "sign_vote_request",
    "reason": "",
    "bytes": "ab" * 32,
    "block": "cd" * 32,
    "validator": "tcp://127.0.0.1:26658",
    "identity": "ef" * 32,
    "us": 312,
}


def line(**changed: object) -> bytes:
    return encode(NO_HASH, 1, NOW_NS, "signed", **{**DECISION, **changed})[0].removesuffix(b"\n")


def test_a_line_is_what_the_document_says() -> None:
    """docs/AUDIT.md tells how to check one by hand."""
    text = line()
    body, _, rest = text.rpartition(b',"hash":"')
    assert rest.decode() == hashlib.sha256(NO_HASH.encode() + body).hexdigest() + '"}'
    assert json.loads(text)["at"] == "2026-11-26T09:55:19.123456789Z"
    assert parse(text).follows(NO_HASH)
    assert not parse(text).follows("1" + NO_HASH[1:])


@given(chain=st.text(max_size=64), validator=st.text(max_size=160), height=st.integers(-(1 << 63), (1 << 63) - 1))
def test_whatever_was_configured_or_asked_is_one_line_that_reads_back(chain: str, validator: str, height: int) -> None:
    text = line(chain=chain, validator=validator, height=height)
    assert b"\n" not in text
    assert text.isascii()
    fields = parse(text).fields
    assert (fields["chain"], fields["validator"], fields["height"]) == (chain, validator, height)


def test_the_longest_lines_fit_their_bound() -> None:
    worst = "\x01" * AUDIT_VALIDATOR_MAX_BYTES
    assert len(line(chain="\x01" * CHAIN_ID_MAX_BYTES, validator=worst, height=-(1 << 63))) <= AUDIT_LINE_MAX_BYTES
    head = dict.fromkeys(KEYS["opened"], "")
    values = {**head, "node": "\x01" * NODE_ID_MAX_BYTES, "version": "\x01" * 32, "life": "0" * 16, "prev": NO_HASH}
    values |= {"number": 2**64 - 1, "oldest": 2**64 - 1, "torn": f"{2**63}:{NO_HASH}"}
    assert len(encode(NO_HASH, 1, NOW_NS, "opened", **values)[0]) <= AUDIT_LINE_MAX_BYTES
    assert len(encode(NO_HASH, 1, NOW_NS, "dropped", count=1, why="\x01" * WHY_MAX)[0]) <= AUDIT_LINE_MAX_BYTES


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "no JSON"),
        (b"\0" * 100, "zeros"),
        (b"[]", "no JSON object"),
        (b"[" * 2000, "no JSON"),
        (b'{"seq":1}', "no kind"),
        (line().replace(b"signed", b"blessed"), "no kind"),
        (line().replace(b'"seq":1,', b""), "the keys of signed"),
        (line().replace(b'"seq":1', b'"seq":1.0'), "seq cannot be"),
        (line().replace(b'"seq":1', b'"seq":true'), "seq cannot be"),
        (line().replace(b'"step":3', b'"step":-3'), "step cannot be"),
        (line().replace(b"Z", b""), "at cannot be"),
        (line().replace(b"ab", b"AB"), "bytes cannot be"),
        (line().replace(b":1,", b": 1,"), "another form"),
        (line().replace(b'"seq":1', b'"seq":2,"seq":1'), "another form"),
        (line() + b" ", "another form"),
        (b" " * (AUDIT_LINE_MAX_BYTES + 1), "more than"),
    ],
)
def test_what_is_no_line_is_told(text: bytes, words: str) -> None:
    with pytest.raises(LineError, match=words):
        parse(text)


def test_times_are_utc_to_the_nanosecond() -> None:
    assert time_of(0) == "1970-01-01T00:00:00.000000000Z"
    assert time_of(1_000_000_001) == "1970-01-01T00:00:01.000000001Z"
