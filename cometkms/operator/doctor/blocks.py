"""What a CometBFT node's RPC says of the chain and of a key's signatures in its blocks. Parsing and
judging are pure; every value is the node's word until it is checked: a signature counts only when
it verifies under the key.
"""

import base64
import binascii
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import Any, Final

from cometkms.core.interface import Core
from cometkms.errors import CometKMSError, OperatorError
from cometkms.limits import HEIGHT_MAX, ROUND_MAX, RPC_PAGES_MAX
from cometkms.model import HRS, BlockID, Dialect, Kind, Message, SignedType, Step, Timestamp, Vote, Watermark
from cometkms.net.comet_rpc import RpcAddress, ask_rpc

_PAGE: Final = 100
# what reading an odd answer raises
_ODD: Final = (KeyError, IndexError, TypeError, ValueError, AttributeError)


class Flag(IntEnum):
    """BlockIDFlag of a commit's entry (types/block.go)."""

    ABSENT = 1
    COMMIT = 2
    NIL = 3


@dataclass(frozen=True, slots=True)
class Head:
    """Hold what /status says: `time_s` of the newest block (UNIX), and `offset_s` by which its Date
    header is ahead of our clock; None without one.
    """

    chain_id: str
    height: int
    time_s: float
    catching_up: bool
    offset_s: float | None
    version: str


@dataclass(frozen=True, slots=True)
class Entry:
    """A validator's line in a commit."""

    flag: Flag
    timestamp: Timestamp
    signature: bytes


@dataclass(frozen=True, slots=True)
class Commit:
    """Hold the commit of one height.

    `entry`: the key's; None when its address is not in it. `time_s`: its header's, UNIX; None:
    there is no header.
    """

    height: int
    round: int
    block: BlockID
    entry: Entry | None
    time_s: float | None = None

    @property
    def place(self) -> HRS:
        """Where its precommits stand."""
        return HRS(self.height, self.round, Step.PRECOMMIT)

    @property
    def signed(self) -> bool:
        """Whether the key signed, for the block or for nil."""
        return self.entry is not None and self.entry.flag is not Flag.ABSENT


def read_head(address: RpcAddress) -> Head:
    """Raises: OperatorError."""
    answer = ask_rpc(address, "status")
    middle = answer.asked_at + answer.took_s / 2
    date = _date(answer.date)
    try:
        info, sync = answer.result["node_info"], answer.result["sync_info"]
        return Head(
            chain_id=_text(info["network"]),
            height=_integer(sync["latest_block_height"], HEIGHT_MAX),
            time_s=_seconds(_timestamp(sync["latest_block_time"])),
            catching_up=bool(sync["catching_up"]),
            offset_s=None if date is None else date - middle,
            version=_text(info.get("version", "")),
        )
    except _ODD as error:
        raise _odd(address, "status", error) from error


def read_commit(address: RpcAddress, height: int, key_address: str) -> Commit:
    """The key's line in the commit of a height. Raises: OperatorError."""
    result = ask_rpc(address, "commit", height=height).result
    try:
        return parse_commit(result, key_address)
    except _ODD as error:
        raise _odd(address, f"commit?height={height}", error) from error


def parse_commit(result: dict[str, Any], key_address: str) -> Commit:
    """Parse the result of /commit. Raises: KeyError, TypeError, ValueError."""
    commit = result["signed_header"]["commit"]
    block = commit["block_id"]
    parts = block.get("parts") or block["part_set_header"]
    entry = None
    for one in commit.get("signatures") or commit.get("precommits") or []:
        if isinstance(one, dict) and str(one.get("validator_address", "")).upper() == key_address:
            entry = _entry(one)
    return Commit(
        _integer(commit["height"], HEIGHT_MAX),
        _integer(commit["round"], ROUND_MAX),
        BlockID(bytes.fromhex(block["hash"]), _integer(parts["total"], 1 << 31), bytes.fromhex(parts["hash"])),
        entry,
        None
        if "header" not in result["signed_header"]
        else _seconds(_timestamp(result["signed_header"]["header"]["time"])),
    )


def _entry(one: dict[str, Any]) -> Entry:
    return Entry(
        Flag(one.get("block_id_flag", Flag.COMMIT)),
        _timestamp(one["timestamp"]),
        base64.b64decode(one.get("signature") or "", validate=True),
    )


