"""The agent's process: wires validators, nodes and the decisions of agent/asking.py together, in
one loop without threads.

Never: holds a key but its own identity, writes a file but the public keys it was told, speaks HTTP
but to answer with its metrics.
"""

import asyncio
import itertools
import json
import os
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import uvloop

from cometkms import __version__
from cometkms.address import NoiseAddress
from cometkms.agent.asking import Action, Ask, Asking, Empty, Reply, Times, Verdict
from cometkms.agent.config import AgentSettings, ValidatorEntry
from cometkms.agent.metrics import serve_metrics
from cometkms.agent.node_link import NodeLink
from cometkms.agent.validator_end import ValidatorEnd
from cometkms.core import choose
from cometkms.core.interface import Core, NodeLane, Passed
from cometkms.durable import discarding
from cometkms.errors import CometKMSError, InvariantError, ProtocolError, os_words
from cometkms.ipc.notify import Notifier, take_notifier
from cometkms.keys.identity import load_identity
from cometkms.keytypes import type_of
from cometkms.limits import AGENT_ANSWER_S
from cometkms.log import Log
from cometkms.wire.agent_messages import AgentMessage, Answer, Hello, Lead, NotNow, ServedChain, shown
from cometkms.wire.agent_messages import Ask as AskMessage
from cometkms.wire.identity import Identity

PUBLIC_KEYS_NAME: Final = "public_keys.json"
_CHECK_S: Final = 1.0
_TURN_AFTER_S: Final = 1.0


def run(settings: AgentSettings, log: Log) -> int:
    """Serve until SIGTERM or Ctrl-C and return the exit code.

    Raises: CometKMSError when it cannot start.
    """
    notifier = take_notifier()
    core = choose.load()
    identity = load_identity(settings.home)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_live(settings, core, identity, log, notifier))


async def _live(settings: AgentSettings, core: Core, identity: Identity, log: Log, notifier: Notifier) -> int:
    loop = asyncio.get_running_loop()
    log.attach(lambda flush: loop.call_later(0.01, flush))
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    agent = Agent(settings, core, identity, log)
    server = await serve_metrics(settings.metrics_addr, agent.report) if settings.metrics_addr is not None else None
    log.info("agent started", name=settings.name, version=__version__, key=identity.public_key.hex(), core=core.name)
    tasks = [asyncio.create_task(one) for one in (*agent.lives(), _tell_manager(agent, notifier))]
    notifier.ready()
    loop.call_later(_TURN_AFTER_S, _come_first, log)
    try:
        await stop.wait()
    finally:
        notifier.stopping()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if server is not None:
            server.close()
        log.info("agent stopped")
        log.attach(None)
        log.flush(0.5)
    return 0


def _come_first(log: Log) -> None:
    """Ask for a scheduling class that comes first, like the signer's, since a validator waits.

    It is loaded late, because the first answer needs it less.
    """
    from cometkms.hardening.measures import Mode
    from cometkms.hardening.scheduling import Turn, take_turn

    turn = take_turn("agent", Mode.BEST_EFFORT, Turn.FIRST)
    log.info("scheduling", state=turn.state.value, why=turn.why)


async def _tell_manager(agent: "Agent", notifier: Notifier) -> None:
    """Tell the service manager, if there is one, once a second how the agent is, and
    that its loop goes round.
    """
    while notifier.listens:
        notifier.flush()
        notifier.status(agent.words())
        notifier.watchdog(time.monotonic())
        await asyncio.sleep(_CHECK_S)


