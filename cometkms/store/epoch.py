"""Epochs: who the members are changes only by a step that no order of mistakes turns into two
majorities (rule 10).

    seal     on a majority of the old members: their stores promise nothing more, ever, name who
             follows, and say where they stood
    begin    on a majority of those who follow, stopped: a new store at the maxima of a majority's
             seals, burnt unless signed

Whatever the old epoch signed is durable on a majority of it, so every majority of seals shows it,
if no store was an old copy (rules/epoch.py). A seal is bound to the members of the next epoch, in
the sealed store itself: the same seals never begin two. A new store takes the old one's place in
one step, with a replicated log of its own. A member that has begun and lost its store recovers; it
never begins again. One node that grows to three is such a step from a majority of one.
"""

import base64
import hashlib
import json
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from cometkms.core.interface import Core
from cometkms.durable import discarding, make_directory, read_file, sync_directory, write_atomically
from cometkms.errors import StateError, StoreFailure, said
from cometkms.keytypes import SIGNATURE_SIZES
from cometkms.limits import (
    BIRTH_NONCE_BYTES,
    EPOCH_MAX,
    INCARNATION_MAX,
    INCARNATION_NONCE_MAX,
    MEMBER_IDS_MAX_BYTES,
    MEMBERS_MAX,
    NODE_ID_MAX_BYTES,
)
from cometkms.model import HRS, Incarnation, Row, Watermark, quorum_of
from cometkms.rules.birth import NodeState
from cometkms.rules.burnt import Heights, burnt_up_to
from cometkms.rules.epoch import Ended, Standing, doubt
from cometkms.rules.incarnation import FIRST, next_incarnation
from cometkms.rules.recovery import agreed_mark
from cometkms.store import state_file
from cometkms.store.home_born import (
    born_path,
    note_found,
    path_of_epoch,
    read_born,
    read_epoch,
    read_following,
    read_lost,
    refuse_lost,
    refuse_lost_row,
    refuse_unconfigured,
    write_born,
)
from cometkms.store.marks import kept_above, kept_mark, refuse_forgotten, refuse_lacking, verified_state
from cometkms.store.node_files import (
    JOURNAL_NAME,
    ChainFiles,
    NodeFiles,
    after_store,
    check_beside,
    has_store,
    refuse_gone_out,
)
from cometkms.store.owner import refuse_not_current, refuse_other_home, refuse_out_before_rename
from cometkms.store.promise_store import (
    FILE_BYTES,
    Header,
    PromiseStore,
    held_alone,
    members_digest,
    readable_header,
    readable_marks,
)

_PREFIX: Final = "cmkms-seal-2:"
_OLD_PREFIX: Final = "cmkms-seal-1:"
_CHECK_BYTES: Final = 8
_TEXT_MAX_BYTES: Final = 128 << 10  # 64 rows


@dataclass(frozen=True, slots=True)
class Seal:
    """Where a member stood when it stopped promising for ever.

    `following`: the members of the next epoch, sorted; no others may begin from it.
    `incarnation`: which of its member's stores was sealed; `known`: what that store had
    recorded of the others' (rule 15).
    """

    node: str
    epoch: int
    members: tuple[str, ...]
    following: tuple[str, ...]
    standing: Standing
    marks: tuple[tuple[Row, Watermark], ...]
    incarnation: Incarnation = FIRST
    known: tuple[tuple[str, Incarnation], ...] = ()


@dataclass(frozen=True, slots=True)
class Begun:
    """What begin() made.

    `doubt`: why a height had to be burnt; "" when the seals vouch for themselves.
    """

    epoch: int
    marks: tuple[tuple[Row, Watermark], ...]
    doubt: str


def seal_text(seal: Seal) -> str:
    """One line that the operator carries to the other nodes."""
    rows = [
        [row.key.hex(), row.chain_id, *mark.hrs, mark.sign_bytes.hex(), mark.signature.hex()]
        for row, mark in seal.marks
    ]
    document = {
        "node": seal.node,
        "epoch": seal.epoch,
        "members": list(seal.members),
        "next": list(seal.following),
        "standing": int(seal.standing),
        "incarnation": list(seal.incarnation),
        "known": [[name, *incarnation] for name, incarnation in seal.known],
        "rows": rows,
    }
    body = json.dumps(document, separators=(",", ":")).encode()
    return _PREFIX + base64.b64encode(_check(body) + body).decode()


