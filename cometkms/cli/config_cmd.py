"""`cmkms config`"""

import os
import stat
from pathlib import Path
from typing import Any

import click

from cometkms.cli.options import UNSET_CHAIN, CommandGroup, existing_home, home_option, load_home
from cometkms.cli.output import say, show_json
from cometkms.cli.passphrase import to_open
from cometkms.cli.running import node_id_option
from cometkms.cli.state import files_of
from cometkms.config.files import check_kinds
from cometkms.config.load import in_force, load_settings, unknown_variables
from cometkms.config.schema import Settings
from cometkms.config.table import Flags
from cometkms.config.webhook import UrlFile
from cometkms.core import choose
from cometkms.errors import ConfigError
from cometkms.keys.cluster import cluster_digest, public_identities
from cometkms.keys.passphrase import PassphraseFile
from cometkms.keys.source import key_source
from cometkms.keys.validator_key import address_of
from cometkms.store.home_born import read_epoch


@click.group("config", cls=CommandGroup)
def command() -> None:
    """What this node's settings come to."""


@command.command("check")
@home_option
@click.option("--json", "as_json", is_flag=True, help="As JSON: what is taken, or every fault.")
def check(home: str | None, as_json: bool) -> int:  # noqa: ARG001
    """Whether a start would take this home's settings: config.toml and the variables.

    Exit code 3 with every fault, a line each, if not.

    A file that a setting names and that is not there, or does not hold what it is to, is a warning:
    that may be put right before the start. Nothing is started and nothing is written; `cmkms
    doctor` looks at keys, state, disk and network, too.

    \b
    Example:
      cmkms config check && systemctl reload cmkms
    """
    warnings = unknown_variables()
    if as_json:
        return _check_as_json(warnings)
    settings = _checked()
    for words in (*warnings, *_missing(settings), *_unusable(settings)):
        say(f"WARNING   {words}", err=True)
    members = ", ".join(peer.id for peer in settings.peers)
    chains = ", ".join(chain.id for chain in settings.chains)
    say(f"ok: node {settings.id}{' of ' + members if members else ', alone'}; chains {chains}")
    return 0


def _check_as_json(warnings: list[str]) -> int:
    """The same exit code as without --json."""
    found: dict[str, Any] = {"ok": True, "faults": [], "warnings": warnings}
    code = 0
    try:
        settings = _checked()
    except ConfigError as error:
        found |= {"ok": False, "faults": [str(one) for one in error.parts]}
        code = error.exit_code
    else:
        chains = [chain.id for chain in settings.chains]
        warnings += _missing(settings) + _unusable(settings)
        found |= {"node_id": settings.id, "members": [peer.id for peer in settings.peers], "chains": chains}
    show_json(found)
    return code


def _checked() -> Settings:
    """What a start would take. Raises: ConfigError."""
    settings = load_settings(existing_home(), Flags(), here=True)
    if faults := check_kinds(settings):
        raise ConfigError.together(faults)
    return settings


def _missing(settings: Settings) -> list[str]:
    """Files that settings name, beside the keys and state files, and that are not there."""
    source = settings.webhook.source if settings.webhook is not None else None
    secret = settings.key_passphrase
    named = {
        "noise_identity_file": settings.noise_identity_file,
        "alert_webhook_file": source.path if isinstance(source, UrlFile) else None,
        "key_passphrase_file": secret.path if isinstance(secret, PassphraseFile) else None,
    }
    found = []
    for key, path in named.items():
        try:
            is_there = path is None or path.stat() is not None
        except FileNotFoundError:
            is_there = False
        except OSError:  # another user's: the doctor says so
            is_there = True
        if not is_there:
            found.append(f"{key}: {path} is not there; put it there before the start, or take the setting out")
    return found


