"""`cmkms audit`: what it prints, what it exits with, and what it makes of a hostile log."""

import errno
import json
import os
import subprocess
from pathlib import Path

import pytest

from cometkms.audit.files import directory_of, files_in
from cometkms.model import Decision, Outcome, Reason
from tests.e2e.node import cmkms as in_a_process
from tests.unit.audit.logs import BEGAN, CHAINS, refused, signed, written
from tests.unit.cli.inside import cmkms

DECISIONS = [
    BEGAN,
    signed(1),
    signed(2),
    refused(2),
    signed(2, chain=1),
    Decision(Outcome.UNANSWERED, Reason.NO_PERMIT),
]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    done = cmkms("init", "--home", str(home), "--id", "node0", "--chain-id", "c-1", "--validator-addr", "tcp://a:1")
    assert done.returncode == 0, done.stderr
    written(directory_of(home, "node0"), DECISIONS)
    return home


def audit(home: Path, *arguments: str) -> "tuple[int, list[str], str]":
    done = cmkms("audit", *arguments, "--home", str(home))
    return done.returncode, done.stdout.splitlines(), done.stderr


def test_a_whole_log_is_told_with_its_head(home: Path) -> None:
    code, lines, _ = audit(home, "verify")
    assert (code, lines[-1]) == (0, "whole")
    assert "decisions 3 signed, 0 repeated, 1 refused, 1 unanswered" in lines
    head = next(line.split()[1] for line in lines if line.startswith("head"))
    assert audit(home, "verify", "--expect", head)[0] == 0
    code, lines, _ = audit(home, "verify", "--expect", head.replace("8:", "7:"))
    assert (code, lines[-1]) == (1, "NOT WHOLE")
    _, lines, _ = audit(home, "verify", "--json")
    document = json.loads("\n".join(lines))
    assert (document["head"], document["whole"], document["broken"], document["alarms"]) == (head, True, [], [])


def test_a_broken_log_is_told_with_file_line_and_seq(home: Path) -> None:
    (path,) = files_in(directory_of(home, "node0"))
    path.write_bytes(path.read_bytes().replace(b'"height":1,', b'"height":3,'))
    code, lines, _ = audit(home, "verify")
    assert (code, lines[-1]) == (1, "NOT WHOLE")
    assert "BROKEN    000000000001.jsonl, line 3, behind seq 2: its hash does not follow" in lines
    code, lines, _ = audit(home, "verify", "--json")
    assert code == 1
    broken = {"file": path.name, "line": 3, "seq": 2, "why": "its hash does not follow"}
    assert json.loads("\n".join(lines))["broken"] == [broken]


def test_what_is_lacking_is_noted(home: Path) -> None:
    # of a life it knows: only the last is new
    written(directory_of(home, "node0"), [*DECISIONS, signed(9)])
    (path,) = files_in(directory_of(home, "node0"))
    path.write_bytes(path.read_bytes() + b'{"seq":12')
    written(directory_of(home, "node0"), [])
    code, lines, _ = audit(home, "verify")
    assert code == 0
    assert any("1 half lines" in line for line in lines if line.startswith("note"))


@pytest.mark.parametrize(
    ("arguments", "seqs"),
    [
        ((), [1, 2, 3, 4, 5, 6, 7, 8]),
        (("--height", "2"), [4, 5, 6]),
        (("--height", "2", "--chain", CHAINS[1]), [6]),
        (("--outcome", "signed"), [3, 4, 6]),
        (("--outcome", "signed", "--tail", "1"), [6]),
        (("--outcome", "unanswered"), [7]),
        (("--tail", "2"), [7, 8]),
        (("--height", "77"), []),
        (("--chain", "elsewhere"), []),
    ],
)
def test_filters_choose_lines(arguments: tuple[str, ...], seqs: list[int], home: Path) -> None:
    code, lines, _ = audit(home, "show", *arguments)
    assert (code, [int(line.split()[0]) for line in lines]) == (0, seqs)
    _, lines, _ = audit(home, "show", *arguments, "--json")
    (path,) = files_in(directory_of(home, "node0"))
    assert set(lines) <= set(path.read_text().splitlines())
    assert [json.loads(line)["seq"] for line in lines] == seqs


def test_what_a_log_holds_cannot_write_to_the_terminal(tmp_path: Path) -> None:
    written(tmp_path, [BEGAN, signed(1)], chains=["c\x1b[2J\n"], node="n\x1b]0;x\x07")
    for command in ("show", "verify"):
        done = cmkms("audit", command, "--dir", str(tmp_path))
        assert done.returncode == 0
        assert "\x1b" not in done.stdout
        assert "\x07" not in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("verify", "--dir", "nowhere"), "there is no audit log"),
        (("show", "--dir", "nowhere"), "there is no audit log"),
        (("verify", "--dir", "."), "holds no file of an audit log"),
        (("verify", "--expect", "5"), "SEQ:HASH"),
        (("verify", "--expect", f"5:{'A' * 64}"), "SEQ:HASH"),
        (("show", "--tail", "0"), "--tail"),
        (("show", "--outcome", "blessed"), "--outcome"),
        (("show", "--height", "-1"), "--height"),
    ],
)
def test_bad_input_is_told_and_exits_with_2(
    arguments: tuple[str, ...], words: str, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, lines, stderr = audit(home, *arguments)
    assert (code, lines) == (2, [])
    assert words in stderr
    assert "Traceback" not in stderr
    assert ("Usage:" in stderr) == ("no audit log" not in words and "no file" not in words)


def test_a_filter_that_nothing_passes_says_so(home: Path) -> None:
    """A chain's name with a slip is not taken for a chain of which nothing was asked."""
    for more in ((), ("--json",), ("--tail", "3")):
        code, lines, said = audit(home, "show", "--chain", "no-such-chain", *more)
        assert (code, lines, said) == (0, [], f"nothing of the kind is in {directory_of(home, 'node0')}\n")
    assert audit(home, "show", "--height", "1")[2] == ""


def test_a_log_that_cannot_be_read_is_not_said_not_to_be_there(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(_: Path) -> list[Path]:
        raise PermissionError(errno.EACCES, "Permission denied")

    assert (
        audit(home, "show", "--dir", str(home / "none"))[2].partition("; cure: ")[0].endswith("; there is no audit log")
    )
    monkeypatch.setattr("cometkms.cli.audit.files_in", closed)
    assert audit(home, "show")[2].endswith(
        "cannot be read: permission denied; cure: run this as the node's user, to whom it must belong\n"
    )


def test_who_reads_no_more_is_no_log_that_cannot_be_read(home: Path) -> None:
    """As in `cmkms audit show | head`."""
    gone, output = os.pipe()
    os.close(gone)
    with os.fdopen(output, "wb") as pipe:
        shown = in_a_process(
            "audit", "show", "--home", str(home), capture_output=False, stdout=pipe, stderr=subprocess.PIPE
        )
    assert shown.stderr == ""
