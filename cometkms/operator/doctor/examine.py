"""The whole examination, group after group.

A group that fails in an unforeseen way, or does not end, is a finding too.
"""

import base64
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Final

from cometkms.address import Address
from cometkms.config.schema import Chain, Settings
from cometkms.core import choose
from cometkms.core.interface import Core
from cometkms.errors import CometKMSError, cure_of_file, disk_failure, said
from cometkms.hardening.account import AUDIT_NAME, STATE_NAME, choose_account
from cometkms.hardening.measures import Mode
from cometkms.keys.cluster import CLUSTER_KEY_NAME
from cometkms.keys.identity import IDENTITY_NAME
from cometkms.keys.passphrase import PassphraseSource
from cometkms.limits import AUDIT_UID, STATE_UID
from cometkms.model import HRS, Row, Watermark
from cometkms.net.comet_rpc import RpcAddress
from cometkms.operator.doctor import chain as chain_checks
from cometkms.operator.doctor import clock, disk, files, key, latency, memory, reach, running, state, versions
from cometkms.operator.doctor.blocks import read_head
from cometkms.operator.doctor.finding import Finding, fail, failed_by, note, ok
from cometkms.store.lock import LOCK_NAME, Holder, flocker_of, holder_of, is_locked
from cometkms.store.node_files import ChainFiles, NodeFiles
from cometkms.store.promise_store import STORE_NAME

GROUP_S: Final = 60.0  # one group of checks; every part of it has a shorter deadline of its own
DEFAULT_BLOCKS: Final = 20
_LISTED_MAX: Final = 1000  # files of a home that are looked at


class _TimeIsUpError(Exception):
    """No OSError: what reads files would take it for one of theirs."""


@dataclass(frozen=True, slots=True)
class Patient:
    """What is examined. `settings` None: they cannot be understood, and `problems` say why.

    `chains`: the configured ones. `node`: the running node's own document, None when
    none answers, and `why_none`. `status`: its /status; None when it does not answer there, and
    `status_why`. `http_addr`: where it serves.
    """

    home: Path
    settings: Settings | None
    problems: tuple[CometKMSError, ...]
    chains: tuple[Chain, ...]
    node: Mapping[str, Any] | None
    why_none: CometKMSError | None = None
    status: Mapping[str, Any] | None = None
    status_why: str = ""
    http_addr: Address | None = None
    rpc: RpcAddress | None = None
    blocks: int = DEFAULT_BLOCKS
    passphrase: PassphraseSource | None = None
    open_key: bool = False


def examine(patient: Patient, again: Callable[[], Mapping[str, Any] | None] = lambda: None) -> list[Finding]:
    """Every finding, in a fixed order of areas.

    `again`: asks the running node once more, after the chain was read.
    """
    found: list[Finding] = []
    measured = latency.Measured()
    groups: list[tuple[str, Callable[[], list[Finding]]]] = [
        ("node", lambda: _node(patient)),
        ("config", lambda: _config(patient)),
        (key.AREA, lambda: _keys(patient)),
        (state.AREA, lambda: _state(patient)),
        (files.AREA, lambda: _permissions(patient)),
        (disk.AREA, lambda: _disk(patient, measured)),
        (memory.AREA, lambda: _memory(patient)),
        (clock.AREA, lambda: _clock(patient)),
        (versions.AREA, lambda: _versions(patient)),
        (reach.PEERS, lambda: _reach(patient, measured)),
        (chain_checks.AREA, lambda: _chain(patient, again, measured)),
        (latency.AREA, lambda: _latency(patient, measured)),
    ]
    for area, group in groups:
        found += _guarded(area, group)
    return list(dict.fromkeys(found))  # what two checks stumbled over is said once


def _guarded(area: str, group: Callable[[], list[Finding]]) -> list[Finding]:
    def on_alarm(_number: int, _frame: FrameType | None) -> None:
        raise _TimeIsUpError

    before = signal.signal(signal.SIGALRM, on_alarm)
    signal.setitimer(signal.ITIMER_REAL, GROUP_S)
    try:
        return group()
    except CometKMSError as error:
        return failed_by(area, error)
    except _TimeIsUpError:
        words = f"this check did not end within {GROUP_S:g} s"
        return [fail(area, words, "look whether the files of the home are files, and the disk answers")]
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        return [
            fail(
                area,
                f"this check could not be made: {said(error)}{where}",
                cure_of_file(error, "run the doctor as the node's user"),
            )
        ]
    except Exception as error:  # noqa: BLE001 - the doctor tells what it found so far, whatever a broken home does to it
        return [fail(area, f"this check failed by a bug: {type(error).__name__}: {said(error)}", "please report it")]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


