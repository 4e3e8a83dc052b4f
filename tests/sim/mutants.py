"""Each rule taken away in turn: the simulation must fail.

`python -m tests.sim.mutants` prints the table; --write puts it into docs/SAFETY.md.

A mutant that survives its seeds makes this program fail. Rules that random schedules rarely need
are taken away in the models instead (tests/model).

A guard of the C core is cut out of csrc and the rest is built anew (variants.py); the fast path
then serves what is plain in every seed.
"""

import argparse
import json
import multiprocessing
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

from cometkms.agent.asking import Action, Asking, Reply
from cometkms.agent.asking import Verdict as AnswerVerdict
from cometkms.errors import ProtocolError
from cometkms.limits import HEIGHT_MAX
from cometkms.model import Dialect, Kind, Message, Permit, Vote, Watermark
from cometkms.rules.birth import NodeState
from cometkms.rules.incarnation import Answer, Verdict
from cometkms.state import membership, proposer, reservations
from cometkms.state.acceptor import Acceptor
from cometkms.state.membership import Membership
from cometkms.state.node import ClusterNode
from cometkms.state.proposer import Proposer
from cometkms.state.raft import RaftLog, log
from cometkms.state.raft import filter as raft_filter
from cometkms.state.raft.filter import RaftFilter
from cometkms.state.raft.journal import Journal
from cometkms.store.promise_store import Header, PromiseStore
from tests.sim import ground, machine, signing, world
from tests.sim.agents import Agent
from tests.sim.disk import SimDisk
from tests.sim.ground import Violation
from tests.sim.rogue import RogueWorld
from tests.sim.variants import UNSENT, UNVERIFIED, Builder, Cut
from tests.sim.world import World

SEEDS = 600
SECONDS = 6.0
MARKERS = ("<!-- mutants: begin -->", "<!-- mutants: end -->")
REPLACING = {"replace": 3, "crash": 0.5, "signer": 0.5}
Patches = Iterator[Any]


@dataclass(frozen=True)
class Mutant:
    """`rollbacks`, `jumps`, `faults`: what the world must allow, or be busy with, for
    the rule to matter.

    `cuts`: what is taken out of the C core; the fast path then serves what is plain in every seed,
    else in every other one.
    """

    name: str
    rule: str
    patches: Callable[[], Patches] = lambda: iter(())
    cuts: tuple[Cut, ...] = ()
    rollbacks: bool = False
    strict: bool = False  # strict_start: an old copy that is put back is within the fault model
    nodes: int = 3
    jumps: float = 0.0
    faults: Mapping[str, float] = field(default_factory=lambda: dict(world.FAULTS))
    rogue: bool = False  # one member lies (rogue.py)
    lossy: bool = False  # in every seed, and not in every other one
    impatience: float | None = None  # of the validators' requests are given up soon
    changes: float = 0.0  # of runs with an epoch that ends
    first: int = 1  # the seeds begin here: for what chance rarely does


# --- what each mutant does ---


def no_sync() -> Patches:
    """An answer leaves before the write is durable."""
    yield patch.object(SimDisk, "fdatasync", lambda _self, _fd: None)


def minority() -> Patches:
    """One accept less than a majority is enough."""
    begin = Proposer.__init__

    def fewer(self: Proposer, **arguments: Any) -> None:
        begin(self, **arguments)
        self._quorum = max(1, self._quorum - 1)

    yield patch.object(Proposer, "__init__", fewer)


def counts_twice() -> Patches:
    """A member that does not hold the bytes counts itself."""

    class Counting(Proposer):
        def _pursue(self, place: proposer._Place) -> Any:
            outcome = super()._pursue(place)
            if outcome is None and place.candidate:
                place.accepted[place.candidate].add(self._me)
                place.accepted[place.candidate] |= set(place.asked)
            return outcome

    yield patch.object(reservations, "Proposer", Counting)


def not_self_first() -> Patches:
    """The proposer asks the others without its own durable promise, and counts them."""

    class NoSelf:
        def __init__(self, real: Any) -> None:
            self._real = real

        def mark(self, row: int) -> Watermark:
            return Watermark()

        def promise(self, *_: Any) -> None:
            return None

        def __getattr__(self, name: str) -> Any:
            return getattr(self._real, name)

    begin = Proposer.__init__

    def without(self: Proposer, **arguments: Any) -> None:
        begin(self, **arguments)
        if self._others:
            self._acceptor = NoSelf(self._acceptor)  # type: ignore[assignment]
            self._quorum -= 1  # it takes itself for granted

    yield patch.object(Proposer, "__init__", without)


