"""`cmkms keys`"""

import json
import sys
from pathlib import Path
from typing import Any, Final

import click

from cometkms.cli.options import (
    CommandGroup,
    chain_option,
    chosen_home,
    home_option,
    json_option,
    load_home,
    named_type,
    one_chain,
    type_option,
)
from cometkms.cli.output import show_json
from cometkms.cli.passphrase import given, new_passphrase, passphrase_options, to_open
from cometkms.config.schema import Chain
from cometkms.core import choose
from cometkms.durable import make_directory, read_given, write_atomically
from cometkms.errors import InvariantError, KeyFileError, said
from cometkms.keys import sealed_file
from cometkms.keys.formats import bech32_address, cometbft_json, cosmos_json
from cometkms.keys.passphrase import PassphraseSource
from cometkms.keys.validator_key import (
    KeyMaterial,
    address_of,
    load_public_key,
    load_sealed,
    material_of,
    new_seed,
    parse_material,
    read_material,
    write_material,
)
from cometkms.keytypes import ED25519, type_of
from cometkms.limits import (
    KEY_FILE_MAX_BYTES,
    SEAL_MEMORY_BYTES,
    SEAL_MEMORY_MAX_BYTES,
    SEAL_MEMORY_MIN_BYTES,
    SEAL_PASSES,
)
from cometkms.model import SealedKey
from cometkms.store.lock import locked_home

_MIB: Final = 1 << 20
_PREFIX: Final = "cosmosvalcons"


@click.group("keys", cls=CommandGroup)
def command() -> None:
    """Show, make, import, encrypt or decrypt a validator key. The secret is never shown."""


@command.command("show")
@home_option
@chain_option
@click.option("--prefix", default=_PREFIX, metavar="HRP", help=f"bech32 prefix.  [default: {_PREFIX}]")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def show(home: str | None, chain_id: str | None, prefix: str, as_json: bool) -> None:  # noqa: ARG001
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
    if as_json:
        show_json(_document(chain, prefix))
        return
    cosmos = cosmos_json(public_key)
    click.echo(f"type      {type_of(public_key).name}")
    click.echo(f"address   {address_of(public_key)}")
    click.echo(f"bech32    {bech32}")
    click.echo(f"cometbft  {cometbft_json(public_key)}")
    click.echo(f"cosmos    {cosmos or 'none: the Cosmos SDK has no name for this type'}")
    click.echo(f"file      {chain.key_file}")
    sealed = load_sealed(chain.key_file)
    how = (
        f"with a passphrase (Argon2id, {sealed.passes} passes over {sealed.memory_bytes // _MIB} MiB)" if sealed else ""
    )
    click.echo(f"sealed    {how or 'no: cmkms keys encrypt'}")


@command.command("new")
@home_option
@chain_option
@type_option("of the new key", default=ED25519.name, show_default=True)
@json_option("The new key, without its secret,")
def new(home: str | None, chain_id: str | None, key_type: str, as_json: bool) -> None:  # noqa: ARG001
    """Make a new key where the home expects one; never overwrites.

    The state file is made by `cmkms init --new-key`, or by hand.

    \b
    Examples:
      cmkms keys new
      cmkms keys new --type secp256k1
    """
    chain, wanted = one_chain(load_home(), chain_id), named_type(key_type)
    _write(chain, material_of(new_seed(wanted), wanted), as_json)


@command.command("import")
@home_option
@chain_option
@type_option("of a key that is base64 or hex alone; a file tells its own  [default: ed25519]")
@click.argument("file", metavar="FILE", type=click.Path(allow_dash=True))
@json_option("The imported key, without its secret,")
def import_key(
    home: str | None,  # noqa: ARG001
    chain_id: str | None,
    key_type: str | None,
    file: str,
    as_json: bool,
) -> None:
    """Import a key: a priv_validator_key.json, plain or sealed, or base64 or hex of its 32 or 64
    bytes; "-" reads standard input. Never overwrites.

    The watermark does not come along: import it too (`cmkms state import`), and stop the old signer
    first. `cmkms import` brings both.

    \b
    Examples:
      cmkms keys import ~/old/priv_validator_key.json
      tmkms-softsign-key | cmkms keys import -
    """
    chain = one_chain(load_home(), chain_id)
    wanted = named_type(key_type) if key_type is not None else None
    try:
        text = (
            sys.stdin.read(KEY_FILE_MAX_BYTES) if file == "-" else read_given(Path(file), KEY_FILE_MAX_BYTES).decode()
        )
    except (OSError, UnicodeDecodeError) as error:
        raise KeyFileError(
            f"{file} cannot be read: {said(error)}",
            cure="the path of a key file, or of a text that holds the key; or -",
        ) from error
    _write(chain, parse_material(text, wanted), as_json)


