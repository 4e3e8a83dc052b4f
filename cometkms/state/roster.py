"""The other members, as this process knows them: whom to let in, what each says of itself, what its
word bears. Sans-I/O.

hello ──▶ the same cluster? ──▶ the same epoch and store? ──▶ connected ──▶ its life is told: able to take over
             │ no                   │ no
             └──────────────────────┴──▶ refused, with a code and both sides' words
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from cometkms import __version__
from cometkms.board.sections import REACH_FACT, Reach
from cometkms.core.interface import HotPath
from cometkms.errors import ProtocolError
from cometkms.logger import Logger
from cometkms.model import Incarnation, Reason, Row, quorum_of
from cometkms.rules.birth import NodeState
from cometkms.rules.epoch import Ended, is_over
from cometkms.rules.flow import Flow
from cometkms.rules.incarnation import Statement, believable_seq, statement_bytes
from cometkms.state.facts import (
    LIFE_FACT,
    RENEWAL,
    RENEWAL_FACT,
    SEALED,
    STORE_FACT,
    STORE_GONE,
    Difference,
    SelfReport,
    differences,
)
from cometkms.state.membership import Membership
from cometkms.state.shell import Outside
from cometkms.store.promise_store import PromiseStore
from cometkms.wire.peer_messages import (
    PEER_PROTOCOL_VERSION,
    Facts,
    FactsNews,
    Hello,
    OtherProtocol,
    PeerMessage,
    Promise,
    Promised,
    Raft,
    decode,
    decode_hello,
    encode,
    make_facts,
)
from cometkms.wire.why import PeerCode, Why

_NEVER: Final = float("inf")
_BEAT_MAX_BYTES: Final = 512  # a heartbeat of the replicated log has about 100


@dataclass(frozen=True, slots=True)
class Epoch:
    """The list of members that counts now, and this node's place in it.

    The digest is that of the number, the ids and the identity keys. `keys` are the members'
    identity keys, and `sign` signs with this node's.
    """

    me: str
    number: int
    members: tuple[str, ...]
    digest: bytes
    keys: Mapping[str, bytes] = field(default_factory=dict)
    sign: Callable[[bytes], bytes] = lambda _statement: b""
    ended: tuple[Ended, ...] = ()  # earlier ones, as far as this home knows them

    @property
    def others(self) -> tuple[str, ...]:
        """Every other member."""
        return tuple(name for name in self.members if name != self.me)

    @property
    def after_me(self) -> tuple[str, ...]:
        """Every other member, from the one that follows this one in the list on."""
        place = self.members.index(self.me)
        return self.members[place + 1 :] + self.members[:place]

    @property
    def quorum(self) -> int:
        """Members needed for a permit."""
        return quorum_of(len(self.members))

    def proves(self, statement: Statement, verify: Callable[[bytes, bytes, bytes], bool]) -> bool:
        """Whether the member that it names signed it, in this epoch."""
        key = self.keys.get(statement.member)
        if key is None or not statement.signature:
            return False
        return verify(key, statement_bytes(self.digest, statement.member, statement.incarnation), statement.signature)


@dataclass(slots=True)
class Member:
    """What this process knows of another member."""

    nonce: int = 0  # of the process it counts; 0: none
    seq: int = 0  # the highest it acknowledged
    address: str = ""
    connected: bool = False
    rows: frozenset[Row] = frozenset()
    refused: str = ""  # with a code: wire/why.py
    heard_at: float = 0.0
    told_at: float = 0.0  # when it last told where its promises stand
    promised_at: float = 0.0  # when this node last promised for it, on the connection that is there …
    accepted_at: float = 0.0  # … and when it last promised for this node
    version: str = ""
    facts: Facts = ()
    differs: tuple[Difference, ...] = ()
    told_life: bool = False  # on the connection that is there
    able_at: float = _NEVER  # since when it is connected, complete and no longer starting
    heard: tuple[bytes, PeerMessage] = (b"", Raft(b""))  # the last frame of the replicated log, and what it said …
    said: tuple[bytes, bytes] = (b"", b"")  # … and what the replicated log last had this node say, as a frame

    @property
    def reach(self) -> Reach:
        """Whether its signer reaches a validator, as it last said."""
        told = dict(self.facts).get(REACH_FACT, "")
        return Reach(told) if told in set(Reach) else Reach.UNKNOWN

    def heard_again(self, untrusted: bytes) -> PeerMessage:
        """decode().

        The same bytes say the same: the heartbeats of an idle cluster are the same bytes for hours.
        Raises: ProtocolError.
        """
        if untrusted != self.heard[0]:
            message = decode(untrusted)
            if not isinstance(message, Raft) or len(untrusted) > _BEAT_MAX_BYTES:
                return message
            self.heard = untrusted, message
        return self.heard[1]

    def said_again(self, payload: bytes) -> bytes:
        """encode() of a message of the replicated log."""
        if payload != self.said[0]:
            self.said = payload, encode(Raft(payload))
        return self.said[1]


def _why_not_ours(epoch: Epoch, nonce: int, member: str, hello: Hello) -> Why | None:
    """What tells another cluster, another list of members or this very process from a
    member's process.
    """
    if hello.node != member:
        return Why(PeerCode.NAME, f"a node that calls itself {hello.node!r} has the identity of {member!r}")
    if hello.nonce == nonce:
        return Why(PeerCode.MYSELF, "this is the same process")
    if hello.epoch != epoch.number or hello.members != epoch.members:
        return Why(
            PeerCode.MEMBERS,
            f"epochs or peer lists differ: {epoch.me} has epoch {epoch.number} of {', '.join(epoch.members)}; "
            f"{hello.node} has epoch {hello.epoch} of {', '.join(hello.members)}",
        )
    if hello.digest != epoch.digest:
        return Why(
            PeerCode.DIGEST,
            f"digests differ: {epoch.me} has {epoch.digest.hex()[:16]}, {hello.node} has {hello.digest.hex()[:16]}",
        )
    return None


def _facts_in(state: NodeState, facts: Facts) -> Facts:
    """What a hello says of this node: one that is sealed says so."""
    return make_facts({**dict(facts), LIFE_FACT: SEALED}) if state is NodeState.SEALED else facts


class Roster:
    """Know each other member: let it in or say why not, hold its settings against this node's, and
    say what it can do now.
    """

    membership: Membership

    def __init__(
        self,
        *,
        epoch: Epoch,
        nonce: int,
        store: PromiseStore,
        rows: tuple[int, ...],
        facts: Facts,
        hot: HotPath,
        outside: Outside,
        clock: Callable[[], float],
        log: Logger,
    ) -> None:
        """`rows`: the store's row of each configured chain.

        `facts`: what the others are told of this node's settings.
        """
        self.facts = make_facts({**dict(facts), RENEWAL_FACT: RENEWAL})
        self._hot = hot
        self._epoch = epoch
        self._nonce = nonce
        self._store = store
        self._rows = rows
        self._outside = outside
        self._clock = clock
        self._log = log
        self.members = {name: Member() for name in epoch.others}

    @property
    def connected(self) -> tuple[str, ...]:
        """The members that are connected, in the order of the list."""
        return tuple(name for name, one in self.members.items() if one.connected)

    # --- messages ---

    def send(self, member: str, message: PeerMessage) -> bool:
        """Send to a connected member, and return False when it is not connected."""
        return self._outside.send(member, encode(message))

    def send_raft(self, member: str, payload: bytes) -> bool:
        """Send a message of the replicated log."""
        return self._outside.send(member, self.members[member].said_again(payload))

    def heard(self, member: str, untrusted: bytes) -> PeerMessage:
        """What a connected member says.

        Raises: ProtocolError for no message, or a promise or an accept that its store cannot make.
        """
        known = self.members[member]
        message = known.heard_again(untrusted)
        known.heard_at = self._clock()
        match message:
            case Promise():
                self._take_word(member, message.incarnation, message.seq, "promise")
            case Promised() if message.reason is Reason.NONE or self.membership.bears_any(member):
                self._take_word(member, message.incarnation, message.seq, "accept")
            case _:
                pass
        return message

    # --- letting in ---

    def hello(self, member: str) -> bytes:
        """The first message to a member."""
        epoch = self._epoch
        return encode(
            Hello(
                PEER_PROTOCOL_VERSION,
                __version__,
                epoch.me,
                self._nonce,
                epoch.number,
                epoch.members,
                epoch.digest,
                tuple(self._store.rows[row] for row in self._rows),
                self._store.seq,
                self.seq_of(member),
                _facts_in(self._store.header.state, self.facts),
                self.membership.own(),
                self.membership.known(),
            )
        )

    def on_hello(self, member: str, payload: bytes, address: str) -> str | None:
        """Judge a member's hello: None, or why it is refused. Raises: ProtocolError, BehindError."""
        hello = decode_hello(payload)
        known = self.members[member]
        reason = self._judge_hello(member, hello, known)
        known.refused = reason or Why(PeerCode.OTHER, "")
        if reason is not None or isinstance(hello, OtherProtocol):
            return reason
        known.nonce, known.address = hello.nonce, address
        known.version, known.facts, known.rows = hello.version, hello.facts, frozenset(hello.rows)
        self._compare(member, known)
        if hello.own is None:
            return None
        if hello.seq < self.seq_of(member):
            self._log.error("a member's store is older than what it acknowledged", member=member)
        known.seq = max(known.seq, hello.seq)
        return None

    def _judge_hello(self, member: str, hello: Hello | OtherProtocol, known: Member) -> Why | None:
        epoch, membership = self._epoch, self.membership
        if isinstance(hello, OtherProtocol):
            return Why(
                PeerCode.PROTOCOL,
                f"{epoch.me} runs CometKMS {__version__} with the peers' protocol {PEER_PROTOCOL_VERSION}, {member} runs "
                f"{hello.version} with protocol {hello.protocol}: they do not understand each other; cure: versions with the "
                "same protocol on every node (docs/UPGRADING.md)",
            )
        reason = _why_not_ours(epoch, self._nonce, member, hello)
        if reason is not None:
            if reason.code is PeerCode.MEMBERS and hello.members == epoch.members:
                membership.on_later_epoch(member, hello.epoch)
            return reason
        if hello.own is not None:
            reason = membership.judge_hello(member, hello)
            if reason is not None:
                return reason
        if known.connected and known.nonce not in (0, hello.nonce):
            return Why(
                PeerCode.DUPLICATE,
                f"two processes with the id {member!r}: the first answers from {known.address} still",
            )
        if hello.own is None:
            return membership.judge_hello(member, hello)
        membership.on_remembered(member, hello.remembers)
        return None

    def on_unlisted(self, hello: Hello, address: str) -> Why:
        """A node that holds the key and is not in the list here: why it is refused.

        One node alone signs no more (rule 9).
        """
        epoch = self._epoch
        theirs = ", ".join(hello.members)
        if len(epoch.members) > 1:
            return Why(
                PeerCode.UNLISTED,
                f"{hello.node!r} is not in the peer list of {epoch.me!r} ({', '.join(epoch.members)}); its own list has {theirs}",
            )
        # one that was taken out when this node stayed, and that runs on
        if dict(hello.facts).get(LIFE_FACT) == SEALED:
            return Why(
                PeerCode.UNLISTED,
                f"{epoch.me!r} is alone, in epoch {epoch.number}; {hello.node!r} is sealed in epoch {hello.epoch} of {theirs}",
            )
        if is_over(epoch.ended, hello.node, hello.epoch, hello.members):
            return Why(
                PeerCode.UNLISTED,
                f"{epoch.me!r} is alone, in epoch {epoch.number}; {hello.node!r} was away when epoch {hello.epoch} of {theirs} ended, and is no "
                "member any more: stop it for good",
            )
        if hello.seq:  # it has promised: two majorities of one key
            self.membership.retire(
                f"{hello.node!r} at {address} has signed with this key in a cluster of {theirs}, and this node is configured alone: it signs no "
                "more until it is started again; cure: stop it, give it the cluster's peer list, or take its key away"
            )
        return Why(
            PeerCode.ALONE,
            f"{epoch.me!r} is configured as one node alone; {hello.node!r} holds the same key in a cluster of {theirs}",
        )

    def on_connected(self, member: str) -> bool:
        """Both hellos were accepted.

        Whether the connection may stay: not where another store was recorded while the
        hellos crossed.
        """
        if not self.membership.is_current(member):
            self._outside.disconnect(member, f"another store stands for {member} now")
            return False
        known = self.members[member]
        known.connected, known.heard_at = True, self._clock()
        self._tell_hot(member)
        return True

    def on_disconnected(self, member: str) -> None:
        """Its connection is gone."""
        known = self.members[member]
        known.connected = known.told_life = False
        known.promised_at = known.accepted_at = 0.0
        known.able_at = _NEVER

    # --- what its promises bear ---

    def begin(self, membership: Membership) -> None:
        """From now on members are known by what this says of them, on the fast path, too."""
        self.membership = membership
        for member in self.members:
            self._tell_hot(member)

    def seq_of(self, member: str) -> int:
        """The highest seq that the member acknowledged to this process."""
        return max(self.members[member].seq, self._hot.seq_of(member))

    def _take_word(self, member: str, incarnation: Incarnation, seq: int, what: str) -> None:
        """Raises: ProtocolError for a promise or accept of an earlier store, or a step of the seq
        that no promises make.
        """
        self.membership.check_bears(member, incarnation, what)
        known = self.members[member]
        if not believable_seq(self.seq_of(member), seq):
            raise ProtocolError(f"{member} says that its store has made {seq} promises, after {known.seq}")
        known.seq = max(known.seq, seq)

    def forget(self, member: str) -> None:
        """Another store stands for it: its seq began anew."""
        self.members[member].seq = 0
        self._tell_hot(member)

    def _tell_hot(self, member: str) -> None:
        """Which incarnation the member's promises and accepts must bear on the fast path."""
        self._hot.set_member(member, self.membership.recorded(member), self.members[member].seq)

    def flow(self, member: str) -> Flow:
        """What promises have said of a member, for the replicated log."""
        known = self.members[member]
        promised_at, accepted_at = self._hot.flow(member)
        return Flow(
            max(promised_at, known.promised_at),
            max(accepted_at, known.accepted_at),
            rests=dict(known.facts).get(RENEWAL_FACT) == RENEWAL,
        )

    # --- what it says of itself ---

    def tell_facts(self, facts: Facts) -> None:
        """This node's facts changed: the connected members hear of it, the others in
        the next hello.
        """
        self.facts = facts
        for member, known in self.members.items():
            self._compare(member, known)
            if known.connected:
                self.send(member, FactsNews(facts))

    def tell_fact(self, name: str, text: str) -> None:
        """One of this node's facts changed."""
        self.tell_facts(make_facts({**dict(self.facts), name: text}))

    def on_facts(self, member: str, facts: Facts) -> None:
        """The member's facts changed."""
        known = self.members[member]
        known.facts = facts
        self._compare(member, known)

    @property
    def differences(self) -> tuple[Difference, ...]:
        """Where this node's settings differ from what a member last said of its own."""
        return tuple(one for known in self.members.values() for one in known.differs)

    def _compare(self, member: str, known: Member) -> None:
        """What is new among the differences is said once."""
        if not known.version:
            return
        mine = SelfReport(__version__, self.facts, frozenset(self._store.rows[row] for row in self._rows))
        found = differences(member, mine, SelfReport(known.version, known.facts, known.rows))
        for one in found:
            if one not in known.differs:
                self._log.warning("nodes differ", **one.document(), cure="the same on every node")
        known.differs = found

    # --- who could take over ---

    def on_life(self, member: str) -> None:
        """The member told where it stands in its life, and its promises."""
        known = self.members[member]
        known.told_at, known.told_life = self._clock(), True
        if self.why_not_able(member):
            known.able_at = _NEVER
        elif known.able_at == _NEVER:
            known.able_at = self._clock()

    def why_not_able(self, name: str) -> str:
        """What keeps a member from taking over, in words; "" when nothing does."""
        if not self.members[name].connected:
            return "is not connected"
        news = self.membership.life_of(name)
        if news is None or not self.members[name].told_life:
            return "has not said yet whether it is complete"
        if news.starting:
            return "is starting"
        if (STORE_FACT, STORE_GONE) in self.members[name].facts:
            return "promises nothing: its store is gone"
        state = news.life.state
        return "" if state is NodeState.COMPLETE else f"is {state.name.lower()}"

    def missing(self) -> tuple[str, ...]:
        """Members that are away, or not complete and ready."""
        return tuple(name for name in self.members if self.why_not_able(name))
