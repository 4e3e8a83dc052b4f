"""How this node is, in one line, for `systemctl status`. Pure: from the status board."""

from collections.abc import Mapping
from typing import Any

from cometkms.board.sections import StateSection
from cometkms.board.shape import shape
from cometkms.board.situation import Leads, Signs, Situation, situation_of
from cometkms.board.trouble import find_trouble


def status_line(board: Mapping[str, dict[str, Any] | None], beat_ages_s: Mapping[str, float | None], now: float) -> str:
    """Who leads, how many of the others are there, and what is wrong. It changes when one of these
    does, not with each signature."""
    sections = shape({name: board.get(name) for name in ("state", "signer", "supervisor")})
    words = [_role(sections["state"], situation_of(sections, beat_ages_s, now))]
    return "; ".join([*words, *find_trouble(sections, beat_ages_s, now)])


def _role(state: StateSection | None, situation: Situation) -> str:
    if state is None:
        return "starting"
    if situation.leads is Leads.UNKNOWN:
        return "not known who leads"
    here = situation.leads is Leads.HERE
    absent = "; no validator is connected" if situation.signs is Signs.NO_VALIDATOR else ""
    others = [member for member in state.get("members", []) if not member.get("self")]
    if not others:
        signing = "signing" if situation.signs is Signs.SIGNED else "may sign" if here else "not signing"
        return f"one node alone, {signing}{absent}"
    role = "leader" if here else "follower"
    if situation.leads is Leads.ELSEWHERE:
        role = f"follower of {situation.leader}"
    there = sum(1 for member in others if member.get("connected"))
    return f"{role}; {there} of {len(others)} peers connected{absent}"
