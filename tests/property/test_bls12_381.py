"""bls12_381 on both cores against the definitions (tests/oracles), for any key and any text that
the slot signs.
"""

import base64

from hypothesis import given, settings
from hypothesis import strategies as st

from cometkms.core import native
from cometkms.core.pure import core as pure
from cometkms.keytypes import BLS12_381, typed
from cometkms.limits import PREPARED_MAX_BYTES
from cometkms.model import HRS, BlockID, Dialect, Kind, Message, Permit, Step, Timestamp, Vote
from tests.oracles import bls12_381 as oracle

CORES = (native.load(), pure.CORE)
SECRETS = st.one_of(st.integers(1, 3), st.integers(oracle.R - 3, oracle.R - 1), st.integers(1, oracle.R - 1))
COORDINATES = st.builds(oracle.F2, st.integers(0, oracle.P - 1), st.integers(0, oracle.P - 1))


def texts(height: int, second: int) -> bytes:
    """A prevote's sign bytes."""
    vote = Vote(1, height, 0, BlockID(b"a" * 32, 1, b"b" * 32), Timestamp(second, 0))
    return CORES[1].check_request(Dialect.PROTO, "c", Message(Kind.SIGN_VOTE_REQUEST, "c", vote=vote)).sign_bytes


def slot_of(core, d: int):
    return core.key_slot(bytearray(base64.b64encode(d.to_bytes(32, "big"))), "c", BLS12_381)


@settings(max_examples=15, deadline=None)
@given(d=SECRETS, height=st.integers(1, 2**63 - 1), second=st.integers(0, 2**33), prepared=st.booleans())
def test_both_cores_sign_what_the_definitions_say(d: int, height: int, second: int, prepared: bool) -> None:
    text, raw = texts(height, second), oracle.public_key(d)
    expected = oracle.sign(d, text)
    for core in CORES:
        slot = slot_of(core, d)
        assert slot.public_key == typed(BLS12_381, raw)
        if prepared:
            slot.prepare(text)
        assert slot.sign(Permit(text)) == expected
        assert slot.last_signed == HRS(height, 0, Step.PREVOTE)
        assert core.verify(slot.public_key, text, expected)
        slot.close()


def asked(core, slot, vote: Vote, skip: bool, prepared: Vote | None) -> Vote:
    """The answer of a session that has prepared for `prepared` when the vote is asked for, and
    signs it then.
    """
    if prepared is not None:
        ask(core, prepared, skip=False)[0].prepare(slot)
    session, request = ask(core, vote, skip)
    if prepared == vote:
        session.prepare(slot)
    _, wire = session.answer_sign(slot, Permit(request.sign_bytes))
    answer = core.decode_message(Dialect.PROTO, wire).vote
    assert answer is not None
    return answer


def ask(core, vote: Vote, skip: bool):
    message = Message(Kind.SIGN_VOTE_REQUEST, "c", vote=vote, skip_extension=skip)
    session = core.session(Dialect.PROTO, "c", None, core.encode_message(Dialect.PROTO, message))
    request = session.next_request()
    assert request is not None
    return session, request


@settings(max_examples=15, deadline=None)
@given(
    data=st.data(),
    sizes=st.tuples(*2 * [st.sampled_from([0, 1, 300, PREPARED_MAX_BYTES - 40, PREPARED_MAX_BYTES, 20_000])]),
    heights=st.tuples(*2 * [st.integers(1, 3)]),
    skip=st.booleans(),
)
def test_what_was_prepared_of_this_or_another_precommit_changes_no_answer(
    data: st.DataObject, sizes: tuple[int, int], heights: tuple[int, int], skip: bool
) -> None:
    """Vote and extension, of any size, each on both cores; the other precommit differs in whatever
    was drawn, or in nothing.
    """
    vote, other = (
        Vote(2, height, 0, BlockID(b"a" * 32, 1, b"b" * 32), Timestamp(9, 0), extension=bytes(size))
        for height, size in zip(heights, sizes, strict=True)
    )
    prepared = data.draw(st.sampled_from([None, vote, other]))
    for core in CORES:
        plain, ready = slot_of(core, 7), slot_of(core, 7)
        answer = asked(core, ready, vote, skip, prepared)
        assert answer == asked(core, plain, vote, skip, None)
        assert bool(answer.extension_signature) == (not skip)
        if not skip:
            text = core.extension_sign_bytes("c", HRS(vote.height, 0, Step.PRECOMMIT), vote.extension)
            assert core.verify(ready.public_key, text, answer.extension_signature)
        plain.close()
        ready.close()


