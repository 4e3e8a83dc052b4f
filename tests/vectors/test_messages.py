"""Every message that CometBFT's and Tendermint's own code made, in both directions, on both cores."""

import dataclasses
import json
from base64 import b64encode

import pytest

from cometkms.core.interface import Core, KeySlot, Session
from cometkms.errors import InvariantError
from cometkms.keytypes import ED25519, KEY_TYPES, KeyType, by_name, type_of, typed
from cometkms.model import HRS, Dialect, Kind, Line, Message, Permit, Reason, RemoteSignerError
from tests.vectors.vectors import HERE, ballot, load, message

V1 = "v1/messages_v1.json"
FILES = {"messages.json": Dialect.PROTO, V1: Dialect.PROTO, "amino/messages_amino.json": Dialect.AMINO}
KEYS_V1 = json.loads((HERE / "v1/keys_v1.json").read_text())
CELESTIA = json.loads((HERE / "celestia/raw_bytes.json").read_text())
KEYS_V040 = json.loads((HERE / "v040/signatures_v040.json").read_text())
BUILT = [key for key in KEYS_V1["keys"] + KEYS_V040["keys"] if key["key_type"] in {one.name for one in KEY_TYPES}]


def without_empty_ballot(decoded: Message) -> Message:
    """A response with an error carries an empty vote on the wire, which the vectors leave out."""
    if decoded.error is None:
        return decoded
    return dataclasses.replace(decoded, vote=None, proposal=None)


@pytest.mark.parametrize("name", FILES)
def test_messages_decode_to_what_was_encoded(core: Core, name: str) -> None:
    for case in load(name):
        decoded = core.decode_message(FILES[name], bytes.fromhex(case["bytes"]))
        assert without_empty_ballot(decoded) == message(case, v1=name == V1)


@pytest.mark.parametrize("name", FILES)
def test_messages_encode_to_the_same_bytes(core: Core, name: str) -> None:
    for case in load(name):
        assert core.encode_message(FILES[name], message(case, v1=name == V1)).hex() == case["bytes"]


def session_asked(core: Core, chain_id: str, wire: bytes) -> Session:
    """A session in which `wire`, one whole request, waits for its answer."""
    session = core.session(Dialect.PROTO, chain_id, None, wire)
    assert session.next_request() is not None
    return session


@pytest.mark.parametrize("key", BUILT, ids=lambda key: key["address"])
def test_one_public_key_answer_is_v0s_and_v1s(core: Core, key: dict) -> None:
    raw, key_type = bytes.fromhex(key["public_key"]), by_name(key["key_type"])
    public = typed(key_type, raw)
    ask = core.encode_message(Dialect.PROTO, Message(Kind.PUB_KEY_REQUEST, "c"))
    assert session_asked(core, "c", ask).answer_pub_key(public).hex() == key["pub_key_response_both"]
    both = core.decode_message(Dialect.PROTO, bytes.fromhex(key["pub_key_response_both"]))
    assert (both.pub_key, both.pub_key_bytes, both.pub_key_type) == (public, raw, key_type.name)


@pytest.mark.parametrize("key", KEYS_V1["keys"] + KEYS_V040["keys"], ids=lambda key: key["address"])
def test_public_key_answers_of_every_type_are_read(core: Core, key: dict) -> None:
    alone, both = (
        core.decode_message(Dialect.PROTO, bytes.fromhex(key[f"pub_key_response{which}"])) for which in ("", "_both")
    )
    assert (both.pub_key_bytes.hex(), both.pub_key_type) == (key["public_key"], key["key_type"])
    assert alone.pub_key in (None, both.pub_key)
    if alone.pub_key is None:
        assert core.encode_message(Dialect.PROTO, alone).hex() == key["pub_key_response"]


@pytest.mark.parametrize("key", KEYS_V1["keys"], ids=lambda key: key["key_type"])
def test_v1_requests_and_responses_of_every_key_type_go_both_ways(core: Core, key: dict) -> None:
    wires = [
        bytes.fromhex(case[which]) for case in key["votes"] + key["sign_bytes"] for which in ("request", "response")
    ]
    for wire in wires:
        assert core.encode_message(Dialect.PROTO, core.decode_message(Dialect.PROTO, wire)) == wire
    for case in key["votes"]:
        asked = core.decode_message(Dialect.PROTO, bytes.fromhex(case["request"]))
        assert asked.skip_extension == case["skip_extension_signing"]
        request = core.check_request(Dialect.PROTO, case["chain_id"], asked)
        assert (request.reason, request.sign_bytes.hex()) == (Reason.NONE, case["sign_bytes"])


