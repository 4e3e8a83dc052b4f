"""How this node is, in one line, for `systemctl status`. Pure: from the status board."""

from collections.abc import Mapping
from typing import Any

from cometkms.api.sections import StateSection
from cometkms.api.shape import shape
from cometkms.api.status import find_trouble


def status_line(board: Mapping[str, dict[str, Any] | None], beat_ages_s: Mapping[str, float | None]) -> str:
    """Who leads, how many of the others are there, and what is wrong. It changes when one of these does, not with each signature."""
    sections = shape({name: board.get(name) for name in ("state", "signer", "supervisor")})
    words = [_role(sections["state"])] if sections["state"] is not None else ["starting"]
    return "; ".join([*words, *find_trouble(sections, beat_ages_s)])


def _role(state: StateSection) -> str:
    others = [member for member in state.get("members", []) if not member.get("self")]
    role = "leader" if state.get("is_leader") else "follower"
    if not others:
        return "one node alone, signing" if state.get("is_leader") else "one node alone, not signing"
    leader = state.get("leader_id")
    if leader and not state.get("is_leader"):
        role = f"follower of {leader}"
    there = sum(1 for member in others if member.get("connected"))
    return f"{role}; {there} of {len(others)} peers connected"
