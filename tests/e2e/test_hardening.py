"""A real node shut off: seen from outside in /proc, from inside by a spy, and signing all the same."""

import contextlib
import os
import signal
import socket
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cometkms.limits import HUNG_AFTER_S, SIGNER_UID
from tests.busy import compute, fork
from tests.e2e.cluster import Cluster
from tests.e2e.console import ROOT
from tests.e2e.node import PATIENCE_S, PRECOMMIT, PREVOTE, Node, Validator, cmkms, free_tcp, until
from tests.e2e.receiver import CERTIFICATE, Receiver

MakeNode = Callable[..., Node]
MakeValidator = Callable[..., Validator]
AS_ROOT = os.geteuid() == 0
PROBES = {
    "key", "home", "unlink", "replace", "plant", "shadow", "word", "write", "memory", "netlink", "packet", "raw", "datagrams", "unix",
    "dial", "parent", "root", "fork",
}  # fmt: skip
#: What a process must be able to do: its work.
WORK = {("dialer", "unix")}


def of_proc(pid: int, *fields: str) -> list[str]:
    """Lines of /proc/<pid>/status."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    found = dict(line.split(":", 1) for line in lines)
    return [found[field].strip() for field in fields]


def spied(tmp_path: Path, node: Node, **more: str) -> dict[str, str]:
    """Variables that put the spy into the node's processes, and something for it to reach: sockets
    and a secret of this test's user.
    """
    path = f"{Path(__file__).parent / 'probe'}:{ROOT}"
    for name, kind in (("dgram", socket.SOCK_DGRAM), ("stream", socket.SOCK_STREAM)):
        if not (tmp_path / name).exists():
            with socket.socket(socket.AF_UNIX, kind) as one:
                one.bind(str(tmp_path / name))
    (tmp_path / "spied-word").write_text("a passphrase")
    return {
        "PYTHONPATH": path,
        "CK_SPY": "1",
        "CK_SPY_KEY": str(node.key_path),
        "CK_SPY_WORD": str(tmp_path / "spied-word"),
        "CK_SPY_SOCKET": str(tmp_path / "dgram"),
        "CK_SPY_STREAM": str(tmp_path / "stream"),
        **more,
    }


def words_of(node: Node) -> list[list[str]]:
    """What the spies said: who, what, how it ended."""
    return [line.split()[1:] for line in node.log().splitlines() if line.startswith("spy: ")]


def measures_of(node: Node) -> dict[tuple[str, str], dict[str, Any]]:
    return {(one["process"], one["measure"]): one for one in node.status()["hardening"]}


@pytest.mark.parametrize(("mode", "host"), [("native", "localhost"), ("pure", "127.0.0.1")])
def test_a_node_that_is_shut_off_signs_reconnects_restarts_and_imports_nothing(
    mode: str,
    host: str,
    make_node: MakeNode,
    make_validator: MakeValidator,
    make_receiver: Callable[..., Receiver],
    tmp_path: Path,
) -> None:
    """Every way to a validator, every event of a signer's life: what is needed late was
    loaded before.
    """
    by_tcp, by_socket = free_tcp(), f"unix://{tmp_path}/v.sock"
    node = make_node(by_tcp.replace("127.0.0.1", host), by_socket)
    (tmp_path / "word").write_text("a passphrase of the test\n")
    (tmp_path / "word").chmod(0o600)
    sealing = ["keys", "encrypt", "--memory-mib", "8", "--passphrase-file", str(tmp_path / "word")]
    assert cmkms(*sealing, "--home", str(node.home)).returncode == 0
    (tmp_path / "trace").mkdir()
    variables = spied(tmp_path, node, COMETKMS_TRACE=str(tmp_path / "trace"))
    variables |= {"COMETKMS_PURE": "1"} if mode == "pure" else {}
    validators = [make_validator(address) for address in (by_tcp, by_socket)]
    sends_to = make_receiver(tls=mode == "native")
    variables["SSL_CERT_FILE"] = str(CERTIFICATE)
    node.start(
        "--key-passphrase-file",
        str(tmp_path / "word"),
        "--log-level",
        "debug",
        "--alert-webhook",
        sends_to.url(),
        **variables,
    )

    def sign(height: int) -> None:
        for validator, kind in zip(validators, (PREVOTE, PRECOMMIT), strict=True):
            validator.connect()
            validator.must_sign(kind, height)

    sign(1)
    validators[0].must_refuse(PREVOTE, 1, block="bb")
    first = node.child("signer")["pid"]
    os.kill(first, signal.SIGKILL)
    until("the signer is started again", lambda: node.child("signer")["pid"] not in (0, first))
    sign(2)
    validators[0].close()
    validators[0] = make_validator(by_tcp)  # resolved and dialled again
    sign(3)
    pid = node.child("signer")["pid"]
    assert of_proc(pid, "NoNewPrivs", "Seccomp", "CapInh", "CapAmb") == ["1", "2", "0" * 16, "0" * 16]
    if AS_ROOT:
        uid = of_proc(pid, "Uid")[0].split()
        assert len(set(uid)) == 1
        assert uid[0] != "0"
        assert of_proc(pid, "Groups", "CapEff", "CapPrm", "CapBnd") == ["", "0" * 16, "0" * 16, "0" * 16]
    for path in ("", "status", "healthz", "metrics", "no-such-page"):
        node.fetch(f"/{path}")
    with urllib.request.urlopen(f"http://127.0.0.1:{node.http_port}/events", timeout=PATIENCE_S) as stream:
        assert stream.readline()
    assert cmkms("peers", "--home", str(node.home)).returncode == 0
    (control,) = node.home.glob("data/*/control.sock")
    control.unlink()
    until("its control socket is made anew", control.exists)
    assert cmkms("peers", "--home", str(node.home)).returncode == 0
    assert control.stat().st_mode & 0o777 == 0o600
    until(lambda: f"the signer that was killed is told\n{node.log()}", sends_to.alerts)
    sends_to.behave = "500"  # what it does when nobody takes it is imported before, too
    os.kill(node.child("audit")["pid"], signal.SIGKILL)
    until(lambda: f"a notice is refused\n{node.log()}", lambda: node.status().get("webhook", {}).get("failed"))
    assert node.stop() == 0
    said = words_of(node)
    processes = {"state", "writer", "signer", "dialer", "api", "audit", "webhook", "caller"}
    assert {who for who, what, _ in said if what in PROBES} == processes
    assert [(who, what) for who, what, _ in said if what not in PROBES] == [], "imported after it was shut off"
    assert len([who for who, _, _ in said if who == "signer"]) >= 2 * len(PROBES), "two signers at least"
    reached = {(who, what, how) for who, what, how in said if how not in ("EACCES", "EPERM")}
    assert {(who, what) for who, what, _ in reached} <= WORK, reached
    assert bool(list((tmp_path / "trace").glob("signer-*.trace"))) == (mode == "native")


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """One node with a validator named by its address."""
    address = free_tcp()
    node = Node(tmp_path_factory.mktemp("hardening") / "node", address)
    validator = Validator(address)
    node.start()
    validator.connect()
    validator.must_sign(PREVOTE, 1)
    yield node
    node.stop()
    validator.close()


def test_from_outside_the_signer_is_nobody_who_can_do_nothing(node: Node) -> None:
    pid = node.child("signer")["pid"]
    assert of_proc(pid, "NoNewPrivs", "Seccomp", "CapEff", "CapPrm") == ["1", "2", "0" * 16, "0" * 16]
    uid = of_proc(pid, "Uid")[0].split()[0]
    if AS_ROOT:
        account = until("its account is shown", lambda: measures_of(node).get(("signer", "user")))["why"]
        assert uid in account
        assert uid == str(SIGNER_UID) or "cmkms-signer" in account
    until("the audit process is up", lambda: node.child("audit")["state"] == "running")
    seen = {uid}
    for name in ("state", "api", "audit"):
        pid = node.child(name)["pid"]
        assert of_proc(pid, "NoNewPrivs", "Seccomp", "CapEff", "CapPrm") == ["1", "2", "0" * 16, "0" * 16]
        if AS_ROOT:
            assert of_proc(pid, "Groups", "CapBnd") == ["", "0" * 16]
            seen.add(of_proc(pid, "Uid")[0].split()[0])
    if AS_ROOT:
        assert len(seen) == 4, "an account each"
        assert "0" not in seen
    assert node.process is not None
    assert of_proc(node.process.pid, "NoNewPrivs") == ["1"]


def test_status_and_log_name_every_measure_of_every_process(node: Node) -> None:
    until("the audit process is up, too", lambda: "audit" in node.status())
    of_all = {"no_dump", "no_new_privs", "filesystem", "tcp_ports", "scope"}
    of_all |= {"user", "capabilities", "system_calls", "network_families", "scheduling"}
    expected = {
        ("supervisor", "no_dump"),
        ("supervisor", "no_new_privs"),
        ("supervisor", "board"),
        ("supervisor", "scheduling"),
        ("signer", "memory_locked"),
    }
    expected |= {(process, one) for process in ("state", "writer", "signer", "api", "audit") for one in of_all}
    measures: dict[tuple[str, str], dict[str, Any]] = {}

    def told() -> bool:
        measures.clear()
        measures.update(measures_of(node))
        return set(measures) >= expected

    until(lambda: f"all measures are told: {set(measures) ^ expected}", told)
    assert set(measures) == expected
    assert measures["signer", "filesystem"]["why"] == "no file"
    turns = {process: one["why"] for (process, what), one in measures.items() if what == "scheduling"}
    assert {process for process, why in turns.items() if "SCHED_BATCH" in why} == {
        "supervisor",
        "writer",
        "api",
        "audit",
    }
    assert {process for process, why in turns.items() if "realtime = false" in why} == {"signer", "state"}
    assert all(one["state"] in ("on", "off", "unavailable") and one["why"] for one in measures.values())
    until("each process says it", lambda: node.log().count("shut off") >= 4)
    log = node.log()
    for (_, measure), one in measures.items():
        if one["state"] == "unavailable":
            assert f"measure={measure}" in log


@contextlib.contextmanager
def busy_cores() -> Iterator[None]:
    """Two processes a core that count."""
    load = [fork(compute) for _ in range(2 * (os.cpu_count() or 1))]
    try:
        yield
    finally:
        for pid in load:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def test_who_runs_later_is_not_starved_where_every_core_is_taken(
    make_node: MakeNode, make_validator: MakeValidator
) -> None:
    """A heartbeat that stopped for HUNG_AFTER_S would have its process killed: longer than that
    nobody is started again.
    """
    address = free_tcp()
    node, validator = make_node(address), make_validator(address)
    node.start()
    until("every process is up", lambda: all(one["state"] == "running" for one in node.status()["children"]))
    before = {one["name"]: one["pid"] for one in node.status()["children"]}
    assert set(before) == {"state", "signer", "audit", "api"}
    validator.connect()
    with busy_cores():
        end, height = time.monotonic() + 1.5 * HUNG_AFTER_S, 0
        while time.monotonic() < end:
            height += 1
            validator.must_sign(PREVOTE, height)
            until(
                "the line is written",
                lambda written=height: node.status().get("audit", {}).get("records", 0) >= written,
            )
        assert {one["name"]: one["pid"] for one in node.status()["children"]} == before


def test_a_real_time_class_is_what_the_kernel_says_it_is(make_node: MakeNode, make_validator: MakeValidator) -> None:
    address = free_tcp()
    node, validator = make_node(address), make_validator(address)
    node.start("--realtime")
    validator.connect()
    validator.must_sign(PREVOTE, 1)
    until("both say it", lambda: {("state", "scheduling"), ("signer", "scheduling")} <= set(measures_of(node)))
    for process in ("state", "signer"):
        measure = measures_of(node)[process, "scheduling"]
        granted = os.sched_getscheduler(node.child(process)["pid"]) == os.SCHED_RR | os.SCHED_RESET_ON_FORK
        assert measure["state"] == ("on" if granted else "unavailable")
        assert granted or "LimitRTPRIO" in measure["why"]
    until("the audit process is up", lambda: node.child("audit")["state"] == "running")
    for process in ("audit", "api"):
        assert os.sched_getscheduler(node.child(process)["pid"]) == os.SCHED_BATCH


def test_who_executes_a_program_in_the_signer_ends_the_node_with_the_word(make_node: MakeNode, tmp_path: Path) -> None:
    node = make_node(free_tcp())
    done = cmkms(
        "start", "--home", str(node.home), "--http-addr", f"127.0.0.1:{node.http_port}",
        env={**os.environ, **spied(tmp_path, node, CK_SPY_EXEC="signer")},
    )  # fmt: skip
    assert done.returncode == 70
    assert "killed by SIGSYS" in done.stderr


def test_an_account_that_is_not_there_is_a_wrong_setting(make_node: MakeNode) -> None:
    node = make_node(free_tcp())
    done = cmkms("start", "--home", str(node.home), "--signer-user", "no-such-account")
    assert done.returncode == 3
    assert "--signer-user: there is no account 'no-such-account'; cure: useradd" in done.stderr


class ByName(Cluster):
    """Its nodes find each other by a host's name."""

    def peers_of(self, name: str, members: list[str] | None = None) -> list[str]:
        return [one.replace("127.0.0.1", "localhost") for one in super().peers_of(name, members)]


