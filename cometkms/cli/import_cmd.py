"""`cmkms import`"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from cometkms.cli.moving import chosen_chain, document_of, place_of, refuse_running_members, tell_off, words_of
from cometkms.cli.options import chain_option, chosen_home, home_option
from cometkms.cli.output import say, show_json
from cometkms.cli.running import node_id_option
from cometkms.config.schema import Chain, Settings
from cometkms.config.values import expanded
from cometkms.core import choose
from cometkms.durable import make_directory
from cometkms.errors import ConfigError, KeyFileError, StateError
from cometkms.hardening.prctl import make_undumpable
from cometkms.keys.identity import IDENTITY_NAME, bring_identity, check_identity
from cometkms.keys.validator_key import KeyMaterial, address_of, find_public_key, write_material
from cometkms.limits import HEIGHT_MAX
from cometkms.model import Row, Watermark, quorum_of
from cometkms.net.comet_rpc import parse_rpc
from cometkms.operator.moving import comet_kms, filepv, horcrux, tmkms
from cometkms.operator.moving.evidence import ask_chain, ask_homes, judge
from cometkms.operator.moving.old_signer import Asked, OldSigner, highest
from cometkms.rules.burnt import burnt_up_to
from cometkms.store.exported import refuse_own_file, refuse_unshown, went_out
from cometkms.store.lock import locked_home
from cometkms.store.marks import known_mark
from cometkms.store.node_files import ChainFiles, NodeFiles, check_beside, has_store
from cometkms.store.owner import refuse_other_home
from cometkms.store.raise_mark import higher_mark, raise_mark

READERS: Final[dict[str, Callable[[Asked], OldSigner]]] = {
    "cometkms": comet_kms.read_either,
    "filepv": filepv.read,
    "horcrux": horcrux.read,
    "tmkms": tmkms.read,
}


@dataclass(frozen=True, slots=True)
class _Plan:
    """What would be written. `known`, `mark`: of this home before and after. `key`, `identity`:
    None where one is there already, or not known.
    """

    old: OldSigner
    files: NodeFiles
    target: ChainFiles
    marks: tuple[Watermark, ...]
    known: Watermark | None
    mark: Watermark
    key: KeyMaterial | None
    identity: Path | None

    @property
    def raises(self) -> bool:
        """Whether the watermark moves up."""
        return self.mark.hrs > (self.known or Watermark()).hrs


@click.command("import")
@home_option
@click.option(
    "--from",
    "kind",
    type=click.Choice(sorted(READERS)),
    required=True,
    help="Whose files they are; cometkms: CometBFT's own (cometkms.toml), or the Go CometKMS.",
)
@click.argument("paths", nargs=-1, metavar="[PATH]...", type=click.Path(path_type=Path))
@click.option(
    "--key-file", type=click.Path(path_type=Path), metavar="FILE", help="The key, where PATH does not hold or name it."
)
@click.option("--state-file", "state_files", multiple=True, type=click.Path(path_type=Path), metavar="FILE",
              help="A state file, where PATH does not hold or name it; of a further node (repeatable).")  # fmt: skip
@click.option("--min-height", type=click.IntRange(1, HEIGHT_MAX), metavar="H",
              help="Nothing is signed at H or below, whatever the files say: where they may be behind.")  # fmt: skip
@click.option("--never-signed", is_flag=True,
              help="Your word that this key has signed nothing anywhere, where the files say so and nothing says otherwise.")  # fmt: skip
@click.option("--unused", is_flag=True,
              help="Your word that the signer that this home's key went out to has signed nothing since, and is off.")  # fmt: skip
@click.option("--rpc", metavar="URL",
              help="A CometBFT node's RPC (http://HOST:PORT): what the chain shows of this key is held against the files.")  # fmt: skip
@chain_option
@node_id_option
@click.option("--yes", is_flag=True, help="Write it. Without this nothing is changed.")
@click.option("--json", "as_json", is_flag=True, help="The plan as JSON; `done` says whether it was carried out.")
def command(
    home: str | None,  # noqa: ARG001 - kept in the context by the option's callback
    kind: str,
    paths: tuple[Path, ...],
    key_file: Path | None,
    state_files: tuple[Path, ...],
    min_height: int | None,
    never_signed: bool,
    unused: bool,
    rpc: str | None,
    chain_id: str | None,
    node_id: str | None,
    yes: bool,
    as_json: bool,
) -> None:
    """Bring another signer's key and watermark into this home.

    Shows what it would do; --yes does it. The node must be stopped.

    PATH is the home of the old signer; of every node of it, where there are several. A key is never
    overwritten, the watermark never goes below what either side knows, and the old signer's files
    are only read. Their paths are resolved as the old signer resolves them; what is not understood,
    what lies higher beside them and what may have gone further is told, and decided by
    --min-height.

    \b
    Examples:
      cmkms import --from filepv ~/.gaia
      cmkms import --from tmkms ~/.tmkms --yes
      cmkms import --from cometkms old/node0 old/node1 old/node2
      cmkms import --from horcrux cosigner1 cosigner2 cosigner3 --key-file backup/priv_validator_key.json
    """
    make_undumpable()
    settings, chain = chosen_chain(chain_id, node_id)
    core = choose.load()
    if min_height is not None and never_signed:
        raise ConfigError("--min-height and --never-signed contradict each other", cure="the one that is true")
    homes = {path.resolve(): path for path in (expanded(one).absolute() for one in paths)}
    typed = min_height is not None or never_signed
    # a home given twice is one
    asked = Asked(tuple(homes.values()), chain.id, core, key_file, state_files, typed)
    old = READERS[kind](asked)
    for state in old.states if min_height is None else ():
        refuse_own_file(Path(state.path), chain.state_file, chain.id, _store_of(settings))
    address = parse_rpc(rpc) if rpc else None
    public_key = _public_key(chain, old)
    old = ask_homes(old, ChainFiles(Row(public_key, chain.id), chain.state_file), core)
    if address is not None:
        old = ask_chain(old, address, Row(public_key, chain.id), core)
    plan = _plan(settings, chain, old, public_key, min_height)
    doubts = [
        *(judge(old, never_signed) if min_height is None else ()),
        *_unshown(plan, typed=min_height is not None, unused=unused),
    ]
    if as_json and (doubts or not yes):
        show_json(_document(kind, settings, chain, plan, doubts, done=False))
    elif not as_json:
        _show(kind, settings, chain, plan)
    if doubts:
        raise StateError.together(doubts)
    if plan.raises and not plan.files.alone and has_store(plan.files.store_path):
        refuse_running_members(settings)
    if not as_json:
        tell_off(old.off)
    if not yes:
        if not as_json:
            say("Nothing was changed. The same command with --yes writes it.")
        return
    with locked_home(chosen_home()):
        _refuse_gone_meanwhile(plan, typed=min_height is not None, unused=unused)
        # as planned: afterwards the key is there
        written = _document(kind, settings, chain, plan, doubts, done=True)
        _write(chain, plan)
    if as_json:
        show_json(written)
    else:
        _tell_done(settings, chain, plan)


def _store_of(settings: Settings) -> Path:
    return NodeFiles.at(settings.home, settings.id, ()).store_path


def _unshown(plan: _Plan, *, typed: bool, unused: bool) -> list[StateError]:
    """Why these marks do not bring back a key that went out. Raises: StateError."""
    went = went_out(plan.target.state_path, plan.target.row.chain_id, plan.files.store_path)
    if went is None:
        return []
    try:
        refuse_unshown(went, max(mark.hrs for mark in plan.marks), typed=typed, unused=unused)
    except StateError as error:
        return [error]
    return []


def _refuse_gone_meanwhile(plan: _Plan, *, typed: bool, unused: bool) -> None:
    """The key may have gone out since the plan was made: the home was not held. Raises: StateError."""
    if doubts := _unshown(plan, typed=typed, unused=unused):
        raise StateError.together(doubts)


def _public_key(chain: Chain, old: OldSigner) -> bytes:
    """Whose watermark it is. Raises: KeyFileError."""
    here = find_public_key(chain.key_file)
    public_key = old.public_key or here
    if public_key is None:
        raise KeyFileError(
            f"whose watermark is it? The old signer's files do not hold its key, and {chain.key_file} is missing",
            cure="--key-file FILE, or `cmkms keys import FILE` first",
        )
    if here is not None and here != public_key:
        raise KeyFileError(
            f"{chain.key_file} holds the key {address_of(here)}, and the old signer's is {address_of(public_key)}: nothing is overwritten",
            cure="another --home, or move that key away",
        )
    return public_key


def _plan(settings: Settings, chain: Chain, old: OldSigner, public_key: bytes, min_height: int | None) -> _Plan:
    """Raises: StateError."""
    core = choose.load()
    target = ChainFiles(Row(public_key, chain.id), chain.state_file)
    files = NodeFiles.at(settings.home, settings.id, (target,), tuple(peer.id for peer in settings.peers))
    check_beside([chain.state_file], files.store_path)
    refuse_other_home(files)
    burnt = (burnt_up_to(min_height),) if min_height is not None else ()
    marks = tuple(state.mark for state in (*old.states, *old.seen)) + burnt or (Watermark(),)
    known = known_mark(files, target, core)
    mark = higher_mark(known, marks, target.row, core)
    return _Plan(
        old,
        files,
        target,
        marks,
        known,
        mark,
        None if chain.key_file.exists() else old.key,
        _identity(settings, files, old),
    )


def _identity(settings: Settings, files: NodeFiles, old: OldSigner) -> Path | None:
    """The old signer's identity, where this is one node and has none yet. Raises: KeyFileError."""
    source = old.identity_path
    if source is None or not source.exists() or not files.alone or (settings.home / "priv" / IDENTITY_NAME).exists():
        return None
    check_identity(source)
    return source


