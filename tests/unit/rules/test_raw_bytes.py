"""Which bytes that are no vote a chain's settings allow."""

import pytest

from cometkms.model import HRS, AllowedBytes, Kind, Reason, Request, Timestamp
from cometkms.rules.raw_bytes import decide_bytes

NOTHING, BOTH = AllowedBytes(), AllowedBytes(values=True, unique_ids=("fiber-commitment", "fibre/pp:v0"))


def asked(kind: Kind, reason: Reason = Reason.NONE, unique_id: str = "") -> Request:
    return Request(kind, reason, "c", HRS(0, 0, 0), b"", Timestamp(), b"", b"v" * 32, unique_id)


VALUE = asked(Kind.SIGN_BYTES_REQUEST)
RAW = asked(Kind.SIGN_RAW_BYTES_REQUEST, unique_id="fibre/pp:v0")


@pytest.mark.parametrize(
    ("allowed", "request_", "reason"),
    [
        (NOTHING, VALUE, Reason.BYTES_NOT_ALLOWED),
        (NOTHING, RAW, Reason.BYTES_NOT_ALLOWED),
        (AllowedBytes(values=True), RAW, Reason.BYTES_NOT_ALLOWED),
        (AllowedBytes(unique_ids=BOTH.unique_ids), VALUE, Reason.BYTES_NOT_ALLOWED),
        (BOTH, VALUE, None),
        (BOTH, RAW, None),
        (BOTH, asked(Kind.SIGN_RAW_BYTES_REQUEST, unique_id="fibre/pp"), Reason.BYTES_NOT_ALLOWED),
        (BOTH, asked(Kind.SIGN_RAW_BYTES_REQUEST, unique_id="fibre/pp:v01"), Reason.BYTES_NOT_ALLOWED),
        (BOTH, asked(Kind.SIGN_RAW_BYTES_REQUEST), Reason.BYTES_NOT_ALLOWED),
        (BOTH, asked(Kind.SIGN_VOTE_REQUEST), Reason.BYTES_NOT_ALLOWED),
        (BOTH, asked(Kind.SIGN_BYTES_REQUEST, Reason.BYTES_ARE_A_VOTE), Reason.BYTES_ARE_A_VOTE),
        (BOTH, asked(Kind.SIGN_BYTES_REQUEST, Reason.BAD_BYTES), Reason.BAD_BYTES),
        (BOTH, asked(Kind.SIGN_RAW_BYTES_REQUEST, Reason.WRONG_CHAIN, "fibre/pp:v0"), Reason.WRONG_CHAIN),
        (NOTHING, asked(Kind.SIGN_BYTES_REQUEST, Reason.BYTES_ARE_A_VOTE), Reason.BYTES_ARE_A_VOTE),
    ],
)
def test_a_chain_signs_only_what_its_settings_name(
    allowed: AllowedBytes, request_: Request, reason: Reason | None
) -> None:
    refusal = decide_bytes(allowed, request_)
    assert (refusal.reason if refusal is not None else None) is reason


def test_a_refusal_names_the_id_that_is_not_in_the_list() -> None:
    refusal = decide_bytes(BOTH, asked(Kind.SIGN_RAW_BYTES_REQUEST, unique_id="x\n" * 500))
    assert refusal is not None
    assert "'x\\nx\\n" in refusal.text
    assert len(refusal.text) < 400
