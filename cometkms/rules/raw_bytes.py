"""Decide whether bytes that are no vote may be signed. Pure: no clock, no I/O. They have no place:
no watermark is asked and none moves.

| the request is …                           | outcome                                          |
|--------------------------------------------|--------------------------------------------------|
| SignBytes, and its value reads as a vote   | refuse: a vote, whatever is allowed              |
| SignBytes, and the chain allows no values  | refuse: not allowed                              |
| SignRawBytes with an id not in the list    | refuse: not allowed                              |
| senseless                                  | refuse, with its reason                          |
| anything else                              | sign: the value itself, or Celestia's form of it |

What may be signed at all is decided a second time by the key slot, in the core (csrc/keyslot.c).
"""

from typing import Final

from cometkms.limits import RAW_UNIQUE_ID_MAX_BYTES, RAW_VALUE_MAX_BYTES
from cometkms.model import AllowedBytes, Kind, Reason, Refusal, Request

#: The answer to SignBytes where it is off.
BYTES_REFUSED: Final = "bytes not allowed: this signer signs votes and proposals, and no other bytes"

_WORDS: Final = {
    Reason.BAD_BYTES: f"bad bytes: it takes 1 to {RAW_VALUE_MAX_BYTES} bytes in a request without unknown fields, and Celestia's a unique id "
    f"of 1 to {RAW_UNIQUE_ID_MAX_BYTES}",
    Reason.BYTES_ARE_A_VOTE: "bytes are a vote: what is given as bytes is what is signed of a vote, proposal, extension or raw bytes, or reads as it",
}


def decide_bytes(allowed: AllowedBytes, request: Request) -> Refusal | None:
    """Judge a request for bytes that are no vote by the table at the head of this module, and
    return None where it is to be signed.

    The request is of a kind in BYTES_KINDS.
    """
    if request.reason is Reason.BYTES_ARE_A_VOTE:
        return Refusal(request.reason, _WORDS[request.reason])
    if request.kind is Kind.SIGN_RAW_BYTES_REQUEST:
        if request.unique_id not in allowed.unique_ids:
            untrusted_id = request.unique_id[:RAW_UNIQUE_ID_MAX_BYTES]
            return Refusal(
                Reason.BYTES_NOT_ALLOWED, f"bytes not allowed: no raw bytes with the unique id {untrusted_id!r}"
            )
    elif request.kind is not Kind.SIGN_BYTES_REQUEST or not allowed.values:
        return Refusal(Reason.BYTES_NOT_ALLOWED, BYTES_REFUSED)
    if request.reason is Reason.NONE:
        return None
    return Refusal(request.reason, _WORDS.get(request.reason, request.reason.name.lower().replace("_", " ")))