class _Asker:
    """One validator: its connection, and whom its requests are asked of."""

    def __init__(self, agent: "Agent", entry: ValidatorEntry, number: int) -> None:
        self.agent, self.entry = agent, entry
        self.end = ValidatorEnd(
            entry,
            core=agent.core,
            # one made up for this start, except where the validator lets in one identity only
            identity=agent.identity if isinstance(entry.address.target, NoiseAddress) else Identity.generate(),
            above=self,
            log=agent.log,
            number=number,
            path=agent.path,
        )
        if (key := agent.public_keys.get(entry.chain_id)) is not None:
            self.end.know(key)
        self.asking = Asking(
            [one.id for one in agent.settings.nodes], check=self._check, next_seq=agent.next_seq, times=agent.times
        )
        self._next_seq: int | None = None  # given to the core, and not used yet
        self.since = 0.0
        self.slowest_s = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._wants_key: asyncio.TimerHandle | None = None

    # --- of its connection ---

    def route(self) -> tuple[NodeLane | None, int]:
        """Return the leader's lane, if this agent knows a leader that can be asked now."""
        node = self.asking.first
        lane = self.agent.links[node].lane if node is not None else None
        if lane is None:
            return None, 0
        if self._next_seq is None:
            self._next_seq = self.agent.next_seq()
        return lane, self._next_seq

    def on_asked(self) -> None:
        """What ask() would have done is done; its time begins."""
        node, seq = self.asking.first, self._next_seq
        self._next_seq = None
        self.since = self.agent.now()
        actions = self.asking.ask(self.since, seq)
        if node is None or seq is None or actions != [Ask(node, seq, urgent=False)]:
            raise InvariantError(f"the core asked {node} for request {seq}, and {actions} was to be done")
        self.agent.links[node].collect()
        self._set_timer()

    def on_question(self) -> None:
        """A request for a signature.

        It has the number that the core was given and did not use, as if the core had asked.
        """
        seq, self._next_seq = self._next_seq, None
        self.since = self.agent.now()
        self.act(self.asking.ask(self.since, seq))

    def on_passed(self, node: str, *, refused: bool) -> None:
        """The core has answered with what the node said."""
        tries = self.asking.on_passed(node, self.agent.now(), refused=refused)
        self._answered(node, tries)
        self.end.on_passed()
        self._set_timer()

    def on_public_key(self) -> None:
        """Known, or to be waited for: a validator boots while no node is there yet only where the
        key was seen before.
        """
        key = self.agent.public_keys.get(self.entry.chain_id)
        if key is not None:
            self.end.answer_public_key(key)
        elif self._wants_key is None:
            self._wants_key = self.agent.loop.call_later(AGENT_ANSWER_S, self._no_key)

    def on_bytes_refused(self) -> None:
        """Counted as every other refusal."""
        self.asking.counters.requests += 1
        self.asking.counters.refused += 1

    def on_gone(self) -> None:
        """Nobody waits any more."""
        self.asking.cancel()
        self._set_timer()
        if self._wants_key is not None:
            self._wants_key.cancel()
            self._wants_key = None

    def _no_key(self) -> None:
        self._wants_key = None
        self.end.hang_up("no node has told the chain's public key yet")

    def on_key_known(self) -> None:
        """A node's hello named it."""
        if self._wants_key is not None:
            self._wants_key.cancel()
            self._wants_key = None
        self.end.know(self.agent.public_keys[self.entry.chain_id])

    # --- of the nodes ---

    def _check(self, untrusted: object) -> tuple[Verdict, object]:
        """Judge an answer; one that is none is WRONG, and the request waits on."""
        key = self.agent.public_keys.get(self.entry.chain_id)
        if key is None or not isinstance(untrusted, bytes) or (relayed := self.end.judge(key, untrusted)) is None:
            return Verdict.WRONG, b""
        return Verdict.REFUSED if relayed.refused else Verdict.SIGNED, relayed.frame

    def act(self, actions: list[Action]) -> None:
        """Do what was decided, and set the timer for what is next."""
        for action in actions:
            match action:
                case Ask(node, seq, urgent):
                    wire, dialect = self.end.question, self.end.dialect
                    if wire and dialect is not None:
                        self.end.asked(seq)
                        self.agent.links[node].send(AskMessage(seq, self.entry.chain_id, dialect, urgent, wire))
                case Reply(answer, node, tries):
                    self._answered(node, tries)
                    self.end.deliver(answer if isinstance(answer, bytes) else b"")
                case Empty(why):
                    self.agent.log.error("answered empty", chain=self.entry.chain_id, why=why)
                    self.end.answer_empty()
        self._set_timer()

    def _answered(self, node: str, tries: int) -> None:
        """What an answer is told by."""
        took_s = self.agent.now() - self.since
        self.slowest_s = max(self.slowest_s, took_s)
        if tries > 1:
            again = ", ".join(f"{why} {count}" for why, count in sorted(self.asking.counters.again.items()))
            self.agent.log.info(
                "asked again",
                chain=self.entry.chain_id,
                tries=tries,
                answered=node,
                ms=round(took_s * 1e3),
                so_far=again,
            )

    def _set_timer(self) -> None:
        due = self.asking.due_at
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if due is not None:
            self._timer = self.agent.loop.call_at(due, self._on_time)

    def _on_time(self) -> None:
        self._timer = None
        self.act(self.asking.on_time(self.agent.now()))


