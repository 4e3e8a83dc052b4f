"""Settings from flags, COMETKMS_* variables, config.toml and defaults, in this order of precedence.

Stricter than the Go CometKMS where it guesses: an unknown key, level or format is an error that
names where it stands and the cure. All errors of one start are reported together.
"""

import os
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from cometkms.address import Address
from cometkms.config.cluster import DEFAULT_RAFT_ADDR, check_cluster
from cometkms.config.files import CONFIG_NAME, KEY_NAME, NAMES_IN_PRIV, STATE_NAME, check_files
from cometkms.config.ports import check_ports, dialled_by, listener, literal
from cometkms.config.schema import AgentEntry, AlertBounds, Chain, Settings, ValidatorAddress
from cometkms.config.table import (
    BY_KEY,
    CHAIN_KEYS,
    DISK_AUTO,
    EXAMPLES,
    HARDENING_MODES,
    KEYS,
    LOG_FORMATS,
    LOG_LEVELS,
    SETTINGS,
    Flags,
)
from cometkms.config.toml import as_toml, parse_toml
from cometkms.config.validators import check_validators
from cometkms.config.values import (
    check_chain_id,
    check_credential,
    check_node_id,
    check_unique_id,
    expanded,
    nearest,
    parse_agent,
    parse_alert,
    parse_audit_mib,
    parse_descriptor,
    parse_file,
    parse_lease,
    parse_peer,
    parse_priority,
    parse_published,
    parse_segment,
    parse_validator,
)
from cometkms.config.webhook import FORMS, UrlCredential, UrlFile, UrlGiven, UrlSource, Webhook, parse_url, shown_url
from cometkms.durable import read_file
from cometkms.errors import ConfigError, cure_of_file, os_words
from cometkms.hardening.account import find_account
from cometkms.keys.passphrase import PassphraseCredential, PassphraseDescriptor, PassphraseFile, PassphraseSource
from cometkms.limits import (
    AGENTS_MAX,
    AUDIT_DEFAULT_MIB,
    CHAINS_MAX,
    CONFIG_MAX_BYTES,
    LEADER_NEAREST,
    LEADER_PRIORITY_DEFAULT,
    RAW_UNIQUE_IDS_MAX,
)
from cometkms.model import AllowedBytes

#: Where a value comes from that nobody gave.
DEFAULT_SOURCE: Final = "default"

T = TypeVar("T")


def default_home() -> Path:
    """~/.cmkms. Raises: ConfigError for a user without a home directory, as in a container."""
    try:
        return Path.home() / ".cmkms"
    except RuntimeError:
        raise ConfigError(
            "this user has no home directory ($HOME is not set, and /etc/passwd does not name the user)",
            cure="--home DIR",
        ) from None


def read_config(home: Path) -> dict[str, Any]:
    """config.toml, its keys and types checked; {} if there is none. Raises: ConfigError."""
    document, problems = _read_document(home)
    if problems:
        raise ConfigError.together(problems)
    return document


def _read_document(home: Path) -> tuple[dict[str, Any], list[ConfigError]]:
    """config.toml without its unknown keys and those of a wrong type, and what is wrong with them.

    Raises: ConfigError when it is no TOML.
    """
    path = home / CONFIG_NAME
    try:
        data = read_file(path, CONFIG_MAX_BYTES)
    except FileNotFoundError:
        return {}, []
    except OSError as error:
        cure = cure_of_file(error, "run this as the node's user, or make the file readable for this one")
        raise ConfigError(f"{path} cannot be read: {os_words(error)}", cure=cure) from error
    if len(data) > CONFIG_MAX_BYTES:
        raise ConfigError(
            f"{path} has more than {CONFIG_MAX_BYTES} bytes", cure="the settings alone, without what is not theirs"
        )
    document = parse_toml(path, data, "cmkms init")
    problems = _check_table(document, KEYS, str(path))
    chains = document.get("chain", [])
    for number, table in enumerate(chains if isinstance(chains, list) else []):
        if isinstance(table, dict):
            problems += _check_table(table, CHAIN_KEYS, f"{path}, chain {number + 1}")
        else:
            problems.append(_no_chain_tables(str(path), chains))
            document.pop("chain", None)
            break
    return document, problems