# --- groups ---


def _node(patient: Patient) -> list[Finding]:
    if patient.node is None:
        holder = holder_of(patient.home)
        if holder is not None:
            return [_held(patient.home, holder, patient.why_none)]
        if (orphaned := _of_nobody(patient)) is not None:
            return [orphaned]
        return [note("node", "no node runs in this home: files and reachability are looked at")]
    if patient.status is None:
        return [
            fail(
                "node",
                f"the node runs, and does not answer on HTTP: {patient.status_why}",
                "its log; --http-addr if it is another one",
            )
        ]
    status = patient.status
    found = running.judge_trouble(status)
    found += running.judge_children(_list(status.get("children")))
    found += running.judge_hardening(_list(status.get("hardening")))
    return found + running.judge_audit(status) + running.judge_webhook(status)


def _of_nobody(patient: Patient) -> Finding | None:
    """A promise store in use in a home whose lock nobody holds: its lock file was taken away."""
    stores = sorted((patient.home / "data").glob(f"*/{STORE_NAME}"))
    for store in stores:
        if (pid := flocker_of(store)) is not None:
            words = f"process {pid} uses {store}, and nobody holds {patient.home / LOCK_NAME}: that file was removed under it"
            return fail(
                "node", words, "a running node makes it anew; where this stays, stop that process and start the node"
            )
    return None


def _held(home: Path, holder: Holder, why: CometKMSError | None) -> Finding:
    """What holds a home in which no node answers; `why` names the holder where it could be asked
    and was there then.
    """
    if (home / "data").is_dir() and not os.access(home / "data", os.X_OK):
        words = f"{holder} holds this home, and this user may not ask it: its data/ is another user's"
        return fail("node", words, "run the doctor as the node's user")
    if holder.is_node and why is not None and str(holder) in why.what:
        return fail("node", why.what, why.cure)
    if holder.is_node:
        words = f"{holder} holds this home and does not answer on its control socket"
        return fail("node", words, holder.cure)
    words = f"{holder} holds this home, as a command that changes it does: no node can start meanwhile"
    return fail("node", words, f"{holder.cure}; then the doctor again")


def _config(patient: Patient) -> list[Finding]:
    if patient.node is not None:
        differences = [one for one in _list(patient.node.get("config_differences")) if isinstance(one, Mapping)]
        found = versions.judge_differences(differences)
        if patient.problems:
            found.append(
                note(
                    "config", "the running node has settings from its flags or variables that this command does not see"
                )
            )
        return found or [ok("config", "the settings are sound, and no other node's differ")]
    if patient.problems:
        return [
            fail("config", one.what, one.cure or "put it right in config.toml, or give the flag")
            for one in patient.problems
        ]
    settings = patient.settings
    if settings is None:
        return [fail("config", "there are no settings", f"cmkms init --home {patient.home}")]
    members = ", ".join(peer.id for peer in settings.peers)
    return [
        ok(
            "config",
            f"node {settings.id}{' of ' + members if members else ', alone'}; chains {', '.join(chain.id for chain in settings.chains)}",
        )
    ]


def _keys(patient: Patient) -> list[Finding]:
    settings = patient.settings
    if settings is None:
        return []
    found: list[Finding] = []
    readable = True
    for chain in patient.chains:
        public_key, more = key.read_public_key(chain)
        readable = readable and public_key is not None
        found += more
    source = patient.passphrase or settings.key_passphrase
    if readable:
        found += key.judge_passphrase(patient.chains, source, running=patient.node is not None)
        if patient.open_key:
            for chain in patient.chains:
                found += key.try_open(chain, source, choose.load())
    found += key.judge_identity(settings) + key.judge_noise_identity(settings) + key.judge_cluster_key(settings)
    if patient.node is None:  # a running node says itself whether alerts arrive
        found += key.judge_webhook_address(settings)
    return found + _running_keys(patient)


def _running_keys(patient: Patient) -> list[Finding]:
    """Whether the running node holds the keys that the files hold now."""
    if patient.node is None:
        return []
    rows = {row.get("chain_id"): row.get("public_key") for row in _list(patient.node.get("rows"))}
    found = []
    for chain in patient.chains:
        public_key, _ = key.read_public_key(chain)
        if chain.id in rows and public_key is not None and rows[chain.id] != public_key.hex():
            found.append(
                fail(
                    key.AREA,
                    f"{chain.id}: the running node signs with another key than its file holds now",
                    "restart the node, or put the file back",
                )
            )
    return found