@pytest.mark.parametrize("key", BUILT, ids=lambda key: key["address"])
def test_votes_and_proposals_get_cometbfts_own_answers(core: Core, key: dict) -> None:
    """Byte by byte, extensions with and without skip_extension_signing included; the vote's
    extension is never sent back.
    """
    told: set[Line] = set()
    cases = key["votes"] if "votes" in key else key["signed"]
    for case in cases:
        secret = bytearray(key["key_file"]["priv_key"]["value"].encode())
        slot = core.key_slot(secret, case["chain_id"], by_name(key["key_type"]))
        session = session_asked(core, case["chain_id"], bytes.fromhex(case["request"]))
        signature, answer = session.answer_sign(slot, Permit(bytes.fromhex(case["sign_bytes"])))
        assert signature.hex() == case["signature"]
        assert answer.hex() == case["response"]
        told.add(session.line)
    assert Line.V1 in told if "votes" in key else Line.V1 not in told


@pytest.mark.parametrize("case", KEYS_V1["never"], ids=lambda case: case["what"])
def test_sign_bytes_is_refused_in_words_on_its_own_tag(core: Core, case: dict) -> None:
    """Values that are a vote's, proposal's or extension's canonical bytes: whatever a chain's
    settings allow.
    """
    session = core.session(Dialect.PROTO, "ten-chars1", None, bytes.fromhex(case["request"]))
    request = session.next_request()
    assert request is not None
    assert (request.kind, request.reason) == (Kind.SIGN_BYTES_REQUEST, Reason.BYTES_ARE_A_VOTE)
    assert (request.sign_bytes, request.hrs) == (b"", HRS(0, 0, 0))
    words = core.decode_message(Dialect.PROTO, bytes.fromhex(KEYS_V1["refusal"])).error
    assert words == RemoteSignerError(0, "signing of bytes is not allowed")
    assert session.answer_error(words.code, words.description).hex() == KEYS_V1["refusal"]


def slot_for(
    core: Core, base64: str, chain_id: str, unique_ids: tuple[str, ...] = (), key_type: KeyType = ED25519
) -> KeySlot:
    """A slot that signs values, and raw bytes with those ids."""
    slot = core.key_slot(bytearray(base64.encode()), chain_id, key_type)
    slot.allow_bytes(values=True, unique_ids=unique_ids)
    return slot


@pytest.mark.parametrize("key", [key for key in BUILT if "votes" in key], ids=lambda key: key["key_type"])
@pytest.mark.parametrize("case", KEYS_V1["never"], ids=lambda case: case["what"])
def test_no_slot_signs_the_bytes_of_a_vote_as_a_value(core: Core, case: dict, key: dict) -> None:
    """With their length in front, as CometBFT signs them, and without; with keys of every type."""
    slot = slot_for(core, key["key_file"]["priv_key"]["value"], "ten-chars1", (), by_name(key["key_type"]))
    value = bytes.fromhex(case["value"])
    for one in (value, value[1:]):
        assert core.reads_as_vote(one)
        with pytest.raises(InvariantError, match="refuses to sign"):
            slot.sign_value(one)
    with pytest.raises(InvariantError):
        session_asked(core, "ten-chars1", bytes.fromhex(case["request"])).answer_bytes(slot)


@pytest.mark.parametrize("key", BUILT, ids=lambda key: key["address"])
def test_sign_bytes_gets_cometbfts_own_answer_where_it_is_allowed(core: Core, key: dict) -> None:
    for case in key.get("sign_bytes", ()):
        slot = slot_for(core, key["key_file"]["priv_key"]["value"], "c", (), by_name(key["key_type"]))
        signature, answer = session_asked(core, "c", bytes.fromhex(case["request"])).answer_bytes(slot)
        assert (signature.hex(), answer.hex()) == (case["signature"], case["response"])


