"""Verification: whatever is changed, left out, moved or doubled is found, and where."""

import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cometkms.audit.files import Report, files_in, first_seq_of, name_of, verify
from cometkms.audit.lines import NO_HASH
from cometkms.model import Decision, Outcome, Reason
from tests.unit.audit.logs import BEGAN, ENDED, LIFE, make, one_after_another, refused, signed, written

STORY = [
    BEGAN,
    *(signed(height) for height in range(1, 8)),
    refused(5),
    Decision(Outcome.UNANSWERED, Reason.NO_PERMIT),
    *(signed(height, chain=1) for height in range(1, 8)),
    ENDED,
]
SMALL = 4096  # bytes a file: a few lines each


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("audit") / "audit"
    written(directory, STORY, file_bytes=SMALL)
    assert len(files_in(directory)) >= 3
    return directory


def lines_in(directory: Path) -> list[tuple[Path, bytes]]:
    return [(path, line) for path in files_in(directory) for line in path.read_bytes().splitlines(keepends=True)]


def rewrite(directory: Path, lines: list[tuple[Path, bytes]]) -> None:
    for path in files_in(directory):
        path.write_bytes(b"".join(line for where, line in lines if where == path))


def copy_of(directory: Path, into: Path) -> Path:
    shutil.rmtree(into, ignore_errors=True)
    shutil.copytree(directory, into)
    return into


