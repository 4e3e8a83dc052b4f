"""Fixtures every test may use, and the nodes' logs where one fails."""

import functools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

from cometkms.core import native
from cometkms.core.interface import Core
from cometkms.core.pure import core as pure

#: How long an example takes says how busy the machine is.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

LOG_NAMES = ("*.log", "log", "*.journal", "background", "*.watcher")
LOG_LINES = 60  # of each: a whole start, and what came after it
BEGAN = pytest.StashKey[float]()
#: Of the session: what else a failing test shows, by its name; whoever runs nodes where no file is
#: to be seen adds to it while they run.
JOURNALS = pytest.StashKey[dict[str, Callable[[], str]]]()


@pytest.fixture(params=["native", "pure"])
def core(request: pytest.FixtureRequest) -> Core:
    """Each implementation of the core in turn. Both must be there: a missing C core fails the test."""
    return native.load() if request.param == "native" else pure.CORE


class ByModuleFixture(LoadScopeScheduling):
    """The tests of a file that has a fixture for all of them, a node mostly, run in one worker and
    in order; any other runs anywhere.

    Which begin first: `pytest_collection_modifyitems`, not how many a file has.
    """

    def __init__(self, config: pytest.Config, log: Any) -> None:
        config.option.loadscopereorder = False
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        return _scope(self.config.rootpath, nodeid)

    def schedule(self) -> None:
        """A worker runs a test when it knows the next one, so it is given two at once: also the one
        that replaces a crashed worker.
        """
        super().schedule()
        for node in self.nodes:
            self._reschedule(node)

    def remove_node(self, node: WorkerController) -> str | None:
        """The test that a crashed worker ran, which is not run again; the others that it had go to
        whoever is there.
        """
        left = {scope: unit for scope, unit in self.assigned_work.pop(node).items() if not all(unit.values())}
        crashed = next((test for unit in left.values() for test, done in unit.items() if not done), None)
        for scope, unit in left.items():
            if crashed in unit:
                unit[crashed] = True
            if not all(unit.values()):
                self.workqueue[scope] = unit
        for other in self.assigned_work:
            self._reschedule(other)
        return crashed


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What is marked `long` begins first, with its file where that shares a fixture: one that began
    last would have the end to itself.
    """
    scopes = [_scope(config.rootpath, item.nodeid) for item in items]
    first = {scope for scope, item in zip(scopes, items, strict=True) if item.get_closest_marker("long") is not None}
    ordered = sorted(zip(scopes, items, strict=True), key=lambda pair: pair[0] not in first)
    items[:] = [item for _, item in ordered]


def _scope(root: Path, nodeid: str) -> str:
    """The tests that stay together: those of a file that has a fixture for all of them,
    else the one.
    """
    path = nodeid.partition("::")[0]
    return path if _shares(root / path) else nodeid


@functools.cache
def _shares(path: Path) -> bool:
    return 'scope="module"' in path.read_text()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling | None:
    """`--dist loadgroup`, by what the files say: the plugin's own way, marks that end up in a
    test's name, does nothing in this pytest.
    """
    return ByModuleFixture(config, log) if config.getvalue("dist") == "loadgroup" else None


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    item.stash[BEGAN] = time.time()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[pytest.TestReport | None]:
    """Whatever the nodes of a failing test wrote since it began is in its report, while they and
    their files are still there.
    """
    report = yield
    if report.failed:
        for path in _logs_since(item):
            lines = path.read_text(errors="replace").splitlines()[-LOG_LINES:]
            report.sections.append((f"{path.parent.name}/{path.name}", "\n".join(lines)))
        for name, journal in item.config.stash.get(JOURNALS, {}).items():
            report.sections.append((name, "\n".join(journal().splitlines()[-LOG_LINES:])))
    return report


def _logs_since(item: pytest.Item) -> list[Path]:
    """All that is written to below this process's temporary directory: by nodes of the
    test, and of its module.
    """
    factory: pytest.TempPathFactory | None = getattr(item.config, "_tmp_path_factory", None)
    if factory is None:
        return []
    found = {path for name in LOG_NAMES for path in factory.getbasetemp().rglob(name)}
    return sorted(path for path in found if path.is_file() and path.stat().st_mtime >= item.stash.get(BEGAN, 0.0) - 1)