def _show(kind: str, settings: Settings, chain: Chain, plan: _Plan) -> None:
    old, address = plan.old, address_of(plan.target.row.public_key)
    where = f"  {old.key_path}" if old.key_path else "  (its private half is not here)"
    say(f"from     {kind}")
    say(f"key      {address}{where}")
    for state in old.states:
        say(f"state    {place_of(state.mark)}  {state.path}{f' ({state.what})' if state.what else ''}")
    for state in old.seen:
        if state.mark.hrs > highest(old.states):
            say(f"higher   {place_of(state.mark)}  {state.path}{f' ({state.what})' if state.what else ''}")
    say(f"to       {settings.home}, node {settings.id}, chain {chain.id}")
    if plan.key is not None:
        say(f"writes   {chain.key_file}, mode 0600{', sealed as it is' if plan.key.sealed else ''}")
    elif chain.key_file.exists():
        say(f"keeps    {chain.key_file}: the same key")
    else:
        say(f"lacks    {chain.key_file}: `cmkms keys import FILE` before the first start")
    if plan.identity is not None:
        say(
            f"writes   {settings.home / 'priv' / IDENTITY_NAME}: the identity that the validator knows, of {plan.identity}"
        )
    say(f"before   {words_of(plan.known)}")
    say(f"after    {words_of(plan.mark)}")
    if not plan.raises:
        say("note     this home knows as much already: the watermark stays")
    for note in old.notes:
        say(f"note     {note}")


