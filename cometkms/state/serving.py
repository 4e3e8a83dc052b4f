"""Whether this node proposes what its signer asks for. Pure: no clock, no I/O.

| the signer asks …                                     | this node leads | it does not lead                         |
|-------------------------------------------------------|-----------------|------------------------------------------|
| for a validator's connection, or an agent's first try | proposes        | refuses: NOT_LEADER                      |
| urgently: an agent was answered nowhere else          | proposes        | proposes, if it may promise itself       |

Who proposes has no part in safety: a permit is a majority's promises for exactly these bytes, whoever counts them (rule 3), and the models
let any node propose anything at any time. The lead is what normally keeps two nodes from proposing at once.
"""

from cometkms.model import Reason, Refusal


def why_not_proposed(*, urgent: bool, leads: bool, ready: bool) -> Refusal | None:
    """None: it is proposed. `leads`: holds the lease; `ready`: may promise now."""
    if ready and (leads or urgent):
        return None
    if not urgent:
        return Refusal(Reason.NOT_LEADER, "this node does not lead")
    return Refusal(Reason.NOT_COMPLETE, "this node is not complete: it promises nothing, and proposes nothing")
