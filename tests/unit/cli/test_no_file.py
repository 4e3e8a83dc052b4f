"""In the place of a node's file or directory stands something else, or a link to where nothing is:
every command says which and what helps.
"""

import contextlib
import errno
import json
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cometkms.cli import chain, leader, state
from cometkms.config.load import Flags, load_settings
from cometkms.core import choose
from cometkms.durable import read_file, write_atomically
from cometkms.errors import OTHER_USER_CURE, BusyError, CometKMSError, KeyFileError, StateError, StoreFailure
from cometkms.keys.cluster import noise_public_key
from cometkms.keys.identity import check_identity
from cometkms.keys.validator_key import load_public_key
from cometkms.model import HRS, Watermark
from cometkms.net.control import ask, listen_control
from cometkms.operator.moving.old_signer import read_secret
from cometkms.rules.burnt import Heights
from cometkms.store import epoch as epochs
from cometkms.store.exported import note_export
from cometkms.store.lock import lock_home
from cometkms.store.marks import known_mark
from cometkms.store.node_files import NodeFiles
from cometkms.store.node_store import open_node
from cometkms.store.promise_store import PromiseStore
from cometkms.store.raise_mark import import_mark, raise_mark
from cometkms.store.recover import recover
from cometkms.store.reset import reset_mark
from tests.e2e.node import cmkms
from tests.unit.cli import inside
from tests.unit.cli.test_cli import tree
from tests.unit.hardening.child import in_child

STATE = "priv/priv_validator_state.json"
USER = (1000, 1000) if os.geteuid() == 0 else (os.geteuid(), os.getegid())


def a_file(path: Path) -> None:
    path.write_text("x")


def a_link_to_nothing(path: Path) -> None:
    path.symlink_to("/nowhere/at/all")


def a_link_to_itself(path: Path) -> None:
    path.symlink_to(path.name)


def a_fifo(path: Path) -> None:
    os.mkfifo(path, 0o600)


def a_socket(path: Path) -> None:
    with contextlib.chdir(path.parent), socket.socket(socket.AF_UNIX) as one:
        one.bind(path.name)
    path.chmod(0o600)


def a_directory(path: Path) -> None:
    path.mkdir(mode=0o700)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("made") / "home"
    arguments = ("--new-key", "--chain-id", "c-1", "--validator-addr", "tcp://127.0.0.1:1", "--id", "node0")
    assert cmkms("init", "--home", str(home), *arguments).returncode == 0
    return home


@pytest.fixture
def home(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "home"))


def files_of(home: Path) -> NodeFiles:
    return state.files_of(load_settings(home, Flags(), {}))


def instead(home: Path, name: str, put: Callable[[Path], None]) -> Path:
    path = home / name
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    path.parent.mkdir(exist_ok=True)
    put(path)
    return path


@pytest.mark.parametrize("name", ["data", "data/node0"])
@pytest.mark.parametrize("put", [a_file, a_link_to_nothing, a_link_to_itself, a_fifo])
def test_a_directory_that_is_none_is_named_whole_and_nothing_is_taken_for_lost(
    home: Path, name: str, put: Callable[[Path], None]
) -> None:
    """A disk that is not mounted is no store that is lost: nobody is told to recover, and nobody
    begins anew.
    """
    path = instead(home, name, put)
    files, core = files_of(home), choose.load()
    for attempt in (
        lambda: open_node(files, core),
        lambda: recover(files, Heights(5), core),
        lambda: known_mark(files, files.chains[0], core),
    ):
        with pytest.raises(StateError) as error:
            attempt()
        assert str(path) in error.value.what
        assert "it is no directory" in error.value.what or "it is a link to " in error.value.what
        assert error.value.cure.startswith("mount what the link leads to")
        assert "recover" not in str(error.value)
    shown = cmkms("state", "show", "--home", str(home))
    assert (shown.returncode, f"Error: {path}: it is " in shown.stderr) == (5, True)
    found = json.loads(cmkms("doctor", "--home", str(home), "--json").stdout)["findings"]
    told = next(one["words"] for one in found if one["area"] == "state" and one["level"] == "fail")
    assert told.startswith(f"{path}: it is ")
    assert not any("has never started here" in one["words"] for one in found)


