"""Whatever stands in a file of another signer: it is read, or it is an operator's error that names
a cure. Never a traceback.
"""

import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cometkms.core.pure import core as pure
from cometkms.errors import KeyFileError, OperatorError
from cometkms.keys.validator_key import read_material, write_key
from cometkms.operator.moving import comet_kms, filepv, horcrux, tmkms
from cometkms.operator.moving.old_signer import Asked, OldSigner
from cometkms.store import state_file
from tests.unit.operator.moving.test_comet_wal import ended
from tests.unit.operator.moving.test_horcrux import old_cosigners
from tests.vectors.moving.homes import CHAIN, SEED, comet_kms_home, old_home

CORE = pure.CORE
#: reader, home, and the files in it that the reader opens.
HOMES: dict[str, tuple[Callable[[Asked], OldSigner], str, list[str]]] = {
    "filepv": (filepv.read, "cometkms/node1", ["priv/priv_validator_key.json", "priv/priv_validator_state.json"]),
    "cometkms": (
        comet_kms.read_either,
        "cometkms/node1",
        ["config.toml", "priv/priv_validator_key.json", "priv/priv_validator_state.json"],
    ),
    "filepv home": (
        filepv.read,
        "gaia",
        ["config/config.toml", "config/k.json", "data/s.json", "data/cs.wal/wal", "data/priv_validator_state.json"],
    ),
    "CometBFT's cometkms": (
        comet_kms.read_either,
        "comet_kms",
        ["cometkms.toml", "priv_validator_key.json", f"state/{CHAIN}.json"],
    ),
    "horcrux v2": (
        horcrux.read,
        "horcrux_v2",
        ["config.yaml", "share.json", f"state/{CHAIN}_share_sign_state.json"],
    ),
    "horcrux single": (
        horcrux.read,
        "horcrux_single",
        ["config.yaml", f"{CHAIN}_priv_validator_key.json", f"state/{CHAIN}_priv_validator_state.json"],
    ),
    "horcrux threshold": (
        horcrux.read,
        "horcrux_threshold/cosigner_1",
        ["config.yaml", f"{CHAIN}_shard.json", f"state/{CHAIN}_share_sign_state.json"],
    ),
    "tmkms": (
        tmkms.read,
        "tmkms",
        ["tmkms.toml", f"secrets/{CHAIN}-consensus.key", f"state/{CHAIN}-consensus.json"],
    ),
}


def made_home(folder: Path, name: str) -> Path:
    """A home of `HOMES`, whole."""
    if name == "comet_kms":
        return comet_kms_home(folder)
    if name == "horcrux_v2":
        return old_cosigners(folder)[0]
    if name == "gaia":
        home = folder / "gaia"
        (home / "data" / "cs.wal").mkdir(parents=True)
        (home / "config").mkdir()
        (home / "config" / "config.toml").write_text(
            'priv_validator_key_file = "config/k.json"\npriv_validator_state_file = "data/s.json"\npriv_validator_laddr = ""\n'
        )
        write_key(home / "config" / "k.json", SEED)
        for state in ("s.json", "priv_validator_state.json"):
            (home / "data" / state).write_text('{"height":"70","round":0,"step":3}')
        (home / "data" / "cs.wal" / "wal").write_bytes(ended(70) + ended(71))
        return home
    return old_home(folder, name.split("/", maxsplit=1)[0]).parent / name


CASES = [(name, number) for name, (_, _, files) in HOMES.items() for number in range(len(files))]

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)


@st.composite
def bent(draw: st.DrawFn, whole: bytes) -> bytes:
    """The file with a piece replaced, cut, doubled; or anything."""
    start = draw(st.integers(0, len(whole)))
    end = draw(st.integers(start, min(len(whole), start + 40)))
    piece = draw(st.binary(max_size=40) | st.sampled_from([b"", b"null", b"[]", b"{}", b"-1", b"1e999", b'"', b"\xff"]))
    return draw(st.sampled_from([whole[:start] + piece + whole[end:], whole[:start], whole + whole[start:end], piece]))


@pytest.mark.parametrize(("name", "number"), CASES)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_bent_file_is_read_or_told_with_a_cure(name: str, number: int, data: st.DataObject) -> None:
    reader, place, files = HOMES[name]
    with tempfile.TemporaryDirectory() as folder:
        home = made_home(Path(folder), place)
        path = home / files[number]
        path.write_bytes(data.draw(bent(path.read_bytes())))
        root = home / "priv" if name == "filepv" else home
        try:
            old = reader(Asked((root,), CHAIN, CORE))
        except OperatorError as error:
            # which may name any place
            assert str(folder) in str(error) or path.suffix in (".toml", ".yaml")
            assert "cure" in str(error).lower(), error
        else:
            assert old.states


@given(_JSON)
def test_a_state_file_of_any_json_is_a_mark_or_a_value_error(value: Any) -> None:
    try:
        mark = state_file.decode(json.dumps(value).encode(), CHAIN, CORE.parse_sign_bytes)
    except ValueError:
        return
    assert mark.hrs.height >= 0


@settings(deadline=None)
@given(st.binary(max_size=300) | _JSON.map(lambda value: json.dumps({"priv_key": value, "pub_key": value}).encode()))
def test_a_key_file_of_anything_is_refused_by_name(untrusted: bytes) -> None:
    folder = Path(tempfile.mkdtemp())
    try:
        path = folder / "key.json"
        path.write_bytes(untrusted)
        path.chmod(0o600)
        with pytest.raises(KeyFileError, match=str(path)):
            read_material(path, CORE)
    finally:
        shutil.rmtree(folder)


_SETTING = st.sampled_from(
    [
        "priv_validator_key_file",
        "priv_validator_state_file",
        "priv_validator_laddr",
        "db_dir",
        "consensus",
        "PRIV_VALIDATOR_LADDR",
        "privval",
        "x",
    ]
)
_VALUE = st.sampled_from(
    ["", "/", ".", "..", "a/../..", "config/k.json", "data/s.json", "/dev/null", "\\u0000", "~"]
) | st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters='"\\'), max_size=12)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(_SETTING, _VALUE, max_size=5))
def test_whatever_a_nodes_config_names_is_read_or_told(chosen: dict[str, str]) -> None:
    """Paths that lead anywhere: what is read is what the node would read, and nothing else is put
    in its place.
    """
    with tempfile.TemporaryDirectory() as folder:
        home = made_home(Path(folder), "gaia")
        (home / "config" / "config.toml").write_text("".join(f'{key} = "{value}"\n' for key, value in chosen.items()))
        try:
            old = filepv.read(Asked((home,), CHAIN, CORE))
        except OperatorError as error:
            assert "cure" in str(error).lower(), error
            return
        named = chosen.get("priv_validator_state_file", "data/priv_validator_state.json")
        assert old.states[0].path.resolve() == (home / named).resolve()
        remote = chosen.get("priv_validator_laddr") or chosen.get("PRIV_VALIDATOR_LADDR")
        assert bool(old.doubts) == bool(remote)
