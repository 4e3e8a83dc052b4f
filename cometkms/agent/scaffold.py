"""`cmkms agent init`: make an agent's key and settings where they are missing, keep what is there."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cometkms.address import Address, NoiseAddress
from cometkms.agent.config import CONFIG_NAME, check_name, parse_node
from cometkms.config.files import CONFIG_NAME as NODE_CONFIG_NAME
from cometkms.config.files import KEY_NAME
from cometkms.config.values import check_chain_id, parse_validator
from cometkms.durable import create_exclusively, make_directory
from cometkms.errors import ConfigError, os_words
from cometkms.keys.identity import IDENTITY_NAME, ensure_identity, load_identity

_TEMPLATE = """\
# CometKMS agent: stands beside a validator and asks every node (docs/AGENT.md).

# How the nodes' settings, pages and metrics call it.
name = {name}

# The nodes' agent_addr and keys, as `cmkms peers --identities` prints them on each.
node = {nodes}

# Serve metrics here, as 127.0.0.1:9464. Nowhere by default.
{metrics}

log_level = "info"
log_format = "plain"

# The validators: priv_validator_laddr, as tcp://host:port, unix:///path, or noise://ID@host:port with the validator's own ID, and the chain.
{validators}"""


@dataclass(slots=True)
class Made:
    """What init_agent() made and what was there. `key`: the agent's public key."""

    key: bytes = b""
    made: list[Path] = field(default_factory=list)
    kept: list[Path] = field(default_factory=list)


def init_agent(
    home: Path, *, name: str, nodes: tuple[str, ...], validators: tuple[tuple[str, str], ...], metrics_addr: str = ""
) -> Made:
    """`validators`: chain id and address of each.

    Raises: ConfigError, for a node's home too; KeyFileError.
    """
    check_name(name)
    for one in nodes:
        parse_node(one)
    for chain_id, address in validators:
        check_chain_id(chain_id)
        parse_validator(address)
    if metrics_addr:
        Address.parse(metrics_addr)
    refuse_node_home(home)
    result = Made()
    identity = home / "priv" / IDENTITY_NAME
    (result.kept if identity.exists() else result.made).append(identity)
    result.key = make_agent_key(home)
    try:
        path = home / CONFIG_NAME
        tables = "\n".join(
            f"[[validator]]\nchain_id = {json.dumps(chain)}\naddr = {json.dumps(address)}\n"
            for chain, address in validators
        )
        content = _TEMPLATE.format(
            name=json.dumps(name),
            nodes="[\n" + "".join(f"    {json.dumps(one)},\n" for one in nodes) + "]",
            metrics=f"metrics_addr = {json.dumps(metrics_addr)}"
            if metrics_addr
            else '# metrics_addr = "127.0.0.1:9464"',
            validators=tables or '# [[validator]]\n# chain_id = "my-chain-1"\n# addr = "tcp://127.0.0.1:26658"\n',
        )
        try:
            create_exclusively(path, content.encode())
            result.made.append(path)
        except FileExistsError:
            result.kept.append(path)
    except OSError as error:
        raise _cannot_be_made(home, error) from error
    return result


def refuse_node_home(home: Path) -> None:
    """An agent has no validator key near it, and an identity of its own. Raises: ConfigError."""
    for name in (NODE_CONFIG_NAME, f"priv/{KEY_NAME}"):
        if (home / name).exists():
            raise ConfigError(
                f"{home} is a node's home ({name} is there), and an agent's has no validator key in it",
                cure="another --home, as ~/.cmkms-agent",
            )


def noise_ports(validators: Sequence[str]) -> list[int]:
    """Where those of these validators listen that let in one signer only, and name it.

    Raises: ConfigError.
    """
    targets = [parse_validator(one).target for one in validators]
    return [one.port for one in targets if isinstance(one, NoiseAddress)]


def make_agent_key(home: Path) -> bytes:
    """The public key of the agent of that home; both are made where they are missing.

    Raises: ConfigError, KeyFileError.
    """
    try:
        for directory, mode in ((home, 0o755), (home / "priv", 0o700)):
            if not directory.is_dir():
                make_directory(directory, mode)
    except OSError as error:
        raise _cannot_be_made(home, error) from error
    ensure_identity(home)
    return load_identity(home).public_key


def _cannot_be_made(home: Path, error: OSError) -> ConfigError:
    return ConfigError(f"{error.filename or home} cannot be made: {os_words(error)}", cure="another --home")