def parse_seal(text: str) -> Seal:
    """Inverse of seal_text(). Raises: StateError."""
    if text.strip().startswith(_OLD_PREFIX):
        raise StateError(
            "this seal was made by an older version and does not name who follows, so more than one epoch could begin from it",
            cure="`cmkms epoch "
            "seal --next LIST` with this version, once more on the node that was sealed; take that seal instead",
        )
    try:
        if not text.strip().startswith(_PREFIX) or len(text) > _TEXT_MAX_BYTES:
            raise ValueError(f"it does not begin with {_PREFIX}, or has more than {_TEXT_MAX_BYTES} bytes")
        raw = base64.b64decode(text.strip()[len(_PREFIX) :], validate=True)
        body = raw[_CHECK_BYTES:]
        if _check(body) != raw[:_CHECK_BYTES]:
            raise ValueError("a part of it is missing or was changed")
        document: dict[str, Any] = json.loads(body)
        marks = tuple(
            (
                Row(bytes.fromhex(key), str(chain)),
                Watermark(HRS(int(h), int(r), int(s)), bytes.fromhex(sign_bytes), bytes.fromhex(signature)),
            )
            for key, chain, h, r, s, sign_bytes, signature in document["rows"]
        )
        if any(len(row.public_key) != 32 or len(mark.signature) not in SIGNATURE_SIZES for row, mark in marks):
            raise ValueError("a key or a signature has a wrong length")
        members, following = (tuple(map(str, document[name])) for name in ("members", "next"))
        for names in (members, following):
            check_members(names)
        epoch = document["epoch"]
        if type(epoch) is not int or not 1 <= epoch < EPOCH_MAX:
            raise ValueError(f"{epoch!r} is no epoch that another can follow")
        node, standing, incarnation = (
            str(document["node"]),
            Standing(document["standing"]),
            _incarnation(*document["incarnation"]),
        )
        known = tuple((str(name), _incarnation(*numbers)) for name, *numbers in document["known"])
        return Seal(node, epoch, members, following, standing, marks, incarnation, known)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise StateError(f"this is no seal: {error}", cure="the whole line that `cmkms epoch seal` printed") from error


def _incarnation(number: object, nonce: object) -> Incarnation:
    """Raises: ValueError."""
    if type(number) is not int or type(nonce) is not int:
        raise ValueError(f"{number!r}, {nonce!r} is no incarnation")
    if not 0 <= number <= INCARNATION_MAX or not 0 <= nonce <= INCARNATION_NONCE_MAX:
        raise ValueError(f"{number}, {nonce} is an incarnation that no store reaches")
    return Incarnation(number, nonce)


def of_store(
    store: PromiseStore, standing: Standing, marks: tuple[tuple[Row, Watermark], ...], following: tuple[str, ...]
) -> Seal:
    """The seal of a store that is sealed."""
    header = store.header
    known = tuple((name, one.incarnation) for name in header.members if (one := store.known(name)) is not None)
    return Seal(header.owner, header.epoch, header.members, following, standing, marks, header.incarnation, known)


def _check(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=_CHECK_BYTES, person=b"cmkms-seal").digest()


def read_header(files: NodeFiles) -> Header:
    """Epoch, members and state of this node's store. Raises: StateError, BusyError, StoreFailure."""
    store = PromiseStore.read(files.store_path)
    store.close()
    return store.header


def check_members(names: tuple[str, ...]) -> None:
    """Ids of a whole epoch. Raises: ValueError."""
    if not 1 <= len(names) <= MEMBERS_MAX or tuple(sorted(set(names))) != names or not all(names):
        raise ValueError(f"{', '.join(names)!r} must be 1 to {MEMBERS_MAX} different ids, sorted")
    sizes = [len(one.encode()) for one in names]
    if max(sizes) > NODE_ID_MAX_BYTES or sum(sizes) + max(sizes) > MEMBER_IDS_MAX_BYTES:
        raise ValueError(f"the ids take more than {MEMBER_IDS_MAX_BYTES} bytes together")


