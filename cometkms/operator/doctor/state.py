"""Whether key, state file, promise store and born.json of a home belong together.

Reads only, also beside a running node.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from cometkms.api.alerts import RULES
from cometkms.core import choose
from cometkms.core.interface import Core
from cometkms.errors import StateError, cure_of_file, said
from cometkms.model import HRS, Row, Watermark
from cometkms.operator.doctor.finding import Finding, fail, failed_by, note, ok, warn
from cometkms.rules.birth import NodeState
from cometkms.store.another_key import refuse_another_key, refuse_anothers_file
from cometkms.store.exported import refuse_exported
from cometkms.store.home_born import born_path, has_data_of, read_born, read_born_members, refuse_lost
from cometkms.store.lock import holder_of
from cometkms.store.marks import read_state, refuse_forgotten, refuse_lacking, refuse_unrenamed
from cometkms.store.node_files import ChainFiles, NodeFiles, check_store_way
from cometkms.store.owner import refuse_other_home, sealed_error
from cometkms.store.promise_store import Header, Survey, check_opens, corrupt, survey

AREA: Final = "state"
_LAGGING_HEIGHTS: Final = 1  # the file may be so far behind while the node runs


@dataclass(frozen=True, slots=True)
class ChainState:
    """One chain.

    `in_file` None: the file cannot be read. `file_findings`: why, or why it is not this chain's.
    `verified`: its signature
    is the key's.
    """

    chain_id: str
    public_key: bytes
    path: Path
    in_file: Watermark | None
    file_findings: tuple[Finding, ...] = ()
    verified: bool = False

    @property
    def is_own(self) -> bool:
        """Whether nothing says that the state file is another key's."""
        return self.in_file is not None and (self.verified or not self.in_file.signature)


@dataclass(frozen=True, slots=True)
class StateFacts:
    """`store` None: there is none, or it cannot be read (`store_findings` say why).

    `born`: ids born in this home; None: unreadable.
    """

    files: NodeFiles
    store: Survey | None
    store_findings: tuple[Finding, ...]
    born: tuple[str, ...] | None
    born_members: tuple[str, ...]
    chains: tuple[ChainState, ...]
    more: tuple[Finding, ...] = ()
    copied: bool = False  # born.json is of another node, of which there is no data here
    held: bool = False  # a node runs in this home, whatever became of its files

    @property
    def node_id(self) -> str:
        """Return the id that the settings name."""
        return self.files.node_id

    @property
    def members(self) -> tuple[str, ...]:
        """Return the ids of the peer list, sorted."""
        return self.files.members

    @property
    def store_path(self) -> Path:
        """Return where the store is, or would be."""
        return self.files.store_path


def gather_state(files: NodeFiles, core: Core) -> StateFacts:
    """Read them all; what cannot be read is told, not raised.

    The state files first: a running node's follow its store.
    """
    chains = tuple(_read_chain(files, chain.row, chain.state_path, core) for chain in files.chains)
    store, unread = None, []
    try:
        check_store_way(files.store_path)
        store = survey(files.store_path)
        check_opens(files.store_path)
    except FileNotFoundError:
        pass
    except StateError as error:
        unread = failed_by(AREA, error)
    except OSError as error:
        words = f"{files.store_path} cannot be read: {said(error)}"
        unread = [fail(AREA, words, cure_of_file(error, "run the doctor as the node's user"))]
    more: list[Finding] = []
    born: tuple[str, ...] | None = None
    members: tuple[str, ...] = ()
    try:
        born, members = tuple(read_born(files)), tuple(read_born_members(files))
    except StateError as error:
        more += failed_by(AREA, error)
    for chain in files.chains:
        try:
            refuse_exported(chain.state_path, chain.row.chain_id, files.store_path)
        except StateError as error:
            more += failed_by(AREA, error)
    if born is not None and store is not None and not store.problems:
        chains = tuple(_with_forgotten(files, chain) for chain in chains)
    others = born or ()
    copied = bool(others) and files.node_id not in others and not any(has_data_of(files, one) for one in others)
    holder = holder_of(files.home)
    held = holder is not None and holder.is_node
    return StateFacts(files, store, tuple(unread), born, members, chains, tuple(more), copied, held)


def _read_chain(files: NodeFiles, row: Row, path: Path, core: Core) -> ChainState:
    try:
        refuse_another_key(files, ChainFiles(row, path), core)
        mark = read_state(files, ChainFiles(row, path), core)
    except StateError as error:
        return ChainState(row.chain_id, row.public_key, path, None, tuple(failed_by(AREA, error)))
    verified = bool(mark.signature) and core.verify(row.public_key, mark.sign_bytes, mark.signature)
    found: list[Finding] = []
    try:
        refuse_anothers_file(files, ChainFiles(row, path), mark, core)
        refuse_unrenamed(files, ChainFiles(row, path), mark, core)
        refuse_forgotten(files, ChainFiles(row, path), core)
    except StateError as error:
        found += failed_by(AREA, error)
    return ChainState(row.chain_id, row.public_key, path, mark, tuple(found), verified=verified)


