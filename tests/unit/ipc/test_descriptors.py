"""What the parent left open is closed, but for what was asked for; what it closed is open; and what
it gave to read is let go of.
"""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import json, os, sys
from cometkms.ipc.descriptors import close_inherited
close_inherited({int(sys.argv[1])})
print(json.dumps([fd for fd in range(4096) if os.path.exists(f"/proc/self/fd/{fd}")]))
"""


def test_only_the_standard_ones_and_what_is_kept_stay(tmp_path: Path) -> None:
    fds = [os.open(tmp_path, os.O_RDONLY) for _ in range(5)]
    kept = fds[2]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(kept)], pass_fds=fds, capture_output=True, text=True, check=True, timeout=60
    )
    for fd in fds:
        os.close(fd)
    assert json.loads(done.stdout) == [0, 1, 2, kept]


STANDARD = """
import os
from cometkms.ipc.descriptors import forget_input, open_standard
open_standard()
found = [os.open("/proc/self/comm", os.O_RDONLY)]
print("to stdout", flush=True)
forget_input()
found += [os.readlink(f"/proc/self/fd/{fd}") for fd in (0, 1, 2)]
os.write(int(os.environ["TELL"]), repr(found).encode())
"""


@pytest.mark.parametrize("closed", ["", "0", "1", "2", "01", "12", "012"])
def test_what_is_opened_takes_no_stream_that_the_parent_closed(closed: str) -> None:
    """Else the log goes into whatever took its number: the store of the promises, a socket between
    two processes.
    """
    reading, telling = os.pipe()
    redirections = " ".join(f"{fd}>&-" for fd in closed)
    command = f'exec "$0" -c "$1" {redirections}'
    with open("/dev/zero", "rb") as stdin:
        subprocess.run(
            ["/bin/sh", "-c", command, sys.executable, STANDARD],
            stdin=stdin,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=[telling],
            env={**os.environ, "TELL": str(telling)},
            check=True,
            timeout=60,
        )
    os.close(telling)
    with open(reading, "rb") as told:
        first, *streams = ast.literal_eval(told.read().decode())
    assert first > 2
    assert streams == ["/dev/null"] * 3
