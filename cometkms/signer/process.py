"""The signer process: holds the keys, dials the validators while this node holds the lease, answers
their requests.

Never: imports Raft, HTTP or CLI code; writes a file; opens a listening socket; signs
without a permit.
"""

import asyncio
import os
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from cometkms.address import NoiseAddress
from cometkms.board.sections import ChainReport, SignerSection
from cometkms.board.status_board import Section
from cometkms.calm_log import CalmLog
from cometkms.config.reload import Reloadable
from cometkms.config.schema import AgentEntry, Chain, Settings
from cometkms.config.values import parse_agent, parse_validator
from cometkms.core import choose
from cometkms.core.interface import Core, KeySlot, Queue
from cometkms.errors import InvariantError
from cometkms.hardening.account import CAP_DAC_OVERRIDE
from cometkms.hardening.children import Keeps, shut_child
from cometkms.hardening.confine import NameWatch
from cometkms.hardening.measures import Measure, Mode, tell
from cometkms.hardening.prctl import make_undumpable
from cometkms.hardening.scheduling import Turn, take_turn, turn_of_signing
from cometkms.hardening.user import Whom
from cometkms.ipc.child import ChildContext, run_loop, watch_names
from cometkms.ipc.helper import Helper, start_helper
from cometkms.keys.cluster import noise_identity
from cometkms.keys.identity import load_identity
from cometkms.keys.source import KeySource
from cometkms.keys.validator_key import address_of
from cometkms.limits import DIALER_UID, DOOR_UID, PERMIT_SPIN_NS, REFUSALS_SHOWN, STATUS_LATEST_S
from cometkms.log import Log
from cometkms.model import NO_BYTES, Decision, Outcome
from cometkms.net.dialer import Dialer, serve_dials
from cometkms.net.door import Door, listen, serve_door
from cometkms.net.target import Target, UnixTarget
from cometkms.signer.agent_link import AgentPort
from cometkms.signer.chain import ChainSigner
from cometkms.signer.confine import Confinement, Plan, shut_signer
from cometkms.signer.links import ValidatorLinks
from cometkms.signer.tally import KINDS
from cometkms.wire.identity import Identity
from cometkms.wire.queue_messages import (
    Leader,
    Lease,
    Mark,
    PermitGranted,
    QueueMessage,
    ReserveRefused,
    Signed,
    SignerHello,
    StateHello,
    decode,
    encode,
)

#: One line a decision, or folded by who makes them (signer/chain.py). Of the rest a validator or
#: agent could make as many as it likes.
_DECISIONS: Final = frozenset({"signed", "repeated", "signed bytes", "refused", "unanswered"})
_LINK_CHECK_TICKS: Final = 4  # deadlines of connections: once a second
_LOG_LINES: Final = 4  # so many lines are written while a request waits for its permit …
_LOG_DELAY_S: Final = 0.01  # … and at the latest after this
_REPORT_DELAY_S: Final = 0.005  # a report must not compete with the answer it follows


@dataclass(frozen=True, slots=True)
class SignerParts:
    """What the supervisor made before the fork."""

    settings: Settings
    requests: Queue  # this process pushes
    permits: Queue  # this process pops
    board: Section[SignerSection]
    log: Log
    keys: tuple[KeySource, ...]  # of each chain; opened here
    decisions: Queue | None  # this process pushes, for the audit log; None: there is none


def run(context: ChildContext, parts: SignerParts) -> int:
    """The process's whole life; returns its exit code. Raises: CometKMSError when it cannot start."""
    make_undumpable()
    supervisor = os.getppid()
    log = parts.log.bind(immediate=False, module="signer")
    core = choose.load()
    dialer = _start_dialer(parts)  # before the keys are here
    identities = _identities(parts, core)  # likewise
    door = _start_door(parts, core, identities.own)
    slots = [key.open(core, chain.id) for key, chain in zip(parts.keys, parts.settings.chains, strict=True)]
    for key in parts.keys:
        key.forget()
    names = NameWatch()
    with choose.tracing(context.name):
        confinement = _shut(parts.settings, supervisor)
        tell(log, confinement.measures)
        return _live(context, parts, core, identities, slots, confinement, dialer, door, names, log)


