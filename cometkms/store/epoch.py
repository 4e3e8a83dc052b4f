"""Epochs: who the members are changes only by a step that no order of mistakes turns into two majorities (rule 10).

    seal     on a majority of the old members, stopped: their stores promise nothing more, ever, and say where they stood
    begin    on every member of the next epoch, stopped: a new store at the maxima of a majority's seals, burnt unless signed

Whatever the old epoch signed is durable on a majority of it, so every majority of seals shows it. One node that grows to three
is such a step from a majority of one.
"""

import base64
import hashlib
import json
import os
from dataclasses import dataclass
from typing import Any, Final

from cometkms.errors import StateError
from cometkms.interface import Core
from cometkms.limits import BIRTH_NONCE_BYTES
from cometkms.model import HRS, Row, Watermark
from cometkms.rules.birth import NodeState
from cometkms.rules.recovery import agreed_mark
from cometkms.store import state_file
from cometkms.store.files import make_directory
from cometkms.store.node_store import ChainFiles, NodeFiles, read_born, verified_state, write_born
from cometkms.store.promise_store import Header, PromiseStore

_PREFIX: Final = "cmkms-seal-1:"
_CHECK_BYTES: Final = 8
_TEXT_MAX_BYTES: Final = 128 << 10  # 64 rows


@dataclass(frozen=True, slots=True)
class Seal:
    """Where a member stood when it stopped promising for ever."""

    node: str
    epoch: int
    members: tuple[str, ...]
    marks: tuple[tuple[Row, Watermark], ...]


def seal_text(seal: Seal) -> str:
    """One line that the operator carries to the other nodes."""
    rows = [
        [row.public_key.hex(), row.chain_id, *mark.hrs, mark.sign_bytes.hex(), mark.signature.hex()]
        for row, mark in seal.marks
    ]
    document = {"node": seal.node, "epoch": seal.epoch, "members": list(seal.members), "rows": rows}
    body = json.dumps(document, separators=(",", ":")).encode()
    return _PREFIX + base64.b64encode(_check(body) + body).decode()


def parse_seal(text: str) -> Seal:
    """Inverse of seal_text(). Raises: StateError."""
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
        if any(len(row.public_key) != 32 or len(mark.signature) not in (0, 64) for row, mark in marks):
            raise ValueError("a key or a signature has a wrong length")
        return Seal(str(document["node"]), int(document["epoch"]), tuple(map(str, document["members"])), marks)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise StateError(f"this is no seal: {error}; cure: the whole line that `cmkms epoch seal` printed") from error


def _check(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=_CHECK_BYTES, person=b"cmkms-seal").digest()


def read_header(files: NodeFiles) -> Header:
    """Epoch, members and state of this node's store. Raises: StateError, BusyError, StoreFailure."""
    store = PromiseStore.open(files.store_path)
    store.close()
    return store.header


def seal(files: NodeFiles, core: Core) -> Seal:
    """This node promises nothing more in its epoch; durable on return. Again: the same seal.

    Raises: StateError (another node's store, or one that does not know what it promised), BusyError (the node runs), StoreFailure.
    """
    store = PromiseStore.open(files.store_path)
    try:
        header = store.header
        if header.owner != files.node_id:
            raise StateError(
                f"{store.path} belongs to node {header.owner!r}, not {files.node_id!r}; cure: --id {header.owner}"
            )
        if header.state not in (NodeState.COMPLETE, NodeState.SEALED):
            raise StateError(
                f"{store.path}: this node is {header.state.name.lower()}: it cannot say what it promised. Cure: seal the others, a majority is enough; "
                "or let it recover first"
            )
        marks = []
        for number, row in enumerate(store.rows):
            mark = store.mark(number)
            for chain in files.chains:
                in_file = verified_state(chain, core) if chain.row == row else Watermark()
                if in_file.hrs > mark.hrs or (in_file.hrs == mark.hrs and in_file.sign_bytes == mark.sign_bytes):
                    mark = in_file
            marks.append((row, mark))
        if header.state is NodeState.COMPLETE:
            store.set_state(NodeState.SEALED)
        return Seal(header.owner, header.epoch, header.members, tuple(marks))
    finally:
        store.close()


