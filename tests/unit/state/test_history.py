"""The ring of signatures learned: bounded, in order, and honest about what was overwritten."""

import sys

from hypothesis import given, settings
from hypothesis import strategies as st

from cometkms.limits import HEIGHT_MAX, ROUND_MAX, SIGNATURE_RING_ENTRIES
from cometkms.model import HRS
from cometkms.state.history import NOBODY, Learned, SignatureRing

PLACE = st.builds(HRS, st.integers(0, HEIGHT_MAX), st.integers(0, ROUND_MAX), st.integers(0, 3))
ENTRY = st.tuples(st.floats(0, 1e9), st.integers(0, 63), PLACE, st.integers(0, 6) | st.just(NOBODY))


@settings(deadline=None)
@given(st.lists(ENTRY, max_size=30), st.integers(0, 40), st.integers(0, 40))
def test_what_was_added_comes_back_in_order(entries: list[tuple[float, int, HRS, int]], since: int, most: int) -> None:
    ring = SignatureRing()
    for entry in entries:
        ring.add(*entry)
    expected = [Learned(number, *entry) for number, entry in enumerate(entries)][since : since + most]
    assert ring.since(since, most) == expected
    assert ring.next == len(entries)
    newest = {row: at for at, row, _, _ in entries}
    assert [ring.newest_at(row) for row in range(64)] == [newest.get(row) for row in range(64)]


def test_the_oldest_are_overwritten_and_a_reader_sees_from_their_numbers_that_some_are_gone() -> None:
    ring = SignatureRing()
    for number in range(SIGNATURE_RING_ENTRIES + 10):
        ring.add(float(number), 0, HRS(number, 0, 3), 1)
    found = ring.since(0, 5)
    assert [one.number for one in found] == [10, 11, 12, 13, 14]
    assert found[0].hrs == HRS(10, 0, 3)
    assert len(ring.since(0, 1 << 30)) == SIGNATURE_RING_ENTRIES


def test_adding_leaves_nothing_behind() -> None:
    ring = SignatureRing()
    before = 0
    for number in range(2000):
        if number == 1000:
            before = sys.getallocatedblocks()
        ring.add(number + 0.5, 0, HRS(number, 0, 3), 1)
    assert sys.getallocatedblocks() - before < 20
