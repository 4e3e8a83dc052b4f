"""Promises, recovery and restarts: any node proposes anything at any time, any accept is counted at
any later time or never.

A request, once issued by a living process, may reach any acceptor at any time, any number of times,
in any order: delay, loss, duplication and reordering need no steps of their own. The acceptor's
decision, the end of a recovery and its mark are the project's own functions; everything else is as
pessimistic as it can be.

A node: mark (slot, value; value 0 is burnt or nothing), mode, per (slot, value) the set of members
counted by its process (-1: not proposed), what its process has read, a copy of an older store, and
the promise it is writing (rule 4: the others were asked, its own sync runs; until it is done the
process accepts, answers, begins and counts nothing).
"""

import itertools
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from typing import NamedTuple

from cometkms.limits import HEIGHT_MAX
from cometkms.model import HRS, Watermark
from cometkms.rules.promise import Accept, decide_promise
from cometkms.rules.recovery import Answer, agreed_mark, may_end
from tests.model.explore import Result, Step, explore

NORMAL, AMNESIC, STARTING, WRITING = range(4)
Mark = tuple[int, int]
NOTHING: Mark = (-1, 0)


class Node(NamedTuple):
    mark: Mark
    mode: int
    counted: tuple[int, ...]
    read: tuple[tuple[int, Mark | None], ...]  # in order of arrival; None: "I am recovering too"
    copy: Mark | None
    writing: Mark | None = None


class State(NamedTuple):
    nodes: tuple[Node, ...]
    signed: int  # set of (slot, value) that had a majority of accepts
    losses: int
    crashes: int
    rollbacks: int


@dataclass(frozen=True)
class Protocol:
    """Sizes, budgets of faults, and rules that may be taken away."""

    nodes: int
    slots: int
    losses: int = 0
    crashes: int = 0
    rollbacks: int = 0
    proposers: tuple[int, ...] = ()
    write_once: bool = True  # rule 1
    monotone: bool = True  # rule 1: no mark falls
    # rule 4: asked only in the step that makes the own promise durable, or after it
    self_first: bool = True
    asks_first: bool = False  # rule 4: in that step, the requests leave before the sync
    silent_writing: bool = True  # rule 4: and nothing is answered before its end
    counts_after: bool = True  # rule 4: nor counted
    # rules 2, 3: a lost store ends the process, answers to it are not counted
    new_process: bool = True
    burn: bool = True  # rule 7: bytes that are only read are burnt
    read_all: bool = True  # rule 7
    ordered: bool = True  # rule 7: real answers after the last declaration
    amnesic_answer: bool = False  # rule 7
    takes: bool = True  # rule 7: the mark after a recovery is the highest that was read
    start_read: bool = False  # rule 8 (strict): a restarted node reads all others first
    starting_answer_amnesic: bool = False  # rule 8


def watermark(mark: Mark) -> Watermark:
    slot, value = mark
    return Watermark(HRS(slot + 1, 0, 1) if slot >= 0 else HRS(0, 0, 0), bytes([value]) if value else b"")


def mark_of(watermark_: Watermark) -> Mark:
    return (watermark_.hrs.height - 1, watermark_.sign_bytes[0] if watermark_.sign_bytes else 0)


@cache
def accepts(mark: Mark, slot: int, value: int) -> bool:
    """The acceptor's own rule."""
    wanted = watermark((slot, value))
    judged = decide_promise(watermark(mark), wanted.hrs, wanted.sign_bytes, reach=HEIGHT_MAX, signed=Watermark())
    return isinstance(judged, Accept)


@cache
def recovered(own: Mark, read: tuple[Mark, ...], keep_own: bool, signed: tuple[Mark, ...]) -> Mark:
    """The reader's own rule; a signature over a mark's bytes is shown if there is one."""
    shown = [watermark(mark) for mark in read]
    shown = [Watermark(one.hrs, one.sign_bytes, b"s") if mark_of(one) in signed else one for one in shown]
    return mark_of(agreed_mark(watermark(own), shown, keep_own=keep_own, verifies=lambda one: bool(one.signature)))