def own_promise_later() -> Patches:
    """The proposer counts its own promise from when it began to write it; the write itself follows
    with its next place.
    """

    class Later:
        def __init__(self, real: Any) -> None:
            self._real = real
            self._written: list[Any] = []

        def mark(self, row: int) -> Watermark:
            return self._written[-1] if self._written else self._real.mark(row)

        def promise(self, row: int, hrs: Any, sign_bytes: bytes) -> None:
            if self._written:
                last = self._written.pop()
                self._real.promise(row, last.hrs, last.sign_bytes)
            self._written.append(Watermark(hrs, sign_bytes))

        def __getattr__(self, name: str) -> Any:
            return getattr(self._real, name)

    begin = Proposer.__init__

    def later(self: Proposer, **arguments: Any) -> None:
        begin(self, **arguments)
        if self._others:
            self._acceptor = Later(self._acceptor)  # type: ignore[assignment]

    yield patch.object(Proposer, "__init__", later)


def amnesia() -> Patches:
    """A node that lost its store counts at once."""
    begin = Membership.__init__

    def at_once(self: Membership, **arguments: Any) -> None:
        store = arguments["store"]
        if store.header.state is NodeState.RECOVERING:
            store.write_header(replace(store.header, state=NodeState.COMPLETE))
        begin(self, **arguments)
        if store.header.state is NodeState.COMPLETE:
            store.opened(0) or store.open_row(0)
            self._serve(on=True)

    yield patch.object(Membership, "__init__", at_once)


def one_is_enough() -> Patches:
    """A recovering node reads one other only."""

    def some(_members: int, answers: dict[str, Answer]) -> bool:
        return any(one.real for one in answers.values())

    begin = ClusterNode.start

    def heard_of_nobody(self: ClusterNode) -> None:
        """Nor does its incarnation wait for the rest."""
        self.membership._heard = set(self.membership._others)
        self.membership._claim()
        begin(self)

    yield patch.object(membership, "may_end", some)
    yield patch.object(ClusterNode, "start", heard_of_nobody)


def no_start_read() -> Patches:
    """A restarted node promises at once; old stores may have been put back."""
    begin = Membership.__init__

    def ready(self: Membership, **arguments: Any) -> None:
        begin(self, **arguments)
        self._serve(on=self.state is NodeState.COMPLETE)

    yield patch.object(Membership, "__init__", ready)
    yield patch.object(Membership, "on_remembered", lambda *_: None)


def signs_its_own() -> Patches:
    """The signer signs what was asked, not what was permitted."""

    class Own(signing.ChainSigner):
        def on_permit(self, granted: Any) -> None:
            reserving = self._reserving
            if reserving is not None:
                granted = replace(granted, permit=Permit(reserving.asked.request.sign_bytes))
            super().on_permit(granted)

    yield patch.object(signing, "ChainSigner", Own)


def terms_of_everybody() -> Patches:
    """Members stand in whatever term comes next, and whoever stands or leads is believed."""
    yield patch.object(RaftLog, "_take_own_term", lambda _self: None)
    yield patch.object(raft_filter, "unbelieved", lambda *_: "")


def no_leap() -> Patches:
    """A node that lost its journal goes on counting terms from what it sees."""
    yield patch.object(log, "_LEAP_BITS", 1)


def believes_old_journals() -> Patches:
    """A store that takes the place of an earlier one goes on with the terms of the
    journal beside it.
    """
    yield patch.object(Journal, "doubt", lambda _self: None)


def waits_for_all() -> Patches:
    """A node that lost its journal votes when it has led, that is: when the others can
    do without its vote.
    """

    def may_vote(self: Membership) -> bool:
        return self.ready and not self._ports.settle_raft.__self__.leadership.raft.journal.pending  # type: ignore[attr-defined]

    yield patch.object(Membership, "raft_may_vote", property(may_vote))


def no_vote_without_a_leader() -> Patches:
    """A vote is refused for ten election timeouts after a leader was heard, and its closed
    connection does not free it.
    """
    begin = RaftFilter.__init__

    def sticky(self: RaftFilter, journal: Any, clock: Any, sticky_s: float, *rest: Any) -> None:
        begin(self, journal, clock, sticky_s * 20, *rest)

    yield patch.object(RaftFilter, "__init__", sticky)
    yield patch.object(RaftFilter, "leader_gone", lambda _self: None)


