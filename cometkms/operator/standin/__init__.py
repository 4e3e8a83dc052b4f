"""A stand-in for a CometBFT validator: speaks the real protocol over a real socket and verifies
every signature.

For `cmkms demo` and for the tests.
"""

from cometkms.operator.standin.ballots import (
    BadSignature,
    Judge,
    Signed,
    block_of,
    proposal_request,
    timestamp_now,
    vote_request,
)
from cometkms.operator.standin.link import Link, Listener, listen
from cometkms.operator.standin.search import Search
from cometkms.operator.standin.validator import SignerRefused, SignerSilent, StandIn, quantile

__all__ = [
    "BadSignature",
    "Judge",
    "Link",
    "Listener",
    "Search",
    "Signed",
    "SignerRefused",
    "SignerSilent",
    "StandIn",
    "block_of",
    "listen",
    "proposal_request",
    "quantile",
    "timestamp_now",
    "vote_request",
]
