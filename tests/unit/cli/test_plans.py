"""A plan writes nothing: not one byte of one file of the home or of what it looks at is another
after a command that only says what it would do, or was not confirmed, and no file and no directory
is there that was not. The lock file too holds what it held: the pid of the node that ran last.
"""

import io
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cometkms.cli.commands import cli
from cometkms.limits import BLOCK_BYTES
from cometkms.model import HRS, Row, Watermark
from cometkms.rules.birth import NodeState
from cometkms.store.home_born import write_born
from cometkms.store.lock import LOCK_NAME
from cometkms.store.node_files import ChainFiles, NodeFiles
from cometkms.store.promise_store import Header, PromiseStore
from tests.unit.cli.fake_node import FakeNode
from tests.unit.cli.inside import cmkms
from tests.unit.cli.test_chain import KNOWN
from tests.unit.cli.test_export import CHAIN, make_home
from tests.unit.cli.test_json import leaves
from tests.unit.operator.drill.test_view import answer
from tests.unit.store.test_promise_store import PUBLIC

RAN_LAST = b"4711\n"
MEMBERS = ("node0", "node1", "node2")
NEXT = "node3=127.0.0.1:9999"


class Ground:
    """One node alone, one of three that is sealed since, one that recovers, and another signer's
    files.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.alone = make_home(path / "alone", Watermark(HRS(20, 0, 2)))
        self.stopped = make_home(path / "node0", Watermark(HRS(20, 0, 2)), MEMBERS)
        self.sealed = make_home(path / "node1", Watermark(HRS(20, 0, 2)), MEMBERS, "node1")
        self.recovering = make_home(path / "node2", Watermark(), MEMBERS, "node2")
        for home in (self.stopped, self.sealed):
            chains = (ChainFiles(Row(PUBLIC, CHAIN), home / "priv" / "priv_validator_state.json"),)
            write_born(NodeFiles.at(home, home.name, chains, MEMBERS))
        lost = self.store(self.recovering)
        lost.unlink()
        header = Header("node2", 1, MEMBERS, NodeState.RECOVERING, bytes(8))
        PromiseStore.create(lost, header, [(Row(PUBLIC, CHAIN), Watermark())]).close()
        self.seals = []
        for home in (self.sealed, make_home(path / "other" / "node2", Watermark(HRS(19, 0, 2)), MEMBERS, "node2")):
            done = cmkms("epoch", "seal", "--home", str(home), "--next", "node0,node1,node3", "--yes")
            assert done.returncode == 0, done.stderr
            self.seals.append(path / f"{home.name}.seal")
            self.seals[-1].write_text(done.stdout)
        self.seal_files = [word for seal in self.seals for word in ("--seal-file", str(seal))]
        self.old = path / "old"
        self.old.mkdir()
        for name in ("priv_validator_key.json", "priv_validator_state.json"):
            (self.old / name).write_bytes((self.alone / "priv" / name).read_bytes())
            (self.old / name).chmod(0o600)

        for home in (self.alone, self.stopped, self.sealed, self.recovering):
            (home / LOCK_NAME).write_bytes(RAN_LAST)

    def store(self, home: Path) -> Path:
        (found,) = (home / "data").glob("*/promises")
        return found


@pytest.fixture
def ground(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ground:
    """With nobody there who could confirm anything."""
    made = Ground(tmp_path)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    return made


#: The home, the arguments behind it, and the words with which the command says that it only looked.
Plan = Callable[[Ground], tuple[Path, list[str], str]]
NOBODY = "nobody is there"
HEIGHT = ("--min-height", "90", "--yes-height", "90")
PLANS: dict[str, list[Plan]] = {
    "chain rename": [
        lambda on: (on.alone, ["--from", CHAIN, "--to", "b"], "Nothing was changed"),
        lambda on: (on.stopped, ["--from", CHAIN, "--to", "b"], "Nothing was changed"),
    ],
    "chain reset": [lambda on: (on.alone, [CHAIN, "--height", "5"], NOBODY)],
    "import": [lambda on: (on.alone, ["--from", "filepv", str(on.old)], "Nothing was changed")],
    "export": [
        lambda on: (on.alone, ["--to", "filepv", str(on.path / "out")], "Nothing was changed"),
        lambda on: (
            on.sealed,
            ["--to", "tmkms", str(on.path / "out"), "--seal-file", str(on.seals[1]), *HEIGHT],
            "Nothing was changed",
        ),
    ],
    "recover": [
        lambda on: (on.alone, ["--min-height", "90"], NOBODY),
        lambda on: (on.recovering, ["--from-store", str(on.store(on.stopped))], NOBODY),
    ],
    "epoch seal": [lambda on: (on.stopped, ["--next", "node0,node3"], "was not confirmed")],
    "epoch begin": [lambda on: (on.sealed, ["--min-height", "90", *on.seal_files], NOBODY)],
    "member add": [lambda on: (on.stopped, [NEXT], "was not confirmed")],
    "member remove": [lambda on: (on.stopped, ["node2"], "was not confirmed")],
    "member replace": [lambda on: (on.stopped, ["node2", NEXT], "was not confirmed")],
}
#: These ask a node that runs, which changes nothing of the home that is here.
RUNNING: dict[str, tuple[list[str], dict[str, object], str]] = {
    "chain admit": ([CHAIN, "--height", "5000"], KNOWN, NOBODY),
    "drill": (["--dry-run"], answer(), "nothing was done"),
}


def test_every_command_that_does_something_only_when_it_is_confirmed_is_here() -> None:
    said = {"--yes", "--yes-height", "--dry-run"}
    found = {name for name, command in leaves(cli) if any(said & set(one.opts) for one in command.params)}
    assert found == PLANS.keys() | RUNNING.keys()


@pytest.mark.parametrize(
    ("name", "plan"),
    [pytest.param(name, plan, id=f"{name} {n}") for name, plans in PLANS.items() for n, plan in enumerate(plans)],
)
def test_a_plan_changes_no_byte(ground: Ground, name: str, plan: Plan) -> None:
    home, arguments, words = plan(ground)
    before = tree(ground.path)
    done = cmkms(*name.split(), "--home", str(home), *arguments)
    assert words in done.stdout + done.stderr, done
    assert changed(before, tree(ground.path)) == []


@pytest.mark.parametrize("name", RUNNING)
def test_a_question_to_a_node_that_runs_changes_no_byte(ground: Ground, name: str) -> None:
    arguments, said, words = RUNNING[name]
    node = FakeNode(ground.stopped, "node0", said)
    before = tree(ground.path)
    try:
        done = cmkms(*name.split(), "--home", str(ground.stopped), *arguments)
    finally:
        node.close()
    assert words in done.stdout + done.stderr, done
    assert changed(before, tree(ground.path)) == []


@pytest.mark.parametrize(
    "looks", ["state show", "state export", "epoch show", "doctor", "config show", "config check", "keys show"]
)
def test_who_only_shows_changes_no_byte(ground: Ground, looks: str) -> None:
    before = tree(ground.path)
    for home in (ground.alone, ground.sealed, ground.recovering):
        done = cmkms(*looks.split(), "--home", str(home))
        refused = looks == "state export" and home != ground.alone
        assert done.stderr.startswith("Error: ") if refused else done.stdout, done
    assert changed(before, tree(ground.path)) == []


def tree(path: Path) -> dict[str, bytes]:
    """Every file with what is in it, and every directory."""
    return {
        f"{one.relative_to(path)}{'/' if one.is_dir() else ''}": one.read_bytes() if one.is_file() else b""
        for one in path.rglob("*")
    }


def changed(before: dict[str, bytes], after: dict[str, bytes]) -> list[str]:
    """The files that differ, and of a store the blocks."""
    found = sorted(name for name in before.keys() ^ after.keys())
    for name in before.keys() & after.keys():
        old, new = before[name], after[name]
        if old != new:
            blocks = [at // BLOCK_BYTES for at in range(0, max(len(old), len(new)), BLOCK_BYTES)
                      if old[at : at + BLOCK_BYTES] != new[at : at + BLOCK_BYTES]]  # fmt: skip
            found.append(f"{name}, blocks {blocks}")
    return found
