"""Heights that are burnt on the operator's word: nothing is signed there or below, ever again.

Pure.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from cometkms.errors import StateError
from cometkms.limits import ROUND_MAX
from cometkms.model import HRS, Step, Watermark


def burnt_up_to(height: int) -> Watermark:
    """Return the mark with which nothing is signed at that height or below."""
    return Watermark(HRS(height, ROUND_MAX, Step.PRECOMMIT))


def is_burnt_up_to(mark: Watermark) -> bool:
    """Tell whether a whole height is burnt: no request has ever led to such a mark, only an
    operator's word.
    """
    return mark == burnt_up_to(mark.hrs.height)


@dataclass(frozen=True, slots=True)
class Heights:
    """Up to where each chain is burnt: one height for all, or one for each that is named.

    Never both.
    """

    every: int | None = None
    each: Mapping[str, int] = field(default_factory=dict)

    def of(self, chain_id: str) -> int:
        """Return that chain's height."""
        return self.each[chain_id] if self.every is None else self.every

    def check(self, chain_ids: Iterable[str]) -> None:
        """Raise StateError unless a height is said of each of these chains, and of no other."""
        if self.every is not None:
            return
        asked = set(chain_ids)
        if unknown := sorted(self.each.keys() - asked):
            raise StateError(
                f"a height is given for {', '.join(unknown)}, and the chains here are {', '.join(sorted(asked))}: nothing was changed",
                cure="the chain's id to the letter, as `cmkms state show` has it",
            )
        if missing := sorted(asked - self.each.keys()):
            raise StateError(
                f"no height is given for {', '.join(missing)}: nothing was changed",
                cure=f"beside the others {' '.join(f'--min-height {chain_id}=HEIGHT' for chain_id in missing)}",
            )

    def __str__(self) -> str:
        """Return the heights as they are typed."""
        if self.every is not None:
            return str(self.every)
        return " ".join(f"{chain_id}={height}" for chain_id, height in sorted(self.each.items()))

    @property
    def words(self) -> str:
        """Say what is burnt, for the operator who reads it before."""
        if self.every is not None:
            return f"every height up to {self.every}"
        return "every height " + " and ".join(
            f"of {chain} up to {height}" for chain, height in sorted(self.each.items())
        )
