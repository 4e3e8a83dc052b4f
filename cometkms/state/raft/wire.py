"""Raft's messages between nodes: bytes to the library's dicts and back.

Strict: whatever does not fit is a ProtocolError.
"""

from itertools import pairwise
from typing import Any, Final

import msgpack

from cometkms.errors import ProtocolError
from cometkms.keytypes import SIGNATURE_SIZES
from cometkms.limits import HEIGHT_MAX, PEER_FRAME_MAX_BYTES, ROUND_MAX, SIGN_BYTES_MAX_BYTES

TERM_MAX: Final = 1 << 62
_INDEX_MAX: Final = 1 << 62
_ENTRIES_MAX: Final = 4096
_REGULAR, _NO_OP = 0, 1

#: Fields of each message and what they must be; a field with "?" may be missing or None.
_SHAPES: Final[dict[str, dict[str, str]]] = {
    "request_vote": {"term": "term", "last_log_index": "index", "last_log_term": "term-1", "x_transfer": "?bool"},
    "response_vote": {"term": "term"},
    "append_entries": {
        "term": "term",
        "commit_index": "index",
        "prevLogIdx": "?index",
        "prevLogTerm": "?term",
        "entries": "?entries",
        "serialized": "?snapshot",
        "x_snap": "?index",
    },
    "next_node_idx": {
        "next_node_idx": "index",
        "reset": "bool",
        "success": "bool",
        "x_term": "term",
        "x_anew": "?bool",
    },
    "timeout_now": {"term": "term"},
    "x_newer_term": {"term": "term"},
}


def encode(message: dict[str, Any]) -> bytes:
    """Encode a message in at most PEER_FRAME_MAX_BYTES, by the sizes of batches and snapshots."""
    packed: bytes = msgpack.packb(message)
    return packed


def decode(untrusted: bytes) -> dict[str, Any]:
    """Raises: ProtocolError."""
    try:
        message = msgpack.unpackb(untrusted, use_list=False, strict_map_key=True, max_map_len=16, max_ext_len=0)
    except (ValueError, RecursionError, msgpack.UnpackException) as error:
        raise ProtocolError(f"no msgpack of ours: {error}") from None
    kind = message.get("type") if isinstance(message, dict) else None
    shape = _SHAPES.get(kind) if isinstance(kind, str) else None
    if shape is None:
        raise ProtocolError("no Raft message of ours")
    unknown = message.keys() - shape.keys() - {"type"}
    if unknown:
        raise ProtocolError(f"a {kind} with the field {next(iter(unknown))!r}")
    for name, wanted in shape.items():
        if not _fits(message.get(name), wanted, name in message):
            raise ProtocolError(f"a {kind} whose {name} is no {wanted.lstrip('?')}")
    if (message.get("prevLogIdx") is None) != (message.get("prevLogTerm") is None):
        raise ProtocolError(f"a {kind} with half of the entry before")
    return dict(message)


def _fits(value: Any, wanted: str, given: bool) -> bool:
    if wanted.startswith("?"):
        return not given or value is None or _fits(value, wanted[1:], given)
    match wanted:
        case "term":
            return type(value) is int and 0 <= value < TERM_MAX
        case "term-1":
            return type(value) is int and -1 <= value < TERM_MAX
        case "index":
            return type(value) is int and 0 <= value < _INDEX_MAX
        case "bool":
            return type(value) is bool
        case "entries":
            return (
                type(value) is tuple and len(value) <= _ENTRIES_MAX and all(map(is_entry, value)) and _in_order(value)
            )
        case _:
            return (
                type(value) is tuple
                and len(value) == 3
                and type(value[0]) is bytes
                and len(value[0]) <= PEER_FRAME_MAX_BYTES
                and value[1:] == (True, True)
            )


def _in_order(entries: tuple[Any, ...]) -> bool:
    return all(b[1] == a[1] + 1 and b[2] >= a[2] for a, b in pairwise(entries))


def is_entry(untrusted: Any) -> bool:
    """Whether it is (command, index, term) with a command that the state machine knows."""
    if type(untrusted) not in (tuple, list) or len(untrusted) != 3:
        return False
    command, index, term = untrusted
    if type(command) is not bytes or not _fits(index, "index", True) or not _fits(term, "term", True):
        return False
    return command == bytes([_NO_OP]) or (command[:1] == bytes([_REGULAR]) and _is_put(command[1:]))


def _is_put(data: bytes) -> bool:
    try:
        method, arguments = msgpack.unpackb(data, use_list=False, max_map_len=0, max_ext_len=0)
        (mark,) = arguments
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException):
        return False
    return type(method) is int and method == 0 and is_mark(mark)


def is_mark(untrusted: Any) -> bool:
    """Whether it is (key, height, round, step, sign bytes, signature)."""
    if type(untrusted) not in (tuple, list) or len(untrusted) != 6:
        return False
    key, height, round_, step, sign_bytes, signature = untrusted
    return (
        type(key) is bytes
        and len(key) == 32
        and type(height) is int
        and 0 <= height <= HEIGHT_MAX
        and type(round_) is int
        and 0 <= round_ <= ROUND_MAX
        and type(step) is int
        and 0 <= step <= 3
        and type(sign_bytes) is bytes
        and len(sign_bytes) <= SIGN_BYTES_MAX_BYTES
        and type(signature) is bytes
        and len(signature) in SIGNATURE_SIZES
    )


def encode_snapshot(first: Any, second: Any, state: list[Any]) -> bytes:
    """The log's first two entries and the state machine at the second."""
    packed: bytes = msgpack.packb([first, second, state])
    return packed


def decode_snapshot(untrusted: bytes) -> tuple[Any, Any, Any]:
    """Raises: ProtocolError."""
    try:
        first, second, state = msgpack.unpackb(untrusted, use_list=False, max_map_len=0, max_ext_len=0)
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
        raise ProtocolError(f"no snapshot of ours: {error}") from None
    if not is_entry(first) or not is_entry(second) or second[1] != first[1] + 1:
        raise ProtocolError("a snapshot without its two entries")
    if type(state) is not tuple or not all(map(is_mark, state)):
        raise ProtocolError("a snapshot whose marks make no sense")
    return first, second, state
