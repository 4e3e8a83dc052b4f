"""An agent's settings: agent.toml in its home. Everything else raised ConfigError, with the cure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cometkms.address import Address
from cometkms.config.ports import Place, check_ports, listener, literal, of_validators
from cometkms.config.schema import ValidatorAddress
from cometkms.config.toml import as_toml, parse_toml
from cometkms.config.validators import check_validators
from cometkms.config.values import check_chain_id, check_node_id, nearest, parse_validator
from cometkms.durable import read_bounded
from cometkms.errors import ConfigError, cure_of_file, os_words
from cometkms.limits import AGENT_NAME_MAX_BYTES, CHAINS_MAX, CONFIG_MAX_BYTES, MEMBERS_MAX

CONFIG_NAME: Final = "agent.toml"
_NAME: Final = re.compile(rf"[A-Za-z0-9_.-]{{1,{AGENT_NAME_MAX_BYTES}}}\Z")
_KEY: Final = re.compile(r"[0-9a-f]{64}\Z")
_LEVELS: Final = ("debug", "info", "error")
_FORMATS: Final = ("plain", "json")
#: What a fault says to write.
_WRITTEN: Final = {
    "name": 'name = "sentry-a"',
    "metrics_addr": 'metrics_addr = "127.0.0.1:9441"',
    "node": 'node = ["ID=HOST:PORT:KEY"] with a line of each node, as `cmkms peers --identities` prints it there',
    "validator": '[[validator]] for each, and below it chain_id = "my-chain-1" and addr = "tcp://127.0.0.1:26658"',
    "addr": 'addr = "tcp://127.0.0.1:26658"',
    "chain_id": 'chain_id = "my-chain-1"',
}
_KEYS: Final = {"name", "metrics_addr", "log_level", "log_format", "node", "validator"}


@dataclass(frozen=True, slots=True)
class NodeEntry:
    """A node: where its agent_addr is, and the ed25519 key that it must prove."""

    id: str
    address: Address
    key: bytes

    @property
    def text(self) -> str:
        """Return the entry as `cmkms peers --identities` prints it."""
        return f"{self.id}={self.address}:{self.key.hex()}"


@dataclass(frozen=True, slots=True)
class ValidatorEntry:
    """A validator that the agent dials, and its chain."""

    chain_id: str
    address: ValidatorAddress


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """Everything `cmkms agent` needs. `metrics_addr` None: no metrics are served."""

    home: Path
    name: str
    nodes: tuple[NodeEntry, ...]
    validators: tuple[ValidatorEntry, ...]
    metrics_addr: Address | None = None
    log_level: str = "info"
    log_format: str = "plain"


def parse_node(text: str) -> NodeEntry:
    """id=host:port:key. Raises: ConfigError."""
    node_id, _, rest = text.partition("=")
    address, separator, key = rest.rpartition(":")
    if not separator or not _KEY.match(key):
        raise ConfigError(
            f"{text[:120]!r} is no node; write it as ID=HOST:PORT:KEY, as `cmkms peers --identities` prints it on the node"
        )
    parsed = Address.parse(address)
    if not parsed.host:
        raise ConfigError(f"{text[:120]!r} has no host to dial")
    return NodeEntry(check_node_id(node_id), parsed, bytes.fromhex(key))


def check_name(text: str) -> str:
    """An agent's name. Raises: ConfigError."""
    if not _NAME.match(text):
        raise ConfigError(
            f"{text[:60]!r} is no agent's name: letters, digits, '-', '_' and '.', at most {AGENT_NAME_MAX_BYTES}"
        )
    return text