class Agent:
    """All of it."""

    def __init__(
        self,
        settings: AgentSettings,
        core: Core,
        identity: Identity,
        log: Log,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`clock`: measures the links' round trips, seconds."""
        self.settings, self.core, self.identity, self.log = settings, core, identity, log
        self.loop = asyncio.get_running_loop()
        self.path = core.relay_path()
        self.started_at = time.time()
        self._seqs = itertools.count(1)
        self._key_path = settings.home / PUBLIC_KEYS_NAME
        self.public_keys = _load_public_keys(self._key_path)
        # by chain whose key is not known: what each node shows
        self._shown: dict[str, dict[str, bytes]] = {}
        self.times = {one.id: Times() for one in settings.nodes}
        self.links = {
            one.id: NodeLink(
                one, core=core, identity=identity, above=self, about=self.about, log=log, path=self.path, clock=clock
            )
            for one in settings.nodes
        }
        self.askers = [_Asker(self, entry, number) for number, entry in enumerate(settings.validators)]
        self._late = 0  # answers to requests that were over
        self._host = os.uname().nodename

    def lives(self) -> list[Any]:
        """What runs until the agent ends."""
        return [
            self._check_always(),
            *(link.run() for link in self.links.values()),
            *(one.end.run() for one in self.askers),
        ]

    def now(self) -> float:
        """The loop's clock, in seconds."""
        return self.loop.time()

    def next_seq(self) -> int:
        """A number that no other request of this process has."""
        return next(self._seqs)

    async def _check_always(self) -> None:
        while True:
            await asyncio.sleep(_CHECK_S)
            self.check()

    def check(self) -> None:
        """Close the connections that stall, and take over what the links' round trips are.

        Called about once a second.
        """
        for one in self.askers:
            one.end.check_deadlines()
        for name, link in self.links.items():
            self.times[name].round_trip_s = link.round_trip_s

    # --- of the nodes' links ---

    def on_hello(self, node: str, hello: Hello) -> None:
        """A node's link stands; of the chains that it names those count that this agent serves. A
        public key that was not seen before is believed when a majority of the nodes shows it: one
        that lies would keep the honest ones out. Raises: ProtocolError where it shows another key
        than is known.
        """
        told = {chain.chain_id: chain for chain in hello.chains}
        wanted = {asker.entry.chain_id: told.get(asker.entry.chain_id) for asker in self.askers}
        for chain_id, chain in wanted.items():
            if chain is None:
                self.log.error("a node does not serve this agent for a chain", peer=node, chain=chain_id)
                continue
            self._must_verify(node, chain)
            known = self.public_keys.get(chain_id)
            if known is not None and known != chain.public_key:
                raise ProtocolError(
                    f"{node} shows the public key {chain.public_key.hex()} for {chain_id}, and {known.hex()} was shown before",
                    cure=f"if the validator's key was changed, remove {self._key_path} and start the agent again",
                )
        for asker in self.askers:
            if wanted[asker.entry.chain_id] is not None:
                asker.asking.on_lead(hello.leader or None)
        for chain_id, chain in wanted.items():
            if chain is not None:
                self._on_shown(node, chain_id, chain.public_key)

    def _on_shown(self, node: str, chain_id: str, key: bytes) -> None:
        """That node shows the key that is known for the chain, or one of several that might be it."""
        told = self._shown.setdefault(chain_id, {})
        told[node] = key
        agree = [name for name, one in told.items() if one == key]
        if chain_id not in self.public_keys:
            if 2 * len(agree) <= len(self.links):
                self.log.info("public key not known yet", chain=chain_id, shown_by=", ".join(agree), of=len(self.links))
                return
            self.public_keys[chain_id] = key
            self.log.info("public key known", chain=chain_id, key=key.hex(), shown_by=", ".join(agree))
            self._save_public_keys()
        del self._shown[chain_id]
        for asker in self.askers:
            if asker.entry.chain_id == chain_id:
                asker.on_key_known()
                for name in agree:
                    asker.act(asker.asking.on_link(name, self.now()))
        for name in told.keys() - set(agree):
            self.links[name].hang_up(f"a majority of the nodes shows another public key for {chain_id}")

    def on_lost(self, node: str) -> None:
        """Its link ended."""
        for told in self._shown.values():
            told.pop(node, None)
        for asker in self.askers:
            asker.act(asker.asking.on_link_lost(node, self.now()))

    def on_passed(self, node: str, passed: Passed) -> None:
        """The core has answered a validator with what this node said."""
        self.askers[passed.number].on_passed(node, refused=passed.refused)

    def on_node(self, node: str, message: AgentMessage) -> None:
        """Raises: ProtocolError for what no node sends."""
        match message:
            case Answer(seq, answer):
                for asker in self.askers:
                    if asker.asking.seq == seq:
                        asker.act(asker.asking.on_answer(node, seq, answer, self.now()))
                        return
                self._late += 1
            case NotNow(seq, _, leader):
                for asker in self.askers:
                    if asker.asking.seq == seq:
                        asker.act(asker.asking.on_not_now(node, seq, leader or None, self.now()))
            case Lead(leader):
                for asker in self.askers:
                    asker.asking.on_lead(leader or None)
            case _:
                raise ProtocolError(f"the node sent {type(message).__name__}")

    # --- what is told ---

    def words(self) -> str:
        """Say for `systemctl status` how many of its nodes and validators it is connected with."""
        nodes = sum(link.up for link in self.links.values())
        validators = sum(one.end.state == "connected" for one in self.askers)
        return f"{nodes} of {len(self.links)} nodes, {validators} of {len(self.askers)} validators connected"

    def about(self) -> tuple[tuple[str, str], ...]:
        """Return names and short texts for the nodes' pages and status."""
        links = ", ".join(
            f"{name} {link.round_trip_s * 1e3:.2f} ms" if link.up else f"{name} away"
            for name, link in self.links.items()
        )
        told = {"host": self._host, "version": __version__, "links": links}
        for number, one in enumerate(self.askers[:4], 1):
            counters = one.asking.counters
            again = ", ".join(f"{why} {count}" for why, count in sorted(counters.again.items())) or "none"
            told[f"validator {number}"] = f"{one.entry.address} {one.end.state}"
            told[f"asks {number}"] = f"{one.asking.answers_last or 'nobody yet'}; again: {again}"
        return tuple((shown(name), shown(text)) for name, text in told.items())

    def report(self) -> dict[str, Any]:
        """Return what the metrics show."""
        return {
            "started_at": self.started_at,
            "late": self._late,
            "nodes": {
                name: {
                    "up": link.up,
                    "round_trip_s": link.round_trip_s,
                    "connects": link.connects,
                    "patience_s": self.times[name].patience_s,
                }
                for name, link in self.links.items()
            },
            "validators": [
                {
                    "chain_id": one.entry.chain_id,
                    "addr": str(one.entry.address),
                    "connected": one.end.state == "connected",
                    "connects": one.end.connects,
                    "counters": one.asking.counters,
                    "slowest_s": one.slowest_s,
                }
                for one in self.askers
            ],
        }

    def _must_verify(self, node: str, chain: ServedChain) -> None:
        """Raises: ProtocolError where this installation cannot tell that chain's
        signatures from others.
        """
        try:
            self.core.require(type_of(chain.public_key))
        except CometKMSError as error:
            raise ProtocolError(
                f"{node} signs for {chain.chain_id} with a key that is not known here: {error.what}", cure=error.cure
            ) from error

    def _save_public_keys(self) -> None:
        """No secret: what makes a validator boot while every node is away."""
        beside = self._key_path.with_suffix(".new")
        try:
            with discarding(beside):
                beside.write_text(
                    json.dumps({name: key.hex() for name, key in sorted(self.public_keys.items())}) + "\n"
                )
                beside.replace(self._key_path)
        except OSError as error:
            self.log.error("public keys are not kept", file=str(self._key_path), why=os_words(error))


def _load_public_keys(path: Path) -> dict[str, bytes]:
    """What was seen before; nothing where there is no such file, or it is none of ours: the nodes
    tell it again.
    """
    try:
        told = json.loads(path.read_bytes()[: 64 << 10])
        keys = {str(name): bytes.fromhex(key) for name, key in told.items()} if isinstance(told, Mapping) else {}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
    return keys if all(map(_is_public_key, keys.values())) else {}


def _is_public_key(data: bytes) -> bool:
    try:
        type_of(data)
    except ValueError:
        return False
    return True
