"""Horcrux's files, as Horcrux v3 itself wrote them: single-signer mode, and the cosigners of
threshold mode.
"""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.signing import SigningKey

from cometkms.core.pure import core as pure
from cometkms.errors import CometKMSError, ConfigError, KeyFileError, StateError
from cometkms.keys.validator_key import write_key
from cometkms.model import HRS
from cometkms.operator.moving import horcrux
from cometkms.operator.moving.old_signer import Asked
from tests.vectors.moving.homes import CHAIN, SEED, old_home
from tests.vectors.moving.make import HERE

CORE = pure.CORE
PUBLIC = bytes(SigningKey(SEED).verify_key)
SINGLE = json.loads((HERE / "horcrux_single" / "state" / f"{CHAIN}_priv_validator_state.json").read_text())
SHARE = json.loads((HERE / "horcrux_threshold" / "cosigner_1" / "state" / f"{CHAIN}_share_sign_state.json").read_text())


def asked(*paths: Path, **more: Any) -> Asked:
    return Asked(paths, more.pop("chain", CHAIN), CORE, **more)


def cosigners(tmp_path: Path) -> list[Path]:
    return sorted(old_home(tmp_path, "horcrux_threshold").iterdir())


def decode(document: dict[str, Any]) -> Any:
    return horcrux.decode(json.dumps(document).encode(), CHAIN, CORE.parse_sign_bytes)


def test_single_mode_gives_key_and_signed_watermark(tmp_path: Path) -> None:
    old = horcrux.read(asked(old_home(tmp_path, "horcrux_single")))
    assert old.public_key == PUBLIC
    mark = old.states[0].mark
    assert mark.hrs == HRS(51, 1, 3)
    assert CORE.verify(PUBLIC, mark.sign_bytes, mark.signature)
    assert not old.doubts


def test_sign_bytes_are_base64_in_single_mode_and_hex_in_threshold_mode() -> None:
    bytes_of = base64.b64decode(SINGLE["signbytes"])
    for written in (SINGLE["signbytes"], bytes_of.hex().upper(), bytes_of.hex()):
        assert decode({**SINGLE, "signbytes": written}).sign_bytes == bytes_of
    assert decode(SHARE).hrs == HRS(61, 1, 3)


def test_a_shares_signature_is_no_signature(tmp_path: Path) -> None:
    mark = decode(SHARE)
    assert mark.signature
    assert not CORE.verify(PUBLIC, mark.sign_bytes, mark.signature)


@pytest.mark.parametrize(
    "written", [{"height": "7", "round": "0", "step": 3}, {"height": "7", "round": "0", "step": 0}]
)
def test_a_state_that_an_operator_set_is_a_burnt_place(written: dict[str, Any]) -> None:
    """`horcrux state set` and `state import` write no bytes."""
    mark = decode({**written, "nonce_public": None})
    assert mark.hrs == HRS(7, 0, written["step"])
    assert not mark.sign_bytes


@pytest.mark.parametrize(
    "changes",
    [
        {"signbytes": "zz"},
        {"signbytes": 5},
        {"signbytes": SHARE["signbytes"]},  # of another height
        {"height": "-1"},
        {"step": 4},
        {"round": "x"},
        {"signature": "AA=="},
    ],
)
def test_a_state_that_contradicts_itself_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="its "):
        decode({**SINGLE, **changes})


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.binary(max_size=200)
    | _JSON.map(lambda value: json.dumps(value).encode())
    | st.tuples(
        st.sampled_from([*SINGLE]), _JSON | st.binary(max_size=40).map(lambda raw: base64.b64encode(raw).decode())
    ).map(lambda one: json.dumps({**SINGLE, one[0]: one[1]}).encode())
)
def test_whatever_stands_in_the_file_is_a_mark_of_its_bytes_or_a_value_error(untrusted: bytes) -> None:
    try:
        mark = horcrux.decode(untrusted, CHAIN, CORE.parse_sign_bytes)
    except ValueError:
        return
    if mark.sign_bytes:
        assert CORE.parse_sign_bytes(mark.sign_bytes).hrs == mark.hrs


def test_threshold_mode_gives_every_watermark_and_says_why_there_is_no_key(tmp_path: Path) -> None:
    old = horcrux.read(asked(*cosigners(tmp_path)))
    assert old.key is None
    assert old.public_key == PUBLIC
    assert len(old.states) == 6
    assert {one.mark.hrs for one in old.states} == {HRS(61, 1, 3)}
    assert "a shard is no key" in old.notes[0]
    assert "--key-file" in old.notes[0]
    assert not old.doubts