def _document(
    kind: str, settings: Settings, chain: Chain, plan: _Plan, doubts: Sequence[StateError], *, done: bool
) -> dict[str, object]:
    """What _show() says, for a program. `doubts`: why --yes would not do it."""
    old, writes = plan.old, []
    if plan.key is not None:
        writes.append(str(chain.key_file))
    if plan.identity is not None:
        writes.append(str(settings.home / "priv" / IDENTITY_NAME))
    if plan.raises:
        writes.append(str(chain.state_file))
    higher = [state for state in old.seen if state.mark.hrs > highest(old.states)]
    return {
        "from": kind,
        "key": address_of(plan.target.row.public_key),
        "key_file": str(old.key_path) if old.key_path else None,
        "states": [{"path": str(one.path), "mark": document_of(one.mark)} for one in old.states],
        "higher": [{"path": str(one.path), "what": one.what, "mark": document_of(one.mark)} for one in higher],
        "to": {"home": str(settings.home), "node": settings.id, "chain": chain.id},
        "writes": writes,
        "lacks_key": plan.key is None and not chain.key_file.exists(),
        "before": document_of(plan.known),
        "after": document_of(plan.mark),
        "notes": list(old.notes),
        "off": list(old.off),
        "doubts": [str(one) for one in doubts],
        "done": done,
    }


def _write(chain: Chain, plan: _Plan) -> None:
    """The watermark first: a key without one starts nothing, and a watermark without a
    key does no harm.
    """
    for path in (chain.state_file, chain.key_file):
        make_directory(path.parent)
    raise_mark(plan.files, plan.target, plan.marks, choose.load())
    if plan.identity is not None:
        bring_identity(plan.identity, chosen_home())
    if plan.key is not None:
        with plan.key:
            write_material(chain.key_file, plan.key)


def _tell_done(settings: Settings, chain: Chain, plan: _Plan) -> None:
    say(f"Done: {chain.id} stands at {words_of(plan.mark)}")
    members = plan.files.members
    if plan.files.alone:
        return
    if has_store(plan.files.store_path):
        need = quorum_of(len(members))
        say(
            f"This holds once {need} of {', '.join(members)} have it, and {settings.id} is one: do the same there before any of them starts."
        )
    else:
        say(f"Do the same on {', '.join(name for name in members if name != settings.id)}, then start them all.")