@settings(max_examples=10, deadline=None)
@given(
    d=SECRETS,
    message=st.binary(max_size=300),
    other=st.binary(max_size=300),
    random=st.binary(min_size=96, max_size=96),
)
def test_a_signature_of_other_bytes_or_by_another_key_does_not_verify(
    d: int, message: bytes, other: bytes, random: bytes
) -> None:
    """There is one signature for each key and text: whatever is not it does not verify."""
    key, good = typed(BLS12_381, oracle.public_key(d)), oracle.sign(d, message)
    another = typed(BLS12_381, oracle.public_key(d % (oracle.R - 1) + 1))
    for core in CORES:
        assert core.verify(key, message, good)
        assert core.verify(key, other, good) == (other == message)
        assert not core.verify(another, message, good)
        assert not core.verify(key, message, random)
        # the other y: its negative
        assert not core.verify(key, message, bytes([good[0] ^ 0x20]) + good[1:])


@settings(max_examples=10, deadline=None)
@given(d=SECRETS, u=COORDINATES, message=st.binary(max_size=60))
def test_points_outside_of_the_group_do_not_verify(d: int, u: oracle.F2, message: bytes) -> None:
    """What a pairing does not see, a part whose order divides the cofactor, is refused in
    signatures and in keys: else one signature has many forms.
    """
    stray = oracle.multiply(oracle.R, oracle.map_to_curve(u))
    key = oracle.public_key(d)
    point = oracle.multiply(d, oracle.hash_to_g2(message))
    more = oracle.compress_g2(oracle.add(point, stray))
    assert oracle.is_on_curve(oracle.add(point, stray), oracle.B2)
    x = next(x for x in range(u.a, u.a + 64) if oracle._root(x**3 + 4) is not None)
    of_g1 = oracle.multiply(oracle.R, (oracle.F2(x), oracle.F2(oracle._root(x**3 + 4) or 0)))
    longer = oracle.add(oracle.multiply(d, oracle.G1), of_g1)
    assert oracle.is_on_curve(longer, oracle.B1)
    for core in CORES:
        assert core.verify(typed(BLS12_381, key), message, oracle.compress_g2(point))
        assert core.verify(typed(BLS12_381, key), message, more) == (stray is None)
        accepted = core.verify(typed(BLS12_381, oracle.serialize_g1(longer)), message, oracle.compress_g2(point))
        assert accepted == (of_g1 is None)


def test_the_points_at_infinity_and_other_forms_are_no_signature_and_no_key() -> None:
    key, good = oracle.public_key(7), oracle.sign(7, b"m")
    infinity = oracle.compress_g2(None)
    compressed = bytes([key[0] | 0x80]) + key[1:48]
    for core in CORES:
        assert core.verify(typed(BLS12_381, key), b"m", good)
        assert not core.verify(typed(BLS12_381, key), b"m", infinity)
        assert not core.verify(typed(BLS12_381, oracle.serialize_g1(None)), b"m", infinity)
        for first in (0x80, 0xA0):  # 48 bytes compressed, and anything behind them
            changed = bytes([compressed[0] & 0x1F | first]) + compressed[1:]
            assert not core.verify(typed(BLS12_381, changed + bytes(48)), b"m", good)
        assert not core.verify(typed(BLS12_381, key[:48] + bytes(48)), b"m", good)
        assert not core.verify(typed(BLS12_381, bytes(96)), b"m", good)


def test_the_definitions_sign_as_the_standard_says() -> None:
    """RFC 9380's own vectors for this suite have a DST of their own; CometBFT's (tests/vectors)
    bind the oracle to what it signs with.
    """
    import json

    from tests.vectors.vectors import HERE

    keys = [one for one in json.loads((HERE / "v1/keys_v1.json").read_text())["keys"] if one["key_type"] == "bls12_381"]
    for key in keys:
        d = int.from_bytes(base64.b64decode(key["key_file"]["priv_key"]["value"]), "big")
        assert oracle.public_key(d).hex() == key["public_key"]
        for case in key["votes"][:4]:
            assert oracle.sign(d, bytes.fromhex(case["sign_bytes"])).hex() == case["signature"]
