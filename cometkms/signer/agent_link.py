"""A node's end of its agents' links: requests come in, answers go out; whether this node serves
them is decided elsewhere.

    door ── an agent that proved its key ──▶ AgentPort ──▶ AgentLink ── ASK ──▶ the chain's critical section ── ANSWER or NOT_NOW ──▶ agent

A link stands whether this node leads or not. A request that is not urgent, at a node that does not
lead, is told at once who does. Every other one is a request like a validator's: the rule decides,
the state process reserves, the slot signs. One at a time a chain and link; a newer one takes the
place of an older one that its agent has given up. Moves bytes; decides nothing.

The plain ones of a leader, from the agent's bytes to the reservation and from the permit to the
agent, are the core's where it has a desk (csrc/sign.h). What it leaves over comes here, and what it
has under way is taken back where a newer request or the end of the lease says so.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final

from cometkms.board.sections import AgentLinkReport, AgentsReport, LinkState, ValidatorReport
from cometkms.core.interface import Core, Desk, Frames, Session
from cometkms.errors import ProtocolError, os_words
from cometkms.limits import (
    AGENT_ABOUT_MAX,
    AGENT_LINKS_MAX,
    AGENT_OUTBOX_MAX_BYTES,
    AGENT_PATIENCE_MIN_S,
    AGENT_SILENT_S,
    AGENT_TURN_MESSAGES,
    REFUSED_PAUSE_MIN_S,
)
from cometkms.logger import Logger
from cometkms.model import Kind
from cometkms.net.door import Admitted, Door
from cometkms.net.outbox import Outbox
from cometkms.net.reading import to_the_end
from cometkms.signer.chain import ChainSigner
from cometkms.wire.agent_messages import (
    AgentMessage,
    Answer,
    Ask,
    Hello,
    Lead,
    NotNow,
    Ping,
    Pong,
    ServedChain,
    Unpacker,
    decode,
    encode,
    shown,
)

_RECEIVE_BYTES: Final = 64 << 10
_SIGNS: Final = (Kind.SIGN_VOTE_REQUEST, Kind.SIGN_PROPOSAL_REQUEST)


class _Question:
    """One ASK at the chain's critical section. A `Requester`."""

    def __init__(self, link: "AgentLink", chain_id: str, seq: int, session: Session) -> None:
        self._link, self._seq, self._session = link, seq, session
        self.chain_id = chain_id
        self.name = link.name
        self.remote_identity = link.key
        self.over = False

    @property
    def seq(self) -> int:
        """The agent's own number of it."""
        return self._seq

    def serves(self, session: Session) -> bool:
        """Whether the agent still waits for this answer."""
        return not self.over and self._session is session

    def deliver(self, frame: bytes, *, refused: bool | None = None) -> None:
        """Tell the agent a signature, a refusal, or that there is no answer now."""
        if self.over:
            return
        self.end()
        self._link.on_answer(self, self._seq, frame if refused is not None else None, refused=refused is True)

    def end(self) -> None:
        """No answer is expected any more."""
        self.over = True
        self._session.close()


class _AtDesk:
    """The requests of one chain that the core's desk takes, one at a time. A `Requester`: for what
    the path hands back."""

    def __init__(self, link: "AgentLink", desk: Desk, chain: ChainSigner, number: int) -> None:
        self._link, self._desk, self._number = link, desk, number
        self.chain_id = chain.chain_id
        self.name = link.name
        self.remote_identity = link.key
        self._session = chain.at_desk(desk, number, self)

    @property
    def seq(self) -> int | None:
        """The agent's own number of the one under way; None: there is none."""
        return self._desk.asked(self._number)

    def serves(self, session: Session) -> bool:
        """Whether the agent still waits for this answer."""
        return self._link.open and self._session is session and self.seq is not None

    def deliver(self, frame: bytes, *, refused: bool | None = None) -> None:
        """Tell the agent a signature, a refusal, or that there is no answer now."""
        seq = self.seq
        if seq is None:
            return
        self.end()
        self._link.on_answer(self, seq, frame if refused is not None else None, refused=refused is True)

    def end(self) -> None:
        """No answer is expected any more."""
        self._desk.forget(self._number)


