"""The writer: what it takes is in the log or is said to be missing, whatever the disk does and
whenever it is killed.
"""

import contextlib
import errno
import json
import os
import random
import socket
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cometkms.audit.files import files_in, lines_of, name_of, verify
from cometkms.audit.lines import Line
from cometkms.limits import AUDIT_UID, AUDIT_VALIDATOR_MAX_BYTES, RAW_UNIQUE_ID_MAX_BYTES
from cometkms.model import BYTES_OUTCOMES, Decision, Kind, Outcome, Reason
from cometkms.wire.decisions import BytesNote
from tests.unit.audit.logs import (
    BEGAN,
    CHAINS,
    ENDED,
    LIFE,
    make,
    noted,
    one_after_another,
    refused,
    signed,
    written,
)
from tests.unit.hardening.child import in_child

SMALL = 4096
OWNER = (AUDIT_UID, AUDIT_UID) if os.geteuid() == 0 else (os.geteuid(), os.getegid())


def all_lines(directory: Path) -> list[Line]:
    return [line for path in files_in(directory) for line in lines_of(path, lambda _: True)]


def what(directory: Path) -> list[str]:
    return [line.what for line in all_lines(directory)]


class FailingDisk:
    """Takes `room` bytes more, then fails as told; `syncs` count down to failures."""

    def __init__(self) -> None:
        self.room: int | None = None
        self.error = errno.ENOSPC
        self.sync_error = 0

    def pread(self, fd: int, size: int, offset: int, /) -> bytes:
        return os.pread(fd, size, offset)

    def pwrite(self, fd: int, data: bytes, offset: int, /) -> int:
        if self.room is None:
            return os.pwrite(fd, data, offset)
        taken = data[: self.room]
        self.room -= len(taken)
        if not taken:
            raise OSError(self.error, os.strerror(self.error))
        return os.pwrite(fd, taken, offset)

    def fdatasync(self, fd: int, /) -> None:
        if self.sync_error:
            raise OSError(self.sync_error, os.strerror(self.sync_error))
        os.fdatasync(fd)


def test_a_decision_is_written_as_it_was_noted(tmp_path: Path) -> None:
    written(tmp_path, [BEGAN, signed(7, chain=1), refused(7)])
    line, other = all_lines(tmp_path)[2:4]
    fields = dict(line.fields)
    del fields["hash"], fields["at"]
    assert fields == {
        "seq": 3,
        "what": "signed",
        "number": 2,
        "chain": CHAINS[1],
        "height": 7,
        "round": 0,
        "step": 3,
        "kind": "sign_vote_request",
        "reason": "",
        "bytes": "6a30e1cdc3fa47a4b37b1ce15fc2f8a2a0c5e8dd3a4d51a19e4b3e8d04e1b0d9",
        "block": "62" * 32,
        "validator": "tcp://127.0.0.1:26658",
        "identity": "69" * 32,
        "us": 312,
    } | {"bytes": fields["bytes"]}
    import hashlib

    assert fields["bytes"] == hashlib.sha256(b"7" + b"b" * 32).hexdigest()
    assert (other.what, other.fields["reason"], other.fields["identity"]) == ("refused", "conflict", "")


def test_the_files_and_their_directory_are_the_users_alone_and_only_appended_to(tmp_path: Path) -> None:
    log = make(tmp_path / "audit")
    log.open()
    assert log.path is not None
    assert (tmp_path / "audit").stat().st_mode & 0o777 == 0o700
    assert log.path.stat().st_mode & 0o777 == 0o600
    flags = Path(f"/proc/self/fdinfo/{log._appender.fd}").read_text().split("flags:")[1].split()[0]
    assert int(flags, 8) & os.O_APPEND
    log.close()


def test_a_new_writer_goes_on_where_the_last_one_stopped(tmp_path: Path) -> None:
    for number in range(3):
        written(tmp_path, [], file_bytes=SMALL) if number else written(tmp_path, [BEGAN, signed(1), ENDED])
    assert what(tmp_path) == ["opened", "began", "signed", "ended", "closed", "opened", "closed", "opened", "closed"]
    report = verify(tmp_path)
    assert (report.whole, report.walk.unclean, len(report.files)) == (True, 0, 1)


