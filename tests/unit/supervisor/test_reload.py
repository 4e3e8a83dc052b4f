"""The reloader: config.toml read anew, the log's words, and what the children get."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from cometkms.config.load import load_settings
from cometkms.config.table import Flags
from cometkms.log import Log
from cometkms.supervisor.reload import Reloader

CONFIG = """
id = "node0"
chain_id = "chain-a"
validator_addr = ["tcp://127.0.0.1:1"]
log_level = "info"
"""
Made = tuple[Path, Reloader, Callable[[], str], list[str]]


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Made:
    """The file, the reloader, what it logged so far, and the levels it set."""
    for name in [name for name in os.environ if name.startswith("COMETKMS_")]:
        monkeypatch.delenv(name)
    path = tmp_path / "config.toml"
    path.write_text(CONFIG)
    written = tmp_path / "log"
    log = Log(fd=os.open(written, os.O_WRONLY | os.O_CREAT))
    levels: list[str] = []

    def set_level(level: str) -> None:
        levels.append(level)
        log.set_level(level)

    flags = Flags()
    return path, Reloader(load_settings(tmp_path, flags), flags, log, set_level), written.read_text, levels


def test_the_children_get_a_document_only_when_something_changed_for_them(made: Made) -> None:
    path, reload, log, _ = made
    assert reload().document is None
    assert "changed=nothing" in log()
    path.write_text(CONFIG.replace(":1", ":2"))
    document = reload().document
    assert document is not None
    assert document["validator_addrs"] == {"chain-a": ["tcp://127.0.0.1:2"]}
    assert [str(one) for one in reload.settings.chains[0].validator_addrs] == ["tcp://127.0.0.1:2"]
    assert reload().document is None  # what runs now is compared, not what was started


@pytest.mark.parametrize(("before", "after"), [("info", "error"), ("error", "info")])
def test_a_change_of_the_level_is_heard_in_both_directions(before: str, after: str, made: Made) -> None:
    path, reload, log, levels = made
    for level in (before, after):
        path.write_text(CONFIG.replace('"info"', f'"{level}"'))
        reload()
    assert levels[-1] == after
    assert f"log_level: {before} -> {after}" in log()


@pytest.mark.parametrize(
    "text",
    [
        "log_levle = 1",
        "= no toml",
        'chain_id = "chain-a"\nvalidator_addr = ["x://"]',
        CONFIG + 'key_passphrase_file = "~nobody-of-that-name/p"',
    ],
)
def test_a_wrong_file_changes_nothing_and_says_so(text: str, made: Made) -> None:
    path, reload, log, levels = made
    before = reload.settings
    path.write_text(text)
    outcome = reload()
    assert outcome.document is None
    assert outcome.report["error"]
    assert reload.settings is before
    assert "not reloaded" in log()
    assert levels == []
    path.write_text(CONFIG)
    assert reload().report["error"] == ""


def test_what_needs_a_restart_is_in_the_report_until_it_is_put_back(made: Made) -> None:
    path, reload, log, _ = made
    path.write_text(CONFIG.replace("node0", "node1").replace('"info"', '"debug"'))
    outcome = reload()
    assert outcome.report["needs_restart"] == ["id: node0 -> node1"]
    assert outcome.report["changed"] == ["log_level: info -> debug"]
    assert 'what="id: node0 -> node1"' in log()
    assert reload.settings.id == "node0"
    assert reload().report["needs_restart"] == ["id: node0 -> node1"]  # it is still so
    path.write_text(CONFIG)
    assert reload().report["needs_restart"] == []