def silent_election() -> Patches:
    """Nobody says why nothing is signed while no node leads."""
    yield patch.object(ClusterNode, "why", property(lambda self: self.membership.why))


def every_store_counts() -> Patches:
    """What bears a lower incarnation is taken like any other."""
    real = membership.judge

    def lenient(recorded: Any, borne: Any, *more: Any) -> Verdict:
        found = real(recorded, borne, *more)
        return Verdict.TAKE if found is Verdict.REFUSE else found

    yield patch.object(membership, "judge", lenient)
    yield patch.object(Membership, "_on_own_record", lambda *_: None)
    yield patch.object(Membership, "check_bears", lambda *_: None)
    yield patch.object(Membership, "is_current", lambda *_: True)
    yield patch.object(machine.Node, "disconnect", lambda *_: None)


def incarnations_in_memory() -> Patches:
    """What is recorded of a member is forgotten with the process."""
    yield patch.object(PromiseStore, "_load_members", lambda _self: None)


def seals_who_met_nobody() -> Patches:
    """A store that the operator recovered is sealed before it took its incarnation: of an earlier
    store, by what the others have recorded.
    """
    yield patch.object(Header, "unmet", property(lambda _self: False))


def any_height() -> Patches:
    """Whatever height is asked for is plausible."""
    yield patch.object(Acceptor, "reach", lambda _self, _row: HEIGHT_MAX)


def believes_any_raft() -> Patches:
    """Any term and any index is believed, of anybody."""
    yield patch.object(raft_filter, "unbelieved", lambda *_: "")


def one_accuser_is_enough() -> Patches:
    """One member's memory makes a node one that lost its promises."""
    real = Membership.on_remembered

    def alone(self: Membership, member: str, remembered: int) -> None:
        known = self.own() is not None and self.state is NodeState.COMPLETE
        if known and remembered > self._store.seq:
            self._accusers = dict.fromkeys(self._others, remembered)
        real(self, member, remembered)

    yield patch.object(Membership, "on_remembered", alone)


def any_answer_will_do() -> Patches:
    def believe(self: Agent, answer: Any) -> tuple[AnswerVerdict, object]:
        try:
            vote = ground.CORE.decode_message(Dialect.PROTO, answer).vote
        except ProtocolError:
            return AnswerVerdict.WRONG, b""
        return (AnswerVerdict.SIGNED if vote is not None and vote.signature else AnswerVerdict.REFUSED), answer

    yield patch.object(Agent, "check", believe)


def only_the_signature_counts() -> Patches:
    real = Agent.check

    def lenient(self: Agent, answer: Any) -> tuple[AnswerVerdict, object]:
        found = real(self, answer)
        try:
            told = ground.CORE.decode_message(Dialect.PROTO, answer).vote
        except ProtocolError:
            return found
        if told is None:
            return found
        vote = Vote(told.type, told.height, told.round, told.block_id, told.timestamp)
        request = ground.CORE.check_request(
            Dialect.PROTO, ground.CHAIN, Message(Kind.SIGN_VOTE_REQUEST, ground.CHAIN, vote=vote)
        )
        signed = ground.CORE.verify(ground.ROW.public_key, request.sign_bytes, told.signature)
        return (AnswerVerdict.SIGNED, answer) if signed else found

    yield patch.object(Agent, "check", lenient)


def one_node_only() -> Patches:
    real = Asking._order
    yield patch.object(Asking, "_order", lambda self: real(self)[:1])
    yield patch.object(Asking, "on_time", lambda self, now: [])


def answers_to_what_is_over() -> Patches:
    real = Asking.on_answer

    def late(self: Asking, node: str, seq: int, answer: object, now: float) -> list[Action]:
        pending = self._pending
        return real(self, node, pending.seq, answer, now) if pending else [Reply(answer, node, 0)]

    yield patch.object(Asking, "on_answer", late)