def _check_table(table: dict[str, Any], keys: Mapping[str, type], where: str) -> list[ConfigError]:
    """What is wrong with its keys and their types; those are taken out."""
    problems: list[ConfigError] = []
    for key, value in tuple(table.items()):
        wanted = keys.get(key)
        if wanted is None:
            close = nearest(key, keys)
            meant = f"; did you mean {close!r}?" if close else ""
            known = "" if close else f"known keys: {', '.join(keys)}"
            problems.append(ConfigError(f"{where}: unknown key {key!r}{meant}", cure=known))
            del table[key]
        elif key in ("validator_addr", "agents", "raw_bytes_unique_ids") and isinstance(value, str):
            table[key] = [value]
        elif key == "leader_priority" and isinstance(value, int) and not isinstance(value, bool):
            table[key] = str(value)
        elif not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
            shown = "…" if key in BY_KEY and BY_KEY[key].secret else as_toml(value)
            problems.append(
                _no_chain_tables(where, value)
                if key == "chain"
                else ConfigError(f"{where}: {key} = {shown} must be {_words_of(key, wanted)}", cure=_written(key, keys))
            )
            del table[key]
        elif isinstance(value, list) and key != "chain" and not all(isinstance(one, str) for one in value):
            problems.append(ConfigError(f"{where}: {key} must be a list of strings", cure=_written(key, keys)))
            del table[key]
    return problems


def _written(key: str, keys: Mapping[str, type]) -> str:
    """The cure of a value of the wrong type: the line as it may stand in the table of these keys."""
    own = "chain_id" if keys is CHAIN_KEYS and key == "id" else key
    return f"write it as {key} = {EXAMPLES[own]}"


def _no_chain_tables(where: str, value: object) -> ConfigError:
    if isinstance(value, dict):
        return ConfigError(f"{where}: [chain] in single brackets is one table", cure="[[chain]], once for each chain")
    return ConfigError(
        f"{where}: chain = {as_toml(value)} must be [[chain]] tables",
        cure='for one chain chain_id = "my-chain-1" and no chain; for several a table each: [[chain]], and below it id = "my-chain-1" and '
        "validator_addr or agents",
    )


def _words_of(key: str, wanted: type) -> str:
    return f'a number or "{LEADER_NEAREST}"' if key == "leader_priority" else _TYPE_WORDS[wanted]


_TYPE_WORDS: Final = {str: "a string", list: "a list of strings", bool: "true or false", int: "a number"}