def following_of(untrusted: str) -> tuple[str, ...]:
    """The members of the next epoch from "id,id,…", sorted. Raises: StateError."""
    names = tuple(sorted(part.strip() for part in untrusted.split(",") if part.strip()))
    try:
        check_members(names)
    except ValueError as error:
        raise StateError(f"the next members: {error}", cure="--next ID,ID,… with each new member's id once") from error
    return names


def binding(header: Header, following: tuple[str, ...], *, strict: bool = False) -> bytes:
    """What the header of a store that is sealed for these members holds.

    Raises: StateError when it cannot be sealed for them.

    Once sealed it stays so, for the same members only: else one seal would begin two epochs.
    `strict`: strict_start, see standing_for().
    """
    if header.state not in (NodeState.COMPLETE, NodeState.SEALED):
        raise StateError(
            f"this node is {header.state.name.lower()}: it cannot say what it promised",
            cure="seal the others, if they are a majority; else, on this node, "
            "stopped, cmkms recover --min-height HEIGHT, then the same again: one that is sealed answers nobody who has yet to read it",
        )
    if header.unmet:
        names = [name for name in header.members if name != header.owner]
        needed = _heard_by_majority(header, strict=strict)
        whom = ", ".join(names) if needed == len(names) else f"{needed} of {', '.join(names)}"
        raise StateError(
            f"this node was recovered by its operator and has not met {whom} since: a seal of it would be taken for one of its earlier store, "
            "which they may have recorded, and refused for ever",
            cure=f"start it while {whom} {'runs' if needed == 1 else 'run'}, and seal it then. Who of them is sealed and stopped does not "
            "start: stop this node, and the same command again with that one's seal, in HOME/seals for cmkms member, by --seal-file for cmkms "
            "epoch seal. In the place of one that is lost for good first start a new machine with its id (docs/RUNBOOK.md, two nodes are lost)",
        )
    if header.epoch + 1 >= EPOCH_MAX:
        raise StateError(f"epoch {header.epoch} is the last one that can be", cure="none, ask for help")
    digest = members_digest(header.epoch + 1, following)
    if header.state is NodeState.SEALED and header.following not in (b"", digest):
        raise StateError(
            f"this node is sealed for other members than {', '.join(following)}, for ever: from one seal two epochs could begin",
            cure="begin the epoch "
            "that it was sealed for (`cmkms epoch show` names its members), and change the members again from there. Where others are sealed for "
            "other members: docs/RUNBOOK.md, members are sealed for different lists",
        )
    return digest


def _heard_by_majority(header: Header, *, strict: bool) -> int:
    """How many others must be heard before a store takes another's place on the operator's word, as
    in membership: of them, it is a majority.
    """
    return len(header.members) - 1 if strict else quorum_of(len(header.members)) - 1


def standing_for(header: Header, others: Sequence[Seal], following: tuple[str, ...], *, strict: bool = False) -> Header:
    """The header of a stopped node's store, as it stands for its member by what the others' seals
    say of that one.

    Who is sealed records nothing more: what a seal says is that member's last word, and as good as
    meeting it. So a store that the operator recovered takes its incarnation above what the seals of
    a majority (this node counted; with `strict` of all) have recorded; with fewer of them it stays
    as it is. Raises: StateError for seals of another change, or that have recorded a later store of
    this member: its seal would be refused for ever.
    """
    if header.state is not NodeState.COMPLETE:
        return header
    told = [one for one in others if one.node != header.owner]
    for one in told:
        if (one.epoch, one.members) != (header.epoch, header.members):
            raise StateError(
                f"the seal of {one.node} is of epoch {one.epoch} of {', '.join(one.members)}, and this node is in epoch {header.epoch} of "
                f"{', '.join(header.members)}",
                cure="the seals of this epoch's members",
            )
        if one.following != following:
            raise StateError(
                f"the seal of {one.node} names {', '.join(one.following)} as the next members, not {', '.join(following)}: a majority must be "
                "sealed for the same",
                cure=f"--next {','.join(one.following)}",
            )
    recorded, by = max(
        ((its, one.node) for one in told for name, its in one.known if name == header.owner), default=(FIRST, "")
    )
    if header.unmet:
        if len({one.node for one in told}) < _heard_by_majority(header, strict=strict):
            return header
        nonce = secrets.randbelow(INCARNATION_NONCE_MAX) + 1
        return replace(header, incarnation=next_incarnation((header.incarnation, recorded), nonce), unclaimed=False)
    if recorded > header.incarnation:
        raise StateError(
            f"the seal of {by} has recorded {recorded} of this member, and the store here is {header.incarnation}: another one stood for it "
            "since, and what that one promised is not here",
            cure="seal the machine that has it. If it is lost, here, stopped: cmkms recover --min-height HEIGHT, then the same again",
        )
    return header


