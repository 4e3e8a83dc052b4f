"""`cmkms doctor` on sound and broken homes: what is wrong is a line with its cure, never a
traceback, and nothing is changed.
"""

import base64
import errno
import json
import os
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nacl.signing import SigningKey

from cometkms.config.load import Flags, load_settings
from cometkms.core import choose
from cometkms.durable import hand_over
from cometkms.errors import StateError, UnfitFileError
from cometkms.hardening.account import AUDIT_NAME, STATE_NAME, Account, choose_account
from cometkms.hardening.user import no_files
from cometkms.keys.validator_key import load_public_key
from cometkms.limits import AUDIT_UID, BLOCK_BYTES, JUMP_HEIGHTS, STATE_UID
from cometkms.model import HRS, BlockID, Dialect, Kind, Message, Row, Timestamp, Vote, Watermark
from cometkms.operator.doctor import disk, examine, files
from cometkms.rules.birth import NodeState
from cometkms.store import state_file
from cometkms.store.exported import note_export
from cometkms.store.lock import LOCK_NAME, lock_home, locked_home
from cometkms.store.node_files import ChainFiles, NodeFiles
from cometkms.store.node_store import open_node
from cometkms.store.promise_store import PromiseStore
from tests.unit.cli.fake_node import FakeNode
from tests.unit.cli.inside import cmkms
from tests.unit.net.fake_rpc import RECORDED, FakeRpc

CORE = choose.load()
CHAIN = "c-1"


def sign_bytes(height: int, block: bytes = b"a", chain: str = CHAIN) -> bytes:
    vote = Vote(2, height, 0, BlockID(block * 32, 1, b"p" * 32), Timestamp(1_700_000_000, 0))
    return CORE.check_request(Dialect.PROTO, chain, Message(Kind.SIGN_VOTE_REQUEST, chain, vote=vote)).sign_bytes


def signed(key: SigningKey, height: int, block: bytes = b"a") -> Watermark:
    data = sign_bytes(height, block)
    return Watermark(CORE.parse_sign_bytes(data).hrs, data, bytes(key.sign(data).signature))