@pytest.mark.parametrize("put", [a_fifo, a_directory, a_link_to_nothing])
def test_a_state_file_that_is_none_is_not_to_be_made_readable(home: Path, put: Callable[[Path], None]) -> None:
    path = instead(home, STATE, put)
    with pytest.raises(StateError) as error:
        open_node(files_of(home), choose.load())
    assert error.value.what.startswith(f"{path} cannot be read: it is ")
    assert error.value.cure == (
        "if config.toml leads there by mistake, the right path into state_file; else put the file itself there, in place of what is there now: as the "
        "signer that used the key last left it (stop that one first)"
    )


@pytest.mark.parametrize("name", [STATE, "priv/born.json"])
@pytest.mark.parametrize("put", [a_fifo, a_socket, a_directory, a_link_to_nothing, a_link_to_itself])
def test_what_is_none_in_a_state_file_s_or_born_json_s_place_is_not_taken_for_lost(
    home: Path, name: str, put: Callable[[Path], None]
) -> None:
    """The file may lie on a disk that is not mounted; no disk failed, and nothing is half done."""
    path = instead(home, name, put)
    before = tree(home)
    with pytest.raises(StateError) as error:
        recover(files_of(home), Heights(5), choose.load())
    assert error.value.what.startswith(f"{path} cannot be read: ")
    assert error.value.what.endswith("so what it knows is not known to be lost. Nothing was changed")
    assert error.value.cure.endswith("where that is lost for good, move away what stands there")
    assert tree(home) == before
    path.rename(path.with_name("moved"))
    assert recover(files_of(home), Heights(5), choose.load()).marks[0].hrs.height == 5


def test_a_note_of_an_export_that_is_garbage_is_told_before_anything_is_burnt(home: Path) -> None:
    (home / "priv" / "exported.json").write_text("x")
    before = tree(home)
    with pytest.raises(StateError, match=r"exported\.json cannot be understood.*; cure: restore it"):
        recover(files_of(home), Heights(5), choose.load())
    assert tree(home) == before


@pytest.mark.parametrize("put", [a_fifo, a_directory, a_link_to_nothing, a_link_to_itself])
def test_no_mark_is_shown_or_raised_without_a_state_file_that_is_out_of_reach(
    home: Path, put: Callable[[Path], None]
) -> None:
    """An old copy of the store beside it, and another signer's file: what it says was undercut."""
    files, core = files_of(home), choose.load()
    recover(files, Heights(40), core)
    path = instead(home, STATE, put)
    before = tree(home)
    for attempt in (
        lambda: known_mark(files, files.chains[0], core),
        lambda: import_mark(files, files.chains[0], Watermark(HRS(50, 0, 3)), core),
        lambda: raise_mark(files, files.chains[0], [Watermark(HRS(50, 0, 3))], core),
        lambda: reset_mark(files, files.chains[0], 50),
    ):
        with pytest.raises(StateError) as error:
            attempt()
        assert str(path) in error.value.what
    other = home / "other.json"
    other.write_text('{"height":"50","round":0,"step":3}')
    for words in (("show",), ("export",), ("export", "--out", str(path)), ("import", str(other))):
        done = cmkms("state", words[0], "--home", str(home), *words[1:])
        assert (done.returncode, str(path) in done.stderr) == (5, True), done.stderr
    other.unlink()
    assert tree(home) == before


@pytest.mark.parametrize("put", [a_fifo, a_directory, a_link_to_nothing])
def test_a_store_that_is_none_is_no_missing_one(home: Path, put: Callable[[Path], None]) -> None:
    """Whatever a store would hold is not known: no new one is begun in its place, and no mark is
    shown without it.
    """
    path = instead(home, "data/node0/promises", put)
    files, core = files_of(home), choose.load()
    before = (home / STATE).read_bytes()
    for attempt in (
        lambda: open_node(files, core),
        lambda: known_mark(files, files.chains[0], core),
        lambda: import_mark(files, files.chains[0], Watermark(HRS(7, 0, 3)), core),
    ):
        with pytest.raises(StateError) as error:
            attempt()
        assert str(path) in error.value.what
        assert error.value.cure == "put the file itself there, in place of what is there now"
    renamed = cmkms("chain", "rename", "--home", str(home), "--from", "c-1", "--to", "c-2", "--yes")
    assert f"Error: {path} cannot be opened: it is " in renamed.stderr
    assert (home / STATE).read_bytes() == before, "a state file ahead of its store would keep the node from starting"
    there = tree(home)
    with pytest.raises(StateError, match=f"{path} cannot be read: .* not known to be lost") as error:
        recover(files, Heights(5), core)
    assert error.value.cure.endswith("where that is lost for good, move away what stands there")
    assert tree(home) == there
    path.rename(path.with_name("moved"))
    assert recover(files, Heights(5), core).marks[0].hrs.height == 5


