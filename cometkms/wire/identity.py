"""SecretConnection identities: an ed25519 key that proves who speaks. Not the validator key."""

from dataclasses import dataclass

from nacl.signing import SigningKey


@dataclass(frozen=True, slots=True, repr=False)
class Identity:
    """`key`: the ed25519 signing key of this end."""

    key: SigningKey

    @staticmethod
    def generate() -> "Identity":
        """A fresh one, as a validator makes at each start."""
        return Identity(SigningKey.generate())

    @property
    def public_key(self) -> bytes:
        """32 bytes."""
        return bytes(self.key.verify_key)

    def sign(self, challenge: bytes) -> bytes:
        """64 bytes."""
        return bytes(self.key.sign(challenge).signature)
