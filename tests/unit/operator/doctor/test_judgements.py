"""Each check over facts that are made up: what is fine, what warns, what fails, and that what is
wrong has a cure.
"""

import errno
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from cometkms.address import Address
from cometkms.errors import StateError
from cometkms.net.target import UnixTarget
from cometkms.operator.doctor import clock, disk, files, memory, reach, running, versions
from cometkms.operator.doctor.finding import Finding, Level, apart, fail, failed_by, is_well, note, ok, warn
from tests.e2e.node import free_port


def levels(found: list[Finding]) -> list[str]:
    assert all(one.cure for one in found if one.level in (Level.WARN, Level.FAIL)), found
    return [one.level.value for one in found]


# --- findings ---


def test_a_finding_is_one_line_and_a_document() -> None:
    one = warn("disk", "slow", "another")
    assert one.line() == "WARN  disk         slow; cure: another"
    assert ok("disk", "fast").line() == "ok    disk         fast"
    assert one.document() == {"level": "warn", "area": "disk", "words": "slow", "cure": "another"}


def test_only_warnings_and_failures_are_not_well() -> None:
    assert is_well([ok("a", "x"), note("a", "x", "y")])
    assert not is_well([ok("a", "x"), warn("a", "x", "y")])
    assert not is_well([fail("a", "x", "y")])


def test_an_error_of_several_parts_is_as_many_findings_with_their_own_cures() -> None:
    error = StateError.together([StateError("it is gone", cure="put it back; or not"), StateError("it is odd; it is")])
    found = [(one.level, one.words, one.cure) for one in failed_by("x", error, "otherwise")]
    assert found == [(Level.FAIL, "it is gone", "put it back; or not"), (Level.FAIL, "it is odd; it is", "otherwise")]


# --- clock ---


def test_the_kernels_clock_is_read_and_told() -> None:
    assert clock.judge_kernel_clock(clock.read_kernel_clock()).level in (Level.OK, Level.NOTE)
    assert clock.judge_kernel_clock(clock.KernelClock(True, 3.0)).words == "synchronised, wrong by 3 ms at most"
    assert clock.judge_kernel_clock(clock.KernelClock(False, 3.0)).cure
    assert "not permitted" in clock.judge_kernel_clock(None, "not permitted").words


@pytest.mark.parametrize(
    ("offsets", "found", "words"),
    [
        ({}, [], ""),
        ({"b": 0.3, "c": -2.5}, ["ok"], "within 2.5 ms"),
        ({"b": 1500.0, "c": 0.0}, ["WARN"], "b's clock is 1.5 s ahead of ours"),
        ({"b": -7000.0, "c": 9000.0}, ["WARN", "WARN"], "b's clock is 7.0 s behind ours"),
    ],
)
def test_other_nodes_clocks_are_compared(offsets: dict[str, float], found: list[str], words: str) -> None:
    told = clock.judge_peer_clocks(offsets)
    assert levels(told) == found
    assert words in "".join(one.words for one in told)


@pytest.mark.parametrize(
    ("offset", "block", "found"),
    [(0.5, 99.0, []), (None, 99.0, []), (3.0, 99.0, ["WARN"]), (-3.0, 111.0, ["WARN", "WARN"]), (None, 50.0, [])],
)
def test_the_chains_clock_is_compared(offset: float | None, block: float, found: list[str]) -> None:
    assert levels(clock.judge_chain_clock(offset, block, 100.0)) == found


# --- disk ---


def test_a_measured_sync_leaves_nothing_behind(tmp_path: Path) -> None:
    before = os.stat(tmp_path).st_mtime_ns
    probe = disk.measure_syncs(tmp_path, tries=3)
    assert len(probe.times_ms) == 3
    assert all(one > 0 for one in probe.times_ms)
    assert list(tmp_path.iterdir()) == []
    assert os.stat(tmp_path).st_mtime_ns == before


