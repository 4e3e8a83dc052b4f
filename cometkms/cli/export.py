"""`cmkms export`"""

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from cometkms.cli.epoch import read_seals
from cometkms.cli.keys import opened
from cometkms.cli.moving import chosen_chain, document_of, place_of, tell_off, words_of
from cometkms.cli.options import burn_options, chain_option, chosen_home, demand_heights, home_option
from cometkms.cli.output import say, show_json
from cometkms.cli.passphrase import given, passphrase_options, to_open
from cometkms.cli.running import node_id_option
from cometkms.cli.state import files_of
from cometkms.config.schema import Chain, Settings
from cometkms.config.values import expanded
from cometkms.core import choose
from cometkms.durable import create_exclusively, make_directory, write_atomically
from cometkms.errors import CometKMSError, KeyFileError, StateError, os_words
from cometkms.hardening.prctl import make_undumpable
from cometkms.keys.passphrase import PassphraseSource
from cometkms.keys.validator_key import KeyMaterial, address_of, load_public_key, load_sealed, read_material, wipe
from cometkms.keytypes import ED25519, SECP256K1, type_of
from cometkms.model import HRS, Watermark
from cometkms.operator.moving import filepv, tmkms
from cometkms.operator.moving.old_signer import is_missing
from cometkms.rules.burnt import Heights, burnt_up_to
from cometkms.store import epoch as epochs
from cometkms.store import state_file
from cometkms.store.exported import note_export, note_other_ids, refuse_second_export, went_out
from cometkms.store.lock import locked_home
from cometkms.store.node_files import NodeFiles
from cometkms.store.own_home import refuse_target
from cometkms.store.owner import other_ids

_KINDS: Final = ("filepv", "tmkms")
_OFF: Final = (
    "this node stays stopped and disabled, and refuses to start: a signature of the other signer is one that it does not know of",
    "to sign here again, bring the other signer's watermark back first: cmkms import",
)
_OFF_CLUSTER: Final = "every member stays stopped or sealed; the epoch that the seals name begins only when the other signer is off, and its watermark is back"


@dataclass(frozen=True, slots=True)
class _Target:
    """Where the other signer expects its files.

    `is_json`: the key in CometBFT's form. `laddr_in`: the config.toml that bars it from signing.
    """

    key_path: Path
    state_path: Path
    is_json: bool
    laddr_in: Path | None = None


@click.command("export")
@home_option
@click.option("--to", "kind", type=click.Choice(_KINDS), required=True, help="Whose files to write.")
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--seal-file", "seal_files", multiple=True, type=click.Path(path_type=Path), metavar="FILE",
              help="In a cluster: `cmkms epoch seal` of other members, a majority with this one (repeatable).")  # fmt: skip
@burn_options
@chain_option
@node_id_option
@passphrase_options
@click.option("--yes", is_flag=True, help="Write them. Without this nothing is changed.")
@click.option("--json", "as_json", is_flag=True, help="The plan as JSON; `done` says whether it was carried out.")
def command(
    home: str | None,  # noqa: ARG001 - kept in the context by the option's callback
    kind: str,
    directory: Path,
    seal_files: tuple[Path, ...],
    min_height: Heights | None,
    yes_height: Heights | None,
    chain_id: str | None,
    node_id: str | None,
    passphrase_file: Path | None,
    passphrase_fd: int | None,
    passphrase_credential: str | None,
    yes: bool,
    as_json: bool,
) -> None:
    """Write this node's key and watermark as another signer's files.

    Shows what it would do; --yes does it. The node must be stopped.

    The watermark is the highest place that was ever promised, signed or not. What a
    cluster promised is known to a majority of it: it is sealed first (`cmkms epoch
    seal`), and can sign no more. Where its seals cannot show everything, --min-height
    is demanded. DIR is the other signer's home, or any directory but one of this
    home's; a key there is never overwritten and a state there never lowered. A key that
    is out already goes out again only with --min-height.

    \b
    Examples:
      cmkms export --to filepv ~/.gaia
      cmkms export --to tmkms ~/.tmkms --yes
      cmkms export --to filepv out --seal-file node0.seal --seal-file node1.seal --yes
    """
    make_undumpable()
    settings, chain = chosen_chain(chain_id, node_id)
    target = _target(kind, expanded(directory).absolute(), chain)
    for path in (target.state_path, target.key_path):
        refuse_target(path, settings.home, (file for one in settings.chains for file in (one.state_file, one.key_file)))
    _refuse_type(kind, target, chain)
    with locked_home(chosen_home()):
        if min_height is not None:
            demand_heights(min_height, yes_height)
        mark = _promised(settings, chain, seal_files, min_height)
        there = _mark_there(kind, target, chain)
        _refuse_other_key(kind, target, chain)
        place = max(mark.hrs, there.hrs if there is not None else mark.hrs)
        typed = burnt_up_to(min_height.of(chain.id)).hrs if min_height is not None else None
        _refuse_out(kind, settings, chain, target, there, place, typed)
        off = (*_OFF, _OFF_CLUSTER) if len(settings.peers) > 1 else _OFF
        plan = _document(kind, settings, chain, target, mark, there, off)
        if as_json and not yes:
            show_json(plan)
        elif not as_json:
            _show(kind, settings, chain, target, mark, there)
            tell_off(off)
        if not yes:
            if not as_json:
                say("Nothing was changed. The same command with --yes writes it.")
            return
        source = to_open([chain.key_file], settings, given(passphrase_file, passphrase_fd, passphrase_credential))
        written = mark if place == mark.hrs else None
        _write(kind, settings, chain, target, written, place, source)
    if as_json:
        show_json({**plan, "done": True})
        return
    has = f"{kind} has {address_of(load_public_key(chain.key_file))} at"
    if there is None or written is not None:
        say(f"Done: {has} {words_of(mark)}")
        return
    kept = "its state stays as it was" if plan["writes"] else "both files stay as they were"
    say(f"Done: {has} {words_of(there)}, above this node's {place_of(mark)}: {kept}")