class _Sources:
    """Looks each setting up in flags, variables and file, and remembers what was wrong
    and where it stood.
    """

    def __init__(self, flags: Flags, environment: Mapping[str, str], document: dict[str, Any], path: Path) -> None:
        self.problems: list[ConfigError] = []
        # something of the file was left out: what is missing, and what does not fit together, may
        # only seem so
        self.partial = False
        self._flags = flags
        self.environment = environment
        self._document = document
        self._path = path

    def text(self, key: str) -> tuple[str, str]:
        """The value and where it comes from.

        An empty string counts as not given, as in the Go original.
        """
        flag = self._flags.get(key)
        if flag:
            return str(flag), BY_KEY[key].flag
        variable = self._variable(key)
        if variable:
            return variable, BY_KEY[key].variable
        value = self._document.get(key, "")
        if value != "":
            return str(value), f"{self._path}: {key}"
        return _hostname() if key == "id" else BY_KEY[key].default, DEFAULT_SOURCE

    def texts(self, key: str) -> tuple[tuple[str, ...], str]:
        """A list: repeated flags, a variable split at commas, or an array."""
        flag = self._flags.get(key)
        if isinstance(flag, tuple) and flag:
            return flag, BY_KEY[key].flag
        variable = self._variable(key)
        if variable:
            return tuple(part.strip() for part in variable.split(",") if part.strip()), BY_KEY[key].variable
        return tuple(self._document.get(key, ())), f"{self._path}: {key}"

    def truth(self, key: str) -> bool:
        """A switch. The words of the Go original; other words in the variable are an error here."""
        flag = self._flags.get(key)
        if flag is not None:
            return bool(flag)
        variable = self._variable(key).lower()
        if variable in ("1", "true", "yes", "on"):
            return True
        if variable in ("0", "false", "no", "off"):
            return False
        if variable:
            self.problems.append(ConfigError(f"{BY_KEY[key].variable}: {variable!r} is neither true nor false"))
        return bool(self._document.get(key, False))

    def place_of_truth(self, key: str) -> str:
        """Where a switch stands that is set; DEFAULT_SOURCE if it is nowhere."""
        if self._flags.get(key) is not None:
            return BY_KEY[key].flag
        if self._variable(key):
            return BY_KEY[key].variable
        return f"{self._path}: {key}" if key in self._document else DEFAULT_SOURCE

    def parse(self, where: str, text: str, parser: Callable[[str], T], fallback: T) -> T:
        """`parser(text)`, or the fallback and a remembered problem."""
        try:
            return parser(text)
        except ConfigError as error:
            self.problems.append(error.at(where))
            return fallback

    def one_of_several(self, given: Sequence[str], why: str) -> ConfigError:
        """Settings that stand at `given` and exclude each other, which one flag, variable and file
        may do among themselves.
        """
        own = f"{self._path}: "
        in_file = own if given[0].startswith(own) else ""
        names = [one.removeprefix(own) if in_file else one for one in given]
        return ConfigError(
            f"{in_file}{', '.join(names[:-1])} and {names[-1]} exclude each other: {why}",
            cure=f"keep one and take {'the other' if len(names) == 2 else 'the others'} out",
        )

    def _variable(self, key: str) -> str:
        one = BY_KEY[key]
        return self.environment.get(one.variable, "").strip() if one.has_variable else ""


#: Variables that are no settings: which core is used, and where a trace of it is written
#: (cometkms/core/choose.py).
_OTHER_VARIABLES: Final = ("COMETKMS_PURE", "COMETKMS_TRACE")
_PREFIX: Final = "COMETKMS_"


def unknown_variables(environment: Mapping[str, str] | None = None) -> list[str]:
    """Variables that look like settings of this program and are none, each with what
    may have been meant.

    They are named and do not keep a node from starting: an orchestrator sets some for whatever is
    called like this program.
    """
    known = {one.variable for one in SETTINGS if one.has_variable} | set(_OTHER_VARIABLES)
    found = []
    for name in sorted(os.environ if environment is None else environment):
        if name.startswith(_PREFIX) and name not in known:
            close = nearest(name, known, 0.8)
            found.append(
                f"the variable {name} is unknown and has no effect" + (f"; did you mean {close}?" if close else "")
            )
    return found


@dataclass(frozen=True, slots=True)
class InForce:
    """One setting as a start would take it. `where`: the variable, the file's key, or "default"."""

    key: str
    value: str | bool | list[str]
    where: str


def in_force(home: Path, environment: Mapping[str, str] | None = None) -> list[InForce]:
    """Every setting of a home, with its value and where that comes from; not checked.

    Raises: ConfigError for a file that cannot be read.

    The flags of `cmkms start`, which win over all this, are not seen from here.
    """
    home = expanded(home).absolute()
    path = home / CONFIG_NAME
    document = read_config(home)
    sources = _Sources(Flags(), os.environ if environment is None else environment, document, path)
    found = []
    for key, kind in KEYS.items():
        if key == "chain":
            tables = document.get("chain", [])
            found += [
                InForce(f"chain {number}", [f"{name} = {value}" for name, value in table.items()], str(path))
                for number, table in enumerate(tables, 1)
            ]
        elif kind is list:
            values, where = sources.texts(key)
            found.append(InForce(key, list(values), where if values else DEFAULT_SOURCE))
        elif kind is bool:
            found.append(InForce(key, sources.truth(key), sources.place_of_truth(key)))
        else:
            value, where = sources.text(key)
            found.append(InForce(key, shown_url(value) if value and BY_KEY[key].secret else value, where))
    return found