def _with_forgotten(files: NodeFiles, chain: ChainState) -> ChainState:
    try:
        refuse_lost(files, ChainFiles(Row(chain.public_key, chain.chain_id), chain.path))
    except StateError as error:
        return replace(chain, file_findings=(*chain.file_findings, *failed_by(AREA, error)))
    return chain


def judge_state(facts: StateFacts) -> list[Finding]:
    """Everything that the next start would stumble over, and what it would not notice."""
    found = [*facts.more, *_judge_store(facts), *_judge_born(facts)]
    for chain in facts.chains:
        found += _judge_chain(facts, chain)
    return found


def _judge_store(facts: StateFacts) -> list[Finding]:
    path = facts.store_path
    if facts.store_findings:
        return list(facts.store_findings)
    if facts.store is None:
        return [_judge_no_store(facts)]
    if facts.store.problems:
        if len(facts.members) > 1:
            return [
                warn(
                    AREA,
                    f"{path} is corrupt: {facts.store.problems[0]}",
                    "start the node: it is set aside, and what it held is read from the others",
                )
            ]
        return failed_by(AREA, corrupt(path, facts.store.problems[0]))
    header = facts.store.header
    if header is None:
        return failed_by(AREA, corrupt(path, "it has no header"))
    if header.owner != facts.node_id:
        cure = f"start with --id {header.owner}, or give this node a home of its own; never copy a store"
        return [fail(AREA, f"{path} belongs to node {header.owner!r}, and this is node {facts.node_id!r}", cure)]
    if header.members != facts.members:
        theirs, ours = ", ".join(header.members), ", ".join(facts.members)
        if header.state in (NodeState.EMPTY, NodeState.RECOVERING) and len(facts.members) > 1:
            return [
                warn(
                    AREA,
                    f"the store holds no promise, of {theirs}",
                    f"start the node: it follows the peer list, {ours}",
                )
            ]
        cure = "put the list back, or change the members with `cmkms member`"
        return [
            fail(
                AREA,
                f"{path} is of epoch {header.epoch} with the members {theirs}, and the peer list names {ours}",
                cure,
            )
        ]
    if header.state is NodeState.SEALED:
        return _judge_sealed(facts, header)
    return [_judge_life(header, facts)]


def _judge_sealed(facts: StateFacts, header: Header) -> list[Finding]:
    try:
        return failed_by(AREA, sealed_error(facts.files, header))
    except StateError:  # of born.json, which is told already
        return [fail(AREA, f"epoch {header.epoch} was sealed here: it promises nothing more", "restore born.json")]


def _judge_no_store(facts: StateFacts) -> Finding:
    path = facts.store_path
    if facts.born is None:
        return note(AREA, f"{path} is not there, and whether it was cannot be known")
    if facts.node_id in facts.born and facts.held:
        return fail(
            AREA,
            f"{path} is gone under the node that runs, which still knows what it promised",
            RULES["store_gone"].cure,
        )
    if facts.node_id in facts.born:
        if len(facts.members) > 1:
            return warn(
                AREA,
                f"{path} is missing, and node {facts.node_id!r} was born here: what it promised is lost",
                "start the node: it reads it from all the others",
            )
        return fail(
            AREA,
            f"{path} is missing, and node {facts.node_id!r} was born here: what it promised is lost",
            "put the store back; else `cmkms recover --min-height HEIGHT` with a height above the chain's head, read now from two nodes you trust",
        )
    if facts.copied and len(facts.members) > 1:
        return warn(
            AREA,
            f"{born_path(facts.files, lambda one: bool(one.ids))} came from node {facts.born[0]!r}: if {facts.node_id!r} promised anything before, it is lost",
            "start the node: it reads it from all the others",
        )
    if (other := _other_home(facts)) is not None:
        return fail(AREA, other.what, other.cure)
    return note(AREA, "this node has never started here: it begins at its state files")


def _other_home(facts: StateFacts) -> StateError | None:
    try:
        refuse_other_home(facts.files, readable=True)
    except StateError as error:
        return error
    return None