def sealed_header(header: Header, following: tuple[str, ...], *, confirmed: bool, strict: bool = False) -> Header:
    """The header of a store that is sealed for these members. Raises: StateError."""
    digest = binding(header, following, strict=strict)
    if header.state is NodeState.SEALED:
        return replace(header, following=digest)
    return replace(header, state=NodeState.SEALED, record=(), following=digest, confirmed=confirmed)


def seal(
    files: NodeFiles, core: Core, following: tuple[str, ...], others: Sequence[Seal] = (), *, strict: bool = False
) -> Seal:
    """A stopped node promises nothing more in its epoch, and `following` alone may begin the next;
    durable on return. Again: the same seal.

    `others`: the seals of other members that are there already, and `strict`: strict_start, see
    standing_for(). Raises: StateError (another node's store, one that does not know what it
    promised, or is sealed for others), BusyError (the node runs), StoreFailure.
    """
    check_beside((chain.state_path for chain in files.chains), files.store_path)
    if read_header(files).state is not NodeState.SEALED:  # else the same seal is shown again
        refuse_gone_out(files.chains, files.store_path)
    store = PromiseStore.open(files.store_path)
    try:
        header = store.header
        _check_has_seal(store, files)
        standing, marks = _stands(store, files, core)
        mine = standing_for(header, others, following, strict=strict)
        sealed = sealed_header(mine, following, confirmed=False, strict=strict)
        if header.state is not NodeState.SEALED:
            for chain in files.chains:
                refuse_lost_row(files, chain, store.rows)
            refuse_unconfigured(files, (*store.rows, *read_lost(files)))
        if sealed != header:
            store.write_header(sealed)
        with after_store(files.store_path, f"epoch {header.epoch} is sealed here, for {', '.join(following)}"):
            write_born(replace(files, members=header.members), header.epoch, following)
        return of_store(store, standing, marks, following)
    finally:
        store.close()


def _check_has_seal(store: PromiseStore, files: NodeFiles) -> None:
    """Raises: StateError for another node's store, and for an old copy."""
    header = store.header
    if header.owner != files.node_id:
        raise StateError(
            f"{store.path} belongs to node {header.owner!r}, not {files.node_id!r}", cure=f"--id {header.owner}"
        )
    if (known := read_epoch(files)) > header.epoch:
        raise StateError(
            f"{store.path} is of epoch {header.epoch}, and {path_of_epoch(files)} says that this node was in epoch {known} already: an old copy was "
            "put back, and it has no seal to give",
            cure="seal the others; this node, started, recovers first",
        )


def _stands(store: PromiseStore, files: NodeFiles, core: Core) -> tuple[Standing, tuple[tuple[Row, Watermark], ...]]:
    """What its seal says of a store that is stopped, with what the state files show."""
    header = store.header
    standing = Standing.CONFIRMED if header.confirmed else Standing.UNCONFIRMED
    # Sealed while it ran, it follows what the others sign on until a majority is sealed: then
    # its state file is ahead, and nothing is lost.
    vouched = header.state is NodeState.SEALED and header.confirmed and len(header.members) > 1
    marks = []
    for number, row in enumerate(store.rows):
        mark = store.mark(number)
        for chain in files.chains:
            in_file = verified_state(files, chain, core) if chain.row == row else Watermark()
            if in_file.hrs > mark.hrs and not vouched:
                standing = Standing.BEHIND
            if in_file.hrs > mark.hrs or (in_file.hrs == mark.hrs and in_file.sign_bytes == mark.sign_bytes):
                mark = in_file
        marks.append((row, mark))
    return standing, tuple(marks)


