"""`cmkms recover` says what it does and risks, and does nothing before the height was said twice."""

import contextlib
import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cometkms.cli import recover as recover_cmd
from cometkms.cli.state import files_of
from cometkms.config.load import load_settings
from cometkms.config.table import Flags
from cometkms.core import choose
from cometkms.errors import StateError
from cometkms.keys.validator_key import load_public_key
from cometkms.limits import STATE_FILE_MAX_BYTES
from cometkms.model import HRS, Row, Watermark
from cometkms.rules.birth import NodeState
from cometkms.store import state_file
from cometkms.store.lock import locked_home
from cometkms.store.marks import held_mark
from cometkms.store.node_store import open_node
from cometkms.store.promise_store import Header, PromiseStore, readable_marks
from tests.e2e.node import cmkms, environment
from tests.unit.cli import inside
from tests.unit.cli.test_cli import tree
from tests.unit.cli.test_export import make_home
from tests.unit.state.three import sign_bytes
from tests.unit.store.test_promise_store import PUBLIC
from tests.unit.terminal import read_to_end


@pytest.fixture
def home(tmp_path: Path) -> Path:
    path = tmp_path / "home"
    done = cmkms("init", "--home", str(path), "--new-key", "--chain-id", "c-1", "--validator-addr", "tcp://127.0.0.1:1")
    assert done.returncode == 0, done.stderr
    return path


def burnt(home: Path) -> int | None:
    """The height up to which the home's store is burnt; None if there is no store."""
    marks = readable_marks(home / "data" / "node0" / "promises")
    return marks[0][1].hrs.height if marks else None


def test_the_height_said_twice_burns_it(home: Path) -> None:
    done = cmkms("recover", "--home", str(home), "--min-height", "100", "--yes-height", "100")
    assert (done.returncode, burnt(home)) == (0, 100)
    assert "effect   a new store in which every height up to 100 is burnt" in done.stdout
    assert "a double signature" in done.stdout
    assert "alone: no peer list" in done.stdout


def test_a_height_below_what_the_node_knew_is_told_to_be_none_of_the_chains_head(home: Path) -> None:
    assert cmkms("recover", "--home", str(home), "--min-height", "100", "--yes-height", "100").returncode == 0
    done = cmkms("recover", "--home", str(home), "--min-height", "3", "--yes-height", "3")
    assert (done.returncode, burnt(home)) == (0, 100)
    assert "c-1: this node stood above 3 already, so that was no height above this chain's head" in done.stderr
    above = cmkms("recover", "--home", str(home), "--min-height", "101", "--yes-height", "101")
    assert "note  " not in above.stderr


def test_what_was_done_is_json_for_who_asks_for_it_and_the_warning_stays_for_people(home: Path) -> None:
    first = cmkms("recover", "--home", str(home), "--min-height", "100", "--yes-height", "100", "--json")
    chains = [{"chain_id": "c-1", "height": 100, "round": 2147483647, "step": 3}]
    assert json.loads(first.stdout) == {
        "home": str(home),
        "node_id": "node0",
        "kept": None,
        "state_files_kept": [],
        "chains": chains,
        "lost": [],
        "lost_unnamed": False,
        "came_back": [],
    }
    assert "a double signature" in first.stderr
    again = cmkms("recover", "--home", str(home), "--min-height", "200", "--yes-height", "200", "--json")
    assert Path(json.loads(again.stdout)["kept"]).is_file()
    refused = cmkms("recover", "--home", str(home), "--min-height", "300", "--yes-height", "1", "--json")
    assert (refused.returncode, refused.stdout) == (5, "")


def test_another_height_changes_nothing(home: Path) -> None:
    done = cmkms("recover", "--home", str(home), "--min-height", "100", "--yes-height", "1000")
    assert (done.returncode, burnt(home)) == (5, None)
    assert "1000 was typed, 100 was asked for" in done.stderr


