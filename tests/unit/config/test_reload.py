"""What a reload takes over, what it names as needing a restart, and what flags and variables keep."""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from cometkms.address import Address
from cometkms.config.reload import Reloadable, decode, encode, overridden, plan_reload, reloadable
from cometkms.config.schema import AlertBounds, Chain, Peer, Settings
from cometkms.config.table import Flags
from cometkms.config.values import parse_agent, parse_validator
from cometkms.config.webhook import UrlFile, Webhook
from cometkms.errors import ConfigError, InvariantError
from cometkms.keys.passphrase import PassphraseCredential, PassphraseFile
from cometkms.model import AllowedBytes

HOME = Path("/home/node")


def chain(name: str, *addresses: str, **more: Any) -> Chain:
    made = Chain(name, tuple(map(parse_validator, addresses)), HOME / "key", HOME / f"{name}.json")
    return replace(made, **more)


RUNNING = Settings(
    home=HOME,
    id="node0",
    raft_addr=Address("127.0.0.1", 9430),
    http_addr=Address("127.0.0.1", 8080),
    default_ttl_s=0.4,
    peers=(),
    chains=(chain("a", "tcp://h:1", "tcp://h:2"), chain("b", "unix:///b")),
    log_level="info",
    log_format="plain",
    allow_unsafe=False,
)


def test_nothing_changed_is_nothing_to_do() -> None:
    plan = plan_reload(RUNNING, replace(RUNNING))
    assert (plan.changed, plan.needs_restart) == ((), ())
    assert plan.settings == RUNNING


def test_log_level_and_addresses_are_taken_over_at_once() -> None:
    chains = (chain("a", "tcp://h:2", "tcp://h:3"), chain("b", "unix:///b"))
    loaded = replace(RUNNING, log_level="debug", chains=chains)
    plan = plan_reload(RUNNING, loaded)
    assert plan.needs_restart == ()
    assert plan.changed == (
        "log_level: info -> debug",
        "validator tcp://h:3 of a added",
        "validator tcp://h:1 of a removed",
    )
    assert plan.settings == loaded


def test_alert_bounds_are_taken_over_at_once_and_reach_the_children() -> None:
    loaded = replace(RUNNING, alerts=AlertBounds(stall_s=5, latency_s=0, disk_s=0.02))
    plan = plan_reload(RUNNING, loaded)
    assert plan.changed == ("alerts: stall 60 s, latency 0.25 s, disk auto -> stall 5 s, latency 0 s, disk 0.02 s",)
    assert (plan.needs_restart, plan.settings) == ((), loaded)
    assert decode(encode(reloadable(loaded))).alerts == loaded.alerts


def test_whom_the_lead_returns_to_is_taken_over_at_once_and_reaches_the_children() -> None:
    loaded = replace(RUNNING, leader_priority="nearest")
    plan = plan_reload(RUNNING, loaded)
    assert (plan.changed, plan.needs_restart) == (("leader_priority: 50 -> nearest",), ())
    assert decode(encode(reloadable(loaded))).leader_priority == "nearest"


def test_a_validator_that_moves_to_another_chain_is_removed_there_and_added_here() -> None:
    plan = plan_reload(
        RUNNING, replace(RUNNING, chains=(chain("a", "tcp://h:1"), chain("b", "unix:///b", "tcp://h:2")))
    )
    assert plan.changed == ("validator tcp://h:2 of a removed", "validator tcp://h:2 of b added")


def test_agents_are_struck_off_and_let_in_at_once() -> None:
    first, second = (parse_agent(f"{name}:{name * 64}") for name in "ab")
    running = replace(RUNNING, chains=(chain("a", agents=(first,)),), agent_addr=Address("", 9440))
    loaded = replace(running, chains=(chain("a", agents=(second,)),))
    plan = plan_reload(running, loaded)
    assert plan.changed == ("agent b of a added", "agent a of a removed")
    assert (plan.needs_restart, plan.settings) == ((), loaded)
    assert decode(encode(reloadable(loaded))).agents == {"a": (second.text,)}


def test_what_is_signed_besides_votes_is_taken_over_at_once_and_reaches_the_children() -> None:
    some, others = AllowedBytes(values=True, unique_ids=("x", "y")), AllowedBytes(unique_ids=("y", "z"))
    running = replace(RUNNING, chains=(chain("a", "tcp://h:1", allowed_bytes=some), RUNNING.chains[1]))
    loaded = replace(RUNNING, chains=(chain("a", "tcp://h:1", allowed_bytes=others), RUNNING.chains[1]))
    plan = plan_reload(running, loaded)
    assert plan.changed == ("sign_bytes of a: off", "raw bytes z of a allowed", "raw bytes x of a not allowed any more")
    assert (plan.needs_restart, plan.settings) == ((), loaded)
    assert decode(encode(reloadable(loaded))).allowed_bytes == {"a": others, "b": AllowedBytes()}