def _seal_again(store: PromiseStore, files: NodeFiles, core: Core, following: tuple[str, ...]) -> Seal:
    """The seal of a store that is sealed already, written nowhere.

    Raises: StateError where it is sealed for others.
    """
    _check_has_seal(store, files)
    sealed_header(store.header, following, confirmed=False)
    return of_store(store, *_stands(store, files, core), following)


def begin(
    files: NodeFiles,
    seals: list[Seal],
    core: Core,
    *,
    heights: Heights | None = None,
) -> Begun:
    """This node's store of the next epoch, with the members of `files`: it takes the place of the
    old one in one step.

    `heights`: every height up to them is burnt, on the operator's word. Raises: StateError unless
    the seals are a majority of one epoch's, for exactly these members, vouch for all that was
    signed or a height is given, and this node never began in that epoch; BusyError; StoreFailure.
    """
    refuse_other_home(files)
    old = _agree(seals)
    epoch = old.epoch + 1
    if old.following != files.members:
        raise StateError(
            f"the seals name {', '.join(old.following)} as the members of epoch {epoch}, and the peer list of this node {', '.join(files.members)}: no "
            "others may begin from them",
            cure="that list in config.toml (or COMETKMS_PEER)",
        )
    refuse_gone_out(files.chains, files.store_path)
    own = _own_marks(files, old)
    why = doubt(len(old.members), {one.node: one.standing for one in seals})
    if why and heights is None:
        raise StateError(
            f"these seals do not show all that epoch {old.epoch} may have signed: {why}",
            cure=f"the seals of all {len(old.members)} members; or read the "
            "chain's head height from two nodes you trust, now, and burn every height up to one above it: --min-height HEIGHT, the same on every "
            "member. (A node that is sealed while it runs needs neither.)",
        )
    shown = [*own, *((chain.row, verified_state(files, chain, core)) for chain in files.chains)]
    for one in seals:
        shown += one.marks
    told = {row for row, _ in (*own, *(mark for one in seals for mark in one.marks))}
    shown += [(chain.row, kept_mark(files, chain, core)) for chain in files.chains if chain.row not in told]
    for chain in files.chains:
        if heights is None:
            refuse_lost_row(files, chain, told)
    known = tuple(dict.fromkeys(row for row, _ in shown))
    refuse_unconfigured(files, known, told=heights is not None)
    if heights is not None:
        heights.check(row.chain_id for row in known)
    burnt = {row: burnt_up_to(heights.of(row.chain_id)) if heights is not None else Watermark() for row in known}
    # with the key that its signatures verify with
    whole = {chain.row: chain.row for chain in files.chains}
    rows = tuple(
        (row, max(_highest(whole.get(row, row), shown, core), burnt[row], key=lambda mark: mark.hrs)) for row in known
    )
    nonces = tuple(_nonce(epoch, files.members, name) for name in files.members)
    birth_nonce = os.urandom(BIRTH_NONCE_BYTES)
    header = Header(
        files.node_id, epoch, files.members, NodeState.COMPLETE, birth_nonce, nonces, unclaimed=not files.alone
    )
    with held_alone(files.store_path):
        _replace_store(files, old.epoch, header, list(rows))
    marks = dict(rows)
    for chain in files.chains:
        mark = marks[chain.row]
        if mark.hrs > verified_state(files, chain, core).hrs:
            state_file.save(chain.state_path, mark if mark.signature else Watermark(mark.hrs))
    over = Ended(old.epoch, old.members, tuple(sorted({one.node for one in seals})))
    write_born(files, epoch, ended=(over,), begun=known)
    if heights is not None:
        note_found(files, known)
    return Begun(epoch, rows, why)


