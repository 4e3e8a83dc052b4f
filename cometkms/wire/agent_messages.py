"""What an agent and a node say to each other inside an authenticated channel. Strict msgpack,
encode and decode, no I/O.

    node → agent                                           agent → node
      WELCOME  the keys of the channel from here on          ASK    sign this, a privval message as the validator sent it
      HELLO    who I am, my chains and their public keys     PING   I live, and this is how I am
      ANSWER   a privval message: a signature or a refusal
      NOT_NOW  I cannot; this one leads
      LEAD     this one leads now
      PONG     the ping's number

A message is one msgpack array behind its length (4 bytes, big-endian): its tag, then its fields in
the order of the class. Types, lengths and ranges are checked one by one before anything is
believed; whatever else comes raises ProtocolError, which closes the connection.
"""

import struct
from dataclasses import dataclass, fields
from typing import Any, Final

import msgpack

from cometkms.errors import ProtocolError
from cometkms.keytypes import type_of
from cometkms.limits import (
    AGENT_ABOUT_MAX,
    AGENT_FRAME_MAX_BYTES,
    AGENT_TEXT_MAX_BYTES,
    CHAIN_ID_MAX_BYTES,
    CHAINS_MAX,
    MESSAGE_MAX_BYTES,
    NODE_ID_MAX_BYTES,
    PUBLIC_KEY_MAX_BYTES,
    RESPONSE_MAX_BYTES,
)
from cometkms.model import Dialect

AGENT_PROTOCOL_VERSION: Final = 1
_LENGTH: Final = struct.Struct(">I")
_U64: Final = (1 << 64) - 1
_KEY_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Welcome:
    """Sent by the process that accepts connections, under the handshake's keys, which end here.

    `from_node`, `to_node`: 32 random bytes each, the keys of the two directions from the next byte
    on.
    """

    protocol: int
    from_node: bytes
    to_node: bytes


@dataclass(frozen=True, slots=True)
class ServedChain:
    """A chain that the agent may ask for, and its validator's key, as keytypes.typed() makes it."""

    chain_id: str
    public_key: bytes


@dataclass(frozen=True, slots=True)
class Hello:
    """`leader`: the id of whoever leads, as far as this node knows; "" when it does not."""

    node: str
    leader: str
    chains: tuple[ServedChain, ...]


@dataclass(frozen=True, slots=True)
class Ask:
    """`message`: whole, length prefix included, in that dialect. `urgent`: nobody else answered."""

    seq: int
    chain_id: str
    dialect: Dialect
    urgent: bool
    message: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """`message`: a privval response, length prefix included."""

    seq: int
    message: bytes


@dataclass(frozen=True, slots=True)
class NotNow:
    """`why`: for the log. `leader`: as in Hello."""

    seq: int
    why: str
    leader: str


@dataclass(frozen=True, slots=True)
class Lead:
    """`leader`: as in Hello."""

    leader: str


@dataclass(frozen=True, slots=True)
class Ping:
    """`about`: what the agent says of itself, names and short printable texts, shown and not
    parsed."""

    number: int
    about: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Pong:
    number: int


AgentMessage = Welcome | Hello | Ask | Answer | NotNow | Lead | Ping | Pong
_TAGS: Final[tuple[type[AgentMessage], ...]] = (Welcome, Hello, Ask, Answer, NotNow, Lead, Ping, Pong)


def encode(message: AgentMessage) -> bytes:
    """Encode a message with its length in front, in at most AGENT_FRAME_MAX_BYTES."""
    values: list[Any] = [getattr(message, field.name) for field in fields(message)]
    if isinstance(message, Hello):
        values[2] = [[one.chain_id, one.public_key] for one in message.chains]
    elif isinstance(message, Ask):
        values[2] = int(message.dialect)
    packed: bytes = msgpack.packb([_TAGS.index(type(message)), *values])
    return _LENGTH.pack(len(packed)) + packed


def decode(untrusted: bytes) -> AgentMessage:
    """Decode what encode() made, without the length. Raises: ProtocolError with what is wrong."""
    try:
        value = msgpack.unpackb(
            untrusted,
            raw=False,
            strict_map_key=True,
            max_str_len=AGENT_TEXT_MAX_BYTES,
            max_bin_len=MESSAGE_MAX_BYTES,
            max_array_len=CHAINS_MAX + AGENT_ABOUT_MAX,
            max_map_len=0,
            max_ext_len=0,
        )
    except (ValueError, RecursionError, msgpack.exceptions.UnpackException) as error:
        raise ProtocolError(f"an agent's message is no msgpack of ours: {error}") from None
    if type(value) is not list or not value or type(value[0]) is not int or not 0 <= value[0] < len(_TAGS):
        raise ProtocolError("an agent's message has an unknown tag")
    kind, told = _TAGS[value[0]], value[1:]
    if len(told) != len(fields(kind)):
        raise ProtocolError(f"a {kind.__name__} has {len(fields(kind))} fields, not {len(told)}")
    message: AgentMessage = _TAKE[kind](*told)
    return message


def _take_welcome(protocol: Any, from_node: Any, to_node: Any) -> Welcome:
    return Welcome(_integer(protocol), _blob(from_node, _KEY_BYTES, _KEY_BYTES), _blob(to_node, _KEY_BYTES, _KEY_BYTES))