@pytest.mark.parametrize("name", ["born.json", "exported.json"])
@pytest.mark.parametrize("put", [a_fifo, a_directory, a_link_to_nothing])
def test_what_says_that_a_node_lived_or_moved_away_is_never_taken_for_missing(
    home: Path, name: str, put: Callable[[Path], None]
) -> None:
    path = instead(home, f"priv/{name}", put)
    with pytest.raises(StateError, match=f"{path} cannot be read: it is .*; cure: put the file itself there"):
        open_node(files_of(home), choose.load())
    assert not (home / "data" / "node0" / "promises").exists()


@pytest.mark.parametrize("name", ["priv/cluster.key", "priv/identity_key.json"])
@pytest.mark.parametrize("put", [a_fifo, a_directory, a_link_to_nothing])
def test_a_secret_that_is_no_file_is_not_said_to_be_open_to_others(
    home: Path, name: str, put: Callable[[Path], None]
) -> None:
    path = instead(home, name, put)
    found = json.loads(cmkms("doctor", "--home", str(home), "--json").stdout)["findings"]
    told = [one for one in found if one["area"] == "key" and one["level"] == "fail"]
    assert [str(path) in one["words"] and "it is " in one["words"] for one in told] == [True]
    assert told[0]["cure"] == "put the file itself there, in place of what is there now"


def test_a_noise_identity_that_is_missing_is_told_by_the_doctor_and_by_who_needs_it(home: Path) -> None:
    config, path = home / "config.toml", home / "priv" / "noise_key.json"
    config.write_text(f'noise_identity_file = "priv/noise_key.json"\n{config.read_text()}')
    with pytest.raises(KeyFileError) as error:
        noise_public_key(home, (), choose.load(), path)
    assert error.value.what == f"{path} is missing"
    assert error.value.cure.startswith("put the file there, mode 0600; or take noise_identity_file out on every node")
    found = json.loads(cmkms("doctor", "--home", str(home), "--json").stdout)["findings"]
    assert {"level": "fail", "area": "key", "words": error.value.what, "cure": error.value.cure} in found
    with pytest.raises(KeyFileError, match="; or leave it, and this program makes an identity of its own"):
        check_identity(path)


def test_nobody_is_told_to_shut_a_directory_that_only_stands_in_a_file_s_place(home: Path) -> None:
    """`chmod 600 /` for noise_identity_file = "/", `chmod 700` of the home for a key_file that is
    ".": neither is a cure.
    """
    config = home / "config.toml"
    text = config.read_text()
    config.write_text(f'noise_identity_file = "/"\n{text}')
    with pytest.raises(
        KeyFileError, match=r"^/ cannot be read: it is no regular file; cure: put the file itself there"
    ):
        noise_public_key(home, (), choose.load(), Path("/"))
    config.write_text('id = "node0"\n[[chain]]\nid = "c-1"\nvalidator_addr = "tcp://127.0.0.1:1"\nkey_file = "/"\n')
    found = json.loads(cmkms("doctor", "--home", str(home), "--json").stdout)["findings"]
    assert [one["words"] for one in found if one["area"] == "key" and one["level"] == "fail"] == [
        "/ cannot be read: it is no regular file"
    ]
    assert not any(one["cure"].startswith("chmod") for one in found)


@pytest.mark.parametrize("name", ["priv", "priv/priv_validator_key.json", "data", "data/node0/control.sock", STATE])
def test_the_doctor_shuts_nothing_that_a_machine_s_programs_share(home: Path, name: str, tmp_path: Path) -> None:
    """`chmod 700` and `chown` of a link change what it leads to: /tmp, for everybody."""
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    (home / "data" / "node0").mkdir(parents=True, exist_ok=True)
    instead(home, name, lambda path: path.symlink_to(shared))
    found = json.loads(cmkms("doctor", "--home", str(home), "--json").stdout)["findings"]
    assert not [one for one in found if one["cure"].startswith(("chmod", "chown"))]
    words = f"{home / name} leads to a directory that everybody on this machine uses (mode 1777)"
    assert any(one["words"] == words for one in found) or name.endswith("key.json")