@command.command("encrypt")
@home_option
@chain_option
@passphrase_options
@click.option(
    "--memory-mib",
    type=click.IntRange(SEAL_MEMORY_MIN_BYTES // _MIB, SEAL_MEMORY_MAX_BYTES // _MIB),
    default=SEAL_MEMORY_BYTES // _MIB,
    metavar="N",
    show_default=True,
    help="What opening it costs: each guess too.",
)
@json_option("The sealed key, without its secret,")
def encrypt(
    home: str | None,  # noqa: ARG001
    chain_id: str | None,
    passphrase_file: Path | None,
    passphrase_fd: int | None,
    passphrase_credential: str | None,
    memory_mib: int,
    as_json: bool,
) -> None:
    """Seal the key file with a passphrase (Argon2id, XChaCha20-Poly1305). The node must be stopped.

    It then needs the passphrase at each start: key_passphrase_file and its like. Address and public
    key stay readable.

    \b
    Examples:
      cmkms keys encrypt
      cmkms keys encrypt --passphrase-file /etc/cmkms/passphrase
      pass show validator | cmkms keys encrypt --passphrase-fd 0
    """
    chain, core = one_chain(load_home(), chain_id), choose.load()
    path = chain.key_file
    if load_sealed(path) is not None:
        raise KeyFileError(f"{path} is sealed already", cure="`cmkms keys decrypt` first, to choose another passphrase")
    with (
        read_material(path, core) as material,
        new_passphrase(given(passphrase_file, passphrase_fd, passphrase_credential)) as passphrase,
        locked_home(chosen_home()),
    ):
        cost = sealed_file.blank(SEAL_PASSES, memory_mib * _MIB, type_of(material.public_key))
        sealed = core.seal_key(material.secret(), passphrase.view, cost)
        core.sealed_slot(sealed, passphrase.view, "").close()  # it opens, or the plain file stays
        write_atomically(path, sealed_file.encode(sealed))
    for line in (
        f"sealed {path}, address {address_of(sealed.public_key)}",
        "Without the passphrase the key is lost: keep it apart from the file.",
        "The plain key may still be in the disk's free blocks, in backups and on the signer it came from.",
        "For the next start: key_passphrase_file in config.toml, or --key-passphrase-file, -credential or -fd.",
    ):
        click.echo(line, err=as_json)
    if as_json:
        show_json(_document(chain))


@command.command("decrypt")
@home_option
@chain_option
@passphrase_options
@json_option("The plain key, without its secret,")
def decrypt(
    home: str | None,  # noqa: ARG001
    chain_id: str | None,
    passphrase_file: Path | None,
    passphrase_fd: int | None,
    passphrase_credential: str | None,
    as_json: bool,
) -> None:
    """Take the passphrase off: the key file is plain again, as CometBFT writes it, mode 0600.

    The node must be stopped.

    \b
    Examples:
      cmkms keys decrypt
      cmkms keys decrypt --passphrase-file /etc/cmkms/passphrase
    """
    settings = load_home()
    chain = one_chain(settings, chain_id)
    path = chain.key_file
    sealed = load_sealed(path)
    if sealed is None:
        raise KeyFileError(f"{path} is not sealed", cure="none needed")
    source = to_open([path], settings, given(passphrase_file, passphrase_fd, passphrase_credential))
    with opened(path, sealed, source) as material, locked_home(chosen_home()):
        write_atomically(path, material.document)
    click.echo(f"opened {path}, address {address_of(sealed.public_key)}: it is plain now, mode 0600", err=as_json)
    if as_json:
        show_json(_document(chain))


def _document(chain: Chain, prefix: str = _PREFIX) -> dict[str, Any]:
    """What every command here tells a program of the key that is there now. Raises: KeyFileError."""
    public_key = load_public_key(chain.key_file)
    cosmos = cosmos_json(public_key)
    return {
        "type": type_of(public_key).name,
        "address": address_of(public_key),
        "bech32": bech32_address(prefix, public_key),
        "cometbft": json.loads(cometbft_json(public_key)),
        "cosmos": json.loads(cosmos) if cosmos is not None else None,
        "file": str(chain.key_file),
        "sealed": load_sealed(chain.key_file) is not None,
    }


def opened(path: Path, sealed: SealedKey, source: PassphraseSource | None) -> KeyMaterial:
    """The plain form of a sealed key file, for a command that must write it. Raises: KeyFileError."""
    if source is None:
        raise InvariantError(f"{path} is sealed and no passphrase was asked for")
    with source.read() as passphrase:
        try:
            secret = choose.load().unseal_key(sealed, passphrase.view)
        except KeyFileError as error:
            raise error.at(str(path)) from error
    return KeyMaterial.of_secret(secret, sealed.public_key)


def _write(chain: Chain, material: KeyMaterial, as_json: bool) -> None:
    path = chain.key_file
    make_directory(path.parent)
    with material:
        write_material(path, material)
    click.echo(f"made {path}, address {address_of(load_public_key(path))}", err=as_json)
    if as_json:
        show_json(_document(chain))