class AgentLink:
    """One agent's connection, from its admission to its end."""

    def __init__(
        self,
        *,
        agent: str,
        admitted: Admitted,
        chains: Mapping[str, ChainSigner],
        core: Core,
        node: str,
        standing: Callable[[], tuple[bool, str]],
        closed: Callable[["AgentLink", str], None],
        desk: Callable[[Frames, int], Desk | None],
        numbers: Mapping[str, int],
        settle: Callable[[], None],
    ) -> None:
        """`chains`: those it may ask for; `standing`: whether this node leads, and who does, ""
        when that is not known; `desk`: makes the core's part of the link, None where it has none;
        `numbers`: of each chain the path's name for this agent; `settle`: as of a ValidatorLink."""
        self.name = f"agent:{agent}"
        self.key = admitted.key
        self.since, self.since_mono = time.time(), time.monotonic()
        self.about: dict[str, str] = {}  # what it says of itself
        self.requests = 0
        self.served_without_lead = 0
        self._chains = chains
        self._core = core
        self._standing = standing
        self._closed = closed
        self._loop = asyncio.get_running_loop()
        self._socket = admitted.connection
        self._frames = core.frames(admitted.to_node, admitted.from_node)
        self._unpacker = Unpacker()
        self._questions: dict[str, _Question] = {}  # by chain
        self._pauses: dict[str, float] = {}  # behind a chain's last refusal
        self._resting: dict[str, tuple[asyncio.TimerHandle, Ask]] = {}
        self._unread: deque[bytes] = deque()  # whole messages that wait for this link's next turn
        self._behind = False  # nothing is read meanwhile
        self._settle = settle
        self._heard_at = self._loop.time()
        self.open = True
        self._desk = desk(self._frames, self._socket.fileno())
        self._at_desk: dict[str, _AtDesk] = {}
        if self._desk is not None:
            self._at_desk = {name: _AtDesk(self, self._desk, chain, numbers[name]) for name, chain in chains.items()}
        self._outbox = Outbox(self._socket, lost=lambda error: self.close(os_words(error)), lane=self._desk)
        self._reader = to_the_end(self._socket, self._on_readable)
        self._loop.add_reader(self._socket.fileno(), self._reader)
        served = tuple(ServedChain(name, chain.slot.public_key) for name, chain in chains.items())
        self._send(Hello(node, standing()[1], served))

    def close(self, why: str) -> None:
        """Once; what waits for an answer gets none."""
        if not self.open:
            return
        self.open = False
        for question in self._questions.values():
            question.end()
        self._questions.clear()
        for timer, _ in self._resting.values():
            timer.cancel()
        self._resting.clear()
        self._unread.clear()
        if self._desk is not None:
            self._desk.close()
        self._loop.remove_reader(self._socket.fileno())
        self._outbox.close()
        self._socket.close()
        self._frames.close()
        self._closed(self, why)

    def check_silence(self) -> None:
        """Called about once a second."""
        if self._loop.time() - self._heard_at > AGENT_SILENT_S:
            self.close(f"silent for {AGENT_SILENT_S:g} s")

    def tell_leader(self, leader: str) -> None:
        """Somebody else leads."""
        self._send(Lead(leader))

    def on_lease_lost(self) -> None:
        """The state process forgot what was asked: the agent asks somebody else."""
        for one in list(self._under_way().values()):
            seq = one.seq
            one.end()
            if seq is not None:
                self.on_answer(one, seq, None)

    def on_answered(self) -> None:
        """The path answered, or as much of it as the socket took."""
        if self.open:
            self._outbox.collect()

    def on_answer(
        self, question: "_Question | _AtDesk", seq: int, message: bytes | None, *, refused: bool = False
    ) -> None:
        """The critical section has decided. None: not now."""
        chain_id = question.chain_id
        if not self.open:
            return
        if self._questions.get(chain_id) is question:
            del self._questions[chain_id]
        # who only earns refusals is answered ever more slowly, though before the agent asks the
        # next node
        if refused:
            pause_s = max(2 * self._pauses.get(chain_id, 0.0), REFUSED_PAUSE_MIN_S)
            self._pauses[chain_id] = min(pause_s, AGENT_PATIENCE_MIN_S / 2)
        elif message is not None:
            self._pauses.pop(chain_id, None)
        if message is not None:
            self._send(Answer(seq, message))
        else:
            self._send(NotNow(seq, "no majority promised", self._standing()[1]))

    def _under_way(self) -> "dict[str, _Question | _AtDesk]":
        """Return by chain the request that waits for its answer."""
        return {name: one for name, one in self._at_desk.items() if one.seq is not None} | self._questions

    # --- bytes ---

    def _on_readable(self) -> None:
        try:
            plain = self._receive()
            self._heard_at = self._loop.time()
            self._unread.extend(self._unpacker.feed(plain) if plain else ())
        except (BlockingIOError, InterruptedError):
            return
        except EOFError:
            self.close("closed by the agent")
            return
        except (OSError, ProtocolError) as error:
            self.close(_words(error))
            return
        self._take_turn()

    def _take_turn(self) -> None:
        """A few messages. Who sends more at once is read on when everybody else had a turn: a flood
        of one agent's costs others no more."""
        try:
            for _ in range(AGENT_TURN_MESSAGES):
                if self.open and self._unread:
                    self._on_message(decode(self._unread.popleft()))
        except (OSError, ProtocolError) as error:
            self.close(_words(error))
        if not self.open:
            return
        if self._unread:
            if not self._behind:
                self._loop.remove_reader(self._socket.fileno())
                self._behind = True
            self._loop.call_soon(self._take_turn)
        elif self._behind:
            self._behind = False
            self._loop.add_reader(self._socket.fileno(), self._reader)

    def _receive(self) -> bytes:
        """What arrived, decrypted, but for what the desk took. Raises: BlockingIOError, EOFError,
        OSError, ProtocolError."""
        if self._desk is None:
            received = self._socket.recv(_RECEIVE_BYTES)
            if not received:
                raise EOFError
            return self._frames.open(received)
        plain_here = self._standing()[0] and not self._unpacker.partial and not self._pauses and not self._resting
        rest, reserved = self._desk.turn(serve=plain_here)
        if reserved:
            self.requests += reserved
            self._settle()
        return rest

    def _on_message(self, message: AgentMessage) -> None:
        match message:
            case Ask():
                self._on_ask(message)
            case Ping(number, about):
                self.about = dict(about[:AGENT_ABOUT_MAX])
                self._send(Pong(number))
            case _:
                raise ProtocolError(f"an agent sent a node's message: {type(message).__name__}")

    def _on_ask(self, ask: Ask) -> None:
        chain = self._chains.get(ask.chain_id)
        if chain is None:
            self._send(NotNow(ask.seq, shown(f"this agent is not listed for {ask.chain_id}"), self._standing()[1]))
            return
        leads, leader = self._standing()
        if not leads and not ask.urgent:
            self._send(NotNow(ask.seq, "this node does not lead", leader))
            return
        waiting = self._under_way().get(ask.chain_id)
        if waiting is not None and waiting.seq == ask.seq:
            return  # asked once more what is under way
        resting = self._resting.pop(ask.chain_id, None)
        if resting is not None:
            resting[0].cancel()
        pause_s = self._pauses.get(ask.chain_id, 0.0)
        if pause_s:
            self._resting[ask.chain_id] = (self._loop.call_later(pause_s, self._rested, ask.chain_id), ask)
            return
        self._submit(chain, ask)

    def _rested(self, chain_id: str) -> None:
        _, ask = self._resting.pop(chain_id)
        try:
            self._submit(self._chains[chain_id], ask)
        except ProtocolError as error:
            self.close(_words(error))

    def _submit(self, chain: ChainSigner, ask: Ask) -> None:
        """Raises: ProtocolError for what is no request of a validator for a signature."""
        older = self._under_way().get(ask.chain_id)
        if older is not None:
            older.end()
            self._questions.pop(ask.chain_id, None)
        started_ns = time.monotonic_ns()
        session = self._core.session(ask.dialect, ask.chain_id, None, ask.message)
        request = session.next_request()
        if request is None or request.kind not in _SIGNS:
            session.close()
            raise ProtocolError("it asks for something else than one signature")
        self.requests += 1
        if not self._standing()[0]:
            self.served_without_lead += 1
            chain.tally.on_lease_lost()  # others sign in between: what lies there was not missed
        question = _Question(self, ask.chain_id, ask.seq, session)
        self._questions[ask.chain_id] = question
        chain.submit(question, session, request, started_ns, urgent=ask.urgent)

    def _send(self, message: AgentMessage) -> None:
        if not self.open:
            return
        self._outbox.write(self._frames.seal(encode(message)))
        if len(self._outbox) > AGENT_OUTBOX_MAX_BYTES:
            self.close("does not read its answers")