def test_threshold_mode_with_the_key_that_was_split(tmp_path: Path) -> None:
    write_key(tmp_path / "key.json", SEED)
    homes = cosigners(tmp_path)
    assert horcrux.read(asked(*homes, key_file=tmp_path / "key.json")).public_key == PUBLIC
    write_key(tmp_path / "other.json", b"\1" * 32)
    with pytest.raises(KeyFileError, match=r"other\.json is of the key .*, and the others are of"):
        horcrux.read(asked(*homes, key_file=tmp_path / "other.json"))


def test_fewer_cosigners_than_show_everything_are_doubted(tmp_path: Path) -> None:
    """Two of three sign together: one cosigner may have been left out, two cannot."""
    homes = cosigners(tmp_path)
    assert not horcrux.read(asked(homes[0], homes[2])).doubts
    alone = horcrux.read(asked(homes[1]))
    assert "any 2 of 3" in alone.doubts[0].what
    copy = tmp_path / "copy"
    homes[1].rename(copy)
    copied = horcrux.read(asked(copy, copy))
    assert copied.doubts, "one cosigner twice is one"


def test_amino_public_keys_of_old_shards_are_read(tmp_path: Path) -> None:
    homes = cosigners(tmp_path)
    for home in homes:
        shard = home / f"{CHAIN}_shard.json"
        old = json.loads(shard.read_text())
        shard.write_text(json.dumps({**old, "pubKey": base64.b64encode(bytes.fromhex("1624de6420") + PUBLIC).decode()}))
    assert horcrux.read(asked(*homes)).public_key == PUBLIC


def test_a_pid_file_means_that_the_states_may_be_behind(tmp_path: Path) -> None:
    home = old_home(tmp_path, "horcrux_single")
    (home / "horcrux.pid").write_text("1\n")
    assert "--min-height" in horcrux.read(asked(home)).doubts[0].cure


def test_the_key_directory_of_the_configuration_is_used(tmp_path: Path) -> None:
    home = old_home(tmp_path, "horcrux_single")
    (home / "keys").mkdir()
    (home / f"{CHAIN}_priv_validator_key.json").rename(home / "keys" / f"{CHAIN}_priv_validator_key.json")
    (home / "config.yaml").write_text("keyDir: keys\nsignMode: single\n")
    assert horcrux.read(asked(home)).public_key == PUBLIC


def test_bad_input_names_the_file_and_the_cure(tmp_path: Path) -> None:
    home = old_home(tmp_path, "horcrux_single")
    with pytest.raises(ConfigError, match=f"holds no key or shard of 'other', but of {CHAIN}"):
        horcrux.read(asked(home, chain="other"))
    with pytest.raises(ConfigError, match="where is it"):
        horcrux.read(asked())
    with pytest.raises(ConfigError, match="is one process"):
        horcrux.read(asked(home, home))
    with pytest.raises(StateError, match=r"config\.yaml is missing"):
        horcrux.read(asked(tmp_path))
    state = home / "state" / f"{CHAIN}_priv_validator_state.json"
    state.unlink()
    with pytest.raises(StateError, match=f"{state} is missing"):
        horcrux.read(asked(home))


@pytest.mark.parametrize(
    "text",
    ["a: [", "- 1", "", "!!python/object/apply:os.system ['true']", "[" * 5000, "a: 2001-99-99", "\t", "a: &a [*a]"],
)
def test_a_configuration_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    home = old_home(tmp_path, "horcrux_threshold") / "cosigner_1"
    (home / "config.yaml").write_text(text)
    with pytest.raises(CometKMSError, match=r"config\.yaml"):
        horcrux.read(asked(home))


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "[]",
        "5",
        "{",
        '{"id": 1}',
        '{"id": 1, "pubKey": "AAAA"}',
        '{"id": "x", "pubKey": ""}',
        '{"id": 1, "pubKey": 7}',
        '{"id": 1e999, "pubKey": ""}',
    ],
)
def test_a_shard_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    homes = cosigners(tmp_path)
    (homes[0] / f"{CHAIN}_shard.json").write_text(text)
    with pytest.raises(KeyFileError, match=r"_shard\.json"):
        horcrux.read(asked(*homes))


@pytest.mark.parametrize(
    "mode", ["threshold: 0\n  cosigners: [1]", "threshold: 3\n  cosigners: [1, 2]", "cosigners: [1]", "threshold: 1"]
)
def test_a_threshold_that_cannot_be_is_refused(tmp_path: Path, mode: str) -> None:
    home = cosigners(tmp_path)[0]
    (home / "config.yaml").write_text(f"signMode: threshold\nthresholdMode:\n  {mode}\n")
    with pytest.raises(ConfigError, match=r"config\.yaml.*cure"):
        horcrux.read(asked(home))