MUTANTS = (
    Mutant("answered before the sync", "2", no_sync),
    Mutant("one accept less than a majority", "3", minority),
    Mutant("members count before they accepted", "3", counts_twice),
    Mutant("not self first", "4", not_self_first),
    Mutant("the own promise counts before its sync", "4", own_promise_later),
    Mutant("a node that lost its store counts at once", "7", amnesia),
    Mutant("recovery reads one other only", "7", one_is_enough),
    Mutant("no read at start, old stores put back", "8", no_start_read, rollbacks=True),
    Mutant("what an earlier store of a member sends is taken", "15", every_store_counts, faults=REPLACING),
    Mutant("the others' incarnations are forgotten with the process", "15", incarnations_in_memory, faults=REPLACING),
    Mutant(
        "a recovered store is sealed before it met anybody",
        "10",
        seals_who_met_nobody,
        nodes=2,
        changes=1.0,
        first=95000587,
    ),
    Mutant("the signer signs what was asked, not what was permitted", "3", signs_its_own),
    Mutant("terms do not belong to members", "12", terms_of_everybody),
    Mutant("a node that lost its Raft journal goes on counting terms", "12", no_leap, nodes=2),
    Mutant("an old copy's Raft journal is believed", "12", believes_old_journals, strict=True),
    Mutant("a node that lost its Raft journal votes later", "12", waits_for_all),
    Mutant("votes stay bound to a leader that is gone", "12", no_vote_without_a_leader),
    Mutant("no reason is shown while nobody leads", "12", silent_election),
    Mutant("one malicious member, and any term and index is believed", "12", believes_any_raft, rogue=True),
    Mutant(
        "one malicious member, and its memory alone makes a node recovering", "8", one_accuser_is_enough, rogue=True
    ),
    Mutant("any height is plausible", "13", any_height, jumps=0.1),
    Mutant("an agent passes on what it did not check", "agents", any_answer_will_do),
    Mutant("an agent passes on any vote that its validator's key signed", "agents", only_the_signature_counts),
    Mutant("an agent waits for the first node that it asked", "agents", one_node_only),
    Mutant("an agent takes answers to requests that are over", "agents", answers_to_what_is_over),
    # --- the fast path ---
    Mutant(
        "in C, a place at or below the mark is plain",
        "1",
        cuts=(Cut("store.c", "row->open && ck_above(at, row->mark) && ck_above(at, row->floor)", "row->open"),),
    ),
    Mutant("in C, any height is plausible", "13", cuts=(Cut("store.c", " && at.height <= row->reach", ""),), jumps=0.1),
    Mutant(
        "in C, answered before the sync",
        "2",
        cuts=(Cut("store.c", "if (calls->fdatasync(store->fd) != 0) return disk_failed(store, errno);", ""),),
    ),
    Mutant(
        "in C, a sync that failed counts",
        "2",
        cuts=(
            Cut(
                "store.c",
                "if (calls->fdatasync(store->fd) != 0) return disk_failed(store, errno);",
                "(void)calls->fdatasync(store->fd);",
            ),
        ),
    ),
    Mutant(
        "in C, one accept less than a majority",
        "3",
        cuts=(Cut("hot.c", "place->accepted >= hot->quorum", "place->accepted + 1 >= hot->quorum"),),
        nodes=5,
    ),
    Mutant(
        "in C, no accept is waited for",
        "3",
        cuts=(
            Cut(
                "hot.c",
                "if (hot->quorum == 1) CK_TRY(permit(hot, pending->row[n]));",
                "CK_TRY(permit(hot, pending->row[n]));",
            ),
        ),
    ),
    Mutant(
        "in C, an accept of an earlier place, or a second one, counts",
        "3",
        cuts=(Cut("hot.c", " || place->asked[lane->member] != request_id", ""),),
        lossy=True,
    ),
    Mutant(
        "in C, a node promises before it has read the others, old stores put back",
        "8",
        cuts=(
            Cut(
                "hot.c",
                "(may & CK_MAY_PROMISE) && ck_unpack_byte(&body, TAG_PROMISE)",
                "ck_unpack_byte(&body, TAG_PROMISE)",
            ),
            Cut("store.c", "row->open && ck_above(at, row->mark)", "ck_above(at, row->mark)"),
        ),
        rollbacks=True,
    ),
    Mutant(
        "in C, requests overtake what a socket did not take",
        "order",
        cuts=(Cut("hot.c", " || any_blocked(hot)", ""),),
        lossy=True,
    ),
    Mutant(
        "in C, the signer signs what was asked, not what was permitted",
        "3",
        cuts=(
            Cut(
                "sign.c",
                "section->slot, permit.bytes, permit.bytes_len, signature",
                "section->slot, link->session->request.sign_bytes, link->session->request.sign_bytes_len, signature",
            ),
        ),
    ),
    Mutant(
        "in C, the sign rule lets everything pass",
        "sign",
        cuts=(Cut("sign.c", "return ck_above(at, section->last);", "return at.height > 0;"),),
    ),
    Mutant(
        "in C, any permit is for whatever was asked",
        "3",
        cuts=(
            Cut("sign.c", " || section->request_id != permit.request_id", ""),
            Cut("session.c", "s->request.sign_bytes_len > 0 &&", "s->request.sign_bytes_len > 0; (void)"),
        ),
        impatience=0.5,
    ),
    # --- the agents' part of it, at both ends ---
    Mutant(
        "in C, an agent passes on what it did not verify",
        "agents",
        cuts=(UNVERIFIED,),
    ),
    Mutant(
        "in C, what a link's socket does not take is lost",
        "order",
        cuts=(UNSENT,),
        lossy=True,
    ),
)


