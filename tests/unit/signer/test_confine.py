"""The signer shut off as at every start, and then probed from inside: what a thief of
its process could do.
"""

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cometkms.address import Address
from cometkms.errors import ConfigError, HardeningError
from cometkms.hardening import kernel, landlock, seccomp
from cometkms.hardening import user as hardening_user
from cometkms.hardening.account import CAP_DAC_OVERRIDE, CAP_SETUID
from cometkms.hardening.measures import Measure, Mode, State, UnavailableError
from cometkms.hardening.prctl import make_undumpable
from cometkms.keys.passphrase import Passphrase
from cometkms.limits import SIGNER_UID
from cometkms.net.target import Target, UnixTarget
from cometkms.signer.confine import Confinement, Plan, shut_signer
from tests.unit.hardening.child import in_child, opened, outcome

ROOT = os.geteuid() == 0
ADDRESS, NAME, UNIX = Address("127.0.0.1", 26658), Address("validator.example", 26658), UnixTarget("/run/v.sock")
MEASURES = [
    "memory_locked", "user", "capabilities", "no_dump", "no_new_privs", "filesystem", "tcp_ports", "scope", "system_calls",
    "network_families",
]  # fmt: skip


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "key").write_text("a key")
    (tmp_path / "key").chmod(0o600)
    return tmp_path


def plan_of(home: Path, *targets: Target, mode: Mode = Mode.BEST_EFFORT, user: str = "") -> Plan:
    return Plan(mode, user, os.getpid(), (home / "key",), targets or (ADDRESS,))


def shut(plan: Plan, *steps: Callable[[], Any], before: Callable[[], object] = lambda: None) -> Any:
    """Shut a new process off as the signer; its measures, and what each step then gives."""

    def life() -> list[Any]:
        make_undumpable()
        key = Passphrase()  # stands for the key: a page of locked memory
        before()
        measures = {one.measure: [one.state.value, one.why] for one in shut_signer(plan).measures}
        assert key is not None
        return [measures, [outcome(step) for step in steps]]

    return in_child(life)


def test_everything_is_on_and_in_order_of_what_it_needs(home: Path) -> None:
    """On this kernel. Where it lacks one the test says which."""
    measures, _ = shut(plan_of(home))
    assert list(measures) == MEASURES
    expected = dict.fromkeys(MEASURES, "on")
    expected |= {} if ROOT else {"user": "off"}
    expected |= {} if landlock.has_ports(landlock.abi()) else {"tcp_ports": "unavailable"}
    expected |= {} if landlock.has_scopes(landlock.abi()) else {"scope": "unavailable"}
    assert {name: state for name, (state, _) in measures.items()} == expected
    assert measures["filesystem"][1] == "no file"
    if ROOT:
        assert f"uid {SIGNER_UID}" in measures["user"][1] or "cmkms-signer" in measures["user"][1]


def test_a_thief_inside_finds_no_file_no_program_and_no_way_out(home: Path) -> None:
    _, told = shut(
        plan_of(home),
        lambda: opened((home / "key"), "rb"),
        lambda: opened(Path("/etc/passwd"), "rb"),
        lambda: (home / "stolen").write_text("x"),
        lambda: opened(Path("/proc/self/mem"), "rb"),
        lambda: socket.socket(socket.AF_UNIX, socket.SOCK_STREAM),
        lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
        lambda: socket.create_server(("127.0.0.1", 0)),
        lambda: _dial(1),
        lambda: os.kill(os.getppid(), 0),
        os.fork,
        lambda: kernel.prctl(4, 1),
        lambda: os.chown(home, 0, 0),
    )
    assert told == [*["EACCES"] * 11, "EPERM"]