def _public_key(untrusted: Any) -> bytes:
    """A validator's key, as keytypes.typed() makes it."""
    try:
        type_of(key := _blob(untrusted, _KEY_BYTES, 1 + PUBLIC_KEY_MAX_BYTES))
    except ValueError as error:
        raise ProtocolError(str(error)) from None
    return key


def _take_hello(node: Any, leader: Any, chains: Any) -> Hello:
    found = []
    for one in _list(chains, CHAINS_MAX):
        chain_id, public_key = _exactly(one, 2)
        found.append(ServedChain(_text(chain_id, CHAIN_ID_MAX_BYTES), _public_key(public_key)))
    return Hello(_text(node, NODE_ID_MAX_BYTES), _text(leader, NODE_ID_MAX_BYTES), tuple(found))


def _take_ask(seq: Any, chain_id: Any, dialect: Any, urgent: Any, message: Any) -> Ask:
    number = _integer(dialect)
    if number not in set(Dialect):
        raise ProtocolError(f"{number} is no dialect")
    if type(urgent) is not bool:
        raise ProtocolError("true or false was expected")
    text = _text(chain_id, CHAIN_ID_MAX_BYTES)
    return Ask(_integer(seq), text, Dialect(number), urgent, _blob(message, 1, MESSAGE_MAX_BYTES))


def _take_answer(seq: Any, message: Any) -> Answer:
    return Answer(_integer(seq), _blob(message, 1, RESPONSE_MAX_BYTES))


def _take_not_now(seq: Any, why: Any, leader: Any) -> NotNow:
    return NotNow(_integer(seq), _printable(why), _text(leader, NODE_ID_MAX_BYTES))


def _take_lead(leader: Any) -> Lead:
    return Lead(_text(leader, NODE_ID_MAX_BYTES))


def _take_ping(number: Any, about: Any) -> Ping:
    found = []
    for one in _list(about, AGENT_ABOUT_MAX):
        name, text = _exactly(one, 2)
        found.append((_printable(name), _printable(text)))
    return Ping(_integer(number), tuple(found))


def _take_pong(number: Any) -> Pong:
    return Pong(_integer(number))


_TAKE: Final[dict[type[AgentMessage], Any]] = {
    Welcome: _take_welcome, Hello: _take_hello, Ask: _take_ask, Answer: _take_answer, NotNow: _take_not_now, Lead: _take_lead,
    Ping: _take_ping, Pong: _take_pong,
}  # fmt: skip


def shown(text: str) -> str:
    """What a text field may hold of it: printable ASCII, cut."""
    return "".join(one if one.isascii() and one.isprintable() else "?" for one in text)[:AGENT_TEXT_MAX_BYTES]


def _integer(untrusted: Any) -> int:
    if type(untrusted) is not int or not 0 <= untrusted <= _U64:
        raise ProtocolError("a number below 2^64 was expected")
    return untrusted


def _blob(untrusted: Any, least: int, most: int) -> bytes:
    if type(untrusted) is not bytes or not least <= len(untrusted) <= most:
        raise ProtocolError(f"{least} to {most} bytes were expected")
    return untrusted


def _text(untrusted: Any, most: int) -> str:
    if type(untrusted) is not str or len(untrusted.encode("utf-8", "replace")) > most or not untrusted.isprintable():
        raise ProtocolError(f"a printable text of at most {most} bytes was expected")
    return untrusted


def _printable(untrusted: Any) -> str:
    if type(untrusted) is not str or shown(untrusted) != untrusted:
        raise ProtocolError(f"printable ASCII of at most {AGENT_TEXT_MAX_BYTES} bytes was expected")
    return untrusted


def _list(untrusted: Any, most: int) -> list[Any]:
    if type(untrusted) is not list or len(untrusted) > most:
        raise ProtocolError(f"a list of at most {most} was expected")
    return untrusted


def _exactly(untrusted: Any, size: int) -> list[Any]:
    if type(untrusted) is not list or len(untrusted) != size:
        raise ProtocolError(f"a list of {size} was expected")
    return untrusted


class Unpacker:
    """Whole messages out of a stream. Nothing above the bound is ever waited for, and no memory is
    spent for it."""

    def __init__(self, most: int = AGENT_FRAME_MAX_BYTES) -> None:
        self._most = most
        self._buffer = bytearray()

    @property
    def partial(self) -> bool:
        """Whether part of a message has arrived."""
        return bool(self._buffer)

    def feed(self, untrusted: bytes) -> list[bytes]:
        """The messages that are whole now. Raises: ProtocolError for a length out of bounds."""
        self._buffer += untrusted
        found = []
        while len(self._buffer) >= _LENGTH.size:
            (size,) = _LENGTH.unpack_from(self._buffer)
            if not 0 < size <= self._most:
                raise ProtocolError(f"an agent's message of {size} bytes; at most {self._most} are possible")
            end = _LENGTH.size + size
            if len(self._buffer) < end:
                break
            found.append(bytes(memoryview(self._buffer)[_LENGTH.size : end]))
            del self._buffer[:end]
        return found
