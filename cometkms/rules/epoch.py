"""Whether the seals of an epoch that ends show all that was ever signed in it
(docs/ARCHITECTURE.md, rule 10). Pure: no clock, no I/O.

What was signed is held by a majority, so N−Q+1 stores that lack nothing show it. A seal says how
far its store is known to lack nothing:

| standing    | the store                                                                     | is taken for                   |
|-------------|-------------------------------------------------------------------------------|--------------------------------|
| CONFIRMED   | was read against every other member by the process that sealed it             | one that lacks nothing         |
| UNCONFIRMED | was sealed while the node was stopped, or had not read every other member     | one of these may be an old copy|
| BEHIND      | is behind the state file beside it, and was not CONFIRMED before it was       | the old copy                   |

One unnoticed old copy at a time is what the rules bear. One node alone has nobody who could confirm
it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

from cometkms.model import quorum_of


class Standing(IntEnum):
    """What vouches for a sealed store."""

    BEHIND = 0
    UNCONFIRMED = 1
    CONFIRMED = 2


@dataclass(frozen=True, slots=True)
class Ended:
    """An epoch that is over, as this home knows: its members, and those whose seals were given
    here, a majority of them.
    """

    epoch: int
    members: tuple[str, ...]
    sealed: tuple[str, ...]


def is_over(ended: Iterable[Ended], member: str, epoch: int, members: tuple[str, ...]) -> bool:
    """Tell whether a member that says that it is in that epoch was away when it ended: no majority
    can come of it.

    One that gave a seal and does not say that it is sealed is an old copy of itself, and of such
    ones a majority can come.
    """
    return any((one.epoch, one.members) == (epoch, members) and member not in one.sealed for one in ended)


def sealed_words(epoch: int, me: str, following: Sequence[str]) -> str:
    """What a sealed member is, and what is to be done with it. `following`: for whom it is sealed;
    () where that is not known."""
    if not following:
        return f"epoch {epoch} was sealed here: it promises nothing more"
    whom = ", ".join(following)
    if me in following:
        how = "it promises nothing more before it begins the next: stopped, by the same `cmkms member` command"
        return f"epoch {epoch} was sealed here, for {whom}: {how}"
    what = "it promises nothing more, and stays stopped for good"
    return f"epoch {epoch} was sealed here, for {whom} and without {me}: {what} once its seal is with {whom}"


def doubt(members: int, seals: Mapping[str, Standing]) -> str:
    """Why these seals of an epoch of `members` nodes may lack something that was signed; "" when
    they cannot.

    `seals`: by the member's id. That they are a majority is the caller's to check.
    """
    behind = sorted(name for name, standing in seals.items() if standing is Standing.BEHIND)
    unconfirmed = sorted(name for name, standing in seals.items() if standing is Standing.UNCONFIRMED)
    needed = members - quorum_of(members) + 1
    spare = 1 if unconfirmed and not behind and members > 1 else 0
    if len(behind) <= 1 and len(seals) - len(behind) - spare >= needed:
        return ""
    if behind:
        return f"the store of {', '.join(behind)} is behind its own state file: an old copy was put back, or another signer used the key"
    return (
        f"{members - len(seals)} of {members} members gave no seal, and {', '.join(unconfirmed)} was sealed without having been compared with every "
        "other member since its start: if an old copy of its store was put back, what it forgot is shown by nobody"
    )