def test_a_key_file_that_was_left_in_a_threshold_home_without_its_shard_is_doubted(tmp_path: Path) -> None:
    """What the cosigners signed together does not show in the one state that lies there."""
    home = old_home(tmp_path / "one", "horcrux_single")
    config = (old_home(tmp_path / "three", "horcrux_threshold") / "cosigner_1" / "config.yaml").read_text()
    (home / "config.yaml").write_text(config)
    old = horcrux.read(asked(home))
    assert len(old.doubts) == 1
    assert "says threshold mode" in old.doubts[0].what
    assert "--min-height" in old.doubts[0].cure
    with pytest.raises(ConfigError, match=f"holds no key or shard of '{CHAIN}'"):
        horcrux.read(asked(home, old_home(tmp_path / "two", "horcrux_single")))


# --- v1 and v2 ---

V2 = """chain-id: moving-1
cosigner:
  threshold: 2
  shares: 3
  p2p-listen: tcp://c1:2222
  peers:
  - share-id: 2
    p2p-addr: tcp://c2:2222
  - share-id: 3
    p2p-addr: tcp://c3:2222
  rpc-timeout: 1500ms
chain-nodes:
- priv-val-addr: tcp://n:1234
"""
V1 = V2.replace("  shares: 3\n", "").replace("  rpc-timeout: 1500ms\n", "") + "home-dir: /no/such/home\n"


def old_cosigners(tmp_path: Path, text: str = V2, marks: tuple[tuple[str, str], ...] = ()) -> list[Path]:
    """Homes as v2 kept them: share.json, and both states; `marks`: the heights of the
    two, a home each.
    """
    homes = []
    for number, (plain, share) in enumerate(marks or (("1000", "1500"), ("1500", "1500"), ("900", "900")), 1):
        home = tmp_path / f"c{number}"
        (home / "state").mkdir(parents=True)
        (home / "config.yaml").write_text(text)
        public = base64.b64encode(bytes.fromhex("0a20") + PUBLIC).decode()
        (home / "share.json").write_text(
            json.dumps({"rsa_key": "AA==", "pub_key": public, "secret_share": "AA==", "id": number, "rsa_pubs": []})
        )
        for name, height in (("priv_validator_state", plain), ("share_sign_state", share)):
            written = {"height": height, "round": "0", "step": 2, "ephemeral_public": None}
            (home / "state" / f"{CHAIN}_{name}.json").write_text(json.dumps(written))
        homes.append(home)
    return homes


@pytest.mark.parametrize("text", [V2, V1])
def test_v2_with_cosigners_is_threshold_mode(tmp_path: Path, text: str) -> None:
    homes = old_cosigners(tmp_path, text)
    old = horcrux.read(asked(*homes))
    assert old.public_key == PUBLIC
    assert max(one.mark.hrs.height for one in old.states) == 1500
    assert not old.doubts
    assert any("all 3 cosigners are stopped" in item for item in old.off)
    assert not horcrux.read(asked(*homes[:2])).doubts
    alone = horcrux.read(asked(homes[0]))
    assert max(one.mark.hrs.height for one in alone.states) == 1500, "its own share state counts"
    assert "any 2 of 3 cosigners" in alone.doubts[0].what


def test_v2_without_cosigners_is_single_signer_mode(tmp_path: Path) -> None:
    home = tmp_path / "v2"
    (home / "state").mkdir(parents=True)
    (home / "config.yaml").write_text(f"chain-id: {CHAIN}\nchain-nodes: []\n")
    write_key(home / "priv_validator_key.json", SEED)
    hexed = {**SINGLE, "signbytes": base64.b64decode(SINGLE["signbytes"]).hex().upper()}
    (home / "state" / f"{CHAIN}_priv_validator_state.json").write_text(json.dumps(hexed))
    old = horcrux.read(asked(home))
    assert old.public_key == PUBLIC
    assert old.states[0].mark.hrs == HRS(51, 1, 3)
    (home / "share.json").write_text((old_cosigners(tmp_path / "three")[0] / "share.json").read_text())
    with pytest.raises(ConfigError, match="lists no cosigners"):
        horcrux.read(asked(home))