class Home:
    """A home as a node leaves it that signed height 7 and was stopped."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.key_path = path / "priv" / "priv_validator_key.json"
        self.state_path = path / "priv" / "priv_validator_state.json"
        self.born_path = path / "priv" / "born.json"
        self.store_path = path / "data" / "node0" / "promises"

    def make(self) -> "Home":
        done = cmkms(
            "init",
            "--home",
            str(self.path),
            "--new-key",
            "--chain-id",
            CHAIN,
            "--validator-addr",
            "tcp://127.0.0.1:1",
            "--id",
            "node0",
        )
        assert done.returncode == 0, done.stderr
        state_file.save(self.state_path, signed(self.key, 7))
        open_node(self.files(), CORE).store.close()
        return self

    @property
    def key(self) -> SigningKey:
        return SigningKey(base64.b64decode(json.loads(self.key_path.read_text())["priv_key"]["value"])[:32])

    def files(self, *members: str) -> NodeFiles:
        row = Row(load_public_key(self.key_path), CHAIN)
        return NodeFiles.at(self.path, "node0", (ChainFiles(row, self.state_path),), members)

    def store(self, change: Callable[[PromiseStore], None]) -> None:
        store = PromiseStore.open(self.store_path)
        change(store)
        store.close()

    def bytes_of(self) -> dict[str, tuple[bytes, int, int]]:
        """Every file and directory below: content, mode, modification time."""
        found = {}
        for path in [self.path, *sorted(self.path.rglob("*"))]:
            if path.is_socket() or path.is_fifo():
                continue
            status = path.stat()
            content = path.read_bytes() if path.is_file() else b""
            found[str(path.relative_to(self.path))] = (content, status.st_mode, status.st_mtime_ns)
        return found


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home(tmp_path_factory.mktemp("sound") / "home").make()


@pytest.fixture
def home(sound: Home, tmp_path: Path) -> Home:
    shutil.copytree(sound.path, tmp_path / "home")
    return Home(tmp_path / "home")


def doctor(home: Home, *arguments: str) -> list[dict[str, str]]:
    """The findings; the home is what it was."""
    before = home.bytes_of() if home.path.is_dir() else {}
    done = cmkms("doctor", "--home", str(home.path), "--json", *arguments)
    assert "Traceback" not in done.stderr
    document = json.loads(done.stdout)
    bad = [one for one in document["findings"] if one["level"] in ("warn", "fail")]
    assert (done.returncode, document["ok"]) == ((1, False) if bad else (0, True))
    assert all(one["cure"] for one in bad)
    assert not any("bug" in one["words"] for one in bad), bad
    if home.path.is_dir():
        assert home.bytes_of() == before
    return document["findings"]


def bad_of(found: list[dict[str, str]], *areas: str) -> list[dict[str, str]]:
    return [one for one in found if one["area"] in areas and one["level"] in ("warn", "fail")]


OURS = ("config", "key", "state", "permissions", "node", "versions")


def test_a_sound_home_has_nothing_bad_in_it(home: Home) -> None:
    found = doctor(home)
    assert bad_of(found, *OURS) == []
    words = " ".join(one["words"] for one in found)
    for fragment in (
        "no node runs",
        "the watermark is 7/0/3 (signed)",
        "the store is whole",
        "in the clear",
        "a sync of one sector takes",
    ):
        assert fragment in words
    [validator] = [one for one in found if one["area"] == "validators"]
    assert (validator["level"], "cannot be reached" in validator["words"]) == ("warn", True)
    [latency] = [one for one in found if one["area"] == "latency"]
    assert latency["words"].startswith("a signature from here takes about ")
    assert "a block takes 1 s" in latency["words"]


def test_without_json_it_is_a_line_each(home: Home) -> None:
    done = cmkms("doctor", "--home", str(home.path))
    assert done.returncode == 1
    assert [
        line.split()[0] for line in done.stdout.splitlines() if not line.startswith(("ok", "note", "WARN", "FAIL"))
    ] == []
    assert (
        "WARN  validators   tcp://127.0.0.1:1 cannot be reached: connection refused; cure: start the validator"
        in done.stdout
    )


def write(name: str, content: bytes | str, mode: int = 0o600) -> Callable[[Home], None]:
    def change(home: Home) -> None:
        path = home.path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        path.chmod(mode)

    return change


def corrupt(offset: int) -> Callable[[Home], None]:
    def change(home: Home) -> None:
        with home.store_path.open("r+b") as file:
            file.seek(offset)
            file.write(b"\xff" * 40)

    return change


def another_key(home: Home) -> None:
    home.key_path.unlink()
    assert cmkms("keys", "new", "--home", str(home.path)).returncode == 0


def edit_config(old: str, new: str) -> Callable[[Home], None]:
    def change(home: Home) -> None:
        path = home.path / "config.toml"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    return change


def into_directory(name: str) -> Callable[[Home], None]:
    def change(home: Home) -> None:
        (home.path / name).unlink()
        (home.path / name).mkdir(mode=0o700)

    return change


def forget_store(home: Home) -> None:
    shutil.rmtree(home.store_path.parent)


PRIV = "priv/priv_validator_key.json"
STATE = "priv/priv_validator_state.json"
BROKEN: dict[str, tuple[Callable[[Home], Any], str, str, str]] = {
    "no home": (lambda home: shutil.rmtree(home.path), "permissions", "fail", "does not exist"),
    "config is no TOML": (write("config.toml", b"\xff\x00 = ["), "config", "fail", "is no TOML"),
    "config has an unknown key": (edit_config("chain_id", "chainid"), "config", "fail", "unknown key"),
    "config has a bad duration": (lambda h: (h.path / "config.toml").open("a").write('\ndefault_ttl = "soon"\n'), "config", "fail", "default_ttl"),
    "no chain": (edit_config(f'chain_id = "{CHAIN}"', ""), "config", "fail", "chain id"),
    "key missing": (lambda home: home.key_path.unlink(), "key", "fail", "is missing"),
    "key readable by others": (lambda home: home.key_path.chmod(0o644), "key", "fail", "can be read by others"),
    "key readable by others, as a permission": (lambda h: h.key_path.chmod(0o644), "permissions", "fail", "can be read by others"),
    "key is garbage": (write(PRIV, b"\x00\xff" * 99), "key", "fail", "holds no priv_key"),
    "key is empty": (write(PRIV, ""), "key", "fail", "holds no priv_key"),
    "key is a directory": (into_directory(PRIV), "key", "fail", "no regular file"),
    "key is huge": (write(PRIV, b" " * (1 << 20)), "key", "fail", "bytes"),
    "another key beside the old state": (another_key, "state", "fail", "nor is the signature in"),
    "another key beside the old store": (another_key, "state", "fail", "knows this chain with another key"),
    "state missing": (lambda home: home.state_path.unlink(), "state", "fail", "is missing. The store "),
    "state empty": (write(STATE, ""), "state", "fail", "it is empty"),
    "state is garbage": (write(STATE, b"\xff\xfe"), "state", "fail", "it is no JSON"),
    "state is nested deep": (write(STATE, "[" * 16000), "state", "fail", "no JSON"),
    "state is huge": (write(STATE, " " * (1 << 20)), "state", "fail", "more than"),
    "state is a directory": (into_directory(STATE), "state", "fail", "cannot be read"),
    "state of another chain": (
        lambda h: state_file.save(h.state_path, Watermark(HRS(7, 0, 3), sign_bytes(7, chain="other"), bytes(64))),
        "state", "fail", "'other'",
    ),
    "state file ahead": (lambda h: state_file.save(h.state_path, signed(h.key, 9)), "state", "fail", "an old copy of the store was put back"),
    "other bytes in the state file": (lambda h: state_file.save(h.state_path, signed(h.key, 7, b"z")), "state", "fail", "different bytes"),
    "state file writable by others": (lambda h: h.state_path.chmod(0o666), "permissions", "fail", "can be written by others"),
    "store's header is corrupt": (corrupt(100), "state", "fail", "is corrupt"),
    "store's row is corrupt": (corrupt(2 * BLOCK_BYTES + 100), "state", "fail", "is corrupt"),
    "store is cut": (lambda home: os.truncate(home.store_path, 5000), "state", "fail", "is corrupt"),
    "store is empty": (lambda home: os.truncate(home.store_path, 0), "state", "fail", "is corrupt"),
    "store of a later version": (
        lambda h: h.store_path.write_bytes(h.store_path.read_bytes().replace(b"CMKMSH0", b"CMKMSH9")), "state", "fail", "promises",
    ),
    "store is lost": (forget_store, "state", "fail", "what it promised is lost"),
    "store of another node": (
        lambda h: h.store(lambda s: s.write_header(replace(s.header, owner="node9"))), "state", "fail", "belongs to node 'node9'",
    ),
    "store of other members": (
        lambda h: h.store(lambda s: s.write_header(replace(s.header, members=("node0", "node1")))), "state", "fail", "peer list names node0",
    ),
    "store is sealed": (lambda h: h.store(lambda s: s.write_header(replace(s.header, state=NodeState.SEALED))), "state", "fail", "was sealed"),
    "store is recovered and met nobody": (
        lambda h: h.store(lambda s: s.write_header(replace(s.header, record=(), unclaimed=True))), "state", "warn", "has met no majority since",
    ),
    "store is recovering": (lambda h: h.store(lambda s: s.write_header(replace(s.header, state=NodeState.RECOVERING))), "state", "warn", "lost its promises"),
    "born.json is garbage": (write("priv/born.json", "{"), "state", "fail", "born.json cannot be understood"),
    "born.json is nested deep": (write("priv/born.json", "[" * 100_000), "state", "fail", "cannot be understood"),
    "born.json is missing": (lambda home: home.born_path.unlink(), "state", "warn", "does not name this node"),
    "born.json names another": (
        lambda h: (write("priv/born.json", '{"ids": ["node7"]}')(h), forget_store(h)), "state", "fail", "belongs to node 'node7'",
    ),
    "key went out": (
        lambda h: note_export(h.state_path, CHAIN, "filepv", Path("/old"), HRS(7, 0, 2), h.store_path), "state", "fail", "this key went out, to filepv",
    ),
    "exported.json is garbage": (write("priv/exported.json", "{"), "state", "fail", "exported.json cannot be understood"),
    "identity is garbage": (write("priv/identity_key.json", "{}"), "key", "fail", "no identity key"),
    "identity readable by others": (write("priv/identity_key.json", "{}", 0o644), "permissions", "fail", "can be read by others"),
    "cluster.key is short": (write("priv/cluster.key", "abcd"), "key", "fail", "64 hex digits"),
    "cluster.key is no text": (write("priv/cluster.key", b"\xff" * 64), "key", "fail", "64 hex digits"),
    "priv is open to all": (lambda home: (home.path / "priv").chmod(0o777), "permissions", "fail", "can be read by others"),
    "data is a file": (lambda h: (shutil.rmtree(h.path / "data"), write("data", "x")(h)), "state", "fail", "cannot be read"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_is_found_with_its_cure(name: str, home: Home) -> None:
    change, area, level, words = BROKEN[name]
    change(home)
    found = doctor(home)
    hits = [one for one in found if one["area"] == area and one["level"] == level and words in one["words"]]
    assert hits, [one for one in found if one["level"] in ("warn", "fail")]


def test_a_file_that_never_ends_is_told_and_not_waited_for(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is gone, a network's file system."""
    over = threading.Event()

    def never(_path: Path, _most: int) -> bytes:
        over.wait(30)
        return b""

    monkeypatch.setattr(examine, "GROUP_S", 0.2)
    monkeypatch.setattr("cometkms.store.state_file.read_file", never)
    try:
        assert any("did not end" in one["words"] for one in bad_of(doctor(home), "state"))
    finally:
        over.set()


