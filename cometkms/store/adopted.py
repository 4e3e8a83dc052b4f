"""A dead member's store, read as that member's answer to the recovery of one that lost its own:
`cmkms recover --from-store` writes it down, and the next start takes it into account.
"""

import json
from dataclasses import replace
from pathlib import Path

from cometkms.durable import read_file, write_atomically
from cometkms.errors import StateError, cure_of_file, os_words
from cometkms.model import HRS, Incarnation, Watermark
from cometkms.rules.birth import NodeState
from cometkms.rules.incarnation import FIRST
from cometkms.store.node_files import NodeFiles
from cometkms.store.owner import refuse_other_home
from cometkms.store.promise_store import Header, PromiseStore

_ADOPTED_MAX_BYTES = 1 << 16


def adopt_answer(files: NodeFiles, dead: Path) -> tuple[str, tuple[Watermark, ...]]:
    """Rule 14: a dead member's store, read after this node's loss, counts as that member's answer
    to this node's recovery.

    This node's store must be recovering (start it once). Returns: the member and the new mark of
    each configured chain. Raises: StateError, BusyError, StoreFailure.
    """
    refuse_other_home(files, readable=True)
    other = PromiseStore.read(dead)
    header = other.header
    marks = {row: other.mark(number) for number, row in enumerate(other.rows)}
    knows = [one for name in header.members if (one := other.known(name)) is not None]
    other.close()
    store = PromiseStore.open(files.store_path)
    try:
        own = store.header
        if own.state is not NodeState.RECOVERING:
            raise StateError(f"this node is {own.state.name.lower()}, not recovering: it needs no other's store")
        if header.owner == own.owner or header.owner not in own.members:
            raise StateError(f"{dead} belongs to {header.owner!r}, which is no other member of this epoch")
        if (header.epoch, header.members) != (own.epoch, own.members):
            raise StateError(
                f"{dead} is of epoch {header.epoch} of {', '.join(header.members)}, and this node of epoch {own.epoch}"
            )
        if header.state not in (NodeState.BORN, NodeState.COMPLETE):
            raise StateError(
                f"{dead} is of a node that was {header.state.name.lower()}: it does not know what it promised"
            )
        for number, row in enumerate(store.rows):
            if row in marks and marks[row].hrs > store.mark(number).hrs:
                store.write_mark(number, Watermark(marks[row].hrs))
        for row in [one for one, mark in marks.items() if one not in store.rows and mark.hrs > HRS(0, 0, 0)]:
            # of a chain that is not configured any more
            store.add_row(row, Watermark(marks[row].hrs), opened=False)
        for one in knows:
            held = store.known(one.member)
            if one.member != own.owner and (held is None or held.incarnation < one.incarnation):
                store.record(one)
        of_me = max((one.incarnation for one in knows if one.member == own.owner), default=FIRST)
        if of_me > own.incarnation:
            store.write_header(replace(own, incarnation=of_me, unclaimed=True))
        adopted = {**read_adopted(files, own), header.owner: header.incarnation}
        document = {"birth_nonce": own.birth_nonce.hex(), "members": adopted}
        write_atomically(files.adopted_path, json.dumps(document).encode())
        by_row = {row: store.mark(number) for number, row in enumerate(store.rows)}
    finally:
        store.close()
    return header.owner, tuple(by_row.get(chain.row, Watermark()) for chain in files.chains)


def read_adopted(files: NodeFiles, header: Header) -> dict[str, Incarnation]:
    """The members whose stores were read in person, for this very loss, and those stores'
    incarnations.
    """
    try:
        document = json.loads(read_file(files.adopted_path, _ADOPTED_MAX_BYTES))
        if document["birth_nonce"] != header.birth_nonce.hex() or header.state is not NodeState.RECOVERING:
            return {}
        members = document["members"]
        if isinstance(members, list):  # written before there were incarnations
            members = dict.fromkeys(members, FIRST)
        return {str(one): Incarnation(*map(int, its)) for one, its in members.items() if one in header.members}
    except FileNotFoundError:
        return {}
    except OSError as error:
        words = os_words(error)
        cure = cure_of_file(error, "give it to the node's user")
        raise StateError(f"{files.adopted_path} cannot be read: {words}", cure=cure) from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise StateError(f"{files.adopted_path} cannot be understood", cure="remove it") from error
