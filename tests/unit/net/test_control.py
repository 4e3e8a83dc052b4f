"""The operator's socket: owner only, one line asked, one answered."""

import asyncio
import errno
import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from cometkms.errors import READ_ONLY_CURE, OperatorError
from cometkms.net import control
from cometkms.net.control import REQUEST_MAX_BYTES, ControlServer, ask, listen_spare


class Quiet:
    def info(self, event: str, **fields: object) -> None: ...
    def warning(self, event: str, **fields: object) -> None: ...


async def echo(request: dict[str, Any]) -> dict[str, Any]:
    if request.get("op") == "no":
        return {"ok": False, "error": "because"}
    return {"ok": True, "heard": request}


def served(path: Path, work: Any) -> Any:
    """Run blocking `work` beside a server."""

    async def main() -> Any:
        server = ControlServer(path, echo, Quiet())
        server.start()
        try:
            return await asyncio.to_thread(work)
        finally:
            await server.stop()

    return asyncio.run(main())


def test_an_answer_comes_back_and_the_socket_is_the_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"

    def work() -> Any:
        assert path.stat().st_mode & 0o777 == 0o600
        return ask(path, {"op": "x", "n": 1})

    assert served(path, work)["heard"] == {"op": "x", "n": 1}
    assert not path.exists()


def test_what_is_asked_is_logged_but_for_what_is_asked_often(tmp_path: Path) -> None:
    said: list[object] = []

    class Log(Quiet):
        def info(self, event: str, **fields: object) -> None:
            said.append(fields["op"])

    async def main() -> None:
        server = ControlServer(tmp_path / "s", echo, Log(), quiet=frozenset({"watch"}))
        server.start()
        for operation in ("watch", "peers", "watch"):
            await asyncio.to_thread(ask, tmp_path / "s", {"op": operation})
        await server.stop()

    asyncio.run(main())
    assert said == ["peers"]


def test_what_takes_too_long_is_told_as_that_before_the_connection_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "CONTROL_TIMEOUT_S", 0.5)

    async def for_ever(_request: dict[str, Any]) -> dict[str, Any]:
        await asyncio.Event().wait()
        return {}

    async def main() -> None:
        server = ControlServer(tmp_path / "s", for_ever, Quiet())
        server.start()
        with pytest.raises(OperatorError, match=r"did not get it done within 0\.5 s"):
            await asyncio.to_thread(ask, tmp_path / "s", {"op": "x"})
        await server.stop()

    asyncio.run(main())


def test_a_refusal_is_an_error_in_the_nodes_words(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="because"):
        served(tmp_path / "s", lambda: ask(tmp_path / "s", {"op": "no"}))


def test_no_node_is_an_error_with_the_cure(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="no node runs at"):
        ask(tmp_path / "s", {})


def test_a_dead_nodes_socket_is_replaced_and_a_deep_home_works(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    path = deep / "control.sock"
    path.write_bytes(b"")
    assert served(path, lambda: ask(path, {}))["ok"]


@pytest.mark.parametrize(
    "line", [b"no json\n", b"[1]\n", b"x" * (REQUEST_MAX_BYTES + 10) + b"\n", b"\xef\xbb\xbf{}\n", b"{\0}\0\n", b"\0\n"]
)
def test_what_is_no_request_is_refused(tmp_path: Path, line: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "s"

    def not_found(_: bytes) -> str:  # as for a process that is shut off from the modules of codecs
        raise LookupError("unknown encoding")

    monkeypatch.setattr(json, "detect_encoding", not_found)

    def work() -> bytes:
        with socket.socket(socket.AF_UNIX) as one:
            one.connect(str(path))
            one.settimeout(120)
            try:
                one.sendall(line)
                return one.recv(4096)
            except ConnectionError:
                return b""

    answer = served(path, work)
    assert answer == b"" or b'"ok": false' in answer


def test_another_user_is_refused_by_the_kernels_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "s"
    real = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: real + 1)
    if real == 0:  # root is let in; a connection of nobody is not
        monkeypatch.setattr("cometkms.net.control._CREDENTIALS", _Nobody())
    with pytest.raises(OperatorError):
        served(path, lambda: ask(path, {}))


class _Nobody:
    size = 12

    @staticmethod
    def unpack(_data: bytes) -> tuple[int, int, int]:
        return (1, 65534, 65534)


class Told(Quiet):
    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, object]]] = []

    def warning(self, event: str, **fields: object) -> None:
        self.lines.append((event, fields))

    error = warning


