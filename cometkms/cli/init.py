"""`cmkms init`"""

import os
from pathlib import Path

import click

from cometkms.address import Address
from cometkms.cli.options import chosen_home, home_option, load_home, named_type, type_option
from cometkms.cli.output import show_json
from cometkms.config.cluster import DEFAULT_RAFT_ADDR
from cometkms.config.files import CONFIG_NAME, KEY_NAME, STATE_NAME
from cometkms.config.ports import check_ports, listener, literal, of_validators
from cometkms.config.scaffold import init_home, refuse_existing
from cometkms.config.table import DEFAULT_HTTP_ADDR
from cometkms.config.validators import check_validators
from cometkms.config.values import check_chain_id, check_node_id, parse_validator
from cometkms.core import choose
from cometkms.durable import discarding, make_directory
from cometkms.errors import ConfigError
from cometkms.keys.validator_key import new_seed, write_key
from cometkms.keytypes import ED25519, KeyType
from cometkms.model import Watermark
from cometkms.store import state_file


@click.command("init")
@home_option
@click.option(
    "--new-key", is_flag=True, help="Also make a validator key and an empty state. Only for a key that is new."
)
@click.option("--id", "node_id", default="node0", metavar="ID", help="Node id for config.toml.  [default: node0]")
@click.option("--chain-id", default="", metavar="ID", help="Chain id for config.toml.")
@click.option("--validator-addr", multiple=True, metavar="ADDR", help="Validator address for config.toml (repeatable).")
@click.option(
    "--http-addr",
    default=DEFAULT_HTTP_ADDR,
    metavar="ADDR",
    help=f"HTTP address for config.toml.  [default: {DEFAULT_HTTP_ADDR}]",
)
@type_option(f"of the key that --new-key makes  [default: {ED25519.name}]")
@click.option("--json", "as_json", is_flag=True, help="What was made and kept, as JSON.")
def command(
    home: str | None,  # noqa: ARG001 - kept in the context by the option's callback
    new_key: bool,
    node_id: str,
    chain_id: str,
    validator_addr: tuple[str, ...],
    http_addr: str,
    key_type: str | None,
    as_json: bool,
) -> None:
    """Make config.toml, data/ and priv/ in the home; what is there is kept as it is.

    With --new-key each chain of config.toml gets its key where that expects it, as far as it has
    none.

    \b
    Examples:
      cmkms init
      cmkms init --home /var/lib/cmkms --chain-id my-chain-1 --validator-addr tcp://10.0.0.1:26658
      cmkms init --home /tmp/trial --new-key
    """
    path = chosen_home()
    check_node_id(node_id)
    own = [
        listener("raft_addr", Address.parse(DEFAULT_RAFT_ADDR), ""),
        listener("--http-addr", Address.parse(http_addr), "--http-addr"),
    ]
    if chain_id:
        check_chain_id(chain_id)
    validators = [parse_validator(one) for one in validator_addr]
    faults = check_ports(own, of_validators("--validator-addr", validators), literal)
    if faults := faults + check_validators(validators, "give it once as --validator-addr"):
        raise ConfigError.together(faults)
    if key_type is not None and not new_key:
        raise click.UsageError("--type is of the key that --new-key makes; a key file tells its own")
    wanted = named_type(key_type or ED25519.name)
    if new_key:
        choose.load().require(wanted)  # before anything is made
    new_files = _new_files(path) if new_key else []
    result = init_home(path, node_id=node_id, chain_id=chain_id, validator_addrs=validator_addr, http_addr=http_addr)
    made_files, kept_files = [str(one) for one in result.made], [str(one) for one in result.kept]
    for key_path, state_path in new_files:
        _make_key(key_path, state_path, wanted)
        made_files += [str(key_path), str(state_path)]
    if as_json:
        show_json({"home": str(path), "made": made_files, "kept": kept_files})
        return
    for made in made_files:
        click.echo(f"made  {made}")
    for kept in kept_files:
        click.echo(f"kept  {kept}")
    if new_key:
        click.echo("The key is new and not encrypted (cmkms keys encrypt): back it up, and use it nowhere else.")
    for key_path, state_path in () if new_key else _files_or_usual(path):
        if not key_path.exists():
            names = f"{key_path.name} and {state_path.name}"
            click.echo(f"Next: copy the validator's {names} into {key_path.parent} (stop the old signer first).")
    missing = [name for name, value in (("chain_id", chain_id), ("validator_addr", validator_addr)) if not value]
    config = path / CONFIG_NAME
    first = f"set {' and '.join(missing)} in {config}, and " if missing and config in result.made else ""
    click.echo(f"Then: {first}run cmkms start --home {path}")


def _files_of(home: Path) -> list[tuple[Path, Path]]:
    """Key and state file of each chain: where config.toml has them, or where that of `init` will.
    Raises: ConfigError.
    """
    if not os.path.lexists(home / CONFIG_NAME):
        return [(home / "priv" / KEY_NAME, home / "priv" / STATE_NAME)]
    return [(chain.key_file, chain.state_file) for chain in load_home().chains]


def _files_or_usual(home: Path) -> list[tuple[Path, Path]]:
    """The same, also beside a config.toml that has faults, which a start tells."""
    try:
        return _files_of(home)
    except ConfigError:
        return [(home / "priv" / KEY_NAME, home / "priv" / STATE_NAME)]


def _new_files(home: Path) -> list[tuple[Path, Path]]:
    """Those of the chains that have neither yet. Raises: ConfigError, KeyFileError where one has
    only one of the two, or all have theirs.
    """
    files = _files_of(home)
    wanting = [pair for pair in files if not any(one.exists() for one in pair)]
    for pair in files:
        if not all(one.exists() for one in pair):
            refuse_existing(() if pair in wanting else pair)
    if not wanting:
        refuse_existing(files[0])
    if len({key_path for key_path, _ in wanting}) < len(wanting):
        raise ConfigError(
            "two chains have one key_file", cure="`cmkms keys new --chain-id ID`, and the state files by hand"
        )
    return wanting


def _make_key(key_path: Path, state_path: Path, wanted: KeyType) -> None:
    for one in (key_path, state_path):
        make_directory(one.parent)
    state_file.save(state_path, Watermark())
    # without its key it would keep the same command from being given again
    with discarding(state_path):
        write_key(key_path, new_seed(wanted), wanted)
