"""Addresses that cannot both be right are told before a node starts, each with where it is set."""

from pathlib import Path

import pytest

from cometkms.address import Address
from cometkms.config.load import load_settings
from cometkms.config.ports import Place, check_ports, listener, literal
from cometkms.config.table import Flags
from cometkms.errors import ConfigError

VALIDATOR = "tcp://127.0.0.1:26658"
LIST = ("a=127.0.0.1:9430", "b=127.0.0.1:9431", "c=10.0.0.3:9430")


def faults(home: Path, **given: object) -> list[str]:
    settings = {"chain_id": "c-1", "validator_addr": (VALIDATOR,), "id": "a"} | given
    try:
        load_settings(home, Flags(**settings), {})
    except ConfigError as error:
        return [str(one) for one in error.parts]
    return []


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"http_addr": "127.0.0.1:9430"}, "--http-addr: 127.0.0.1:9430 is where raft_addr 127.0.0.1:9430 listens"),
        ({"http_addr": ":9430"}, "--http-addr: :9430 is where raft_addr 127.0.0.1:9430 listens"),
        ({"http_addr": "localhost:9430"}, "is where raft_addr 127.0.0.1:9430 listens"),
        ({"http_addr": "0.0.0.0:9430"}, "is where raft_addr 127.0.0.1:9430 listens"),
        ({"http_addr": "10.0.0.1:9430", "raft_addr": ":9430"}, "is where raft_addr :9430 listens"),
        ({"http_addr": "kms.example:9430", "raft_addr": "KMS.example:9430"}, "is where raft_addr KMS.example:9430"),
        ({"raft_addr": "127.0.0.1:8080"}, "http_addr's default: 127.0.0.1:8080 is where raft_addr 127.0.0.1:8080"),
        (
            {"http_addr": "127.0.0.1:26658"},
            f"is where the validator {VALIDATOR} listens: this node would take its port",
        ),
        ({"http_addr": ":26658"}, f"--http-addr: :26658 is where the validator {VALIDATOR} listens"),
        ({"raft_addr": ":26658"}, f"--raft-addr: :26658 is where the validator {VALIDATOR} listens"),
        ({"http_addr": ":9431", "peer": LIST}, "is where the node b (127.0.0.1:9431 in the peer list) listens"),
        ({"http_addr": "10.0.0.3:9430", "peer": LIST}, "is where the node c (10.0.0.3:9430 in the peer list) listens"),
    ],
)
def test_an_address_that_something_else_has_is_refused_with_both(
    tmp_path: Path, given: dict[str, object], words: str
) -> None:
    found = faults(tmp_path, **given)
    assert len(found) == 1
    assert words in found[0]
    assert "; cure: a port of its own for " in found[0]


@pytest.mark.parametrize(
    "given",
    [
        {"http_addr": "[::1]:9430"},  # IPv4 and IPv6 of one port are two
        {"http_addr": "127.0.0.2:9430"},
        {
            "http_addr": ":26658",
            "validator_addr": ("tcp://10.0.0.9:26658",),
        },  # another machine's, for all that is known
        {"http_addr": ":26658", "validator_addr": ("unix:///run/validator.sock",)},
        {"http_addr": ":9432", "peer": LIST},
        {"raft_addr": ":9430", "peer": ("a=10.0.0.1:9430", "b=10.0.0.2:9430", "c=10.0.0.3:9430")},
    ],
)
def test_addresses_that_may_well_stand_beside_each_other_are_taken(tmp_path: Path, given: dict[str, object]) -> None:
    assert faults(tmp_path, **given) == []


def test_an_agents_port_is_looked_at_too_and_every_pair_is_told(tmp_path: Path) -> None:
    given = {"validator_addr": (), "agents": (f"x:{'ab' * 32}",), "agent_addr": ":9430", "http_addr": ":9430"}
    found = faults(tmp_path, **given)
    assert [one.partition(" listens")[0] for one in found] == [
        "--http-addr: :9430 is where raft_addr 127.0.0.1:9430",
        "--agent-addr: :9430 is where raft_addr 127.0.0.1:9430",
        "--agent-addr: :9430 is where http_addr :9430",
    ]


def test_an_address_that_is_wrong_itself_is_told_once(tmp_path: Path) -> None:
    """What stands in for it is no address of anybody's."""
    assert len(faults(tmp_path, http_addr="9430")) == 1


def test_names_are_compared_by_what_they_stand_for_where_they_can_be_asked() -> None:
    """As a start does for its own addresses."""
    own = [listener("raft_addr", Address("kms", 9430), ""), listener("http_addr", Address("10.0.0.1", 9430), "")]
    assert check_ports(own, (), literal) == []
    known = {"kms": frozenset({"10.0.0.1", "::1"}), "10.0.0.1": frozenset({"10.0.0.1"})}
    assert (
        len(
            check_ports(
                own, [Place("peer", Address("10.0.0.9", 9430), "the node b")], lambda host: known.get(host, frozenset())
            )
        )
        == 1
    )
