"""A machine is replaced while the old one lives on behind a cut: incarnations (rule 15), with
promises and recovery around them.

Every store that ever stood for a member is an instance with a process of its own, and any message
of any of them may reach anybody at any time or never: cuts need no steps of their own. The
decisions (what is refused and recorded, which answers count, when a recovery ends, at which mark)
are the project's own functions.

An instance: whose it is, incarnation (None: not taken yet), mark, mode, per (place, value) the
members counted by its process (-1: not proposed), the answers that it has read, and the highest
incarnation that it knows of each member.
"""

import itertools
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

from cometkms.model import Incarnation
from cometkms.rules.incarnation import FIRST, Answer, Verdict, counting, judge, next_incarnation
from cometkms.rules.recovery import may_end
from tests.model.explore import Result, Step, explore
from tests.model.promises import NOTHING, Mark, accepts, recovered

NORMAL, LOST, STARTING = range(3)


class Read(NamedTuple):
    """One answer: who, as what, its mark (None: "I am recovering too"), its records then."""

    member: int
    incarnation: Incarnation
    mark: Mark | None
    knows: tuple[Incarnation, ...]


class Instance(NamedTuple):
    member: int
    incarnation: Incarnation | None
    mark: Mark
    mode: int
    counted: tuple[int, ...]
    read: tuple[Read, ...]
    records: tuple[Incarnation, ...]


class State(NamedTuple):
    instances: tuple[Instance, ...]
    signed: int
    replaced: int  # budgets that are left
    copies: int


@dataclass(frozen=True)
class Protocol:
    """Sizes, budgets, and rules that may be taken away."""

    nodes: int
    replaced: int = 0  # machines that get an empty store while the old one lives
    copies: int = 0  # stores that are copied and started a second time, with strict_start
    victims: tuple[int, ...] = (0,)
    # "two": two empty machines stand for member 0, whose old one is gone; "after": member 0 was
    # replaced already
    begins: str = ""
    values: int = 2
    proposers: tuple[int, ...] = ()
    refuses_promises: bool = True
    refuses_accepts: bool = True
    records_first: bool = True  # durable before the answer
    learns: bool = True  # a reader takes over what the others know of third members
    agree: bool = True  # a real answer counts once it knows the others that count
    nonce_decides: bool = True
    starts_claim: bool = True  # strict_start takes an incarnation


@cache
def verdict(recorded: Incarnation, borne: Incarnation, nonce_decides: bool) -> Verdict:
    if not nonce_decides and recorded.number == borne.number:
        return Verdict.TAKE
    return judge(recorded, borne)