def _files_of(patient: Patient) -> NodeFiles | None:
    """None where a key cannot be read: what belongs to it is not known."""
    settings = patient.settings
    if settings is None:
        return None
    chains = []
    for chain in patient.chains:
        public_key, _ = key.read_public_key(chain)
        if public_key is None:
            return None
        chains.append(ChainFiles(Row(public_key, chain.id), chain.state_file))
    return NodeFiles.at(settings.home, settings.id, tuple(chains), tuple(peer.id for peer in settings.peers))


def _state(patient: Patient) -> list[Finding]:
    found = _files_of(patient)
    if found is None:
        return (
            [] if patient.settings is None else [note(state.AREA, "not looked at: the key it belongs to is not known")]
        )
    return state.judge_state(state.gather_state(found, choose.load()))


def _permissions(patient: Patient) -> list[Finding]:
    home = patient.home
    if not home.is_dir():
        return [fail(files.AREA, f"{home} does not exist", f"cmkms init --home {home}")]
    # A directory in a key's place is told with the key: whatever it is, its mode may well be right.
    secret = {home / "priv", *(chain.key_file for chain in patient.chains if not chain.key_file.is_dir())}
    secret |= {home / "priv" / name for name in (IDENTITY_NAME, CLUSTER_KEY_NAME)}
    paths = dict.fromkeys([home, home / "config.toml", home / "data", *sorted(secret)])
    for folder in (home / "priv", home / "data"):
        for parent, names, leaves in os.walk(folder):
            paths |= dict.fromkeys(Path(parent) / name for name in [*names, *leaves])
            if len(paths) > _LISTED_MAX:
                break
    places = [files.look_at(path, secret=path in secret) for path in paths]
    found = files.judge_places([place for place in places if place is not None], home.stat().st_uid)
    found += _handing_over(patient)
    if patient.node is None and patient.settings is not None:
        control = home / "data" / patient.settings.id / "control.sock"
        found += files.judge_in_the_way(home / LOCK_NAME, control)
    return found + _writing(patient)


def _writing(patient: Patient) -> list[Finding]:
    """Whether a node makes its files: its state files beside the keys, too."""
    beside = [chain.state_file.parent for chain in patient.chains]
    own = [patient.home / "data" / patient.settings.id] if patient.settings is not None else []
    places = dict.fromkeys((patient.home, patient.home / "priv", *beside, patient.home / "data", *own))
    for place in places:
        if place.is_dir() and (found := files.judge_writing(place)):
            return found  # of a disk that is read-only as a whole, say: once
    return []


def _handing_over(patient: Patient) -> list[Finding]:
    """What a start as root would stumble over where it gives its processes their files."""
    settings = patient.settings
    if os.geteuid() != 0 or settings is None or settings.hardening == Mode.OFF:
        return []
    data = settings.home / "data" / settings.id
    found = files.judge_handing_over(data, "state", choose_account("", STATE_NAME, STATE_UID))
    if settings.audit_max_mib:
        found += files.judge_handing_over(data / "audit", "audit", choose_account("", AUDIT_NAME, AUDIT_UID))
    return found


def _disk(patient: Patient, measured: latency.Measured) -> list[Finding]:
    settings, home = patient.settings, patient.home
    data = home / "data" / settings.id if settings is not None else home / "data"
    directory = next((one for one in (data, home / "data", home) if one.is_dir()), None)
    if directory is None:
        return []
    mounts = Path("/proc/self/mountinfo").read_text(errors="replace")
    found = [
        disk.judge_file_system(*disk.file_system_of(directory, mounts)),
        disk.judge_room(disk.read_room(directory)),
    ]
    try:
        probe = disk.measure_syncs(directory)
        measured.sync_ms = disk.median_ms(probe)
        found.append(disk.judge_syncs(probe))
    except OSError as error:
        failure = disk_failure(error)
        otherwise = files.cure_of_directory(directory, "run the doctor as the node's user")
        cure = failure.cure if failure is not None else cure_of_file(error, otherwise)
        found.append(fail(disk.AREA, f"{directory} cannot be written and synced: {said(error)}", cure))
    return found


def _memory(patient: Patient) -> list[Finding]:
    found = memory.judge_memory(memory.read_memory_facts(), len(patient.chains))
    pid = next(
        (child.get("pid") for child in _list((patient.status or {}).get("children")) if child.get("name") == "signer"),
        None,
    )
    return found + (memory.judge_process(memory.read_process(pid)) if isinstance(pid, int) else [])


