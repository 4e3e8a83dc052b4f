"""secp256k1 and secp256k1eth on both cores against the definitions (tests/oracles), for any key and
any text that the slot signs.
"""

import base64
import hashlib

from hypothesis import given, settings
from hypothesis import strategies as st

from cometkms.core import native
from cometkms.core.pure import core as pure
from cometkms.core.pure.keccak import keccak_256
from cometkms.keys.public import address_of
from cometkms.keys.ripemd160 import ripemd160
from cometkms.keytypes import SECP256K1, SECP256K1ETH, typed
from cometkms.model import HRS, Permit, Step
from tests.oracles import secp256k1 as oracle

CORES = (native.load(), pure.CORE)
SECRETS = st.one_of(st.integers(1, 3), st.integers(oracle.N - 3, oracle.N - 1), st.integers(1, oracle.N - 1))


def texts(height: int, second: int) -> bytes:
    """A prevote's sign bytes, from the core that needs no vector."""
    from cometkms.model import BlockID, Dialect, Kind, Message, Timestamp, Vote

    vote = Vote(1, height, 0, BlockID(b"a" * 32, 1, b"b" * 32), Timestamp(second, 0))
    return CORES[1].check_request(Dialect.PROTO, "c", Message(Kind.SIGN_VOTE_REQUEST, "c", vote=vote)).sign_bytes


@settings(max_examples=25, deadline=None)
@given(d=SECRETS, height=st.integers(1, 2**63 - 1), second=st.integers(0, 2**33))
def test_both_cores_sign_what_the_definitions_say(d: int, height: int, second: int) -> None:
    text, secret, raw = texts(height, second), base64.b64encode(d.to_bytes(32, "big")), oracle.public_key(d)
    expected = {
        SECP256K1: oracle.sign(d, text),
        SECP256K1ETH: oracle.sign_eth(d, keccak_256(text)),
    }
    for core in CORES:
        for key_type, signature in expected.items():
            slot = core.key_slot(bytearray(secret), "c", key_type)
            assert slot.public_key == typed(key_type, raw)
            assert slot.sign(Permit(text)) == signature
            assert slot.last_signed == HRS(height, 0, Step.PREVOTE)
            assert core.verify(slot.public_key, text, signature)
            slot.close()
    assert oracle.verify_digest(raw, hashlib.sha256(text).digest(), expected[SECP256K1])


@settings(max_examples=25, deadline=None)
@given(
    d=SECRETS,
    message=st.binary(max_size=300),
    r=st.binary(min_size=32, max_size=32),
    s=st.binary(min_size=32, max_size=32),
    v=st.integers(0, 255),
)
def test_both_cores_judge_any_signature_alike(d: int, message: bytes, r: bytes, s: bytes, v: int) -> None:
    raw = oracle.public_key(d)
    good = oracle.sign(d, message)
    high = good[:32] + (oracle.N - int.from_bytes(good[32:], "big")).to_bytes(32, "big")
    eth = oracle.sign_eth(d, keccak_256(message))
    for core in CORES:
        key, eth_key = typed(SECP256K1, raw), typed(SECP256K1ETH, raw)
        assert core.verify(key, message, good)
        assert not core.verify(key, message, high)
        assert core.verify(key, message, r + s) == oracle.verify_digest(raw, hashlib.sha256(message).digest(), r + s)
        assert core.verify(eth_key, message, eth)
        assert core.verify(eth_key, message, eth[:64] + bytes([v])) == (v == eth[64])


@settings(max_examples=50, deadline=None)
@given(x=st.binary(min_size=32, max_size=32), first=st.sampled_from([0, 1, 2, 3, 4, 5]))
def test_a_key_that_is_no_point_verifies_nothing(x: bytes, first: int) -> None:
    raw = bytes([first]) + x
    try:
        oracle.decompress(raw)
    except ValueError:
        for core in CORES:
            assert not core.verify(typed(SECP256K1, raw), b"m", b"\x01" * 64)
            assert not core.verify(typed(SECP256K1ETH, raw), b"m", b"\x01" * 65)
        import pytest

        with pytest.raises(ValueError, match="no point"):
            address_of(typed(SECP256K1ETH, raw))


@settings(max_examples=50, deadline=None)
@given(data=st.binary(max_size=400))
def test_keccak_and_ripemd_agree_with_other_implementations(data: bytes) -> None:
    """hashlib's SHA3 differs from Keccak-256 by its padding only; RIPEMD-160 where OpenSSL has it."""
    from cometkms.core.pure.merlin import keccak_f1600

    padded = bytearray(data + b"\x06")
    padded += bytes(-len(padded) % 136)
    padded[-1] |= 0x80
    lanes = [0] * 25
    for at in range(0, len(padded), 136):
        for lane in range(17):
            lanes[lane] ^= int.from_bytes(padded[at + 8 * lane : at + 8 * lane + 8], "little")
        lanes = keccak_f1600(lanes)
    assert b"".join(one.to_bytes(8, "little") for one in lanes[:4]) == hashlib.sha3_256(data).digest()
    try:
        expected = hashlib.new("ripemd160", data).digest()
    except ValueError:
        return
    assert ripemd160(data) == expected