def test_the_doctor_tells_a_link_to_itself_and_no_device_s_mode(home: Path) -> None:
    config = home / "config.toml"
    config.write_text(f'key_passphrase_file = "/dev/null"\n{config.read_text()}')
    (home / "data" / "node0").mkdir(parents=True, exist_ok=True)
    path = instead(home, "data/node0/control.sock", a_link_to_itself)
    found = json.loads(cmkms("doctor", "--home", str(home), "--json").stdout)["findings"]
    assert not [one for one in found if "/dev/null" in one["cure"]]
    (told,) = [one for one in found if one["words"].startswith(f"{path} cannot be looked at")]
    assert told["cure"] == "put the file itself there, in place of what is there now"


def test_a_secret_s_file_that_is_missing_is_not_to_be_given_to_anybody(home: Path) -> None:
    config = home / "config.toml"
    config.write_text(f'alert_webhook_file = "none"\n{config.read_text()}')
    done = cmkms("alert", "test", "--home", str(home))
    assert (
        "cannot be read: no such file or directory; cure: put the file there, for the node's user, mode 0600"
        in done.stderr
    )


def test_a_key_behind_a_link_to_nothing_is_not_missing(home: Path) -> None:
    """A disk that is not mounted: another key, made anew in its place, would be no validator's."""
    link = instead(home, "priv", a_link_to_nothing)
    done = cmkms("start", "--home", str(home))
    assert done.returncode == KeyFileError.exit_code
    assert f"Error: {link}: it is a link to /nowhere/at/all, and there is no directory" in done.stderr
    assert "cure: mount what the link leads to" in done.stderr
    assert "--new-key" not in done.stderr


@pytest.mark.parametrize("name", ["priv", "priv/priv_validator_key.json", STATE])
def test_a_link_to_itself_is_told_and_ends_in_no_traceback(home: Path, name: str) -> None:
    path = instead(home, name, a_link_to_itself)
    done = cmkms("start", "--home", str(home))
    assert done.returncode in (KeyFileError.exit_code, StateError.exit_code)
    assert f"Error: {path}" in done.stderr
    assert "link" in done.stderr
    assert "Traceback" not in done.stderr + done.stdout


def test_something_else_in_the_control_socket_s_place_is_told_with_what_helps(tmp_path: Path) -> None:
    (tmp_path / "control.sock").mkdir()
    with pytest.raises(BusyError, match="cannot be listened on: is a directory; cure: move away what is there"):
        listen_control(tmp_path / "control.sock")


@pytest.mark.parametrize("put", [a_fifo, a_socket, a_directory])
def test_the_lock_s_place_is_named_with_what_helps(home: Path, put: Callable[[Path], None]) -> None:
    path = instead(home, "cmkms.lock", put)
    done = cmkms("recover", "--home", str(home), "--min-height", "5", "--yes-height", "5")
    assert done.returncode == StateError.exit_code
    words = "is a directory" if put is a_directory else "it is no regular file"
    assert f"{path} cannot be opened: {words}; cure: move it away" in done.stderr


def test_a_mistyped_path_of_another_signer_s_state_is_no_state_that_is_lost(home: Path, tmp_path: Path) -> None:
    """The cure of a node's own missing file, `{"height":"0"…}`, would let a key sign
    anew what it has signed.
    """
    link, way, loop = (tmp_path / name for name in ("link", "way", "loop"))
    a_link_to_nothing(link)
    a_link_to_nothing(way)
    a_link_to_itself(loop)
    for path, what in (
        (tmp_path / "none", f"{tmp_path / 'none'} is missing"),
        (tmp_path, f"{tmp_path} cannot be read: it is no regular file"),
        (link, f"{link} cannot be read: it is a link to /nowhere/at/all, and nothing is there"),
        (way / "state.json", f"{way} cannot be read: it is a link to /nowhere/at/all, and there is no directory"),
        (loop, f"{loop} cannot be read: too many levels of symbolic links"),
    ):
        done = inside.cmkms("state", "import", "--home", str(home), str(path))
        assert done.returncode == StateError.exit_code
        assert f"Error: {what}; cure: the path of the other signer's priv_validator_state.json" in done.stderr
        assert "height" not in done.stderr
    done = cmkms("state", "export", "--home", str(home), "--out", str(tmp_path / "none" / "x"))
    assert done.returncode == StateError.exit_code, "no disk failed"
    assert "there is no such directory; cure: another --out" in done.stderr