def _judge_life(header: Header, facts: StateFacts) -> Finding:
    state, epoch = header.state, header.epoch
    shown = f"the store is whole: node {facts.node_id!r}, epoch {epoch} of {', '.join(facts.members)}"
    match state:
        case NodeState.COMPLETE if header.unmet:
            return warn(
                AREA,
                f"this node was recovered by its operator, and has met no majority since: {shown}",
                "start it while the others run. Where one is sealed and stopped: stop this node, then the `cmkms member` command of that change here",
            )
        case NodeState.COMPLETE:
            return ok(AREA, shown)
        case NodeState.RECOVERING:
            return warn(
                AREA,
                "this node lost its promises and is reading them from the others",
                "let every other node run until it is complete. Where one is sealed: the `cmkms member` command of that change here",
            )
        case _:
            return warn(
                AREA,
                f"this node is being born ({state.name.lower()})",
                "let every node of the list run until all have seen each other",
            )


def _judge_born(facts: StateFacts) -> list[Finding]:
    if (
        facts.born_members
        and facts.born_members != facts.members
        and not facts.copied
        and facts.store is None
        and not facts.store_findings
        and _other_home(facts) is None
    ):
        theirs = ", ".join(facts.born_members)
        return [
            fail(
                AREA,
                f"this home was last in a cluster of {theirs}, and the peer list names {', '.join(facts.members)}",
                "the same peer list as before",
            )
        ]
    if facts.store is not None and facts.store.header is not None and facts.born is not None:
        whole = facts.store.header.state in (NodeState.BORN, NodeState.COMPLETE)
        if whole and facts.node_id not in facts.born and facts.chains:
            return [
                warn(
                    AREA,
                    "born.json does not name this node: if the store were lost, that would not be noticed",
                    "start the node once: it is written again",
                )
            ]
    return []


def held_mark(facts: StateFacts, chain: ChainState) -> Watermark | None:
    """The store's mark of a chain; None where it knows none."""
    if facts.store is None:
        return None
    return dict(facts.store.rows).get(Row(chain.public_key, chain.chain_id))


def highest_mark(facts: StateFacts, chain: ChainState) -> Watermark | None:
    """The higher of store and state file; a signature that is known counts."""
    in_file = chain.in_file if chain.is_own else None
    marks = [mark for mark in (held_mark(facts, chain), in_file) if mark is not None]
    return max(marks, key=lambda mark: (mark.hrs, bool(mark.signature)), default=None)


def _judge_chain(facts: StateFacts, chain: ChainState) -> list[Finding]:
    found = list(chain.file_findings)
    held = held_mark(facts, chain)
    if facts.store is not None and facts.store.rows and held is None and not found:
        found.append(note(AREA, f"{chain.chain_id} is new to this node's store: it begins at its state file"))
    if chain.in_file is None:
        return found
    if held is not None and chain.is_own:
        found += _judge_pair(facts, chain, held, chain.in_file)
    if not found:
        found.append(ok(AREA, f"{chain.chain_id}: key and state belong together; {_words(highest_mark(facts, chain))}"))
    return found


def _judge_pair(facts: StateFacts, chain: ChainState, held: Watermark, in_file: Watermark) -> list[Finding]:
    header = facts.store.header if facts.store is not None else None
    try:
        files = ChainFiles(Row(chain.public_key, chain.chain_id), chain.path)
        shown = in_file if chain.verified else Watermark(in_file.hrs)
        refuse_lacking(facts.files, files, held, shown, choose.load())
    except StateError as error:
        return failed_by(AREA, error)
    if in_file.hrs > held.hrs and header is not None and len(header.members) > 1:
        lost = header.state in (NodeState.EMPTY, NodeState.RECOVERING)
        why = (
            "what this store held is lost"
            if lost
            else "the other nodes signed there without this one's promise, or an old copy of the store was put back; it reads the others at its start"
        )
        words = f"{chain.chain_id}: the state file ({in_file.hrs}) is ahead of the store ({held.hrs}): {why}"
        return [note(AREA, words)]
    if in_file.hrs == held.hrs and in_file.sign_bytes and held.sign_bytes and in_file.sign_bytes != held.sign_bytes:
        return [
            fail(
                AREA,
                f"{chain.chain_id}: store and state file hold different bytes at {held.hrs}",
                "find out whether another signer uses this key and stop it; nothing is signed there again",
            )
        ]
    if held.hrs.height - in_file.hrs.height > _LAGGING_HEIGHTS:
        words = f"{chain.chain_id}: the state file ({in_file.hrs}) is behind the store ({held.hrs})"
        why = (
            "in a cluster it follows when this node learns of the signatures"
            if len(facts.members) > 1
            else "as after a crash"
        )
        return [note(AREA, f"{words}, {why}; who goes back to FilePV or tmkms takes `cmkms state export`")]
    return []


def _words(mark: Watermark | None) -> str:
    if mark is None or mark.hrs == HRS(0, 0, 0):
        return "nothing signed yet"
    known = "signed" if mark.signature else "promised" if mark.sign_bytes else "burnt"
    return f"the watermark is {mark.hrs} ({known})"
