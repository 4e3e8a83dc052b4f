"""The passphrase of a sealed key file, as the commands ask for it: a file, a descriptor, a
credential, or the prompt.
"""

import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from cometkms.config.schema import Settings
from cometkms.config.values import check_credential, expanded
from cometkms.errors import KeyFileError
from cometkms.keys.passphrase import (
    Passphrase,
    PassphraseCredential,
    PassphraseDescriptor,
    PassphraseFile,
    PassphraseHeld,
    PassphraseSource,
)
from cometkms.keys.validator_key import load_sealed
from cometkms.limits import PASSPHRASE_MIN_BYTES

F = TypeVar("F", bound=Callable[..., Any])
_OPTIONS: Final = (
    click.option("--passphrase-file", type=click.Path(path_type=Path), metavar="FILE", help="Read it there (mode 0600)."),
    click.option("--passphrase-fd", type=click.IntRange(0), metavar="N", help="Read it from an open descriptor, as in 3<FILE."),
    click.option("--passphrase-credential", metavar="NAME", help="Read it from a systemd credential."),
)  # fmt: skip


def passphrase_options(function: F) -> F:
    """--passphrase-file, -fd and -credential; without any of them the prompt."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def given(file: Path | None, fd: int | None, credential: str | None) -> PassphraseSource | None:
    """The source that the command line names. Raises: UsageError for more than one."""
    if sum(one is not None for one in (file, fd, credential)) > 1:
        raise click.UsageError("give one of --passphrase-file, --passphrase-fd and --passphrase-credential")
    if file is not None:
        return PassphraseFile(expanded(file).absolute())
    if credential is not None:
        return PassphraseCredential(check_credential(credential), os.environ)
    return PassphraseDescriptor(fd) if fd is not None else None


def to_open(
    files: Iterable[Path], settings: Settings, named: PassphraseSource | None = None
) -> PassphraseSource | None:
    """Choose where the passphrase of key files comes from: the source named, the home's, or the
    prompt; None when none is sealed. It is read at most once.

    Raises: KeyFileError.
    """
    sealed = [path for path in files if load_sealed(path) is not None]
    if not sealed:
        return None
    source = named or settings.key_passphrase
    return PassphraseHeld(source.read() if source is not None else _prompt(f"Passphrase of {sealed[0]}", confirm=False))


def new_passphrase(named: PassphraseSource | None) -> Passphrase:
    """Return the passphrase to seal with, from the source named or the prompt, twice.

    Raises: KeyFileError for one that anybody guesses.
    """
    chosen = named.read() if named is not None else _prompt("New passphrase", confirm=True)
    if len(chosen.view) < PASSPHRASE_MIN_BYTES:
        chosen.wipe()
        raise KeyFileError(
            f"the passphrase has less than {PASSPHRASE_MIN_BYTES} bytes",
            cure="a longer one, as `openssl rand -base64 24` makes it",
        )
    return chosen


def _prompt(text: str, *, confirm: bool) -> Passphrase:
    if not sys.stdin.isatty():
        raise KeyFileError(
            "a passphrase is needed, and nobody is there to type it",
            cure="--passphrase-file, --passphrase-fd or --passphrase-credential",
        )
    return Passphrase.of_text(click.prompt(text, hide_input=True, confirmation_prompt=confirm, err=True))
