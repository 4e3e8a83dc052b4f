"""priv_validator_state.json, as CometBFT's FilePV writes it, so that an operator can go back to
FilePV or tmkms at any time.
"""

import base64
import binascii
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NoReturn

from cometkms.durable import read_file, write_atomically
from cometkms.errors import CometKMSError, StateError, cure_of_file, is_no_file, no_json, os_words
from cometkms.keytypes import SIGNATURE_SIZES
from cometkms.limits import HEIGHT_MAX, ROUND_MAX, SIGN_BYTES_MAX_BYTES, STATE_FILE_MAX_BYTES
from cometkms.model import HRS, SignBytes, Step, Watermark

Parse = Callable[[bytes], SignBytes]
_FIELDS: Final = frozenset({"height", "round", "step"})
_OF_A_KEY: Final = (b'"priv_key"', b'"sealed_key"')


class LostFileError(StateError):
    """There is no such file, or it is none.

    Who has a promise store beside it knows more than this (store/marks.py).
    """


class NoStateFileError(StateError):
    """What is there was never a state file: a key, settings. No command takes it away."""


class OfAnotherChainError(StateError):
    """The file is whole, and its sign bytes name another chain."""


class _OtherChainError(ValueError):
    """The file is whole, and another chain's."""

    def __init__(self, there: str, here: str) -> None:
        super().__init__(f"its signbytes are of chain {there!r}, and {here!r} is configured")
        self.there = there


def load(path: Path, chain_id: str, parse_sign_bytes: Parse, setting: str = "") -> Watermark:
    """The last place signed, according to the file. `setting`: what leads there in config.toml.

    A place without sign bytes is burnt: FilePV too signs nothing there again. The
    signature is not verified here. Raises: StateError (missing, unreadable, corrupt, of
    another chain) with the cure.
    """
    try:
        data = read_file(path, STATE_FILE_MAX_BYTES)
    except FileNotFoundError:
        raise LostFileError(
            f"{path} is missing, so what this key has signed is not known",
            cure="copy it from the signer that used the key "
            "before (stop that one first; of a home of this program, whose own state file may be behind, what `cmkms export` writes there); only for a "
            'key that never signed anything write {"height":"0","round":0,"step":0} into it',
        ) from None
    except OSError as error:
        as_left = ": as the signer that used the key last left it (stop that one first)"
        cure = cure_of_file(error, "make it readable for the node's user", which=as_left)
        if setting and is_no_file(error):
            cure = f"if config.toml leads there by mistake, the right path into {setting}; else {cure}"
        raise StateError(f"{path} cannot be read: {os_words(error)}", cure=cure) from error
    try:
        return decode(data, chain_id, parse_sign_bytes)
    except _OtherChainError as error:
        raise OfAnotherChainError(
            f"{path} is of the chain {error.there!r}, and {chain_id!r} is configured as chain_id",
            cure=f"if that is mistyped, {id_in_config(error.there)}, and start again: nothing is lost, and nothing is to be recovered. "
            f"If this key is to sign for another chain from now on, `cmkms chain rename --from {error.there} --to {chain_id}` (docs/RUNBOOK.md, "
            "Another chain id)",
        ) from error
    except ValueError as error:
        raise LostFileError(
            f"{path} is not a validator's state file: {error}",
            cure="restore it from the signer that used the key before; if it is "
            "lost, `cmkms recover --min-height HEIGHT` with a height above the chain's head",
        ) from error


_CURE_ELSE: Final = (
    "if config.toml leads there by mistake, the right path into state_file; else move that file to where it belongs, and put the state file there, as the "
    "signer that used the key last left it (stop that one first); where that is lost for good, `cmkms recover` once the other is moved"
)


def refuse_something_else(path: Path, cure: str = _CURE_ELSE) -> None:
    """Whether a file that a state is written over is one, or what may be left of one: empty, cut
    short, zeros, any bytes. Whatever cannot be read is another's to tell.

    Raises: NoStateFileError for what is recognisably something else.
    """
    try:
        data = read_file(path, STATE_FILE_MAX_BYTES)
    except OSError:
        return
    if what := _something_else(data):
        raise NoStateFileError(
            f"{path} is not a validator's state file, nor what is left of one: {what}. It is left as it is",
            cure=cure,
        )


def _something_else(data: bytes) -> str:
    """What the bytes are that were never a state file's, in words; "" where they may have been: a
    crash, a disk or a hand makes any other bytes of one.
    """
    if any(one in data for one in _OF_A_KEY):  # before it is decoded
        return "it is a key"
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return ""
    other = isinstance(document, dict) and document and not document.keys() & _FIELDS
    return "it is JSON of another kind" if other else ""