def test_a_whole_log_is_found_whole(whole: Path) -> None:
    report = verify(whole)
    assert report.whole
    assert report.notes == []
    assert report.lines == len(lines_in(whole)) == report.walk.seq
    assert dict(report.walk.counts.items() & {"signed": 14, "refused": 1, "unanswered": 1, "closed": 1}.items())
    assert verify(whole, {report.walk.seq: report.walk.head}).whole


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_any_changed_byte_is_found(whole: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    directory = copy_of(whole, tmp_path_factory.getbasetemp() / "flipped")
    path = data.draw(st.sampled_from(files_in(directory)))
    content = bytearray(path.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    value = data.draw(st.integers(0, 255).filter(lambda one: one != content[at]))
    line = content.count(b"\n", 0, at) + 1
    content[at] = value
    path.write_bytes(content)
    report = verify(directory)
    assert report.broken[0].file == path.name
    assert report.broken[0].line == line
    assert len(report.broken) == 1


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_line_left_out_doubled_or_moved_is_found(
    whole: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    directory = copy_of(whole, tmp_path_factory.getbasetemp() / "moved")
    head = {(walk := verify(whole).walk).seq: walk.head}
    lines = lines_in(directory)
    one = data.draw(st.integers(0, len(lines) - 1))
    what = data.draw(st.sampled_from(["left out", "doubled", "moved", "cut off"]))
    if what == "left out":
        del lines[one]
    elif what == "doubled":
        lines.insert(one, lines[one])
    elif what == "cut off":
        del lines[one:]
    else:
        other = data.draw(st.integers(0, len(lines) - 1).filter(lambda index: index != one))
        text = lines[one]
        del lines[one]
        lines.insert(other, (lines[min(other, len(lines) - 1)][0], text[1]))
    rewrite(directory, lines)
    assert not verify(directory, head).whole


def test_without_a_head_noted_down_elsewhere_a_cut_end_is_not_seen(whole: Path, tmp_path: Path) -> None:
    """Which is why verify prints it."""
    directory = copy_of(whole, tmp_path / "audit")
    lines = lines_in(directory)
    rewrite(directory, lines[:-3])
    assert verify(directory).whole
    report = verify(directory, {len(lines): "ab" * 32})
    assert report.alarms == [f"NOT AS EXPECTED: there is no seq {len(lines)}; the lines here are 1 to {len(lines) - 3}"]
    report = verify(whole, {len(lines): "ab" * 32})
    assert f"seq {len(lines)} has the hash" in report.alarms[0]


@pytest.mark.parametrize("number", [0, 1, -1])
def test_a_missing_file_is_found(number: int, whole: Path, tmp_path: Path) -> None:
    directory = copy_of(whole, tmp_path / "audit")
    head = {(walk := verify(whole).walk).seq: walk.head}
    gone = files_in(directory)[number]
    gone.unlink()
    report = verify(directory, head)
    assert not report.whole
    told = [str(one) for one in report.broken] + report.alarms
    assert {0: "MISSING: the log begins at seq", 1: "seq", -1: "NOT AS EXPECTED"}[number] in told[0]


def test_a_renamed_file_is_found(whole: Path, tmp_path: Path) -> None:
    directory = copy_of(whole, tmp_path / "audit")
    last = files_in(directory)[-1]
    last.rename(directory / name_of(first_seq_of(last) + 1))
    assert "not that of its name" in verify(directory).broken[0].why


def test_after_a_break_the_next_file_is_checked_by_itself(whole: Path, tmp_path: Path) -> None:
    directory = copy_of(whole, tmp_path / "audit")
    for path in files_in(directory):
        content = bytearray(path.read_bytes())
        content[-2] ^= 1
        path.write_bytes(content)
    report = verify(directory)
    assert [one.file for one in report.broken] == [path.name for path in files_in(directory)]


# --- what may be ---


def test_what_rotation_took_away_is_told_with_its_last_hash(tmp_path: Path) -> None:
    log = make(tmp_path, file_bytes=SMALL, max_bytes=3 * SMALL)
    log.open()
    before = ""
    for number, message in enumerate(one_after_another([BEGAN, *(signed(height) for height in range(1, 60))])):
        log.take([message])
        log.flush()
        if number == 2:
            before = log.head
    log.close()
    assert sum(path.stat().st_size for path in files_in(tmp_path)) <= 3 * SMALL
    assert len(files_in(tmp_path)) >= 2
    report = verify(tmp_path)
    assert report.whole
    assert report.walk.first_seq == first_seq_of(files_in(tmp_path)[0]) > 1
    assert report.walk.first_prev != before != ""


def test_an_unfinished_last_line_is_a_note_and_not_a_break(whole: Path, tmp_path: Path) -> None:
    """A node writes it just now, or was killed there."""
    directory = copy_of(whole, tmp_path / "audit")
    path = files_in(directory)[-1]
    content = path.read_bytes()
    path.write_bytes(content[:-40])
    report = verify(directory)
    assert report.whole
    assert "unfinished line" in report.notes[0]
    path.write_bytes(content[:-1])
    report = verify(directory)
    assert (report.whole, report.notes, report.walk.seq) == (True, [], len(lines_in(whole)))


def test_a_file_that_grows_and_is_followed_by_another_while_it_is_read(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = copy_of(whole, tmp_path / "audit")
    last, content = files_in(directory)[1:], {}
    for path in last:
        content[path] = path.read_bytes()
        path.unlink()
    first = files_in(directory)[0]
    half = first.read_bytes()
    first.write_bytes(half[: len(half) // 2])
    from cometkms.audit import files

    real, fed = files.feed, 0

    def grow(*arguments: object) -> object:
        nonlocal fed
        fed += 1
        if fed == 1:
            with first.open("ab") as file:
                file.write(half[len(half) // 2 :])
            for path, text in content.items():
                path.write_bytes(text)
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(files, "feed", grow)
    report = verify(directory)
    assert (report.whole, report.lines) == (True, len(lines_in(whole)))


def test_a_file_that_rotation_removes_while_it_is_read(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = copy_of(whole, tmp_path / "audit")
    gone = files_in(directory)[1]
    real = Path.open

    def opened(path: Path, *arguments: object) -> object:
        gone.unlink(missing_ok=True)
        return real(path, *arguments)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", opened)
    report = verify(directory)
    assert report.broken == []
    assert gone.name in report.notes[0]


# --- what was signed ---


def report_of(directory: Path, decisions: list[Decision]) -> Report:
    written(directory, [BEGAN, *decisions], file_bytes=SMALL)
    return verify(directory)


def test_two_signatures_for_one_place_are_told_loudly(tmp_path: Path) -> None:
    report = report_of(tmp_path, [signed(1), signed(2), signed(2, block=b"x")])
    assert not report.whole
    assert report.alarms[0].startswith("DOUBLE SIGNATURE: chain c-1, 2/0/3: ")
    assert "line seq 5" in report.alarms[0]


def test_two_signatures_far_apart_are_found_in_a_second_reading(tmp_path: Path) -> None:
    """More places than are remembered lie between them."""
    from cometkms.audit import walk

    many = [signed(height) for height in range(1, 20)]
    assert len(many) < walk._PLACES_MAX
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(walk, "_PLACES_MAX", 5)
        report = report_of(tmp_path, [*many, signed(2, block=b"x")])
    assert [one.partition(":")[0] for one in report.alarms] == ["DOUBLE SIGNATURE", "SIGNED BELOW THE WATERMARK"]


def test_a_signature_below_an_earlier_one_is_told(tmp_path: Path) -> None:
    report = report_of(tmp_path, [signed(5), signed(4)])
    assert [one.partition(":")[0] for one in report.alarms] == ["SIGNED BELOW THE WATERMARK"]


@pytest.mark.parametrize(
    "decisions",
    [
        [signed(1), signed(1)],  # the same bytes: after a crash
        [signed(2), signed(1, chain=1)],  # chains know nothing of each other
        [signed(2), refused(1), refused(2)],
    ],
)
def test_what_is_no_double_signature(decisions: list[Decision], tmp_path: Path) -> None:
    assert report_of(tmp_path, decisions).whole


# --- lines that a writer could not have written, with a hash that follows ---


DECISION = {
    **dict.fromkeys(("chain", "kind", "reason", "bytes", "block", "validator", "identity"), ""),
    **dict.fromkeys(("height", "round", "step", "us"), 0),
}
HEAD = {"node": "n", "version": "1", "oldest": 1, "torn": "", "life": f"{LIFE:016x}", "number": 2}


@pytest.mark.parametrize(
    ("what", "values", "words"),
    [
        ("signed", {**DECISION, "number": 4}, "decision 4 follows decision 2, and none is said to be dropped"),
        ("signed", {**DECISION, "number": 2}, "decision 2 follows decision 2"),
        ("ended", {"number": 9}, "decision 9 follows decision 2"),
        ("began", {"life": "a" * 16, "number": 2, "before": "ended"}, "decision 2 follows decision 2"),
        ("rotated", {**HEAD, "prev": NO_HASH}, "rotated stands at a file's beginning only"),
        ("reopened", {**HEAD, "prev": NO_HASH}, "reopened stands at a file's beginning only"),
        ("opened", {**HEAD, "prev": NO_HASH}, "does not say how the line before left it"),
        ("opened", {**HEAD, "prev": None, "number": 1}, "does not say how the line before left it"),
        ("opened", {**HEAD, "prev": None, "torn": f"5:{NO_HASH}"}, "a half line before it, and there is none"),
    ],
)
def test_lines_that_contradict_each_other_are_found_though_their_hashes_follow(
    what: str, values: dict[str, object], words: str, tmp_path: Path
) -> None:
    log = make(tmp_path)
    log.open()
    log.take(one_after_another([BEGAN, signed(1)]))
    log._append(what, **{key: log.head if value is None else value for key, value in values.items()})
    log.close()
    report = verify(tmp_path)
    assert (report.broken[0].line, report.broken[0].seq) == (4, 3)
    assert words in report.broken[0].why


@pytest.mark.parametrize(
    ("name", "seq"), [("000000000001.jsonl", 1), ("000000012345.jsonl", 12345), ("1000000000000.jsonl", 10**12)]
)
def test_a_file_is_named_by_its_first_line(name: str, seq: int) -> None:
    assert (name_of(seq), first_seq_of(Path(name))) == (name, seq)


@pytest.mark.parametrize("name", ["1.jsonl", "0000000000001.jsonl", "000000000001.json", "000000000001.jsonl.gz", "x"])
def test_other_files_in_the_directory_are_none_of_it(name: str) -> None:
    assert first_seq_of(Path(name)) == 0