@contextmanager
def applied(mutant: Mutant) -> Iterator[None]:
    """The rule is away inside."""
    with ExitStack() as stack:
        for one in mutant.patches():
            stack.enter_context(one)
        yield


def killed_by(number: int) -> tuple[int, str] | None:
    """Seed and what failed, or None: it survived."""
    mutant = MUTANTS[number]
    with applied(mutant), patch.dict(world.FAULTS, mutant.faults, clear=True):
        for seed in range(mutant.first, mutant.first + SEEDS):
            fast = True if mutant.cuts else None
            made = RogueWorld(seed, fast=fast) if mutant.rogue else World(seed, mutant.nodes, fast=fast)
            made.strict, made.rollbacks, made.changes = mutant.strict, mutant.rollbacks, mutant.changes
            made.jumps, made.lossy = mutant.jumps, made.lossy or mutant.lossy
            made.impatience = made.impatience if mutant.impatience is None else mutant.impatience
            try:
                made.run(SECONDS)
            except Violation as error:
                return seed, str(error).split(":")[0].split(" at (")[0]
            except (AttributeError, NameError, TypeError):
                raise  # the mutant does not fit the code any more, and shows nothing
            except Exception as error:  # noqa: BLE001 - the code's own alarm counts as noticing
                return seed, f"{type(error).__name__}"
    return None


def judged(job: tuple[int, Path | None]) -> tuple[int, tuple[int, str] | None]:
    """The mutant's number, and what killed_by() says of it; a variant of the C core runs in a
    process of its own.
    """
    number, extension = job
    if extension is None:
        return number, killed_by(number)
    command = [sys.executable, "-m", "tests.sim.variants", extension, str(number)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode < 0:
        return number, (0, f"the process ended by signal {-done.returncode}")
    if done.returncode > 0:
        raise RuntimeError(done.stderr)
    found = json.loads(done.stdout.splitlines()[-1])
    return number, (found[0], found[1]) if found is not None else None


def table(chosen: Sequence[int], directory: Path) -> list[tuple[Mutant, int | None, str]]:
    """Each mutant with the first seed that noticed it, or None, and how."""
    builder = Builder(directory)
    jobs = [
        (number, builder.build(str(number), MUTANTS[number].cuts) if MUTANTS[number].cuts else None)
        for number in chosen
    ]
    rows: dict[int, tuple[Mutant, int | None, str]] = {}
    with multiprocessing.Pool(2, maxtasksperchild=1) as pool:
        for number, kill in pool.imap_unordered(judged, jobs, chunksize=1):
            rows[number] = (MUTANTS[number], *(kill or (None, "survived")))
            print(f"{MUTANTS[number].name}: {rows[number][1:]}", file=sys.stderr, flush=True)
    return [rows[number] for number in chosen]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.sim.mutants")
    parser.add_argument("--write", action="store_true", help="put the table into docs/SAFETY.md")
    parser.add_argument("--only", default="", help="those whose name contains this")
    chosen = parser.parse_args()
    if chosen.write and chosen.only:
        parser.error("--write is for the whole table")
    numbers = [number for number, mutant in enumerate(MUTANTS) if chosen.only in mutant.name]
    with tempfile.TemporaryDirectory(prefix="cmkms-variants-") as directory:
        rows = table(numbers, Path(directory))
    lines = ["| what is taken away | rule | first seed that fails | how |", "|---|---|---|---|"]
    lines += [
        f"| {mutant.name} | {mutant.rule} | {seed if seed is not None else '—'} | {why} |" for mutant, seed, why in rows
    ]
    print("\n".join(lines))
    if chosen.write:
        path = Path("docs/SAFETY.md")
        text = path.read_text()
        begin, end = (text.index(marker) for marker in MARKERS)
        path.write_text(text[: begin + len(MARKERS[0])] + "\n" + "\n".join(lines) + "\n" + text[end:])
    return 1 if any(seed is None for _, seed, _ in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