@pytest.fixture
def of_a_user(made: Path) -> Iterator[Path]:
    """A home of one who is not root, where they can get to it."""
    above = Path(tempfile.mkdtemp())
    above.chmod(0o755)
    home = Path(shutil.copytree(made, above / "home"))
    if os.geteuid() == 0:
        for path in (home, *home.rglob("*")):
            os.chown(path, *USER)
    yield home
    (home / "data").chmod(0o700)
    shutil.rmtree(above)


def refused(act: Callable[[], object]) -> list[str]:
    """What a user who is not root is told, with the cure."""

    def life() -> list[str]:
        if os.geteuid() == 0:
            os.setresgid(*[USER[1]] * 3)
            os.setresuid(*[USER[0]] * 3)
        try:
            act()
        except CometKMSError as error:
            return [error.what, error.cure]
        return []

    told: list[str] = in_child(life)
    return told


def shut_folder(path: Path, otherwise: str) -> str:
    """Let nobody into it; what helps: its mode, where it is this user's own."""
    path.chmod(0)
    return f"chmod u+rwx {path}" if path.stat().st_uid == (os.geteuid() or USER[0]) else otherwise


@pytest.mark.parametrize("name", ["data", "data/node0"])
def test_a_store_that_its_user_may_not_look_at_is_not_lost(of_a_user: Path, name: str) -> None:
    """The cure for a lost one burns heights. This one was there, whole, and root's after a repair."""
    files = files_of(of_a_user)
    (of_a_user / "data" / "node0").mkdir(parents=True, exist_ok=True)
    helps = shut_folder(of_a_user / name, "give the home and what is in it to the node's user")
    for act in (
        lambda: open_node(files, choose.load()),
        lambda: recover(files, Heights({}, 5), choose.load()),
        lambda: known_mark(files, files.chains[0], choose.load()),
    ):
        what, cure = refused(act)
        assert what == f"{files.store_path}: permission denied, so what this node promised cannot be read"
        assert cure == helps
    (of_a_user / "data").chmod(0o700)


def own(home: Path) -> None:
    for path in home.rglob("*"):
        os.chown(path, *USER)


def shut(path: Path) -> str:
    """Let its user not read it; what helps."""
    if os.geteuid() == 0:
        os.chown(path, 0, 0)
        return "run this as the node's user, to whom it must belong"
    path.chmod(0)
    return f"chmod u+rw {path}"


@pytest.mark.parametrize("name", ["data/node0/promises", STATE, "priv/born.json"])
def test_what_its_user_may_not_read_is_not_undercut_by_a_recovery(of_a_user: Path, name: str) -> None:
    """It was root's after a repair, and whole: who left it out had the mark at the height that was
    typed, below what was signed.
    """
    files, core = files_of(of_a_user), choose.load()
    recover(files, Heights(63), core)
    own(of_a_user)
    before = tree(of_a_user)
    cure = shut(of_a_user / name)
    assert refused(lambda: recover(files, Heights(5), core)) == [
        f"{of_a_user / name} cannot be read: permission denied, so what it knows is not known to be lost. Nothing was changed",
        cure,
    ]
    (of_a_user / name).chmod(0o600)
    assert tree(of_a_user) == before
    own(of_a_user)
    assert refused(lambda: recover(files, Heights(5), core)) == []
    held = known_mark(files, files.chains[0], core)
    assert held is not None and held.hrs.height == 63


@pytest.mark.parametrize("name", ["data", "data/node0", "data/node0/promises"])
def test_a_rename_by_who_may_not_read_the_store_has_a_cure(of_a_user: Path, name: str) -> None:
    recover(files_of(of_a_user), Heights(63), choose.load())
    own(of_a_user)
    path = of_a_user / name
    helps = shut_folder(path, "give the home and what is in it to the node's user") if path.is_dir() else shut(path)
    arguments = ["--home", str(of_a_user), "--from", "c-1", "--to", "c-2", "--yes"]
    what, cure = refused(lambda: chain.rename.main(arguments, standalone_mode=False))
    assert what.startswith(f"{of_a_user / 'data/node0/promises'}") and "permission denied" in what
    assert cure == helps
    (of_a_user / "data").chmod(0o700)


def test_a_home_that_its_user_may_not_enter_has_a_cure(of_a_user: Path) -> None:
    helps = shut_folder(of_a_user, "run this as the node's user, to whom it must belong")
    what, cure = refused(lambda: leader.show.main(["--home", str(of_a_user)], standalone_mode=False))
    assert what == f"{of_a_user / 'data'} cannot be looked into: permission denied"
    assert cure == helps
    of_a_user.chmod(0o755)


