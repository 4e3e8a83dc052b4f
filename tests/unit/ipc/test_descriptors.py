"""What the parent left open is closed, but for what was asked for."""

import json
import os
import subprocess
import sys
from pathlib import Path

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
