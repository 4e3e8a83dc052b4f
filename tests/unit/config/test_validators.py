"""One validator under two names is a fault of the settings, where no name must be looked up for it."""

import os
import socket
from pathlib import Path

import pytest

from cometkms.config.load import load_settings
from cometkms.config.table import Flags
from cometkms.config.validators import check_validators
from cometkms.config.values import parse_validator
from cometkms.errors import ConfigError

ID = "12D3KooWK99VoVxNE7XzyBwXEzW7xhK7Gpv85r9F3V3fyKSUKPH5"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("tcp://127.0.0.1:26658", "tcp://localhost:26658"),
        ("tcp://127.0.0.1:26658", "127.0.0.1:26658"),
        ("tcp://localhost:26658", "tcp://LOCALHOST:26658"),
        ("tcp://[::1]:26658", "tcp://[0:0:0:0:0:0:0:1]:26658"),
        ("tcp://0.0.0.0:26658", "tcp://127.0.0.1:26658"),
        ("tcp://:26658", "tcp://localhost:26658"),
        ("tcp://10.0.0.1:26658", f"noise://{ID}@10.0.0.1:26658"),
        ("tcp://sentry:26658", "tcp://Sentry:26658"),
        ("unix:///run/v.sock", "unix:///run//v.sock"),
    ],
)
def test_two_names_of_one_validator_are_told(one: str, other: str) -> None:
    [fault] = check_validators([parse_validator(one), parse_validator(other)])
    what = "socket" if one.startswith("unix") else "port"
    assert fault.what.startswith(f"{one} and {other} lead to one {what}: a validator takes one signer")
    assert fault.cure == "list it once in validator_addr"


def test_others_are_others() -> None:
    texts = (
        "tcp://127.0.0.1:26658",
        "tcp://127.0.0.1:26659",
        "tcp://127.0.0.2:26658",
        "tcp://[::1]:26658",
        "tcp://a:26658",
        "tcp://b:26658",
        "unix:///run/a.sock",
        "unix:///run/b.sock",
    )
    assert check_validators([parse_validator(one) for one in texts]) == []


def test_a_socket_behind_a_link_and_with_two_names_is_one(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as validator:
        validator.bind(str(tmp_path / "v"))
    (tmp_path / "link").symlink_to("v")
    os.link(tmp_path / "v", tmp_path / "second")
    (tmp_path / "folder").symlink_to(tmp_path)
    (tmp_path / "early").symlink_to("not-there-yet")
    names = [parse_validator(f"unix://{tmp_path}/{one}") for one in ("v", "link", "second", "folder/v")]
    assert len(check_validators(names)) == 6
    assert check_validators([names[0], parse_validator(f"unix://{tmp_path}/early")]) == []
    later = [parse_validator(f"unix://{tmp_path}/{one}") for one in ("early", "not-there-yet")]
    assert len(check_validators(later)) == 1


def test_the_settings_of_a_node_are_held_against_it_also_over_two_chains(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(
        '[[chain]]\nid = "a"\nvalidator_addr = "tcp://127.0.0.1:1"\n'
        '[[chain]]\nid = "b"\nvalidator_addr = "tcp://localhost:1"\n'
    )
    with pytest.raises(ConfigError, match=r"tcp://127.0.0.1:1 and tcp://localhost:1 lead to one port"):
        load_settings(tmp_path, Flags(), {})
