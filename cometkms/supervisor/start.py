"""`cmkms start`: preflight, shared memory, then the supervisor with its children."""

import os
import platform
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from cometkms import __version__
from cometkms.api import process as api
from cometkms.audit import process as audit
from cometkms.board.sections import SupervisorSection
from cometkms.board.status_board import Board
from cometkms.board.trouble import ESSENTIAL, SUPERVISOR
from cometkms.config.load import unknown_variables
from cometkms.config.ports import Place, check_ports, listener
from cometkms.config.schema import Settings
from cometkms.config.table import Flags
from cometkms.config.webhook import UrlFile
from cometkms.core import choose
from cometkms.core.interface import Core, Queue
from cometkms.errors import ConfigError
from cometkms.hardening.account import ProcStatus, check_wanted, named_accounts
from cometkms.hardening.confine import LATE_MODULES, Told, check_no_dump, preload
from cometkms.hardening.measures import MeasureReport, Mode, State, check_required
from cometkms.hardening.prctl import adopt_orphans, make_undumpable
from cometkms.hardening.scheduling import Turn, take_turn
from cometkms.ipc.child import RELOAD_SECTION, ChildContext
from cometkms.ipc.descriptors import close_inherited, forget_input
from cometkms.ipc.notify import take_notifier
from cometkms.ipc.queues import make_queue
from cometkms.keys.cluster import Derivation
from cometkms.keys.identity import ensure_identity
from cometkms.keys.passphrase import PassphraseDescriptor, PassphraseFile, PassphraseHeld, PassphraseSource, hold
from cometkms.keys.source import KeySource, SealedKeyFile, key_source
from cometkms.keytypes import type_of
from cometkms.log import Log
from cometkms.model import Row
from cometkms.net import opening
from cometkms.net.listen import AGENT_CURE, HTTP_CURE, listen, resolved
from cometkms.signer import process as signer
from cometkms.state import process as state
from cometkms.store.doors import check_doors, check_keys_are_the_homes
from cometkms.store.lock import lock_home, share_home
from cometkms.store.node_files import ChainFiles, NodeFiles
from cometkms.supervisor.child import ChildSpec
from cometkms.supervisor.home_watch import HomeWatch
from cometkms.supervisor.reload import Reloader
from cometkms.supervisor.supervise import Supervisor
from cometkms.webhook import process as webhook

#: What the supervisor does for one child only (child.ChildSpec).
_PARTS: Final = {"state": {"keeps_store": True, "hands_over": True}, "signer": {"stops_first": True}}