def load(home: Path) -> AgentSettings:
    """agent.toml. Raises: ConfigError."""
    path = home / CONFIG_NAME
    try:
        data = read_bounded(path, CONFIG_MAX_BYTES)
    except OSError as error:
        cure = cure_of_file(error, f"cmkms agent init --home {home}, or another --home")
        raise ConfigError(f"{path} cannot be read: {os_words(error)}", cure=cure) from error
    if len(data) > CONFIG_MAX_BYTES:
        raise ConfigError(f"{path} has more than {CONFIG_MAX_BYTES} bytes")
    document = parse_toml(path, data, "cmkms agent init")
    try:
        return _settings(home, document)
    except ConfigError as error:
        raise error.at(str(path)) from None


def _settings(home: Path, document: dict[str, Any]) -> AgentSettings:
    unknown = sorted(set(document) - _KEYS)
    if unknown:
        close = nearest(unknown[0], _KEYS)
        cure = f"{close}, if that is meant" if close else f"known keys: {', '.join(sorted(_KEYS))}"
        raise ConfigError(f"unknown key {unknown[0]!r}", cure=cure)
    nodes = tuple(parse_node(_text(one, "node")) for one in _list(document, "node"))
    validators = tuple(_validator(one) for one in _list(document, "validator"))
    metrics = document.get("metrics_addr", "")
    for what, values, most in (
        ("node", [one.id for one in nodes], MEMBERS_MAX),
        ("node's key", [one.key.hex() for one in nodes], MEMBERS_MAX),
        ("validator", [str(one.address) for one in validators], CHAINS_MAX),
    ):
        if not values:
            raise ConfigError(f"no {what} is configured", cure=_WRITTEN["validator" if what == "validator" else "node"])
        if len(values) > most:
            raise ConfigError(f"{len(values)} entries of {what}; at most {most} are possible")
        twice = sorted({one for one in values if values.count(one) > 1})
        if twice:
            raise ConfigError(f"the {what} {twice[0]} is configured more than once")
    if faults := check_validators([one.address for one in validators], "one [[validator]] for it"):
        raise ConfigError.together(faults)
    level, line_format = document.get("log_level", "info"), document.get("log_format", "plain")
    for key, value, known in (("log_level", level, _LEVELS), ("log_format", line_format, _FORMATS)):
        if value not in known:
            raise ConfigError(f"{key} = {as_toml(value)} is unknown", cure=f"one of {', '.join(map(as_toml, known))}")
    metrics_addr = Address.parse(_text(metrics, "metrics_addr")) if metrics else None
    if metrics_addr is not None:
        _check_metrics(metrics_addr, nodes, validators)
    return AgentSettings(
        home,
        check_name(_text(document.get("name", ""), "name")),
        nodes,
        validators,
        metrics_addr,
        level,
        line_format,
    )


def _check_metrics(metrics_addr: Address, nodes: Sequence[NodeEntry], validators: Sequence[ValidatorEntry]) -> None:
    """Raises: ConfigError where somebody else listens at it, whom the agent dials."""
    dialled = [Place("node", one.address, f"the node {one.id} ({one.address})") for one in nodes]
    dialled += of_validators("[[validator]]", [one.address for one in validators])
    if faults := check_ports([listener("metrics_addr", metrics_addr, "metrics_addr")], dialled, literal):
        raise ConfigError.together(faults)


def _validator(one: Any) -> ValidatorEntry:
    if not isinstance(one, dict) or set(one) != {"chain_id", "addr"}:
        raise ConfigError("a [[validator]] has chain_id and addr, and nothing else", cure=_WRITTEN["validator"])
    address = parse_validator(_text(one["addr"], "addr"))
    return ValidatorEntry(check_chain_id(_text(one["chain_id"], "chain_id")), address)


def _list(document: dict[str, Any], key: str) -> list[Any]:
    value = document.get(key, [])
    if not isinstance(value, list):
        raise ConfigError(f"{key} = {as_toml(value)} must be a list", cure=_WRITTEN[key])
    return value


def _text(value: Any, key: str) -> str:
    if not isinstance(value, str):
        raise ConfigError(f"{key} = {as_toml(value)} must be a string", cure=_WRITTEN[key])
    return value