def says_nothing_was_signed(path: Path, chain_id: str) -> bool:
    """Also where it is missing: then there is no place that it would begin at."""

    def none_is_there(_: bytes) -> NoReturn:
        raise ValueError("it has sign bytes")

    try:
        return decode(read_file(path, STATE_FILE_MAX_BYTES), chain_id, none_is_there).hrs == HRS(0, 0, 0)
    except FileNotFoundError:
        return True
    except (OSError, ValueError):
        return False


def id_in_config(chain_id: str) -> str:
    """What config.toml is to say for a chain to have this id, whichever form of it the home has."""
    word = json.dumps(chain_id, ensure_ascii=False)
    return f"chain_id = {word} in config.toml (with [[chain]] tables: id = {word} in this chain's, its key_file and state_file as they are)"


def decode(data: bytes, chain_id: str, parse_sign_bytes: Parse) -> Watermark:
    """Strict. Raises: ValueError with what is wrong."""
    if len(data) > STATE_FILE_MAX_BYTES:
        raise ValueError(f"it has more than {STATE_FILE_MAX_BYTES} bytes")
    try:
        document = json.loads(data.decode(), object_pairs_hook=once)
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ValueError(no_json(error) if data else "it is empty") from error
    if not isinstance(document, dict):
        raise ValueError("it is no JSON object")
    hrs = HRS(
        _height(document.get("height")), _small(document, "round", ROUND_MAX), _small(document, "step", Step.PRECOMMIT)
    )
    sign_bytes = _hex(document.get("signbytes"))
    signature = _base64(document.get("signature"))
    if sign_bytes:
        _check_bytes(sign_bytes, hrs, chain_id, parse_sign_bytes)
    elif signature:
        raise ValueError("it holds a signature and no signbytes")
    return Watermark(hrs, sign_bytes, signature)


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Serve json.loads as object_pairs_hook: whoever says a height twice says none.

    Raises: ValueError.
    """
    document = dict(pairs)
    if len(document) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"it says {next(name for name in names if names.count(name) > 1)!r} twice")
    return document


def as_written(mark: Watermark) -> Watermark:
    """What load() finds of a mark that save() wrote: without a known signature its place alone,
    where FilePV then signs nothing.
    """
    return mark if mark.sign_bytes and mark.signature else Watermark(mark.hrs)


def encode(mark: Watermark) -> bytes:
    """Write the state as FilePV does, of a mark as_written()."""
    mark = as_written(mark)
    document: dict[str, Any] = {"height": str(mark.hrs.height), "round": mark.hrs.round, "step": mark.hrs.step}
    if mark.signature:
        document["signature"] = base64.b64encode(mark.signature).decode()
        document["signbytes"] = mark.sign_bytes.hex().upper()
    return json.dumps(document, indent=2).encode()


def save(path: Path, mark: Watermark, folder: int | None = None) -> None:
    """Replace the file, durably and atomically.

    The caller has the mark in the store already. `folder`: its directory, open.

    Raises: StoreFailure.
    """
    write_atomically(path, encode(mark), folder=folder)


def _check_bytes(sign_bytes: bytes, hrs: HRS, chain_id: str, parse_sign_bytes: Parse) -> None:
    try:
        parsed = parse_sign_bytes(sign_bytes)
    except CometKMSError as error:
        raise ValueError(f"its signbytes are not canonical ({error})") from error
    if parsed.hrs != hrs:
        raise ValueError(f"it says {tuple(hrs)} and its signbytes say {tuple(parsed.hrs)}")
    if parsed.chain_id != chain_id:
        raise _OtherChainError(parsed.chain_id, chain_id)


def _height(value: object) -> int:
    """CometBFT writes a string; a plain number is accepted."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= HEIGHT_MAX:
        raise ValueError(f"its height is {value!r}")
    return value


def _small(document: dict[str, Any], key: str, most: int) -> int:
    value = document.get(key)
    # v0.33 wrote strings
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 11:
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
        raise ValueError(f"its {key} is {value!r}")
    return value


def _hex(value: object) -> bytes:
    if value is None or value == "":
        return b""
    try:
        decoded = bytes.fromhex(value) if isinstance(value, str) else None
    except ValueError:
        decoded = None
    if decoded is None or len(decoded) > SIGN_BYTES_MAX_BYTES:
        raise ValueError("its signbytes are not hex")
    return decoded


def _base64(value: object) -> bytes:
    if value is None or value == "":
        return b""
    try:
        decoded = base64.b64decode(value, validate=True) if isinstance(value, str) else b""
    except binascii.Error:
        decoded = b""
    if len(decoded) not in SIGNATURE_SIZES:
        raise ValueError(f"its signature is not base64 of {', '.join(map(str, sorted(SIGNATURE_SIZES - {0})))} bytes")
    return decoded
