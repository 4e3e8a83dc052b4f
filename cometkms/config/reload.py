"""What a running node takes over from settings loaded anew, and what needs a restart.

Pure: no file, no clock, no process.

    at once      log_level; leader_priority; the bounds of alerts; the validators' addresses, the
                 agents, and what is signed besides votes, of the chains that run
    a restart    everything else: it decides who this node is, what it holds, or where it listens

What may change is small on purpose. A node's identity, members, keys and files are
fixed by its first promise; a running process that swapped one of them would be a second
node in the first one's place.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Final

from cometkms.config.schema import AlertBounds, Chain, Settings
from cometkms.config.table import SETTINGS, Flags
from cometkms.config.values import check_unique_id, parse_agent, parse_priority, parse_validator
from cometkms.config.webhook import UrlGiven, Webhook
from cometkms.errors import ConfigError, InvariantError
from cometkms.keys.passphrase import PassphraseCredential, PassphraseDescriptor, PassphraseFile
from cometkms.limits import BOARD_SECTION_BYTES, LEADER_PRIORITY_DEFAULT
from cometkms.model import AllowedBytes

#: Settings' fields that are taken over as they are. The chains are looked at one by one.
_AT_ONCE: Final = ("log_level", "alerts", "leader_priority")
#: Settings' fields that are written otherwise in config.toml.
_KEY_OF: Final = {"webhook": "alert_webhook"}
_DOCUMENT_MAX_BYTES: Final = BOARD_SECTION_BYTES - 64  # a board section less its head
_SHOWN_MAX: Final = 120  # of a value in a line of the log


@dataclass(frozen=True, slots=True)
class Reloadable:
    """What the children take over.

    `validator_addrs`, `agents`, `allowed_bytes`: of each chain, as configured.
    """

    log_level: str
    validator_addrs: Mapping[str, tuple[str, ...]]
    alerts: AlertBounds
    leader_priority: str = str(LEADER_PRIORITY_DEFAULT)
    agents: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    allowed_bytes: Mapping[str, AllowedBytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a reload does.

    `settings`: those the node runs with from now on; the texts: each difference, in words.
    """

    settings: Settings
    changed: tuple[str, ...]
    needs_restart: tuple[str, ...]


def plan_reload(running: Settings, loaded: Settings) -> Plan:
    """Take over what may change, name what may not."""
    changed: list[str] = []
    needs_restart: list[str] = []
    taken: dict[str, Any] = {}
    for one in fields(Settings):
        before, now = getattr(running, one.name), getattr(loaded, one.name)
        if before == now or one.name == "chains":
            continue
        words = f"{_KEY_OF.get(one.name, one.name)}: {_show(before)} -> {_show(now)}"
        if one.name in _AT_ONCE:
            taken[one.name] = now
            changed.append(words)
        else:
            needs_restart.append(words)
    chains = _plan_chains(running.chains, loaded.chains, changed, needs_restart)
    return Plan(replace(running, chains=chains, **taken), tuple(changed), tuple(needs_restart))


def _plan_chains(
    running: Sequence[Chain], loaded: Sequence[Chain], changed: list[str], needs_restart: list[str]
) -> tuple[Chain, ...]:
    """The running chains with their new addresses.

    A chain that came or went, or whose files moved, waits for a restart.
    """
    new = {chain.id: chain for chain in loaded}
    old = [chain.id for chain in running]
    needs_restart += [f"chain {name} was added" for name in new if name not in old]
    needs_restart += [f"chain {name} was taken away: it is signed for until then" for name in old if name not in new]
    chains = []
    for chain in running:
        wanted = new.get(chain.id, chain)
        for name in ("key_file", "state_file"):
            if getattr(chain, name) != getattr(wanted, name):
                needs_restart.append(f"{name} of {chain.id}: {getattr(chain, name)} -> {getattr(wanted, name)}")
        changed += _bytes_words(chain, wanted)
        chain = replace(chain, allowed_bytes=wanted.allowed_bytes)  # noqa: PLW2901 - from here on it is the one that is planned for
        if bool(chain.agents) != bool(wanted.agents):  # the port for agents is opened at a start
            needs_restart.append(f"{chain.id}: whether a validator is dialled or its agents are listened for")
            chains.append(chain)
            continue
        before, now = _texts(chain), _texts(wanted)
        changed += [f"validator {text} of {chain.id} added" for text in now if text not in before]
        changed += [f"validator {text} of {chain.id} removed" for text in before if text not in now]
        changed += [f"agent {one.name} of {chain.id} added" for one in wanted.agents if one not in chain.agents]
        changed += [f"agent {one.name} of {chain.id} removed" for one in chain.agents if one not in wanted.agents]
        chains.append(replace(chain, validator_addrs=wanted.validator_addrs, agents=wanted.agents))
    if [name for name in old if name in new] != [name for name in new if name in old]:
        needs_restart.append("the chains' order")
    return tuple(chains)