class AgentPort:
    """All agents' links of one signer, and who may have one."""

    def __init__(
        self,
        *,
        door: Door,
        chains: Mapping[str, ChainSigner],
        listed: Mapping[str, Mapping[str, bytes]],
        core: Core,
        node: str,
        log: Logger,
        desk: Callable[[Frames, int], Desk | None] = lambda _frames, _fd: None,
        new_number: Callable[[], int] = lambda: 0,
        settle: Callable[[], None] = lambda: None,
    ) -> None:
        """`listed`: of each chain, the agents' names and keys; `desk`, `settle`: as of an
        AgentLink; `new_number`: one that no other connection of this signer has in the path."""
        self._door = door
        self._chains = chains
        self._listed = listed
        self._core = core
        self._node = node
        self._log = log
        # by key: a newer one takes the place of an older one
        self._links: dict[bytes, AgentLink] = {}
        self._desk, self._new_number, self._settle = desk, new_number, settle
        # by key and chain: as many as were ever listed
        self._numbers: dict[tuple[bytes, str], int] = {}
        self._askers: dict[int, AgentLink] = {}  # by such a number
        self._connects: dict[bytes, int] = {}
        self._whys: dict[bytes, str] = {}
        self._away_since: dict[bytes, float] = {}
        self._left_at: dict[bytes, float] = {}  # monotonic
        self._began_at, self._began_mono = time.time(), time.monotonic()
        self._leads, self._leader = False, ""

    def start(self) -> None:
        """Take what the door hands over from now on."""
        self._door.allow(self._keys())
        asyncio.get_running_loop().add_reader(self._door.fileno(), self._on_door)

    def relist(self, listed: Mapping[str, Mapping[str, bytes]]) -> None:
        """Other agents: who is not listed any more, or for other chains, loses its link at once."""
        before, self._listed = self._chains_of(), listed
        after = self._chains_of()
        self._door.allow(self._keys())
        for key, link in list(self._links.items()):
            if before.get(key) != after.get(key):
                link.close("its list of chains changed")

    def on_standing(self, *, leads: bool, leader: str | None = None) -> None:
        """Whether this node leads, and who does. `leader` None: as before."""
        if self._leads and not leads:
            for link in list(self._links.values()):
                link.on_lease_lost()
        self._leads = leads
        if leader is not None and leader != self._leader:
            self._leader = leader
            for link in list(self._links.values()):
                link.tell_leader(leader)

    def on_answered(self, number: int) -> None:
        """The path answered a request of that number."""
        self._askers[number].on_answered()

    def check(self) -> None:
        """Deadlines. Called about once a second."""
        for link in list(self._links.values()):
            link.check_silence()

    def close(self) -> None:
        """The signer ends."""
        asyncio.get_running_loop().remove_reader(self._door.fileno())
        for link in list(self._links.values()):
            link.close("stopped")

    def documents(self, chain: ChainSigner) -> list[ValidatorReport]:
        """The agents of a chain for the status board, in the form of its validators."""
        found = []
        for name, key in self._listed.get(chain.chain_id, {}).items():
            link = self._links.get(key)
            found.append(
                ValidatorReport(
                    addr=f"agent:{name}",
                    state=LinkState.CONNECTED if link is not None else LinkState.WAITING,
                    since=link.since if link is not None else self._away_since.get(key, self._began_at),
                    since_mono=link.since_mono if link is not None else self._left_at.get(key, self._began_mono),
                    dialect=None,
                    line=None,
                    remote_identity=key.hex(),
                    requests=link.requests if link is not None else 0,
                    connects=self._connects.get(key, 0),
                    failed=0,
                    failed_in_row=0,
                    last_error=self._whys.get(key, "") if link is None else "",
                    **chain.answers.document(f"agent:{name}", self._away_s(key)),
                )
            )
        return found

    def _away_s(self, key: bytes) -> float:
        """Return for how long that agent has not been connected; 0: it is."""
        if key in self._links:
            return 0.0
        return time.monotonic() - self._left_at.get(key, -math.inf)

    def document(self) -> AgentsReport:
        """What the door counted, and what each agent that is connected says of itself."""
        counters = self._door.counters
        return AgentsReport(
            door={name: getattr(counters, name) for name in type(counters).__slots__},
            links=[
                AgentLinkReport(
                    name=link.name, without_lead=link.served_without_lead, requests=link.requests, about=link.about
                )
                for link in self._links.values()
            ],
        )

    def _keys(self) -> set[bytes]:
        return {key for agents in self._listed.values() for key in agents.values()}

    def _chains_of(self) -> dict[bytes, tuple[tuple[str, str], ...]]:
        """Return by key its name and chain, for each chain."""
        found: dict[bytes, tuple[tuple[str, str], ...]] = {}
        for chain_id, agents in self._listed.items():
            for name, key in agents.items():
                found[key] = (*found.get(key, ()), (chain_id, name))
        return found

    def _on_door(self) -> None:
        while (admitted := self._door.take()) is not None:
            self._admit(admitted)

    def _admit(self, admitted: Admitted) -> None:
        mine = self._chains_of().get(admitted.key, ())
        if not mine or (admitted.key not in self._links and len(self._links) >= AGENT_LINKS_MAX):
            admitted.connection.close()  # struck off the list while it came in
            return
        older = self._links.get(admitted.key)
        if older is not None:
            older.close("a newer connection of the same agent")
        self._connects[admitted.key] = self._connects.get(admitted.key, 0) + 1
        for chain_id, name in mine:
            self._chains[chain_id].tally.on_connected()
            self._chains[chain_id].answers.on_connected(f"agent:{name}", self._away_s(admitted.key))
        numbers = {chain_id: self._number(admitted.key, chain_id) for chain_id, _ in mine}
        self._links[admitted.key] = link = AgentLink(
            agent=mine[0][1],
            admitted=admitted,
            chains={chain_id: self._chains[chain_id] for chain_id, _ in mine},
            core=self._core,
            node=self._node,
            standing=lambda: (self._leads, self._leader),
            closed=self._on_closed,
            desk=self._desk,
            numbers=numbers,
            settle=self._settle,
        )
        self._askers |= dict.fromkeys(numbers.values(), link)
        self._log.info("agent connected", agent=mine[0][1], chains=", ".join(chain_id for chain_id, _ in mine))

    def _number(self, key: bytes, chain_id: str) -> int:
        if (key, chain_id) not in self._numbers:
            self._numbers[key, chain_id] = self._new_number()
        return self._numbers[key, chain_id]

    def _on_closed(self, link: AgentLink, why: str) -> None:
        if self._links.get(link.key) is link:
            del self._links[link.key]
            self._whys[link.key], self._away_since[link.key] = why, time.time()
            self._left_at[link.key] = time.monotonic()
        self._log.info("agent not connected", agent=link.name, why=why)


def _words(error: BaseException) -> str:
    return os_words(error) if isinstance(error, OSError) else str(error) or type(error).__name__
