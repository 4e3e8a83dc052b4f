"""Parse single settings: addresses, durations, names. Every error says what was expected."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from cometkms.address import Address, NoiseAddress
from cometkms.config.schema import AgentEntry, Peer, ValidatorAddress
from cometkms.errors import ConfigError
from cometkms.limits import (
    AGENT_NAME_MAX_BYTES,
    ALERT_MAX_S,
    AUDIT_MAX_MIB,
    AUDIT_MIN_MIB,
    CHAIN_ID_GENESIS_MAX_BYTES,
    LEADER_NEAREST,
    LEADER_PRIORITY_MAX,
    LEASE_MAX_S,
    LEASE_MIN_S,
    NODE_ID_MAX_BYTES,
    RAW_UNIQUE_ID_MAX_BYTES,
    TCP_MAX_SEGMENT_MAX,
    TCP_MAX_SEGMENT_MIN,
)
from cometkms.net.target import UnixTarget
from cometkms.wire.peer_id import public_key_of

_SHOWN_MAX: Final = 60  # of a value in an error
_UNIX_PATH_MAX_BYTES: Final = 107  # sockaddr_un
_DESCRIPTOR_MAX: Final = 1 << 20  # the kernel's own limit (fs.nr_open)
_DURATION_PART = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|s|m|h)")
_SECONDS: Final = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_AGENT_KEY: Final = re.compile(r"[0-9a-f]{64}\Z")
_AGENT_NAME: Final = re.compile(rf"[A-Za-z0-9_.-]{{1,{AGENT_NAME_MAX_BYTES}}}\Z")


def parse_duration(text: str) -> float:
    """Go's durations ("400ms", "1m30s") in seconds. Raises: ConfigError."""
    parts = _DURATION_PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ConfigError(f"{text!r} is no duration; write it as 400ms, 1.5s or 1m30s")
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)


def parse_lease(text: str) -> float:
    """How long a leader may lead unheard. Raises: ConfigError."""
    return _within(
        parse_duration(text),
        text,
        (LEASE_MIN_S, LEASE_MAX_S),
        "write 150ms to 60s: followers are heard every 50 ms, and a leader that is cut off holds its validators for so long",
    )


def parse_alert(text: str) -> float:
    """An alert's bound; 0s switches it off. Raises: ConfigError."""
    return _within(parse_duration(text), text, (0.0, ALERT_MAX_S), "write at most 168h, or 0s for never")


def parse_priority(text: str) -> str:
    """`leader_priority` as the nodes tell it to each other: a number from 0 to 100 without leading
    zeros, or LEADER_NEAREST. Raises: ConfigError.
    """
    if text == LEADER_NEAREST:
        return text
    if not (text.isascii() and text.isdecimal() and len(text) <= _SHOWN_MAX and int(text) <= LEADER_PRIORITY_MAX):
        shown = text if len(text) <= _SHOWN_MAX else f"{text[:_SHOWN_MAX]}…"
        raise ConfigError(
            f"{shown!r} is no leader_priority; write a number from 0 to {LEADER_PRIORITY_MAX}, or {LEADER_NEAREST!r}"
        )
    return str(int(text))


def _within(seconds: float, text: str, bounds: tuple[float, float], words: str) -> float:
    """Raises: ConfigError with `words`, which say the bounds and why."""
    if not bounds[0] <= seconds <= bounds[1]:
        shown = text if len(text) <= _SHOWN_MAX else f"{text[:_SHOWN_MAX]}…"
        raise ConfigError(f"{shown!r} is out of bounds; {words}")
    return seconds


def parse_published(text: str) -> Address:
    """host:port, where others dial. Raises: ConfigError."""
    parsed = Address.parse(text)
    if not parsed.host:
        raise ConfigError(f"{text!r} has no host: it is where the other nodes dial this one; write it as host:port")
    return parsed


def parse_segment(text: str) -> int:
    """Bytes of data in one TCP packet at most; 0: what the interface takes. Raises: ConfigError."""
    plain = text.isascii() and text.isdecimal() and len(text) <= _SHOWN_MAX
    if not plain or not (int(text) == 0 or TCP_MAX_SEGMENT_MIN <= int(text) <= TCP_MAX_SEGMENT_MAX):
        shown = text if len(text) <= _SHOWN_MAX else f"{text[:_SHOWN_MAX]}…"
        raise ConfigError(
            f"{shown!r} is no tcp_max_segment; write a number of bytes from {TCP_MAX_SEGMENT_MIN} to {TCP_MAX_SEGMENT_MAX} (the path's MTU less "
            "60), or 0 for what the interface takes"
        )
    return int(text)


def parse_file(text: str) -> Path:
    """A file's path, `~` and `~user` with their homes in its place. Raises: ConfigError."""
    if not text.isprintable() or not text.strip():
        raise ConfigError(f"{text[:_SHOWN_MAX]!r} is no file's path", cure="a path of printable characters")
    return expanded(Path(text), "the whole path, beginning with /; or one relative to the node's home")


def nearest(name: str, known: Iterable[str], likeness: float = 0.6) -> str:
    """The known name that was probably meant; "" where none is like it."""
    import difflib  # whoever has no fault to tell does not load it

    return next(iter(difflib.get_close_matches(name, list(known), 1, likeness)), "")


def expanded(path: Path, cure: str = "the whole path, beginning with /") -> Path:
    """A path with the home of `~` and `~user` in its place. Raises: ConfigError."""
    try:
        return path.expanduser()
    except RuntimeError:
        shown = str(path)[:_SHOWN_MAX]
        raise ConfigError(f"{shown!r} begins at the home of a user that is not known here", cure=cure) from None