def _own_marks(files: NodeFiles, old: Seal) -> list[tuple[Row, Watermark]]:
    """What this node's own store of an earlier epoch holds.

    Raises: StateError for a node that must recover instead of beginning.
    """
    epoch = old.epoch + 1
    known = read_epoch(files)
    if not has_store(files.store_path):
        if known >= epoch:
            raise StateError(
                f"{path_of_epoch(files)} says that this home was in epoch {known} already, and the seals end epoch {old.epoch}: what was promised since would "
                "be forgotten",
                cure="start the node: it reads what it lost from the others",
            )
        if files.node_id in old.members:
            raise StateError(
                f"{files.node_id!r} was a member of epoch {old.epoch}, and {files.store_path} is missing: whether it began epoch {epoch} before is not "
                "known",
                cure="begin on the other members, start them, then this one: it reads what it lost from them",
            )
        return []
    store = PromiseStore.open(files.store_path)
    header = store.header
    own = [(row, store.mark(number)) for number, row in enumerate(store.rows)]
    store.close()
    if header.owner != files.node_id:
        raise StateError(
            f"{files.store_path} belongs to node {header.owner!r}, not {files.node_id!r}",
            cure=f"--id {header.owner}, or a home of its own",
        )
    if header.epoch >= epoch:
        raise StateError(f"{files.store_path} is of epoch {header.epoch} already, and the seals end epoch {old.epoch}")
    if known >= epoch:
        raise StateError(
            f"{files.store_path} is of epoch {header.epoch}, and {path_of_epoch(files)} says that this node was in epoch {known} already: an old copy was "
            "put back",
            cure="start the node: it reads what it lost from the others",
        )
    if header.epoch == old.epoch and header.members != old.members and header.state is not NodeState.EMPTY:
        raise StateError(
            f"{files.store_path} is of epoch {header.epoch} of {', '.join(header.members)}, and the seals of {', '.join(old.members)}: that is another cluster"
        )
    lacks_it = header.state in (NodeState.EMPTY, NodeState.RECOVERING) or header.epoch < old.epoch
    if lacks_it and files.node_id in old.members:
        raise StateError(
            f"{files.node_id!r} was a member of epoch {old.epoch} and lost what it promised: whether it began epoch {epoch} before is not known",
            cure="begin on the other members, start them, then (`cmkms member` here readies it) this one: it reads what it lost from them",
        )
    return own


def _replace_store(
    files: NodeFiles,
    ended: int,
    header: Header,
    rows: list[tuple[Row, Watermark]],
) -> None:
    """The old store is in its place until the new one is, whatever is interrupted.

    Raises: StateError, BusyError, StoreFailure.
    """
    path = files.store_path
    begun, kept = path.with_name(f"{path.name}.begun"), path.with_name(f"{path.name}.epoch-{ended}")
    journal = path.with_name(JOURNAL_NAME)
    try:
        make_directory(path.parent)
        begun.unlink(missing_ok=True)
        with discarding(begun):
            PromiseStore.create(begun, header, rows).close()
            if journal.exists():
                journal.rename(journal.with_name(f"{journal.name}.epoch-{ended}"))
            if (
                path.exists()
            ):  # a copy: after a link the store would have a second name, and root writes to no such file
                write_atomically(kept, read_file(path, FILE_BYTES)[:FILE_BYTES])
            begun.replace(path)
        sync_directory(path.parent)
    except OSError as error:
        raise StoreFailure(f"{path} could not be made: {said(error)}") from error


def _refuse_untold(files: NodeFiles, chain: ChainFiles, seals: list[Seal], core: Core, min_height: int | None) -> None:
    """Raises: StateError for a chain that this home has begun, where neither its store nor a seal
    nor the operator says how far it came.
    """
    if min_height is None:
        refuse_lost(files, chain, [row for one in seals for row, _ in one.marks])
        refuse_forgotten(files, chain, core)


def _kept_alone(files: NodeFiles, chain: ChainFiles, core: Core) -> list[Watermark]:
    """What a rename kept of a chain above what the store holds."""
    kept = kept_above(files, chain, core, dict(readable_marks(files.store_path)))
    return [kept] if kept.hrs > HRS(0, 0, 0) else []


