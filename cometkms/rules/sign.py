"""Decide whether a request may be signed, over the last signed place. CometBFT's own rule
(privval/file.go), pure: no clock, no I/O.

Whether a place above it is plausible at all (rule 13) is decided where it is reserved:
rules/promise.py.

| the request's place is …     | and …                                        | outcome                                    |
|------------------------------|----------------------------------------------|--------------------------------------------|
| (the request is senseless)   |                                              | refuse, with its reason                    |
| below the watermark          |                                              | refuse: height, round or step regression   |
| the watermark                | nothing is known of what was signed there    | refuse: burnt                              |
| the watermark                | same bytes, or only the timestamp differs    | repeat the recorded timestamp, signature   |
| the watermark                | the same, but the signature is not known     | sign (the permit brings the recorded bytes)|
| the watermark                | anything else                                | refuse: conflicting data                   |
| above the watermark          |                                              | sign: reserve the place first              |
"""

from collections.abc import Callable
from dataclasses import dataclass

from cometkms.model import HRS, Reason, Refusal, Request, Watermark


@dataclass(frozen=True, slots=True)
class Sign:
    """Reserve this place durably, then sign the permit's bytes."""


@dataclass(frozen=True, slots=True)
class Repeat:
    """Give again what was signed: these bytes (their timestamp) and this signature."""

    sign_bytes: bytes
    signature: bytes


SIGN = Sign()


def decide(
    watermark: Watermark,
    request: Request,
    *,
    same_but_timestamp: Callable[[bytes, bytes], bool],
) -> Sign | Repeat | Refusal:
    """Judge a request against the watermark by the table at the head of this module. The core tells
    `same_but_timestamp`."""
    if request.reason is not Reason.NONE:
        return Refusal(request.reason, request.reason.name.lower().replace("_", " "))
    asked, last = request.hrs, watermark.hrs
    if asked < last:
        return regression(asked, last)
    if asked > last:
        return SIGN
    if not watermark.sign_bytes:
        return Refusal(Reason.BURNT, f"what was signed at {asked} is not known: nothing is signed there again")
    if not same_but_timestamp(request.sign_bytes, watermark.sign_bytes):
        return Refusal(Reason.CONFLICT, "conflicting data")
    if not watermark.signature:
        return SIGN
    return Repeat(watermark.sign_bytes, watermark.signature)


def regression(asked: HRS, last: HRS) -> Refusal:
    """FilePV's words for a place below the last one."""
    if asked.height < last.height:
        return Refusal(Reason.HEIGHT_REGRESSION, f"height regression. Got {asked.height}, last height {last.height}")
    if asked.round < last.round:
        return Refusal(
            Reason.ROUND_REGRESSION,
            f"round regression at height {asked.height}. Got {asked.round}, last round {last.round}",
        )
    return Refusal(
        Reason.STEP_REGRESSION,
        f"step regression at height {asked.height} round {asked.round}. Got {asked.step}, last step {last.step}",
    )