def test_what_is_this_user_s_already_is_not_to_be_given_to_them(of_a_user: Path) -> None:
    lock = of_a_user / "cmkms.lock"
    lock.touch()
    lock.chmod(0o400)
    if os.geteuid() == 0:
        os.chown(lock, *USER)
    assert refused(lambda: lock_home(of_a_user)) == [
        f"{lock} cannot be opened: permission denied",
        f"chmod u+rw {lock}",
    ]


def test_what_lies_in_a_directory_that_shuts_out_its_own_user_is_not_to_be_given_to_them(of_a_user: Path) -> None:
    priv, key = of_a_user / "priv", of_a_user / "priv" / "priv_validator_key.json"
    own(of_a_user)
    for mode in (0o000, 0o200, 0o600):
        priv.chmod(mode)
        what, cure = refused(lambda: load_public_key(key))
        assert (what, cure) == (f"{key} cannot be read: permission denied", f"chmod u+rwx {priv}"), oct(mode)
    priv.chmod(0o700)


def test_a_directory_that_takes_no_file_is_named_with_the_file(of_a_user: Path) -> None:
    priv, data = of_a_user / "priv", of_a_user / "data"
    for folder in (priv, data):
        folder.chmod(0o500)
    what, cure = refused(lambda: write_atomically(priv / "born.json", b"{}"))
    assert what == f"{priv / 'born.json'} could not be written: permission denied"
    assert cure == f"the node's user must be able to write {priv}"
    what, cure = refused(lambda: listen_control(data / "control.sock"))
    assert what == f"{data / 'control.sock'} cannot be listened on: permission denied"
    assert cure == f"the node's user must be able to write {data}"


def test_who_may_not_ask_a_node_is_told_whose_it_is_to_ask(of_a_user: Path) -> None:
    data, socket_path = of_a_user / "data", of_a_user / "data" / "node0" / "control.sock"
    data.chmod(0)
    assert refused(lambda: ask(socket_path, {})) == [f"{socket_path}: permission denied", OTHER_USER_CURE]


TO_TWO = ("node0=127.0.0.1:9430", "node1=127.0.0.1:9431", "--yes")


@pytest.mark.parametrize("put", [a_fifo, a_directory, a_socket, a_link_to_nothing, a_link_to_itself])
def test_what_stands_in_a_store_s_place_makes_no_new_machine_of_a_member(
    home: Path, put: Callable[[Path], None]
) -> None:
    """A disk that is not mounted: `member` told it to copy the others' seals, and to begin."""
    open_node(files_of(home), choose.load()).store.close()
    path = instead(home, "data/node0/promises", put)
    for command in (("member", "add", *TO_TWO), ("epoch", "seal", "--next", "node0,node1", "--yes"), ("epoch", "show")):
        done = cmkms(*command[:2], "--home", str(home), *command[2:])
        assert done.returncode == StateError.exit_code, done.stdout
        assert f"Error: {path} cannot be opened: " in done.stderr
        assert "cure: put the file itself there, in place of what is there now" in done.stderr
    assert not (home / "seals").exists()


@pytest.mark.parametrize("put", [a_file, a_fifo, a_link_to_nothing])
def test_what_stands_in_the_seals_place_is_told_before_anything_is_sealed(
    home: Path, put: Callable[[Path], None]
) -> None:
    open_node(files_of(home), choose.load()).store.close()
    path = instead(home, "seals", put)
    done = cmkms("member", "add", "--home", str(home), *TO_TWO)
    assert done.returncode == StateError.exit_code
    assert f"Error: {path} cannot be made: it is " in done.stderr
    assert (
        "cure: mount what the link leads to, or make it right; a file in a directory's place is to be moved away"
        in (done.stderr)
    )
    assert "complete" in cmkms("epoch", "show", "--home", str(home)).stdout, "nothing was sealed"


CHANGES: dict[str, list[str]] = {
    "chain rename": ["--from", "c-1", "--to", "c-2", "--not-mistyped", "--yes"],
    "chain reset": ["c-1", "--height", "5", "--yes-height", "5"],
    "state import": ["{other}/priv_validator_state.json"],
    "import": ["--from", "filepv", "{other}", "--yes"],
    "export": ["--to", "filepv", "{other}/out", "--yes"],
    "member add": [*TO_TWO],
    "member replace": ["node0", "node1=127.0.0.1:9431", "--yes"],
    "epoch seal": ["--next", "node0,node1", "--yes"],
}


