"""SecretConnection as CometBFT's own code runs it, on both cores and in both directions."""

from nacl.signing import SigningKey

from cometkms.core.interface import Core
from cometkms.model import Dialect
from cometkms.wire.identity import Identity
from cometkms.wire.secret_connection import Handshake
from tests.vectors.vectors import load


def test_key_schedule_challenge_and_frames(core: Core) -> None:
    for case in load("secret_connection.json"):
        secret, own, remote = (
            bytes.fromhex(case[key])
            for key in ("local_ephemeral_secret", "local_ephemeral_public", "remote_ephemeral_public")
        )
        frames, challenge = core.key_schedule(secret, own, remote)
        assert challenge.hex() == case["challenge"]
        authentication, payload = bytes.fromhex(case["auth_message"]), bytes.fromhex(case["payload"])
        sealed, rest = frames.seal(authentication), payload[len(authentication) :]
        if rest:  # CometBFT wrote it apart
            sealed += frames.seal(rest)
        assert sealed.hex() == case["sealed"]


def test_what_cometbft_sealed_opens(core: Core) -> None:
    for case in load("secret_connection.json"):
        frames = core.frames(bytes.fromhex(case["send_key"]), bytes.fromhex(case["recv_key"]))
        assert frames.open(bytes.fromhex(case["sealed"])).hex() == case["payload"]


def test_the_handshake_sends_what_cometbft_sends(core: Core) -> None:
    for case in load("secret_connection.json"):
        identity = Identity(SigningKey(bytes.fromhex(case["identity_seed"])))
        secret = bytes.fromhex(case["local_ephemeral_secret"])
        handshake = Handshake(core, identity, Dialect.PROTO, ephemeral_secret=secret)
        assert handshake.hello.hex() == case["local_hello"]
        sent = handshake.feed(bytes.fromhex("220a20" + case["remote_ephemeral_public"]))
        assert case["sealed"].startswith(sent.hex())
