"""What an operator asks of a running node through its control socket: who leads, the seal, the
order to lead elsewhere.

The answers are documents. Who asks is on this machine and may open the socket; what is asked is
untrusted all the same.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from cometkms.board.dating import as_set_now
from cometkms.board.sections import SEALED_FOR_FACT, EventKind
from cometkms.config.facts import sealed_for_fact
from cometkms.config.schema import Settings
from cometkms.errors import StateError, StoreFailure
from cometkms.limits import DRILL_ANSWER_S, HEIGHT_MAX, SIGNATURE_PAGE_ENTRIES, TICK_S, TRANSFER_TIMEOUT_S
from cometkms.logger import Logger
from cometkms.rules.birth import NodeState
from cometkms.state.events import StateEvents
from cometkms.state.facts import refuse_other_list
from cometkms.state.history import NOBODY, SignatureRing
from cometkms.state.node import ClusterNode
from cometkms.state.report import StateReport
from cometkms.store.epoch import following_of, seal_text
from cometkms.wire.peer_messages import Action

# for the others' answers, asked again every half second; below the patience of who asks for the
# seal
_SEAL_WAIT_S: Final = 3.0


class OperatorDesk:
    """Answer one request of the control socket after the other, from the node and from what the
    report shows.
    """

    def __init__(
        self,
        *,
        settings: Settings,
        rows: tuple[int, ...],
        node: ClusterNode,
        ring: SignatureRing,
        report: StateReport,
        events: StateEvents,
        fail: Callable[[BaseException], None],
        publish_soon: Callable[[], None],
        log: Logger,
    ) -> None:
        """`rows`: the store's row of each configured chain; `fail`: ends the process, because a
        file could not be written.
        """
        self._settings = settings
        self._rows = rows
        self._node = node
        self._ring = ring
        self._report = report
        self._events = events
        self._fail = fail
        self._publish_soon = publish_soon
        self._log = log
        self._loop = asyncio.get_running_loop()

    async def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the answer to one request, which has `ok` and, where that is false,
        the reason in `error`.
        """
        match request.get("op"):
            case "peers":
                return {"ok": True, **{key: value for key, value in self._told().items() if key != "events"}}
            case "watch":
                return {"ok": True, **self._watch(request.get("since"))}
            case "leader_transfer":
                return await self._transfer(request.get("to"))
            case "seal":
                return await self._seal(request.get("next"), although=request.get("although") is True)
            case "reach" | "admit" as what:
                return self._reach(request.get("chain_id"), request.get("height") if what == "admit" else None)
            case "order":
                return await self._on_order(request.get("action"), request.get("to"))
            case other:
                return {"ok": False, "error": f"unknown operation {other!r}"}

    def _reach(self, chain_id: object, untrusted_height: object) -> dict[str, Any]:
        """How high a chain can plausibly have come by now (rule 13); with a height: after the
        operator said that it has come there.
        """
        ids = [chain.id for chain in self._settings.chains]
        if not isinstance(chain_id, str) or chain_id not in ids:
            return {"ok": False, "error": f"{chain_id!r} is no chain of this node; it has {', '.join(ids)}"}
        chain = ids.index(chain_id)
        row, acceptor = self._rows[chain], self._node.acceptor
        if untrusted_height is not None:
            if type(untrusted_height) is not int or not 0 < untrusted_height <= HEIGHT_MAX:
                return {"ok": False, "error": f"{untrusted_height!r} is no height"}
            if untrusted_height > acceptor.reach(row):
                acceptor.admit(row, untrusted_height)
                self._log.warning("height admitted", chain=chain_id, height=untrusted_height)
                self._events.add(EventKind.HEIGHT_ADMITTED, chain=chain_id, height=untrusted_height)
        return {
            "ok": True,
            "node_id": self._node.epoch.me,
            "reach": acceptor.reach(row),
            "mark": acceptor.mark(row).hrs.height,
            "signed": self._node.signed(chain).hrs.height,
            "quorum": self._node.epoch.quorum,
            "size": len(self._node.epoch.members),
        }

    async def _seal(self, untrusted_next: object, *, although: bool) -> dict[str, Any]:
        """This node's seal, as one line of text; the others hear for whom it is sealed.

        `although`: another member is sealed for another list, as the operator knows.

        A start read that is under way is waited for: a store that was compared vouches for more.
        """
        if not isinstance(untrusted_next, str):
            return {"ok": False, "error": "a seal names who follows: id,id,…"}
        until = self._loop.time() + _SEAL_WAIT_S
        while self._node.membership.reading and self._loop.time() < until:
            await asyncio.sleep(TICK_S)
        try:
            following = following_of(untrusted_next)
            if not although and self._node.membership.state is not NodeState.SEALED:
                members = self._node.roster.members
                refuse_other_list(self._node.epoch.me, following, {name: one.facts for name, one in members.items()})
            seal = self._node.seal(following)
            told = sealed_for_fact(following)
            if dict(self._node.roster.facts).get(SEALED_FOR_FACT) != told:
                self._node.roster.tell_fact(SEALED_FOR_FACT, told)
            return {"ok": True, "seal": seal_text(seal)}
        except StateError as error:
            return {"ok": False, "error": str(error)}
        except StoreFailure as error:
            self._fail(error)
            return {"ok": False, "error": str(error)}
        finally:
            self._publish_soon()

    async def _transfer(self, to: object) -> dict[str, Any]:
        """Wherever the leader is: it is asked, and the change is waited for here.

        Whoever leads next is asked when nobody did, or no longer.
        """
        node, started = self._node, self._loop.time()
        if to is not None and (not isinstance(to, str) or to not in node.epoch.members):
            return {"ok": False, "error": f"{to!r} is no member; the members are: {', '.join(node.epoch.members)}"}
        if to is not None and to == node.leader:
            return {"ok": True, "from": to, "to": to, "took_ms": 0.0}
        until = started + TRANSFER_TIMEOUT_S
        while True:
            before = await self._leader_besides(None, until)
            if before is None:
                return {"ok": False, "error": self._nobody_leads()}
            why = await self._order(Action.TRANSFER, to or "") if before != to else ""
            if not why:
                break
            if node.leader == before or self._loop.time() >= until:
                return {"ok": False, "error": why}
        after = before if before == to else await self._leader_besides(before, until)
        if after is None:
            return {
                "ok": False,
                "error": f"no other node took over within {TRANSFER_TIMEOUT_S:g} s; {before} may lead on",
            }
        return {"ok": True, "from": before, "to": after, "took_ms": round((self._loop.time() - started) * 1000, 1)}

    async def _leader_besides(self, known: str | None, until: float) -> str | None:
        """Who leads, as soon as that is somebody besides `known`; None when the time is over."""
        while (leader := self._node.leader) in (None, known) and self._loop.time() < until:
            await asyncio.sleep(TICK_S)
        return leader if leader != known else None

    async def _on_order(self, untrusted_action: object, to: object) -> dict[str, Any]:
        action = next((one for one in Action if one.name.lower() == untrusted_action), None)
        if action is None or not isinstance(to, str):
            return {"ok": False, "error": "an order is check, transfer or restart, and to whom"}
        leader = self._node.leader
        if action is Action.RESTART and leader == self._node.epoch.me:
            return {
                "ok": False,
                "error": f"{leader} leads and is asked here: another node's restart can be watched from it, not its own",
            }
        why = await self._order(action, to)
        return {"ok": True, "leader": leader, "why": why}

    async def _order(self, action: Action, to: str) -> str:
        """Send the order to the leader, wherever it is, and return "" or why not."""
        node, leader = self._node, self._node.leader
        if leader is None:
            return self._nobody_leads()
        if leader == node.epoch.me:
            return node.handover.drills.obey("the operator", action, to)
        answer: asyncio.Future[str] = self._loop.create_future()
        asked = node.handover.drills.ask(
            leader, action, to, lambda why: None if answer.done() else answer.set_result(why)
        )
        if not asked:
            return f"{leader} leads and is not connected"
        try:
            async with asyncio.timeout(DRILL_ANSWER_S):
                why = await answer
        except TimeoutError:
            return f"{leader} leads and did not answer within {DRILL_ANSWER_S:g} s"
        return f"{leader}: {why}" if why else ""

    def _nobody_leads(self) -> str:
        return f"nobody leads: {(self._node.why or 'a leader is being elected').removeprefix('nobody leads: ')}"

    def _told(self) -> Mapping[str, Any]:
        """What the status board has of this process, with its times as the clock is now."""
        section = self._report.document()
        board = as_set_now({"state": section, "signer": None, "supervisor": None}, time.time(), time.monotonic())
        return board["state"] or section

    def _watch(self, untrusted_since: object) -> dict[str, Any]:
        """What a drill polls: who leads, who is there, and the signatures learned of since the
        given number.
        """
        node = self._node
        since = untrusted_since if isinstance(untrusted_since, int) and untrusted_since >= 0 else self._ring.next
        members = node.epoch.members
        found = self._ring.since(since, SIGNATURE_PAGE_ENTRIES)
        return {
            "now": self._loop.time(),
            "node_id": node.epoch.me,
            "leader_id": node.leader,
            "term": node.leadership.term,
            "why": node.why,
            "chains": [chain.id for chain in self._settings.chains],
            "signed_at": [self._ring.newest_at(row) for row in self._rows],
            "members": [
                {key: one.get(key) for key in ("id", "self", "connected", "state", "connects")}
                for one in self._report.members({})
            ],
            "signatures": [
                [
                    one.number,
                    one.at,
                    self._rows.index(one.row),
                    *one.hrs,
                    members[one.by] if one.by != NOBODY else "",
                ]
                for one in found
                if one.row in self._rows
            ],
            "oldest": self._ring.oldest,
            "next": found[-1].number + 1 if found else self._ring.next,
        }