@pytest.fixture
def lived(home: Path, tmp_path: Path) -> Path:
    """A home that burnt every height up to 7, and beside it another signer's files, at 9."""
    recover(files_of(home), Heights(7), choose.load())
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(home / "priv" / "priv_validator_key.json", other)
    (other / "priv_validator_state.json").write_text('{"height":"9","round":0,"step":3}')
    return home


def changing(home: Path, command: str) -> subprocess.CompletedProcess[str]:
    arguments = [one.format(other=home.with_name("other")) for one in CHANGES[command]]
    return inside.cmkms(*command.split(), "--home", str(home), *arguments)


@pytest.mark.parametrize("command", CHANGES)
@pytest.mark.parametrize("name", ["born.json", "exported.json"])
def test_nothing_is_changed_beside_a_born_json_or_a_note_of_an_export_that_is_out_of_reach(
    lived: Path, tmp_path: Path, name: str, command: str
) -> None:
    """It may say that an epoch is sealed here, or that another signer has the key."""
    before = tree(tmp_path)
    before.pop(f"home/priv/{name}", None)
    for put in (a_link_to_nothing, a_link_to_itself, a_fifo, a_directory):
        path = instead(lived, f"priv/{name}", put)
        done = changing(lived, command)
        assert (done.returncode, "Traceback" in done.stderr) == (StateError.exit_code, False), done.stderr
        assert f"Error: {path} cannot be read: " in done.stderr
        assert "cure: put the file itself there, in place of what is there now" in done.stderr
        assert tree(tmp_path) == before
        assert not (tmp_path / "other" / "out").exists()


def test_a_born_json_that_its_user_may_not_read_is_not_passed_over(of_a_user: Path) -> None:
    files, core = files_of(of_a_user), choose.load()
    recover(files, Heights(7), core)
    own(of_a_user)
    (of_a_user / "priv" / "born.json").chmod(0)
    before = tree(of_a_user)
    for act in (
        lambda: import_mark(files, files.chains[0], Watermark(HRS(9, 0, 3)), core),
        lambda: raise_mark(files, files.chains[0], [Watermark(HRS(9, 0, 3))], core),
        lambda: reset_mark(files, files.chains[0], 5),
        lambda: epochs.promised(files, files.chains[0], [], core),
        lambda: chain.rename.main(["--home", str(of_a_user), *CHANGES["chain rename"]], standalone_mode=False),
    ):
        what, _ = refused(act)
        assert what == f"{of_a_user / 'priv/born.json'} cannot be read: permission denied"
    assert tree(of_a_user) == before


def test_no_member_is_made_and_no_mark_lowered_while_another_signer_has_the_key(lived: Path, tmp_path: Path) -> None:
    """The next epoch's members would sign again what that one has signed since: a new machine has
    no note of it.
    """
    note_export(lived / STATE, "c-1", "filepv", tmp_path / "other", HRS(7, 0, 3), files_of(lived).store_path)
    before = tree(lived)
    for command in ("member add", "member replace", "epoch seal", "chain reset"):
        done = changing(lived, command)
        assert done.returncode == StateError.exit_code, done.stderr
        assert "exported.json says that this key went out, to filepv" in done.stderr
        assert "bring its watermark back, `cmkms import --from filepv PATH`" in done.stderr
        assert tree(lived) == before
    done = changing(lived, "import")
    assert done.returncode == 0, done.stderr
    assert not (lived / "priv" / "exported.json").exists()
    done = changing(lived, "member add")
    assert done.returncode == 0, done.stderr
    assert list((lived / "seals").iterdir())


def test_no_epoch_begins_below_what_another_signer_has_signed_since_the_seal(lived: Path) -> None:
    """Its seal is shown again, for it says no more than it did; its watermark ends that."""
    files, core = files_of(lived), choose.load()
    seal = epochs.seal(files, core, ("node0",))
    note_export(lived / STATE, "c-1", "filepv", Path("/elsewhere"), HRS(7, 0, 3), files.store_path)
    assert epochs.seal(files, core, ("node0",)) == seal
    before = tree(lived)
    with pytest.raises(StateError, match=r"this key went out, to filepv .*; cure: when that signer is off for good"):
        epochs.begin(files, [seal], core)
    assert tree(lived) == before
    import_mark(files, files.chains[0], Watermark(HRS(9, 0, 3)), core)
    assert [mark.hrs.height for _, mark in epochs.begin(files, [seal], core).marks] == [9]


