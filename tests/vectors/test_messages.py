"""Every message that CometBFT's and Tendermint's own code made, in both directions, on both cores."""

import dataclasses

import pytest

from cometkms.interface import Core
from cometkms.model import HRS, Dialect, Kind, Message, Reason
from tests.vectors.vectors import ballot, load, message

FILES = {"messages.json": Dialect.PROTO, "amino/messages_amino.json": Dialect.AMINO}


def without_empty_ballot(decoded: Message) -> Message:
    """A response with an error carries an empty vote on the wire, which the vectors leave out."""
    if decoded.error is None:
        return decoded
    return dataclasses.replace(decoded, vote=None, proposal=None)


@pytest.mark.parametrize("name", FILES)
def test_messages_decode_to_what_was_encoded(core: Core, name: str) -> None:
    for case in load(name):
        decoded = core.decode_message(FILES[name], bytes.fromhex(case["bytes"]))
        assert without_empty_ballot(decoded) == message(case)


@pytest.mark.parametrize("name", FILES)
def test_messages_encode_to_the_same_bytes(core: Core, name: str) -> None:
    for case in load(name):
        assert core.encode_message(FILES[name], message(case)).hex() == case["bytes"]


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


def test_v040_public_keys_of_every_type_decode_and_ed25519_encodes_alike(core: Core) -> None:
    ed25519 = 0
    for case in load("v040/pubkeys_v040.json"):
        decoded = core.decode_message(Dialect.PROTO, bytes.fromhex(case["bytes"]))
        assert decoded.kind is Kind.PUB_KEY_RESPONSE
        assert decoded.pub_key.hex() == case.get("ed25519", "")
        if "ed25519" in case:
            ed25519 += 1
            assert core.encode_message(Dialect.PROTO, decoded).hex() == case["bytes"]
    assert ed25519
