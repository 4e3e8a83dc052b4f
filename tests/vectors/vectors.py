"""Read the vectors into the model's values."""

import json
import re
from pathlib import Path
from typing import Any

from cometkms.model import BlockID, Kind, Message, Proposal, RemoteSignerError, Timestamp, Vote

HERE = Path(__file__).parent


def load(name: str) -> list[dict[str, Any]]:
    return json.loads((HERE / name).read_text())["cases"]


def ballot(document: dict[str, Any]) -> Vote | Proposal:
    when = Timestamp(document["timestamp"]["seconds"], document["timestamp"]["nanos"])
    block = BlockID(
        bytes.fromhex(document["block_hash"]), document["parts_total"], bytes.fromhex(document["parts_hash"])
    )
    place = (document["type"], document["height"], document["round"])
    signature = bytes.fromhex(document["signature"])
    if "pol_round" in document:
        return Proposal(*place, document["pol_round"], block, when, signature)
    return Vote(
        *place,
        block,
        when,
        bytes.fromhex(document["validator_address"]),
        document["validator_index"],
        signature,
        bytes.fromhex(document.get("extension", "")),
        bytes.fromhex(document.get("extension_signature", "")),
    )


def message(case: dict[str, Any], *, v1: bool = False) -> Message:
    """What a case says. `v1`: of a line whose PubKeyResponse has no v0.x PublicKey."""
    kind = Kind[re.sub(r"(?<!^)(?=[A-Z])", "_", case["kind"]).upper()]
    error = case.get("error")
    vote, proposal = case.get("vote"), case.get("proposal")
    return Message(
        kind,
        chain_id=case.get("chain_id", ""),
        pub_key=None if v1 and kind is Kind.PUB_KEY_RESPONSE else bytes.fromhex(case.get("ed25519", "")),
        pub_key_bytes=bytes.fromhex(case.get("pub_key_bytes", "")),
        pub_key_type=case.get("pub_key_type", ""),
        vote=ballot(vote) if vote else None,
        proposal=ballot(proposal) if proposal else None,
        error=RemoteSignerError(error["code"], error["description"]) if error else None,
        skip_extension=case.get("skip_extension_signing", False),
        value=bytes.fromhex(case.get("value") or (case.get("signature", "") if "SIGN_BYTES" in kind.name else "")),
    )