@pytest.mark.parametrize("typed", ["", "100\n", "yes\n"])
def test_a_pipe_is_nobody_who_could_have_read_the_warning(home: Path, typed: str) -> None:
    done = cmkms("recover", "--home", str(home), "--min-height", "100", input=typed)
    assert (done.returncode, burnt(home)) == (5, None)
    assert "cure: --yes-height 100" in done.stderr


@pytest.mark.parametrize(("typed", "after"), [(b"100\n", 100), (b"101\n", None)])
def test_at_a_terminal_the_height_is_typed(home: Path, typed: bytes, after: int | None) -> None:
    ours, theirs = pty.openpty()
    try:
        command = [sys.executable, "-m", "cometkms", "recover", "--home", str(home), "--min-height", "100"]
        process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment())
        os.close(theirs)
        os.write(ours, typed)
        assert process.wait(60) == (0 if after else 5)
    finally:
        os.close(ours)
    assert burnt(home) == after


@pytest.mark.parametrize(("before", "after"), [(None, 25), (25, None), (25, 30)])
def test_a_key_that_goes_out_or_comes_back_while_the_height_is_typed_is_seen(
    home: Path, monkeypatch: pytest.MonkeyPatch, before: int | None, after: int | None
) -> None:
    note = home / "priv" / "exported.json"

    def write(height: int | None) -> None:
        note.unlink(missing_ok=True)
        if height is not None:
            note.write_text(json.dumps({"format": 1, "chains": {"c-1": ["filepv", "/x", f"{height}/0/2"]}}))

    @contextlib.contextmanager
    def taken_late(path: Path) -> Iterator[None]:
        write(after)
        with locked_home(path):
            yield

    write(before)
    monkeypatch.setattr(recover_cmd, "locked_home", taken_late)
    asked = ("recover", "--home", str(home), "--min-height", "100", "--yes-height", "100")
    done = inside.cmkms(*asked)
    assert (done.returncode, burnt(home)) == (5, None)
    assert "meanwhile a key went out to another signer, or came back" in done.stderr
    assert note.exists() is (after is not None)
    monkeypatch.undo()
    assert inside.cmkms(*asked).returncode == 0
    assert (burnt(home), note.exists()) == (100, False)


def test_a_node_of_a_cluster_is_told_of_the_better_way(tmp_path: Path) -> None:
    assert cmkms("testnet", "--dir", str(tmp_path / "net")).returncode == 0
    done = cmkms("recover", "--home", str(tmp_path / "net" / "node0"), "--min-height", "9", "--yes-height", "9")
    assert done.returncode == 0, done.stderr
    assert "of a cluster with node1, node2" in done.stdout
    assert "recovers by itself" in done.stdout


MEMBERS = ("node0", "node1", "node2")


@pytest.fixture
def cluster(tmp_path: Path) -> Path:
    """Three homes: node0 recovering at nothing, node2 dead with a promise at height 12."""
    assert cmkms("testnet", "--dir", str(tmp_path / "net")).returncode == 0
    make_store(tmp_path / "net" / "node0", NodeState.RECOVERING, 0)
    make_store(tmp_path / "net" / "node2", NodeState.COMPLETE, 12)
    return tmp_path / "net"


def make_store(home: Path, state: NodeState, height: int) -> None:
    path = home / "data" / home.name / "promises"
    path.parent.mkdir(parents=True)
    row = Row(load_public_key(home / "priv" / "priv_validator_key.json"), "testnet-1")
    record = tuple(bytes(8) for _ in MEMBERS) if state is NodeState.COMPLETE else ()
    header = Header(home.name, 1, MEMBERS, state, bytes(8), record)
    PromiseStore.create(path, header, [(row, Watermark(HRS(height, 0, 3)))]).close()


