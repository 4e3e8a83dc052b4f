"""`cmkms testnet`"""

import contextlib
import itertools
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from cometkms.address import Address, bracketed
from cometkms.agent.config import check_name
from cometkms.agent.config import load as load_agent
from cometkms.agent.scaffold import init_agent, make_agent_key
from cometkms.cli.options import named_type, type_option
from cometkms.cli.output import show_json
from cometkms.cli.peers import identity_line
from cometkms.config.cluster import DEFAULT_RAFT_ADDR
from cometkms.config.files import CONFIG_NAME, KEY_NAME, STATE_NAME
from cometkms.config.load import load_settings
from cometkms.config.ports import Place, check_ports, listener, literal, of_validators
from cometkms.config.scaffold import init_home
from cometkms.config.table import Flags
from cometkms.config.values import check_chain_id, expanded, parse_validator
from cometkms.core import choose
from cometkms.errors import ConfigError, os_words
from cometkms.keys.validator_key import (
    KeyMaterial,
    address_of,
    load_public_key,
    load_sealed,
    material_of,
    new_seed,
    read_material,
    write_material,
)
from cometkms.keytypes import ED25519, KeyType, type_of
from cometkms.limits import MEMBERS_MAX
from cometkms.model import Row, Watermark
from cometkms.store import state_file
from cometkms.store.own_home import own_mark
from cometkms.store.raise_mark import higher_mark

_RAFT_PORT: Final = Address.parse(DEFAULT_RAFT_ADDR).port
_HTTP_PORT: Final = 8080
_AGENT_PORT: Final = 9440
_LOCAL: Final = "127.0.0.1"
_PORT_MAX: Final = 65535


@dataclass(frozen=True, slots=True)
class _Node:
    id: str
    raft_addr: str
    http_addr: str
    agent_addr: str


@dataclass(frozen=True, slots=True)
class _Material:
    """What every node has alike. `is_new`: the key was made here."""

    key: KeyMaterial
    mark: Watermark
    is_new: bool


@click.command("testnet")
@click.option("--nodes", type=click.IntRange(1, MEMBERS_MAX), metavar="N", help="How many.  [default: 3]")
@click.option("--dir", "directory", required=True, metavar="DIR", help="Where; must not exist, or be empty.")
@click.option(
    "--chain-id", metavar="ID", help="Chain id of the validators.  [default: testnet-1; no default with --key-file]"
)
@click.option("--validator-addr", multiple=True, metavar="ADDR", help="priv_validator_laddr to dial (repeatable).")
@click.option(
    "--addresses", metavar="IP,IP,…", help="One host each for machines of their own.  [default: this machine]"
)
@click.option("--starting-port", type=click.IntRange(1, _PORT_MAX), default=_RAFT_PORT, metavar="P", show_default=True,
              help="Port between the nodes; on one machine the first of N.")  # fmt: skip
@click.option("--http-port", type=click.IntRange(1, _PORT_MAX), default=_HTTP_PORT, metavar="P", show_default=True,
              help="Port of /healthz and /status; on one machine the first of N.")  # fmt: skip
@click.option(
    "--key-file", type=click.Path(path_type=Path), metavar="FILE", help="The validator's key.  [default: a new one]"
)
@type_option(f"of the new key  [default: {ED25519.name}]")
@click.option("--state-file", type=click.Path(path_type=Path), metavar="FILE",
              help="What that key has signed.  [default: priv_validator_state.json beside it]")  # fmt: skip