class Model:
    """Successors and symmetry of one protocol."""

    def __init__(self, protocol: Protocol) -> None:
        self.p = protocol
        self.quorum = protocol.nodes // 2 + 1
        self.values = [(slot, value) for slot in range(protocol.slots) for value in (1, 2)]
        self.index = {one: number for number, one in enumerate(self.values)}
        self.none = (-1,) * len(self.values)
        self.proposers = protocol.proposers or tuple(range(protocol.nodes))
        self.renamings = renamings(protocol, self.proposers)
        self.nodes_named, self.signed_named = cache(self.renamed_node), cache(self.renamed_signed)

    def first(self) -> State:
        node = Node(NOTHING, NORMAL, self.none, (), None)
        return State((node,) * self.p.nodes, 0, self.p.losses, self.p.crashes, self.p.rollbacks)

    def broken(self, state: Hashable) -> bool:
        """Two byte strings signed at one place."""
        assert isinstance(state, State)
        return any(state.signed >> (2 * slot) & 3 == 3 for slot in range(self.p.slots))

    def successors(self, state: Hashable) -> Iterator[Step]:
        assert isinstance(state, State)
        for number, node in enumerate(state.nodes):
            if node.mode == NORMAL and number in self.proposers:
                yield from self.proposals(state, number, node)
            yield from self.accepted(state, number, node)
            yield from self.faults(state, number, node)
            if node.mode == WRITING:
                yield from self.written(state, number, node)
            elif node.mode != NORMAL:
                yield from self.reads(state, number, node)

    def put(self, state: State, number: int, node: Node, **more: int) -> State:
        nodes = (*state.nodes[:number], node, *state.nodes[number + 1 :])
        return state._replace(nodes=nodes, **more)

    def count(self, state: State, proposer: int, node: Node, number: int, members: int) -> State:
        counted = (*node.counted[:number], members, *node.counted[number + 1 :])
        counts = node.mode != WRITING or not self.p.counts_after
        signed = state.signed | (1 << number if counts and members.bit_count() >= self.quorum else 0)
        return self.put(state, proposer, node._replace(counted=counted), signed=signed)

    def proposals(self, state: State, me: int, node: Node) -> Iterator[Step]:
        for number, (slot, value) in enumerate(self.values):
            if node.counted[number] >= 0:
                continue
            name = f"{me} proposes {slot}:{value}"
            if self.p.asks_first and accepts(node.mark, slot, value):
                asked = node._replace(mode=WRITING, writing=(slot, value))
                yield name + ", its own promise is on its way", self.count(state, me, asked, number, 0)
            elif not self.p.self_first:
                yield name + " without its own promise", self.count(state, me, node, number, 0)
            elif accepts(node.mark, slot, value):
                promised = node._replace(mark=(slot, value))
                yield name, self.count(self.put(state, me, promised), me, promised, number, 1 << me)
            elif node.mark[0] >= slot:
                yield name + ", not counting itself", self.count(state, me, node, number, 0)
                if not self.p.write_once and node.mark[0] == slot:
                    replaced = node._replace(mark=(slot, value))
                    yield (
                        name + " OVER its own",
                        self.count(self.put(state, me, replaced), me, replaced, number, 1 << me),
                    )

    def written(self, state: State, me: int, node: Node) -> Iterator[Step]:
        assert node.writing is not None
        number = self.index[node.writing]
        done = node._replace(mark=node.writing, mode=NORMAL, writing=None)
        yield f"{me}'s promise is durable", self.count(state, me, done, number, node.counted[number] | 1 << me)
        if state.crashes:  # what was not synced may be there all the same
            after = node._replace(mark=node.writing, mode=self.restarted, counted=self.none, read=(), writing=None)
            yield f"{me} restarts, its write survived", self.put(state, me, after, crashes=state.crashes - 1)

    def accepted(self, state: State, proposer: int, node: Node) -> Iterator[Step]:
        for number, members in enumerate(node.counted):
            if members < 0:
                continue
            slot, value = self.values[number]
            for other, one in enumerate(state.nodes):
                if members >> other & 1 or one.mode != NORMAL:
                    continue
                if not accepts(one.mark, slot, value) and (self.p.monotone or slot >= one.mark[0]):
                    continue
                after = self.put(state, other, one._replace(mark=(slot, value)))
                yield (
                    f"{other} accepts {slot}:{value} for {proposer}",
                    self.count(after, proposer, after.nodes[proposer], number, members | 1 << other),
                )
                if one.mark != (slot, value):
                    yield f"{other} accepts {slot}:{value}, the answer is lost", after

    def faults(self, state: State, me: int, node: Node) -> Iterator[Step]:
        if state.losses and (node.mark != NOTHING or node.writing):
            counted = self.none if self.p.new_process else node.counted
            lost = Node(NOTHING, AMNESIC, counted, (), None)
            yield f"{me} LOSES its store", self.put(state, me, lost, losses=state.losses - 1)
        if state.crashes and (node.counted != self.none or node.mode != NORMAL):
            mode = AMNESIC if node.mode == AMNESIC else self.restarted
            after = node._replace(mode=mode, counted=self.none, read=(), writing=None)
            yield f"{me} restarts", self.put(state, me, after, crashes=state.crashes - 1)
        if state.rollbacks and node.mode == NORMAL and node.copy is None:
            yield f"{me}'s store is copied", self.put(state, me, node._replace(copy=node.mark))
        if state.rollbacks and node.mode == NORMAL and node.copy not in (None, node.mark):
            assert node.copy is not None
            after = Node(node.copy, self.restarted, self.none, (), None)
            yield f"{me}'s OLD store is put back", self.put(state, me, after, rollbacks=state.rollbacks - 1)

    @property
    def restarted(self) -> int:
        return STARTING if self.p.start_read else NORMAL

    def reads(self, state: State, me: int, node: Node) -> Iterator[Step]:
        known = dict(node.read)
        for other, one in enumerate(state.nodes):
            answer = self.answer(node, one)
            if other == me or answer == "silent" or (other in known and not self.asks_again(node, other)):
                continue
            read = (*(entry for entry in node.read if entry[0] != other), (other, answer))
            what = "that it is recovering" if answer is None else f"{answer}"
            yield f"{me} reads {what} from {other}", self.put(state, me, node._replace(read=read))  # type: ignore[arg-type]
        if self.has_read(node):
            marks = tuple(mark for _, mark in node.read if mark is not None)
            signed = tuple(one for number, one in enumerate(self.values) if state.signed >> number & 1)
            starting = node.mode == STARTING
            if starting or (self.p.burn and self.p.takes):
                mark = recovered(node.mark, marks, starting, signed)
            else:
                mark = max((node.mark, *marks)) if self.p.takes else node.mark
            yield f"{me} is back at {mark}", self.put(state, me, node._replace(mark=mark, mode=NORMAL, read=()))

    def answer(self, reader: Node, asked: Node) -> Mark | str | None:
        """Its mark; None: it says that it is recovering; "silent": it does not answer this."""
        if asked.mode == AMNESIC:
            if self.p.amnesic_answer:
                return asked.mark
            return None if reader.mode == AMNESIC else "silent"
        if asked.mode == WRITING and self.p.silent_writing:
            return "silent"
        if asked.mode == STARTING and reader.mode == AMNESIC and not self.p.starting_answer_amnesic:
            return "silent"
        return asked.mark

    def asks_again(self, node: Node, other: int) -> bool:
        """A declaration is replaced by a real answer; a real one that came before a
        declaration is taken anew.
        """
        order = [entry for entry, _ in node.read]
        at = order.index(other)
        return node.read[at][1] is None or any(mark is None for _, mark in node.read[at + 1 :])

    def has_read(self, node: Node) -> bool:
        answers = {str(other): Answer(order, mark is not None) for order, (other, mark) in enumerate(node.read)}
        if node.mode == STARTING:
            return len(answers) == self.p.nodes - 1 and all(one.real for one in answers.values())
        real = sum(one.real for one in answers.values())
        if not self.p.read_all:
            return real >= self.p.nodes - self.quorum + 1 or real == self.p.nodes - 1
        if not self.p.ordered:
            return len(answers) == self.p.nodes - 1 and real >= self.p.nodes - self.quorum + 1
        return may_end(self.p.nodes, answers)

    def canonical(self, state: Hashable) -> Hashable:
        """The same but for the names of nodes and of the two values of each slot (three
        nodes: all renamings).
        """
        assert isinstance(state, State)
        if self.p.nodes > 3:
            return state
        nodes, signed = [self.nodes_named(node) for node in state.nodes], self.signed_named(state.signed)
        return min(
            (tuple(nodes[old][number] for old in renaming.order), signed[number], *state[2:])
            for number, renaming in enumerate(self.renamings)
        )

    def renamed_node(self, node: Node) -> tuple[tuple[object, ...], ...]:
        """One node under each renaming; there are few that differ, and each is met in many states."""
        return tuple(
            (
                renaming.value(node.mark),
                node.mode,
                tuple(renaming.members(node.counted[number]) for number in self.numbers(renaming)),
                tuple((renaming.place[other], renaming.value(mark)) for other, mark in node.read),
                renaming.value(node.copy),
                renaming.value(node.writing),
            )
            for renaming in self.renamings
        )

    def renamed_signed(self, signed: int) -> tuple[int, ...]:
        """Likewise what is signed."""
        return tuple(
            sum(1 << new for new, old in enumerate(self.numbers(renaming)) if signed >> old & 1)
            for renaming in self.renamings
        )

    def numbers(self, renaming: "Renaming") -> list[int]:
        """Of each value the number of the one that has its name."""
        return [self.index[renaming.value(one)] for one in self.values]


