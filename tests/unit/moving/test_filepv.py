"""CometBFT's own files, wherever a node or an operator has put them."""

import base64
import json
from pathlib import Path

import pytest

from cometkms import purepy
from cometkms.errors import ConfigError, KeyFileError, StateError
from cometkms.moving import filepv
from cometkms.moving.old_signer import Asked
from tests.vectors.vectors import load

CORE = purepy.CORE
CASES = [(name, case) for name in ("file_pv.json", "amino/file_pv_amino.json") for case in load(name)]


def put(directory: Path, name: str, document: object) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / name
    path.write_text(json.dumps(document, indent=2))
    path.chmod(0o600)
    return path


def node(tmp_path: Path, case: dict, keys: str = "config", states: str = "data") -> Path:
    put(tmp_path / keys, filepv.KEY_NAME, case["key_file"])
    put(tmp_path / states, filepv.STATE_NAME, case["final_state_file"])
    return tmp_path


@pytest.mark.parametrize(("name", "case"), CASES)
def test_key_and_signed_watermark_of_what_filepv_wrote(tmp_path: Path, name: str, case: dict) -> None:
    old = filepv.read(Asked((node(tmp_path, case),), case["chain_id"], CORE))
    assert old.public_key == base64.b64decode(case["key_file"]["pub_key"]["value"])
    mark = old.states[0].mark
    assert mark.hrs.height == int(case["final_state_file"]["height"])
    assert CORE.verify(old.public_key, mark.sign_bytes, mark.signature)
    assert any("moved away" in item for item in old.off)


@pytest.mark.parametrize(
    ("keys", "states", "path"),
    [
        ("config", "data", "."),
        (".", ".", "."),
        ("config", "data", "config/" + filepv.KEY_NAME),
        (".", ".", filepv.KEY_NAME),
    ],
)
def test_a_home_a_directory_or_the_key_file_itself(tmp_path: Path, keys: str, states: str, path: str) -> None:
    _, case = CASES[0]
    old = filepv.read(Asked((node(tmp_path, case, keys, states) / path,), case["chain_id"], CORE))
    assert len(old.states) == 1


def test_files_may_be_named(tmp_path: Path) -> None:
    _, case = CASES[0]
    key, state = put(tmp_path, "k", case["key_file"]), put(tmp_path, "s", case["final_state_file"])
    old = filepv.read(Asked((), case["chain_id"], CORE, key, (state,)))
    assert (old.key_path, old.states[0].path) == (key, state)


def test_bad_input_names_the_file_and_the_cure(tmp_path: Path) -> None:
    _, case = CASES[0]
    home = node(tmp_path, case)
    with pytest.raises(ConfigError, match="where are the files"):
        filepv.read(Asked((), "c", CORE))
    with pytest.raises(ConfigError, match="give one path"):
        filepv.read(Asked((home, home), "c", CORE))
    with pytest.raises(StateError, match="and 'other' is configured"):
        filepv.read(Asked((home,), "other", CORE))
    with pytest.raises(KeyFileError, match=r"there is no key file at .*--key-file"):
        filepv.read(Asked((tmp_path / "no",), "c", CORE))
    (home / "config" / filepv.KEY_NAME).chmod(0o644)
    with pytest.raises(KeyFileError, match="chmod 600"):
        filepv.read(Asked((home,), case["chain_id"], CORE))
    (home / "config" / filepv.KEY_NAME).chmod(0o600)
    (home / "data" / filepv.STATE_NAME).unlink()
    with pytest.raises(StateError, match=r"what this key has signed is not known, at .*--state-file"):
        filepv.read(Asked((home,), case["chain_id"], CORE))