def test_without_nameless_files_a_named_one_is_made_and_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "O_TMPFILE", os.O_DIRECTORY, raising=True)
    assert len(disk.measure_syncs(tmp_path, tries=2).times_ms) == 2
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        disk.measure_syncs(tmp_path / "none")


def test_a_sync_that_does_not_end_is_told_and_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    gate = threading.Event()
    monkeypatch.setattr(disk, "HUNG_S", 0.05)
    monkeypatch.setattr(os, "fdatasync", lambda _fd: gate.wait(30))
    probe = disk.measure_syncs(tmp_path)
    gate.set()
    assert probe.hung
    assert levels([disk.judge_syncs(probe)]) == ["FAIL"]


@pytest.mark.parametrize(
    ("times", "level"),
    [((1.0, 2.0, 3.0), "ok"), ((1.0, 2.0, 90.0), "ok"), ((5.1, 5.2, 5.3), "WARN"), ((), "FAIL")],
)
def test_a_slow_median_warns(times: tuple[float, ...], level: str) -> None:
    assert levels([disk.judge_syncs(disk.Probe(times))]) == [level]


MOUNTS = """22 1 259:1 / / rw,relatime shared:1 - ext4 /dev/root rw
30 22 0:25 / /run rw - tmpfs tmpfs rw
31 22 0:26 / /srv/my\\040data rw - nfs4 server:/x rw
32 22 0:27 / /ov rw - overlay overlay rw
33 22 0:28 / /fu rw - fuse.sshfs x rw
garbage
"""


@pytest.mark.parametrize(
    ("path", "kind", "level"),
    [
        ("/etc", "ext4", "ok"),
        ("/run/x", "tmpfs", "FAIL"),
        ("/srv/my data/home", "nfs4", "WARN"),
        ("/ov", "overlay", "WARN"),
        ("/fu/a", "fuse.sshfs", "WARN"),
        ("/runner", "ext4", "ok"),
    ],
)
def test_the_file_system_is_the_innermost_mount(path: str, kind: str, level: str) -> None:
    found = disk.file_system_of(Path(path), MOUNTS)
    assert found[0] == kind
    assert levels([disk.judge_file_system(*found)]) == [level]


def test_an_unknown_file_system_is_a_note() -> None:
    assert disk.judge_file_system(*disk.file_system_of(Path("/x"), "")).level is Level.NOTE


@pytest.mark.parametrize(
    ("room", "level"),
    [
        (disk.Room(1 << 40, 10**6), "ok"),
        (disk.Room(1 << 40, None), "ok"),
        (disk.Room(50 << 20, 10**6), "WARN"),
        (disk.Room(1 << 40, 3), "WARN"),
        (disk.Room(1 << 20, 10**6), "FAIL"),
    ],
)
def test_room_on_the_disk(room: disk.Room, level: str) -> None:
    assert levels([disk.judge_room(room)]) == [level]


# --- permissions ---


@pytest.mark.parametrize(
    ("secret", "mode", "uid", "found"),
    [
        (True, 0o100600, 7, []),
        (True, 0o100640, 7, ["FAIL"]),
        (True, 0o100606, 7, ["FAIL"]),
        (False, 0o100644, 7, []),
        (False, 0o100664, 7, ["FAIL"]),
        (False, 0o40755, 7, []),
        (False, 0o40777, 7, ["FAIL"]),
        (True, 0o40700, 8, ["WARN"]),
    ],
)
def test_who_may_read_and_write(secret: bool, mode: int, uid: int, found: list[str]) -> None:
    told = files.judge_places([files.Place(Path("/home/x"), secret, mode, uid)], owner=7)
    assert levels(told) == (found or ["ok"])


def test_what_cannot_be_looked_at_fails_and_what_is_not_there_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert files.look_at(tmp_path / "none", secret=True) is None
    place = files.look_at(tmp_path / "file" / "below", secret=True)
    assert place is not None
    assert levels(files.judge_places([place], 0)) == ["FAIL"]