def _clock(patient: Patient) -> list[Finding]:
    try:
        found = [clock.judge_kernel_clock(clock.read_kernel_clock())]
    except OSError as error:
        found = [clock.judge_kernel_clock(None, said(error))]
    offsets = {
        str(member.get("id")): float(member["clock_ahead_ms"])
        for member in _list((patient.node or {}).get("members"))
        if member.get("connected") and member.get("clock_ahead_ms") is not None
    }
    return found + clock.judge_peer_clocks(offsets)


def _versions(patient: Patient) -> list[Finding]:
    found = [*versions.judge_libraries(versions.library_versions()), *versions.judge_core()]
    return found + (versions.judge_running(patient.status) if patient.status is not None else [])


def _reach(patient: Patient, measured: latency.Measured) -> list[Finding]:
    settings = patient.settings
    if patient.node is not None:
        found = reach.judge_members(patient.node)
        measured.round_trips_ms = latency.round_trips_of(_list(patient.node.get("members")))
        if patient.status is not None:
            leads = bool(patient.status.get("is_leader"))
            leader = str(patient.status.get("leader_id") or "")
            found += reach.judge_validators(_list(patient.status.get("chains")), leads=leads, leader=leader)
        if settings is None or patient.http_addr is None:
            return found
        return found + reach.judge_own_addresses(settings, patient.http_addr)
    if settings is None or is_locked(patient.home):
        return []
    peers = reach.try_all(reach.peer_targets(settings))
    measured.round_trips_ms = {one.name: one.took_ms for one in peers if one.took_ms is not None}
    found = reach.judge_reached(reach.PEERS, peers)
    if patient.chains and not patient.problems:
        validators = reach.try_all(reach.validator_targets(settings))
        found += reach.judge_reached(reach.VALIDATORS, validators) + reach.judge_same(validators)
    return found + reach.judge_own_addresses(settings, None)


def _latency(patient: Patient, measured: latency.Measured) -> list[Finding]:
    settings = patient.settings
    if settings is None or measured.round_trips_ms is None:
        return []
    members = len(_list((patient.node or {}).get("members"))) or len(settings.peers) or 1
    return latency.judge_latency(measured, members)


def _chain(
    patient: Patient, again: Callable[[], Mapping[str, Any] | None], measured: latency.Measured
) -> list[Finding]:
    if patient.rpc is None:
        return []
    found = _files_of(patient)
    if found is None or not found.chains:
        return [note(chain_checks.AREA, "not looked at: no chain and key are known here")]
    core = choose.load()
    head = read_head(patient.rpc)
    mine = next((one for one in found.chains if one.row.chain_id == head.chain_id), found.chains[0])
    facts = chain_checks.gather_chain(patient.rpc, mine.row, patient.blocks)
    if (pace := latency.block_time(facts)) is not None:
        measured.block_s, measured.blocks = pace
    mark = _mark_now(patient, found, mine, core, again)
    known = chain_checks.Known(mine.row, mark, alone=found.alone, running=patient.node is not None)
    return chain_checks.judge_chain(facts, known, core)


def _mark_now(
    patient: Patient, found: NodeFiles, mine: ChainFiles, core: Core, again: Callable[[], Mapping[str, Any] | None]
) -> Watermark | None:
    """The highest place known here, asked for after the blocks were read; with the signature where
    the node knows it.
    """
    facts = state.gather_state(found, core)
    chain = next(one for one in facts.chains if one.chain_id == mine.row.chain_id)
    marks = [mark for mark in (state.highest_mark(facts, chain),) if mark is not None]
    if patient.node is not None:
        time.sleep(0.5)  # a follower learns of a signature a moment after the chain did
        for row in _list((again() or patient.node).get("rows")):
            if row.get("chain_id") == mine.row.chain_id:
                marks += _marks_of(row)
    return max(marks, key=lambda mark: (mark.hrs, bool(mark.signature)), default=None)


def _marks_of(row: Mapping[str, Any]) -> list[Watermark]:
    """Watermark and last signature of a row as a running node tells them."""
    found = []
    if isinstance(held := row.get("watermark"), Mapping):
        found.append(Watermark(HRS(held["height"], held["round"], held["step"])))
    if isinstance(last := row.get("last_sign_state"), Mapping):
        hrs = HRS(last["height"], last["round"], last["step"])
        found.append(
            Watermark(hrs, bytes.fromhex(last.get("signbytes", "")), base64.b64decode(last.get("signature", "")))
        )
    return found


def _list(untrusted: object) -> Sequence[Any]:
    """Return the mappings of a list, whatever a node of another version sends."""
    return [one for one in untrusted if isinstance(one, Mapping)] if isinstance(untrusted, list) else []