def _dial(port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as one:
        one.connect(("127.0.0.1", port))


def test_whoever_executes_a_program_is_killed(home: Path) -> None:
    assert shut(plan_of(home), lambda: os.execv("/bin/true", ["true"])) == "killed by SIGSYS"


def test_a_name_brings_its_files_and_nothing_of_the_home(home: Path) -> None:
    measures, told = shut(
        plan_of(home, NAME),
        lambda: opened(Path("/etc/hosts"), "rb"),
        lambda: socket.getaddrinfo("localhost", 1),
        lambda: os.listdir("/etc"),
        lambda: opened((home / "key"), "rb"),
        lambda: opened(Path("/etc/hosts"), "ab"),
    )
    assert told == ["done", "done", "EACCES", "EACCES", "EACCES"]
    assert measures["filesystem"][1].startswith("reads /etc/hosts")
    assert "53" in measures["tcp_ports"][1]


def test_a_home_beside_the_names_files_narrows_the_rule_to_those_files(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cometkms.hardening.confine.NAME_FILES", (str(home / "hosts"),))
    (home / "hosts").write_text("127.0.0.1 here")
    (home / "hosts").chmod(0o644)
    home.chmod(0o755)
    _, told = shut(plan_of(home, NAME), lambda: opened((home / "key"), "rb"))
    assert told == ["EACCES"]


def test_with_a_unix_socket_it_has_no_capability_and_makes_no_such_socket(home: Path) -> None:
    """Another process dials (tests/unit/net/test_dialer.py); neither does this one read what
    CAP_DAC_OVERRIDE would.
    """
    measures, told = shut(
        plan_of(home, NAME, UNIX),
        lambda: socket.socket(socket.AF_UNIX, socket.SOCK_STREAM),
        lambda: socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM),
        lambda: socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET),
        lambda: socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)[0],
        lambda: opened(Path("/etc/hosts"), "rb"),
        lambda: opened(Path("/etc/shadow"), "rb"),
        lambda: opened(Path("/etc/passwd"), "rb"),
    )
    assert told == ["EACCES", "EACCES", "EACCES", "done", "done", "EACCES", "EACCES"]
    assert measures["capabilities"] == ["on", "none"]


def test_a_pair_of_streams_reaches_nobody_else(home: Path) -> None:
    """uvloop needs a pair for signals; what it may be is connected for good."""
    with (
        tempfile.TemporaryDirectory() as folder,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other,
        socket.socket(socket.AF_UNIX) as third,
    ):
        Path(folder).chmod(0o755)
        third.bind(f"{folder}/third")
        third.listen()
        Path(folder, "third").chmod(0o666)
        other.bind(f"{folder}/other")
        Path(folder, "other").chmod(0o666)

        def send() -> None:
            one, _ = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
            one.sendto(b"a key", f"{folder}/other")

        def connect() -> None:
            one, two = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
            two.close()
            one.connect(f"{folder}/third")

        _, told = shut(plan_of(home), send, connect)
    assert told == ["EISCONN", "EISCONN"]


def test_off_changes_nothing_and_says_so(home: Path) -> None:
    measures, told = shut(plan_of(home, mode=Mode.OFF), lambda: opened((home / "key"), "rb"), os.getuid)
    assert {name for name, (state, _) in measures.items() if state == "on"} == {
        "memory_locked",
        "no_dump",
        "no_new_privs",
    }
    assert told == ["done", "done"]
    assert [*measures] == ["memory_locked", "no_dump", "no_new_privs", *MEASURES[1:3], *MEASURES[5:]]


def failure(plan: Plan, before: Callable[[], object] = lambda: None, kind: type[Exception] = HardeningError) -> str:
    """The words with which the process does not start."""

    def life() -> str:
        make_undumpable()
        before()
        try:
            shut_signer(plan)
        except kind as error:
            return str(error)
        return "started"

    return in_child(life)


def no_landlock() -> int:
    raise UnavailableError("this kernel has no Landlock")


def test_what_the_kernel_lacks_is_said_and_only_required_stops_for_it(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(landlock, "abi", no_landlock)
    measures, told = shut(plan_of(home), lambda: opened((home / "key"), "rb"))
    for name in ("filesystem", "tcp_ports", "scope"):
        assert measures[name] == ["unavailable", "this kernel has no Landlock"]
    assert told == ["EACCES"], "the filter of system calls opens nothing either"
    assert "signer filesystem: this kernel has no Landlock" in failure(plan_of(home, mode=Mode.REQUIRED))


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (lambda: _break(landlock, "restrict"), "filesystem was set and does not hold"),
        (lambda: _break(seccomp, "install"), "system_calls was set and does not hold"),
        (
            lambda: (_break(hardening_user, "make_undumpable"), kernel.prctl(4, 1)),
            "no_dump was set and does not hold",
        ),
        (lambda: _break(hardening_user, "become", "give_up_capabilities"), "does not hold"),
    ],
    ids=["landlock", "seccomp", "dumpable", "user"],
)
def test_what_is_there_and_does_not_hold_is_no_start(home: Path, broken: Callable[[], None], words: str) -> None:
    """Each is replaced by something that claims to have done it: the check afterwards
    must see that.
    """
    # else the change of user repairs what is broken here
    user = "root" if ROOT and words.startswith("no_dump") else ""
    assert words in failure(plan_of(home, user=user), broken)


def _break(module: object, *names: str) -> None:
    for name in names:
        setattr(module, name, lambda *_, **__: 1)


def test_an_account_that_cannot_be_had_is_an_error_with_its_cure(home: Path) -> None:
    words = failure(plan_of(home, user="no-such-account"), kind=ConfigError)
    assert "no account" in words if ROOT else "only root" in words or "no account" in words
    if not ROOT:
        assert "only root can" in failure(plan_of(home, user="root"), kind=ConfigError)