def watched(path: Path, work: Any) -> list[tuple[str, dict[str, object]]]:
    """What a server says that `work(look)` was done to, in a thread; look() is a heartbeat."""
    told = Told()

    async def main() -> None:
        server = ControlServer(path, echo, told, spare=listen_spare(path, told))
        server.start()
        loop = asyncio.get_running_loop()

        async def look() -> None:
            server.look()

        try:
            await asyncio.to_thread(work, lambda: asyncio.run_coroutine_threadsafe(look(), loop).result())
        finally:
            await server.stop()

    asyncio.run(main())
    return told.lines


def test_the_spare_one_is_put_where_the_socket_was_removed_and_then_the_cure_is_told(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"

    def work(look: Any) -> None:
        look()
        path.rename(tmp_path / "aside")
        look()
        look()
        assert path.stat().st_mode & 0o777 == 0o600
        assert ask(path, {"op": "x"})["ok"]
        path.unlink()
        look()
        look()

    spared, gone = watched(path, work)
    assert spared[0] == "the control socket was removed, and the spare one is in its place"
    assert gone[0] == "the control socket is gone"
    assert spared[1]["file"] == gone[1]["file"] == str(path)
    assert gone[1]["why"] == "it was removed, and there is no spare one"
    assert gone[1]["cure"] == "restart this node if nothing else is gone from its directory, and leave its socket alone"
    assert [one.name for one in tmp_path.iterdir()] == ["aside"]


def test_a_spare_one_that_was_removed_or_could_not_be_made_is_missed_only_when_it_is_needed(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"

    def work(look: Any) -> None:
        (tmp_path / ".control.sock").unlink()
        look()
        assert ask(path, {"op": "x"})["ok"]
        path.unlink()
        look()

    ((event, fields),) = watched(path, work)
    assert (event, fields["why"]) == ("the control socket is gone", "it was removed, and there is no spare one")
    (tmp_path / ".control.sock").mkdir()
    ((event, fields),) = watched(path, lambda _: None)
    spare = path.with_name(".control.sock")
    assert (event, fields["why"]) == (
        "there is no spare control socket",
        f"{spare} cannot be listened on: is a directory",
    )
    assert fields["cure"] == "move away what is there: the socket is made anew"
    assert spare.is_dir()


def test_what_lies_in_its_place_is_told_once_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"

    def work(look: Any) -> None:
        path.unlink()
        path.mkdir()
        look()
        look()
        path.rmdir()
        look()
        assert ask(path, {"op": "x"})["ok"]
        path.unlink()
        path.mkdir()
        look()

    gone, spared, again = watched(path, work)
    assert gone[1]["why"] == "something else is in its place"
    assert spared[0] == "the control socket was removed, and the spare one is in its place"
    assert (again[0], again[1]["cure"]) == (gone[0], "move away what is there: the node puts its spare one there")
    assert path.is_dir(), "the end of the server is none of an error's"


@pytest.mark.parametrize(
    ("wrong", "cure"),
    [
        (errno.EACCES, "give its directory back to the node's user: the node puts it back"),
        (errno.EROFS, READ_ONLY_CURE),
    ],
)
def test_a_name_that_cannot_be_made_is_told_until_it_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: int, cure: str
) -> None:
    path = tmp_path / "control.sock"

    def refuses(*_: object) -> None:
        raise OSError(wrong, os.strerror(wrong))

    def work(look: Any) -> None:
        path.unlink()
        with monkeypatch.context() as shut:
            shut.setattr(Path, "rename", refuses)
            look()
            look()
        look()
        assert ask(path, {"op": "x"})["ok"]

    refused, _ = watched(path, work)
    assert refused[1]["why"] == f"it was removed, and cannot be put back: {os.strerror(wrong).lower()}"
    assert refused[1]["cure"] == cure