def run(settings: Settings, log: Log, flags: Flags, typed: PassphraseSource | None = None) -> int:
    """Run until a signal or a failure, and return the exit code. `flags`: a reload loads the
    settings with them again. `typed`: a passphrase that was asked for at the terminal.

    Raises: OperatorError before anything was started.
    """
    _close_up(settings)
    notifier = take_notifier()
    if settings.hardening != Mode.OFF:
        check_wanted(settings.signer_user)
    core_name = choose.chosen_name()
    _check_doors(settings)
    lock = lock_home(settings.home, log.bind(module="supervisor").warning)
    try:
        _check_addresses(settings)
        core = _load()
        passphrase = _held(settings, typed)
        keys = _key_sources(settings, passphrase, core, log)
        files = _node_files(settings, keys)
        ensure_identity(settings.home)
        _say_hello(settings, core_name, log)
        children = _children(settings)
        board = Board((SUPERVISOR, RELOAD_SECTION, *children), (*children, SUPERVISOR))
        requests, permits, decisions = _queues(settings, core_name)

        def live_state(context: ChildContext) -> int:
            """Who this node is, is derived aside at every start, and comes into this process
            only."""
            derivation = _derive(settings, keys, core, passphrase)
            parts = state.StateParts(now.settings, files, derivation, requests, permits, board.section("state"), log)
            return state.run(context, parts)

        signer_parts = signer.SignerParts(settings, requests, permits, board.section("signer"), log, keys, decisions)
        api_parts = api.ApiParts(settings, board, log)
        own_log = log.bind(module="supervisor")

        def set_level(level: str) -> None:
            log.set_level(level)  # what the children are forked with
            own_log.set_level(level)

        now = Reloader(settings, flags, own_log, set_level)
        facts: SupervisorSection = {
            "version": __version__,
            "home": str(settings.home),
            "started_at": time.time(),
            "started_at_mono": time.monotonic(),
            "hardening": _own_measures(board, Mode(settings.hardening)),
        }

        def spec(
            name: str,
            life: Callable[[ChildContext], int],
            *unused: Queue | None,
            secret: bool = False,
        ) -> ChildSpec:
            """`unused`: queues that it has no part in; `secret`: whether it is to open a key
            itself."""

            def live(context: ChildContext) -> int:
                share_home(settings.home, lock)
                give_up(unused)
                if not secret:
                    forget(passphrase)
                return life(context)

            return ChildSpec(name, live, essential=name in ESSENTIAL, **_PARTS.get(name, {}))

        specs = [
            spec("state", live_state, decisions, secret=True),
            spec(
                "signer", lambda context: signer.run(context, replace(signer_parts, settings=now.settings)), secret=True
            ),
            spec(
                "api",
                lambda context: api.run(context, replace(api_parts, settings=now.settings)),
                requests,
                permits,
                decisions,
            ),
        ]
        if decisions is not None:
            audit_parts = audit.AuditParts(settings, decisions, board.section("audit"), log)
            one = spec(
                "audit",
                lambda context: audit.run(context, replace(audit_parts, settings=now.settings)),
                requests,
                permits,
            )
            # Right behind the signer, which waits for nobody: its queue must not fill while Python
            # imports an HTTP server.
            specs.insert(2, one)
        if (told := settings.webhook) is not None:
            parts = webhook.WebhookParts(settings, told, board, log)
            specs.append(spec("webhook", partial(webhook.run, parts=parts), requests, permits, decisions))
        one_stream = settings.log_format == "plain" and _is_one_stream()
        return Supervisor(
            specs,
            board,
            own_log,
            facts,
            notifier=notifier,
            reload=now,
            one_stream=one_stream,
            look_home=HomeWatch(settings.home, lock, own_log).look,
        ).run()
    finally:
        os.close(lock)


def _check_addresses(settings: Settings) -> None:
    """The api process and the door take these when others already run: who holds one is told before
    a node leads that would end for it.

    Raises: BusyError, ConfigError.
    """
    own = [Place("raft_addr", settings.raft_addr, f"raft_addr {settings.raft_addr}")]
    taken = [("http_addr", settings.http_addr, HTTP_CURE)]
    if settings.agent_addr is not None:
        taken.append(("agent_addr", settings.agent_addr, AGENT_CURE))
    for setting, address, cure in taken:
        own.append(listener(setting, address, setting))
        if faults := check_ports(own, (), resolved):  # by other names than the settings show
            raise ConfigError.together(faults)
        listen(setting, address.host, address.port, cure).close()


def _load() -> Core:
    """What the children need, once, before the fork: each would load it into memory of its own."""
    preload((*LATE_MODULES, *audit.LATE, *opening.LATE), names=False)
    return choose.load()


def _queues(settings: Settings, core_name: str) -> tuple[Queue, Queue, Queue | None]:
    """Requests to the state process, permits from it, and decisions for the audit log where there
    is one."""
    decisions = make_queue(core_name) if settings.audit_max_mib else None
    return make_queue(core_name), make_queue(core_name), decisions


def _children(settings: Settings) -> tuple[str, ...]:
    """The processes that this node has, each with a part of the status board."""
    audited = ("audit",) if settings.audit_max_mib else ()
    return ("state", "signer", "api", *audited, *(("webhook",) if settings.webhook is not None else ()))


def _close_up(settings: Settings) -> None:
    """Nothing that a parent left, and nothing that this process or a library leaves to others."""
    os.umask(0o077)  # whatever a library makes a file with
    held = settings.key_passphrase
    close_inherited({held.number} if isinstance(held, PassphraseDescriptor) else ())
    make_undumpable()  # the children inherit it
    adopt_orphans()  # the children's helpers


def _held(settings: Settings, typed: PassphraseSource | None) -> PassphraseSource | None:
    """Return where the passphrase comes from.

    It may have been read from stdin, in which no child has part. Raises: KeyFileError.
    """
    source = typed or hold(settings.key_passphrase)
    forget_input()
    return source


