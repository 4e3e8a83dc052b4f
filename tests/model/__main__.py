"""`python -m tests.model`: every model with what is expected of it.

Exits non-zero when one turns out otherwise.

`--quick`: those that take seconds. `--write` puts the table into docs/SAFETY.md.
"""

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.model import birth, epoch, incarnations, liar_birth, promises, rogue, terms
from tests.model.explore import Result
from tests.model.promises import Protocol

MARKERS = ("<!-- models: begin -->", "<!-- models: end -->")


@dataclass(frozen=True)
class Case:
    name: str
    rule: str  # the rule that is away; "" for the protocol as it is
    run: Callable[[], Result]
    quick: bool = True

    @property
    def expected(self) -> bool:
        """Whether it must hold."""
        return not self.rule


def p(limit: int = 0, **arguments: object) -> Callable[[], Result]:
    return lambda: promises.check(Protocol(**arguments), limit)  # type: ignore[arg-type]


def i(**arguments: object) -> Callable[[], Result]:
    return lambda: incarnations.check(incarnations.Protocol(**arguments))  # type: ignore[arg-type]


CASES = (
    Case("promises: 2 nodes, 1 loss, 1 crash", "", p(nodes=2, slots=1, losses=1, crashes=1)),
    Case("promises: 2 nodes, 2 places, 1 loss", "", p(nodes=2, slots=2, losses=1)),
    Case("promises: 3 nodes, 2 crashes", "", p(nodes=3, slots=1, crashes=2)),
    Case("promises: 3 nodes, 1 loss", "", p(nodes=3, slots=1, losses=1)),
    Case("promises: 3 nodes, 2 losses, 1 crash", "", p(nodes=3, slots=1, losses=2, crashes=1), quick=False),
    Case("promises: 3 nodes, 2 places, 1 crash, 2 proposers", "", p(nodes=3, slots=2, crashes=1, proposers=(0, 1)), quick=False),
    Case("promises: 3 nodes, 1 old store (strict)", "", p(nodes=3, slots=1, rollbacks=1, start_read=True), quick=False),
    Case("promises: 3 nodes, 1 old store, 1 crash (strict)", "", p(nodes=3, slots=1, rollbacks=1, crashes=1, start_read=True), quick=False),
    Case(
        "promises: 5 nodes, 1 loss, 2 proposers, 200,000 states",
        "",
        p(200_000, nodes=5, slots=1, losses=1, proposers=(0, 4)),
        quick=False,
    ),
    Case("promises: asked before the own sync, 2 nodes, 1 loss, 1 crash", "", p(nodes=2, slots=1, losses=1, crashes=1, asks_first=True)),
    Case("promises: asked before the own sync, 3 nodes, 1 loss", "", p(nodes=3, slots=1, losses=1, asks_first=True)),
    Case("promises: asked before the own sync, 3 nodes, 1 loss, 1 crash", "", p(nodes=3, slots=1, losses=1, crashes=1, asks_first=True), quick=False),
    Case("promises: asked before the own sync, 3 nodes, 2 losses, 2 proposers", "", p(nodes=3, slots=1, losses=2, asks_first=True, proposers=(0, 1)), quick=False),
    Case("promises: asked before the own sync, 3 nodes, 2 places, 1 crash, 2 proposers", "", p(nodes=3, slots=2, crashes=1, asks_first=True, proposers=(0, 1)), quick=False),
    Case("promises: asked before the own sync, 3 nodes, 1 old store (strict)", "", p(nodes=3, slots=1, rollbacks=1, start_read=True, asks_first=True), quick=False),
    Case("promises: asked before the own sync, 5 nodes, 1 loss, 2 proposers, 200,000 states", "", p(200_000, nodes=5, slots=1, losses=1, asks_first=True, proposers=(0, 4)), quick=False),
    Case("birth: 3 nodes", "", lambda: birth.check(3, 0)),
    Case("birth: 3 nodes, 1 loss", "", lambda: birth.check(3, 1), quick=False),
    Case("birth: 2 nodes, 1 loss", "", lambda: birth.check(2, 1)),
    Case("birth: 3 nodes, a liar beside them, then an honest one with nothing", "", lambda: liar_birth.check("with nothing"), quick=False),
    Case("birth: 3 nodes, a liar beside them, then an honest one as it was", "", lambda: liar_birth.check("as it was"), quick=False),
    Case("birth: 3 nodes, a liar beside them, then an honest one that lost its store", "", lambda: liar_birth.check("without its store"), quick=False),
    Case("birth: 3 nodes, a liar beside them that was born, then an honest one of that birth", "", lambda: liar_birth.check("born"), quick=False),
    Case("epoch: a majority of 1, 2, 3, 4, 5 is sealed for one of two lists", "", lambda: worst(epoch.check(old) for old in (1, 2, 3, 4, 5)), quick=False),
    Case("epoch: a majority of 1, 2, 3 is sealed for one of two lists", "", lambda: worst(epoch.check(old) for old in (1, 2, 3))),
    Case("epoch: 2, 3, 4 nodes, one restart, one old store (strict)", "", lambda: worst(epoch.check(old, restarts=1, rollbacks=1) for old in (2, 3, 4)), quick=False),
    Case("epoch: 3 nodes, one old store (strict)", "", lambda: epoch.check(3, rollbacks=1)),
    Case("epoch: a member that has begun lost its store, and recovers", "", epoch.again),
    Case("incarnations: 2 nodes, 1 machine replaced while the old one lives on", "", i(nodes=2, replaced=1)),
    Case("incarnations: 3 nodes, 1 machine replaced while the old one lives on", "", i(nodes=3, replaced=1), quick=False),
    Case("incarnations: 3 nodes, a second one replaced after it, 2 proposers", "", i(nodes=3, replaced=1, victims=(1,), begins="after", proposers=(1, 2)), quick=False),
    Case("incarnations: 3 nodes, 2 machines begin at once for one member, 2 proposers", "", i(nodes=3, begins="two", proposers=(1, 2)), quick=False),
    Case("incarnations: 3 nodes, 1 store copied and started beside the first (strict)", "", i(nodes=3, copies=1), quick=False),
    Case("terms: 2 nodes, 4 candidacies, 2 lost journals", "", lambda: terms.check(2, stands=4, losses=2)),
    Case("terms: 3 nodes, 3 candidacies, 2 lost journals", "", lambda: terms.check(3, stands=3, losses=2), quick=False),
    Case("terms: 3 nodes, 2 candidacies, 2 lost journals, 1 restart", "", lambda: terms.check(3, stands=2, losses=2, restarts=1)),
    Case("rogue: 3 nodes, one of them malicious, then gone and back", "", rogue.check),
    Case("held bytes are replaced", "1", p(nodes=3, slots=1, write_once=False)),
    Case("a lower place is promised again", "1", p(nodes=3, slots=2, crashes=1, monotone=False)),
    Case("answers to a process whose store was lost are counted", "2", p(nodes=3, slots=1, losses=1, new_process=False)),
    Case("not self first", "4", p(nodes=3, slots=1, losses=1, self_first=False)),
    Case("marks are answered before the own sync is done", "4", p(nodes=3, slots=1, losses=1, asks_first=True, silent_writing=False)),
    Case("accepts are counted before the own sync is done", "4", p(nodes=3, slots=1, losses=1, crashes=1, asks_first=True, counts_after=False)),
    Case("a recovering node answers reads", "7", p(nodes=3, slots=1, losses=2, amnesic_answer=True)),
    Case("recovery takes nothing from what it read", "7", p(nodes=3, slots=1, losses=1, takes=False)),
    Case("bytes read are adopted, not burnt", "7", p(nodes=3, slots=2, losses=1, burn=False), quick=False),
    Case(
        "recovery of 5 reads a majority only",
        "7",
        p(nodes=5, slots=1, losses=1, read_all=False, proposers=(0, 4)),
        quick=False,
    ),
    Case("an old store is put back, no read at start", "8", p(nodes=3, slots=1, rollbacks=1)),
    Case(
        "starting nodes answer recovering ones",
        "8",
        p(nodes=3, slots=1, rollbacks=1, losses=1, crashes=1, start_read=True, starting_answer_amnesic=True),
        quick=False,
    ),
    Case("promises of an earlier store's process are accepted", "15", i(nodes=3, replaced=1, refuses_promises=False)),
    Case("accepts of an earlier store's process are counted", "15", i(nodes=3, replaced=1, refuses_accepts=False)),
    Case("a read is answered before the reader is recorded", "15", i(nodes=3, replaced=1, records_first=False), quick=False),
    Case("a reader takes no records from those it reads", "15", i(nodes=3, replaced=1, victims=(1,), begins="after", learns=False, proposers=(1, 2)), quick=False),
    Case("two that begin at once have the same incarnation", "15", i(nodes=3, begins="two", nonce_decides=False, proposers=(1, 2)), quick=False),
    Case("strict_start takes no incarnation", "15", i(nodes=3, copies=1, starts_claim=False), quick=False),
    Case("an empty directory is a new node", "9", lambda: birth.check(3, 1, birth.ALONE)),
    Case("birth without nonces, promises at once", "9", lambda: birth.check(3, 1, birth.WITHOUT_NONCES, birth.when_born)),
    Case("promises before everybody was seen born", "9", lambda: birth.check(3, 1, promises=birth.when_born)),
    Case("who is born again takes any stores, and two of three are lost", "9", lambda: birth.check(3, 2, birth.ANY_STORES), quick=False),
    Case("a liar at birth: a node keeps to the record that it was born of", "9", lambda: liar_birth.check("with nothing", birth.FIXED)),
    Case("a liar at birth: one record without its nonce makes a node a recovering one", "9", lambda: liar_birth.check("with nothing", birth.LOST_BY_ONE_WORD)),
    Case("a liar at birth: any record with its nonce is a node's birth", "9", lambda: liar_birth.check("with nothing", birth.BY_ANY_RECORD)),
    Case("a liar at birth: one member's word completes a node", "9", lambda: liar_birth.check("with nothing", birth.BY_ONE_WORD), quick=False),
    Case("a liar at birth: what a node has shown it forgets", "9", lambda: liar_birth.check("as it was", birth.WITHOUT_MEMORY), quick=False),
    Case("an epoch begins from reads without seals", "10", lambda: epoch.check(3, sealing=False)),
    Case("an epoch begins from fewer seals than a majority", "10", lambda: epoch.check(3, seals=1, vouching=False)),
    Case("a seal serves any list of next members", "10", lambda: epoch.check(3, bound=False)),
    Case("seals are believed whatever was put back", "10", lambda: epoch.check(3, rollbacks=1, vouching=False)),
    Case("a member begins again in an epoch that it has begun", "10", lambda: epoch.again(refuses=False)),
    Case("rogue: an accept counts for whom it names", "3", lambda: rogue.check(in_own_name=False)),
    Case("rogue: one member's memory makes a node a recovering one", "8", lambda: rogue.check(majority_accuses=False)),
    Case("rogue: what one member's memory began goes on when it is gone", "8", lambda: rogue.check(while_there=False)),
    Case("rogue: a third member's incarnation is believed unsigned", "15", lambda: rogue.check(own_signature=False)),
    Case("rogue: every higher term is believed", "12", lambda: rogue.check(ceiling=False)),
    Case("terms do not belong to members, and a journal is lost", "12", lambda: terms.check(3, stands=2, losses=1, own_terms=False)),
    Case("a member without memory stands in the next term", "12", lambda: terms.check(2, stands=2, losses=2, leap=False)),
)  # fmt: skip


def worst(results: object) -> Result:
    """All of them hold, or the first that does not."""
    found = list(results)  # type: ignore[call-overload]
    failed = next((one for one in found if not one.holds), None)
    return failed or Result(sum(one.states for one in found), sum(one.seconds for one in found), True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.model")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--write", action="store_true")
    chosen = parser.parse_args()
    lines = ["| model, or what is taken away | rule | result | states | s |", "|---|---|---|---|---|"]
    wrong = 0
    for case in CASES:
        if chosen.quick and not case.quick:
            continue
        result = case.run()
        mark = "" if result.holds == case.expected else " **UNEXPECTED**"
        wrong += bool(mark)
        lines.append(
            f"| {case.name} | {case.rule or '—'} | {result}{mark} | {result.states:,} | {result.seconds:.0f} |"
        )
        print(lines[-1], flush=True)
        if mark and result.trace:
            print("\n".join(result.trace))
    if chosen.write:
        path = Path("docs/SAFETY.md")
        text = path.read_text()
        begin, end = (text.index(marker) for marker in MARKERS)
        path.write_text(text[: begin + len(MARKERS[0])] + "\n" + "\n".join(lines) + "\n" + text[end:])
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