def _known_here(
    files: NodeFiles,
    chain: ChainFiles,
    seals: list[Seal],
    core: Core,
    min_height: int | None = None,
    *,
    restores: bool = False,
) -> tuple[list[Watermark], Header | None, list[Seal]]:
    """What this home's own files say of a chain; its store's header, None where it has none; and
    the seals, with this store's.

    Raises: as promised().
    """
    check_beside([chain.state_path], files.store_path)
    refuse_other_home(files)
    if min_height is None:
        refuse_out_before_rename(files, chain)
    is_told = os.path.lexists(chain.state_path) or (has_store(files.store_path) and min_height is None and not restores)
    known = [verified_state(files, chain, core)] if is_told else []
    known += _kept_alone(files, chain, core)
    header: Header | None = None
    if not has_store(files.store_path):
        if files.node_id in read_born(files):
            raise StateError(
                f"{files.store_path} is missing, and this node was born here: what it promised is not known",
                cure="`cmkms recover` first",
            )
        if not known:
            raise StateError(
                f"nothing is known of {chain.row.chain_id}: there is neither a store nor {chain.state_path}",
                cure="the home of the node that signed",
            )
    else:
        store = PromiseStore.read(files.store_path)
        try:
            header = store.header
            refuse_not_current(header, files)
            held = [store.mark(number) for number, row in enumerate(store.rows) if row == chain.row]
            _refuse_untold(files, chain, seals, core, min_height)
            if header.state is NodeState.SEALED and seals:
                seals = [*seals, _seal_again(store, files, core, seals[0].following)]
        finally:
            store.close()
        if held and known and min_height is None:
            refuse_lacking(files, chain, held[0], known[0], core)
        known += held
        if files.alone and header.state not in (NodeState.COMPLETE, NodeState.SEALED):
            raise StateError(
                f"{files.store_path}: this node is {header.state.name.lower()}: it does not know what it promised",
                cure="`cmkms recover` first",
            )
        if files.alone and header.state is NodeState.SEALED and min_height is None and not restores:
            whom = ", ".join(read_following(files)) or "the members of the next epoch"
            raise StateError(
                f"{files.store_path}: epoch {header.epoch} is sealed here, for {whom}: what is signed there since is not known here",
                cure=f"where that epoch runs, the home of one of {whom}: `cmkms export` there; or read the chain's head height from two nodes you trust, "
                "now, and `cmkms export --min-height` with a height above it",
            )
    return known, header, seals


def promised(
    files: NodeFiles, chain: ChainFiles, seals: list[Seal], core: Core, min_height: int | None = None
) -> Watermark:
    """The highest place of a chain that was ever promised, burnt unless signed: for a signer that
    takes over. The node must be stopped.

    One node alone knows it; of several a majority that is sealed does, this one counted in where
    its own store is sealed. `min_height`: at least that height, burnt, on the operator's word.
    Raises: StateError with the cure; BusyError; StoreFailure.
    """
    known, header, seals = _known_here(files, chain, seals, core, min_height)
    epoch = header.epoch if header is not None else None
    if not files.alone:
        first = _agree(seals)
        if first.members != files.members or epoch not in (None, first.epoch):
            raise StateError(
                f"the seals are of epoch {first.epoch} of {', '.join(first.members)}, and this node is in epoch {epoch} of {', '.join(files.members)}",
                cure="the seals of this cluster",
            )
        known += [mark for one in seals for row, mark in one.marks if row == chain.row]
        why = doubt(len(first.members), {one.node: one.standing for one in seals})
        if why and min_height is None:
            raise StateError(
                f"these seals do not show all that may have been signed: {why}",
                cure=f"the seals of all {len(first.members)} members; or read the chain's head "
                "height from two nodes you trust, now, and give one above it: --min-height HEIGHT",
            )
    if min_height is not None:
        known.append(burnt_up_to(min_height))
    return _highest(chain.row, [(chain.row, mark) for mark in known], core)


def member_mark(
    files: NodeFiles, chain: ChainFiles, core: Core, *, restores: bool = False
) -> tuple[Watermark, tuple[str, ...]]:
    """How far this home alone knows a chain, and its members: of one node alone what promised()
    says, of one of several its own mark, which the others may have gone on from.

    `restores`: it is for the state file of this very home, which is missing: it leads nowhere else.
    Raises: as promised().
    """
    kept = readable_header(files.store_path)
    if kept is not None:  # the peers may be given to `start` alone
        files = replace(files, members=kept.members)
    if not files.alone and not has_store(files.store_path) and read_born(files):
        told = born_path(files, lambda one: bool(one.ids))
        raise StateError(
            f"{files.store_path} is missing, and {told} tells of {', '.join(read_born(files))}: what was promised is not known",
            cure="start the node: it reads what it lost from the others",
        )
    known, header, _ = _known_here(files, chain, [], core, restores=restores)
    if header is not None:
        _refuse_unread(files, header, restores=restores)
    mark = _highest(chain.row, [(chain.row, one) for one in known], core)
    return mark, header.members if header is not None else files.members