def test_a_forgotten_peer_list_makes_no_store_of_one_node_of_a_member_that_is_not_born_yet(tmp_path: Path) -> None:
    """It was started with its peers as flags, and waits for them."""
    assert cmkms("testnet", "--dir", str(tmp_path / "net")).returncode == 0
    home = tmp_path / "net" / "node0"
    make_store(home, NodeState.EMPTY, 0)
    config = home / "config.toml"
    config.write_text("\n".join(line for line in config.read_text().split("\n") if not line.startswith("peer = ")))
    done = cmkms("recover", "--home", str(home), "--min-height", "9", "--yes-height", "9")
    assert done.returncode == 5
    assert "is of node 'node0' of node0, node1, node2, and this is 'node0' of node0" in done.stderr


def test_a_dead_members_store_counts_as_its_answer(cluster: Path) -> None:
    dead = cluster / "node2" / "data" / "node2" / "promises"
    done = cmkms("recover", "--home", str(cluster / "node0"), "--from-store", str(dead), "--yes")
    assert done.returncode == 0, done.stderr
    assert "read     node2" in done.stdout
    assert "stands   testnet-1 at height 12 round 0 step 3" in done.stdout
    assert "a double signature" in done.stdout
    assert burnt(cluster / "node0") == 12


def test_a_dead_members_store_answers_for_chains_that_are_not_configured_any_more_too(cluster: Path) -> None:
    dead = cluster / "node2" / "data" / "node2" / "promises"
    left = Row(load_public_key(cluster / "node2" / "priv" / "priv_validator_key.json"), "testnet-0")
    store = PromiseStore.open(dead)
    store.add_row(left, Watermark(HRS(900, 0, 2), b"promised"))
    store.close()
    done = cmkms("recover", "--home", str(cluster / "node0"), "--from-store", str(dead), "--yes")
    assert done.returncode == 0, done.stderr
    assert held_mark(cluster / "node0" / "data" / "node0" / "promises", left) == Watermark(HRS(900, 0, 2))


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 2, "either --min-height or --from-store"),
        (["--from-store", "x", "--min-height", "5"], 2, "either --min-height or --from-store"),
        (["--from-store", "node2/data/node2/promises"], 5, "cure: --yes"),
        (["--from-store", "node0/data/node0/promises", "--yes"], 5, ""),
        (["--from-store", "node1/config.toml", "--yes"], 5, ""),
        (["--from-store", "no/such", "--yes"], 5, ""),
    ],
)
def test_what_is_no_dead_members_store_changes_nothing(
    cluster: Path, arguments: list[str], code: int, words: str
) -> None:
    done = cmkms("recover", "--home", str(cluster / "node0"), *arguments, cwd=cluster)
    assert done.returncode == code, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert burnt(cluster / "node0") == 0


@pytest.fixture
def two_chains(home: Path) -> Path:
    """c-1 and d=2, whose id has an equals sign."""
    config, priv = home / "config.toml", home / "priv"
    kept = [line for line in config.read_text().splitlines() if not line.startswith(("chain_id", "validator_addr"))]
    tables = [
        f'[[chain]]\nid = "{chain}"\nvalidator_addr = ["tcp://127.0.0.1:{port}"]\nkey_file = "priv/priv_validator_key.json"\nstate_file = "priv/{name}.json"\n'
        for chain, name, port in (("c-1", "one", 1), ("d=2", "two", 2))
    ]
    config.write_text("\n".join([*kept, *tables]))
    state = priv / "priv_validator_state.json"
    for name in ("one", "two"):
        (priv / f"{name}.json").write_bytes(state.read_bytes())
    return home


def heights(home: Path) -> dict[str, int]:
    marks = readable_marks(home / "data" / "node0" / "promises")
    return {row.chain_id: mark.hrs.height for row, mark in marks or ()}


EACH = ("--min-height", "c-1=100", "--min-height", "d=2=7000")