@dataclass(frozen=True)
class Renaming:
    """Other names for nodes, and in some slots each value by the other's name."""

    order: tuple[int, ...]  # new name → old one
    swaps: tuple[bool, ...]  # by slot

    @cached_property
    def place(self) -> dict[int, int]:
        """Old name → new one."""
        return {old: new for new, old in enumerate(self.order)}

    def value(self, mark: Mark | None) -> Mark:
        if mark is None:
            return (-9, 0)
        slot, one = mark
        return (slot, 3 - one) if one and slot >= 0 and self.swaps[slot] else mark

    def members(self, mask: int) -> int:
        return mask if mask < 0 else sum(1 << self.place[old] for old in range(len(self.order)) if mask >> old & 1)


def renamings(protocol: Protocol, proposers: tuple[int, ...]) -> list[Renaming]:
    """All that leave the proposers among themselves."""
    return [
        Renaming(order, swaps)
        for order in itertools.permutations(range(protocol.nodes))
        if {order[number] for number in proposers} == set(proposers)
        for swaps in itertools.product((False, True), repeat=protocol.slots)
    ]


def check(protocol: Protocol, limit: int = 0) -> Result:
    model = Model(protocol)
    return explore(model.first(), model.successors, model.broken, canonical=model.canonical, limit=limit)