def _bytes_words(chain: Chain, wanted: Chain) -> list[str]:
    """What is signed besides votes, where that changes."""
    before, now = chain.allowed_bytes, wanted.allowed_bytes
    words = []
    if before.values != now.values:
        words.append(f"sign_bytes of {chain.id}: {'on' if now.values else 'off'}")
    words += [f"raw bytes {one} of {chain.id} allowed" for one in now.unique_ids if one not in before.unique_ids]
    words += [
        f"raw bytes {one} of {chain.id} not allowed any more" for one in before.unique_ids if one not in now.unique_ids
    ]
    return words


def overridden(flags: Flags, environment: Mapping[str, str], document: Mapping[str, Any]) -> tuple[str, ...]:
    """Keys of config.toml that say one thing while a flag or variable of this process
    says another, which wins.
    """
    found = []
    for one in [one for one in SETTINGS if one.reload]:
        key, flag, variable = one.key, flags.get(one.key), environment.get(one.variable, "").strip()
        if key not in document or not (flag or flag is False or variable):
            continue
        given = flag if flag or flag is False else variable
        if one.kind is bool and flag is None:
            given = variable.lower() in ("1", "true", "yes", "on")
        elif one.kind is list and not flag:
            given = tuple(part.strip() for part in variable.split(",") if part.strip())
        written = tuple(document[key]) if isinstance(document[key], list) else document[key]
        if given != written:
            where = one.flag if flag or flag is False else one.variable
            found.append(
                f"{key} of config.toml has no effect: {where} is given and wins; cure: restart the node without it"
            )
    return tuple(found)


def reloadable(settings: Settings) -> Reloadable:
    """Return the part of the settings that a reload may change."""
    addresses = {chain.id: _texts(chain) for chain in settings.chains}
    agents = {chain.id: tuple(one.text for one in chain.agents) for chain in settings.chains}
    allowed = {chain.id: chain.allowed_bytes for chain in settings.chains}
    return Reloadable(settings.log_level, addresses, settings.alerts, settings.leader_priority, agents, allowed)


def encode(part: Reloadable) -> dict[str, Any]:
    """Encode them for the status board. Raises: ConfigError if they do not fit there."""
    document = {
        "log_level": part.log_level,
        "validator_addrs": {k: list(v) for k, v in part.validator_addrs.items()},
        "agents": {k: list(v) for k, v in part.agents.items()},
        "allowed_bytes": {k: [one.values, list(one.unique_ids)] for k, one in part.allowed_bytes.items()},
        "alerts": asdict(part.alerts),
        "leader_priority": part.leader_priority,
    }
    if len(json.dumps(document)) > _DOCUMENT_MAX_BYTES:
        raise ConfigError(
            f"more than {_DOCUMENT_MAX_BYTES} bytes of addresses cannot be reloaded", cure="restart the node"
        )
    return document


def decode(document: Mapping[str, Any]) -> Reloadable:
    """Decode what encode() made. Raises: InvariantError."""
    try:
        addresses = {str(chain): tuple(map(str, texts)) for chain, texts in document["validator_addrs"].items()}
        for text in [text for texts in addresses.values() for text in texts]:
            parse_validator(text)
        agents = {str(chain): tuple(map(str, texts)) for chain, texts in document["agents"].items()}
        for text in [text for texts in agents.values() for text in texts]:
            parse_agent(text)
        allowed = {str(chain): _allowed(*parts) for chain, parts in document["allowed_bytes"].items()}
        stall_s, latency_s, disk_s = (document["alerts"][name] for name in ("stall_s", "latency_s", "disk_s"))
        bounds = AlertBounds(float(stall_s), float(latency_s), None if disk_s is None else float(disk_s))
        priority = parse_priority(str(document["leader_priority"]))
        return Reloadable(str(document["log_level"]), addresses, bounds, priority, agents, allowed)
    except (KeyError, TypeError, ValueError, AttributeError, ConfigError) as error:
        raise InvariantError(f"the reload section holds no settings of ours: {error!r}") from error


def _allowed(values: object, unique_ids: Sequence[str]) -> AllowedBytes:
    """Raises: ConfigError, TypeError."""
    if not isinstance(values, bool):
        raise TypeError(f"{values!r} is neither true nor false")
    return AllowedBytes(values, tuple(check_unique_id(one) for one in unique_ids))


def _texts(chain: Chain) -> tuple[str, ...]:
    return tuple(address.text for address in chain.validator_addrs)


def _show(value: object) -> str:
    """A value for a line of the log.

    A passphrase's source is a place, of which no more is told, and of a webhook's address its host.
    """
    if isinstance(value, PassphraseFile | PassphraseCredential | PassphraseDescriptor):
        words = {PassphraseFile: "a file", PassphraseCredential: "a credential"}.get(type(value), "a descriptor")
    elif isinstance(value, Webhook):
        source = value.source
        words = f"{source.url if isinstance(source, UrlGiven) else 'what a file or credential names'} ({value.form})"
    elif isinstance(value, tuple):
        words = ", ".join(f"{peer.id}={peer.address}" for peer in value)
    elif isinstance(value, AlertBounds):
        disk = "auto" if value.disk_s is None else f"{value.disk_s:g} s"
        words = f"stall {value.stall_s:g} s, latency {value.latency_s:g} s, disk {disk}"
    else:
        words = str(value)
    return words if len(words) <= _SHOWN_MAX else f"{words[:_SHOWN_MAX]}…"