def test_it_is_taken_over_also_where_the_chains_validators_wait_for_a_restart() -> None:
    """To take a permission back must not wait."""
    agents = chain("a", agents=(parse_agent("a:" + "a" * 64),))
    running = replace(RUNNING, chains=(chain("a", "tcp://h:1", allowed_bytes=AllowedBytes(values=True)),))
    plan = plan_reload(running, replace(running, chains=(agents,), agent_addr=Address("", 9440)))
    assert plan.changed == ("sign_bytes of a: off",)
    assert plan.settings.chains == (chain("a", "tcp://h:1"),)


@pytest.mark.parametrize(
    "allowed", [{"a": [1, []]}, {"a": [True, [""]]}, {"a": [True, ["i" * 129]]}, {"a": [True]}, {"a": None}, []]
)
def test_a_reload_of_other_bytes_than_settings_allow_is_none_of_ours(allowed: Any) -> None:
    with pytest.raises(InvariantError):
        decode({**encode(reloadable(RUNNING)), "allowed_bytes": allowed})


@pytest.mark.parametrize(
    ("flags", "environment", "written", "where"),
    [
        (Flags(sign_bytes=False), {}, {"sign_bytes": True}, "--sign-bytes"),
        (Flags(sign_bytes=True), {}, {"sign_bytes": True}, ""),
        (Flags(), {"COMETKMS_SIGN_BYTES": "off"}, {"sign_bytes": True}, "COMETKMS_SIGN_BYTES"),
        (Flags(), {"COMETKMS_SIGN_BYTES": "on"}, {"sign_bytes": True}, ""),
        (Flags(), {"COMETKMS_RAW_BYTES_UNIQUE_IDS": "x, y"}, {"raw_bytes_unique_ids": ["x", "y"]}, ""),
        (Flags(raw_bytes_unique_ids=("x",)), {}, {"raw_bytes_unique_ids": ["y"]}, "--raw-bytes-unique-ids"),
    ],
)
def test_a_flag_or_variable_that_wins_over_the_file_is_told(
    flags: Flags, environment: dict[str, str], written: dict[str, Any], where: str
) -> None:
    found = overridden(flags, environment, written)
    assert [where in one for one in found] == ([True] if where else [])


def test_a_chain_that_changes_from_its_validators_to_agents_waits_for_a_restart() -> None:
    """The port for agents is opened at a start: until then the validators that run are dialled."""
    agents = (chain("a", agents=(parse_agent("a:" + "a" * 64),)), RUNNING.chains[1])
    plan = plan_reload(RUNNING, replace(RUNNING, chains=agents, agent_addr=Address("", 9440)))
    assert plan.changed == ()
    assert len(plan.needs_restart) == 2
    assert plan.settings == RUNNING


AT_ONCE = ("chains", "log_level", "alerts", "leader_priority")
OTHER = {
    "home": Path("/elsewhere"),
    "id": "node1",
    "raft_addr": Address("", 1),
    "http_addr": Address("", 2),
    "default_ttl_s": 1.0,
    "peers": (Peer("node0", Address("h", 1)),),
    "log_format": "json",
    "allow_unsafe": True,
    "strict_start": True,
    "hardening": "required",
    "signer_user": "cmkms",
    "realtime": True,
    "noise_identity_file": Path("/n"),
    "audit_max_mib": 16,
    "raft_published": Address("elsewhere", 19430),
    "tcp_max_segment": 1200,
    "key_passphrase": PassphraseFile(Path("/p")),
    "webhook": Webhook(UrlFile(Path("/w")), "json"),
    "agent_addr": Address("", 9440),
}
KEYS = {"webhook": "alert_webhook"}  # what a setting is called where an operator wrote it


@pytest.mark.parametrize("name", [field.name for field in fields(Settings) if field.name not in AT_ONCE])
def test_every_other_setting_waits_for_a_restart_and_is_named(name: str) -> None:
    """A new setting that is not thought about here fails this test."""
    loaded = replace(RUNNING, **{name: OTHER[name]}, log_level="error")
    plan = plan_reload(RUNNING, loaded)
    assert len(plan.needs_restart) == 1
    assert plan.needs_restart[0].startswith(f"{KEYS.get(name, name)}: ")
    # what may change is taken over all the same
    assert plan.settings == replace(RUNNING, log_level="error")