def corrupt_member(home: Path) -> NodeFiles:
    """A home whose store, of one of two, is corrupt."""
    files = replace(files_of(home), members=("node0", "node1"))
    open_node(files, choose.load()).store.close()
    with files.store_path.open("r+b") as file:
        file.write(b"\xff" * 40)
    return files


def test_a_corrupt_store_that_cannot_be_kept_aside_is_named_with_what_helps(of_a_user: Path) -> None:
    files = corrupt_member(of_a_user)
    own(of_a_user)
    folder = files.store_path.parent
    folder.chmod(0o500)
    assert refused(lambda: open_node(files, choose.load())) == [
        f"{files.store_path} could not be kept aside: permission denied",
        f"the node's user must be able to write {folder}",
    ]
    folder.chmod(0o700)


def no_space(*_: object, **__: object) -> PromiseStore:
    raise StoreFailure("the store could not be made: no space left on device", cure="make room there")


def test_a_corrupt_store_is_put_back_where_no_new_one_can_be_made(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What can still be read in it is not lost to the start that has room; and where even that
    fails, somebody is told where it is.
    """
    files, rename = corrupt_member(home), Path.rename
    before, kept = tree(home), files.store_path.with_name("promises.old-1")
    monkeypatch.setattr(PromiseStore, "create", no_space)
    with pytest.raises(StoreFailure, match="could not be made: no space left on device; cure: make room there"):
        open_node(files, choose.load())
    assert tree(home) == before

    def there_only(path: Path, target: Path) -> Path:
        if path == kept:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", there_only)
    with pytest.raises(StoreFailure, match=rf"no space left on device. The old one is kept as {kept}; cure: make room"):
        open_node(files, choose.load())
    assert kept.read_bytes() == before["data/node0/promises"]


def test_a_recovery_that_cannot_put_its_store_in_place_says_where_the_old_one_is(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk does not read it, and then takes no name."""
    files, core = files_of(home), choose.load()
    recover(files, Heights(7), core)

    def fails(path: Path, most: int) -> bytes:
        if path in (files.store_path, files.store_path.with_name("promises.made")):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return read_file(path, most)

    monkeypatch.setattr("cometkms.store.node_files.read_file", fails)
    monkeypatch.setattr(Path, "replace", fails)
    with pytest.raises(StoreFailure) as failed:
        recover(files, Heights(9), core)
    kept = files.store_path.with_name("promises.old-1")
    assert (
        failed.value.what == f"{files.store_path} could not be made: input/output error. The old one is kept as {kept}"
    )
    assert kept.exists()


def test_another_signer_s_files_behind_links_to_nothing_are_not_missing(lived: Path, tmp_path: Path) -> None:
    """They lie on a disk that is not mounted: no height is to be typed for that."""
    other, before = tmp_path / "other", tree(lived)
    for name, code in (
        ("priv_validator_state.json", StateError.exit_code),
        ("priv_validator_key.json", KeyFileError.exit_code),
        (".", KeyFileError.exit_code),
    ):
        path = other / name
        path.rename(tmp_path / "moved")
        a_link_to_nothing(path)
        done = changing(lived, "import")
        assert (done.returncode, "--min-height" in done.stderr) == (code, False), done.stderr
        assert (
            f"Error: {path} cannot be read: it is a link to /nowhere/at/all, and nothing is there; cure" in done.stderr
        )
        assert tree(lived) == before
        with pytest.raises(KeyFileError, match=f"^{path} cannot be read: it is a link to /nowhere/at/all"):
            read_secret(path)  # of the other signers' readers
        path.unlink()
        (tmp_path / "moved").rename(path)


@pytest.mark.parametrize("name", ["priv", "priv/priv_validator_key.json"])
@pytest.mark.parametrize("put", [a_link_to_nothing, a_link_to_itself])
def test_an_import_begins_no_home_behind_a_link_to_nothing(lived: Path, name: str, put: Callable[[Path], None]) -> None:
    """The key that lies there, and what it has signed, are not lost; no mark is written for it."""
    path = instead(lived, name, put)
    before = tree(lived)
    done = changing(lived, "import")
    assert (done.returncode, "Traceback" in done.stderr) == (KeyFileError.exit_code, False), done.stderr
    assert f"Error: {path}" in done.stderr and "link" in done.stderr
    assert tree(lived) == before