def test_a_read_only_file_system_is_no_lack_of_rights(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever the doctor runs as, the cure is the mount's."""
    monkeypatch.setattr("os.access", lambda _path, _mode: False)
    [plain] = files.judge_writing(home.path)
    assert plain.cure == "run the doctor, and the node, as the home's owner"
    real = os.statvfs(home.path)
    flags = real.f_flag | os.ST_RDONLY
    monkeypatch.setattr("os.statvfs", lambda _path: os.statvfs_result((*tuple(real)[:8], flags, real.f_namemax)))
    [mounted] = files.judge_writing(home.path)
    assert mounted.words == f"{home.path} is on a file system that is mounted read-only"
    assert mounted.cure.startswith("mount it writable")


def test_what_is_in_the_way_of_a_start_is_told_of_a_stopped_home(home: Home) -> None:
    lock, control = home.path / "cmkms.lock", home.path / "data" / "node0" / "control.sock"
    lock.unlink(missing_ok=True)
    spare = control.with_name(".control.sock")
    for one in (lock, control, spare):
        one.mkdir()
    found = {one["words"]: one["cure"] for one in bad_of(doctor(home), "permissions")}
    assert found[f"{lock} is no file"] == "move it away: a lock file is made anew"
    assert found[f"{control} is a directory"] == "move it away: the socket is made anew"
    words = f"{spare} is a directory: a control socket that is removed under a running node could not be put back"
    assert found[words] == "move it away: the spare socket is made anew"


@pytest.mark.parametrize("name", ["priv", "data", "data/node0"])
def test_a_directory_that_its_own_owner_may_not_write_is_cured_by_its_mode(
    home: Home, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As another user than root, whom no mode keeps out."""
    shut = home.path / name
    shut.chmod(0o500)
    monkeypatch.setattr("os.access", lambda path, _mode: Path(path) != shut)
    loaded = load_settings(home.path, Flags())
    patient = examine.Patient(home.path, loaded, (), loaded.chains, None)
    assert [(one.words, one.cure) for one in examine._writing(patient)] == [
        (f"{shut} cannot be written by this user", f"chmod u+rwx {shut}")
    ]
    assert files.cure_of_directory(shut, "otherwise") == f"chmod u+rwx {shut}"
    shut.chmod(0o700)
    assert files.cure_of_directory(shut, "otherwise") == "otherwise"


def test_a_disk_that_takes_no_sync_is_told_with_its_own_cure(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(number: int, _directory: Path) -> disk.Probe:
        raise OSError(number, os.strerror(number))

    for number, cure in (
        (errno.EROFS, "mount it writable"),
        (errno.ENOSPC, "make room there"),
        (errno.EACCES, "run the doctor as"),
    ):
        monkeypatch.setattr(disk, "measure_syncs", partial(refuse, number))
        found = [one for one in bad_of(doctor(home), "disk") if "written and synced" in one["words"]]
        assert [one["cure"].startswith(cure) for one in found] == [True]


def test_a_fifo_in_a_files_place_is_told_as_what_it_is(home: Home) -> None:
    home.state_path.unlink()
    os.mkfifo(home.state_path, 0o600)
    assert any("no regular file" in one["words"] for one in bad_of(doctor(home), "state"))
    home.store_path.unlink(missing_ok=True)
    os.mkfifo(home.store_path, 0o600)
    words = f"{home.store_path} cannot be read: it is no regular file"
    assert any(one["words"] == words for one in bad_of(doctor(home), "state"))


MUTABLE = ("config.toml", PRIV, STATE, "priv/born.json", "data/node0/promises")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
@given(data=st.data())
def test_a_file_with_anything_in_it_is_a_finding_at_most(
    data: st.DataObject, sound: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cometkms.operator.doctor.disk.PROBE_TRIES", 1)
    monkeypatch.setattr("cometkms.operator.doctor.disk.measure_syncs", lambda _directory: examine.disk.Probe((1.0,)))
    shutil.rmtree(tmp_path / "home", ignore_errors=True)
    shutil.copytree(sound.path, tmp_path / "home")
    home = Home(tmp_path / "home")
    path = home.path / data.draw(st.sampled_from(MUTABLE))
    content = path.read_bytes()
    at = data.draw(st.integers(0, min(len(content), 3 * BLOCK_BYTES)))
    cut = data.draw(st.integers(0, 30))
    path.write_bytes(content[:at] + data.draw(st.binary(max_size=20)) + content[at + cut :])
    doctor(home)


def test_a_node_that_signs_meanwhile_is_not_taken_for_two(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its store moves first, its state file follows: read in the other order, the file would seem
    to be ahead.
    """
    from cometkms.operator.doctor import state as checks

    read = checks.survey

    def signs_first(path: Path) -> Any:
        home.store(lambda store: store.write_mark(0, signed(home.key, 8)))
        found = read(path)
        state_file.save(home.state_path, signed(home.key, 8))
        return found

    monkeypatch.setattr(checks, "survey", signs_first)
    done = cmkms("doctor", "--home", str(home.path), "--json")
    assert bad_of(json.loads(done.stdout)["findings"], "state") == []


# --- keys ---


def seal(home: Home, tmp_path: Path) -> Path:
    secret = tmp_path / "passphrase"
    secret.write_text("a long passphrase\n")
    secret.chmod(0o600)
    done = cmkms("keys", "encrypt", "--home", str(home.path), "--passphrase-file", str(secret))
    assert done.returncode == 0, done.stderr
    return secret


def test_the_secret_is_opened_only_when_asked(home: Home, tmp_path: Path) -> None:
    assert not any("opens" in one["words"] for one in doctor(home))
    assert any("the key opens into locked memory" in one["words"] for one in doctor(home, "--open-key"))
    secret = seal(home, tmp_path)
    assert "none is configured" in bad_of(doctor(home), "key")[0]["words"]
    found = doctor(home, "--passphrase-file", str(secret))
    assert bad_of(found, "key") == []
    found = doctor(home, "--open-key", "--passphrase-file", str(secret))
    assert any("opens with its passphrase" in one["words"] for one in found)
    secret.write_text("another passphrase\n")
    assert bad_of(doctor(home, "--open-key", "--passphrase-file", str(secret)), "key")
    secret.chmod(0o644)
    assert "can be read by others" in bad_of(doctor(home, "--passphrase-file", str(secret)), "key")[0]["words"]


def test_a_passphrase_without_a_sealed_key_and_one_that_only_the_unit_has(home: Home, tmp_path: Path) -> None:
    with (home.path / "config.toml").open("a") as file:
        file.write('\nkey_passphrase_credential = "kms"\n')
    assert "no key is sealed" in bad_of(doctor(home), "key")[0]["words"]
    seal(home, tmp_path)
    assert any("which only the unit can read" in one["words"] for one in doctor(home))


def test_a_webhook_whose_address_only_the_unit_has_is_no_fault(home: Home) -> None:
    with (home.path / "config.toml").open("a") as file:
        file.write('\nalert_webhook_credential = "hook"\n')
    (told,) = [one for one in doctor(home) if one["area"] == "webhook"]
    assert (told["level"], "which only the unit can read" in told["words"]) == ("note", True)


# --- beside a running node ---


def running(home: Home, **said: Any) -> dict[str, Any]:
    public_key = load_public_key(home.key_path).hex()
    return {
        "ok": True, "node_id": "node0", "is_leader": True, "leader_id": "node0", "config_differences": [],
        "members": [
            {"id": "node0", "self": True, "connected": True, "state": "complete", "facts": {"http_addr": "127.0.0.1:1"}},
            {"id": "node1", "connected": True, "state": "complete", "rtt_us": 300.0, "clock_ahead_ms": 4000.0},
        ],
        "rows": [{"chain_id": CHAIN, "public_key": public_key, "watermark": {"height": 7, "round": 0, "step": 3, "burnt": False}}],
        **said,
    }  # fmt: skip


def test_a_running_node_is_asked_and_not_stood_beside(home: Home) -> None:
    node = FakeNode(home.path, "node0", running(home))
    try:
        found = doctor(home)
    finally:
        node.close()
    words = " ".join(one["words"] for one in found)
    assert "node1 is connected and complete, round trip 0.30 ms" in words
    assert "node1's clock is 4.0 s ahead of ours" in words
    assert "does not answer on HTTP" in words
    assert not [one for one in found if one["area"] == "validators"]
    assert all(asked == {"op": "peers"} for asked in node.asked)


def test_settings_that_differ_between_nodes_are_told(home: Home) -> None:
    differences = [{"member": "node1", "what": "validators", "here": "a", "there": "b"}]
    node = FakeNode(home.path, "node0", running(home, config_differences=differences))
    try:
        [one] = bad_of(doctor(home), "config")
    finally:
        node.close()
    assert one["words"] == "node1 differs in validators: here a, there b"


def test_a_key_file_that_was_changed_under_a_running_node_is_found(home: Home) -> None:
    node = FakeNode(home.path, "node0", running(home))
    try:
        another_key(home)
        assert any("another key than its file holds" in one["words"] for one in bad_of(doctor(home), "key"))
    finally:
        node.close()


@pytest.mark.parametrize(
    "answer", [{"ok": True}, {"ok": True, "members": 7, "rows": "x", "node_id": 5}, {"ok": False, "error": "no"}]
)
def test_a_node_that_answers_oddly_is_no_reason_to_crash(answer: dict[str, Any], home: Home) -> None:
    node = FakeNode(home.path, "node0", answer)
    try:
        assert doctor(home)
    finally:
        node.close()


def test_a_node_that_this_user_may_not_ask_is_not_to_be_stopped(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: (path, mode) != (home.path / "data", os.X_OK))
    lock = lock_home(home.path)
    try:
        (found,) = [one for one in doctor(home) if one["area"] == "node"]
    finally:
        os.close(lock)
    words = "holds this home, and this user may not ask it: its data/ is another user's"
    assert found["words"] == f"a node (pid {os.getpid()}) {words}"
    assert found["cure"] == "run the doctor as the node's user"


def test_a_node_whose_data_was_removed_under_it_is_not_another_user_s(home: Home) -> None:
    shutil.rmtree(home.path / "data")
    lock = lock_home(home.path)
    try:
        found = doctor(home)
    finally:
        os.close(lock)
    [node] = bad_of(found, "node")
    assert node["words"] == f"a node (pid {os.getpid()}) holds this home, and its {home.path / 'data'} is gone"
    assert node["cure"].startswith("`cmkms status`; where that has no answer either, wait")
    [gone] = bad_of(found, "state")
    assert gone["words"] == f"{home.store_path} is gone under the node that runs, which still knows what it promised"
    assert "move that very file back, no copy" in gone["cure"], "and no recovery: that would forget it"


def test_a_webhook_file_that_cannot_be_used_is_told_before_the_start(home: Home) -> None:
    edit_config("\nchain_id", '\nalert_webhook_file = "priv/hook"\nchain_id')(home)
    path = home.path / "priv" / "hook"
    [found] = bad_of(doctor(home), "webhook")
    assert found["level"] == "warn"
    assert found["words"].startswith(f"no alert can be sent: {path}, which has the webhook's address, cannot be read")
    path.write_text("https://example.com/secret\n")
    path.chmod(0o644)
    [found] = bad_of(doctor(home), "webhook")
    assert found["cure"] == f"chmod 600 {path}"
    path.chmod(0o600)
    assert bad_of(doctor(home), "webhook") == []


def test_who_holds_a_home_is_named_and_is_a_node_only_where_it_noted_itself(home: Home) -> None:
    """A command that holds it is not to be looked for in a node's log."""
    lock = lock_home(home.path)
    try:
        [found] = bad_of(doctor(home), "node")
    finally:
        os.close(lock)
    words = f"(pid {os.getpid()}) holds this home"
    path = home.store_path.with_name("control.sock")
    assert found["words"] == f"a node {words}, and its control socket {path} is gone, and there is no spare one"
    wait, well = found["cure"].split("; where it says that all is well, ")
    assert (
        wait == "`cmkms status`; where that has no answer either, wait if it has only begun; else its log, and stop it"
    )
    assert well.startswith("restart this node if nothing else is gone from its directory")
    (home.path / LOCK_NAME).write_text("1\n")
    with locked_home(home.path):
        [found] = bad_of(doctor(home), "node")
    assert found["words"].startswith(f"another process {words}, as a command that changes it does")
    assert found["cure"].startswith("wait until it has ended, or stop it")


def test_a_store_in_use_in_a_home_whose_lock_file_was_removed_is_told(home: Home) -> None:
    store = PromiseStore.open(home.store_path)
    try:
        [found] = bad_of(doctor(home), "node")
    finally:
        store.close()
    assert found["words"].startswith(f"process {os.getpid()} uses {home.store_path}, and nobody holds")
    assert found["cure"].endswith("stop that process and start the node")
    assert bad_of(doctor(home), "node") == []


def test_a_store_that_can_be_read_behind_a_link_is_told_as_the_start_tells_it(home: Home, tmp_path: Path) -> None:
    home.store_path.rename(tmp_path / "elsewhere")
    home.store_path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StateError) as refused:
        open_node(home.files(), CORE)
    assert refused.value.what.startswith(f"{home.store_path} cannot be opened: it is a link")
    told = {"level": "fail", "area": "state", "words": refused.value.what, "cure": refused.value.cure}
    assert told in doctor(home)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives its processes accounts of their own")
@pytest.mark.parametrize(
    "put", [lambda path: path.symlink_to("kept"), lambda path: path.hardlink_to(path.with_name("kept"))]
)
@pytest.mark.parametrize(
    ("name", "process", "account"),
    [
        ("promises.old-1", "state", choose_account("", STATE_NAME, STATE_UID)),
        ("audit/000000000001.jsonl", "audit", choose_account("", AUDIT_NAME, AUDIT_UID)),
    ],
)
def test_what_root_would_not_hand_over_is_told_as_the_start_tells_it(
    home: Home, put: Callable[[Path], None], name: str, process: str, account: Account
) -> None:
    path = home.store_path.parent / name
    path.parent.mkdir(mode=0o700, exist_ok=True)
    (path.with_name("kept")).write_bytes(b"x")
    path.with_name("kept").chmod(0o600)
    assert bad_of(doctor(home), "permissions") == []
    put(path)
    found = bad_of(doctor(home), "permissions")
    with pytest.raises(UnfitFileError) as refused:
        hand_over(path.parent, account.uid, account.gid)
    error = no_files(process, account, refused.value)
    assert [(one["level"], one["words"], one["cure"]) for one in found] == [("fail", error.what, error.cure)]
    edit_config("chain_id", 'hardening = "off"\nchain_id')(home)
    assert bad_of(doctor(home), "permissions") == [], "nobody gets an account of its own then"


# --- the chain ---


@pytest.fixture
def on_chain(home: Home) -> Home:
    """The recorded chain's own key: its public half, and a secret that nobody has."""
    key = json.loads(home.key_path.read_text())
    home.key_path.write_text(json.dumps({**key, **RECORDED["key"]}))
    chain_id = RECORDED["status"]["result"]["node_info"]["network"]
    edit_config(f'"{CHAIN}"', f'"{chain_id}"')(home)
    shutil.rmtree(home.path / "data")
    home.born_path.unlink()
    state_file.save(home.state_path, Watermark(HRS(11, 0, 3)))
    return home


def chain_findings(home: Home, *arguments: str, **more: Any) -> list[dict[str, str]]:
    with FakeRpc(**more) as rpc:
        return [one for one in doctor(home, "--rpc", rpc.url, *arguments) if one["area"] == "chain"]


def test_a_chain_that_agrees_is_well(on_chain: Home) -> None:
    found = chain_findings(on_chain, "--blocks", "9")
    assert [one["level"] for one in found] == ["ok"] * 4, found
    words = " ".join(one["words"] for one in found)
    for fragment in (
        "is at height 12",
        "is a validator of 1, with power 10",
        "every block from 3 to 11 is signed",
        "nothing on the chain is above",
    ):
        assert fragment in words


def test_the_chain_says_how_long_a_block_takes(on_chain: Home) -> None:
    with FakeRpc() as rpc:
        [found] = [one for one in doctor(on_chain, "--rpc", rpc.url, "--blocks", "9") if one["area"] == "latency"]
    assert "as the last 9 took" in found["words"]


@pytest.mark.parametrize(("above", "level"), [(JUMP_HEIGHTS, "ok"), (JUMP_HEIGHTS + 1, "fail")])
def test_a_watermark_far_above_the_chain_fails_with_the_way_down(on_chain: Home, above: int, level: str) -> None:
    state_file.save(on_chain.state_path, Watermark(HRS(12 + above, 0, 3)))
    found = chain_findings(on_chain, "--blocks", "5")
    assert {one["level"] for one in found} == {"ok", level}, found
    if level == "fail":
        [one] = [one for one in found if one["level"] == "fail"]
        assert f"lies {above} heights above the chain's head 12" in one["words"]
        assert "cmkms chain reset" in one["cure"]


def test_a_signature_above_the_watermark_is_another_signers(on_chain: Home) -> None:
    state_file.save(on_chain.state_path, Watermark(HRS(9, 0, 3)))
    [one] = [one for one in chain_findings(on_chain, "--blocks", "5") if one["level"] == "fail"]
    assert "up to 11/0/3, and this home knows 9/0/3: another signer runs" in one["words"]
    assert "cmkms recover --min-height" in one["cure"]


def test_in_a_cluster_a_stopped_node_may_have_missed_some(on_chain: Home) -> None:
    state_file.save(on_chain.state_path, Watermark(HRS(9, 0, 3)))
    edit_config("peer = []", 'peer = ["node0=127.0.0.1:9430", "node1=127.0.0.1:9431"]')(on_chain)
    found = chain_findings(on_chain, "--blocks", "5")
    assert [one["level"] for one in found] == ["ok", "ok", "ok", "note"], found


def test_another_signature_at_the_same_place_is_two_signers(on_chain: Home) -> None:
    entry = RECORDED["commits"]["11"]["result"]["signed_header"]["commit"]["signatures"][0]
    node = FakeNode(
        on_chain.path, "node0",
        running(on_chain, rows=[{
            "chain_id": RECORDED["status"]["result"]["node_info"]["network"], "public_key": "00",
            "last_sign_state": {"height": 11, "round": 0, "step": 3, "signature": base64.b64encode(bytes(64)).decode()},
        }]),
    )  # fmt: skip
    try:
        found = chain_findings(on_chain, "--blocks", "3")
    finally:
        node.close()
    assert entry["signature"]
    assert any("another signature of this key at 11/0/3" in one["words"] for one in found if one["level"] == "fail")


def test_missed_blocks_a_node_that_catches_up_and_forged_lines_warn(on_chain: Home) -> None:
    def answer(method: str, arguments: dict[str, str]) -> Any:
        found = json.loads(json.dumps(RECORDED["commits"].get(arguments.get("height", ""), RECORDED.get(method))))
        if method == "status":
            found["result"]["sync_info"]["catching_up"] = True
        if arguments.get("height") == "10" and method == "commit":
            found["result"]["signed_header"]["commit"]["signatures"][0]["block_id_flag"] = 1
        if arguments.get("height") == "9" and method == "commit":
            found["result"]["signed_header"]["commit"]["height"] = "8"
        return found

    found = chain_findings(on_chain, "--blocks", "4", answer=answer)
    words = [one["words"] for one in found if one["level"] == "warn"]
    assert [
        fragment in text
        for fragment, text in zip(("catching up", "did not make, at 8", "have no signature"), words, strict=True)
    ] == [True] * 3


def test_another_chain_and_a_dead_rpc_fail(home: Home) -> None:
    [one] = chain_findings(home)
    assert (one["level"], f"this node signs for '{CHAIN}'" in one["words"]) == ("fail", True)
    found = doctor(home, "--rpc", "http://127.0.0.1:1")
    assert [one["level"] for one in found if one["area"] == "chain"] == ["fail"]


def test_a_wrong_rpc_address_is_wrong_usage(home: Home) -> None:
    done = cmkms("doctor", "--home", str(home.path), "--rpc", "https://node")
    assert (done.returncode, "only http://" in done.stderr) == (3, True)