def test_a_cluster_by_names_reads_the_resolvers_files_and_imports_nothing_later(
    make_validator: MakeValidator, tmp_path: Path
) -> None:
    """What the state processes do in a life: meet, elect, promise, lose a leader, meet again."""
    address = free_tcp()
    cluster = ByName(tmp_path, 3, address)
    for name in cluster.ids:
        folder = tmp_path / f"spied-{name}"
        folder.mkdir()
        cluster.variables[name] = spied(folder, cluster.nodes[name])
    validator = make_validator(address)
    cluster.start()
    try:
        first = cluster.wait_leader()
        validator.connect()
        validator.must_sign(PREVOTE, 1)
        key = ("state", "filesystem")
        files = until("its files are shown", lambda: measures_of(cluster.nodes[first]).get(key))["why"]
        assert "/etc/hosts" not in files
        assert "names are found with" in files
        os.kill(cluster.nodes[first].child("state")["pid"], signal.SIGKILL)
        until("a leader", cluster.leader)
        assert cmkms("leader", "transfer", "--home", str(cluster.nodes[first].home), "--id", first).returncode in (0, 1)
        until("a leader", cluster.leader)
        validator.connect()
        validator.must_sign(PREVOTE, 2)
    finally:
        for name in cluster.ids:
            cluster.nodes[name].stop()
    for name in cluster.ids:
        said = words_of(cluster.nodes[name])
        assert [(who, what) for who, what, _ in said if what not in PROBES] == [], "imported after it was shut off"
        assert {how for _, _, how in said} <= {"EACCES", "EPERM"}


