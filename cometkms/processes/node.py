"""`cmkms start`: preflight, shared memory, then the supervisor with its children."""

import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from cometkms import __version__
from cometkms import core as cores
from cometkms.config.load import Flags
from cometkms.config.schema import Settings
from cometkms.hardening.account import ProcStatus, check_wanted, named_accounts
from cometkms.hardening.confine import Told, check_no_dump
from cometkms.hardening.measures import Mode
from cometkms.interface import Queue
from cometkms.ipc.board import Board
from cometkms.ipc.notify import take_notifier
from cometkms.ipc.prctl import adopt_orphans, make_undumpable
from cometkms.ipc.queues import make_queue
from cometkms.keys.cluster import cluster_secret
from cometkms.keys.identity import ensure_identity
from cometkms.keys.passphrase import PassphraseFile, PassphraseHeld, PassphraseSource, hold
from cometkms.keys.source import KeySource, SealedKeyFile, key_source
from cometkms.log import Log
from cometkms.model import Row
from cometkms.processes import api, audit, signer, state
from cometkms.processes.child import RELOAD_SECTION, ChildContext
from cometkms.processes.reload import Reloader
from cometkms.processes.supervisor import ChildSpec, Supervisor
from cometkms.store.doors import check_doors
from cometkms.store.lock import lock_home
from cometkms.store.node_store import ChainFiles, NodeFiles

_CHILDREN = ("state", "signer", "api", "audit")


def run(settings: Settings, log: Log, flags: Flags, typed: PassphraseSource | None = None) -> int:
    """Until a signal or a failure; returns the exit code. `flags`: a reload loads the settings with them again. `typed`: a passphrase
    that was asked for at the terminal.

    Raises: OperatorError before anything was started.
    """
    os.umask(0o077)  # whatever a library makes a file with
    notifier = take_notifier()
    make_undumpable()  # the children inherit it
    adopt_orphans()  # the children's helpers
    if settings.hardening != Mode.OFF:
        check_wanted(settings.signer_user)
    core_name = cores.chosen_name()
    _check_doors(settings)
    lock = lock_home(settings.home)
    try:
        core = cores.load()
        passphrase = typed or hold(settings.key_passphrase)
        keys = tuple(key_source(chain.key_file, passphrase) for chain in settings.chains)
        if passphrase is not None and not any(isinstance(key, SealedKeyFile) for key in keys):
            log.warning("a passphrase is configured and no key is sealed", cure="cmkms keys encrypt")
        files = _node_files(settings, keys)
        secret = cluster_secret(settings.home, keys, core)
        ensure_identity(settings.home)
        _say_hello(settings, core_name, log)
        children = _CHILDREN if settings.audit_max_mib else _CHILDREN[:-1]
        board = Board(("supervisor", RELOAD_SECTION, *children), children)
        requests, permits = make_queue(core_name), make_queue(core_name)
        decisions = make_queue(core_name) if settings.audit_max_mib else None
        state_parts = state.StateParts(settings, files, secret, requests, permits, board.section("state"), log)
        signer_parts = signer.SignerParts(settings, requests, permits, board.section("signer"), log, keys, decisions)
        api_parts = api.ApiParts(settings, board, log)
        own_log = log.bind(module="supervisor")

        def set_level(level: str) -> None:
            log.set_level(level)  # what the children are forked with
            own_log.set_level(level)

        now = Reloader(settings, flags, own_log, set_level)
        facts: dict[str, object] = {
            "version": __version__,
            "home": str(settings.home),
            "started_at": time.time(),
            "hardening": _own_measures(),
        }
        specs = [
            ChildSpec(
                "state",
                without(
                    passphrase,
                    unused(decisions),
                    lambda context: state.run(context, replace(state_parts, settings=now.settings)),
                ),
            ),
            ChildSpec("signer", lambda context: signer.run(context, replace(signer_parts, settings=now.settings))),
            ChildSpec(
                "api",
                without(
                    passphrase,
                    unused(requests, permits, decisions),
                    lambda context: api.run(context, replace(api_parts, settings=now.settings)),
                ),
            ),
        ]
        if decisions is not None:
            audit_parts = audit.AuditParts(settings, decisions, board.section("audit"), log)
            life = without(
                passphrase,
                unused(requests, permits),
                lambda context: audit.run(context, replace(audit_parts, settings=now.settings)),
            )
            # Right behind the signer, which waits for nobody: its queue must not fill while Python imports an HTTP server.
            specs.insert(2, ChildSpec("audit", life, essential=False))
        return Supervisor(specs, board, own_log, facts, notifier=notifier, reload=now).run()
    finally:
        os.close(lock)


def _check_doors(settings: Settings) -> None:
    """Nobody else can change what this node relies on. Raises: HardeningError naming each place and its cure."""
    secrets = [chain.key_file for chain in settings.chains]
    if isinstance(settings.key_passphrase, PassphraseFile):
        secrets.append(settings.key_passphrase.path)
    check_doors(settings.home, settings.id, [chain.state_file for chain in settings.chains], secrets, named_accounts())


def _own_measures() -> list[dict[str, str]]:
    """The supervisor's, for the status board. Raises: HardeningError."""
    told = Told("supervisor")
    with ProcStatus() as status:
        check_no_dump(told, status)
    return [one.document() for one in told.measures]


def unused(*queues: Queue | None) -> tuple[Queue, ...]:
    """Those that there are."""
    return tuple(queue for queue in queues if queue is not None)


def without(
    passphrase: PassphraseSource | None, queues: Sequence[Queue], life: Callable[[ChildContext], int]
) -> Callable[[ChildContext], int]:
    """A child's life that begins with wiping what it inherited of the passphrase, and with giving up the queues that it has no part in.

    Whoever takes over the api process must not be able to write a permit.
    """

    def run(context: ChildContext) -> int:
        if isinstance(passphrase, PassphraseHeld):
            passphrase.forget()
        for queue in queues:
            queue.close()
        return life(context)

    return run


def _node_files(settings: Settings, keys: Sequence[KeySource]) -> NodeFiles:
    """Where this node's durable state is, named by the public keys; the state process itself opens no key file."""
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
    if settings.allow_unsafe:
        log.warning("allow_unsafe has no effect", why="this program has no unsafe APIs")