def test_each_chain_gets_its_own_height(two_chains: Path) -> None:
    again = tuple(one.replace("min", "yes") for one in EACH)
    done = cmkms("recover", "--home", str(two_chains), *EACH, *again)
    assert (done.returncode, heights(two_chains)) == (0, {"c-1": 100, "d=2": 7000}), done.stderr
    assert "effect   a new store in which every height of c-1 up to 100 and of d=2 up to 7000 is burnt" in done.stdout
    assert "burnt    d=2 up to height 7000" in done.stdout
    one_for_all = cmkms("recover", "--home", str(two_chains), "--min-height", "8000", "--yes-height", "8000")
    assert (one_for_all.returncode, heights(two_chains)) == (0, {"c-1": 8000, "d=2": 8000})


@pytest.mark.parametrize(
    ("given", "code", "words"),
    [
        (("--min-height", "c-1=100"), 5, "no height is given for d=2"),
        ((*EACH, "--min-height", "e-3=5"), 5, "a height is given for e-3, and the chains here are c-1, d=2"),
        ((*EACH, "--min-height", "c-1=101"), 2, "c-1: two heights for one chain"),
        ((*EACH, "--min-height", "100"), 2, "either one height for all chains, or CHAIN=H for each of them"),
        (("--min-height", "100", "--min-height", "200"), 2, "one height counts for all chains, and several were given"),
        (("--min-height", "=100"), 2, "names no chain"),
        (("--min-height", "c-1="), 2, "is no height"),
        (("--min-height", "c-1=0"), 2, "is no height"),
        (("--min-height", "c-1=-5"), 2, "is no height"),
        (("--min-height", "1_000"), 2, "is no height"),
        (("--min-height", "\u0665"), 2, "is no height"),
        (("--min-height", "9" * 5000), 2, "is no height"),
        (EACH, 5, "cure: --yes-height c-1=100 --yes-height d=2=7000"),
        ((*EACH, "--yes-height", "100"), 5, "100 was typed, c-1=100 d=2=7000 was asked for"),
        ((*EACH, "--yes-height", "c-1=100", "--yes-height", "d=2=700"), 5, "c-1=100 d=2=700 was typed"),
        ((*EACH, "--yes-height", "c-1=100"), 5, "c-1=100 was typed, c-1=100 d=2=7000 was asked for"),
    ],
)
def test_heights_that_can_be_read_in_two_ways_or_miss_a_chain_burn_nothing(
    two_chains: Path, given: tuple[str, ...], code: int, words: str
) -> None:
    done = cmkms("recover", "--home", str(two_chains), *given)
    assert (done.returncode, heights(two_chains)) == (code, {}), done.stderr
    assert words in " ".join(done.stderr.split())


def test_at_a_terminal_each_chains_height_is_typed(two_chains: Path) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "cometkms", "recover", "--home", str(two_chains), *EACH]
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment())
    os.close(theirs)
    os.write(ours, b"100\n7000\n")
    try:
        shown = read_to_end(ours)
    finally:
        os.close(ours)
    assert process.wait(30) == 0, shown
    assert b"Type the height of c-1 to go on" in shown
    assert b"Type the height of d=2 to go on" in shown
    assert heights(two_chains) == {"c-1": 100, "d=2": 7000}


def test_a_state_file_that_cannot_be_understood_is_kept_and_told(home: Path) -> None:
    path = home / "priv" / "priv_validator_state.json"
    aside = [path.with_name(f"{path.name}.old-{number}") for number in (1, 2)]
    path.write_text('{"height":"9')
    done = cmkms("recover", "--home", str(home), "--min-height", "5", "--yes-height", "5")
    assert (done.returncode, burnt(home), aside[0].read_text()) == (0, 5, '{"height":"9'), done.stderr
    assert f"kept     {aside[0]}" in done.stdout
    path.write_bytes(bytes(64))
    done = cmkms("recover", "--home", str(home), "--min-height", "7", "--yes-height", "7", "--json")
    assert (json.loads(done.stdout)["state_files_kept"], aside[1].read_bytes()) == ([str(aside[1])], bytes(64))
    again = cmkms("recover", "--home", str(home), "--min-height", "8", "--yes-height", "8")
    assert (burnt(home), path.with_name(f"{path.name}.old-3").exists()) == (8, False), again.stderr