@pytest.mark.parametrize("case", CELESTIA["cases"], ids=lambda case: f"{case['unique_id']}-{len(case['request'])}")
def test_celestias_raw_bytes_get_their_answer(core: Core, case: dict) -> None:
    chain_id, unique_id, raw = case["chain_id"], case["unique_id"], bytes.fromhex(case["raw_bytes"])
    assert core.raw_bytes(chain_id, raw, unique_id).hex() == case["sign_bytes"]
    slot = slot_for(core, b64encode(bytes.fromhex(CELESTIA["private_key"])).decode(), chain_id, (unique_id,))
    session = session_asked(core, chain_id, bytes.fromhex(case["request"]))
    signature, answer = session.answer_bytes(slot)
    assert (signature.hex(), answer.hex()) == (case["signature"], case["response"])
    asked = Message(Kind.SIGN_RAW_BYTES_REQUEST, chain_id, value=raw, unique_id=unique_id)
    answered = Message(Kind.SIGN_BYTES_RESPONSE, value=signature)
    for one, wire in ((asked, case["request"]), (answered, case["response"])):
        assert core.encode_message(Dialect.PROTO, one).hex() == wire
        assert core.decode_message(Dialect.PROTO, bytes.fromhex(wire)) == one
    assert core.verify(slot.public_key, bytes.fromhex(case["sign_bytes"]), signature)


@pytest.mark.parametrize("case", CELESTIA["cases"], ids=lambda case: f"{case['unique_id']}-{len(case['request'])}")
def test_celestias_raw_bytes_are_refused_under_another_id_or_chain(core: Core, case: dict) -> None:
    secret, wire = b64encode(bytes.fromhex(CELESTIA["private_key"])).decode(), bytes.fromhex(case["request"])
    chain_id, unique_id = case["chain_id"], case["unique_id"]
    for chain, ids in ((chain_id, ()), (chain_id, (unique_id + "x",)), ("another", (unique_id,))):
        slot = slot_for(core, secret, chain, ids)
        with pytest.raises(InvariantError):
            session_asked(core, chain, wire).answer_bytes(slot)


def test_amino_requests_have_the_sign_bytes_tendermint_signs(core: Core) -> None:
    cases = [case for case in load("amino/messages_amino.json") if "sign_bytes" in case]
    assert cases
    for case in cases:
        request = core.check_request(Dialect.AMINO, "test-1", message(case))
        assert (request.reason, request.sign_bytes.hex()) == (Reason.NONE, case["sign_bytes"])


def test_sign_bytes_are_cometbfts(core: Core) -> None:
    checked = 0
    for case in load("sign_bytes.json"):
        if not case["chain_id"]:
            continue  # an empty chain id is refused; see the next test
        one = ballot(case.get("vote") or case["proposal"])
        kind = Kind.SIGN_VOTE_REQUEST if "vote" in case else Kind.SIGN_PROPOSAL_REQUEST
        asked = Message(kind, case["chain_id"], **{case["kind"]: one})
        request = core.check_request(Dialect.PROTO, case["chain_id"], asked)
        assert (request.reason, request.sign_bytes.hex()) == (Reason.NONE, case["sign_bytes"])
        parsed = core.parse_sign_bytes(request.sign_bytes)
        assert (parsed.hrs, parsed.timestamp, parsed.chain_id) == (request.hrs, one.timestamp, case["chain_id"])
        checked += 1
    assert checked > 50


def test_an_empty_chain_id_is_refused(core: Core) -> None:
    case = next(case for case in load("sign_bytes.json") if not case["chain_id"])
    one = ballot(case.get("vote") or case["proposal"])
    kind = Kind.SIGN_VOTE_REQUEST if "vote" in case else Kind.SIGN_PROPOSAL_REQUEST
    assert core.check_request(Dialect.PROTO, "test-1", Message(kind, "", **{case["kind"]: one})).reason is (
        Reason.EMPTY_CHAIN
    )


def test_extension_sign_bytes_are_cometbfts(core: Core) -> None:
    cases = [case for case in load("sign_bytes.json") if "extension_sign_bytes" in case]
    assert cases
    for case in cases:
        vote = ballot(case["vote"])
        made = core.extension_sign_bytes(case["chain_id"], HRS(vote.height, vote.round, 3), vote.extension)
        assert made.hex() == case["extension_sign_bytes"]


def test_v040_public_keys_of_every_type_decode_and_those_that_are_built_encode_alike(core: Core) -> None:
    met = set()
    for case in load("v040/pubkeys_v040.json"):
        decoded = core.decode_message(Dialect.PROTO, bytes.fromhex(case["bytes"]))
        assert decoded.kind is Kind.PUB_KEY_RESPONSE
        if "ed25519" in case:
            assert decoded.pub_key.hex() == case["ed25519"]
        if decoded.pub_key:
            met.add(type_of(decoded.pub_key).name)
            assert core.encode_message(Dialect.PROTO, decoded).hex() == case["bytes"]
    assert met == {one.name for one in KEY_TYPES}
