"""One finding of the doctor's: how bad, where, what, and what to do. Pure."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from cometkms.errors import CometKMSError

#: Words of a node around those that it tells on (board/trouble.py, api/status.py).
_LAST_EXIT: Final = " (last exit: "
_GOES_ON: Final = "; signing goes on"


class Level(StrEnum):
    """OK and NOTE are fine; WARN is not as it should be; FAIL keeps the node from signing, or from
    signing safely.
    """

    OK = "ok"
    NOTE = "note"
    WARN = "WARN"
    FAIL = "FAIL"


@dataclass(frozen=True, slots=True)
class Finding:
    """`cure`: what to do; "" where nothing is to be done."""

    level: Level
    area: str
    words: str
    cure: str = ""

    def line(self) -> str:
        """`ok    disk         words; cure: …`"""
        cure = f"; cure: {self.cure}" if self.cure else ""
        return f"{self.level.value:<5} {self.area:<12} {self.words}{cure}"

    def document(self) -> dict[str, str]:
        """Return what --json shows."""
        return {"level": self.level.value.lower(), "area": self.area, "words": self.words, "cure": self.cure}


def ok(area: str, words: str) -> Finding:
    """Say that something is as it should be."""
    return Finding(Level.OK, area, words)


def note(area: str, words: str, cure: str = "") -> Finding:
    """Worth knowing."""
    return Finding(Level.NOTE, area, words, cure)


def warn(area: str, words: str, cure: str) -> Finding:
    """Make a finding of something that is not as it should be."""
    return Finding(Level.WARN, area, words, cure)


def fail(area: str, words: str, cure: str) -> Finding:
    """It keeps the node from signing, or from signing safely."""
    return Finding(Level.FAIL, area, words, cure)


def failed_by(area: str, error: CometKMSError, otherwise: str = "look at the file that is named") -> list[Finding]:
    """An error of the program's as findings, one for each of its parts, with the part's own cure
    where it has one.
    """
    return [fail(area, part.what, part.cure or otherwise) for part in error.parts]


def apart(told: str, otherwise: str) -> tuple[str, str]:
    """What a running node tells of itself as one text, and the cure that is part of that;
    `otherwise` where none is: two cures of one finding contradict each other.
    """
    goes_on = _GOES_ON if told.endswith(_GOES_ON) else ""
    words, _, cure = told.removesuffix(_GOES_ON).partition("; cure: ")
    if _LAST_EXIT in words and cure.endswith(")"):
        words, cure = f"{words})", cure[:-1]
    return words + goes_on, cure or otherwise


def is_well(findings: list[Finding]) -> bool:
    """Whether nothing fails or warns: exit code 0."""
    return not any(one.level in (Level.WARN, Level.FAIL) for one in findings)