SOMETHING_ELSE = {
    "a key": (b'{"address":"A","priv_key":{"type":"t","value":"v"}}', "it is a key"),
    "a key that is cut short": (b'{"address":"A","priv_key":{"ty', "it is a key"),
    "a note": (b'{"format": 1, "chains": {}}', "it is JSON of another kind"),
}


@pytest.mark.parametrize("name", SOMETHING_ELSE)
def test_what_was_never_a_state_file_is_not_taken_away(home: Path, name: str) -> None:
    """No start sends anybody to a recovery that would, and no other command replaces it."""
    content, words = SOMETHING_ELSE[name]
    path = home / "priv" / "priv_validator_state.json"
    path.write_bytes(content)
    before = tree(home)
    other = home.with_name("other.json")
    other.write_text('{"height":"9","round":0,"step":3}')
    for command in (
        ("start",),
        ("recover", "--min-height", "5", "--yes-height", "5"),
        ("chain", "reset", "c-1", "--height", "5", "--yes-height", "5"),
        ("chain", "rename", "--from", "c-1", "--to", "c-2", "--not-mistyped", "--yes"),
        ("state", "import", str(other)),
        ("state", "export", "--out", str(path)),
        ("state", "show"),
    ):
        run = cmkms if command == ("start",) else inside.cmkms
        done = run(*command, "--home", str(home))
        assert done.returncode == StateError.exit_code, (command, done.stdout, done.stderr)
        assert f"Error: {path} is not a validator's state file, nor what is left of one: {words}" in done.stderr
        assert "cure: if config.toml leads there by mistake, the right path into state_file; " in done.stderr
        made_by_start = {"cmkms.lock": b"", "priv/identity_key.json": b""}
        assert tree(home) | made_by_start == before | made_by_start


@pytest.mark.parametrize(
    "left",
    [
        b"",
        b" \n",
        b"{",
        b'{\n  "height": "12",\n  "ro',
        bytes(300),
        b'{"height"' + bytes(40),
        b"\xff\xfe\x00{",
        b"{}",
        b"garbage",
        b"[]",
        bytes(STATE_FILE_MAX_BYTES + 1),
    ],
)
def test_what_is_left_of_a_state_file_is_kept_aside_by_a_recovery(home: Path, left: bytes) -> None:
    path = home / "priv" / "priv_validator_state.json"
    path.write_bytes(left)
    done = inside.cmkms("recover", "--home", str(home), "--min-height", "5", "--yes-height", "5")
    kept = path.with_name(f"{path.name}.old-1")
    assert (done.returncode, burnt(home), kept.read_bytes()) == (0, 5, left), done.stderr


def test_no_mark_is_exported_over_a_key(home: Path) -> None:
    assert inside.cmkms("recover", "--home", str(home), "--min-height", "5", "--yes-height", "5").returncode == 0
    key = home / "priv" / "priv_validator_key.json"
    before = key.read_bytes()
    done = inside.cmkms("state", "export", "--home", str(home), "--out", str(key))
    assert (done.returncode, key.read_bytes()) == (StateError.exit_code, before)
    assert "it is a key. It is left as it is; cure: another --out" in done.stderr