def load_settings(
    home: Path, flags: Flags, environment: Mapping[str, str] | None = None, *, here: bool = False
) -> Settings:
    """Everything a start needs.

    `here`: it would be on this machine, so that the signer's account must be there.

    Raises: ConfigError with every problem found, a line each.
    """
    home = expanded(home).absolute()
    path = home / CONFIG_NAME
    document, faults = _read_document(home)
    sources = _Sources(flags, os.environ if environment is None else environment, document, path)
    sources.problems, sources.partial = faults, bool(faults)
    node_id, where = sources.text("id")
    node_id = sources.parse(where, node_id, check_node_id, "")
    raft, raft_where = sources.text("raft_addr")
    http, http_where = sources.text("http_addr")
    ttl, ttl_where = sources.text("default_ttl")
    peers, peers_where = sources.texts("peer")
    agent, agent_where = sources.text("agent_addr")
    level, level_where = sources.text("log_level")
    log_format, format_where = sources.text("log_format")
    audit_mib, audit_where = sources.text("audit_max_mib")
    hardening, hardening_where = sources.text("hardening")
    published, published_where = sources.text("raft_published")
    segment, segment_where = sources.text("tcp_max_segment")
    priority, priority_where = sources.text("leader_priority")
    fallback = Address.parse(DEFAULT_RAFT_ADDR)  # of one that is wrong, which was told
    settings = Settings(
        home=home,
        id=node_id,
        raft_addr=sources.parse(raft_where, raft, Address.parse, fallback),
        http_addr=sources.parse(http_where, http, Address.parse, fallback),
        default_ttl_s=sources.parse(ttl_where, ttl, parse_lease, 0.0),
        peers=tuple(
            peer for peer in (sources.parse(peers_where, one, parse_peer, None) for one in peers) if peer is not None
        ),
        chains=_load_chains(home, sources, document),
        agent_addr=sources.parse(agent_where, agent, Address.parse, None) if agent else None,
        log_level=sources.parse(level_where, level, _one_of(LOG_LEVELS), "info"),
        log_format=sources.parse(format_where, log_format, _one_of(LOG_FORMATS), "plain"),
        allow_unsafe=sources.truth("allow_unsafe"),
        strict_start=sources.truth("strict_start"),
        hardening=sources.parse(hardening_where, hardening, _one_of(HARDENING_MODES), "best-effort"),
        signer_user=sources.text("signer_user")[0],
        realtime=sources.truth("realtime"),
        noise_identity_file=_load_file(home, sources, "noise_identity_file"),
        key_passphrase=_load_passphrase(home, sources),
        alerts=_load_alerts(sources),
        webhook=_load_webhook(home, sources),
        audit_max_mib=sources.parse(audit_where, audit_mib, parse_audit_mib, AUDIT_DEFAULT_MIB),
        raft_published=sources.parse(published_where, published, parse_published, None) if published else None,
        tcp_max_segment=sources.parse(segment_where, segment, parse_segment, 0),
        leader_priority=sources.parse(priority_where, priority, parse_priority, str(LEADER_PRIORITY_DEFAULT)),
    )
    user, user_where = sources.text("signer_user")
    if here and user and settings.hardening != "off":
        sources.parse(user_where, user, find_account, None)
    files = check_files(settings)
    if not sources.problems:
        sources.problems += _check_agent_names(settings.chains, settings.agent_addr, agent_where)
    # else what is wrong with them was told already
    sources.problems += files
    if len(settings.peers) == len(peers) and not sources.partial:
        sources.problems += check_cluster(
            settings, peers_where, raft_where if settings.raft_addr is not fallback else None
        )
        own = (
            ("raft_addr", settings.raft_addr, raft_where),
            ("http_addr", settings.http_addr, http_where),
            ("agent_addr", settings.agent_addr, agent_where),
        )
        listened = [
            listener(setting, address, "" if where == DEFAULT_SOURCE else where)
            for setting, address, where in own
            if address is not None and address is not fallback
        ]
        sources.problems += check_ports(listened, dialled_by(settings), literal)
    if sources.problems:
        raise ConfigError.together(sources.problems)
    return settings


