"""What a process uses is read from /proc, or not known."""

import os

from cometkms.supervisor.process_use import read_use


def test_a_processs_use_is_read_from_proc() -> None:
    use = read_use(os.getpid())
    assert use is not None
    assert 0 < use["cpu_s"] < 100_000
    assert use["resident_bytes"] > 1 << 20


def test_a_process_that_is_gone_uses_nothing_that_is_known() -> None:
    assert read_use(2**22 + 1) is None
