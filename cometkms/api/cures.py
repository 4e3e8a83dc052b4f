"""What to do about a refusal or a connection that is not there, by its code. Pure words.

Held to the codes by a test: a code without a cure of its own has the general one of its alert.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from cometkms.board.sections import MemberState
from cometkms.model import quorum_of
from cometkms.wire.why import PeerCode

_VERSION: Final = "what asks is of a version that this one does not know, or is no validator: compare with `cmkms version`, and look who connects"

#: By a Reason's name: what to do when every request fails for it. {validator} and {chain} are put
#: in.
OF_REFUSALS: Final[dict[str, str]] = {
    "wrong_chain": "compare `chain_id` in config.toml ({chain}; `id` in a [[chain]] table) with the network of "
    "`curl -s http://VALIDATOR:26657/status`, and correct the wrong one: here on every "
    "node, with a restart. Nothing was signed and nothing is lost: do not recover anything",
    "empty_chain": _VERSION,
    "missing_payload": _VERSION,
    "bad_type": _VERSION,
    "negative_height": _VERSION,
    "negative_round": _VERSION,
    "bad_block_id": _VERSION,
    "unexpected_extension": _VERSION,
    "unknown_kind": _VERSION,
    "bad_timestamp": _VERSION,
    "bad_pol_round": _VERSION,
    "bad_address": _VERSION,
    "bytes_not_allowed": "the validator asks for a signature of bytes that are neither vote nor proposal, as Berachain's and Celestia's programs do. Votes "
    "are signed all the same; to have these signed too: `sign_bytes`, or the unique id in `raw_bytes_unique_ids`, for {chain} in config.toml on every node",
    "bad_bytes": _VERSION,
    "bytes_are_a_vote": "the validator gave out a vote, proposal or extension for mere bytes, which no honest program does: a signature of it would be a vote "
    "that no watermark knows. Nothing was signed: find out what runs there, and take it out of `validator_addr` until you know",
    "height_regression": "the validator is behind what this key has signed: let it catch up. Was it restored from an old state, or is it on another chain with "
    "this id? Never lower a watermark",
    "round_regression": "the validator asks again for what is past: the next height is signed. If it goes on, look for a second validator in `validator_addr`",
    "step_regression": "the validator asks again for what is past: the next height is signed. If it goes on, look for a second validator in `validator_addr`",
    "conflict": "another block was signed at this place: the next height is signed. If it goes on, two validators ask with one key and do not agree: take one "
    "out of `validator_addr`, and find out which is on a fork",
    "burnt": "what was signed at this place is not known, so it is not signed again: the next height is. Nothing is to be done",
    "jump": "is the chain really at that height? Ask a node that you trust: `curl -s http://NODE:26657/status`. If so, on every node: "
    "`cmkms chain admit {chain} --height HEIGHT`; if not, the validator is on another chain or hostile: take it out of `validator_addr`",
    "no_permit": "no majority promises in time: `cmkms peers` says who is missing, `cmkms doctor` which disk or way is slow",
    "not_leader": "the leadership moves: `cmkms leader show`; `cmkms doctor` where it goes on",
    "state_away": "the state process of this node does not answer: `cmkms status` has its last exit",
    "not_complete": "the other nodes are starting or recovering: `cmkms peers` says which, and whom they wait for",
    "unknown_row": "the other nodes do not have {chain}, or have it with another key: the same chain and validator key in the config.toml of every node, and "
    "a restart of those that lack it, one after the other; then `cmkms config digest` is the same on each. "
    "Where it is new on all, one that is away has not told its mark yet: start it. Before that nothing is signed on {chain}",
}

_LOSES: Final = "what is sent does not come through, though connections are made: does the way lose large packets? `ping -M do -s 1372 HOST` from here; set "
_LOSES_MORE: Final = "tcp_max_segment = 1200 on one of the two, or the interfaces' MTU, or clamp the MSS on the router; or its process hangs: `cmkms status`"

#: By a PeerCode: what to do about a member that is not connected. {subject} is its id.
OF_PEERS: Final[dict[PeerCode, str]] = {
    PeerCode.PROTOCOL: "finish the upgrade: versions with the same peers' protocol on every node (docs/UPGRADING.md); `cmkms version` on each",
    PeerCode.MEMBERS: "the same `peer` list on every node, and every one in the same epoch: `cmkms config digest` on each. The list differs: "
    "`cmkms member`, the same command on each. It is the same, and one is left in an earlier epoch: there, stopped, `cmkms epoch begin` with the seals from "
    "which the others began (HOME/seals, --seal-file), then start it",
    PeerCode.DIGEST: "the same `peer` list and the same validator key, or priv/cluster.key, on every node: `cmkms config digest` on each",
    PeerCode.UNLISTED: "was this node taken out? Then stop it for good. Is it to be a member: `cmkms member add` with its id and address on every node, and "
    "the `peer` of {subject}'s config.toml here first",
    PeerCode.ALONE: "give the node that is configured alone the cluster's `peer` list, or stop it: two majorities of one key sign twice",
    PeerCode.DUPLICATE: "two nodes have the id {subject}: find the copy and stop it; another node is a member of this cluster "
    "(`cmkms member add`), or has another key",
    PeerCode.MYSELF: "its address in `peer` leads to this very node: correct the address of {subject}",
    PeerCode.NAME: "the `id` there and its name in `peer` differ: make them the same; a copied config.toml needs its own `id`",
    PeerCode.KEY: "the validator key, the [[chain]] tables (one of their keys is what members know each other by) or priv/cluster.key differ: here, "
    "where it is so with every member, else there; or its address in `peer` leads to another machine: `cmkms config digest` on both",
    PeerCode.SUPERSEDED: "another machine, or a later store, stands for {subject} now: leave the earlier one off if it was replaced; if an older "
    "copy of its data was put back, move data/ away there and start it",
    PeerCode.UNBELIEVED: "its numbers are beyond what promises can have made: find out what runs as {subject}; nothing of it is taken here",
    PeerCode.DOWN: "on the machine of {subject}: `systemctl status cmkms`, `cmkms start` if it is down; if it runs, compare its `raft_addr` with `peer` here",
    PeerCode.UNREACHABLE: "is the machine of {subject} up? If so, the network and the firewalls between: the port of its `raft_addr` must be open from here",
    PeerCode.UNRESOLVED: "correct the name of {subject} in `peer`, or the DNS that this machine asks; an address needs neither",
    PeerCode.NOT_DIALLED: "on the machine of {subject}: `systemctl status cmkms`, `cmkms start` if it is down; if it runs, this node's address in its "
    "`peer` must be this machine's, no other machine may run as this node, and the port of `raft_addr` must be open from there",
    PeerCode.STRANGER: "if the node at that address is {subject}, it has another validator key or cluster.key, or other [[chain]] tables, of whose keys "
    "one is what members know each other by: `cmkms config digest` there and here, put the right key or table there, and restart it; it is only that "
    "node's word. Else look what runs there, and start {subject}",
    PeerCode.HANDSHAKE: _LOSES + _LOSES_MORE,
    PeerCode.NOT_ACKNOWLEDGED: _LOSES + _LOSES_MORE,
    PeerCode.CLOSED_EARLY: "its log says why it closes: `cmkms doctor` there; another `peer` list, another key, or a node that is just starting",
}


#: By what a validator's last error says, in the words of net/dial.py, net/opening.py and
#: wire/secret_connection.py: what to do where the general cure does not fit.
_OF_VALIDATORS: Final = (
    (
        "it is no socket, but a link to where nothing is",
        "start the validator, whose priv_validator_laddr must be where the link at {subject} leads; or that path itself in validator_addr",
    ),
    (
        "it is no socket",
        "the path of its priv_validator_laddr in validator_addr; or move away what is at {subject}, and restart the validator",
    ),
    (
        "no handshake came",
        "the connection is made, so no firewall: look what listens at {subject} and whether it hangs; or the way loses large packets: `ping -M do -s "
        "1372 HOST` from here, tcp_max_segment = 1200 in config.toml here, or the interfaces' MTU",
    ),
    (
        "no SecretConnection hello",
        "what listens at {subject} is no validator's port for signers: compare it with priv_validator_laddr in the validator's config.toml; its RPC "
        "(26657) and P2P (26656) are others",
    ),
)


def cure_of_validator(error: str, address: str) -> str:
    """What to do about a validator that is not connected; "" where only its alert's general cure
    fits."""
    found = next((cure for words, cure in _OF_VALIDATORS if words in error), "")
    return found.replace("{subject}", address)


def cure_of_peer(code: PeerCode, name: str, me: str, *, connected: bool = False) -> str:
    """What to do about the member `name`; "" where only its alert's general cure fits.

    Where a second process with one id keeps the two apart, the id is this node's own, `me`.
    """
    subject = me if code is PeerCode.DUPLICATE and not connected else name
    return OF_PEERS.get(code, "").replace("{subject}", subject)


def cure_of_lost(members: Sequence[Mapping[str, object]]) -> str:
    """What to do where so many members lost their promises that they wait for each other for ever
    (rules/recovery.py: too few are left whose answers count); "" where they go on by themselves.
    """
    there = [one for one in members if one.get("connected") or one.get("self")]
    lost = [str(one["id"]) for one in there if one.get("state") == MemberState.RECOVERING]
    if not members or len(lost) < quorum_of(len(members)):
        return ""
    return (
        f"{' and '.join(lost)} lost their promises and wait for each other for ever. Stop one of them, put its data/ back as it left it, or, where "
        "that is gone, `cmkms recover --min-height HEIGHT` above the chain's head on that one alone, and start it: the others read it "
        "(docs/RUNBOOK.md#two-nodes-are-lost)"
    )