@dataclass(frozen=True, slots=True)
class _Identities:
    """Who this signer is to its validators: to those of tcp://, and to those of noise://, where
    there are some.
    """

    own: Identity
    noise: Identity | None

    def towards(self, target: Target) -> Identity | None:
        """None: this process has none for it, and another must take its place."""
        return self.noise if isinstance(target, NoiseAddress) else self.own


def _identities(parts: SignerParts, core: Core) -> _Identities:
    settings = parts.settings
    wanted = any(isinstance(one.target, NoiseAddress) for chain in settings.chains for one in chain.validator_addrs)
    noise = noise_identity(settings.home, parts.keys, core, settings.noise_identity_file) if wanted else None
    return _Identities(load_identity(settings.home), noise)


def _unix_paths(settings: Settings) -> tuple[str, ...]:
    targets = [address.target for chain in settings.chains for address in chain.validator_addrs]
    return tuple(dict.fromkeys(one.path for one in targets if isinstance(one, UnixTarget)))


def _start_dialer(parts: SignerParts) -> Helper | None:
    """Where a validator is a unix socket: what connects to it, with the one right that may take,
    and hands the connection over.
    """
    paths = _unix_paths(parts.settings)
    if not paths:
        return None
    settings = parts.settings
    kept_for = "only CAP_DAC_OVERRIDE, to reach unix sockets of the validators' users"
    whom = Whom("cmkms-dialer", DIALER_UID, kept=frozenset({CAP_DAC_OVERRIDE}), kept_for=kept_for)
    keeps = Keeps(whom, code=False, unix=True, shut=tuple(chain.key_file for chain in settings.chains))

    def shut() -> tuple[Measure, ...]:
        for key in parts.keys:
            key.forget()
        mode = Mode(settings.hardening)
        turn = take_turn("dialer", mode, Turn.LATER)
        return (*shut_child("dialer", mode, os.getppid(), keeps), turn)

    return start_helper("dialer", shut, lambda connection: serve_dials(connection, paths))


def _start_door(parts: SignerParts, core: Core, identity: Identity) -> Helper | None:
    """Where there are agents: what listens for them, lets those that are listed prove themselves,
    and hands their connections over.
    """
    settings = parts.settings
    if settings.agent_addr is None:
        return None
    listeners = listen(settings.agent_addr.host, settings.agent_addr.port)
    whom = Whom("cmkms-door", DOOR_UID)
    keeps = Keeps(whom, code=False, accepts=True, shut=tuple(chain.key_file for chain in settings.chains))

    def shut() -> tuple[Measure, ...]:
        for key in parts.keys:
            key.forget()
        return shut_child("door", Mode(settings.hardening), os.getppid(), keeps)

    try:
        return start_helper(
            "door",
            shut,
            lambda connection: serve_door(connection, listeners, core, identity, ()),
            tuple(one.fileno() for one in listeners),
        )
    finally:
        for one in listeners:
            one.close()


def _listed(agents: Mapping[str, Sequence[AgentEntry]]) -> dict[str, dict[str, bytes]]:
    """Return of each chain its agents' names and keys."""
    return {chain: {one.name: one.key for one in entries} for chain, entries in agents.items()}


def _shut(settings: Settings, supervisor: int) -> Confinement:
    """Shut this process off: from here on no file is opened and nothing imported.

    Before the loop: it would keep an io_uring, past any filter.
    """
    plan = Plan(
        Mode(settings.hardening),
        settings.signer_user,
        supervisor,
        tuple(chain.key_file for chain in settings.chains),
        tuple(address.target for chain in settings.chains for address in chain.validator_addrs),
    )
    turn = take_turn("signer", plan.mode, turn_of_signing(realtime=settings.realtime))
    shut = shut_signer(plan)
    return replace(shut, measures=(*shut.measures, turn))