@click.option(
    "--agent",
    metavar="NAME",
    help="Make DIR/NAME too, the home of an agent beside the validators, which then asks these nodes.",
)
@click.option("--agent-port", type=click.IntRange(1, _PORT_MAX), default=_AGENT_PORT, metavar="P", show_default=True,
              help="Port for the agent; on one machine the first of N.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="What was made, as JSON.")
def command(
    nodes: int | None,
    directory: str,
    chain_id: str | None,
    validator_addr: tuple[str, ...],
    addresses: str | None,
    starting_port: int,
    http_port: int,
    key_file: Path | None,
    key_type: str | None,
    state_file: Path | None,
    agent: str | None,
    agent_port: int,
    as_json: bool,
) -> None:
    """Write the homes of a cluster: DIR/node0, DIR/node1, …, each with the whole peer list, the
    same key and the same state.

    For one machine the nodes have ports of their own; with --addresses they have one machine each,
    and the same ports.

    \b
    Examples:
      cmkms testnet --dir /tmp/trial
      cmkms testnet --dir homes --addresses 10.0.0.10,10.0.0.11,10.0.0.12 --chain-id my-chain-1 \\
        --validator-addr tcp://10.0.0.1:26658 --key-file priv_validator_key.json
      cmkms testnet --dir /tmp/trial --agent sentry-a
      cmkms testnet --dir /tmp/trial --type bls12_381
    """
    hosts = [part.strip() for part in addresses.split(",")] if addresses else []
    if key_type is not None and key_file is not None:
        raise click.UsageError("--type is of a new key; the file that --key-file names tells its own")
    wanted = named_type(key_type or ED25519.name)
    planned = _plan(nodes, hosts, starting_port, http_port, agent_port, agents=agent is not None)
    chain = _chain_id(chain_id, key_file)
    validators = validator_addr or _default_validators(hosts)
    elsewhere = bool(hosts) and agent is not None  # then it is the agent's machine that finds the validators
    _check_planned(planned, () if elsewhere else validators, agents=agent is not None)
    for address in validators:
        parse_validator(address)
    root = _empty_directory(expanded(Path(directory)).absolute())
    if agent is not None and check_name(agent) in {node.id for node in planned}:
        raise click.UsageError(f"{agent} is a node's name; cure: another --agent")
    material = _material(key_file, state_file, chain, wanted)
    agent_home = root / agent if agent is not None else None
    with material.key, _taken_away_on_failure(root, [*(node.id for node in planned), *([agent] if agent else [])]):
        homes = _write(root, planned, chain, validators, material, agent_home)
    if as_json:
        show_json(_document(homes, planned, chain, validators, material, agent_home))
    else:
        _tell(homes, planned, material, bool(hosts), agent_home)


def _plan(
    nodes: int | None, hosts: list[str], raft_port: int, http_port: int, agent_port: int, *, agents: bool
) -> list[_Node]:
    """Ids and addresses.

    `agents`: whether agent_port is listened on. Raises: ConfigError, UsageError.
    """
    count = nodes if nodes is not None else len(hosts) or 3
    if hosts:
        if len(hosts) != count:
            raise click.UsageError(f"{count} nodes and {len(hosts)} addresses; cure: one address for each node")
        if len(hosts) > MEMBERS_MAX:
            raise click.UsageError(f"{len(hosts)} addresses; at most {MEMBERS_MAX} nodes are possible")
        found = [
            _Node(
                f"node{n}",
                f"{bracketed(host)}:{raft_port}",
                f"{_LOCAL}:{http_port}",
                f"{bracketed(host)}:{agent_port}",
            )
            for n, host in enumerate(hosts)
        ]
    else:
        firsts = {"--starting-port": raft_port, "--http-port": http_port} | (
            {"--agent-port": agent_port} if agents else {}
        )
        _check_ranges(firsts, count)
        ports = [(raft_port + n, http_port + n, agent_port + n) for n in range(count)]
        found = [
            _Node(f"node{n}", f"{_LOCAL}:{raft}", f"{_LOCAL}:{http}", f"{_LOCAL}:{agent}")
            for n, (raft, http, agent) in enumerate(ports)
        ]
    if not all(Address.parse(node.raft_addr).host for node in found):
        raise click.UsageError("an address is empty; cure: --addresses IP,IP,IP")
    for host in hosts:
        if hosts.count(host) > 1:
            raise click.UsageError(
                f"the address {host} is named more than once; cure: leave --addresses out for one machine"
            )
    return found


def _check_ranges(firsts: dict[str, int], count: int) -> None:
    """On one machine each node has ports of its own, one behind the other. Raises: UsageError."""
    for option, first in firsts.items():
        if first + count - 1 > _PORT_MAX:
            raise click.UsageError(
                f"{option} {first} leaves no {count} ports: the last one is {_PORT_MAX}; cure: {_PORT_MAX - count + 1} at most"
            )
    for (option, first), (other, second) in itertools.combinations(firsts.items(), 2):
        if abs(first - second) < count:
            raise click.UsageError(
                f"{option} {first} and {other} {second} overlap: each node of {count} has a port of both; cure: {count} apart at least"
            )


def _check_planned(nodes: list[_Node], validators: tuple[str, ...], *, agents: bool) -> None:
    """Before anything is written: whether each node can have its addresses. Raises: ConfigError."""
    members = [Place("--starting-port", Address.parse(one.raft_addr), f"the node {one.id}") for one in nodes]
    dialled = of_validators("--validator-addr", map(parse_validator, validators))
    for node, member in zip(nodes, members, strict=True):
        own = [
            listener("--starting-port", member.address, "--starting-port"),
            listener("--http-port", Address.parse(node.http_addr), "--http-port"),
        ]
        if agents:
            own.append(listener("--agent-port", Address.parse(node.agent_addr), "--agent-port"))
        others = [one for one in members if one is not member]
        if faults := check_ports(own, [*others, *dialled], literal):
            raise ConfigError.together(faults)


def _chain_id(given: str | None, key_file: Path | None) -> str:
    if given is None and key_file is not None:
        raise click.UsageError("--key-file needs --chain-id: a key that is in use belongs to a chain")
    return check_chain_id(given or "testnet-1")


def _default_validators(hosts: list[str]) -> tuple[str, ...]:
    if hosts:
        raise click.UsageError("--addresses needs --validator-addr: where do the machines find the validator?")
    return (f"tcp://{_LOCAL}:26658",)


def _empty_directory(path: Path) -> Path:
    """Raises: ConfigError if something is there: a key or a state is never overwritten."""
    try:
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise ConfigError(
                f"{path} is not an empty directory, and nothing in it is overwritten", cure="another --dir"
            )
    except OSError as error:
        raise ConfigError(f"{path} cannot be used: {os_words(error)}", cure="another --dir") from error
    return path


@contextlib.contextmanager
def _taken_away_on_failure(root: Path, names: list[str]) -> Iterator[None]:
    """Half a cluster is of no use, has copies of a key, and would keep the same command from being
    given again.
    """
    was_there = root.exists()
    try:
        yield
    except BaseException:
        for name in names:
            shutil.rmtree(root / name, ignore_errors=True)
        if not was_there:
            with contextlib.suppress(OSError):
                root.rmdir()
        raise


def _material(key_file: Path | None, state: Path | None, chain_id: str, wanted: KeyType) -> _Material:
    """Raises: KeyFileError, StateError."""
    if key_file is None:
        if state is not None:
            raise click.UsageError("--state-file is of a key that exists: give --key-file too")
        choose.load().require(wanted)
        return _Material(material_of(new_seed(wanted), wanted), Watermark(), is_new=True)
    mark = _signed_with(key_file, state, Row(load_public_key(key_file), chain_id))
    return _Material(read_material(key_file, choose.load()), mark, is_new=False)


def _signed_with(key_file: Path, state: Path | None, row: Row) -> Watermark:
    """What the key has signed: the highest of its state file and of the homes of this program that
    key and file stand in. Raises: StateError, BusyError, StoreFailure.
    """
    beside, core = key_file.with_name(STATE_NAME), choose.load()
    marks = [mark for path in dict.fromkeys((state or beside, beside)) if (mark := own_mark(path, row, core))]
    if state is not None or not marks:
        marks.append(state_file.load(state or beside, row.chain_id, core.parse_sign_bytes))
    return higher_mark(None, marks, row, core)


def _write(
    root: Path,
    nodes: list[_Node],
    chain_id: str,
    validators: tuple[str, ...],
    material: _Material,
    agent_home: Path | None,
) -> list[Path]:
    """The nodes' homes, and the agent's, each read back as it will be at a start.

    Raises: OperatorError, StoreFailure.
    """
    peers = tuple(f"{node.id}={node.raft_addr}" for node in nodes)
    agents: tuple[str, ...] = ()
    if agent_home is not None:
        agents = (f"{agent_home.name}:{make_agent_key(agent_home).hex()}",)
    homes = []
    for node in nodes:
        home = root / node.id
        init_home(
            home,
            node_id=node.id,
            chain_id=chain_id,
            validator_addrs=() if agents else validators,
            http_addr=node.http_addr,
            raft_addr=node.raft_addr,
            peers=peers if len(nodes) > 1 else (),
            agent_addr=node.agent_addr,
            agents=agents,
            option="--dir",
        )
        write_material(home / "priv" / KEY_NAME, material.key)
        state_file.save(home / "priv" / STATE_NAME, material.mark)
        load_settings(home, Flags(), {})
        homes.append(home)
    if agent_home is not None:
        served = tuple((chain_id, address) for address in validators)
        lines = tuple(identity_line(home) for home in homes)
        init_agent(agent_home, name=agent_home.name, nodes=lines, validators=served)
        load_agent(agent_home)
    return homes


def _document(
    homes: list[Path],
    nodes: list[_Node],
    chain: str,
    validators: tuple[str, ...],
    material: _Material,
    agent_home: Path | None,
) -> dict[str, object]:
    """What _tell() says, for a program."""
    key = homes[0] / "priv" / KEY_NAME
    place = material.mark.hrs
    return {
        "nodes": [
            {"id": node.id, "home": str(home), "raft_addr": node.raft_addr, "http_addr": node.http_addr}
            for home, node in zip(homes, nodes, strict=True)
        ],
        "chain_id": chain,
        "validator_addrs": list(validators),
        "key": {
            "address": address_of(load_public_key(key)),
            "type": type_of(load_public_key(key)).name,
            "new": material.is_new,
            "sealed": load_sealed(key) is not None,
        },
        "state": {"height": place.height, "round": place.round, "step": int(place.step)},
        **({"agent": str(agent_home)} if agent_home is not None else {}),
    }


def _tell(homes: list[Path], nodes: list[_Node], material: _Material, machines: bool, agent_home: Path | None) -> None:
    for home, node in zip(homes, nodes, strict=True):
        click.echo(f"made  {home}  {node.raft_addr}, http {node.http_addr}")
    if agent_home is not None:
        click.echo(f"made  {agent_home}, of an agent beside the validator")
    key = homes[0] / "priv" / KEY_NAME
    public_key = load_public_key(key)
    click.echo(
        f"key   {address_of(public_key)}, {type_of(public_key).name}, {'new' if material.is_new else 'copied'}, the same on every node"
    )
    if load_sealed(key) is not None:
        click.echo(
            "The key is sealed: every start needs its passphrase (key_passphrase_file in config.toml, and its like)."
        )
    if material.mark != Watermark():
        click.echo(
            f"state height {material.mark.hrs.height} round {material.mark.hrs.round} step {material.mark.hrs.step}"
        )
    if not material.is_new:
        click.echo("Stop whatever signs with this key now, and copy its state again if it has signed since.")
    if len(nodes) in (2, 4, 6):
        click.echo(f"note: {len(nodes)} nodes bear no more losses than {len(nodes) - 1}", err=True)
    click.echo("Then copy each home to its machine, and start:" if machines else "Then start:")
    for home in homes:
        click.echo(f"  cmkms start --home {home}")
    if agent_home is not None:
        click.echo(f"  cmkms agent --home {agent_home}")
    waits = f"The first start waits until all {len(nodes)} have seen each other. " if len(nodes) > 1 else ""
    click.echo(f"{waits}Settings: {CONFIG_NAME} in {'each' if len(nodes) > 1 else 'the'} home.")
