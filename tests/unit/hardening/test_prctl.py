"""What a process asks of the kernel is what the kernel then says of it.

Each test in a process of its own.
"""

import errno
import subprocess
import sys

import pytest

from cometkms.hardening import kernel


def alone(code: str) -> str:
    """Run `code` in a fresh interpreter; what it printed."""
    prelude = (
        "import ctypes, os, resource\nfrom cometkms.hardening.prctl import *\nfrom cometkms.hardening import prctl\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", prelude + code], capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_an_undumpable_process_has_no_core_no_dump_and_gains_no_privileges() -> None:
    code = """
make_undumpable()
status = open("/proc/self/status").read()
print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), resource.getrlimit(resource.RLIMIT_CORE), "NoNewPrivs:\\t1" in status)
"""
    assert alone(code) == "0 (0, 0) True"


def test_a_process_is_dumpable_until_it_asks() -> None:
    """The test above can fail."""
    assert alone("print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))") == "1"


@pytest.mark.parametrize(
    ("name", "shown"), [("cmkms-signer", "cmkms-signer"), ("a-much-too-long-name", "a-much-too-long")]
)
def test_the_name_is_what_ps_shows(name: str, shown: str) -> None:
    assert alone(f"set_name({name!r}); print(open('/proc/self/comm').read())") == shown


def test_the_parents_death_signal_is_sigkill() -> None:
    code = """
die_with_parent(os.getppid())
number = ctypes.c_int()
ctypes.CDLL(None).prctl(2, ctypes.byref(number), 0, 0, 0)
print(number.value)
"""
    assert alone(code) == "9"


def test_an_orphan_is_told_so() -> None:
    """Its parent died between the fork and the request: the kernel will send it nothing."""
    code = """
try:
    die_with_parent(os.getppid() + 1)
except InvariantError as error:
    print("orphan:", str(os.getppid() + 1) in str(error))
"""
    assert alone(code) == "orphan: True"


def test_a_refusal_of_the_kernel_is_an_error() -> None:
    with pytest.raises(OSError, match="prctl") as caught:
        kernel.prctl(0x7FFF_FFFF, 0)
    assert caught.value.errno == errno.EINVAL
