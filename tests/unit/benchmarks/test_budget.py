"""Marks of several processes joined to one signature's hops."""

from pathlib import Path

import pytest

from benchmarks.budget import HOPS, OWN_DISK, WHOLE, hops, stack

PLACE = "0 5 0 2"


def write(directory: Path, name: str, marks: dict[int, int]) -> None:
    lines = [f"{us * 1000} {point} {PLACE}\n" for point, us in marks.items()]
    (directory / f"{name}.trace").write_text("".join(lines))


SIGNER = {1: 0, 2: 5, 11: 500, 12: 525, 13: 545}


def test_three_nodes_the_member_that_completed_the_majority_counts(tmp_path: Path) -> None:
    write(tmp_path, "signer", SIGNER)
    write(tmp_path, "leader", {3: 40, 4: 70, 5: 250, 9: 460, 10: 462})
    write(tmp_path, "fast", {6: 100, 7: 300, 8: 310})
    write(tmp_path, "slow", {6: 100, 7: 600, 8: 610})
    found = hops(tmp_path)
    assert {hop: row["p50"] for hop, row in found.items()} == {
        HOPS[1, 2]: 5,
        HOPS[2, 3]: 35,
        HOPS[3, 4]: 30,
        OWN_DISK: 180,
        HOPS[4, 6]: 30,
        HOPS[6, 7]: 200,
        HOPS[7, 8]: 10,
        HOPS[8, 9]: 150,
        HOPS[9, 10]: 2,
        HOPS[10, 11]: 38,
        HOPS[11, 12]: 25,
        HOPS[12, 13]: 20,
        WHOLE: 545,
    }
    bars = stack({"three": found})["three"]
    assert sum(bars.values()) == 545, "what follows one another is all of it"


def test_one_node_asks_nobody(tmp_path: Path) -> None:
    write(tmp_path, "signer", SIGNER)
    write(tmp_path, "state", {3: 40, 5: 440, 10: 441})
    found = hops(tmp_path)
    assert found[OWN_DISK]["p50"] == 400
    assert found["state: permit"]["p50"] == 1
    assert sum(stack({"one": found})["one"].values()) == 545


def test_a_signature_whose_marks_are_not_all_there_is_left_out(tmp_path: Path) -> None:
    write(tmp_path, "signer", SIGNER)
    write(tmp_path, "leader", {3: 40, 4: 70, 5: 250, 9: 460, 10: 462})
    with pytest.raises(ValueError, match="no signature was traced"):
        hops(tmp_path)