def test_not_started_as_root_all_that_needs_no_root_is_done_all_the_same(
    make_validator: MakeValidator, tmp_path: Path
) -> None:
    """As another user, who may read Python's code below /root by a capability that
    every process gives up.
    """
    with tempfile.TemporaryDirectory() as run:
        Path(run).chmod(0o755)
        _not_as_root(make_validator, tmp_path, Path(run) / "v.sock")


def _not_as_root(make_validator: MakeValidator, tmp_path: Path, path: Path) -> None:
    address, by_socket = free_tcp(), f"unix://{path}"
    node = Node(tmp_path / "home", address, by_socket)
    validators = [make_validator(one) for one in (address, by_socket)]
    if AS_ROOT:
        uid = "62700"
        reads = "+dac_read_search"
        node.before = (
            "setpriv",
            f"--reuid={uid}",
            f"--regid={uid}",
            "--clear-groups",
            f"--inh-caps={reads}",
            f"--ambient-caps={reads}",
        )
        for one in (node.home, *node.home.rglob("*"), path):
            os.chown(one, int(uid), int(uid))
    node.start(**spied(tmp_path, node))
    for validator in validators:
        validator.connect()
        validator.must_sign(PREVOTE, 1)
    processes = ("state", "writer", "signer", "dialer", "api", "audit")
    until("all are shown", lambda: {who for who, _ in measures_of(node)} >= set(processes))
    measures = measures_of(node)
    for process in processes:
        assert measures[process, "user"]["state"] == "off"
        assert measures[process, "capabilities"]["why"] == "none"
        for measure in ("filesystem", "system_calls", "network_families", "no_new_privs"):
            assert measures[process, measure]["state"] == "on", (process, measure)
    until("the state file follows", lambda: node.file_state()["height"] == "1")
    assert node.stop() == 0
    said = words_of(node)
    assert {who for who, what, _ in said if what in PROBES} == {"state", "writer", "signer", "dialer", "api", "audit"}
    reached = {(who, what, how) for who, what, how in said if how not in ("EACCES", "EPERM")}
    assert {(who, what) for who, what, _ in reached} <= WORK, reached
