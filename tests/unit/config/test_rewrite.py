"""One key of a config.toml changes, and nothing else of it."""

import tomllib
from pathlib import Path

import pytest

from cometkms.config.rewrite import rewrite_config
from cometkms.errors import ConfigError

PEERS = ["node0=10.0.0.10:9430", "node1=[::1]:9430"]


def changed(tmp_path: Path, text: str, **values: str | list[str]) -> str:
    path = tmp_path / "config.toml"
    path.write_text(text)
    path.chmod(0o640)
    rewrite_config(tmp_path, values or {"peer": PEERS})
    assert path.stat().st_mode & 0o777 == 0o640
    return path.read_text()


@pytest.mark.parametrize(
    "old",
    [
        "peer = []",
        'peer = ["node0=10.0.0.10:9430"]  # the list',
        'peer = [\n  "node0=10.0.0.10:9430", # first\n  "node2=10.0.0.12:9430",\n]',
        "  peer=['node0=10.0.0.10:9430']",
    ],
)
def test_the_value_is_replaced_over_all_its_lines(tmp_path: Path, old: str) -> None:
    before = f'# head\nid = "node0"\n{old}\nchain_id = "a"  # peer = [] here is a comment\n'
    text = changed(tmp_path, before)
    assert tomllib.loads(text) == {"id": "node0", "peer": PEERS, "chain_id": "a"}
    assert text.startswith('# head\nid = "node0"\n')
    assert text.endswith('chain_id = "a"  # peer = [] here is a comment\n')


def test_a_key_that_is_missing_comes_first_so_that_it_is_in_no_table(tmp_path: Path) -> None:
    text = changed(tmp_path, '# head\n\n[[chain]]\nid = "a"\n')
    assert tomllib.loads(text) == {"peer": PEERS, "chain": [{"id": "a"}]}


def test_several_keys_at_once_and_nothing_when_nothing_changes(tmp_path: Path) -> None:
    text = changed(tmp_path, 'raft_addr = "127.0.0.1:9430"\npeer = []\n', peer=PEERS, raft_addr="10.0.0.10:9430")
    assert tomllib.loads(text) == {"raft_addr": "10.0.0.10:9430", "peer": PEERS}
    assert not rewrite_config(tmp_path, {"peer": PEERS, "raft_addr": "10.0.0.10:9430"})


def test_what_cannot_be_changed_safely_is_said_with_the_line_to_write(tmp_path: Path) -> None:
    """The key in quotes is another spelling, which is not looked for: nothing is written."""
    path = tmp_path / "config.toml"
    path.write_text('"peer" = ["node0=10.0.0.10:9430"]\n')
    with pytest.raises(ConfigError, match=r"write into it: peer = \[\"node0=10.0.0.10:9430\", "):
        rewrite_config(tmp_path, {"peer": PEERS})
    assert path.read_text() == '"peer" = ["node0=10.0.0.10:9430"]\n'
