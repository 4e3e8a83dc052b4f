"""Peer lists: what is refused before anything starts, with both sides of what disagrees."""

from pathlib import Path

import pytest

from cometkms.config.load import load_settings
from cometkms.config.schema import Settings
from cometkms.config.table import Flags
from cometkms.errors import ConfigError
from cometkms.limits import MEMBERS_MAX

THREE = ("n0=10.0.0.10:9430", "n1=10.0.0.11:9430", "n2=10.0.0.12:9430")


def settings_of(
    home: Path,
    *,
    node_id: str = "n0",
    raft_addr: str | None = "10.0.0.10:9430",
    peer: tuple[str, ...] = THREE,
    published: str | None = None,
) -> Settings:
    flags = Flags(
        id=node_id,
        raft_addr=raft_addr,
        peer=peer,
        chain_id="c-1",
        validator_addr=("tcp://127.0.0.1:1",),
        raft_published=published,
    )
    return load_settings(home, flags, {})


def refusal(home: Path, **given: object) -> str:
    with pytest.raises(ConfigError) as error:
        settings_of(home, **given)
    return str(error.value)


@pytest.mark.parametrize(
    "raft_addr", ["10.0.0.10:9430", "0.0.0.0:9430", ":9430", "[::]:9430", "192.168.1.1:9430", "127.0.0.1:9430"]
)
def test_the_host_a_node_listens_on_may_differ_from_where_the_others_dial_it(tmp_path: Path, raft_addr: str) -> None:
    """0.0.0.0 and address translation; a loopback address that was asked for may be a tunnel's end."""
    assert [peer.id for peer in settings_of(tmp_path, raft_addr=raft_addr).peers] == ["n0", "n1", "n2"]


def test_a_list_without_this_node_is_refused_and_names_both(tmp_path: Path) -> None:
    said = refusal(tmp_path, node_id="m")
    assert "this node is 'm'" in said
    assert "n0, n1, n2" in said


def test_ports_that_differ_are_refused_and_both_are_named(tmp_path: Path) -> None:
    said = refusal(tmp_path, raft_addr="10.0.0.10:9431")
    assert "10.0.0.10:9430" in said
    assert "10.0.0.10:9431 (--raft-addr)" in said
    assert "--raft-published 10.0.0.10:9430" in said


@pytest.mark.parametrize("raft_addr", [":9431", "172.17.0.2:9431", "10.0.0.10:9430", None])
def test_a_published_address_says_that_the_port_differs_on_purpose(tmp_path: Path, raft_addr: str | None) -> None:
    settings = settings_of(tmp_path, raft_addr=raft_addr, published="10.0.0.10:9430")
    assert str(settings.raft_published) == "10.0.0.10:9430"


@pytest.mark.parametrize("published", ["10.0.0.10:9431", "10.0.0.13:9430", "n0:9430"])
def test_a_published_address_is_the_one_in_the_list(tmp_path: Path, published: str) -> None:
    said = refusal(tmp_path, raft_addr=":9431", published=published)
    assert f"raft_published is {published}, and the others are told to dial this node at 10.0.0.10:9430" in said


def test_a_node_nobody_told_where_to_listen_is_not_started_unreachable(tmp_path: Path) -> None:
    assert "raft_addr is left at 127.0.0.1:9430" in refusal(tmp_path, raft_addr=None)
    local = ("n0=127.0.0.1:9430", "n1=localhost:9431")
    assert settings_of(tmp_path, raft_addr=None, peer=local).raft_addr.port == 9430


@pytest.mark.parametrize(
    ("peer", "words"),
    [
        ((*THREE, "n2=10.0.0.13:9430"), "the peer 'n2' is named more than once"),
        ((*THREE, "n3=10.0.0.12:9430"), "two peers have the address 10.0.0.12:9430"),
        ((*THREE, "n3=:9430"), "has no host"),
        ((*THREE, "n3"), "write it as id=host:port"),
        ((*THREE, *(f"x{n}=10.0.1.{n}:9430" for n in range(MEMBERS_MAX - 2))), f"at most {MEMBERS_MAX}"),
        ((*THREE, *(f"{n:064}=10.0.1.{n}:9430" for n in range(4))), "320 bytes together"),
    ],
)
def test_a_bad_list_is_refused_in_words(tmp_path: Path, peer: tuple[str, ...], words: str) -> None:
    assert words in refusal(tmp_path, peer=peer)


def test_seven_nodes_are_possible_and_one_alone_may_list_itself(tmp_path: Path) -> None:
    seven = tuple(f"n{n}=10.0.0.1{n}:9430" for n in range(MEMBERS_MAX))
    assert len(settings_of(tmp_path, peer=seven).peers) == MEMBERS_MAX
    assert len(settings_of(tmp_path, peer=THREE[:1]).peers) == 1


def test_a_list_that_cannot_be_read_is_told_once(tmp_path: Path) -> None:
    """Not also as a list without this node: what could not be read may have named it."""
    assert len(refusal(tmp_path, peer=("n0", *THREE[1:])).splitlines()) == 1