@pytest.mark.parametrize("state", [None, '{"height":"9'])
def test_a_start_that_finds_neither_state_file_nor_store_names_the_recovery(home: Path, state: str | None) -> None:
    """Not the file alone: one that says 0 would be the next thing that is refused."""
    assert cmkms("recover", "--home", str(home), "--min-height", "5", "--yes-height", "5").returncode == 0
    store, path = home / "data" / "node0" / "promises", home / "priv" / "priv_validator_state.json"
    store.unlink()
    path.unlink()
    if state:
        path.write_text(state)
    with pytest.raises(StateError, match="what it promised is lost, so it does not sign") as caught:
        open_node(files_of(load_settings(home, Flags())), choose.load())
    assert f"{store} is missing" in caught.value.what
    assert str(path) in caught.value.what
    assert "put both back, as this node left it; else, read the chain's head" in caught.value.cure
    # as it says
    assert cmkms("recover", "--home", str(home), "--min-height", "8", "--yes-height", "8").returncode == 0
    opened = open_node(files_of(load_settings(home, Flags())), choose.load())
    assert opened.store.mark(opened.rows[0]).hrs.height == 8
    opened.store.close()


def test_a_member_that_lost_both_is_told_how_the_others_give_it_back(cluster: Path) -> None:
    home = cluster / "node2"
    opened = open_node(files := files_of(load_settings(home, Flags())), choose.load())
    opened.store.close()
    files.store_path.unlink()
    (state := home / "priv" / "priv_validator_state.json").unlink()
    with pytest.raises(StateError) as caught:
        open_node(files, choose.load())
    said = re.search(r"else, while all others run, write (\{.*\}) into the state file and start", caught.value.cure)
    assert said, caught.value.cure
    state.write_text(said[1])
    opened = open_node(files, choose.load())
    assert opened.store.header.state is NodeState.RECOVERING, "it signs nothing before it has read the others"
    opened.store.close()


def test_a_state_file_of_another_chain_is_not_lost_and_not_replaced(home: Path) -> None:
    path = home / "priv" / "priv_validator_state.json"
    state_file.save(path, Watermark(HRS(900, 0, 2), sign_bytes(900, chain="other-1"), bytes(64)))
    before = path.read_bytes()
    done = cmkms("recover", "--home", str(home), "--min-height", "5", "--yes-height", "5")
    assert (done.returncode, burnt(home), path.read_bytes()) == (5, None, before)
    assert "is of the chain 'other-1'" in done.stderr


@pytest.mark.parametrize("name", ["priv_validator_state.json.c-1@1", "priv_validator_state.c-1.json"])
def test_what_a_rename_kept_is_never_undercut(home: Path, name: str) -> None:
    (home / "priv" / name).write_text('{"height":"900","round":0,"step":3}')
    done = cmkms("recover", "--home", str(home), "--min-height", "5", "--yes-height", "5")
    assert (done.returncode, burnt(home)) == (0, 900), done.stderr
    (home / "priv" / name).write_text('{"height":"9')
    done = cmkms("recover", "--home", str(home), "--min-height", "5", "--yes-height", "5")
    assert (done.returncode, burnt(home)) == (5, 900), "what it says is not known"


@pytest.fixture
def renamed(home: Path) -> Path:
    """Its data/ is from before it went on as c-2, which it has begun since."""
    with locked_home(home):
        open_node(files_of(load_settings(home, Flags())), choose.load()).store.close()
    store = home / "data" / "node0" / "promises"
    old = store.read_bytes()
    assert inside.cmkms("chain", "rename", "--home", str(home), "--from", "c-1", "--to", "c-2", "--yes").returncode == 0
    config = home / "config.toml"
    config.write_text(config.read_text().replace('"c-1"', '"c-2"'))
    with locked_home(home):
        open_node(files_of(load_settings(home, Flags())), choose.load()).store.close()
    store.write_bytes(old)
    return home


@pytest.mark.parametrize(
    "asked",
    [
        ["export", "--to", "filepv", "out"],
        ["state", "export"],
        ["epoch", "seal", "--next", "node0,node1,node2", "--yes"],
        ["chain", "rename", "--from", "c-2", "--to", "c-3", "--yes"],
        ["doctor", "--json"],
    ],
)
def test_no_command_goes_by_a_store_from_before_the_chain_was_begun(renamed: Path, asked: list[str]) -> None:
    done = inside.cmkms(*asked, "--home", str(renamed))
    words = done.stdout + done.stderr
    assert done.returncode == (1 if asked[0] == "doctor" else 5), words
    assert "c-2: " in words
    assert "says that this node has begun this chain" in words
    assert "cmkms recover --min-height c-2=HEIGHT" in words