def test_a_writer_that_was_killed_is_told_by_the_next(tmp_path: Path) -> None:
    log = make(tmp_path)
    log.open()
    log.take(one_after_another([BEGAN, signed(1)]))
    log.flush()
    again = make(tmp_path)
    again.open()
    again.take(one_after_another([signed(2)], 3))
    again.close()
    report = verify(tmp_path)
    assert (report.whole, report.walk.unclean, report.walk.dropped) == (True, 1, 0)
    assert what(tmp_path) == ["opened", "began", "signed", "opened", "signed", "closed"]


def test_signers_come_and_go(tmp_path: Path) -> None:
    log = make(tmp_path)
    log.open()
    log.take(one_after_another([BEGAN, signed(1)]))
    log.take(one_after_another([BEGAN, signed(2), ENDED], life=LIFE + 1))
    log.take(one_after_another([BEGAN], life=LIFE + 2))
    log.close()
    began = [line.fields for line in all_lines(tmp_path) if line.what == "began"]
    assert [fields["before"] for fields in began] == ["first", "unfinished", "ended"]
    assert [fields["life"] for fields in began] == [f"{LIFE + n:016x}" for n in range(3)]
    assert verify(tmp_path).whole


@pytest.mark.parametrize("numbers", [[1, 2, 5], [3, 4], [1, 9]])
def test_what_never_arrived_is_counted(numbers: list[int], tmp_path: Path) -> None:
    log = make(tmp_path)
    log.open()
    log.take([noted(number, BEGAN if number == 1 else signed(number)) for number in numbers])
    log.close()
    report = verify(tmp_path)
    missing = numbers[-1] - len(numbers)
    assert (report.whole, report.walk.dropped, log.dropped, report.walk.number) == (True, missing, missing, numbers[-1])
    (line,) = [line for line in all_lines(tmp_path) if line.what == "dropped"]
    assert line.fields["why"] == "the audit process did not take them in time"


def test_what_a_writer_had_taken_and_not_written_when_it_was_killed_is_counted_by_the_next(tmp_path: Path) -> None:
    log = make(tmp_path)
    log.open()
    log.take(one_after_another([BEGAN, signed(1)]))
    log.flush()
    log.take(one_after_another([signed(2), signed(3)], 3))  # and is killed
    again = make(tmp_path)
    again.open()
    again.take(one_after_another([signed(4)], 5))
    again.close()
    (line,) = [line for line in all_lines(tmp_path) if line.what == "dropped"]
    assert (line.fields["count"], line.fields["why"]) == (2, "the audit process was away")
    assert verify(tmp_path).whole


def test_what_comes_twice_is_written_once(tmp_path: Path) -> None:
    written(tmp_path, [BEGAN, signed(1)])
    log = make(tmp_path)
    log.open()
    log.take(one_after_another([signed(1), signed(2)], 2))
    log.close()
    assert what(tmp_path).count("signed") == 2
    assert verify(tmp_path).whole


@pytest.mark.parametrize(
    "wrong",
    [b"", b"x" * 49, bytes(50), b"\xff" * 504, noted(2, signed(1, chain=2)), noted(2, BEGAN), noted(0, signed(1))],
)
def test_what_cannot_be_read_is_left_out_and_its_number_is_missing(wrong: bytes, tmp_path: Path) -> None:
    """Shared memory is untrusted: the other side may be broken."""
    log = make(tmp_path)
    log.open()
    log.take([noted(1, BEGAN), wrong, noted(3, signed(5))])
    log.close()
    report = verify(tmp_path)
    assert (report.whole, report.walk.dropped, log.unreadable) == (True, 1, 1)


# --- rotation ---


def test_the_files_stay_below_their_bound_and_each_begins_with_the_head_of_the_one_before(tmp_path: Path) -> None:
    log = make(tmp_path, file_bytes=SMALL, max_bytes=4 * SMALL)
    log.open()
    for message in one_after_another([BEGAN, *(signed(height) for height in range(1, 80))]):
        log.take([message])
        log.flush()
        assert sum(path.stat().st_size for path in files_in(tmp_path)) == log.size <= 4 * SMALL
    log.close()
    firsts = [next(iter(lines_of(path, lambda _: True))) for path in files_in(tmp_path)]
    assert [line.what for line in firsts] == ["rotated"] * len(firsts)
    assert verify(tmp_path).whole


