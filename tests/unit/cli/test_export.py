"""`cmkms export`: what goes out, at the highest place that was ever promised, and what it refuses."""

import base64
import json
import os
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cometkms.core import choose
from cometkms.errors import StateError
from cometkms.keys.validator_key import write_key
from cometkms.limits import SEAL_MEMORY_MIN_BYTES
from cometkms.model import HRS, Row, Watermark
from cometkms.operator.moving import tmkms
from cometkms.rules.birth import NodeState
from cometkms.store import epoch as epochs
from cometkms.store.exported import carry_export, forget_export, note_export, went_out
from cometkms.store.lock import locked_home
from cometkms.store.node_files import ChainFiles, NodeFiles, check_beside, refuse_gone_out, refuse_row_gone_out
from cometkms.store.node_store import open_node
from cometkms.store.promise_store import Header, PromiseStore, readable_marks
from cometkms.store.reset import reset_mark
from tests.e2e.node import cmkms as separately
from tests.unit.cli.inside import cmkms
from tests.unit.cli.test_cli import tree
from tests.unit.store.test_promise_store import PUBLIC
from tests.vectors.moving.homes import SEED

CHAIN = "chain-a"


def make_home(path: Path, mark: Watermark, members: tuple[str, ...] = ("node0",), name: str = "node0") -> Path:
    """A stopped node whose store holds `mark`, and whose state file is far behind."""
    done = cmkms(
        "init", "--home", str(path), "--id", name, "--chain-id", CHAIN, "--validator-addr", "tcp://127.0.0.1:1"
    )
    assert done.returncode == 0, done.stderr
    write_key(path / "priv" / "priv_validator_key.json", SEED)
    (path / "priv" / "priv_validator_state.json").write_text('{"height":"1","round":0,"step":1}')
    store = path / "data" / name / "promises"
    store.parent.mkdir(parents=True)
    header = Header(name, 1, members, NodeState.COMPLETE, bytes(8))
    PromiseStore.create(store, header, [(Row(PUBLIC, CHAIN), mark)]).close()
    born = {"ids": [name], "epoch": 1, "members": sorted(members)}
    (path / "priv" / "born.json").write_text(json.dumps(born))
    if len(members) > 1:
        config = path / "config.toml"
        peers = ", ".join(f'"{one}=127.0.0.1:{9000 + number}"' for number, one in enumerate(members))
        own = f"127.0.0.1:{9000 + members.index(name)}"
        text = config.read_text().replace("peer = []", f"peer = [{peers}]")
        config.write_text(text.replace('raft_addr = "127.0.0.1:9430"', f'raft_addr = "{own}"'))
    return path


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return make_home(tmp_path / "home", Watermark(HRS(20, 0, 2), b""))