class Model:
    def __init__(self, protocol: Protocol) -> None:
        self.p = protocol
        self.quorum = protocol.nodes // 2 + 1
        self.values = [(0, value) for value in range(1, protocol.values + 1)]
        self.none = (-1,) * len(self.values)
        self.unknown = (FIRST,) * protocol.nodes
        self.names = [str(number) for number in range(protocol.nodes)]

    def first(self) -> State:
        instances = tuple(
            Instance(member, FIRST, NOTHING, NORMAL, self.none, (), self.unknown) for member in range(self.p.nodes)
        )
        if self.p.begins == "two":
            fresh = Instance(0, None, NOTHING, LOST, self.none, (), self.unknown)
            instances = (*instances[1:], fresh, fresh)
        if self.p.begins == "after":
            taken = Incarnation(1, 1)
            known = (taken, *self.unknown[1:])
            new = Instance(0, taken, NOTHING, NORMAL, self.none, (), self.unknown)
            instances = (instances[0], *(one._replace(records=known) for one in instances[1:]), new)
        return State(instances, 0, self.p.replaced, self.p.copies)

    def broken(self, state: Hashable) -> bool:
        assert isinstance(state, State)
        return state.signed.bit_count() > 1

    def put(self, state: State, number: int, instance: Instance) -> State:
        instances = (*state.instances[:number], instance, *state.instances[number + 1 :])
        return state._replace(instances=instances)

    def successors(self, state: Hashable) -> Iterator[Step]:
        assert isinstance(state, State)
        for number, one in enumerate(state.instances):
            name = f"{one.member}{'abcdefg'[self.nth(state, number)]}"
            if one.mode == NORMAL:
                yield from self.proposals(state, number, one, name)
                yield from self.accepted(state, number, one, name)
                yield from self.faults(state, number, one, name)
            elif one.incarnation is None:
                yield from self.claims(state, number, one, name)
            else:
                yield from self.reads(state, number, one, name)
            if not self.p.records_first:
                yield from self.hears(state, number, one, name)

    def nth(self, state: State, number: int) -> int:
        return sum(one.member == state.instances[number].member for one in state.instances[:number])

    # --- rule 15 at whoever hears ---

    def takes(self, hearer: Instance, speaker: Instance, refuses: bool) -> Instance | None:
        """The hearer after it heard the speaker; None: it refuses."""
        assert speaker.incarnation is not None
        recorded = hearer.records[speaker.member]
        match verdict(recorded, speaker.incarnation, self.p.nonce_decides):
            case Verdict.TAKE:
                return hearer
            case Verdict.RECORD:
                return self.recorded(hearer, speaker.member, speaker.incarnation)
            case _:
                return None if refuses else hearer

    @staticmethod
    def recorded(hearer: Instance, member: int, incarnation: Incarnation) -> Instance:
        records = tuple(max(one, incarnation) if n == member else one for n, one in enumerate(hearer.records))
        return hearer._replace(records=records)

    # --- promises ---

    def proposals(self, state: State, me: int, one: Instance, name: str) -> Iterator[Step]:
        if self.p.proposers and one.member not in self.p.proposers:
            return
        for number, (slot, value) in enumerate(self.values):
            if one.counted[number] >= 0:
                continue
            if accepts(one.mark, slot, value):
                after = self.count(one._replace(mark=(slot, value)), number, 1 << one.member)
                yield f"{name} proposes {value}", self.signs(self.put(state, me, after), after)
            elif one.mark[0] >= slot:
                yield f"{name} proposes {value}, not counting itself", self.put(state, me, self.count(one, number, 0))

    @staticmethod
    def count(one: Instance, number: int, members: int) -> Instance:
        return one._replace(counted=(*one.counted[:number], members, *one.counted[number + 1 :]))

    def signs(self, state: State, proposer: Instance) -> State:
        won = sum(
            1 << n for n, members in enumerate(proposer.counted) if members > 0 and members.bit_count() >= self.quorum
        )
        return state._replace(signed=state.signed | won)

    def accepted(self, state: State, proposer: int, one: Instance, name: str) -> Iterator[Step]:
        for number, members in enumerate(one.counted):
            if members < 0:
                continue
            slot, value = self.values[number]
            for other, hearer in enumerate(state.instances):
                if hearer.member == one.member or hearer.mode != NORMAL or members >> hearer.member & 1:
                    continue
                heard = self.takes(hearer, one, self.p.refuses_promises)
                if heard is None or not accepts(heard.mark, slot, value):
                    continue
                heard = heard._replace(mark=(slot, value))
                after = self.put(state, other, heard)
                what = f"{heard.member}{'abcdefg'[self.nth(state, other)]} accepts {value} for {name}"
                if heard != hearer:
                    yield what + ", the answer is lost", after
                counter = self.takes(one, heard, self.p.refuses_accepts)
                if counter is not None:
                    counter = self.count(counter, number, members | 1 << heard.member)
                    yield what, self.signs(self.put(after, proposer, counter), counter)

    # --- faults ---

    def faults(self, state: State, me: int, one: Instance, name: str) -> Iterator[Step]:
        if one.member not in self.p.victims:
            return
        if state.replaced:
            fresh = Instance(one.member, None, NOTHING, LOST, self.none, (), self.unknown)
            yield (
                f"{one.member} is REPLACED, {name} lives on",
                state._replace(instances=(*state.instances, fresh), replaced=state.replaced - 1),
            )
        if state.copies:
            borne = None if self.p.starts_claim else one.incarnation
            copy = one._replace(incarnation=borne, mode=STARTING, counted=self.none, read=())
            yield (
                f"{name} is COPIED, and the copy started",
                state._replace(instances=(*state.instances, copy), copies=state.copies - 1),
            )

    # --- a store takes another's place ---

    def claims(self, state: State, me: int, one: Instance, name: str) -> Iterator[Step]:
        """It has heard one process of each other member; the nonce may be higher or
        lower than another's.
        """
        others = [
            {each.records[one.member] for each in state.instances if each.member == member}
            for member in range(self.p.nodes)
            if member != one.member
        ]
        for known in {max((*heard, one.records[one.member])) for heard in itertools.product(*others)}:
            incarnation = next_incarnation([known], 1 + me)
            claimed = one._replace(incarnation=incarnation)
            yield f"{name} takes {incarnation.number}", self.put(state, me, claimed)

    def hears(self, state: State, me: int, one: Instance, name: str) -> Iterator[Step]:
        """What was not recorded with the answer may be at any later time."""
        for other in state.instances:
            if other.member == one.member or other.incarnation is None:
                continue
            heard = self.takes(one, other, refuses=True)
            if heard not in (None, one):
                assert heard is not None
                yield f"{name} records {other.member} as {other.incarnation.number}", self.put(state, me, heard)

    def reads(self, state: State, me: int, one: Instance, name: str) -> Iterator[Step]:
        assert one.incarnation is not None
        for number, asked in enumerate(state.instances):
            if asked.member == one.member or asked.incarnation is None or (one.mode == LOST and asked.mode == STARTING):
                continue
            answerer = self.takes(asked, one, refuses=True) if self.p.records_first else asked
            if answerer is None:
                continue
            reader = self.takes(one, asked, self.p.refuses_accepts)
            if reader is None:
                continue
            mark = None if answerer.mode == LOST else answerer.mark
            if self.p.learns:
                known = zip(reader.records, answerer.records, strict=True)
                reader = reader._replace(
                    records=tuple(
                        max(pair) if member not in (one.member, asked.member) else pair[0]
                        for member, pair in enumerate(known)
                    )
                )
            read = Read(asked.member, asked.incarnation, mark, answerer.records)
            if read in reader.read:
                continue
            if mark is None and any(was.member == asked.member and was.mark is not None for was in reader.read):
                continue
            kept = tuple(was for was in reader.read if was.member != asked.member)
            reader = reader._replace(read=(*kept, read))
            after = self.put(self.put(state, number, answerer), me, reader)
            yield f"{name} reads {mark} from {asked.member}{'abcdefg'[self.nth(state, number)]}", after
        if self.has_read(one):
            marks = tuple(read.mark for read in one.read if read.mark is not None)
            signed = tuple(value for n, value in enumerate(self.values) if state.signed >> n & 1)
            mark = recovered(one.mark, marks, one.mode == STARTING, signed)
            yield f"{name} is complete at {mark}", self.put(state, me, one._replace(mark=mark, mode=NORMAL, read=()))

    def has_read(self, one: Instance) -> bool:
        assert one.incarnation is not None
        answers = {
            self.names[read.member]: Answer(
                order, read.mark is not None, read.incarnation, dict(zip(self.names, read.knows, strict=True))
            )
            for order, read in enumerate(one.read)
        }
        if len(answers) < self.p.nodes - 1:
            return False
        if not (self.p.records_first and self.p.nonce_decides):
            return may_end(self.p.nodes, answers)
        if not (self.p.agree and self.p.learns):
            return may_end(self.p.nodes, self.without_agreement(one, answers))
        records = {
            name: record for name, record in zip(self.names, one.records, strict=True) if name != str(one.member)
        }
        return may_end(self.p.nodes, counting(str(one.member), one.incarnation, records, answers))

    def without_agreement(self, one: Instance, answers: dict[str, Answer]) -> dict[str, Answer]:
        """What is recorded of the answerer, and that it recorded the reader, is looked
        at all the same.
        """
        return {
            name: answer
            for name, answer in answers.items()
            if answer.incarnation >= one.records[int(name)] and answer.known(str(one.member)) == one.incarnation
        }

    def canonical(self, state: Hashable) -> Hashable:
        """The same but for the names of the two values, and of the members that are no victims."""
        assert isinstance(state, State)
        free = [member for member in range(self.p.nodes) if member not in (*self.p.victims, *self.p.proposers)]
        best: tuple[object, ...] | None = None
        for order in itertools.permutations(free):
            place = {**{member: member for member in range(self.p.nodes)}, **dict(zip(free, order, strict=True))}
            for swap in (False, True) if self.p.values == 2 else (False,):
                renamed = self.renamed(state, place, swap)
                best = renamed if best is None or renamed < best else best
        return best

    def renamed(self, state: State, place: dict[int, int], swap: bool) -> tuple[object, ...]:
        back = {new: old for old, new in place.items()}

        def value(mark: Mark | None) -> Mark:
            if mark is None:
                return (-9, 0)
            return (mark[0], 3 - mark[1]) if swap and mark[1] else mark

        def members(mask: int) -> int:
            return mask if mask < 0 else sum(1 << place[old] for old in range(self.p.nodes) if mask >> old & 1)

        def by_member(records: tuple[Incarnation, ...]) -> tuple[Incarnation, ...]:
            return tuple(records[back[new]] for new in range(self.p.nodes))

        def rename(one: Instance) -> tuple[object, ...]:
            counted = one.counted[::-1] if swap else one.counted
            return (
                place[one.member],
                one.incarnation or (-1, 0),
                value(one.mark),
                one.mode,
                tuple(members(mask) for mask in counted),
                tuple((place[r.member], r.incarnation, value(r.mark), by_member(r.knows)) for r in one.read),
                by_member(one.records),
            )

        instances = tuple(sorted(map(rename, state.instances)))  # type: ignore[type-var]
        signed = state.signed
        if swap:
            signed = (signed & 1) << 1 | signed >> 1
        return (instances, signed, *state[2:])


def walk(protocol: Protocol, steps: tuple[str, ...]) -> tuple[bool, str]:
    """Go these ways only: whether two byte strings are signed at the end, and the first step that
    cannot be gone ("": all can).
    """
    model = Model(protocol)
    state: Hashable = model.first()
    for step in steps:
        found = dict(model.successors(state))
        if step not in found:
            return model.broken(state), step
        state = found[step]
    return model.broken(state), ""


def check(protocol: Protocol, limit: int = 0) -> Result:
    model = Model(protocol)
    return explore(model.first(), model.successors, model.broken, canonical=model.canonical, limit=limit)
