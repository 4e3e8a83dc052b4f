"""What one node says of its cluster at one moment, and what of it stands in the way of a drill.
Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cometkms.board.sections import MemberState
from cometkms.errors import OperatorError
from cometkms.model import HRS

#: Alerts that say how fast things are or how they are set, not whether the cluster can lose its
#: leader.
HARMLESS_ALERTS: Final = ("latency_high", "disk_slow", "config_differs")


@dataclass(frozen=True, slots=True)
class MemberView:
    """`connects`: how often the node that was asked has connected to it."""

    id: str
    me: bool
    connected: bool
    state: str
    connects: int

    @property
    def whole(self) -> bool:
        """There, and able to promise."""
        return self.connected and self.state == MemberState.COMPLETE


@dataclass(frozen=True, slots=True)
class Seen:
    """A signature as the node learned of it. `at`: its monotonic seconds, which are ours: it runs
    on this machine."""

    number: int
    at: float
    chain: int
    hrs: HRS
    by: str


@dataclass(frozen=True, slots=True)
class View:
    """`signed_at`: of each chain, None before its first. `oldest`: the first signature that the
    node still remembers. `next`: what to ask from next time."""

    now: float
    me: str
    leader: str | None
    why: str
    chains: tuple[str, ...]
    members: tuple[MemberView, ...]
    signed_at: tuple[float | None, ...]
    signatures: tuple[Seen, ...]
    oldest: int
    next: int

    @property
    def missing(self) -> tuple[str, ...]:
        """Members that are away or not complete."""
        return tuple(one.id for one in self.members if not one.whole)

    def member(self, name: str) -> MemberView:
        """Raises: OperatorError."""
        for one in self.members:
            if one.id == name:
                return one
        raise OperatorError(f"{name!r} is no member any more", cure="look at `cmkms peers`")


def parse_view(answer: Mapping[str, Any]) -> View:
    """Parse a node's answer to "watch". Raises: OperatorError for an answer of another
    version's."""
    try:
        return View(
            now=float(answer["now"]),
            me=str(answer["node_id"]),
            leader=answer["leader_id"],
            why=str(answer["why"]),
            chains=tuple(map(str, answer["chains"])),
            members=tuple(
                MemberView(
                    str(one["id"]), bool(one["self"]), bool(one["connected"]), str(one["state"]), one["connects"] or 0
                )
                for one in answer["members"]
            ),
            signed_at=tuple(answer["signed_at"]),
            signatures=tuple(
                Seen(number, at, chain, HRS(height, round_, step), by)
                for number, at, chain, height, round_, step, by in answer["signatures"]
            ),
            oldest=int(answer["oldest"]),
            next=int(answer["next"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise OperatorError(
            f"the node's answer is not understood ({error})", cure="the same version of cmkms for both"
        ) from error


def obstacles(view: View, status: Mapping[str, Any], check: str, fresh_s: float) -> list[str]:
    """Why the cluster is not fit for a drill, each in words; empty: it is.

    `status`: this node's /status. `check`: the leader's own word, "" when it has nothing to say.
    `fresh_s`: how old the last signature of each chain may be.
    """
    if len(view.members) < 2:
        return ["this node is alone: nobody can take over, and there is nothing to rehearse"]
    found = [f"{name} is {_state_of(view, name)}" for name in view.missing]
    if view.why:
        found.append(f"{view.me} does not promise: {view.why}")
    if view.leader is None:
        found.append("nobody leads")
    if check:
        found.append(check)
    for chain, at in zip(view.chains, view.signed_at, strict=True):
        if at is None:
            found.append(f"{chain}: no signature was seen since {view.me} started")
        elif view.now - at > fresh_s:
            found.append(f"{chain}: the last signature is {view.now - at:.0f} s old")
    found += [str(words) for words in _list(status.get("trouble")) if str(words) != view.why]
    for alert in _list(status.get("alerts")):
        if isinstance(alert, Mapping) and alert.get("name") not in HARMLESS_ALERTS:
            found.append(f"alert {alert.get('name')}: {alert.get('what')}")
    return found


def _state_of(view: View, name: str) -> str:
    member = view.member(name)
    return f"{member.state}, not complete" if member.connected else "not connected"


def _list(untrusted: object) -> Sequence[Any]:
    return untrusted if isinstance(untrusted, list) else ()