def _live(
    context: ChildContext,
    parts: SignerParts,
    core: Core,
    identities: _Identities,
    slots: Sequence[KeySlot],
    confinement: Confinement,
    dialer: Helper | None,
    door: Helper | None,
    names: NameWatch,
    log: Log,
) -> int:
    async def main(stop: asyncio.Event) -> None:
        signer = _Signer(parts, core, identities, slots, confinement, dialer, door, log, context.beat)
        signer.start()
        if confinement.plan.names:
            watch_names(context, names, signer.is_away, log, lambda: None)
        context.on_reload(lambda new: None if signer.takes_over(new) else context.ask_anew())
        context.on_beat(signer.tick)
        context.ready()
        await stop.wait()
        await signer.stop()

    return run_loop(context, main, log)


class _Signer:
    """Chains and connections of one signer process, driven by its loop."""

    def __init__(
        self,
        parts: SignerParts,
        core: Core,
        identities: _Identities,
        slots: Sequence[KeySlot],
        confinement: Confinement,
        dialer: Helper | None,
        door: Helper | None,
        log: Log,
        beat: Callable[[], None],
    ) -> None:
        """`beat`: the heartbeat of the loop that this runs in."""
        chains: tuple[Chain, ...] = parts.settings.chains
        self._parts = parts
        self._core = core
        self._log = log
        self._calm = CalmLog(log, time.monotonic, whole=_DECISIONS)
        self._beat = beat
        self._confinement = confinement
        helped = [measure for one in (dialer, door) if one is not None for measure in one.measures]
        self._hardening = [one.document() for one in (*confinement.measures, *helped)]
        self._published_at = -STATUS_LATEST_S
        self._following: asyncio.TimerHandle | None = None
        self._identities = identities
        self._nonce = secrets.randbits(64)
        self._trail = core.trail(parts.decisions, self._nonce) if parts.decisions is not None else None
        self._loop = asyncio.get_running_loop()
        self._leased = False
        self._lease_ends: asyncio.TimerHandle | None = None
        self._ticks = 0
        self._path = core.sign_path(
            nonce=self._nonce,
            reservations=parts.requests,
            permits=parts.permits,
            slots=list(slots),
            trail=self._trail,
        )
        self._chains = [
            ChainSigner(
                chain=number,
                chain_id=chain.id,
                slot=slot,
                core=core,
                nonce=self._nonce,
                send=self._send,
                clock_ns=time.monotonic_ns,
                log=self._calm,
                path=self._path,
                count_made=self._count_signatures,
                trail=self._trail,
            )
            for number, (chain, slot) in enumerate(zip(chains, slots, strict=True))
        ]
        self._links = ValidatorLinks(
            core=core,
            towards=identities.towards,
            dialer=Dialer(dialer.connection, _unix_paths(parts.settings)) if dialer is not None else None,
            max_segment=parts.settings.tcp_max_segment,
            settle=self._settle,
            # On one core the state process would wait, and on few cores the members beside it.
            has_cores=len({peer.id for peer in parts.settings.peers}) <= 1 and len(os.sched_getaffinity(0)) > 1,
            log=self._calm,
        )
        for chain, signer in zip(chains, self._chains, strict=True):
            signer.allow_bytes(chain.allowed_bytes)
            self._links.set_up(signer, chain.validator_addrs)
        self._agents = self._agent_port(door) if door is not None else None

    def _agent_port(self, door: Helper) -> AgentPort:
        return AgentPort(
            door=Door(door.connection),
            chains={one.chain_id: one for one in self._chains},
            listed=_listed({chain.id: chain.agents for chain in self._parts.settings.chains}),
            core=self._core,
            node=self._parts.settings.id,
            log=self._calm,
            desk=self._path.desk,
            new_number=self._links.new_number,
            settle=self._settle,
        )

    def start(self) -> None:
        """Say hello to the state process; the connections follow when the lease comes."""
        if self._agents is not None:
            self._agents.start()
        self._parts.permits.discard()
        self._log.attach(lambda flush: self._loop.call_later(_LOG_DELAY_S, flush))
        self._loop.add_reader(self._parts.permits.fileno(), self._on_messages)
        self._send(SignerHello(self._nonce))
        self._note(Outcome.BEGAN)
        self._publish()

    def is_away(self) -> bool:
        """Whether it dials a validator that it does not reach."""
        return self._leased and self._links.failing

    def takes_over(self, new: Reloadable) -> bool:
        """Dial the validators that came, close the connections to those that went; the others
        notice nothing.

        False, and nothing is done, where this process was shut off from one of them: another must
        take its place.
        """
        for text in [text for texts in new.validator_addrs.values() for text in texts]:
            target = parse_validator(text).target
            why = self._confinement.why_not(target)
            if not why and self._identities.towards(target) is None:
                why = "it has no identity for noise://, which is derived before it shuts itself off"
            if why:
                self._log.info("a new signer process is needed", validator=text, why=why)
                return False
        if self._agents is not None:
            known = {chain.chain_id for chain in self._chains}
            agents = {
                chain: [parse_agent(text) for text in texts] for chain, texts in new.agents.items() if chain in known
            }
            self._agents.relist(_listed(agents))
        for chain in self._chains:
            chain.allow_bytes(new.allowed_bytes.get(chain.chain_id, NO_BYTES))
            self._links.relist(chain, new.validator_addrs.get(chain.chain_id, ()), dial=self._leased)
        return True

    async def stop(self) -> None:
        """Close every connection, open none; the validator of a request under way asks the next."""
        self._loop.remove_reader(self._parts.permits.fileno())
        self._on_lease(Lease(self._nonce, granted=False, ttl_ms=0))
        if self._agents is not None:
            self._agents.close()
        await self._links.closed()
        self._count_signatures()
        for chain in self._chains:
            chain.tell_folded(all_of_it=True)
        self._calm.tell_held(everything=True)
        self._note(Outcome.ENDED)
        for chain in self._chains:
            chain.slot.close()
        self._publish()

    def _send(self, message: QueueMessage) -> bool:
        if isinstance(message, Signed):
            self._follow_up()
            return self._parts.requests.push(encode(message), wake=False)
        return self._parts.requests.push(encode(message))

    def _note(self, outcome: Outcome) -> None:
        """A line of this process's own life in the audit log."""
        if self._trail is not None:
            self._trail.note(Decision(outcome))

    def _follow_up(self) -> None:
        """What follows an answer must not compete with it: the state process finds the
        report with the next request, or is woken a little later; then what was signed
        is counted and logged, too.
        """
        if self._following is None:
            self._following = self._loop.call_later(_REPORT_DELAY_S, self._on_follow_up)

    def _on_follow_up(self) -> None:
        self._following = None
        self._parts.requests.wake()
        self._count_signatures()

    def _count_signatures(self) -> None:
        for made in self._path.drain():
            self._chains[made.chain].on_signature(made)

    def _settle(self) -> None:
        """A request waits for its permit: time to write a few lines of the log, and to spin."""
        if self._path.unseen >= _LOG_LINES:
            self._count_signatures()
        if self._log.waiting >= _LOG_LINES:
            self._log.flush()
        if self._links.may_spin and self._parts.permits.spin(PERMIT_SPIN_NS):
            self._on_messages()

    def _on_messages(self) -> None:
        """Everything that the state process said, in its order."""
        more = True
        while more:
            untrusted, answered, more = self._path.take()
            for number in answered:
                self._follow_up()
                if not self._links.on_answered(number) and self._agents is not None:
                    self._agents.on_answered(number)
            if untrusted is not None:
                self._on_message(decode(untrusted))

    def _on_message(self, message: QueueMessage) -> None:
        match message:
            case PermitGranted():
                self._chains[message.chain].on_permit(message)
            case ReserveRefused():
                self._chains[message.chain].on_refused(message)
            case StateHello():
                self._send(SignerHello(self._nonce))
                for chain in self._chains:
                    chain.on_state_hello()
            case Mark() if message.nonce == self._nonce:
                self._chains[message.chain].on_mark(message)
            case Lease() if message.nonce == self._nonce:
                self._on_lease(message)
            case Leader() if message.nonce == self._nonce:
                if self._agents is not None:
                    self._agents.on_standing(leads=self._leased, leader=message.name)
            case Mark() | Lease() | Leader():
                self._log.debug("message for an earlier signer", message=type(message).__name__)
            case _:
                raise InvariantError(f"the state process sent a signer's message: {type(message).__name__}")

    def _on_lease(self, lease: Lease) -> None:
        """A lease of several nodes ends by itself: a state process that is away must not keep the
        validators from the next leader.
        """
        # each renewal is answered: the state process sees within three of them that this loop does
        # not move
        self._beat()
        if self._lease_ends is not None:
            self._lease_ends.cancel()
            self._lease_ends = None
        if lease.granted and lease.ttl_ms:
            self._lease_ends = self._loop.call_later(lease.ttl_ms / 1000, self._lose_lease)
        if lease.granted == self._leased:
            return
        self._leased = lease.granted
        if lease.granted:
            for chain in self._chains:
                chain.take_lead()
            if self._agents is not None:
                self._agents.on_standing(leads=True)
            self._links.dial()
        else:
            self._release()

    def _lose_lease(self) -> None:
        self._log.error("lease not renewed", why="the state process does not answer")
        self._release()

    def _release(self) -> None:
        self._leased = False
        self._count_signatures()  # those of this lease belong to it
        self._links.hang_up()
        for chain in self._chains:
            chain.abandon()
        if self._agents is not None:
            self._agents.on_standing(leads=False)

    def tick(self) -> None:
        """Four times a second: deadlines, what a full queue left over, the status board."""
        self._ticks += 1
        for chain in self._chains:
            chain.expire()
            chain.report()
            chain.tell_folded()
        if self._ticks % _LINK_CHECK_TICKS == 0:
            self._calm.tell_held()
            self._links.check_deadlines()
            if self._agents is not None:
                self._agents.check()
        self._publish_if_quiet()

    def _publish_if_quiet(self) -> None:
        now = self._loop.time()
        if now - self._published_at >= STATUS_LATEST_S or self._links.quiet:
            self._published_at = now
            self._count_signatures()
            self._publish()

    def _publish(self) -> None:
        """The signer's section of the status board."""
        self._parts.board.publish(
            SignerSection(
                core=self._core.name,
                hardening=self._hardening,
                agents=self._agents.document() if self._agents is not None else None,
                chains=[self._chain_document(chain) for chain in self._chains],
            )
        )

    def _chain_document(self, chain: ChainSigner) -> ChainReport:
        return ChainReport(
            chain_id=chain.chain_id,
            public_key=chain.slot.public_key.hex(),
            address=address_of(chain.slot.public_key),
            validators=[
                *self._links.documents(chain),
                *(self._agents.documents(chain) if self._agents is not None else ()),
            ],
            counters=chain.counters.document(),
            votes={KINDS[step]: kind.report() for step, kind in chain.tally.kinds.items()},
            missed={missed.value: count for missed, count in chain.tally.missed.items()},
            latency_us=chain.latency.summary_us(),
            latency_hist=chain.latency.buckets_us(),
            last_signed_at=chain.last_signed_at,
            last_signed_at_mono=chain.last_signed_ns / 1e9,
            refusals=list(chain.refusals)[-max(1, REFUSALS_SHOWN // len(self._chains)) :],
        )