def _target(kind: str, directory: Path, chain: Chain) -> _Target:
    """Raises: ConfigError."""
    if kind == "filepv":
        there = filepv.export_layout(directory)
        return _Target(
            there.key_path, there.state_path, is_json=True, laddr_in=there.config_path if there.laddr else None
        )
    if (directory / tmkms.CONFIG_NAME).exists():
        layout = tmkms.layout_of(directory, chain.id)
        if layout.key_path is not None:
            layout.refuse_relative(key=True, state=True, cure="its whole path as {0} in tmkms.toml; or another DIR")
            return _Target(layout.key_path, layout.state_path, layout.is_json)
    name = f"{chain.id}-consensus"
    return _Target(directory / "secrets" / f"{name}.key", directory / "state" / f"{name}.json", is_json=False)


def _refuse_type(kind: str, target: _Target, chain: Chain) -> None:
    """Raises: KeyFileError where the other signer's file would be taken for a key of another type.

    tmkms's own form is 32 bytes without a word of what they are, and it reads an ed25519 key in
    them: another validator's, for the chain.
    """
    key_type = type_of(load_public_key(chain.key_file))
    if kind != "tmkms" or key_type is ED25519:
        return
    if key_type is not SECP256K1:
        raise KeyFileError(f"tmkms has no keys of type {key_type.name}", cure="--to filepv")
    if not target.is_json:
        raise KeyFileError(
            f"tmkms takes 32 bytes in {target.key_path} for an ed25519 key, and this one is of type {key_type.name}",
            cure='key_format = "json" of its '
            "providers.softsign in DIR's tmkms.toml, whose form tells the type; or --to filepv",
        )


def _promised(settings: Settings, chain: Chain, seal_files: tuple[Path, ...], heights: Heights | None) -> Watermark:
    """The highest place that was promised for the chain, by anybody.

    Raises: StateError, BusyError, StoreFailure.
    """
    files = files_of(settings)
    target = files.chains[settings.chains.index(chain)]
    if heights is not None:
        heights.check([chain.id])
    burnt = heights.of(chain.id) if heights is not None else None
    return epochs.promised(files, target, read_seals(seal_files), choose.load(), burnt)


def _mark_there(kind: str, target: _Target, chain: Chain) -> Watermark | None:
    """What the other signer's state says now. Raises: StateError."""
    if is_missing(target.state_path):
        return None
    if kind == "tmkms":
        return tmkms.load_mark(target.state_path)
    return state_file.load(target.state_path, chain.id, choose.load().parse_sign_bytes)


def _refuse_out(
    kind: str,
    settings: Settings,
    chain: Chain,
    target: _Target,
    there: Watermark | None,
    place: HRS,
    typed: HRS | None,
) -> None:
    """An export that was cut short may be repeated, and one whose files are there as they went out:
    nothing leaves then that has not left.

    Raises: StateError where the key is another signer's already.
    """
    went = went_out(chain.state_file, chain.id, NodeFiles.at(settings.home, settings.id, ()).store_path)
    is_again = went is not None and (went.kind, went.target) == (kind, str(target.state_path))
    if went is not None and went.place is not None and is_again and typed is None:
        is_there = there is not None and there.hrs >= went.place
        if is_there if os.path.lexists(target.key_path) else went.begun:
            typed = place
    refuse_second_export(went, typed)