def test_of_a_passphrase_and_its_surroundings_nothing_is_told() -> None:
    """A credential's source holds the environment it is looked up in."""
    source = PassphraseCredential("cmkms-passphrase", {"AWS_SECRET": "hunter2"})
    (words,) = plan_reload(RUNNING, replace(RUNNING, key_passphrase=source)).needs_restart
    assert words == "key_passphrase: None -> a credential"


@pytest.mark.parametrize(
    ("chains", "words"),
    [
        ((*RUNNING.chains, chain("c", "tcp://h:9")), "chain c was added"),
        (RUNNING.chains[:1], "chain b was taken away: it is signed for until then"),
        (
            (chain("a", "tcp://h:1", "tcp://h:2", key_file=Path("/k")), RUNNING.chains[1]),
            f"key_file of a: {HOME}/key -> /k",
        ),
        (
            (RUNNING.chains[0], chain("b", "unix:///b", state_file=Path("/s"))),
            f"state_file of b: {HOME}/b.json -> /s",
        ),
        (RUNNING.chains[::-1], "the chains' order"),
    ],
)
def test_chains_themselves_wait_for_a_restart(chains: tuple[Chain, ...], words: str) -> None:
    plan = plan_reload(RUNNING, replace(RUNNING, chains=chains))
    assert plan.needs_restart == (words,)
    assert plan.settings == RUNNING


def test_a_long_value_is_cut_in_the_words() -> None:
    peers = tuple(Peer(f"node{number}", Address("a-long-name.example.org", number)) for number in range(7))
    (words,) = plan_reload(RUNNING, replace(RUNNING, peers=peers)).needs_restart
    assert "node0=a-long-name.example.org:0" in words
    assert len(words) < 160


@pytest.mark.parametrize(
    ("flags", "environment", "document", "words"),
    [
        (Flags(validator_addr=("tcp://h:1",)), {}, {"validator_addr": ["tcp://h:2"]}, ["--validator-addr is given"]),
        (
            Flags(),
            {"COMETKMS_VALIDATOR_ADDR": "tcp://h:1"},
            {"validator_addr": ["tcp://h:2"]},
            ["COMETKMS_VALIDATOR_ADDR"],
        ),
        (Flags(), {"COMETKMS_LOG_LEVEL": "info"}, {"log_level": "debug"}, ["log_level of config.toml has no effect"]),
        (
            Flags(log_level="info"),
            {},
            {"log_level": "debug", "validator_addr": ["x"]},
            ["--log-level is given and wins"],
        ),
        (Flags(log_level="debug"), {}, {"log_level": "debug"}, []),
        (Flags(validator_addr=("tcp://h:1",)), {}, {"validator_addr": ["tcp://h:1"]}, []),
        (Flags(), {"COMETKMS_VALIDATOR_ADDR": "a, b"}, {"validator_addr": ["a", "b"]}, []),
        (Flags(validator_addr=("tcp://h:1",)), {}, {}, []),
        (Flags(), {}, {"validator_addr": ["tcp://h:2"], "log_level": "debug"}, []),
    ],
)
def test_what_a_flag_or_variable_overrides_is_said(
    flags: Flags, environment: dict[str, str], document: dict[str, Any], words: list[str]
) -> None:
    found = overridden(flags, environment, document)
    assert len(found) == len(words)
    assert all(word in one and "cure: restart" in one for word, one in zip(words, found, strict=True))


def test_the_document_for_the_children_says_the_same() -> None:
    part = reloadable(RUNNING)
    addresses = {"a": ("tcp://h:1", "tcp://h:2"), "b": ("unix:///b",)}
    allowed = {"a": AllowedBytes(), "b": AllowedBytes()}
    agents: dict[str, tuple[str, ...]] = {"a": (), "b": ()}
    assert part == Reloadable("info", addresses, AlertBounds(), agents=agents, allowed_bytes=allowed)
    assert decode(encode(part)) == part


def test_more_than_the_board_holds_is_refused_with_a_cure() -> None:
    many = Reloadable(
        "info", {"a": tuple(f"tcp://a-name.example.org:{port}" for port in range(1, 20000))}, AlertBounds()
    )
    with pytest.raises(ConfigError, match="restart the node"):
        encode(many)


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"log_level": "info", "validator_addrs": {}, "alerts": {"stall_s": "x"}},
        {"log_level": "info", "validator_addrs": {"a": ["x://"]}},
        {"validator_addrs": 1},
    ],
)
def test_a_document_that_is_not_ours_is_a_bug(document: dict[str, Any]) -> None:
    with pytest.raises(InvariantError):
        decode(document)