def test_many_files_in_one_batch_are_written_in_their_order(tmp_path: Path) -> None:
    written(tmp_path, [BEGAN, *(signed(height) for height in range(1, 80))], file_bytes=SMALL)
    assert len(files_in(tmp_path)) > 10
    assert verify(tmp_path).whole


def test_a_smaller_bound_holds_from_the_next_start(tmp_path: Path) -> None:
    written(tmp_path, [BEGAN, *(signed(height) for height in range(1, 80))], file_bytes=SMALL)
    written(tmp_path, [], file_bytes=SMALL, max_bytes=3 * SMALL)
    assert sum(path.stat().st_size for path in files_in(tmp_path)) <= 3 * SMALL
    assert verify(tmp_path).whole


# --- crashes ---


def test_a_tail_torn_at_any_byte_is_kept_marked_and_gone_on_behind(tmp_path: Path) -> None:
    source = tmp_path / "source"
    written(source, [BEGAN, signed(1), signed(2)])
    (path,) = files_in(source)
    content = path.read_bytes()
    begin = content.index(b'{"seq":4')
    ends = {number + more for number, byte in enumerate(content) if byte == ord("\n") for more in (0, 1)}
    for cut in sorted({*range(begin, len(content), 5), *(end for end in ends if end >= begin)}):
        directory = tmp_path / str(cut)
        directory.mkdir()
        torn = directory / path.name
        torn.write_bytes(content[:cut])
        written(directory, [])
        assert torn.read_bytes().startswith(content[:cut])
        report = verify(directory)
        assert report.whole, (cut, report.broken)
        assert report.walk.halves == (cut not in ends)


def test_a_file_that_was_made_and_not_written_to_is_made_anew(tmp_path: Path) -> None:
    written(tmp_path, [BEGAN, *(signed(height) for height in range(1, 9))], file_bytes=SMALL)
    seq = all_lines(tmp_path)[-1].seq
    (tmp_path / f"{seq + 1:012d}.jsonl").touch()
    written(tmp_path, [], file_bytes=SMALL)
    assert verify(tmp_path).whole


@pytest.mark.parametrize("tail", [b'{"seq":', b"\0" * 5000, b"x" * 9000])
@pytest.mark.parametrize("whole_lines", [0, 1])
def test_a_new_file_that_holds_no_more_than_a_half_line(tail: bytes, whole_lines: int, tmp_path: Path) -> None:
    log = make(tmp_path, file_bytes=SMALL)
    log.open()
    log.take(one_after_another([BEGAN, *(signed(height) for height in range(1, 9))]))
    log.flush()
    last = files_in(tmp_path)[-1]
    lines = last.read_bytes().splitlines(keepends=True)
    last.write_bytes(b"".join(lines[:whole_lines]) + tail)
    written(tmp_path, [], file_bytes=SMALL)
    report = verify(tmp_path)
    assert report.whole, report.broken
    assert report.walk.halves == 1


@pytest.mark.parametrize("more", [b"", b'{"seq":5', b"\0" * 9000, b"x" * 9000 + b"\n\n"])
def test_a_repair_that_was_cut_short_is_repaired(more: bytes, tmp_path: Path) -> None:
    """The newline behind the half line was written, and no whole line."""
    written(tmp_path, [BEGAN, signed(1)])
    (path,) = files_in(tmp_path)
    path.write_bytes(path.read_bytes() + b'{"seq":5,"at"\n' + more)
    written(tmp_path, [])
    report = verify(tmp_path)
    assert (report.whole, report.walk.halves) == (True, 1)


class PowerDisk(FailingDisk):
    """What was appended and not synced may be there, be cut off anywhere, or be zeros from
    somewhere on.
    """

    def __init__(self) -> None:
        super().__init__()
        self.synced: dict[Path, int] = {}

    def fdatasync(self, fd: int, /) -> None:
        self.synced[Path(os.readlink(f"/proc/self/fd/{fd}"))] = os.fstat(fd).st_size

    def power_fails(self, rng: random.Random, directory: Path) -> None:
        for path in files_in(directory):
            content = path.read_bytes()
            at = rng.randint(self.synced.get(path, 0), len(content))
            match rng.choice(["kept", "cut off", "zeros"]):
                case "cut off":
                    path.write_bytes(content[:at])
                case "zeros":
                    path.write_bytes(content[:at] + bytes(len(content) - at))