def _check_doors(settings: Settings) -> None:
    """Nobody else can change what this node relies on. Raises: HardeningError naming each place and
    its cure."""
    secrets = [chain.key_file for chain in settings.chains]
    check_keys_are_the_homes(settings.home, secrets)
    if isinstance(settings.key_passphrase, PassphraseFile):
        secrets.append(settings.key_passphrase.path)
    if settings.noise_identity_file is not None:
        secrets.append(settings.noise_identity_file)
    if settings.webhook is not None and isinstance(settings.webhook.source, UrlFile):
        secrets.append(settings.webhook.source.path)
    check_doors(settings.home, settings.id, [chain.state_file for chain in settings.chains], secrets, named_accounts())


def _key_sources(
    settings: Settings, passphrase: PassphraseSource | None, core: Core, log: Log
) -> tuple[KeySource, ...]:
    """Return the key source of each chain. No key is opened: that is the signer's, and the
    process's that derives. Raises: KeyFileError, OperatorError."""
    keys = tuple(key_source(chain.key_file, passphrase) for chain in settings.chains)
    for key in keys:
        # before the forks: a child that is shut off loads nothing any more
        core.require(type_of(key.public_key))
    if passphrase is not None and not any(isinstance(key, SealedKeyFile) for key in keys):
        log.warning("a passphrase is configured and no key is sealed", cure="cmkms keys encrypt")
    return keys


def _is_one_stream() -> bool:
    """Whether stdout, where the log goes, and stderr are one terminal, file or journal."""
    try:
        return os.path.sameopenfile(1, 2)
    except OSError:  # one of them is closed
        return False


def _derive(
    settings: Settings, keys: Sequence[KeySource], core: Core, passphrase: PassphraseSource | None
) -> Derivation:
    """Derive who this node is; it is done and not taken yet. A key that does not open leaves no
    trace in the home. Raises: KeyFileError."""
    members = [peer.id for peer in settings.peers]
    derivation = Derivation(settings.home, keys, core, settings.id, members, settings.noise_identity_file)
    forget(passphrase)
    derivation.wait()
    return derivation


def _own_measures(board: Board, mode: Mode) -> list[MeasureReport]:
    """The supervisor's, for the status board. Raises: HardeningError."""
    told = Told("supervisor")
    with ProcStatus() as status:
        check_no_dump(told, status)
    if board.sealed:
        told.add(
            "board", State.ON, "each process writes its own part of the status board; the rest is sealed against it"
        )
    else:
        why = "the status board's parts are read-only to others, and not sealed (Linux 5.1): root's capabilities could undo it"
        told.add("board", State.UNAVAILABLE, why)
    check_required(mode, told.measures)
    turn = take_turn("supervisor", mode, Turn.PARENT)
    return [one.document() for one in (*told.measures, turn)]


def forget(passphrase: PassphraseSource | None) -> None:
    """Forget in this process whatever it inherited of the passphrase."""
    if isinstance(passphrase, PassphraseHeld):
        passphrase.forget()


def give_up(queues: Iterable[Queue | None]) -> None:
    """Those that there are. Whoever takes over the api process must not be able to write a
    permit."""
    for queue in queues:
        if queue is not None:
            queue.close()


def _node_files(settings: Settings, keys: Sequence[KeySource]) -> NodeFiles:
    """Where this node's durable state is, named by the public keys; the state process itself opens
    no key file."""
    chains = tuple(
        ChainFiles(Row(key.public_key, chain.id), chain.state_file)
        for key, chain in zip(keys, settings.chains, strict=True)
    )
    return NodeFiles.at(settings.home, settings.id, chains, tuple(peer.id for peer in settings.peers))


def _say_hello(settings: Settings, core_name: str, log: Log) -> None:
    log.info(
        "cmkms starts",
        version=__version__,
        id=settings.id,
        home=str(settings.home),
        core=core_name,
        python=platform.python_version(),
        http=str(settings.http_addr),
        chains=tuple(chain.id for chain in settings.chains),
    )
    if core_name == "pure":
        log.warning(
            "the pure-Python core runs: slower, and without the shared-memory ring",
            cure="build the C core (a C compiler, then pip install .)",
        )
    members = len({settings.id, *(peer.id for peer in settings.peers)})
    if members > 1 and members % 2 == 0:
        log.warning(
            "an even number of nodes",
            members=members,
            what="losing one of two stops signing"
            if members == 2
            else f"{members} nodes bear no more losses than {members - 1}",
            cure="three or five nodes",
        )
    for words in unknown_variables():
        log.warning("unknown variable", what=words)
    if settings.allow_unsafe:
        log.warning("allow_unsafe has no effect", why="this program has no unsafe APIs")
