"""noise:// as CometBFT's NoiseListener and libp2p's own initiator speak it, with every
secret known.
"""

import json

import pytest
from nacl.signing import SigningKey

from cometkms.address import Address
from cometkms.config.values import parse_validator
from cometkms.core.interface import Core
from cometkms.errors import ConfigError
from cometkms.wire.identity import Identity
from cometkms.wire.noise import NoiseHandshake
from cometkms.wire.peer_id import peer_id, public_key_of
from tests.unit.wire.noise_listener import Responder, framed
from tests.vectors.vectors import HERE

VECTORS = json.loads((HERE / "v040/noise_v040.json").read_text())
CASES = VECTORS["cases"]


def bytes_of(case: dict, key: str) -> bytes:
    return bytes.fromhex(case[key])


@pytest.mark.parametrize("number", range(len(CASES)))
def test_the_handshake_is_libp2ps_byte_by_byte(core: Core, number: int) -> None:
    case = CASES[number]
    identity = Identity(SigningKey(bytes_of(case, "signer_identity_seed")))
    assert peer_id(identity.public_key) == case["signer_peer_id"]
    signer = NoiseHandshake(
        core,
        identity,
        public_key_of(case["validator_peer_id"]),
        ephemeral_secret=bytes_of(case, "signer_ephemeral_secret"),
        static_secret=bytes_of(case, "signer_static_secret"),
    )
    assert signer.hello[2:].hex() == case["message_1"]
    message_3 = signer.feed(framed(bytes_of(case, "message_2")))[2:]
    assert signer.done
    assert message_3[:48].hex() == case["message_3"][:96]
    assert (message_3.hex() == case["message_3"]) == case["payload_3"].endswith(
        "2200"
    )  # Go always sends the extensions
    theirs = core.noise(bytes_of(case, "signer_to_validator_key"), bytes_of(case, "validator_to_signer_key"))
    for sent in case["transport"]:
        plain, sealed = bytes_of(sent, "plain"), framed(bytes_of(sent, "sealed"))
        sender, receiver = (signer.frames, theirs) if sent["from"] == "signer" else (theirs, signer.frames)
        assert sender.seal(plain) == sealed
        assert receiver.open(sealed) == plain


@pytest.mark.parametrize("number", range(len(CASES)))
def test_the_listener_of_the_tests_is_libp2ps_too(core: Core, number: int) -> None:
    case = CASES[number]
    validator = Responder(
        SigningKey(bytes_of(case, "validator_identity_seed")),
        bytes_of(case, "validator_ephemeral_secret"),
        bytes_of(case, "validator_static_secret"),
    )
    validator.payload = bytes_of(case, "payload_2")
    assert validator.message_2(bytes_of(case, "message_1")).hex() == case["message_2"]
    assert validator.take_3(bytes_of(case, "message_3")).hex() == case["payload_3"]
    assert (validator.receive.hex(), validator.send.hex()) == (
        case["signer_to_validator_key"],
        case["validator_to_signer_key"],
    )


def test_most_cases_are_compared_whole() -> None:
    assert sum(case["payload_3"].endswith("2200") for case in CASES) == 9


#: CometBFT listens there, and a signer cannot dial it; or a signer may dial a name, where CometBFT
#: listens at addresses only.
_OTHERWISE = {"0.0.0.0:0": False, "localhost:26658": True}


@pytest.mark.parametrize("case", VECTORS["addresses"], ids=lambda case: case["address"])
def test_addresses_are_cometbfts(case: dict) -> None:
    """But for what makes sense on one side only."""
    ours = next((verdict for end, verdict in _OTHERWISE.items() if case["address"].endswith(f"@{end}")), case["ok"])
    if not ours:
        with pytest.raises(ConfigError):
            parse_validator(case["address"])
        return
    target = parse_validator(case["address"]).target
    assert isinstance(target, Address)
    assert peer_id(target.peer_key) in case["address"]
    host = f"[{target.host}]" if ":" in target.host else target.host
    assert case["address"].endswith(f"@{host}:{target.port}")


def test_peer_ids_are_libp2ps() -> None:
    for case in VECTORS["peer_ids"]:
        try:
            assert public_key_of(case["peer_id"]).hex() == case["public_key"]
        except ConfigError:
            assert not case["peer_id"].startswith("12D3KooW")
        else:
            assert peer_id(bytes_of(case, "public_key")) == case["peer_id"]
