"""`cmkms keys`"""

import os
import sys
from pathlib import Path

import click

from cometkms.cli.options import chain_option, home_option, load_home, one_chain
from cometkms.errors import KeyFileError
from cometkms.keys.formats import bech32_address, cometbft_json, cosmos_json
from cometkms.keys.validator_key import address_of, load_public_key, parse_seed, write_key
from cometkms.limits import KEY_FILE_MAX_BYTES


@click.group("keys")
def command() -> None:
    """Show, make or import a validator key. The secret is never shown."""


@command.command("show")
@home_option
@chain_option
@click.option("--prefix", default="cosmosvalcons", metavar="HRP", help="bech32 prefix.  [default: cosmosvalcons]")
def show(home: str | None, chain_id: str | None, prefix: str) -> None:  # noqa: ARG001
    """The key's address and public key, in every form an operator needs.

    \b
    Examples:
      cmkms keys show
      cmkms keys show --prefix initvalcons
    """
    chain = one_chain(load_home(), chain_id)
    public_key = load_public_key(chain.key_file)
    try:
        bech32 = bech32_address(prefix, public_key)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    click.echo(f"address   {address_of(public_key)}")
    click.echo(f"bech32    {bech32}")
    click.echo(f"cometbft  {cometbft_json(public_key)}")
    click.echo(f"cosmos    {cosmos_json(public_key)}")
    click.echo(f"file      {chain.key_file}")


@command.command("new")
@home_option
@chain_option
def new(home: str | None, chain_id: str | None) -> None:  # noqa: ARG001
    """Make a new key where the home expects one; never overwrites. The state file is made by `cmkms init --new-key`, or by hand.

    \b
    Example:
      cmkms keys new
    """
    chain = one_chain(load_home(), chain_id)
    _write(chain.key_file, os.urandom(32))


@command.command("import")
@home_option
@chain_option
@click.argument("file", metavar="FILE", type=click.Path(allow_dash=True))
def import_key(home: str | None, chain_id: str | None, file: str) -> None:  # noqa: ARG001
    """Import a key: a priv_validator_key.json, or base64 or hex of 32 or 64 bytes; "-" reads standard input. Never overwrites.

    The watermark does not come along: import it too (`cmkms state import`), and stop the old signer first.

    \b
    Examples:
      cmkms keys import ~/old/priv_validator_key.json
      tmkms-softsign-key | cmkms keys import -
    """
    chain = one_chain(load_home(), chain_id)
    try:
        text = sys.stdin.read(KEY_FILE_MAX_BYTES) if file == "-" else Path(file).read_text()[:KEY_FILE_MAX_BYTES]
    except (OSError, UnicodeDecodeError) as error:
        raise KeyFileError(f"{file} cannot be read: {error}") from error
    _write(chain.key_file, parse_seed(text))


def _write(path: Path, seed: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_key(path, seed)
    click.echo(f"made {path}, address {address_of(load_public_key(path))}")