def read_validator_power(address: RpcAddress, height: int, key_address: str) -> tuple[int | None, int]:
    """The key's voting power at a height (None: it is not in the set), and how many validators
    there are. Raises: OperatorError.
    """
    seen = 0
    for page in range(1, RPC_PAGES_MAX + 1):
        result = ask_rpc(address, "validators", height=height, page=page, per_page=_PAGE).result
        try:
            found, total = result["validators"], _integer(result["total"], 1 << 31)
            for one in found:
                if str(one["address"]).upper() == key_address:
                    return _integer(one["voting_power"], HEIGHT_MAX), total
        except _ODD as error:
            raise _odd(address, "validators", error) from error
        seen += len(found)
        if not found or seen >= total:
            return None, total
    return None, seen


def read_commits(address: RpcAddress, first: int, last: int, key_address: str) -> Iterator[Commit]:
    """Read the commits of these heights, upwards. Raises: OperatorError."""
    for height in range(max(1, first), last + 1):
        yield read_commit(address, height, key_address)


def is_our_signature(commit: Commit, chain_id: str, public_key: bytes, core: Core) -> bool:
    """Whether the key's entry is a signature of this key over that very commit, in
    either form of sign bytes.
    """
    entry = commit.entry
    if entry is None or entry.flag is Flag.ABSENT:
        return False
    block = commit.block if entry.flag is Flag.COMMIT else BlockID()
    vote = Vote(SignedType.PRECOMMIT, commit.height, commit.round, block, entry.timestamp)
    message = Message(Kind.SIGN_VOTE_REQUEST, chain_id, vote=vote)
    for dialect in Dialect:
        try:
            sign_bytes = core.check_request(dialect, chain_id, message).sign_bytes
        except CometKMSError:
            continue
        if sign_bytes and core.verify(public_key, sign_bytes, entry.signature):
            return True
    return False


def is_above(commit: Commit, mark: Watermark | None) -> bool:
    """Whether the commit's place lies above what is known here."""
    return mark is None or commit.place > mark.hrs


def contradicts(commit: Commit, mark: Watermark) -> bool:
    """Whether the chain shows another signature at the very place whose signature is known here: a
    key of any type gives one for each text.
    """
    return (
        commit.signed
        and commit.entry is not None
        and commit.place == mark.hrs
        and bool(mark.signature)
        and commit.entry.signature != mark.signature
    )


def _odd(address: RpcAddress, what: str, error: Exception) -> OperatorError:
    kind = type(error).__name__
    return OperatorError(
        f"{address}/{what}: the answer is not understood ({kind}: {error})", cure="a CometBFT node's RPC"
    )


def _text(untrusted: Any) -> str:
    if not isinstance(untrusted, str) or not untrusted.isprintable() or len(untrusted) > 128:
        raise ValueError(f"{str(untrusted)[:40]!r} is no short text")
    return untrusted


def _integer(untrusted: Any, most: int) -> int:
    """RPC writes 64-bit numbers as strings, small ones as numbers."""
    if isinstance(untrusted, str) and untrusted.isascii() and untrusted.isdigit() and len(untrusted) < 20:
        untrusted = int(untrusted)
    if type(untrusted) is not int or not 0 <= untrusted <= most:
        raise ValueError(f"{str(untrusted)[:40]!r} is no number up to {most}")
    return untrusted


def _timestamp(untrusted: Any) -> Timestamp:
    """RFC 3339 with up to nine digits of a second, in UTC."""
    text = _text(untrusted)
    if not text.endswith("Z"):
        raise ValueError(f"{text!r} is no time in UTC")
    whole, _, fraction = text[:-1].partition(".")
    if fraction and not (fraction.isascii() and fraction.isdigit() and len(fraction) <= 9):
        raise ValueError(f"{text!r} is no time")
    moment = datetime.fromisoformat(whole + "+00:00")
    seconds = (moment - datetime.fromisoformat("1970-01-01T00:00:00+00:00")).total_seconds()
    return Timestamp(int(seconds), int(fraction.ljust(9, "0")) if fraction else 0)


def _seconds(timestamp: Timestamp) -> float:
    return timestamp.seconds + timestamp.nanos / 1e9


def _date(header: str) -> float | None:
    from email.utils import parsedate_to_datetime

    try:
        return parsedate_to_datetime(header).timestamp()
    except (TypeError, ValueError, binascii.Error):
        return None
