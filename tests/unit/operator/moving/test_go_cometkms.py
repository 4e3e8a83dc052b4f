"""The Go CometKMS's homes, as three of its nodes left them: node0 led first, node1 after it was
stopped, node2 never.
"""

from pathlib import Path

import pytest
from nacl.signing import SigningKey

from cometkms.core.pure import core as pure
from cometkms.errors import ConfigError, KeyFileError, StateError
from cometkms.keys.validator_key import write_key
from cometkms.model import HRS
from cometkms.operator.moving import go_cometkms
from cometkms.operator.moving.old_signer import Asked, OldSigner
from tests.vectors.moving.homes import CHAIN, SEED, old_home

CORE = pure.CORE


@pytest.fixture
def homes(tmp_path: Path) -> list[Path]:
    return sorted(old_home(tmp_path, "cometkms").iterdir())


def read(*paths: Path, chain: str = CHAIN, states: tuple[Path, ...] = (), key: Path | None = None) -> OldSigner:
    return go_cometkms.read(Asked(paths, chain, CORE, key, states))


def test_every_nodes_state_is_read(homes: list[Path]) -> None:
    old = read(*homes)
    assert old.public_key == bytes(SigningKey(SEED).verify_key)
    assert [one.mark.hrs for one in old.states] == [HRS(71, 1, 3), HRS(73, 1, 2), HRS(0, 0, 0)]
    assert not old.doubts


def test_a_home_of_three_alone_is_doubted_for_only_the_signer_writes_its_state(homes: list[Path]) -> None:
    doubt = read(homes[0]).doubts[0]
    assert "3 nodes may have signed with this key (node0, node1, node2)" in doubt.what
    assert "--min-height" in doubt.cure
    more = tuple(home / "priv" / "priv_validator_state.json" for home in homes[1:])
    assert not read(homes[0], states=more).doubts
    own = homes[0] / "priv" / "priv_validator_state.json"
    (linked := homes[0].with_name("linked")).symlink_to(homes[0])
    assert read(homes[0], states=(own, linked / "priv" / own.name)).doubts, "its own state, twice more"


def test_a_home_without_a_peer_list_says_what_it_cannot_know(homes: list[Path]) -> None:
    config = homes[0] / "config.toml"
    config.write_text('id = "node0"\npeer = []\nchain_id = ""\n')
    old = read(homes[0])
    assert not old.doubts
    assert "had the cluster more nodes" in old.notes[0]
    config.unlink()
    assert read(homes[0]).notes


def test_another_chain_or_another_key_is_refused(homes: list[Path]) -> None:
    with pytest.raises(ConfigError, match=f"is of chain '{CHAIN}', and 'other' is asked for"):
        read(*homes, chain="other")
    key = homes[1] / "priv" / "priv_validator_key.json"
    key.unlink()
    write_key(key, b"\1" * 32)
    with pytest.raises(KeyFileError, match=f"{key} is of the key"):
        read(*homes)


def test_a_home_of_this_program_is_not_taken_for_one(homes: list[Path]) -> None:
    store = homes[0] / "data" / "node0" / "promises"
    store.parent.mkdir(parents=True)
    store.touch()
    with pytest.raises(StateError, match="is a home of this program"):
        read(*homes)


def test_bad_input_names_the_file_and_the_cure(homes: list[Path], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="where are the homes"):
        read()
    with pytest.raises(KeyFileError, match="is missing"):
        read(tmp_path / "no")
    (homes[1] / "priv" / "priv_validator_state.json").write_text("{")
    with pytest.raises(StateError, match=r"node1/priv/priv_validator_state\.json is not a validator's state file"):
        read(*homes)
    (homes[2] / "config.toml").write_text("peer = [")
    with pytest.raises(ConfigError, match=r"node2/config\.toml cannot be understood"):
        read(*homes)