def test_nothing_is_renamed_to_what_the_store_forgot(renamed: Path) -> None:
    config = renamed / "config.toml"
    config.write_text(config.read_text().replace('"c-2"', '"c-1"'))
    done = inside.cmkms("chain", "rename", "--home", str(renamed), "--from", "c-1", "--to", "c-2", "--yes")
    assert (done.returncode, "c-2: " in done.stderr, "has begun this chain" in done.stderr) == (5, True, True)


def test_a_born_json_that_names_no_chains_is_told(tmp_path: Path) -> None:
    home = make_home(tmp_path / "home", Watermark(HRS(20, 0, 2)))
    (home / "data" / "node0" / "promises").unlink()
    done = inside.cmkms("recover", "--home", str(home), "--min-height", "30", "--yes-height", "30", "--json")
    assert (done.returncode, json.loads(done.stdout)["lost_unnamed"]) == (0, True), done.stderr
    assert "lost     which chains this home had begun is not known any more" in done.stderr


@pytest.mark.parametrize("members", [("node0",), ("node0", "node1", "node2")])
def test_a_member_is_told_that_it_alone_remembers_what_is_lost(tmp_path: Path, members: tuple[str, ...]) -> None:
    home = make_home(tmp_path / "node0", Watermark(HRS(20, 0, 2)), members)
    left_out = {"id": "zone", "key": PUBLIC.hex(), "lost": False}
    born = {"ids": ["node0"], "epoch": 1, "members": members, "chains": [left_out]}
    (home / "priv" / "born.json").write_text(json.dumps(born))
    done = inside.cmkms("recover", "--home", str(home), "--min-height", "30", "--yes-height", "30")
    assert (done.returncode, "lost     zone: " in done.stdout) == (0, True), done.stderr
    told = "above its head, the same on every member, all stopped: this node alone remembers that it is lost"
    assert (told in done.stdout) is (len(members) > 1)


def test_what_is_lost_of_a_configured_chain_names_the_other_key(tmp_path: Path) -> None:
    home = make_home(tmp_path / "home", Watermark(HRS(20, 0, 2)))
    chain = re.search(r'chain_id = "(.*)"', (home / "config.toml").read_text())
    assert chain is not None
    other = {"id": chain[1], "key": "ab" * 32, "lost": False}
    born = {"ids": ["node0"], "epoch": 1, "members": ["node0"], "chains": [other]}
    (home / "priv" / "born.json").write_text(json.dumps(born))
    done = inside.cmkms("recover", "--home", str(home), "--min-height", "30", "--yes-height", "30")
    assert f"lost     {chain[1]}: of the key {'ab' * 8}, which is not the one in its file" in done.stdout, done.stderr
    assert "it is not configured" not in done.stdout


def test_a_chain_that_is_left_out_is_told_as_lost(renamed: Path) -> None:
    """The store lacks c-2, so it is an old copy, and what it has of c-1 may be old, too."""
    done = inside.cmkms("recover", "--home", str(renamed), "--min-height", "9", "--yes-height", "9", "--json")
    assert (done.returncode, json.loads(done.stdout)["lost"]) == (0, ["c-1"])
    assert "lost     c-1: it is not configured, and what was promised there is not known any more" in done.stderr
    config = renamed / "config.toml"
    config.write_text(config.read_text().replace('"c-2"', '"c-1"'))
    done = inside.cmkms("doctor", "--home", str(renamed), "--json")
    assert "c-1: " in done.stdout
    assert "promised there is lost" in done.stdout