def _refuse_unread(files: NodeFiles, header: Header, *, restores: bool) -> None:
    """A member that lost its promises holds what is left of them; an empty one has yet to hear from
    the others that it lost none, and begins at its state file wherever that stands; after one that
    is sealed the next epoch may have signed.

    Raises: StateError.
    """
    if header.state is NodeState.RECOVERING or (header.state is NodeState.EMPTY and not restores):
        raise StateError(
            f"{files.store_path}: this node is {header.state.name.lower()}: it does not know what it promised",
            cure="start it, and let every other node run until it is complete; or, with the seals of a majority of them, `cmkms export`",
        )
    if header.state is NodeState.SEALED and not restores:
        whom = ", ".join(read_following(files)) or "the members of the next epoch"
        raise StateError(
            f"{files.store_path}: epoch {header.epoch} is sealed here, for {whom}: what the others signed, and what is signed there since, is not known here",
            cure=f"where that epoch runs, the home of one of {whom}; where it has not begun, `cmkms export` with the seals of a majority of "
            f"{', '.join(header.members)}",
        )


def _agree(seals: list[Seal]) -> Seal:
    """Raises: StateError unless they are of a majority of the same members in the same epoch."""
    if not seals:
        raise StateError(
            "no seal was given", cure="run `cmkms epoch seal --next LIST` on a majority of the old members"
        )
    first = seals[0]
    if any((one.epoch, one.members) != (first.epoch, first.members) for one in seals):
        raise StateError("the seals are of different epochs or members", cure="the seals of one epoch's members")
    if odd := next((one for one in seals if one.following != first.following), None):
        raise StateError(
            f"the seal of {first.node} names {', '.join(first.following)} as the next members, and that of {odd.node} {', '.join(odd.following)}: a majority "
            "must be sealed for the same",
            cure="seal more of the members for one of the two lists",
        )
    for one in seals:
        for name, incarnation in one.known:
            if earlier := next((its for its in seals if its.node == name and its.incarnation < incarnation), None):
                raise StateError(
                    f"the seal of {name} is of an earlier store of its member ({earlier.incarnation}): {one.node} has recorded {incarnation} since, and what "
                    f"that one promised it does not show",
                    cure=f"the seal of {name} as it is now, or another member's. Where there is neither, what the old members promised is lost: data/ moved "
                    "aside on each, the next peer list, and docs/RUNBOOK.md, all nodes are lost, from step 4",
                )
    nodes = {one.node for one in seals}
    quorum = quorum_of(len(first.members))
    if not nodes <= set(first.members):
        raise StateError(f"a seal is of {sorted(nodes - set(first.members))[0]!r}, which was no member")
    if len(nodes) < quorum:
        raise StateError(
            f"{len(nodes)} of {len(first.members)} old members are sealed ({', '.join(sorted(nodes))}), and a majority is {quorum}: the rest could "
            "still sign among themselves",
            cure="seal more",
        )
    return first


def _highest(row: Row, shown: list[tuple[Row, Watermark]], core: Core) -> Watermark:
    """Burnt, unless a signature over its bytes is shown."""

    def verifies(mark: Watermark) -> bool:
        return bool(mark.sign_bytes) and core.verify(row.public_key, mark.sign_bytes, mark.signature)

    return agreed_mark(Watermark(), [mark for one, mark in shown if one == row], keep_own=False, verifies=verifies)


def _nonce(epoch: int, members: tuple[str, ...], name: str) -> bytes:
    """The same on every member: they are one cluster without having met."""
    text = "\0".join((str(epoch), *members, name)).encode()
    return hashlib.blake2b(text, digest_size=BIRTH_NONCE_BYTES, person=b"cmkms-epoch").digest()