# --- memory ---


def facts(**said: Any) -> memory.MemoryFacts:
    told: dict[str, Any] = {
        "core_pattern": "core",
        "core_bytes": 0,
        "swaps": (),
        "lockable_bytes": None,
        "privileged": False,
    }
    return memory.MemoryFacts(**{**told, **said})


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ({}, ["ok", "ok", "ok"]),
        ({"lockable_bytes": 8 << 20}, ["ok", "ok", "ok"]),
        ({"lockable_bytes": 16 << 10}, ["ok", "FAIL", "ok"]),
        ({"lockable_bytes": 16 << 10, "privileged": True}, ["ok", "ok", "ok"]),
        ({"swaps": ("/dev/sda2",)}, ["ok", "ok", "note"]),
        ({"core_pattern": ""}, ["ok", "ok", "ok"]),
    ],
)
def test_locked_memory_swap_and_core_dumps(said: dict[str, Any], found: list[str]) -> None:
    assert levels(memory.judge_memory(facts(**said), keys=1)) == found


def test_more_keys_need_more_locked_memory() -> None:
    assert levels(memory.judge_memory(facts(lockable_bytes=100 << 10), keys=1))[1] == "ok"
    assert levels(memory.judge_memory(facts(lockable_bytes=100 << 10), keys=2))[1] == "FAIL"


def test_this_machines_facts_and_this_process_can_be_read() -> None:
    assert memory.judge_memory(memory.read_memory_facts(), 1)
    assert {"core", "VmLck"} <= set(memory.read_process(os.getpid()))
    assert memory.read_process(1 << 30) == {}


@pytest.mark.parametrize(
    ("told", "found"),
    [
        ({}, ["note"]),
        ({"core": "0", "VmLck": "12 kB"}, ["ok"]),
        ({"core": "unlimited", "VmLck": "12 kB"}, ["WARN", "ok"]),
        ({"core": "0", "VmLck": "0 kB"}, ["WARN"]),
    ],
)
def test_a_running_signer_is_looked_at(told: dict[str, str], found: list[str]) -> None:
    assert levels(memory.judge_process(told)) == found


# --- reach ---


def test_connections_are_tried_at_once_and_each_tells_why_not(tmp_path: Path) -> None:

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        found = reach.try_all(
            {
                "there": Address("127.0.0.1", port),
                "away": Address("127.0.0.1", free_port()),
                "no name": Address("no.such.name.invalid", 1),
                "no socket": UnixTarget(str(tmp_path / "none")),
            }
        )
    assert [one.took_ms is not None for one in found] == [True, False, False, False]
    assert found[1].why == "connection refused"
    assert found[3].why == "no such file or directory"
    assert levels(reach.judge_reached(reach.PEERS, found)) == ["ok", "WARN", "WARN", "WARN"]
    judged = reach.judge_reached(reach.VALIDATORS, found)
    assert levels(judged) == ["ok", "WARN", "WARN", "WARN"]
    assert [one.cure.partition(",")[0] for one in judged[1:]] == [
        "start the validator; if it runs",
        "correct the name in validator_addr",
        "start the validator",
    ]


def test_a_validators_path_that_is_no_socket_is_told_as_that_and_a_stale_one_as_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    with socket.socket(socket.AF_UNIX) as gone:
        gone.bind(str(tmp_path / "stale"))
    (tmp_path / "link").symlink_to("away")
    paths = [str(tmp_path / name) for name in ("file", "folder", "link", "stale", "file/x")]
    found = reach.try_all({f"unix://{path}": UnixTarget(path) for path in paths})
    assert [one.why for one in found] == [
        "it is no socket, but a file",
        "it is no socket, but a directory",
        "it is no socket, but a link to where nothing is",
        "connection refused",
        "not a directory",
    ]
    cures = [one.cure for one in reach.judge_reached(reach.VALIDATORS, found)]
    assert cures[0].endswith(f"move away what is at unix://{paths[0]}, and restart the validator")
    assert cures[1].endswith(f"move away what is at unix://{paths[1]}, and restart the validator")
    assert len(set(cures)) == 5
    # and where the node runs, with the same cure
    links = [{"addr": one.name, "state": "waiting", "last_error": one.why} for one in found[:3]]
    told = reach.judge_validators([{"chain_id": "c", "validators": links}], leads=True, leader="a")
    assert [one.cure for one in told] == cures[:3]