def begin(files: NodeFiles, seals: list[Seal], core: Core) -> tuple[int, tuple[tuple[Row, Watermark], ...]]:
    """This node's store of the next epoch, with the members of `files`; returns the epoch and the marks.

    Raises: StateError unless the seals are of a majority of one epoch and this node's own store, if any, is older; BusyError; StoreFailure.
    """
    old = _agree(seals)
    epoch = old.epoch + 1
    own: list[tuple[Row, Watermark]] = []
    if files.store_path.exists():
        store = PromiseStore.open(files.store_path)
        header = store.header
        own = [(row, store.mark(number)) for number, row in enumerate(store.rows)]
        store.close()
        if header.epoch >= epoch:
            raise StateError(
                f"{files.store_path} is of epoch {header.epoch} already, and the seals end epoch {old.epoch}"
            )
    shown = [*own, *((chain.row, verified_state(chain, core)) for chain in files.chains)]
    for one in seals:
        shown += one.marks
    rows = tuple((row, _highest(row, shown, core)) for row in dict.fromkeys(row for row, _ in shown))
    if files.store_path.exists():
        files.store_path.rename(files.store_path.with_name(f"{files.store_path.name}.epoch-{old.epoch}"))
    journal = files.store_path.with_name("raft")
    if journal.exists():
        journal.rename(journal.with_name(f"raft.epoch-{old.epoch}"))
    make_directory(files.store_path.parent)
    nonces = tuple(_nonce(epoch, files.members, name) for name in files.members)
    header = Header(files.node_id, epoch, files.members, NodeState.COMPLETE, os.urandom(BIRTH_NONCE_BYTES), nonces)
    PromiseStore.create(files.store_path, header, list(rows)).close()
    marks = dict(rows)
    for chain in files.chains:
        mark = marks[chain.row]
        if mark.hrs > verified_state(chain, core).hrs:
            state_file.save(chain.state_path, mark if mark.signature else Watermark(mark.hrs))
    write_born(files, epoch)
    return epoch, rows


def promised(files: NodeFiles, chain: ChainFiles, seals: list[Seal], core: Core) -> Watermark:
    """The highest place of a chain that was ever promised, burnt unless signed: for a signer that takes over. The node must be stopped.

    One node alone knows it; of several a majority that is sealed does, this one counted in where its own store is sealed.
    Raises: StateError with the cure; BusyError; StoreFailure.
    """
    known = [verified_state(chain, core)] if chain.state_path.exists() else []
    epoch: int | None = None
    if not files.store_path.exists():
        if files.node_id in read_born(files):
            raise StateError(
                f"{files.store_path} is missing, and this node was born here: what it promised is not known. Cure: `cmkms recover` first"
            )
        if not known:
            raise StateError(
                f"nothing is known of {chain.row.chain_id}: there is neither a store nor {chain.state_path}; cure: the home of the node that signed"
            )
    else:
        store = PromiseStore.open(files.store_path)
        header, epoch = store.header, store.header.epoch
        known += [store.mark(number) for number, row in enumerate(store.rows) if row == chain.row]
        store.close()
        if header.state is NodeState.SEALED:
            seals = [*seals, seal(files, core)]
        elif files.alone and header.state is not NodeState.COMPLETE:
            raise StateError(
                f"{files.store_path}: this node is {header.state.name.lower()}: it does not know what it promised. Cure: `cmkms recover` first"
            )
    if not files.alone:
        first = _agree(seals)
        if first.members != files.members or epoch not in (None, first.epoch):
            raise StateError(
                f"the seals are of epoch {first.epoch} of {', '.join(first.members)}, and this node is in epoch {epoch} of {', '.join(files.members)}; "
                "cure: the seals of this cluster"
            )
        known += [mark for one in seals for row, mark in one.marks if row == chain.row]
    return _highest(chain.row, [(chain.row, mark) for mark in known], core)


def _agree(seals: list[Seal]) -> Seal:
    """Raises: StateError unless they are of a majority of the same members in the same epoch."""
    if not seals:
        raise StateError("no seal was given; cure: run `cmkms epoch seal` on a majority of the old members, stopped")
    first = seals[0]
    if any((one.epoch, one.members) != (first.epoch, first.members) for one in seals):
        raise StateError("the seals are of different epochs or members")
    nodes = {one.node for one in seals}
    quorum = len(first.members) // 2 + 1
    if not nodes <= set(first.members):
        raise StateError(f"a seal is of {sorted(nodes - set(first.members))[0]!r}, which was no member")
    if len(nodes) < quorum:
        raise StateError(
            f"{len(nodes)} of {len(first.members)} old members are sealed ({', '.join(sorted(nodes))}), and a majority is {quorum}: the rest could "
            "still sign among themselves. Cure: seal more"
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
