"""One finding of the doctor's: how bad, where, what, and what to do. Pure."""

from dataclasses import dataclass
from enum import StrEnum

from cometkms.errors import CometKMSError


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


def is_well(findings: list[Finding]) -> bool:
    """Whether nothing fails or warns: exit code 0."""
    return not any(one.level in (Level.WARN, Level.FAIL) for one in findings)