def test_a_validator_that_is_listed_under_two_names_is_told() -> None:
    port = free_port()
    ports = {"a": ("127.0.0.1", port), "b": ("localhost", port), "c": ("127.0.0.1", free_port())}
    tried = reach.try_all({name: Address(*one) for name, one in ports.items()})
    [same] = reach.judge_same(tried)
    assert same.words.startswith("a and b lead to one port: ")
    assert same.cure == "list it once in validator_addr"


def test_each_cause_has_a_validators_cure_of_its_own() -> None:
    causes = {
        reach._cause(PermissionError(errno.EACCES, "no")): "let the node's user into the socket's directory",
        reach._SILENT: "is its machine up?",
        reach._cause(OSError(errno.EHOSTUNREACH, "no")): "start the validator, or look at",
    }
    for cause, cure in causes.items():
        [found] = reach.judge_reached(reach.VALIDATORS, [reach.Reached("v", None, "why", cause)])
        assert found.cure.startswith(cure)


@pytest.mark.parametrize(
    ("member", "level", "words"),
    [
        ({"connected": True, "state": "complete", "rtt_us": 250.0}, "ok", "round trip 0.25 ms"),
        ({"connected": True, "state": "complete"}, "ok", "not measured yet"),
        ({"connected": True, "state": "recovering"}, "WARN", "recovering"),
        ({"connected": True}, "WARN", "has not said its state"),
        ({"connected": False, "error": "connection refused"}, "WARN", "connection refused"),
        ({"connected": False}, "WARN", "is not connected"),
        ({"connected": False, "error": "words", "error_code": "digest"}, "FAIL", "refuses, or is refused: words"),
        ({"connected": False, "error": "words", "error_code": "protocol"}, "FAIL", "refuses, or is refused: words"),
        ({"connected": False, "error": "words", "error_code": "duplicate"}, "FAIL", "refuses, or is refused: words"),
        (
            {"connected": True, "state": "complete", "error": "words", "error_code": "duplicate"},
            "FAIL",
            "a second node with the id b",
        ),
        (
            {"connected": False, "error": "digests and protocols differ", "error_code": "down"},
            "WARN",
            "is not connected",
        ),
        ({"connected": False, "error": "words", "error_code": "of a later version"}, "WARN", "is not connected: words"),
    ],
)
def test_a_running_nodes_members(member: dict[str, Any], level: str, words: str) -> None:
    told = reach.judge_members({"members": [{"id": "a", "self": True}, {"id": "b", **member}]})
    assert levels(told[:1]) == [level]
    assert words in told[0].words


@pytest.mark.parametrize(("connected", "whose"), [(False, "a"), (True, "b")])
def test_the_id_that_a_second_process_has_is_the_one_of_who_is_turned_away(connected: bool, whose: str) -> None:
    other = {"id": "b", "connected": connected, "error": "two processes with the id", "error_code": "duplicate"}
    told = reach.judge_members({"members": [{"id": "a", "self": True}, other]})
    assert f"two nodes have the id {whose}:" in told[0].cure


