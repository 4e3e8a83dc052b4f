"""The contract with a peer's script, and what is asked of whatever it starts."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.peers import CANNOT, CHUNK, KINDS, Loop, Unmeasured, members, run, settle, started
from tests.e2e.node import CHAIN, environment, until

ADDRESS = "tcp://127.0.0.1:9"  # no free port begins with it
SCRIPTS = Path(__file__).resolve().parents[3] / "benchmarks" / "peer_scripts"
#: Script → the variable that names its binary.
BINARIES = {
    "cometkms-go": "CMKMS_BENCH_COMETKMS_GO",
    "horcrux": "CMKMS_BENCH_HORCRUX",
    "tmkms": "CMKMS_BENCH_TMKMS",
}


@pytest.fixture
def script(tmp_path: Path) -> Callable[..., Path]:
    def make(body: str, name: str = "script") -> Path:
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)
        return path

    return make


def ended(path: Path, directory: Path, nodes: int = 1) -> str:
    """Why it gave no figures."""
    with started(path, directory, ADDRESS, nodes) as running:
        until("the script ends", lambda: running.process.poll() is not None)
        with pytest.raises(Unmeasured) as caught:
            running.check()
    return str(caught.value)


@pytest.mark.parametrize("nodes", KINDS)
def test_a_script_gets_all_it_needs_to_start_a_signer(
    nodes: int, script: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMETKMS_ID", "a setting of this machine's own")
    body = 'ls -A "$CMKMS_BENCH_HOME" >../files; pwd >../where; env >../new; mv ../new ../seen; exec sleep 60'
    with started(script(body), tmp_path / "run", ADDRESS, nodes) as running:
        seen = tmp_path / "run" / "seen"
        until("it has told what it sees", seen.exists)
        running.check()
        given = dict(line.split("=", 1) for line in seen.read_text().splitlines() if "=" in line)
        key = json.loads(Path(given["CMKMS_BENCH_KEY"]).read_text())
    assert given["CMKMS_BENCH_ADDRESS"] == ADDRESS
    assert given["CMKMS_BENCH_CHAIN"] == CHAIN
    assert given["CMKMS_BENCH_NODES"] == str(nodes)
    assert len(set(given["CMKMS_BENCH_PORTS"].split(" "))) == 6
    assert key["priv_key"]["type"] == "tendermint/PrivKeyEd25519"
    assert (tmp_path / "run" / "files").read_text() == "", "an empty directory"
    assert (tmp_path / "run" / "where").read_text().strip() == given["CMKMS_BENCH_HOME"]
    assert "COMETKMS_ID" not in given


def test_every_run_has_a_key_of_its_own(script: Callable[..., Path], tmp_path: Path) -> None:
    keys = []
    for number in range(2):
        with started(script("sleep 60"), tmp_path / f"{number}", ADDRESS, 1):
            keys.append((tmp_path / f"{number}" / "key" / "priv" / "priv_validator_key.json").read_text())
    assert keys[0] != keys[1]


def test_what_a_script_started_ends_with_it_even_when_it_ignores_signals(
    script: Callable[..., Path], tmp_path: Path
) -> None:
    body = "trap '' TERM INT HUP; sleep 600 & (sleep 600 & sleep 600) & sleep 600"
    with started(script(body), tmp_path / "run", ADDRESS, 1) as running:
        group = running.process.pid
        until("all have started", lambda: len(members(group)) >= 5)
    assert members(group) == []


def test_what_a_script_left_behind_ends_too(script: Callable[..., Path], tmp_path: Path) -> None:
    with started(script("sleep 600 & exit 0"), tmp_path / "run", ADDRESS, 1) as running:
        group = running.process.pid
        until("the script ends", lambda: running.process.poll() is not None)
        assert len(members(group)) == 1
    assert members(group) == []


def test_exit_code_77_says_why_in_its_last_line(script: Callable[..., Path], tmp_path: Path) -> None:
    body = f"echo chatter; echo first >&2; echo 'no binary here' >&2; echo >&2; exit {CANNOT}"
    assert ended(script(body), tmp_path / "run") == "no binary here"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("echo a; echo 'no such flag' >&2; exit 3", "its script ended with 3: no such flag"),
        ("echo 'on standard output'; exit 1", "its script ended with 1: on standard output"),
        ("exit 0", "its script ended with 0: it said nothing"),
        ("echo went down >&2; kill -9 $$", "its script ended with -9: went down"),
    ],
)
def test_a_script_that_ends_is_told_with_its_last_word(
    body: str, reason: str, script: Callable[..., Path], tmp_path: Path
) -> None:
    assert ended(script(body), tmp_path / "run") == reason


def test_a_script_that_cannot_be_executed_is_told(script: Callable[..., Path], tmp_path: Path) -> None:
    path = script("sleep 60")
    path.chmod(0o644)
    for number, (one, reason) in enumerate([(path, "Permission denied"), (tmp_path / "none", "No such file")]):
        with pytest.raises(Unmeasured, match=reason), started(one, tmp_path / f"{number}", ADDRESS, 1):
            pass


class Answers:
    """A validator that gives these answers to sign and bench requests; the last one for ever.

    `key`: a signer is connected.
    """

    def __init__(self, *answers: dict[str, Any], key: bool = True) -> None:
        self.answers, self.key = list(answers), key
        self.asked: list[dict[str, Any]] = []

    def ask(self, **request: Any) -> dict[str, Any]:
        if request["cmd"] == "pub_key":
            return {"pub_key": "aa"} if self.key else {"error": "no connection"}
        self.asked.append(request)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


GOOD = {"verified": True, "ns": [5] * 3 * CHUNK}
BAD = {"error": "no leader", "remote": True}


def test_a_signer_is_asked_until_it_signs_never_twice_for_the_same() -> None:
    validator = Answers(BAD, {"error": "", "verified": False}, GOOD)
    settle(validator, lambda: None)
    assert [(one["height"], one["round"]) for one in validator.asked] == [(1, 0), (1, 1), (1, 2)]


@pytest.mark.parametrize(
    ("validator", "reason"),
    [
        (Answers(GOOD, key=False), "nothing was signed within 0.1 s: no connection"),
        (Answers(BAD), "nothing was signed within 0.1 s: no leader"),
        (Answers({"verified": False}), "nothing was signed within 0.1 s: a signature that does not verify"),
    ],
)
def test_patience_ends_with_the_last_reason(validator: Answers, reason: str) -> None:
    with pytest.raises(Unmeasured, match=f"^{reason}$"):
        settle(validator, lambda: None, patience_s=0.1)


def test_nobody_waits_for_a_script_that_has_ended() -> None:
    def check() -> None:
        raise Unmeasured("gone")

    with pytest.raises(Unmeasured, match="gone"):
        settle(Answers(GOOD, key=False), check)


def asked(validator: Answers) -> list[int]:
    return [height for one in validator.asked for height in range(one["height"], one["height"] + one["heights"])]


def test_every_height_is_asked_once_and_counted_once() -> None:
    validator = Answers(GOOD)
    loop = Loop(validator, 0)
    loop.ask(CHUNK, 60)
    assert len(loop.ask(3 * CHUNK, 60)) == 9 * CHUNK
    assert asked(validator) == list(range(2, 2 + 4 * CHUNK))
    loop.ask(CHUNK + 1, 60)
    assert [one["heights"] for one in validator.asked[-2:]] == [CHUNK, 1], "no more than was wanted"


def test_a_failed_request_is_counted_and_what_was_asked_with_it_is_asked_again_higher_up() -> None:
    validator = Answers(GOOD, BAD, GOOD)
    loop = Loop(validator, 1)
    assert len(loop.ask(2 * CHUNK, 60)) == 6 * CHUNK
    assert loop.failed == 1
    assert asked(validator) == list(range(2, 2 + 3 * CHUNK))


def test_a_signer_that_fails_too_often_is_not_measured() -> None:
    loop = Loop(Answers(GOOD, BAD), 2)
    with pytest.raises(Unmeasured, match="no leader"):
        loop.ask(2 * CHUNK, 60)
    assert loop.failed == 3


def test_a_slow_signer_is_asked_for_less() -> None:
    assert Loop(Answers(GOOD), 0).ask(100 * CHUNK, 0.0) == GOOD["ns"], "something, at least"


@pytest.mark.parametrize("name", ["floor", "this project"])
def test_a_peer_cannot_take_a_name_that_is_taken(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=name):
        run({name: tmp_path}, tmp_path)


def test_each_script_has_a_variable_that_names_its_binary() -> None:
    assert {path.stem for path in SCRIPTS.iterdir()} == BINARIES.keys()


@pytest.mark.parametrize("name", BINARIES)
def test_a_script_without_its_binary_names_what_to_set(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(BINARIES[name], str(tmp_path / "none"))
    assert BINARIES[name] in ended(SCRIPTS / f"{name}.sh", tmp_path / "run")


@pytest.mark.parametrize("name", BINARIES)
def test_a_script_finds_its_binary_on_the_path(
    name: str, script: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(BINARIES[name], raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    script("echo found >&2; exit 5", name)
    assert ended(SCRIPTS / f"{name}.sh", tmp_path / "run") == "its script ended with 5: found"


def test_tmkms_has_no_cluster(tmp_path: Path) -> None:
    assert ended(SCRIPTS / "tmkms.sh", tmp_path / "run", 3) == "tmkms is one process, it has no cluster"


@pytest.mark.parametrize("name", BINARIES)
def test_another_number_of_nodes_is_refused(name: str, tmp_path: Path) -> None:
    variables = environment(
        **{BINARIES[name]: "true"},
        CMKMS_BENCH_NODES="2",
        CMKMS_BENCH_PORTS="1 2 3 4 5 6",
        CMKMS_BENCH_HOME=str(tmp_path),
    )
    done = subprocess.run([SCRIPTS / f"{name}.sh"], env=variables, capture_output=True, timeout=240, check=False)
    assert done.returncode == CANNOT
    assert list(tmp_path.iterdir()) == []


#: Stands in for a binary: notes how it was called; a start lasts. What it should make, it makes.
BINARY = """
echo "$*" >>"$CMKMS_BENCH_HOME/calls"
case "$*" in
start*node1* | start*cosigner_2*) [ -z "${ENDS:-}" ] || { echo 'disk full' >&2; exit 9; } ;;
esac
case "$*" in start*) exec sleep 600 ;; esac
"""


def calls(directory: Path) -> list[str]:
    path = directory / "home" / "calls"
    return path.read_text().splitlines() if path.exists() else []


@pytest.mark.parametrize(
    ("name", "nodes"), [("cometkms-go", 1), ("cometkms-go", 3), ("horcrux", 1), ("horcrux", 3), ("tmkms", 1)]
)
def test_each_script_starts_its_signers_and_one_of_them_dials(
    name: str, nodes: int, script: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(BINARIES[name], str(script(BINARY)))
    directory = tmp_path / "run"
    with started(SCRIPTS / f"{name}.sh", directory, ADDRESS, nodes) as running:
        until("all are started", lambda: sum(one.startswith("start") for one in calls(directory)) == nodes)
        running.check()
        homes = [word for one in calls(directory) if one.startswith("start") for word in one.split() if "/home" in word]
        said = calls(directory) + [path.read_text() for path in directory.rglob("*.toml")]
    assert len(set(homes)) == nodes, "each has a home of its own"
    dials = sum(ADDRESS in one for one in said)
    assert dials == (nodes if name == "cometkms-go" else 1), "of the Go CometKMS whichever leads"


@pytest.mark.parametrize("name", ["cometkms-go", "horcrux"])
def test_a_cluster_that_loses_a_node_ends(
    name: str, script: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(BINARIES[name], str(script(BINARY)))
    monkeypatch.setenv("ENDS", "1")
    assert ended(SCRIPTS / f"{name}.sh", tmp_path / "run", 3) == "its script ended with -15: disk full"