def run(home: Path, kind: str, out: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return cmkms("export", "--home", str(home), "--to", kind, str(out), *arguments)


def test_a_dry_run_writes_nothing(home: Path, tmp_path: Path) -> None:
    shown = run(home, "filepv", tmp_path / "out")
    assert shown.returncode == 0, shown.stderr
    assert "height 20 round 0 step 2" in shown.stdout
    assert "[ ] this node stays stopped" in shown.stdout
    assert not (tmp_path / "out").exists()


def test_a_key_goes_out_into_no_home_of_this_program(home: Path, tmp_path: Path) -> None:
    """Not into its own, by whatever name, which it would shut; nor over what another's node keeps."""
    other = make_home(tmp_path / "other", Watermark(HRS(3, 0, 2), b""))
    link = tmp_path / "link"
    link.symlink_to(home / "priv")
    outside = tmp_path / "outside"
    outside.mkdir()
    own = outside / "priv_validator_state.json"
    (home / "priv" / own.name).rename(own)
    config = home / "config.toml"
    key = home / "priv" / "priv_validator_key.json"
    table = (
        f'[[chain]]\nid = "{CHAIN}"\nvalidator_addr = ["tcp://127.0.0.1:1"]\nkey_file = "{key}"\nstate_file = "{own}"\n'
    )
    config.write_text(re.sub("(?m)^(chain_id|validator_addr) = .*", "", config.read_text()) + table)
    before = tree(tmp_path)
    for kind, out, words in (
        ("filepv", home / "priv", "is this home's own"),
        ("filepv", link, "is this home's own"),
        ("filepv", outside, "is this home's own"),
        ("filepv", other / "priv", f"is in {other}, a home of this program"),
    ):
        for more in ((), ("--yes",)):
            refused = run(home, kind, out, *more)
            assert (refused.returncode, refused.stdout, tree(tmp_path)) == (5, "", before)
            assert words in refused.stderr
    assert run(home, "filepv", tmp_path / "out", "--yes").returncode == 0


def test_a_mark_is_written_over_no_other_state_file_of_a_home(home: Path, tmp_path: Path) -> None:
    other = make_home(tmp_path / "other", Watermark(HRS(3, 0, 2), b""))
    before = tree(tmp_path)
    for out in (other / "priv" / "priv_validator_state.json", other / "priv" / "new.json"):
        refused = cmkms("state", "export", "--home", str(home), "--out", str(out))
        assert (refused.returncode, tree(tmp_path)) == (5, before)
        assert f"{out} is in {other}, a home of this program whose node has run" in refused.stderr
    own = home / "priv" / "priv_validator_state.json"
    assert cmkms("state", "export", "--home", str(home), "--out", str(own)).returncode == 0


def test_the_plan_is_json_for_a_program_before_and_after_it_is_carried_out(home: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    plan = json.loads(run(home, "filepv", out, "--json").stdout)
    assert not out.exists()
    assert plan["mark"] == {"height": 20, "round": 0, "step": 2, "known": "burnt"}
    assert (plan["to"], plan["there"], plan["keeps"], plan["done"]) == ("filepv", None, [], False)
    assert len(plan["writes"]) == 2
    done = run(home, "filepv", out, "--json", "--yes")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == {**plan, "done": True}
    assert all(Path(path).is_file() for path in plan["writes"])
    again = json.loads(run(home, "filepv", out, "--json").stdout)
    assert [Path(path).name for path in again["keeps"]] == ["priv_validator_key.json"]


def test_filepvs_files_at_the_place_promised_not_only_signed(home: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = run(home, "filepv", out, "--yes")
    assert done.returncode == 0, done.stderr
    state = out / "priv_validator_state.json"
    assert json.loads(state.read_text()) == {"height": "20", "round": 0, "step": 2}
    key = out / "priv_validator_key.json"
    assert key.read_bytes() == (home / "priv" / "priv_validator_key.json").read_bytes()
    assert {path.stat().st_mode & 0o777 for path in (key, state)} == {0o600}
    before = tree(tmp_path)
    assert run(home, "filepv", out, "--yes").returncode == 0, "the same files are there"
    assert tree(tmp_path) == before


def test_a_key_that_is_out_goes_out_once_more_only_above_what_was_signed_there(home: Path, tmp_path: Path) -> None:
    """The other signer went on: two files at the old place are two signatures of the next one."""
    assert run(home, "filepv", tmp_path / "first", "--yes").returncode == 0
    before, second = tree(tmp_path), tmp_path / "second"
    state = ["state", "export", "--home", str(home), "--out", str(tmp_path / "s.json")]
    key = tmp_path / "first" / "priv_validator_key.json"
    key.rename(key.with_name("carried"))
    gone = run(home, "filepv", tmp_path / "first", "--yes")
    assert (gone.returncode, "this key went out" in gone.stderr) == (5, True)
    key.with_name("carried").rename(key)
    low = ("--min-height", "19", "--yes-height", "19", "--yes")
    for done in (run(home, "filepv", second), run(home, "tmkms", second, "--yes"), cmkms(*state)):
        assert (done.returncode, tree(tmp_path)) == (5, before), done.stderr
        assert f"this key went out, to filepv ({tmp_path}/first/priv_validator_state.json) at 20/0/2" in done.stderr
        assert "`cmkms import --from filepv PATH`" in done.stderr
        assert "`cmkms export --min-height`" in done.stderr
    done = run(home, "filepv", second, *low)
    assert (done.returncode, tree(tmp_path)) == (5, before)
    assert "is below that; cure: with that signer off for good" in done.stderr
    done = run(home, "filepv", second, "--min-height", "25", "--yes-height", "25", "--yes")
    assert done.returncode == 0, done.stderr
    assert json.loads((second / "priv_validator_state.json").read_text())["height"] == "25"
    assert went_out(home / "priv" / "priv_validator_state.json", CHAIN).place.height == 25  # type: ignore[union-attr]
    theirs = tmp_path / "theirs.json"
    theirs.write_text('{"height":"26","round":0,"step":3}')
    assert cmkms("state", "import", "--home", str(home), str(theirs)).returncode == 0
    assert cmkms(*state).returncode == 0
    assert json.loads((tmp_path / "s.json").read_text())["height"] == "26"


def test_a_cometbft_home_is_filled_where_its_node_looks(home: Path, tmp_path: Path) -> None:
    for name in ("config", "data"):
        (tmp_path / "gaia" / name).mkdir(parents=True)
    assert run(home, "filepv", tmp_path / "gaia", "--yes").returncode == 0
    assert set(tree(tmp_path / "gaia")) == {"config/priv_validator_key.json", "data/priv_validator_state.json"}


def test_tmkmss_files_where_its_toml_says_or_where_its_init_would(home: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = run(home, "tmkms", out, "--yes")
    assert done.returncode == 0, done.stderr
    assert base64.b64decode((out / "secrets" / f"{CHAIN}-consensus.key").read_bytes()) == SEED
    assert tmkms.load_mark(out / "state" / f"{CHAIN}-consensus.json").hrs == HRS(20, 0, 2)
    assert "in tmkms.toml: state_file" in done.stdout
    other = tmp_path / "other"
    other.mkdir()
    (other / "tmkms.toml").write_text(
        f'[[chain]]\nid = "{CHAIN}"\nstate_file = "{other}/s.json"\n'
        f'[[providers.softsign]]\nchain_ids = ["{CHAIN}"]\nkey_format = "json"\npath = "{other}/k.json"\n'
    )
    forget_export(home / "priv" / "priv_validator_state.json", CHAIN, home / "data" / "node0" / "promises")
    assert run(home, "tmkms", other, "--yes").returncode == 0
    assert (other / "k.json").read_bytes() == (home / "priv" / "priv_validator_key.json").read_bytes()
    assert tmkms.load_mark(other / "s.json").hrs == HRS(20, 0, 2)


@pytest.mark.parametrize(("state", "key"), [("s.json", "/k.key"), ("/s.json", "k.key"), (None, "/k.key")])
def test_where_tmkms_looks_from_its_working_directory_nothing_is_written(
    home: Path, tmp_path: Path, state: str | None, key: str
) -> None:
    """It would go on from the state that it had there, below what was signed here."""
    toml = tmp_path / "tmkms.toml"
    toml.write_text(
        f'[[chain]]\nid = "{CHAIN}"\n'
        + (f'state_file = "{state}"\n' if state else "")
        + f'[[providers.softsign]]\nchain_ids = ["{CHAIN}"]\npath = "{key}"\n'
    )
    before = tree(tmp_path)
    refused = run(home, "tmkms", tmp_path, "--yes")
    assert refused.returncode == 3
    assert "relative to tmkms's working directory" in refused.stderr
    assert tree(tmp_path) == before


def test_a_nodes_files_go_where_its_config_says_and_a_remote_signer_there_is_told(home: Path, tmp_path: Path) -> None:
    """FilePV would begin at 0 beside a state that lies where it does not look."""
    gaia = tmp_path / "gaia"
    for name in ("config", "data"):
        (gaia / name).mkdir(parents=True)
    (gaia / "config" / "config.toml").write_text(
        'priv_validator_key_file = "keys/k.json"\npriv_validator_state_file = "keys/s.json"\npriv_validator_laddr = "tcp://0.0.0.0:1"\n'
    )
    done = run(home, "filepv", gaia, "--yes")
    assert done.returncode == 0, done.stderr
    assert set(tree(gaia)) == {"config/config.toml", "keys/k.json", "keys/s.json"}
    assert "sets priv_validator_laddr" in done.stdout


@pytest.mark.parametrize("name", ["priv_validator_state.json", "priv_validator_key.json"])
@pytest.mark.parametrize("what", ["fifo", "directory", "dangling"])
def test_a_target_that_is_no_file_is_refused_and_never_waited_for(
    home: Path, tmp_path: Path, name: str, what: str
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    if what == "fifo":
        os.mkfifo(out / name, 0o600)
    elif what == "directory":
        (out / name).mkdir()
    else:
        (out / name).symlink_to(tmp_path / "nowhere")
    refused = run(home, "filepv", out, "--yes")
    assert refused.returncode in (4, 5), refused.stdout
    assert name in refused.stderr
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("kind", ["filepv", "tmkms"])
def test_out_and_back_in_is_the_same_place(home: Path, tmp_path: Path, kind: str) -> None:
    assert run(home, kind, tmp_path / "out", "--yes").returncode == 0
    back = tmp_path / "back"
    assert (
        cmkms("init", "--home", str(back), "--chain-id", CHAIN, "--validator-addr", "tcp://127.0.0.1:1").returncode == 0
    )
    (tmp_path / "out" / "tmkms.toml").write_text(
        f'[[chain]]\nid = "{CHAIN}"\nstate_file = "{tmp_path}/out/state/{CHAIN}-consensus.json"\n'
        f'[[providers.softsign]]\nchain_ids = ["{CHAIN}"]\npath = "{tmp_path}/out/secrets/{CHAIN}-consensus.key"\n'
    )
    done = cmkms("import", "--home", str(back), "--from", kind, str(tmp_path / "out"), "--yes")
    assert done.returncode == 0, done.stderr
    for name in ("priv_validator_key.json", "priv_validator_state.json"):
        there, here = (root / "priv" / name for root in (back, home))
        if name.endswith("key.json"):
            assert there.read_bytes() == here.read_bytes()
        else:
            assert json.loads(there.read_text()) == {"height": "20", "round": 0, "step": 2}


def test_a_key_that_went_out_is_out_under_the_id_that_the_chain_goes_on_as(home: Path, tmp_path: Path) -> None:
    """The other signer went on with it: FilePV's one state file holds the new id's heights then."""
    out, noted, config = tmp_path / "out", home / "priv" / "exported.json", home / "config.toml"
    assert run(home, "filepv", out, "--yes").returncode == 0
    words = json.loads(noted.read_text())["chains"][CHAIN]
    config.write_text(config.read_text().replace(f'"{CHAIN}"', '"next-1"'))
    rename = ["chain", "rename", "--home", str(home), "--from", CHAIN, "--to", "next-1", "--not-mistyped"]
    assert cmkms(*rename).returncode == 0
    assert json.loads(noted.read_text())["chains"] == {CHAIN: words}, "nothing was changed"
    done = cmkms(*rename, "--yes")
    assert done.returncode == 0, done.stderr
    refused = separately("start", "--home", str(home))
    assert refused.returncode == 5, refused.stderr
    assert "this key went out, to filepv" in refused.stderr
    (out / "priv_validator_state.json").write_text('{"height":"300","round":0,"step":3}')
    back = cmkms("import", "--home", str(home), "--from", "filepv", str(out), "--min-height", "300", "--yes")
    assert back.returncode == 0, back.stderr
    assert json.loads(noted.read_text())["chains"] == {CHAIN: words}, "what it signed under the old id is not known"
    assert json.loads((home / "priv" / "priv_validator_state.json").read_text())["height"] == "300"


def test_a_key_that_goes_out_between_a_rename_and_its_setting_is_out_under_the_new_id(
    home: Path, tmp_path: Path
) -> None:
    """Whether the store knows the new id already, from before, or not."""
    config, store = home / "config.toml", home / "data" / "node0" / "promises"
    rename = ["chain", "rename", "--home", str(home), "--from", CHAIN, "--to", "next-1", "--not-mistyped", "--yes"]
    assert cmkms(*rename).returncode == 0
    assert run(home, "filepv", tmp_path / "out", "--yes").returncode == 0
    before = config.read_text()
    config.write_text(before.replace(f'"{CHAIN}"', '"next-1"'))
    for command in (
        ["start"],
        ["export", "--to", "filepv", str(tmp_path / "again"), "--yes"],
        ["state", "export"],
    ):
        refused = separately(*command, "--home", str(home))
        assert refused.returncode == 5, refused.stdout
        assert "this key went out, to filepv" in refused.stderr
    theirs = tmp_path / "theirs.json"
    theirs.write_text('{"height":"300","round":0,"step":3}')
    assert cmkms("state", "import", "--home", str(home), str(theirs)).returncode == 0
    assert cmkms("state", "export", "--home", str(home)).returncode == 0, "it has begun the new id above that"
    config.write_text(before)
    (home / "priv" / "priv_validator_state.json").write_text('{"height":"20","round":0,"step":2}')
    forget_export(home / "priv" / "priv_validator_state.json", CHAIN, store)
    assert run(home, "filepv", tmp_path / "second", "--yes").returncode == 0
    assert set(json.loads((home / "priv" / "exported.json").read_text())["chains"]) == {CHAIN, "next-1"}
    config.write_text(before.replace(f'"{CHAIN}"', '"next-1"'))
    refused = separately("start", "--home", str(home))
    assert (refused.returncode, "this key went out, to filepv" in refused.stderr) == (5, True)


@pytest.mark.parametrize("kind", ["filepv", "tmkms"])
@pytest.mark.parametrize("way", ["import", "state import", "recover"])
def test_a_home_whose_key_went_out_signs_nothing_until_the_watermark_is_back(
    home: Path, tmp_path: Path, kind: str, way: str
) -> None:
    """Else a unit that starts it at the next boot signs what the other signer has signed since."""
    out, noted = tmp_path / "out", home / "priv" / "exported.json"
    assert run(home, kind, out).returncode == 0
    assert not noted.exists()
    assert run(home, kind, out, "--yes").returncode == 0
    refused = separately("start", "--home", str(home))
    assert refused.returncode == 5, refused.stderr
    assert f"this key went out, to {kind}" in refused.stderr
    assert f"cmkms import --from {kind}" in refused.stderr
    key = home / "priv" / "priv_validator_key.json"
    cluster = ["testnet", "--dir", str(tmp_path / "net"), "--chain-id", CHAIN, "--key-file", str(key)]
    assert "this key went out" in cmkms(*cluster).stderr
    if way == "import":
        state, secret = out / "state" / f"{CHAIN}-consensus.json", out / "secrets" / f"{CHAIN}-consensus.key"
        named = ["--key-file", str(secret), "--state-file", str(state)] if kind == "tmkms" else [str(out)]
        behind = cmkms("import", "--home", str(home), "--from", kind, *named, "--yes")
        assert behind.returncode == 5
        assert "what a copy that stayed behind says, too" in behind.stderr
        assert noted.exists()
        back = cmkms("import", "--home", str(home), "--from", kind, *named, "--yes", "--unused")
    elif way == "state import":
        signed = tmp_path / "state.json"
        signed.write_text('{"height":"30","round":0,"step":3}')
        back = cmkms("state", "import", "--home", str(home), str(signed))
    else:
        back = cmkms("recover", "--home", str(home), "--min-height", "30", "--yes-height", "30")
    assert back.returncode == 0, back.stderr
    assert not noted.exists()
    done = cmkms(*cluster)
    assert done.returncode == 0, done.stderr


def notes_of(home: Path) -> list[str]:
    return sorted(str(path.relative_to(home)) for path in home.rglob("exported.json"))


def is_refused(home: Path, words: str = "this key went out, to filepv") -> None:
    with pytest.raises(StateError, match=words):
        opened_of(home)


def opened_of(home: Path, folder: str = "priv") -> HRS:
    """Where a start begins to sign. Raises: StateError where it does not."""
    state = home / folder / "priv_validator_state.json"
    opened = open_node(NodeFiles.at(home, "node0", (ChainFiles(Row(PUBLIC, CHAIN), state),)), choose.load())
    opened.store.close()
    return opened.signed[0].hrs


@pytest.mark.parametrize(
    ("height", "word", "says"),
    [
        (19, (), "below that: it is no current file of that signer"),
        (19, ("--unused",), "below that: it is no current file of that signer"),
        (19, ("--min-height", "19"), "below that: it is no current file of that signer"),
        (20, (), "is what a copy that stayed behind says, too"),
        (21, ("--unused",), "--unused is your word"),
        (19, ("--min-height", "20"), ""),
        (20, ("--unused",), ""),
        (20, ("--min-height", "20"), ""),
        (21, (), ""),
    ],
)
def test_only_what_shows_what_was_signed_since_or_an_operator_s_word_brings_a_key_back(
    home: Path, tmp_path: Path, height: int, word: tuple[str, ...], says: str
) -> None:
    """An export of last month, or the copy that stayed on the machine, knows nothing of the other."""
    out = tmp_path / "out"
    assert run(home, "filepv", out, "--yes").returncode == 0
    assert json.loads((home / "priv" / "exported.json").read_text())["chains"][CHAIN][2] == "20/0/2"
    (out / "priv_validator_state.json").write_text(f'{{"height":"{height}","round":0,"step":2}}')
    before = tree(home)
    done = cmkms("import", "--home", str(home), "--from", "filepv", str(out), "--yes", *word)
    if says:
        assert done.returncode == 5
        assert says in done.stderr
        assert "--min-height" in done.stderr or "leave it out" in done.stderr
        assert tree(home) == before
        is_refused(home)
    else:
        assert done.returncode == 0, done.stderr
        assert notes_of(home) == []
        assert opened_of(home) >= HRS(20, 0, 2)


@pytest.mark.parametrize(("height", "taken"), [(19, False), (20, False), (21, True)])
def test_a_state_import_takes_what_is_above_the_place_that_went_out(
    home: Path, tmp_path: Path, height: int, taken: bool
) -> None:
    assert run(home, "filepv", tmp_path / "out", "--yes").returncode == 0
    theirs = tmp_path / "theirs.json"
    theirs.write_text(f'{{"height":"{height}","round":0,"step":2}}')
    before = tree(home)
    done = cmkms("state", "import", "--home", str(home), str(theirs))
    assert done.returncode == (0 if taken else 5), done.stderr
    if not taken:
        assert "import with --min-height" in done.stderr
        assert tree(home) == before
    assert notes_of(home) == ([] if taken else ["data/node0/exported.json", "priv/exported.json"])


def test_a_note_that_does_not_say_the_place_takes_a_typed_height_only(home: Path, tmp_path: Path) -> None:
    """As older versions wrote it."""
    (home / "priv" / "exported.json").write_text(json.dumps({"chains": {CHAIN: ["filepv", "/there"]}}))
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    write_key(theirs / "priv_validator_key.json", SEED)
    (theirs / "priv_validator_state.json").write_text('{"height":"30","round":0,"step":2}')
    for more in ((), ("--unused",)):
        done = cmkms("import", "--home", str(home), "--from", "filepv", str(theirs), "--yes", *more)
        assert done.returncode == 5
        assert "the note does not say what went out" in done.stderr
    is_refused(home)
    done = cmkms("import", "--home", str(home), "--from", "filepv", str(theirs), "--yes", "--min-height", "30")
    assert done.returncode == 0, done.stderr
    assert opened_of(home).height == 30


def test_a_state_that_stood_higher_there_is_the_place_that_went_out(home: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "priv_validator_state.json").write_text('{"height":"30","round":0,"step":1}')
    assert run(home, "filepv", out, "--yes").returncode == 0
    (out / "priv_validator_state.json").write_text('{"height":"29","round":0,"step":1}')
    assert "below that" in cmkms("import", "--home", str(home), "--from", "filepv", str(out), "--yes").stderr


def test_a_recovery_says_whose_key_went_out_and_takes_no_height_below_that(home: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run(home, "filepv", out, "--yes").returncode == 0
    recover = ("recover", "--home", str(home), "--json")
    low = cmkms(*recover, "--min-height", "19", "--yes-height", "19")
    assert (low.returncode, "and 19 is below that" in low.stderr) == (5, True), low.stderr
    is_refused(home)
    done = cmkms(*recover, "--min-height", "40", "--yes-height", "40")
    assert done.returncode == 0, done.stderr
    state = out / "priv_validator_state.json"
    assert f"{CHAIN}: the key went out to filepv ({state}, at 20/0/2)" in done.stderr
    assert "exported.json is taken away" in done.stderr
    place = {"height": 20, "round": 0, "step": 2}
    told = {"chain_id": CHAIN, "from": "filepv", "state_file": str(state), "place": place}
    assert json.loads(done.stdout)["came_back"] == [told]
    assert notes_of(home) == []


@pytest.mark.parametrize("part", ["priv", "data"])
def test_an_older_copy_of_one_half_of_the_home_is_refused_too(home: Path, tmp_path: Path, part: str) -> None:
    """Put back from before the export, without a note."""
    shutil.copytree(home / part, tmp_path / "older")
    assert run(home, "filepv", tmp_path / "out", "--yes").returncode == 0
    shutil.rmtree(home / part)
    shutil.copytree(tmp_path / "older", home / part)
    is_refused(home)
    back = cmkms("import", "--home", str(home), "--from", "filepv", str(tmp_path / "out"), "--yes", "--unused")
    assert back.returncode == 0, back.stderr
    assert opened_of(home) == HRS(20, 0, 2)


def test_a_note_counts_wherever_the_chain_s_files_are_moved_to(home: Path, tmp_path: Path) -> None:
    """The home gets [[chain]] tables, or goes back to one chain; also where its data/ is lost."""
    assert run(home, "filepv", tmp_path / "out", "--yes").returncode == 0
    (home / "data" / "node0" / "exported.json").unlink()
    state = home / "priv" / "priv_validator_state.json"
    (home / "priv" / "hub").mkdir()
    state.rename(home / "priv" / "hub" / state.name)
    with pytest.raises(StateError, match=r"priv/exported\.json says that this key went out"):
        opened_of(home, "priv/hub")
    (home / "priv" / "exported.json").rename(home / "priv" / "hub" / "exported.json")
    (home / "priv" / "hub" / state.name).rename(state)
    is_refused(home, r"priv/hub/exported\.json says that this key went out")
    back = cmkms("import", "--home", str(home), "--from", "filepv", str(tmp_path / "out"), "--yes", "--unused")
    assert back.returncode == 0, back.stderr
    assert notes_of(home) == []


def test_what_stayed_in_a_home_that_never_ran_is_behind_the_signer_that_got_its_key(tmp_path: Path) -> None:
    """A key that was imported and exported again, while no store and no born.json stood there."""
    never = make_home(tmp_path / "never", Watermark(), name="node9")
    shutil.rmtree(never / "data")
    (never / "priv" / "born.json").unlink()
    key, state = (never / "priv" / f"priv_validator_{name}.json" for name in ("key", "state"))
    assert run(never, "filepv", tmp_path / "out", "--yes").returncode == 0
    new = tmp_path / "new"
    assert cmkms("init", "--home", str(new), "--chain-id", CHAIN, "--validator-addr", "tcp://a:1").returncode == 0
    shutil.copy(key, new / "priv" / key.name)
    before, link = tree(new), tmp_path / "link.json"
    link.symlink_to(state)
    moved = ["import", "--home", str(new), "--from", "filepv", "--yes"]
    (tmp_path / "plain.json").write_bytes(state.read_bytes())
    for command in (
        ["testnet", "--dir", str(tmp_path / "net"), "--chain-id", CHAIN, "--key-file", str(key)],
        ["state", "import", "--home", str(new), str(state)],
        ["state", "import", "--home", str(new), str(link)],
        [*moved, str(never / "priv")],
        [*moved, "--key-file", str(key), "--state-file", str(tmp_path / "plain.json")],
    ):
        done = cmkms(*command)
        assert (done.returncode, "says that this key went out, to filepv" in done.stderr) == (5, True), done.stderr
        assert tree(new) == before
    back = cmkms(*moved, str(tmp_path / "out"))
    assert back.returncode == 0, back.stderr


def test_a_directory_of_another_user_beside_the_key_has_no_note_of_this_node(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """priv/ may be a disk of its own, with root's lost+found."""
    theirs = home / "priv" / "lost+found"
    (theirs / "exported.json").mkdir(parents=True)  # whoever reads it fails
    with pytest.raises(StateError, match=r"lost\+found/exported\.json cannot be read"):
        opened_of(home)
    real = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: path != theirs and real(path, mode))
    assert opened_of(home) == HRS(20, 0, 2)


def test_beside_an_older_copy_of_state_files_outside_priv_the_stores_note_counts_too(
    home: Path, tmp_path: Path
) -> None:
    state = tmp_path / "state" / "priv_validator_state.json"
    state.parent.mkdir()
    for name in (state.name, "born.json"):
        (home / "priv" / name).rename(state.with_name(name))
    files = NodeFiles.at(home, "node0", (ChainFiles(Row(PUBLIC, CHAIN), state),))
    note_export(state, CHAIN, "filepv", tmp_path / "out", HRS(20, 0, 2), files.store_path)
    state.with_name("exported.json").unlink()
    for refusing in (
        lambda: refuse_gone_out(files.chains, files.store_path),
        lambda: epochs.seal(files, choose.load(), ("node0", "node1", "node2")),
        lambda: reset_mark(files, files.chains[0], 3),
    ):
        with pytest.raises(StateError, match=r"data/node0/exported\.json says that this key went out"):
            refusing()
    carry_export(state, CHAIN, "chain-b", files.store_path)
    assert went_out(state, "chain-b", files.store_path) is not None
    (home / "data" / "node0" / "exported.json").write_text("{")
    with pytest.raises(StateError, match="cannot be understood"):
        check_beside([state], files.store_path)


@pytest.mark.parametrize("folder", ["keys/z", "priv/v/z"])
def test_with_a_state_file_out_of_the_way_an_older_data_alone_is_not_without_the_note(
    home: Path, tmp_path: Path, folder: str
) -> None:
    """Also where the settings lead to another place since, or the chain is not configured any more."""
    state = home / folder / "priv_validator_state.json"
    state.parent.mkdir(parents=True)
    for name in (state.name, "born.json"):
        (home / "priv" / name).rename(state.with_name(name))
    files = NodeFiles.at(home, "node0", (ChainFiles(Row(PUBLIC, CHAIN), state),))
    note = note_export(state, CHAIN, "filepv", tmp_path / "out", HRS(20, 0, 2), files.store_path)
    note.finish()
    files.store_path.with_name("exported.json").unlink()
    moved = home / "priv" / "hub" / state.name
    assert went_out(moved, CHAIN, files.store_path) is not None
    with pytest.raises(StateError, match=r"priv/exported\.json says that this key went out"):
        refuse_row_gone_out(files, Row(PUBLIC, CHAIN))
    forget_export(state, CHAIN, files.store_path)
    assert notes_of(home) == []
    assert went_out(moved, CHAIN, files.store_path) is None


def test_a_note_that_is_taken_away_in_one_place_only_still_refuses(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed in between, whichever goes first."""
    assert run(home, "filepv", tmp_path / "out", "--yes").returncode == 0
    state, store = home / "priv" / "priv_validator_state.json", home / "data" / "node0" / "promises"
    notes = {home / name: (home / name).read_bytes() for name in notes_of(home)}
    real, left = os.unlink, [0]

    def unlink(*arguments: Any, **named: Any) -> None:
        if not left[0]:
            raise OSError(5, "killed here")
        left[0] -= 1
        real(*arguments, **named)

    for number in range(len(notes)):
        for path, data in notes.items():
            path.write_bytes(data)
        with monkeypatch.context() as cut:
            cut.setattr("cometkms.store.exported.os.unlink", unlink)
            left[0] = number
            with pytest.raises(OSError, match="killed here"):
                forget_export(state, CHAIN, store)
        is_refused(home)
    forget_export(state, CHAIN, store)
    assert notes_of(home) == []


def test_the_homes_own_state_file_brings_nothing_back(home: Path, tmp_path: Path) -> None:
    """By whatever name: what the other signer has signed since is not in it."""
    assert run(home, "filepv", tmp_path / "out", "--yes").returncode == 0
    own, link = home / "priv" / "priv_validator_state.json", tmp_path / "link.json"
    own.write_text('{"height":"20","round":0,"step":2}')
    link.symlink_to(own)
    before, key = tree(home), str(home / "priv" / "priv_validator_key.json")
    other = ["import", "--from", "filepv", "--yes", "--key-file", key, "--state-file"]
    for file in (own, link):
        for command in (["state", "import"], other):
            done = cmkms(*command, str(file), "--home", str(home))
            assert done.returncode == 5
            assert "says that this key went out, to filepv" in done.stderr
            assert tree(home) == before
    typed = cmkms(*other, str(own), "--min-height", "30", "--home", str(home))
    assert typed.returncode == 0, typed.stderr


def test_whoever_goes_by_a_home_s_files_goes_by_its_store(home: Path, tmp_path: Path) -> None:
    """The state file is at 1 and the store at 20, as after a `kill -9`."""
    key, state = (home / "priv" / f"priv_validator_{name}.json" for name in ("key", "state"))
    other = tmp_path / "elsewhere.json"
    other.write_text('{"height":"3","round":0,"step":1}')
    for number, more in enumerate(([], ["--state-file", str(state)], ["--state-file", str(other)])):
        net = tmp_path / f"net{number}"
        done = cmkms("testnet", "--dir", str(net), "--chain-id", CHAIN, "--key-file", str(key), *more)
        assert done.returncode == 0, done.stderr
        made = json.loads((net / "node1" / "priv" / state.name).read_text())
        assert made == {"height": "20", "round": 0, "step": 2}
    for number, words in enumerate(
        (["state", "import", str(state)], ["import", "--from", "filepv", "--yes", str(home / "priv")])
    ):
        new = tmp_path / f"new{number}"
        assert cmkms("init", "--home", str(new), "--chain-id", CHAIN, "--validator-addr", "tcp://a:1").returncode == 0
        (new / "priv" / key.name).write_bytes(key.read_bytes())
        (new / "priv" / key.name).chmod(0o600)
        done = cmkms(*words, "--home", str(new))
        assert done.returncode == 0, done.stderr
        assert json.loads((new / "priv" / state.name).read_text()) == {"height": "20", "round": 0, "step": 2}


def test_whoever_goes_by_a_home_s_files_is_refused_where_its_store_cannot_say(home: Path, tmp_path: Path) -> None:
    """While its node runs, and where its store is lost: a file alone is behind."""
    key, state = (home / "priv" / f"priv_validator_{name}.json" for name in ("key", "state"))
    new = tmp_path / "new"
    assert cmkms("init", "--home", str(new), "--chain-id", CHAIN, "--validator-addr", "tcp://a:1").returncode == 0
    (new / "priv" / key.name).write_bytes(key.read_bytes())
    (new / "priv" / key.name).chmod(0o600)
    before = tree(new)
    net = ["testnet", "--dir", str(tmp_path / "net"), "--chain-id", CHAIN, "--key-file", str(key)]
    taken = ["state", "import", "--home", str(new), str(state)]
    moved = ["import", "--home", str(new), "--from", "filepv", str(home / "priv"), "--yes"]
    with locked_home(home):
        for command in (net, taken, moved):
            done = cmkms(*command)
            assert (done.returncode, "stop it first" in done.stderr) == (6, True), done.stderr
    (home / "data" / "node0" / "promises").unlink()
    for command in (net, taken, moved):
        done = cmkms(*command)
        assert (done.returncode, "stands beside a born.json" in done.stderr) == (5, True), done.stderr
        assert "cmkms export --to filepv DIR" in done.stderr
    assert tree(new) == before
    assert not (tmp_path / "net").exists()


@pytest.mark.parametrize(
    "text", ["", "[]", '{"chains": {"c": "filepv"}}', '{"chains": {"c": [1, 2]}}', '{"format": 2, "chains": {}}']
)
def test_a_note_that_is_not_understood_signs_nothing(home: Path, text: str) -> None:
    (home / "priv" / "exported.json").write_text(text)
    refused = separately("start", "--home", str(home))
    assert refused.returncode == 5
    assert str(home / "priv" / "exported.json") in refused.stderr


def test_a_state_there_is_never_lowered_and_another_key_never_overwritten(home: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    state = out / "priv_validator_state.json"
    state.write_text('{"height":"30","round":0,"step":1}')
    done = run(home, "filepv", out, "--yes")
    assert done.returncode == 0, done.stderr
    assert "it stands higher" in done.stdout
    stands = (
        "at height 30 round 0 step 1 (burnt: nothing is signed there again), above this node's height 20 round 0 step 2"
    )
    assert f"{stands}: its state stays as it was\n" in done.stdout.partition("Done: filepv has ")[2]
    again = run(home, "filepv", out, "--yes")
    assert f"{stands}: both files stay as they were\n" in again.stdout.partition("Done: filepv has ")[2]
    state.write_text('{"height":"20","round":0,"step":2}')
    assert "at 30/0/1: what it signed there since" in run(home, "filepv", out, "--yes").stderr
    state.write_text('{"height":"30","round":0,"step":1}')
    assert json.loads(state.read_text())["height"] == "30"
    (out / "priv_validator_key.json").unlink()
    write_key(out / "priv_validator_key.json", b"\1" * 32)
    before = tree(out)
    refused = run(home, "filepv", out, "--yes")
    assert refused.returncode == 4
    assert "nothing is overwritten" in refused.stderr
    assert tree(out) == before


def test_a_sealed_key_goes_out_with_its_passphrase_only(home: Path, tmp_path: Path) -> None:
    plain = (home / "priv" / "priv_validator_key.json").read_bytes()
    word = tmp_path / "word"
    word.write_text("a passphrase\n")
    word.chmod(0o600)
    memory = str(SEAL_MEMORY_MIN_BYTES >> 20)
    sealed = cmkms("keys", "encrypt", "--home", str(home), "--memory-mib", memory, "--passphrase-file", str(word))
    assert sealed.returncode == 0, sealed.stderr
    out = tmp_path / "out"
    refused = run(home, "filepv", out, "--yes")
    assert refused.returncode == 4
    assert "--passphrase-file" in refused.stderr
    assert not out.exists()
    assert run(home, "filepv", out, "--yes", "--passphrase-file", str(word)).returncode == 0
    assert (out / "priv_validator_key.json").read_bytes() == plain


def test_a_running_node_is_refused(home: Path, tmp_path: Path) -> None:
    with locked_home(home):
        refused = run(home, "filepv", tmp_path / "out", "--yes")
    assert refused.returncode == 6
    assert not (tmp_path / "out").exists()


def test_a_corrupt_or_lost_store_is_refused(home: Path, tmp_path: Path) -> None:
    """What was promised is not known."""
    store = home / "data" / "node0" / "promises"
    whole = store.read_bytes()
    store.write_bytes(whole[:8192] + b"x" * 512 + whole[8704:])
    refused = run(home, "filepv", tmp_path / "out", "--yes")
    assert refused.returncode == 5
    assert "recover" in refused.stderr
    store.unlink()
    (home / "priv" / "born.json").write_text('{"ids": ["node0"], "epoch": 1, "members": ["node0"]}')
    refused = run(home, "filepv", tmp_path / "out", "--yes")
    assert refused.returncode == 5
    assert "what it promised is not known" in refused.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("extra", [(), ("--min-height", "30", "--yes-height", "30")], ids=["plain", "with a height"])
def test_a_forgotten_peer_list_lets_no_member_go_out_as_one_that_is_alone(
    tmp_path: Path, extra: tuple[str, ...]
) -> None:
    """The peers may be given to `start` alone: the others would sign on beside the new signer."""
    home = make_home(tmp_path / "node0", Watermark(HRS(20, 0, 2)), ("node0", "node1", "node2"))
    config = home / "config.toml"
    text, removed = re.subn(r"^peer = .*?\]$", "", config.read_text(), flags=re.M | re.S)
    assert removed == 1
    config.write_text(text)
    refused = run(home, "filepv", tmp_path / "out", *extra, "--yes")
    assert refused.returncode == 5
    assert "is of node 'node0' of node0, node1, node2, and this is 'node0' of node0" in refused.stderr
    assert not (tmp_path / "out").exists()


def test_of_a_cluster_a_sealed_majority_goes_out(tmp_path: Path) -> None:
    members = ("node0", "node1", "node2")
    behind = make_home(tmp_path / "node0", Watermark(HRS(20, 0, 2)), members)
    ahead = make_home(tmp_path / "node1", Watermark(HRS(25, 1, 3)), members, "node1")
    refused = run(behind, "filepv", tmp_path / "out", "--yes")
    assert refused.returncode == 5
    assert "cmkms epoch seal" in refused.stderr
    seal, following = tmp_path / "node1.seal", ("--next", ",".join(members), "--yes")
    seal.write_text(cmkms("epoch", "seal", "--home", str(ahead), *following).stdout)
    refused = run(behind, "filepv", tmp_path / "out", "--seal-file", str(seal), "--yes")
    assert refused.returncode == 5
    assert "a majority is 2" in refused.stderr
    assert cmkms("epoch", "seal", "--home", str(behind), *following).returncode == 0
    refused = run(behind, "filepv", tmp_path / "out", "--seal-file", str(seal), "--yes")
    assert refused.returncode == 5
    assert "--min-height" in refused.stderr  # both were stopped, and the third may know more
    third = make_home(tmp_path / "node2", Watermark(HRS(22, 0, 2)), members, "node2")
    with seal.open("a") as file:
        file.write(cmkms("epoch", "seal", "--home", str(third), *following).stdout)
    done = run(behind, "filepv", tmp_path / "out", "--seal-file", str(seal), "--yes")
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "out" / "priv_validator_state.json").read_text())["height"] == "25"
    height = ("--min-height", "30", "--yes-height", "30", "--yes")
    assert run(behind, "filepv", tmp_path / "higher", "--seal-file", str(seal), *height).returncode == 0
    assert json.loads((tmp_path / "higher" / "priv_validator_state.json").read_text())["height"] == "30"


THREE = '{"ids": ["node0"], "epoch": %d, "members": ["node0", "node1", "node2"]}'
SEALED = '{"ids": ["node0"], "epoch": 1, "members": ["node0"], "next": ["node0", "node1", "node2"]}'


OVER = (THREE % 2, "is of an epoch that is over")
OVER_SINCE = (SEALED, "says that epoch 1 is sealed here, for node0, node1, node2, and the peer list names node0")
OTHERS = (THREE % 1, "says that this node is one of node0, node1, node2, and the peer list names node0")


@pytest.mark.parametrize("born", [OVER, OVER_SINCE, OTHERS], ids=["a later epoch", "sealed since", "other members"])
@pytest.mark.parametrize("command", ["export", "chain reset"])
def test_an_old_copy_of_a_home_with_the_settings_of_that_time_gives_no_mark_away(
    home: Path, tmp_path: Path, command: str, born: tuple[str, str]
) -> None:
    """What became one of three signed on with the others; a start refuses for the same reason."""
    more = {
        "export": ["--to", "filepv", str(tmp_path / "out"), "--min-height", "30", "--yes-height", "30", "--yes"],
        "chain reset": [CHAIN, "--height", "10", "--yes-height", "10"],
    }
    assert_refused(home, tmp_path, born, *command.split(), "--home", str(home), *more[command])
    if born != OTHERS:
        told = cmkms(*command.split(), "--home", str(home), *more[command]).stderr
        assert told in separately("start", "--home", str(home)).stderr


@pytest.mark.parametrize("born", [OVER, OVER_SINCE], ids=["a later epoch", "sealed since"])
def test_an_old_copy_of_a_store_does_not_say_where_its_chain_stands(
    home: Path, tmp_path: Path, born: tuple[str, str]
) -> None:
    assert_refused(home, tmp_path, born, "state", "export", "--home", str(home), "--out", str(tmp_path / "out"))


def assert_refused(home: Path, tmp_path: Path, born: tuple[str, str], *command: str) -> None:
    said, words = born
    (home / "priv" / "born.json").write_text(said)
    before = files_and_marks(home)
    done = cmkms(*command)
    assert done.returncode == 5, done.stdout
    assert words in done.stderr
    assert files_and_marks(home) == before
    assert not (tmp_path / "out").exists()


def files_and_marks(home: Path) -> tuple[dict[str, bytes], list[tuple[Row, Watermark]]]:
    """Every file's content, and for the store, whose newest record is written anew when it is
    opened, what it says.
    """
    found = tree(home)
    del found["data/node0/promises"]
    return found, readable_marks(home / "data" / "node0" / "promises")


AS_ANOTHER = {
    "export": ("--to", "filepv", "out", "--yes"),
    "export above a height": ("--to", "filepv", "out", "--min-height", "30", "--yes-height", "30", "--yes"),
    "state export": ("--out", "out"),
    "state import": ("given.json",),
    "import": ("--from", "filepv", "given", "--yes"),
    "chain reset": (CHAIN, "--height", "3", "--yes-height", "3"),
    "chain rename": ("--from", CHAIN, "--to", "chain-b", "--yes"),
    "recover": ("--min-height", "90", "--yes-height", "90"),
    "recover from a store": ("--from-store", "given/promises", "--yes"),
    "epoch show": (),
    "epoch seal": ("--next", "typo", "--yes"),
    "epoch begin": ("--seal-file", "given/seal"),
    "state show": (),
}


@pytest.mark.parametrize("left", ["both", "data", "priv"])
@pytest.mark.parametrize("command", AS_ANOTHER)
def test_under_another_node_s_id_a_home_says_nothing_and_takes_nothing(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, left: str
) -> None:
    """Its state file is behind its store, which is not looked for under that id."""
    monkeypatch.chdir(tmp_path)
    given = '{"height":"70","round":0,"step":2}'
    (tmp_path / "given").mkdir()
    for path in (tmp_path / "given.json", tmp_path / "given" / "priv_validator_state.json"):
        path.write_text(given)
    shutil.copy(home / "priv" / "priv_validator_key.json", tmp_path / "given")
    shutil.copy(home / "data" / "node0" / "promises", tmp_path / "given")
    marks = ((Row(PUBLIC, CHAIN), Watermark(HRS(20, 0, 2))),)
    seal = epochs.Seal("node0", 1, ("node0",), ("typo",), epochs.Standing.CONFIRMED, marks)
    (tmp_path / "given" / "seal").write_text(epochs.seal_text(seal))
    if left == "data":
        (home / "priv" / "born.json").unlink()
    if left == "priv":
        shutil.rmtree(home / "data")
    before = tree(tmp_path)
    verb = command.removesuffix(" above a height").removesuffix(" from a store").split()
    done = cmkms(*verb, "--home", str(home), "--id", "typo", *AS_ANOTHER[command])
    assert (done.returncode, done.stdout, tree(tmp_path)) == (5, "", before)
    told = "this home belongs to node 'node0' and the id is now 'typo'; cure: start with --id node0"
    assert told in done.stderr
    examined = json.loads(cmkms("doctor", "--home", str(home), "--id", "typo", "--json").stdout)["findings"]
    [failed] = [one for one in examined if (one["area"], one["level"]) == ("state", "fail")]
    assert told == f"{failed['words']}; cure: {failed['cure'].partition(' (')[0]}"
    assert told in separately("start", "--home", str(home), "--id", "typo").stderr


def test_a_member_whose_settings_were_made_anew_gives_no_mark_away(tmp_path: Path) -> None:
    """`init` names the id that was its default, and no other node."""
    home = make_home(tmp_path / "node2", Watermark(HRS(8, 0, 2)), ("node0", "node1", "node2"), "node2")
    (home / "config.toml").unlink()
    assert cmkms("init", "--home", str(home), "--id", "node0", "--chain-id", CHAIN).returncode == 0
    refused = run(home, "filepv", tmp_path / "out", "--yes")
    assert refused.returncode == 5
    assert "this home belongs to node 'node2' and the id is now 'node0'" in refused.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("members", [("node0",), ("node0", "node1", "node2")])
def test_a_members_watermark_is_said_to_be_its_own(tmp_path: Path, members: tuple[str, ...]) -> None:
    """It may have been away while the others signed: a majority of seals shows what they did."""
    home = make_home(tmp_path / "member", Watermark(HRS(20, 0, 2), b""), members)
    done = cmkms("state", "export", "--home", str(home))
    assert json.loads(done.stdout)["height"] == "20"
    told = "note: this is where node0 stands, one of node0, node1, node2: the others may have signed above it"
    assert (told in done.stderr) is (len(members) > 1)
    assert (f"then `cmkms export --chain-id {CHAIN}`" in done.stderr) is (len(members) > 1)


def lost(home: Path) -> None:
    (home / "data" / "node0" / "promises").unlink()


def damaged(home: Path) -> None:
    store = home / "data" / "node0" / "promises"
    content = bytearray(store.read_bytes())
    for at in range(len(content) // 2, len(content)):
        content[at] ^= 0xFF
    store.write_bytes(content)


def older(home: Path) -> None:
    (home / "priv" / "priv_validator_state.json").write_text('{"height":"22","round":0,"step":2}')


@pytest.mark.parametrize("members", [("node0",), ("node0", "node1", "node2")])
@pytest.mark.parametrize(
    ("spoil", "words"),
    [(lost, "is missing"), (damaged, "corrupt"), (older, "is ahead of the store")],
)
def test_a_state_export_refuses_a_store_that_does_not_say_what_was_signed(
    tmp_path: Path, spoil: Any, words: str, members: tuple[str, ...]
) -> None:
    """As `export` does; a member's state file is ahead of its store by what the others signed."""
    home, out = make_home(tmp_path / "home", Watermark(HRS(20, 0, 2), b""), members), tmp_path / "out"
    spoil(home)
    done = cmkms("state", "export", "--home", str(home), "--out", str(out))
    if spoil is older and len(members) > 1:
        assert (done.returncode, json.loads(out.read_text())["height"]) == (0, "22"), done.stderr
        return
    assert (done.returncode, out.exists()) == (5, False), done.stdout
    assert words in done.stderr
    if len(members) == 1:
        exported = run(home, "filepv", tmp_path / "other", "--yes")
        assert exported.stderr == done.stderr


def stands_as(home: Path, state: NodeState) -> Path:
    """Let a member's store say so. Returns: its state file."""
    store = PromiseStore.open(home / "data" / "node0" / "promises")
    store.write_header(replace(store.header, state=state))
    store.close()
    return home / "priv" / "priv_validator_state.json"


@pytest.mark.parametrize("state", [NodeState.RECOVERING, NodeState.EMPTY])
def test_a_member_that_has_yet_to_hear_what_it_promised_gives_no_mark_away(tmp_path: Path, state: NodeState) -> None:
    """What is left of a lost store is less than what was signed; `epoch seal` refuses both, too."""
    home = make_home(tmp_path / "home", Watermark(HRS(20, 0, 2), b""), ("node0", "node1", "node2"))
    stands_as(home, state)
    before = tree(home)
    for out in (tmp_path / "out", home / "priv" / "priv_validator_state.json"):
        done = cmkms("state", "export", "--home", str(home), "--out", str(out))
        assert (done.returncode, done.stdout) == (5, "")
        assert (
            f"this node is {state.name.lower()}: it does not know what it promised; cure: start it, and let"
            in done.stderr
        )
    assert (tree(home), (tmp_path / "out").exists()) == (before, False)


def test_a_recovering_store_is_not_said_to_know_what_a_lost_state_file_did(tmp_path: Path) -> None:
    home = make_home(tmp_path / "home", Watermark(HRS(20, 0, 2), b""), ("node0", "node1", "node2"))
    own = stands_as(home, NodeState.RECOVERING)
    own.unlink()
    shown = cmkms("state", "export", "--home", str(home))
    assert (
        "is of a node that lost what it promised, and has yet to read it from the others; cure: while all"
        in shown.stderr
    )
    assert "knows what this node promised" not in shown.stderr
    written = cmkms("state", "export", "--home", str(home), "--chain-id", CHAIN, "--out", str(own))
    assert "this node is recovering: it does not know what it promised" in written.stderr
    assert (shown.returncode, written.returncode, own.exists()) == (5, 5, False)


def test_a_sealed_member_gives_no_mark_away(tmp_path: Path) -> None:
    home = make_home(tmp_path / "home", Watermark(HRS(20, 0, 2), b""), ("node0", "node1", "node2"))
    sealed = cmkms("epoch", "seal", "--home", str(home), "--next", "node0,node1,node2", "--yes")
    assert sealed.returncode == 0, sealed.stderr
    done = cmkms("state", "export", "--home", str(home))
    assert (done.returncode, done.stdout) == (5, "")
    assert "epoch 1 is sealed here, for node0, node1, node2" in done.stderr
    assert "`cmkms export` with the seals of a majority of node0, node1, node2" in done.stderr


def shown_of(home: Path) -> tuple[str, str]:
    """The last line of `state show`, and what its JSON says of it."""
    line = cmkms("state", "show", "--home", str(home)).stdout.splitlines()[-1]
    document = json.loads(cmkms("state", "show", "--home", str(home), "--json").stdout)
    assert line.endswith(document["why_not_promising"])
    return line, document["state"]


def test_what_is_shown_of_a_member_that_does_not_promise_by_its_store_says_so(tmp_path: Path) -> None:
    members = ("node0", "node1", "node2")
    home = make_home(tmp_path / "home", Watermark(HRS(20, 0, 2), b""), members)
    line, state = shown_of(home)
    assert (line.startswith("file  "), state) == (True, "complete")
    for stood, words in (
        (NodeState.RECOVERING, "node  recovering: it lost what it promised, and has yet to read it from the others: "),
        (NodeState.EMPTY, "node  empty: it is not born yet: "),
    ):
        stands_as(home, stood)
        line, state = shown_of(home)
        assert (line.startswith(words), state) == (True, stood.name.lower()), line
    home = make_home(tmp_path / "sealed", Watermark(HRS(20, 0, 2), b""), members)
    assert cmkms("epoch", "seal", "--home", str(home), "--next", ",".join(members), "--yes").returncode == 0
    line, state = shown_of(home)
    assert line.startswith("node  sealed: epoch 1 was sealed here, for node0, node1, node2: it promises nothing more")
    (home / "data" / "node0" / "promises").unlink()
    assert shown_of(home) == ("node  lost: its store is lost, and with it what it promised", None)


def test_an_empty_members_own_state_file_is_written_anew(tmp_path: Path) -> None:
    """It goes nowhere, and the store begins at the same mark."""
    home = make_home(tmp_path / "home", Watermark(HRS(20, 0, 2), b""), ("node0", "node1", "node2"))
    own = stands_as(home, NodeState.EMPTY)
    own.unlink()
    done = cmkms("state", "export", "--home", str(home), "--chain-id", CHAIN, "--out", str(own))
    assert (done.returncode, json.loads(own.read_text())["height"]) == (0, "20"), done.stderr


def test_a_state_file_that_is_lost_is_written_from_the_store_in_its_place_alone(home: Path, tmp_path: Path) -> None:
    own = home / "priv" / "priv_validator_state.json"
    own.unlink()
    refused = cmkms("state", "export", "--home", str(home), "--out", str(tmp_path / "out"))
    assert (refused.returncode, (tmp_path / "out").exists()) == (5, False)
    assert f"`cmkms state export --chain-id {CHAIN} --out {own}` writes it from the store" in refused.stderr
    assert cmkms("state", "export", "--home", str(home), "--chain-id", CHAIN, "--out", str(own)).returncode == 0
    assert json.loads(own.read_text()) == {"height": "20", "round": 0, "step": 2}


IN_ITS_WAY = {
    "the store": ("home/data/node0/promises", None, "a node keeps a file of that name itself"),
    "the settings": ("home/config.toml", None, "a node keeps a file of that name itself"),
    "a lock that is empty": ("home/cmkms.lock", b"", "a node keeps a file of that name itself"),
    "a store that is not there": ("other/promises", None, "a node keeps a file of that name itself"),
    "the key": ("home/priv/priv_validator_key.json", None, "it is a key"),
    "a key of tmkms": ("consensus.key", b"q2FsbCBtZSBpc2htYWVs", f"is no state file of {CHAIN}"),
    "a page": ("page", b"<html>", f"is no state file of {CHAIN}"),
    "other JSON": ("genesis.json", b'{"app_state": {"x": "' + b"y" * 200_000 + b'"}}', f"is no state file of {CHAIN}"),
    "a higher one": ("s", b'{"height":"21","round":0,"step":1}', "nothing is lowered"),
    "a directory": ("home", None, "is no file"),
    "no name": ("", None, "is no file"),
}


@pytest.mark.parametrize("name", IN_ITS_WAY)
def test_a_state_export_replaces_nothing_but_a_state_file_that_stands_no_higher(
    home: Path, tmp_path: Path, name: str
) -> None:
    where, content, words = IN_ITS_WAY[name]
    (tmp_path / "other").mkdir()
    if content is not None:
        (tmp_path / where).write_bytes(content)
    before = tree(tmp_path)
    done = cmkms("state", "export", "--home", str(home), "--out", str(tmp_path / where))
    assert (done.returncode, done.stdout) == (5, "")
    assert words in done.stderr
    assert tree(tmp_path) == before


@pytest.mark.parametrize("there", [b"", b'{"height":"19","round":0,"step":3}', b'{"height":"20","round":0,"step":2}'])
def test_a_state_export_replaces_a_state_file_that_stands_lower(home: Path, tmp_path: Path, there: bytes) -> None:
    out = tmp_path / "state.json"
    out.write_bytes(there)
    assert cmkms("state", "export", "--home", str(home), "--out", str(out)).returncode == 0
    assert json.loads(out.read_text())["height"] == "20"


def test_a_home_that_never_ran_gives_its_state_file(tmp_path: Path) -> None:
    home = make_home(tmp_path / "home", Watermark(HRS(20, 0, 2), b""))
    shutil.rmtree(home / "data")
    (home / "priv" / "born.json").unlink()
    done = cmkms("state", "export", "--home", str(home))
    assert json.loads(done.stdout) == {"height": "1", "round": 0, "step": 1}


def test_one_that_is_sealed_alone_gives_no_mark_but_on_the_operators_word(home: Path, tmp_path: Path) -> None:
    """The members that it is sealed for may have signed on."""
    sealed = cmkms("epoch", "seal", "--home", str(home), "--next", "node0,node1,node2", "--yes")
    assert sealed.returncode == 0, sealed.stderr
    before, out = tree(home), tmp_path / "out"
    for done in (
        run(home, "filepv", out, "--yes"),
        cmkms("state", "export", "--home", str(home), "--out", str(out)),
    ):
        assert (done.returncode, out.exists(), tree(home)) == (5, False, before)
        assert "epoch 1 is sealed here, for node0, node1, node2" in done.stderr
        assert "`cmkms export --min-height` with a height above it" in done.stderr
    key = home / "priv" / "priv_validator_key.json"
    made = cmkms("testnet", "--dir", str(tmp_path / "net"), "--chain-id", CHAIN, "--key-file", str(key))
    assert "cure: it is sealed for node0, node1, node2: go by the home of one of these" in made.stderr
    done = run(home, "filepv", out, "--min-height", "30", "--yes-height", "30", "--yes")
    assert done.returncode == 0, done.stderr
    assert json.loads((out / "priv_validator_state.json").read_text())["height"] == "30"