def test_validators_are_the_leaders_matter() -> None:
    chains = [
        {
            "chain_id": "c",
            "validators": [
                {"addr": "tcp://v", "state": "connected"},
                {"addr": "tcp://w", "state": "dialling", "last_error": "refused"},
            ],
        }
    ]
    _, away = told = reach.judge_validators(chains, leads=True, leader="a")
    assert levels(told) == ["ok", "WARN"]
    assert away.words == "tcp://w (c) is not connected: refused"
    agents = [{"chain_id": "c", "validators": [{"addr": "agent:sentry", "state": "waiting"}]}]
    (agent,) = reach.judge_validators(agents, leads=True, leader="a")
    assert agent.cure.startswith("start `cmkms agent`")
    for leader, words in (("b", "another node leads, and dials"), ("", "nobody leads, as far as this node knows")):
        (found,) = reach.judge_validators(chains, leads=False, leader=leader)
        assert found.level.value == "note"
        assert found.words.startswith(words)


# --- a running node's own word ---


@pytest.mark.parametrize(
    ("child", "level", "words"),
    [
        ({"name": "signer", "state": "running", "pid": 5}, "ok", "pid 5"),
        ({"name": "state", "state": "backoff", "last_exit": "exit code 7"}, "FAIL", "a write or sync failed"),
        ({"name": "signer", "state": "backoff", "last_exit": "exit code 4: no key"}, "FAIL", "a key file is wrong"),
        (
            {"name": "api", "state": "running", "restarts": 2, "last_exit": "killed by SIGKILL"},
            "WARN",
            "2 times; its last exit: killed by SIGKILL",
        ),
        (
            {"name": "api", "state": "running", "restarts": 1, "last_exit": "its loop hung", "uptime_s": 60.0},
            "WARN",
            "again once; its last exit: its loop hung",
        ),
        (
            {"name": "api", "state": "running", "restarts": 1, "last_exit": "its loop hung", "uptime_s": 3600.0},
            "note",
            "again once; its last exit: its loop hung",
        ),
    ],
)
def test_processes_and_their_last_exits(child: dict[str, Any], level: str, words: str) -> None:
    told = running.judge_children([child])
    assert levels(told) == [level]
    assert words in told[0].words


CURED = "x is missing; cure: put x back (docs/X.md)"


@pytest.mark.parametrize(
    ("told", "words", "cure"),
    [
        (CURED, "x is missing", "put x back (docs/X.md)"),
        ("x is missing", "x is missing", "otherwise"),
        (
            f"the audit log is not written: {CURED}; signing goes on",
            "the audit log is not written: x is missing; signing goes on",
            "put x back (docs/X.md)",
        ),
        (
            f"audit is backoff (last exit: exit code 4: {CURED}); signing goes on",
            "audit is backoff (last exit: exit code 4: x is missing); signing goes on",
            "put x back (docs/X.md)",
        ),
        (
            "audit is backoff (last exit: killed by SIGKILL); signing goes on",
            "audit is backoff (last exit: killed by SIGKILL); signing goes on",
            "otherwise",
        ),
    ],
)
def test_a_nodes_own_words_have_one_cure_which_is_their_own(told: str, words: str, cure: str) -> None:
    assert apart(told, "otherwise") == (words, cure)


def test_no_finding_of_a_running_node_has_two_cures() -> None:
    alerts = [{"name": "child_restarting", "what": CURED, "cure": "look at its log"}]
    status = {
        "alerts": alerts,
        "trouble": [CURED],
        "warnings": [CURED],
        "audit": {"error": CURED},
        "webhook": {"error": CURED},
    }
    children = [
        {"name": name, "state": state, "last_exit": f"exit code 4: {CURED}", "restarts": 1}
        for name, state in (("signer", "backoff"), ("state", "running"))
    ]
    links = [{"addr": "tcp://v", "state": "waiting", "last_error": CURED}]
    found = running.judge_trouble(status) + running.judge_audit(status) + running.judge_webhook(status)
    found += running.judge_children(children)
    found += reach.judge_validators([{"chain_id": "c", "validators": links}], leads=True, leader="a")
    assert len(found) == 8
    for one in found:
        assert (one.line().count("cure: "), one.cure) == (1, "put x back (docs/X.md)"), one
    assert found[5].words == "signer is backoff; its last exit: exit code 4 (a key file is wrong): x is missing"


