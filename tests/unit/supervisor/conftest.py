"""Start the supervisor over dummy children, and a service manager that it tells of them."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.unit.supervisor.scene import QUICK, Dummies, Manager, exists, until


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    made = Manager(tmp_path)
    yield made
    made.close()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Dummies]]:
    """Start dummies; at the end nothing that was ever forked is left, as a process or as a zombie."""
    started: list[Dummies] = []

    def make(
        children: dict[str, str],
        manager: Manager | None = None,
        sigchld_ignored: bool = False,
        reload_file: str = "",
        subreaper: bool = False,
        home: Path | None = None,
        **timing: float,
    ) -> Dummies:
        more = {"sigchld_ignored": sigchld_ignored, "reload_file": reload_file, "subreaper": subreaper}
        more |= {} if home is None else {"home": str(home)}
        started.append(Dummies(tmp_path, children, {**QUICK, **timing}, manager, **more))
        return started[-1]

    yield make
    for dummies in started:
        left = dummies.process.poll() is None
        if left:
            dummies.process.kill()
            dummies.process.wait()
        pids = {line["pid"] for line in dummies.log("child running")}
        until("every child is gone", lambda pids=pids: not any(exists(pid) for pid in pids))
        assert not left, "the test left its supervisor running"
