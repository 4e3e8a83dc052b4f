"""tmkms's files: what tmkms 0.15 itself wrote, what it wrote before, and everything else."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.signing import SigningKey

from cometkms.core.pure import core as pure
from cometkms.errors import ConfigError, KeyFileError, StateError
from cometkms.keys.validator_key import material_of
from cometkms.limits import HEIGHT_MAX, ROUND_MAX
from cometkms.model import HRS, Watermark
from cometkms.operator.moving import tmkms
from cometkms.operator.moving.old_signer import Asked
from tests.vectors.moving.homes import CHAIN, SEED, old_home
from tests.vectors.moving.make import HERE

CORE = pure.CORE
PUBLIC = bytes(SigningKey(SEED).verify_key)
STATES = json.loads((HERE / "tmkms" / "states.json").read_text())
BLOCK = {"hash": "AB" * 32, "parts": {"total": 1, "hash": "CD" * 32}}


def asked(*paths: Path, **more: Any) -> Asked:
    return Asked(paths, more.pop("chain", CHAIN), CORE, **more)


@pytest.mark.parametrize(
    ("name", "place"),
    [("proposal", (41, 1, 1)), ("prevote", (42, 1, 2)), ("precommit", (43, 1, 3)), ("nil", (44, 1, 2))],
)
def test_the_states_that_tmkms_wrote_are_burnt_places_in_cometbfts_steps(name: str, place: tuple) -> None:
    assert tmkms.decode(STATES[name].encode()) == Watermark(HRS(*place))


def state_of(**changes: Any) -> bytes:
    return json.dumps({"height": "5", "round": "1", "step": 2, "block_id": BLOCK, **changes}).encode()


@pytest.mark.parametrize(("step", "meant"), [(3, 1), (6, 3)])
def test_before_v0_13_three_was_a_proposal_and_six_either_vote(step: int, meant: int) -> None:
    assert tmkms.decode(state_of(step=step)).hrs == HRS(5, 1, meant)


def test_the_state_that_tmkms_makes_at_its_first_start_says_that_nothing_is_signed() -> None:
    nothing = {"height": "0", "round": "0", "step": 0, "block_id": {"hash": "", "parts": {"total": 0, "hash": ""}}}
    assert tmkms.decode(json.dumps(nothing).encode()) == Watermark()
    assert tmkms.decode(state_of(height="0", round="0", step=0, block_id=None)) == Watermark()


def test_a_height_from_its_hook_burns_that_heights_first_place() -> None:
    assert tmkms.decode(state_of(height="347290", round="0", step=0, block_id=None)).hrs == HRS(347290, 0, 1)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "it is empty"),
        (b"{", "it is no JSON"),
        (b"[]", "it is no JSON object"),
        (b"\xff", "it is no JSON"),
        (b'{"height":"50","height":"9","round":"0","step":2}', "it says 'height' twice"),
        (state_of(height=5), "its height is 5, and tmkms writes a string"),
        (state_of(height="-5"), "its height is '-5'"),
        (state_of(height=str(HEIGHT_MAX + 1)), "its height"),
        (state_of(round=0), "its round is 0, and tmkms writes a string"),
        (state_of(round=str(ROUND_MAX + 1)), "its round"),
        (state_of(round="1.0"), "its round"),
        (state_of(round="²"), "its round"),
        (state_of(step="2"), "its step is '2'"),
        (state_of(step=True), "its step is True"),
        (state_of(step=4), "its step is 4"),
        (state_of(step=-1), "its step is -1"),
        (state_of(block_id=[]), "its block_id"),
        (state_of(block_id={"hash": 5}), "its block_id"),
    ],
)
def test_what_tmkms_never_wrote_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        tmkms.decode(data)


_PLACES = st.builds(HRS, st.integers(1, HEIGHT_MAX), st.integers(0, ROUND_MAX), st.integers(1, 3))


@given(_PLACES)
def test_what_goes_out_comes_back_at_the_same_place(place: HRS) -> None:
    assert tmkms.decode(tmkms.encode(Watermark(place))) == Watermark(place)


def test_a_place_goes_out_with_a_block_id_that_nothing_equals() -> None:
    """At its last place tmkms signs what has the same block id."""
    written = json.loads(tmkms.encode(Watermark(HRS(5, 1, 2), b"bytes", b"signature")))
    assert written == {
        "height": "5",
        "round": "1",
        "step": 1,
        "block_id": {"hash": "00" * 32, "parts": {"total": 1, "hash": "00" * 32}},
    }
    assert tmkms.decode(tmkms.encode(Watermark())) == Watermark()
    assert tmkms.decode(tmkms.encode(Watermark(HRS(5, 0, 0)))).hrs == HRS(5, 0, 1)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.binary(max_size=200)
    | _JSON.map(lambda value: json.dumps(value).encode())
    | st.tuples(st.sampled_from(["height", "round", "step", "block_id"]), _JSON).map(
        lambda one: state_of(**{one[0]: one[1]})
    )
)
def test_whatever_stands_in_the_file_is_a_place_or_a_value_error(untrusted: bytes) -> None:
    try:
        mark = tmkms.decode(untrusted)
    except ValueError:
        return
    assert not mark.sign_bytes
    assert mark.hrs >= HRS(0, 0, 0)


# --- the key ---


def test_the_key_that_tmkms_wrote_is_read_and_written_to_the_letter(tmp_path: Path) -> None:
    path = old_home(tmp_path, "tmkms") / "secrets" / f"{CHAIN}-consensus.key"
    with tmkms.read_key(path, CORE) as key:
        assert key.public_key == PUBLIC
        assert tmkms.encode_key(key) == path.read_bytes()


def test_seed_and_public_key_are_a_key_too() -> None:
    assert tmkms.decode_key(Path("key"), base64.b64encode(SEED + PUBLIC) + b"\n") == SEED


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (base64.b64encode(bytes(64)), "an expanded key of 64 bytes"),
        (base64.b64encode(bytes(96)), "an expanded key of 96 bytes"),
        (base64.b64encode(bytes(31)), "holds 31 bytes"),
        (b"", "holds 0 bytes"),
        (b"not base64!", "neither base64 nor a key file"),
    ],
)
def test_what_holds_no_seed_is_refused_with_why(tmp_path: Path, data: bytes, words: str) -> None:
    path = tmp_path / "key"
    path.write_bytes(data)
    path.chmod(0o600)
    with pytest.raises(KeyFileError, match=f"{path} .*{words}"):
        tmkms.read_key(path, CORE)


@given(st.binary(max_size=200))
def test_whatever_stands_in_a_key_file_is_a_seed_or_refused(untrusted: bytes) -> None:
    try:
        assert len(tmkms.decode_key(Path("key"), untrusted)) == 32
    except KeyFileError as error:
        assert error.cure


def test_a_json_key_is_read_and_one_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "key.json"
    path.write_bytes(material_of(SEED).document)
    path.chmod(0o600)
    assert tmkms.read_key(path, CORE).public_key == PUBLIC
    raw = tmp_path / "raw"
    raw.write_bytes(base64.b64encode(SEED))
    for one in (path, raw):
        one.chmod(0o644)
        with pytest.raises(KeyFileError, match=f"chmod 600 {one}"):
            tmkms.read_key(one, CORE)
    with pytest.raises(KeyFileError, match="cannot be read"):
        tmkms.read_key(tmp_path / "no", CORE)


# --- tmkms.toml ---


def test_a_home_is_read_by_its_toml(tmp_path: Path) -> None:
    home = old_home(tmp_path, "tmkms")
    for path in (home, home / "tmkms.toml"):
        old = tmkms.read(asked(path))
        assert old.public_key == PUBLIC
        assert [one.mark for one in old.states] == [Watermark(HRS(45, 1, 3))]
        assert old.off
        assert not old.doubts


def test_paths_stay_as_they_are_written_and_the_state_has_a_default(tmp_path: Path) -> None:
    (tmp_path / "tmkms.toml").write_text(
        '[[chain]]\nid = "c"\nkey_format = { type = "hex" }\n[[providers.softsign]]\nchain_ids = ["b"]\npath = "b"\n'
        '[[providers.softsign]]\nchain_ids = ["c"]\nkey_type = "account"\npath = "account"\n'
        '[[providers.softsign]]\nchain_ids = ["a", "c"]\nkey_format = "json"\npath = "keys/c.json"\n'
    )
    layout = tmkms.layout_of(tmp_path, "c")
    assert layout == tmkms.Layout(
        tmp_path / "tmkms.toml", Path("keys/c.json"), True, Path("c_priv_validator_state.json")
    )


@pytest.mark.parametrize("state", [None, "state.json", "./state.json", "../state.json"])
def test_a_state_relative_to_tmkmss_working_directory_is_asked_for_and_never_guessed(
    tmp_path: Path, state: str | None
) -> None:
    """A file of that name beside tmkms.toml is another one: at 0, say, from a first try."""
    home = old_home(tmp_path, "tmkms")
    toml, real = home / "tmkms.toml", home / "state" / f"{CHAIN}-consensus.json"
    line = next(line for line in toml.read_text().splitlines() if line.startswith("state_file"))
    toml.write_text(toml.read_text().replace(line, f'state_file = "{state}"' if state else ""))
    for decoy in (home / (state or f"{CHAIN}_priv_validator_state.json"), Path.cwd() / "never"):
        if decoy.parent.is_dir() and decoy.parent != Path.cwd():
            decoy.write_bytes(state_of(height="1"))
    with pytest.raises(ConfigError, match=r"working directory.*--state-file"):
        tmkms.read(asked(home))
    old = tmkms.read(asked(home, state_files=(real,)))
    assert [one.mark.hrs for one in old.states] == [HRS(45, 1, 3)]
    assert tmkms.read(asked(home, typed=True)).states == ()


def test_a_key_relative_to_tmkmss_working_directory_is_asked_for(tmp_path: Path) -> None:
    home = old_home(tmp_path, "tmkms")
    toml = home / "tmkms.toml"
    toml.write_text(toml.read_text().replace(f'path = "{home}/', 'path = "'))
    with pytest.raises(ConfigError, match=r"working directory.*--key-file"):
        tmkms.read(asked(home))
    assert tmkms.read(asked(home, key_file=home / "secrets" / f"{CHAIN}-consensus.key")).public_key == PUBLIC


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text.replace("[[validator]]", 'include = "x"\n[[validator]]'), "'include'"),
        (lambda text: text + "[providers.other]\n", "'other'"),
        (lambda text: text + '[[chain]]\nid = "moving-1"\n', "is there 2 times"),
        (lambda text: text + f'[[providers.softsign]]\nchain_ids = ["{CHAIN}"]\npath = "/x"\n', "2 softsign keys"),
        (
            lambda text: text + f'[[providers.yubihsm]]\nkeys = [{{ key = 1, chain_ids = ["{CHAIN}"] }}]\n',
            "softsign and a device",
        ),
        (lambda text: text.replace('key_type = "consensus"', 'key_type = "other"'), "key_type is 'other'"),
        (lambda text: text.replace("state_file = ", "state_file = 5 # "), "state_file is 5"),
        (lambda text: text.replace("state_file = ", 'state_file = "" # '), "state_file is ''"),
        (lambda text: text.replace("chain_ids = [", "chain_ids = 5 # ["), "chain_ids is 5"),
        (lambda text: "chain = 5\n" + text.replace("[[chain]]", "[[other]]"), "'other'"),
    ],
)
def test_a_toml_that_tmkms_would_not_run_with_is_refused(tmp_path: Path, change: Any, words: str) -> None:
    home = old_home(tmp_path, "tmkms")
    toml = home / "tmkms.toml"
    toml.write_text(change(toml.read_text()))
    with pytest.raises(ConfigError, match=f"{words}.*--state-file"):
        tmkms.read(asked(home))


def test_another_state_of_the_chain_that_says_more_is_seen(tmp_path: Path) -> None:
    home = old_home(tmp_path, "tmkms")
    (home / f"{CHAIN}_priv_validator_state.json").write_bytes(state_of(height="900"))
    (home / "state" / f"{CHAIN}-consensus.json.bak").write_bytes(state_of(height="7"))
    seen = tmkms.read(asked(home)).seen
    assert {one.mark.hrs.height for one in seen} == {900, 7}


def test_a_key_in_a_device_leaves_the_watermark(tmp_path: Path) -> None:
    home = old_home(tmp_path, "tmkms")
    toml = home / "tmkms.toml"
    toml.write_text(
        toml.read_text().partition("[[providers")[0] + '[[providers.yubihsm]]\nadapter = { type = "usb" }\n'
    )
    old = tmkms.read(asked(home))
    assert old.key is None
    assert "device" in old.notes[0]
    assert old.states[0].mark.hrs == HRS(45, 1, 3)


def test_files_may_be_named_without_a_home(tmp_path: Path) -> None:
    home = old_home(tmp_path, "tmkms")
    old = tmkms.read(
        asked(
            key_file=home / "secrets" / f"{CHAIN}-consensus.key",
            state_files=(home / "state" / f"{CHAIN}-consensus.json",),
        )
    )
    assert old.public_key == PUBLIC


def test_bad_input_names_the_file_and_the_cure(tmp_path: Path) -> None:
    home = old_home(tmp_path, "tmkms")
    with pytest.raises(ConfigError, match=f"knows no chain 'other', but {CHAIN}"):
        tmkms.read(asked(home, chain="other"))
    with pytest.raises(ConfigError, match="where is it"):
        tmkms.read(asked())
    with pytest.raises(ConfigError, match="is one process"):
        tmkms.read(asked(home, home / "tmkms.toml"))
    with pytest.raises(StateError, match=r"tmkms\.toml is missing"):
        tmkms.read(asked(tmp_path))
    (home / "state" / f"{CHAIN}-consensus.json").write_text("{")
    with pytest.raises(
        StateError, match=r"consensus\.json is no state file of this signer: it is no JSON.*--min-height"
    ):
        tmkms.read(asked(home))
    (home / "tmkms.toml").write_text("[[chain")
    with pytest.raises(ConfigError, match=r"tmkms\.toml cannot be understood.*--key-file"):
        tmkms.read(asked(home))
