"""Work with a secret in a process of its own: what it gives or raises comes back, and
nothing of it stays here.
"""

import errno
import os

import pytest

from cometkms.errors import KeyFileError, disk_failure
from cometkms.keys.aside import aside


def test_what_the_work_gives_comes_back() -> None:
    assert aside(lambda: b"given") == b"given"


def test_it_is_done_in_another_process_that_cannot_be_dumped() -> None:
    def work() -> bytes:
        import ctypes

        return f"{os.getpid()} {ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)}".encode()

    pid, dumpable = aside(work).split()
    assert (int(pid) != os.getpid(), dumpable) == (True, b"0")


def test_what_the_work_raises_is_told_and_cut() -> None:
    def work() -> bytes:
        raise ValueError("no key here " + "x" * 10_000)

    with pytest.raises(KeyFileError, match="no key here") as raised:
        aside(work)
    assert len(str(raised.value)) <= 4000


def test_a_child_that_is_killed_is_an_error_in_words() -> None:
    def work() -> bytes:
        os.kill(os.getpid(), 9)
        return b""

    with pytest.raises(KeyFileError, match="without a word"):
        aside(work)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EROFS, errno.EDQUOT])
def test_a_disk_that_is_full_or_fails_is_known_as_that_here_too(number: int) -> None:
    def work() -> bytes:
        try:
            raise OSError(number, os.strerror(number), "/there")
        except OSError as error:
            raise KeyFileError(f"/there cannot be made: {os.strerror(number).lower()}", cure="chown") from error

    with pytest.raises(KeyFileError) as raised:
        aside(work)
    assert raised.value.cure == "chown"
    failure = disk_failure(raised.value)
    assert failure is not None
    assert "chown" not in str(failure)
    assert str(failure).startswith(f"/there cannot be made: {os.strerror(number).lower()}; cure: ")


def test_a_file_that_may_not_be_read_is_no_failure_of_the_disk() -> None:
    def work() -> bytes:
        raise PermissionError(errno.EACCES, "permission denied")

    with pytest.raises(KeyFileError) as raised:
        aside(work)
    assert disk_failure(raised.value) is None