@settings(max_examples=80, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_a_power_cut_loses_no_more_than_what_was_not_synced(
    seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = tmp_path_factory.mktemp("power") / "audit"
    rng, number, durable = random.Random(seed), 0, set[int]()
    for _ in range(3):
        before = number
        disk = PowerDisk()
        disk.synced = {path: path.stat().st_size for path in files_in(directory)} if directory.exists() else {}
        log = make(directory, disk=disk)
        log.open()
        for _ in range(rng.randrange(1, 12)):
            number += 1
            log.take([noted(number, BEGAN if number == 1 else signed(number))])
            log.flush()
            if rng.random() < 0.3:
                log.sync()
                durable |= set(range(before + 1, number + 1))
        os.close(log._appender.fd)
        disk.power_fails(rng, directory)
    written(directory, [])
    report = verify(directory)
    assert report.whole, report.broken
    there = {line.fields["number"] for line in all_lines(directory) if line.what in ("signed", "began")}
    assert durable <= there
    assert number - len(there - {0}) >= report.walk.dropped


def test_a_file_that_was_changed_is_not_appended_to(tmp_path: Path) -> None:
    import hashlib

    written(tmp_path, [BEGAN, signed(1), signed(2)])
    (path,) = files_in(tmp_path)
    content = bytearray(path.read_bytes())
    content[content.index(b'"height":1') + 9] = ord("9")
    path.write_bytes(content)
    log = written(tmp_path, [BEGAN, signed(3)])
    assert log.changed == f"{path.name}: its hash does not follow"
    assert path.read_bytes() == content
    report = verify(tmp_path)
    assert (report.broken[0].file, report.broken[0].line, len(report.broken)) == (path.name, 3, 1)
    assert report.alarms[0].startswith("CHANGED")
    assert (
        next(iter(lines_of(files_in(tmp_path)[-1], lambda _: True))).fields["prev"]
        == hashlib.sha256(content).hexdigest()
    )
    path.unlink()
    assert verify(tmp_path).alarms  # the log itself remembers


@pytest.mark.parametrize(
    "planted", ["a directory", "a name beyond all", "a file without end", "a file that nobody may read"]
)
def test_what_a_thief_left_in_the_directory_ends_no_start(planted: str, tmp_path: Path) -> None:
    """The writer works there alone, so whoever was in it can leave what he likes; a node must start
    all the same, and say it.
    """
    written(tmp_path, [BEGAN, signed(1)])
    match planted:
        case "a directory":
            (tmp_path / name_of(1000)).mkdir()
        case "a name beyond all":
            (tmp_path / name_of(10**19)).write_bytes(b"x")
        case "a file without end":
            with (tmp_path / name_of(1000)).open("wb") as file:
                file.truncate(1 << 42)
        case _:
            (tmp_path / name_of(1000)).write_bytes(b"{}\n")
            (tmp_path / name_of(1000)).chmod(0)
    os.chown(tmp_path, *OWNER)
    for path in tmp_path.iterdir():
        os.chown(path, *OWNER)

    def life() -> list[object]:
        os.chdir(tmp_path)
        if os.geteuid() == 0:
            os.setresgid(*[OWNER[1]] * 3)
            os.setresuid(*[OWNER[0]] * 3)
        log = make(Path(), max_bytes=1 << 50)
        log.open()
        newest = log.path
        log.take(one_after_another([BEGAN, signed(2)], life=LIFE + 1))
        log.close()
        assert newest is not None
        return [log.changed, [line.what for line in lines_of(newest, lambda _: True)]]

    changed, lines = in_child(life)
    assert lines[-3:] == ["began", "signed", "closed"]
    if planted in ("a directory", "a name beyond all"):
        assert not changed
    else:
        assert lines[0] == "reopened"
        assert ("bytes, and no file" if planted == "a file without end" else "ermission denied") in changed


# --- disks that fail ---


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("room", [0, 1, 300, 700])
def test_what_the_disk_did_not_take_is_written_when_it_does(room: int, error: int, tmp_path: Path) -> None:
    disk = FailingDisk()
    log = make(tmp_path, disk=disk)
    log.open()
    disk.room, disk.error = room, error
    log.take(one_after_another([BEGAN, signed(1), signed(2)]))
    for _ in range(3):
        with pytest.raises(OSError, match=os.strerror(error)):
            log.flush()
    assert log.pending > 0
    disk.room = None
    log.flush()
    assert log.pending == 0
    log.take(one_after_another([signed(9)], 9))  # five were lost meanwhile
    log.close()
    report = verify(tmp_path)
    assert (report.whole, report.walk.halves, report.walk.dropped) == (True, 0, 5)
    (line,) = [line for line in all_lines(tmp_path) if line.what == "dropped"]
    assert line.fields["why"] == os.strerror(error).lower()


def test_a_sync_that_fails_is_in_the_log_once_an_episode(tmp_path: Path) -> None:
    disk = FailingDisk()
    log = make(tmp_path, disk=disk)
    log.open()
    disk.sync_error = errno.EIO
    for _ in range(3):
        with pytest.raises(OSError, match="Input/output"):
            log.sync()
    disk.sync_error = 0
    log.flush()
    log.sync()
    log.close()
    assert what(tmp_path) == ["opened", "unsynced", "closed"]
    assert verify(tmp_path).whole


def test_a_disk_that_fails_while_a_file_is_full_loses_nothing(tmp_path: Path) -> None:
    disk = FailingDisk()
    log = make(tmp_path, disk=disk, file_bytes=SMALL)
    log.open()
    disk.room, disk.sync_error = 5000, errno.EIO
    log.take(one_after_another([BEGAN, *(signed(height) for height in range(1, 20))]))
    with pytest.raises(OSError, match="No space"):
        log.flush()
    disk.room, disk.sync_error = None, 0
    log.flush()
    log.close()
    report = verify(tmp_path)
    assert report.whole
    assert report.walk.counts["signed"] == 19


def test_a_disk_that_fails_at_the_opening_is_tried_again(tmp_path: Path) -> None:
    disk = FailingDisk()
    disk.room = 10
    log = make(tmp_path, disk=disk)
    with pytest.raises(OSError, match="No space"):
        log.open()
    disk.room = None
    log.take(one_after_another([BEGAN, signed(1)]))
    log.close()
    assert what(tmp_path) == ["opened", "began", "signed", "closed"]


def test_what_the_operator_must_mend_is_tried_again(tmp_path: Path) -> None:
    (tmp_path / "audit").write_text("")
    log = make(tmp_path / "audit")
    with pytest.raises(OSError, match="no directory"):
        log.open()
    (tmp_path / "audit").unlink()
    log.open()
    log.close()
    assert what(tmp_path / "audit") == ["opened", "closed"]


@pytest.mark.parametrize("how", ["removed", "moved", "replaced", "removed with its directory"])
def test_a_file_that_is_gone_from_its_name_is_told_before_it_is_written_to(how: str, tmp_path: Path) -> None:
    directory, elsewhere = tmp_path / "audit", tmp_path / "elsewhere"
    log = make(directory)
    log.look()  # nothing is written to yet
    log.open()
    log.look()
    path = directory / name_of(1)
    path.unlink() if how == "removed" else path.rename(elsewhere)
    if how == "replaced":
        path.write_bytes(elsewhere.read_bytes())
    if how == "removed with its directory":
        directory.rmdir()
    with pytest.raises(OSError, match="another file stands" if how == "replaced" else "was removed, or moved away"):
        log.look()
    if how in ("moved", "replaced"):
        elsewhere.rename(path)
        log.look()
        log.close()
        assert what(directory) == ["opened", "closed"]


def a_socket(path: Path) -> None:
    with contextlib.chdir(path.parent), socket.socket(socket.AF_UNIX) as one:
        one.bind(path.name)


IN_THE_WAY = {
    "a FIFO": os.mkfifo,
    "a directory": Path.mkdir,
    "a socket": a_socket,
    "a link": lambda path: path.symlink_to("elsewhere"),
}


@pytest.mark.parametrize("name", IN_THE_WAY)
def test_what_stands_in_a_new_files_place_is_left_there_and_said(name: str, tmp_path: Path) -> None:
    """A FIFO held the writer up until it was killed, each time; a directory ended the node. Nothing
    of it is written to, waited for or followed.
    """
    IN_THE_WAY[name](tmp_path / name_of(1))
    log = written(tmp_path, [BEGAN, signed(1)])
    assert log.changed.startswith(name_of(1))
    newest = files_in(tmp_path)[-1]
    assert [line.what for line in lines_of(newest, lambda _: True)] == ["reopened", "began", "signed", "closed"]
    assert not (tmp_path / "elsewhere").exists()
    assert any(alarm.startswith("CHANGED") for alarm in verify(tmp_path).alarms)
    again = make(tmp_path)
    again.open()
    assert (again.changed, again.path) == ("", newest), "it is found once"


def test_a_full_files_successor_steps_over_what_has_its_name(tmp_path: Path) -> None:
    log = make(tmp_path, file_bytes=4096)
    log.open()
    for seq in range(2, 60):
        os.mkfifo(tmp_path / name_of(seq))
    log.take(one_after_another([BEGAN, *(signed(height) for height in range(1, 40))]))
    log.close()
    assert log.changed.endswith("it is in the place of a new file")
    heights = [line.fields["height"] for line in all_lines(tmp_path) if line.what == "signed"]
    assert heights == list(range(1, 40))


@pytest.mark.parametrize("begin", [b"\xef\xbb\xbf", b"\xff\xfe", b"\0", b"\0\0\0", b"{\0"])
def test_a_log_in_an_encoding_that_is_none_of_ours_is_a_changed_file(
    begin: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """json.loads() looks for such a codec's module, which a process that is shut off does not find."""
    written(tmp_path, [BEGAN, signed(1)])
    (path,) = files_in(tmp_path)
    path.write_bytes(begin + path.read_bytes())

    def not_found(_: bytes) -> str:
        raise LookupError("unknown encoding")

    monkeypatch.setattr(json, "detect_encoding", not_found)
    log = make(tmp_path)
    log.open()
    log.close()
    assert log.changed.startswith(path.name)


def test_every_outcome_has_its_line(tmp_path: Path) -> None:
    plain = set(Outcome) - {Outcome.BEGAN, Outcome.ENDED} - BYTES_OUTCOMES
    note = BytesNote(b"d" * 32, 65536, 'a"b\\c').pack()
    decisions = [Decision(outcome) for outcome in sorted(plain)]
    decisions += [Decision(outcome, sign_bytes=note, validator=b"v") for outcome in sorted(BYTES_OUTCOMES)]
    written(tmp_path, [BEGAN, *decisions, ENDED])
    assert what(tmp_path)[1:-1] == [
        outcome.name.lower() for outcome in (Outcome.BEGAN, *[d.outcome for d in decisions], Outcome.ENDED)
    ]


def test_what_was_signed_or_refused_of_bytes_has_their_hash_their_number_and_the_id(tmp_path: Path) -> None:
    note = BytesNote(b"d" * 32, 65536, "fibre/pp:v0").pack()
    made = Decision(
        Outcome.SIGNED_BYTES, kind=Kind.SIGN_RAW_BYTES_REQUEST, sign_bytes=note, validator=b"v", took_ns=7000
    )
    no = Decision(
        Outcome.REFUSED_BYTES,
        Reason.BYTES_ARE_A_VOTE,
        Kind.SIGN_BYTES_REQUEST,
        sign_bytes=BytesNote(b"e" * 32, 0, "").pack(),
    )
    log = written(tmp_path, [BEGAN, made, no, ENDED])
    lines = {one["what"]: one for one in (json.loads(line) for line in log.path.read_text().splitlines())}  # type: ignore[union-attr]
    signed_line, refused_line = lines["signed_bytes"], lines["refused_bytes"]
    assert (signed_line["bytes"], signed_line["length"], signed_line["unique_id"]) == ("64" * 32, 65536, "fibre/pp:v0")
    assert (signed_line["kind"], signed_line["us"]) == ("sign_raw_bytes_request", 7)
    assert (refused_line["reason"], refused_line["bytes"], refused_line["length"]) == ("bytes_are_a_vote", "65" * 32, 0)
    report = verify(tmp_path)
    assert report.whole
    assert (report.walk.counts["signed_bytes"], report.walk.counts["refused_bytes"]) == (1, 1)


def test_the_longest_line_about_bytes_is_a_line(tmp_path: Path) -> None:
    note = BytesNote(b"d" * 32, 2**32 - 1, '"' * RAW_UNIQUE_ID_MAX_BYTES).pack()
    longest = Decision(
        Outcome.REFUSED_BYTES, Reason.BYTES_NOT_ALLOWED, Kind.SIGN_RAW_BYTES_REQUEST, sign_bytes=note, identity=bytes(32),
        validator=b"\x01" * AUDIT_VALIDATOR_MAX_BYTES, took_ns=2**32 * 1000,
    )  # fmt: skip
    written(tmp_path, [BEGAN, longest, ENDED])
    assert verify(tmp_path).whole


def test_bytes_that_are_signed_without_end_wash_no_signature_out(tmp_path: Path) -> None:
    """A validator may ask as often as it likes: they have their share of a file with the refusals,
    and no more.
    """
    note = BytesNote(b"d" * 32, 32, "").pack()
    flood = [Decision(Outcome.SIGNED_BYTES, sign_bytes=note) for _ in range(2000)]
    written(tmp_path, [BEGAN, signed(1), *flood, signed(2), ENDED], max_bytes=200_000, file_bytes=50_000)
    report = verify(tmp_path)
    assert report.whole
    assert report.walk.counts["signed"] == 2
    assert 0 < report.walk.counts["signed_bytes"] < 2000
    assert report.walk.dropped == 2000 - report.walk.counts["signed_bytes"]


# --- refusals and their share ---


def folded(count: int) -> Decision:
    return Decision(Outcome.FOLDED, Reason.CONFLICT, validator=b"v", took_ns=Decision.took_of(count))


def test_many_refusals_alike_are_one_line_with_their_number(tmp_path: Path) -> None:
    log = written(tmp_path, [BEGAN, refused(5), folded(4711), signed(6), ENDED])
    lines = [json.loads(line) for line in log.path.read_text().splitlines()]  # type: ignore[union-attr]
    line = next(one for one in lines if one["what"] == "folded")
    assert (line["reason"], line["validator"], line["count"], line["number"]) == ("conflict", "v", 4711, 3)
    report = verify(tmp_path)
    assert report.whole
    assert report.walk.counts["folded"] == 1


def test_refusals_have_half_of_each_file_and_wash_no_signature_out(tmp_path: Path) -> None:
    """However many there are: they stop where their share ends, and the next line says
    how many are missing.
    """
    bounds = {"max_bytes": 200_000, "file_bytes": 50_000}
    flood = [refused(5) for _ in range(20_000)]
    log = written(tmp_path, [BEGAN, *(signed(height) for height in range(1, 60)), *flood, signed(60), ENDED], **bounds)
    report = verify(tmp_path)
    assert report.whole
    assert report.walk.counts["signed"] == 60
    assert 50 < report.walk.counts["refused"] < 130  # two files begun
    assert report.walk.counts["refused"] + report.walk.dropped == 20_000
    assert log.dropped == report.walk.dropped
    text = "".join(path.read_text() for path in files_in(tmp_path))
    assert "refusals had used their share of the file" in text


def test_a_writer_that_begins_again_knows_what_refusals_have_used(tmp_path: Path) -> None:
    bounds = {"max_bytes": 200_000, "file_bytes": 50_000}
    written(tmp_path, [BEGAN, *(refused(5) for _ in range(1000))], **bounds)
    used = verify(tmp_path).walk.counts["refused"]
    again = make(tmp_path, **bounds)
    again.open()
    again.take([noted(number, refused(5)) for number in range(1002, 1100)])
    again.take([noted(1100, signed(9))])
    again.close()
    report = verify(tmp_path)
    assert report.whole
    assert report.walk.counts["refused"] == used
    assert report.walk.counts["signed"] == 1
    assert report.walk.dropped == 1000 - used + 98
