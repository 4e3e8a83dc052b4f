"""Key sources: the same slot whatever the key is kept in, and a clear word where it
cannot be opened.
"""

import base64
from pathlib import Path

import pytest
from nacl.signing import SigningKey

from cometkms.core.interface import Core, KeySlot
from cometkms.errors import InvariantError, KeyFileError
from cometkms.keys import sealed_file
from cometkms.keys.cluster import Derivation, noise_public_key, public_identities
from cometkms.keys.passphrase import PassphraseFile
from cometkms.keys.source import KeySource, PlainKeyFile, SealedKeyFile, key_source
from cometkms.keys.validator_key import load_public_key, write_key
from cometkms.limits import SEAL_MEMORY_MIN_BYTES
from cometkms.model import Permit
from tests.unit.core.test_core import CHAIN, PUBLIC, SEED, asked, sign_bytes, vote


def plain(tmp_path: Path) -> Path:
    path = tmp_path / "key.json"
    write_key(path, SEED)
    return path


def sealed(tmp_path: Path, core: Core) -> tuple[Path, PassphraseFile]:
    path, word = tmp_path / "sealed.json", tmp_path / "word"
    secret = bytearray(base64.b64encode(SEED + PUBLIC))
    path.write_bytes(sealed_file.encode(core.seal_key(secret, b"word", sealed_file.blank(1, SEAL_MEMORY_MIN_BYTES))))
    word.write_bytes(b"word")
    for one in (path, word):
        one.chmod(0o600)
    return path, PassphraseFile(word)


def test_plain_and_sealed_files_give_the_same_slot(core: Core, tmp_path: Path) -> None:
    path, word = sealed(tmp_path, core)
    sources = [key_source(plain(tmp_path), None), key_source(path, word)]
    assert [type(one) for one in sources] == [PlainKeyFile, SealedKeyFile]
    assert {one.public_key for one in sources} == {load_public_key(path)} == {PUBLIC}
    slots = [one.open(core, CHAIN) for one in sources]
    assert len({slot.sign(Permit(sign_bytes(core, vote()))) for slot in slots}) == 1
    assert len({slot.cluster_secret() for slot in slots}) == 1
    assert len({public_identities(tmp_path, [one], core, ["a"])["a"] for one in sources}) == 1
    assert len({noise_public_key(tmp_path, [one], core, None) for one in sources}) == 1


def test_a_sealed_key_without_a_passphrase_names_every_cure(core: Core, tmp_path: Path) -> None:
    path, _ = sealed(tmp_path, core)
    with pytest.raises(KeyFileError, match=r"key_passphrase_file.*COMETKMS_KEY_PASSPHRASE_FILE.*keys decrypt"):
        key_source(path, None)


def test_a_wrong_passphrase_names_the_file_and_not_the_word(core: Core, tmp_path: Path) -> None:
    path, word = sealed(tmp_path, core)
    word.path.write_bytes(b"another")
    source = key_source(path, word)
    for action in (lambda: source.open(core, CHAIN), lambda: Derivation(tmp_path, [source], core, "a", ()).take()):
        with pytest.raises(KeyFileError, match=f"{path}: the passphrase does not open it") as error:
            action()
        assert "another" not in str(error.value)


def test_a_key_that_was_exchanged_behind_the_nodes_back_is_refused(core: Core, tmp_path: Path) -> None:
    path, word = sealed(tmp_path, core)
    for source in (key_source(path, word), key_source(plain(tmp_path), None)):
        assert isinstance(source, PlainKeyFile | SealedKeyFile)
        source.path.unlink()
        write_key(source.path, b"\1" * 32)
        with pytest.raises(KeyFileError, match="was replaced by another key"):
            source.open(core, CHAIN)


def test_a_file_that_says_sealed_and_is_not_is_refused(core: Core, tmp_path: Path) -> None:
    path, word = sealed(tmp_path, core)
    path.write_bytes(path.read_bytes().replace(b'"passes": 1', b'"passes": 1000'))
    with pytest.raises(KeyFileError, match="is no sealed key file: its passes is 1000"):
        key_source(path, word)


class Token:
    """Stands in for a hardware key: a KeySource whose seed is nowhere in the program."""

    def __init__(self) -> None:
        self._key = SigningKey(SEED)
        self.public_key = PUBLIC
        self.asked: list[bytes] = []

    def sign(self, message: bytes) -> bytes:
        self.asked.append(message)
        return self._key.sign(message).signature

    def open(self, core: Core, chain_id: str) -> KeySlot:
        return core.outside_slot(self.public_key, self.sign, chain_id)


def test_a_token_is_one_more_source_behind_the_same_guards(core: Core, tmp_path: Path) -> None:
    token = Token()
    source: KeySource = token
    slot = source.open(core, CHAIN)
    message = vote(extension=b"e")
    signature, _ = asked(core, message).answer_sign(slot, Permit(sign_bytes(core, message)))
    assert core.verify(PUBLIC, sign_bytes(core, message), signature)
    assert len(token.asked) == 2  # the vote and its extension
    for refused in (sign_bytes(core, vote(second=1)), sign_bytes(core, vote(height=4)), b"anything"):
        with pytest.raises(InvariantError):
            slot.sign(Permit(refused))
    assert len(token.asked) == 2
    with pytest.raises(KeyFileError, match=r"priv/cluster\.key"):
        Derivation(tmp_path, [source], core, "a", ()).take()
    slot.close()
    with pytest.raises(InvariantError):
        slot.sign(Permit(sign_bytes(core, vote(height=9))))


@pytest.mark.parametrize("answer", [b"", bytes(63), bytes(64), bytes(65)])
def test_what_a_token_says_is_believed_once_it_verifies(core: Core, answer: bytes) -> None:
    slot = core.outside_slot(PUBLIC, lambda _: answer, CHAIN)
    with pytest.raises(InvariantError):
        slot.sign(Permit(sign_bytes(core, vote())))


def test_a_token_that_fails_makes_the_slot_refuse(core: Core, capfd: pytest.CaptureFixture[str]) -> None:
    def unplugged(_: bytes) -> bytes:
        raise OSError("no such device")

    slot = core.outside_slot(PUBLIC, unplugged, CHAIN)
    with pytest.raises(InvariantError) as error:
        slot.sign(Permit(sign_bytes(core, vote())))
    assert "no such device" in capfd.readouterr().err + str(error.value)
    with pytest.raises(KeyFileError):
        core.outside_slot(PUBLIC[:31], unplugged, CHAIN)