def parse_validator(text: str) -> ValidatorAddress:
    """tcp://host:port (the scheme may be left out), unix:///path, or noise://ID@host:port.

    Raises: ConfigError.
    """
    scheme, separator, rest = text.partition("://")
    if not separator:
        scheme, rest = "tcp", text
    if "," in text and scheme != "unix":
        raise ConfigError(
            f"{text!r} is several addresses in one", cure='a list in the file, ["tcp://…", "tcp://…"]; a flag for each'
        )
    if scheme == "unix":
        if not rest or len(rest.encode()) > _UNIX_PATH_MAX_BYTES or "\0" in rest:
            raise ConfigError(
                f"{text!r} is no unix socket; write it as unix:///path, of at most {_UNIX_PATH_MAX_BYTES} bytes"
            )
        if not rest.startswith("/"):
            raise ConfigError(
                f"{text!r} is not absolute: where it leads depends on who starts the node", cure=f"unix:///PATH/{rest}"
            )
        return ValidatorAddress(text, UnixTarget(rest))
    if scheme == "noise":
        return _parse_noise(text, rest)
    if scheme != "tcp":
        raise ConfigError(f"{text!r} has the unknown scheme {scheme!r}; use tcp://, unix:// or noise://")
    address = Address.parse(rest)
    return ValidatorAddress(text, address if address.host else Address("127.0.0.1", address.port))


def _parse_noise(text: str, rest: str) -> ValidatorAddress:
    """What is behind noise://: the validator's own peer id, then where it listens.

    Raises: ConfigError.
    """
    untrusted_id, separator, where = rest.rpartition("@")
    address = Address.parse(where) if separator else Address("", 0)
    if not address.host:
        raise ConfigError(
            f"{text!r} is no noise address; write it as noise://ID@host:port, ID being what `cometbft show-node-id --libp2p` "
            "prints on the validator"
        )
    return ValidatorAddress(text, NoiseAddress(address.host, address.port, public_key_of(untrusted_id)))


def parse_agent(text: str) -> AgentEntry:
    """name:key, with the key as 64 hex digits. Raises: ConfigError."""
    name, separator, key = text.partition(":")
    if not separator or not _AGENT_KEY.match(key) or not _AGENT_NAME.match(name):
        shown = text if len(text) <= 2 * _SHOWN_MAX else f"{text[: 2 * _SHOWN_MAX]}…"
        raise ConfigError(
            f"{shown!r} is no agent; write it as `cmkms agent init` prints it: a name of letters, digits, '-', '_' and '.', at most "
            f"{AGENT_NAME_MAX_BYTES}, a colon, and its key of 64 hex digits"
        )
    return AgentEntry(name, bytes.fromhex(key))


def parse_peer(text: str) -> Peer:
    """id=host:port. Raises: ConfigError."""
    name, separator, address = text.partition("=")
    if not separator:
        raise ConfigError(f"{text!r} is no peer; write it as id=host:port")
    parsed = Address.parse(address)
    if not parsed.host:
        raise ConfigError(f"{text!r} has no host: the other nodes must know where to dial; write it as id=host:port")
    return Peer(check_node_id(name), parsed)


def check_node_id(text: str) -> str:
    """A node's id names a directory. Raises: ConfigError."""
    if not text or text in (".", "..") or "/" in text or "=" in text or not text.isprintable() or text != text.strip():
        raise ConfigError(f"{text!r} is no node id: printable characters without '/', '=' or outer spaces")
    if len(text.encode()) > NODE_ID_MAX_BYTES:
        raise ConfigError(f"the node id {text!r} has more than {NODE_ID_MAX_BYTES} bytes")
    return text


def check_chain_id(text: str) -> str:
    """Raises: ConfigError."""
    if not text or not text.isprintable() or text != text.strip():
        raise ConfigError(
            f"{text!r} is no chain id: printable characters without outer spaces",
            cure="chain_id as the chain's genesis has it",
        )
    if len(text.encode()) > CHAIN_ID_GENESIS_MAX_BYTES:
        raise ConfigError(
            f"the chain id {text!r} has more than {CHAIN_ID_GENESIS_MAX_BYTES} bytes: no genesis of CometBFT's has",
            cure="chain_id as the chain's genesis has it",
        )
    return text


def check_unique_id(text: str) -> str:
    """A unique id of Celestia's SignRawBytes. Raises: ConfigError."""
    if not text or not text.isprintable() or text != text.strip() or len(text.encode()) > RAW_UNIQUE_ID_MAX_BYTES:
        shown = text if len(text) <= 2 * _SHOWN_MAX else f"{text[: 2 * _SHOWN_MAX]}…"
        raise ConfigError(
            f"{shown!r} is no unique id of raw bytes; write it whole, as fiber-commitment: printable, of at most {RAW_UNIQUE_ID_MAX_BYTES} bytes"
        )
    return text


def check_credential(text: str) -> str:
    """A credential's name is a file's, below one directory. Raises: ConfigError."""
    if not text or text in (".", "..") or "/" in text or not text.isprintable():
        raise ConfigError(f"{text!r} is no credential's name: write it as LoadCredential= has it, before the colon")
    return text


def parse_descriptor(text: str) -> int:
    """Raises: ConfigError."""
    if not text.isascii() or not text.isdigit() or len(text) > 7 or int(text) > _DESCRIPTOR_MAX:
        raise ConfigError(f"{text!r} is no file descriptor; write a number, as in 3<FILE")
    return int(text)


def parse_audit_mib(text: str) -> int:
    """MiB of the audit log, or 0. Raises: ConfigError."""
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 9 else -1
    if number == 0 or AUDIT_MIN_MIB <= number <= AUDIT_MAX_MIB:
        return number
    raise ConfigError(
        f"{text!r} is no size of the audit log; write a number of MiB from {AUDIT_MIN_MIB} to {AUDIT_MAX_MIB}, or 0 for none"
    )