def test_protections_that_are_on_are_one_line_and_the_others_one_each() -> None:
    entries = [
        {"process": "signer", "measure": "seccomp", "state": "on", "why": ""},
        {"process": "signer", "measure": "no_new_privs", "state": "on", "why": ""},
        {"process": "signer", "measure": "landlock", "state": "unavailable", "why": "kernel 5.4"},
        {"process": "api", "measure": "user", "state": "off", "why": "not root"},
    ]
    told = running.judge_hardening(entries)
    assert levels(told) == ["ok", "note", "WARN"]
    assert "signer seccomp, signer no_new_privs" in told[0].words
    assert running.judge_hardening([]) == []


def test_trouble_warnings_and_alerts_are_told_with_their_cures() -> None:
    status = {
        "trouble": ["state is backoff"],
        "warnings": ["the state file was behind"],
        "alerts": [{"name": "peer_away", "what": "node2 is away", "cure": "start it"}, "odd"],
    }
    told = running.judge_trouble(status)
    assert levels(told) == ["FAIL", "WARN", "WARN"]
    assert told[2].cure == "start it"
    assert running.judge_trouble({"is_leader": False, "leader_id": "node1"})[0].words.endswith("node1 leads")


def test_the_audit_log_is_looked_at_where_there_is_one() -> None:
    assert running.judge_audit({}) == []
    assert levels(running.judge_audit({"audit": {"records": 7, "dropped": 0, "error": ""}})) == ["ok"]
    assert levels(running.judge_audit({"audit": {"records": 7, "dropped": 2}})) == ["WARN"]


def test_a_webhook_is_looked_at_where_there_is_one() -> None:
    assert running.judge_webhook({}) == []
    (failing,) = running.judge_webhook({"webhook": {"error": "https://h answered HTTP 404", "delivered": 3}})
    assert (failing.level.value, failing.cure) == ("WARN", "cmkms alert test")
    assert "HTTP 404" in failing.words
    assert levels(running.judge_webhook({"webhook": {"to": "https://h", "delivered": 3, "error": ""}})) == ["ok"]
    (none,) = running.judge_webhook({"webhook": {"to": "https://h", "delivered": 0, "error": ""}})
    assert "was sent no alert yet" in none.words


# --- versions ---


def test_this_installation_is_sound() -> None:
    assert levels(versions.judge_libraries(versions.library_versions())) == ["ok"]
    assert len(versions.judge_core()) == 1


def test_missing_and_unpinned_libraries_fail() -> None:
    good = versions.library_versions()
    assert levels(versions.judge_libraries({**good, "uvloop": None})) == ["FAIL"]
    assert levels(versions.judge_libraries({**good, "pysyncobj": "0.4.0"})) == ["FAIL"]


def test_an_older_running_node_and_differing_members_are_told() -> None:
    assert versions.judge_running({"node": {"version": "0.0.1"}})[0].level is Level.NOTE
    assert versions.judge_running({}) == []
    told = versions.judge_differences([{"member": "b", "what": "default_ttl_ms", "here": "400", "there": "900"}])
    assert levels(told) == ["WARN"]
    assert "here 400, there 900" in told[0].words


def test_a_member_that_is_farther_than_elections_are_tried_with_warns() -> None:
    members = [
        {"id": name, "connected": True, "state": "complete", "rtt_us": rtt_us}
        for name, rtt_us in (("b", 399_000.0), ("c", 401_000.0), ("d", None))
    ]
    found = reach.judge_members({"members": members})
    assert levels(found) == ["ok", "WARN", "ok"]
    assert "farther than the 400 ms" in found[1].words
    tried = [reach.Reached("b", 399.0), reach.Reached("c", 401.0)]
    assert levels(reach.judge_reached(reach.PEERS, tried)) == ["ok", "WARN"]
    assert levels(reach.judge_reached(reach.VALIDATORS, tried)) == ["ok", "ok"]