def test_v2_of_another_chain_is_refused(tmp_path: Path) -> None:
    homes = old_cosigners(tmp_path)
    with pytest.raises(ConfigError, match=f"is of chain '{CHAIN}', and 'other' is asked for"):
        horcrux.read(asked(*homes, chain="other"))


def test_v1s_home_dir_is_followed_where_it_is_there(tmp_path: Path) -> None:
    homes = old_cosigners(tmp_path, V1.replace("/no/such/home", str(tmp_path)))
    with pytest.raises(ConfigError, match=f"{tmp_path} as PATH"):
        horcrux.read(asked(*homes))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (V2 + "signMode: threshold\n", "of Horcrux v2 and"),
        (V2 + "state-dir: /x\n", "'state-dir'"),
        (V2.replace("shares: 3", "shares: 5"), "5 shares, and lists 2 peers"),
        (V2.replace("shares:", "share:"), "'share'"),
        (V2.replace("  threshold: 2\n", ""), "its threshold is None"),
        (V2.replace("chain-id: moving-1", "key-file: 5"), "key-file is 5"),
        ("cosigner: 5\nchain-id: moving-1\n", "lists no cosigners"),
        ("chainNodes: []\n", "signMode is None"),
        ("signMode: other\n", "signMode is 'other'"),
        ("signMode: threshold\nthresholdMode:\n  threshold: 2\n  stateDir: x\n", "'stateDir'"),
        ("signMode: single\nprivValKeyDir: /x\n", "'privValKeyDir'"),
        ("signMode: single\nsignMode: threshold\n", "'signMode' is there twice"),
        (V2.replace("  threshold: 2\n", "  threshold: 2\n  threshold: 3\n"), "'threshold' is there twice"),
    ],
)
def test_a_configuration_that_is_not_understood_is_refused(tmp_path: Path, text: str, words: str) -> None:
    homes = old_cosigners(tmp_path, text)
    with pytest.raises(ConfigError, match=words):
        horcrux.read(asked(*homes))


def test_homes_that_disagree_about_the_cluster_are_refused(tmp_path: Path) -> None:
    homes = old_cosigners(tmp_path)
    (homes[1] / "config.yaml").write_text(V2.replace("threshold: 2", "threshold: 3"))
    with pytest.raises(ConfigError, match=r"says 2 of 3, and .* 3 of 3"):
        horcrux.read(asked(*homes))
    share = homes[2] / "share.json"
    (homes[1] / "config.yaml").write_text(V2)
    share.write_text(share.read_text().replace('"id": 3', '"id": 9'))
    with pytest.raises(KeyFileError, match="numbered"):
        horcrux.read(asked(*homes))


def test_a_relative_key_directory_counts_only_where_a_signature_proves_it(tmp_path: Path) -> None:
    """Horcrux takes it from its working directory, which nobody knows here."""
    home = old_home(tmp_path, "horcrux_single")
    (home / "keys").mkdir()
    key = home / "keys" / f"{CHAIN}_priv_validator_key.json"
    write_key(key, b"\1" * 32)
    (home / "config.yaml").write_text("keyDir: keys\nsignMode: single\n")
    with pytest.raises(ConfigError, match=r"relative keyDir.*--key-file"):
        horcrux.read(asked(home))
    assert horcrux.read(asked(home, key_file=home / f"{CHAIN}_priv_validator_key.json")).public_key == PUBLIC
    key.unlink()
    write_key(key, SEED)
    assert horcrux.read(asked(home)).public_key == PUBLIC
    (home / "config.yaml").write_text(f"keyDir: {home}/keys\nsignMode: single\n")
    assert horcrux.read(asked(home)).key_path == key


def test_a_relative_share_of_v2_without_a_signature_is_a_guess(tmp_path: Path) -> None:
    homes = old_cosigners(tmp_path, V2 + "key-file: share.json\n")
    with pytest.raises(ConfigError, match="relative key-file"):
        horcrux.read(asked(*homes))


def test_another_state_of_the_chain_that_says_more_is_seen(tmp_path: Path) -> None:
    """A share's state that was left by threshold mode, a backup."""
    home = old_home(tmp_path, "horcrux_single")
    left = {"height": "1500", "round": "0", "step": 2}
    (home / "state" / f"{CHAIN}_share_sign_state.json").write_text(json.dumps(left))
    (home / "state" / f"{CHAIN}_priv_validator_state.json.1").write_text(json.dumps({**left, "height": "9"}))
    (home / "raft").mkdir()
    old = horcrux.read(asked(home))
    assert sorted(one.mark.hrs.height for one in old.seen) == [9, 1500]
    assert old.in_use