def _load_file(home: Path, sources: _Sources, key: str) -> Path | None:
    """A file's path, relative to the home, or none."""
    file, where = sources.text(key)
    parsed = sources.parse(where, file, parse_file, None) if file else None
    return home / parsed if parsed is not None else None


def _load_passphrase(home: Path, sources: _Sources) -> PassphraseSource | None:
    """One of the three settings, or none."""
    file, file_where = sources.text("key_passphrase_file")
    path = _load_file(home, sources, "key_passphrase_file")
    name, name_where = sources.text("key_passphrase_credential")
    number, number_where = sources.text("key_passphrase_fd")
    given = [where for value, where in ((file, file_where), (name, name_where), (number, number_where)) if value]
    if len(given) > 1:
        sources.problems.append(sources.one_of_several(given, "the passphrase comes from one place"))
    if path is not None:
        return PassphraseFile(path)
    if name:
        return PassphraseCredential(sources.parse(name_where, name, check_credential, ""), sources.environment)
    return PassphraseDescriptor(sources.parse(number_where, number, parse_descriptor, 0)) if number else None


def _load_alerts(sources: _Sources) -> AlertBounds:
    """Three durations; "0s" switches an alert off, and a disk may be left to what it has shown."""
    stall, stall_where = sources.text("alert_stall")
    latency, latency_where = sources.text("alert_latency")
    disk, disk_where = sources.text("alert_disk")
    return AlertBounds(
        stall_s=sources.parse(stall_where, stall, parse_alert, 0.0),
        latency_s=sources.parse(latency_where, latency, parse_alert, 0.0),
        disk_s=None if disk == DISK_AUTO else sources.parse(disk_where, disk, parse_alert, 0.0),
    )


def _load_webhook(home: Path, sources: _Sources) -> Webhook | None:
    """One of the three settings for the address, or none: then nothing is sent."""
    url, url_where = sources.text("alert_webhook")
    file, file_where = sources.text("alert_webhook_file")
    name, name_where = sources.text("alert_webhook_credential")
    form, form_where = sources.text("alert_webhook_form")
    form = sources.parse(form_where, form, _one_of(FORMS), FORMS[0])
    given = [where for value, where in ((url, url_where), (file, file_where), (name, name_where)) if value]
    if len(given) > 1:
        sources.problems.append(sources.one_of_several(given, "alerts are sent to one address"))
    source: UrlSource | None = None
    if url:
        parsed = sources.parse(url_where, url, parse_url, None)
        source = UrlGiven(parsed) if parsed is not None else None
    elif (path := _load_file(home, sources, "alert_webhook_file")) is not None:
        source = UrlFile(path)
    elif name:
        source = UrlCredential.of(sources.parse(name_where, name, check_credential, ""), sources.environment)
    return Webhook(source, form) if source is not None else None


def _one_of(known: Sequence[str]) -> Callable[[str], str]:
    def check(text: str) -> str:
        if text not in known:
            raise ConfigError(f"{text!r} is unknown; use one of {', '.join(known)}")
        return text

    return check