def _unusable(settings: Settings) -> list[str]:
    """Files that are there and hold no receiver of alerts and no passphrase, as the doctor says of
    them, too. What this user may not read is for the node's user to look at; a passphrase is not
    read: a FIFO gives it once.
    """
    webhook, secret = settings.webhook, settings.key_passphrase
    found = []
    try:
        if webhook is not None and (file := webhook.source.secret_file) is not None and os.path.lexists(file):
            webhook.source.read()
    except ConfigError as error:
        found += [] if isinstance(error.__cause__, PermissionError) else [f"no alert can be sent: {error}"]
    if secret is not None and (file := secret.secret_file) is not None:
        found += _no_passphrase(file)
    return found


def _no_passphrase(path: Path) -> list[str]:
    try:
        status = path.stat()
    except OSError:
        return []
    is_empty = stat.S_ISREG(status.st_mode) and status.st_size == 0
    if not is_empty and not stat.S_ISDIR(status.st_mode):
        return []
    what = "is empty" if is_empty else "is a directory"
    return [f"the passphrase file {path} {what}; cure: a file with the passphrase on one line"]


@command.command("show")
@home_option
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def show(home: str | None, as_json: bool) -> None:  # noqa: ARG001
    """Every setting that a start would take from this home, and where it comes from: a variable,
    config.toml, or the default.

    What a running node was given by flags is not seen here. Passphrases are never shown, only where
    they come from.

    \b
    Examples:
      cmkms config show
      cmkms config show --json
    """
    found = in_force(existing_home())
    for words in unknown_variables():
        say(f"WARNING   {words}", err=True)
    if as_json:
        show_json({one.key: {"value": one.value, "from": one.where} for one in found})
        return
    width = max(len(one.key) for one in found)
    for one in found:
        say(f"{one.key.ljust(width)}  {_shown(one.value)}  ({one.where})")


def _shown(value: str | bool | list[str]) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return (", ".join(value) if isinstance(value, list) else value) or "-"


@command.command("digest")
@home_option
@node_id_option
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def digest(home: str | None, node_id: str | None, as_json: bool) -> None:  # noqa: ARG001
    """What the nodes of a cluster must agree on.

    The output is the same on every node of a right configuration; no secrets are in it.

    Reads files only: it works while the node runs, and before its first start. Nodes with different
    digests refuse each other; different chains or keys are warned of, and the promises of one are
    refused by the other.

    \b
    Examples:
      cmkms config digest
      diff <(ssh a cmkms config digest) <(ssh b cmkms config digest)
    """
    found = agreement(load_home(node_id=node_id))
    if as_json:
        show_json(found)
        return
    say(f"digest   {found['digest']}")
    say(f"epoch    {found['epoch']}")
    for member in found["members"]:
        say(f"member   {member['id']}  {member['addr'] or 'alone'}  identity {member['identity'] or 'none'}")
    for chain in found["chains"]:
        say(f"chain    {chain['id']}  key {chain['address']}")
    say(f"ttl      {found['default_ttl_ms']} ms")
    say(f"strict   {'on' if found['strict_start'] else 'off'}")


def agreement(settings: Settings) -> dict[str, Any]:
    """Digest, epoch, members with their identity keys, chains with their keys' addresses, lease.

    Raises: KeyFileError, StateError.
    """
    files = files_of(settings)
    epoch = read_epoch(files)
    keys: dict[str, bytes] = {}
    if not files.alone:
        passphrase = to_open([chain.key_file for chain in settings.chains], settings)
        sources = [key_source(chain.key_file, passphrase) for chain in settings.chains]
        keys = public_identities(settings.home, sources, choose.load(), files.members)
    addresses = {peer.id: str(peer.address) for peer in settings.peers}
    return {
        "digest": cluster_digest(epoch, keys).hex(),
        "epoch": epoch,
        "members": [
            {"id": name, "addr": addresses.get(name, ""), "identity": keys[name].hex() if keys else ""}
            for name in files.members
        ],
        "chains": [
            {"id": one.row.chain_id, "address": address_of(one.row.public_key)}
            for one in files.chains
            if one.row.chain_id != UNSET_CHAIN
        ],
        "default_ttl_ms": round(settings.default_ttl_s * 1000),
        "strict_start": settings.strict_start,
    }
