"""The operator's socket: owner only, one line asked, one answered."""

import asyncio
import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from cometkms.errors import OperatorError
from cometkms.net import control
from cometkms.net.control import REQUEST_MAX_BYTES, ControlServer, ask


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