def _load_chains(home: Path, sources: _Sources, document: dict[str, Any]) -> tuple[Chain, ...]:
    """The top-level short form, or the [[chain]] tables."""
    chain_id, id_where = sources.text("chain_id")
    addresses, addresses_where = sources.texts("validator_addr")
    agents, agents_where = sources.texts("agents")
    values, (unique_ids, ids_where) = sources.truth("sign_bytes"), sources.texts("raw_bytes_unique_ids")
    tables = document.get("chain", [])
    one_chain = (
        (chain_id, id_where),
        (addresses, addresses_where),
        (agents, agents_where),
        (values, sources.place_of_truth("sign_bytes")),
        (unique_ids, ids_where),
    )
    if tables and (used := [where for value, where in one_chain if value]):
        own = f"{home / CONFIG_NAME}: "
        sources.problems.append(
            ConfigError(
                f"{own}[[chain]] tables and the one-chain form ({', '.join(one.removeprefix(own) for one in used)}) exclude each other",
                cure="take those out and give their chain a [[chain]] table too, with id for chain_id; or take the tables out",
            )
        )
        return ()
    if not tables:
        tables = [{"id": chain_id, "validator_addr": list(addresses), "agents": list(agents)}]
        tables[0] |= {"sign_bytes": values, "raw_bytes_unique_ids": list(unique_ids)}
    if len(tables) > CHAINS_MAX:
        sources.problems.append(
            ConfigError(f"{home / CONFIG_NAME}: {len(tables)} chains; at most {CHAINS_MAX} are possible")
        )
        return ()
    several = len(tables) > 1
    chains = []
    for number, table in enumerate(tables):
        where = f"{home / CONFIG_NAME}, chain {number + 1}"
        places = (
            _Places(where, where, where, where)
            if document.get("chain")
            else _Places(id_where, addresses_where, agents_where, ids_where)
        )
        chain = _load_chain(home, sources, table, places, several)
        if chain is not None:
            chains.append(chain)
    _check_distinct(chains, sources.problems)
    sources.problems += check_validators([address for chain in chains for address in chain.validator_addrs])
    return tuple(chains)


@dataclass(frozen=True, slots=True)
class _Places:
    """Where what a chain has is set, as a fault names it."""

    id: str
    validator_addr: str
    agents: str
    raw_bytes_unique_ids: str


def _load_chain(home: Path, sources: _Sources, table: dict[str, Any], places: _Places, several: bool) -> Chain | None:
    name, addresses, agents = table.get("id", ""), table.get("validator_addr", []), table.get("agents", [])
    where, addresses_where = places.id, places.validator_addr if addresses or not agents else places.agents
    if sources.partial and not (name and (addresses or agents)):
        return None
    if not name or not (addresses or agents):
        what = "chain id" if not name else "validator address"
        cure = "give --chain-id and --validator-addr, or chain_id and validator_addr (or agents) in config.toml"
        where = addresses_where if name else where
        if where == DEFAULT_SOURCE and home.is_dir():
            where = str(home / CONFIG_NAME)
        elif where == DEFAULT_SOURCE:
            where, cure = f"{home} does not exist", f"cmkms init --home {home}, or another --home; or {cure}"
        sources.problems.append(
            ConfigError(
                f"{where}: at least one validator address and a chain id must be configured, and there is no {what}",
                cure=cure,
            )
        )
        return None
    name = sources.parse(where, name, check_chain_id, "")
    parsed = tuple(
        address
        for address in (sources.parse(places.validator_addr, one, parse_validator, None) for one in addresses)
        if isinstance(address, ValidatorAddress)
    )
    listed = tuple(
        agent
        for agent in (sources.parse(places.agents, one, parse_agent, None) for one in agents)
        if isinstance(agent, AgentEntry)
    )
    sources.problems += _check_agents(addresses_where, name, parsed, listed)
    folder = chain_folder(home, name, several=several)

    def file(key: str, default: str) -> Path:
        given = table.get(key)
        if not given:
            return folder / default
        return home / sources.parse(f"{where}: {key}", given, parse_file, Path(default))

    return Chain(
        name,
        parsed,
        file("key_file", KEY_NAME),
        file("state_file", STATE_NAME),
        listed,
        _load_bytes(sources, places.raw_bytes_unique_ids, name, table),
    )


def chain_folder(home: Path, chain_id: str, *, several: bool) -> Path:
    """Where a chain's key and state file are, unless its table says otherwise."""
    return home / "priv" / chain_id if several and _names_folder(chain_id) else home / "priv"


def _names_folder(chain_id: str) -> bool:
    """Tell whether a chain's id can be the name of its folder, in priv/."""
    return "/" not in chain_id and chain_id not in (".", "..") and chain_id not in NAMES_IN_PRIV