def test_root_without_the_capability_stays_root_says_so_and_has_no_other(home: Path) -> None:
    if not ROOT:
        measures, _ = shut(plan_of(home))
        assert measures["user"][0] == "off"
        return

    def lose() -> None:
        kernel.set_capabilities(((1 << 41) - 1) & ~(1 << CAP_SETUID) & _permitted())

    measures, _ = shut(plan_of(home), before=lose)
    assert measures["user"] == ["unavailable", "root has no CAP_SETUID here; signer runs as root"]
    assert measures["capabilities"] == ["on", "none"]
    assert "CAP_SETUID" in failure(plan_of(home, user="61999"), lose)


def _permitted() -> int:
    line = next(one for one in Path("/proc/self/status").read_text().splitlines() if one.startswith("CapPrm"))
    return int(line.split()[1], 16)


def test_signer_user_root_is_obeyed_and_said(home: Path) -> None:
    if ROOT:
        measures, told = shut(plan_of(home, user="root"), lambda: opened((home / "key"), "rb"))
        assert measures["user"] == ["off", 'signer_user = "root"']
        assert measures["capabilities"] == ["on", "none"]
        assert told == ["EACCES"]


def test_memory_that_is_not_locked_is_said(home: Path) -> None:
    plan = plan_of(home)

    def life() -> list[str]:
        make_undumpable()
        return [f"{one.state.value}: {one.why}" for one in shut_signer(plan).measures if one.measure == "memory_locked"]

    assert in_child(life)[0].startswith("unavailable: 0 KiB are locked for 1 keys")


def test_a_second_thread_is_no_start(home: Path) -> None:
    import threading

    held = threading.Event()
    assert "2 threads run" in failure(plan_of(home), lambda: threading.Thread(target=held.wait, daemon=True).start())


def test_the_event_tells_who_listens_that_nothing_is_imported_any_more(home: Path) -> None:
    code = f"""
import os, sys
from pathlib import Path
from cometkms.hardening.confine import SHUT_EVENT
from cometkms.signer.confine import Plan, shut_signer
from cometkms.hardening.measures import Mode
from cometkms.hardening.prctl import make_undumpable
from cometkms.address import Address
seen = []
sys.addaudithook(lambda event, arguments: seen.append(event) if event == SHUT_EVENT else None)
make_undumpable()
shut_signer(Plan(Mode.BEST_EFFORT, "", os.getppid(), (Path({str(home / "key")!r}),), (Address("127.0.0.1", 1),)))
os.write(1, repr(seen).encode())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=240, check=False)
    assert done.stdout == "['cometkms.shut']", done.stderr


# --- what a reload may bring ---

ALL_ON = tuple(Measure("signer", name, State.ON, "") for name in MEASURES)


@pytest.mark.parametrize(
    ("dialled", "wanted", "words"),
    [
        ([ADDRESS], Address("10.0.0.9", 26658), ""),
        ([ADDRESS], Address("::1", 26658), ""),
        ([ADDRESS], Address("127.0.0.1", 26659), "port 26659"),
        ([ADDRESS], NAME, "names"),
        ([ADDRESS], UNIX, "unix sockets"),
        ([NAME], Address("other.example", 26658), ""),
        ([UNIX], UnixTarget("/run/other.sock"), "nobody dials /run/other.sock"),
        ([UNIX], ADDRESS, "no sockets"),
        ([ADDRESS, UNIX], UNIX, ""),
    ],
)
def test_a_new_validator_is_within_reach_or_the_reason_is_told(
    dialled: list[Target], wanted: Target, words: str, home: Path
) -> None:
    why = Confinement(plan_of(home, *dialled), ALL_ON).why_not(wanted)
    assert words in why
    assert bool(why) == bool(words)


def test_without_the_measures_everything_is_within_reach(home: Path) -> None:
    off = tuple(Measure("signer", name, State.UNAVAILABLE, "") for name in MEASURES)
    for wanted in (Address("127.0.0.1", 1), NAME, UNIX):
        assert Confinement(plan_of(home, ADDRESS), off).why_not(wanted) == ""


def test_the_word_and_the_deed_agree(home: Path) -> None:
    """What why_not() forbids the kernel forbids, and the other way round."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        near, far = Address("127.0.0.1", port), Address("127.0.0.1", 1)
        measures, told = shut(plan_of(home, near), lambda: _dial(port), lambda: _dial(1))
        confinement = Confinement(
            plan_of(home, near), tuple(Measure("signer", n, State(s), w) for n, (s, w) in measures.items())
        )
    assert [confinement.why_not(one) == "" for one in (near, far)] == [one in ("done", "ECONNREFUSED") for one in told]
    assert CAP_DAC_OVERRIDE == 1