def _refuse_other_key(kind: str, target: _Target, chain: Chain) -> None:
    """Raises: KeyFileError."""
    if is_missing(target.key_path):
        return
    ours = load_public_key(chain.key_file)
    reader = tmkms.read_key if kind == "tmkms" else read_material
    with reader(target.key_path, choose.load()) as there:
        if there.public_key != ours:
            raise KeyFileError(
                f"{target.key_path} holds the key {address_of(there.public_key)}, and this node's is {address_of(ours)}: nothing is overwritten",
                cure="another DIR, or move that key away",
            )


def _show(
    kind: str, settings: Settings, chain: Chain, target: _Target, mark: Watermark, there: Watermark | None
) -> None:
    say(f"from     {settings.home}, node {settings.id}, chain {chain.id}")
    say(f"key      {address_of(load_public_key(chain.key_file))}")
    say(f"mark     {words_of(mark)}")
    say(f"to       {kind}")
    kept = ": the same key" if target.key_path.exists() else ", mode 0600, NOT sealed"
    say(f"{'keeps' if target.key_path.exists() else 'writes':<8} {target.key_path}{kept}")
    if there is not None and there.hrs > mark.hrs:
        say(f"keeps    {target.state_path}: it stands higher, at {words_of(there)}")
    else:
        say(f"writes   {target.state_path}")
    if target.laddr_in is not None:
        say(
            f"note     {target.laddr_in} sets priv_validator_laddr: the node signs with these files once that is empty, and not before"
        )
    if kind == "tmkms" and not target.is_json:
        say(
            f'note     in tmkms.toml: state_file = "{target.state_path}", and providers.softsign path = "{target.key_path}"'
        )


def _document(
    kind: str,
    settings: Settings,
    chain: Chain,
    target: _Target,
    mark: Watermark,
    there: Watermark | None,
    off: tuple[str, ...],
) -> dict[str, object]:
    """What _show() says, for a program."""
    kept = {target.key_path: target.key_path.exists(), target.state_path: there is not None and there.hrs > mark.hrs}
    return {
        "from": {"home": str(settings.home), "node": settings.id, "chain": chain.id},
        "key": address_of(load_public_key(chain.key_file)),
        "mark": document_of(mark),
        "to": kind,
        "writes": [str(path) for path, keeps in kept.items() if not keeps],
        "keeps": [str(path) for path, keeps in kept.items() if keeps],
        "there": document_of(there),
        "barred_by": str(target.laddr_in) if target.laddr_in is not None else None,
        "off": list(off),
        "done": False,
    }


def _write(
    kind: str,
    settings: Settings,
    chain: Chain,
    target: _Target,
    mark: Watermark | None,
    place: HRS,
    source: PassphraseSource | None,
) -> None:
    """The watermark first, as in an import; `mark` None leaves what is there. `place`: where the
    other signer stands then.

    From here on this home does not start.

    Raises: KeyFileError, StateError, StoreFailure.
    """
    try:
        for path in (target.state_path, target.key_path):
            make_directory(path.parent)
    except OSError as error:
        raise StateError(f"{target.state_path} cannot be made: {os_words(error)}", cure="another DIR") from error
    sealed = load_sealed(chain.key_file)
    with (
        read_material(chain.key_file, choose.load())
        if sealed is None
        else opened(chain.key_file, sealed, source) as material
    ):
        key_is_there = target.key_path.exists()
        # before anything leaves
        files = files_of(settings)
        store = files.store_path
        note = note_export(chain.state_file, chain.id, kind, target.state_path, place, store)
        try:
            others = other_ids(files, files.chains[settings.chains.index(chain)])
            note_other_ids(chain.state_file, chain.id, others, store)
            if mark is not None:
                write_atomically(target.state_path, tmkms.encode(mark) if kind == "tmkms" else state_file.encode(mark))
            if not key_is_there:
                _write_key(target, material)
            note.finish()
        except BaseException:
            # no key left: this home may go on as before
            if key_is_there or not os.path.lexists(target.key_path):
                # then it stays, and a start says what to do
                with contextlib.suppress(CometKMSError, OSError):
                    note.take_back()
            raise


def _write_key(target: _Target, material: KeyMaterial) -> None:
    content = material.document if target.is_json else tmkms.encode_key(material)
    try:
        create_exclusively(target.key_path, content)
    except OSError as error:
        raise KeyFileError(f"{target.key_path} cannot be written: {os_words(error)}") from error
    finally:
        wipe(content)