def _load_bytes(sources: _Sources, where: str, name: str, table: dict[str, Any]) -> AllowedBytes:
    """What the chain signs besides votes."""
    given = table.get("raw_bytes_unique_ids", [])
    unique_ids = tuple(sources.parse(where, one, check_unique_id, "") for one in given)
    if len(unique_ids) > RAW_UNIQUE_IDS_MAX:
        sources.problems.append(
            ConfigError(
                f"{where}: {name} has {len(unique_ids)} raw_bytes_unique_ids; at most {RAW_UNIQUE_IDS_MAX} are possible"
            )
        )
    for one in sorted({one for one in unique_ids if one and unique_ids.count(one) > 1}):
        sources.problems.append(ConfigError(f"{where}: the unique id {one} of {name} is given more than once"))
    return AllowedBytes(bool(table.get("sign_bytes", False)), unique_ids)


def _check_agents(
    where: str, name: str, dialled: Sequence[ValidatorAddress], agents: Sequence[AgentEntry]
) -> list[ConfigError]:
    """A validator that is dialled and asked for by an agent at once would have two signers displace
    each other for ever.
    """
    found: list[ConfigError] = []
    if dialled and agents:
        found.append(
            ConfigError(
                f"{where}: {name} has validator_addr and agents; a validator has one place for a signer, and the two would push each other out "
                "of it for ever",
                cure="one of the two for each chain",
            )
        )
    for what, values in (("name", [one.name for one in agents]), ("key", [one.key.hex() for one in agents])):
        for value in sorted({one for one in values if values.count(one) > 1}):
            found.append(ConfigError(f"{where}: the agents' {what} {value} of {name} is given more than once"))
    if len(agents) > AGENTS_MAX:
        found.append(ConfigError(f"{where}: {name} has {len(agents)} agents; at most {AGENTS_MAX} are possible"))
    return found


def _check_agent_names(chains: Sequence[Chain], agent_addr: Address | None, where: str) -> list[ConfigError]:
    """One name, one key, over all chains; and a port exactly where there is somebody to listen for."""
    keys: dict[str, set[bytes]] = {}
    names: dict[bytes, set[str]] = {}
    for agent in [agent for chain in chains for agent in chain.agents]:
        keys.setdefault(agent.name, set()).add(agent.key)
        names.setdefault(agent.key, set()).add(agent.name)
    found = [
        ConfigError(f"the agent {name} has several keys", cure="one name for each agent")
        for name in keys
        if len(keys[name]) > 1
    ]
    found += [
        ConfigError(f"the agents' key {key.hex()} has several names: {', '.join(sorted(names[key]))}")
        for key in names
        if len(names[key]) > 1
    ]
    if keys and agent_addr is None:
        found.append(
            ConfigError("there are agents and no agent_addr: nobody listens for them", cure='agent_addr = "HOST:PORT"')
        )
    if agent_addr is not None and not keys:
        found.append(
            ConfigError(
                f"{where}: agent_addr is given and no chain has agents: nobody could come in",
                cure='agents = ["NAME:KEY"], as `cmkms agent init` prints it, or no agent_addr',
            )
        )
    return found


def _check_distinct(chains: list[Chain], problems: list[ConfigError]) -> None:
    for what, values in (
        ("chain id", [chain.id for chain in chains]),
        ("state file", [str(chain.state_file) for chain in chains]),
        ("validator address", [str(address) for chain in chains for address in chain.validator_addrs]),
    ):
        for value in sorted({one for one in values if values.count(one) > 1}):
            shared = sorted(
                chain.id for chain in chains if str(chain.state_file) == value and not _names_folder(chain.id)
            )
            why = f": a chain id like {shared[0]!r} names no folder of its own" if shared else ""
            cure = "key_file and state_file in the [[chain]] of each" if shared else ""
            problems.append(ConfigError(f"the {what} {value} is configured more than once{why}", cure=cure))


def _hostname() -> str:
    return socket.gethostname() or "cmkms-node"
