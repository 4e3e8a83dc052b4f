"""The records that C writes or reads beside Python, field by field, and here alone: Python packs
them with layout(), and build_ffi.py makes csrc/layouts.h of the same table. All are little-endian
and without gaps; what has a length follows behind the fields.
"""

import struct
from collections.abc import Mapping
from typing import Final

ROW_MAGIC: Final = b"CMKMSR02"  # of a row's sector in the promise store
SECTOR_CHECK_BYTES: Final = 16  # at a sector's end: BLAKE2b-128 of what is before

#: By name: fields and their formats, as `struct` has them. A field that is named after what follows
#: behind the record is its length.
LAYOUTS: Final[Mapping[str, Mapping[str, str]]] = {
    # A sector of the promise store begins so; then its body, and zeros.
    "sector": {"magic": "8s", "sequence": "Q", "body": "H"},
    # The body of a row's sector. count: promises written so far; then the chain's id,
    # sign bytes, signature.
    "row": {
        "key": "32s", "height": "q", "round": "i", "step": "B", "flags": "B", "bytes": "H", "signature": "B", "chain": "B", "count": "Q",
    },
    # A message between signer and state process. flag: or a refusal's reason; then sign
    # bytes, signature.
    "queue": {
        "tag": "B", "nonce": "Q", "request_id": "Q", "chain": "H", "height": "q", "round": "i", "step": "B", "flag": "B",
        "bytes": "H", "signature": "B",
    },
    # A decision for the audit log. at_ns: UNIX time; us: how long it took, or how many a folded one
    # stands for; then sign bytes, block hash, the validator's identity, its address.
    "decision": {
        "life": "Q", "number": "Q", "at_ns": "q", "height": "q", "round": "i", "step": "B", "outcome": "B", "reason": "B", "kind": "B",
        "chain": "H", "bytes": "B", "block": "B", "identity": "B", "validator": "B", "us": "I",
    },
}  # fmt: skip


def layout(name: str) -> struct.Struct:
    """What packs and unpacks the fields of that record, in their order."""
    return struct.Struct("<" + "".join(LAYOUTS[name].values()))
