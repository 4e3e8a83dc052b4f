"""The simulation's seeds in portions, so that they fill the cores beside tests that wait.

`make sim` runs them alone.
"""

import os

import pytest

from tests.sim.__main__ import nodes_of, run

SEEDS = int(os.environ.get("SEEDS", "200"))
PORTION = 50
ROGUE_SEEDS = int(os.environ.get("ROGUE_SEEDS", "200"))
SECONDS = 6.0  # simulated, under faults


@pytest.mark.parametrize("first", range(1, SEEDS + 1, PORTION))
def test_whatever_happens_nothing_is_signed_twice_and_it_signs_again(first: int) -> None:
    """A seed that fails is replayed with `python -m tests.sim --seed N`."""
    failed = {}
    for seed in range(first, min(first + PORTION, SEEDS + 1)):
        _, _, problem, trace, _ = run((seed, nodes_of(seed), SECONDS))
        if problem:
            failed[seed] = problem
            print("\n".join(trace[-60:]))
    assert failed == {}


@pytest.mark.parametrize("first", range(1, ROGUE_SEEDS + 1, PORTION))
def test_one_member_that_lies_gets_no_second_signature_and_stops_nobody_for_longer_than_it_is_there(first: int) -> None:
    """A seed that fails is replayed with `python -m tests.sim --rogue --seed N`."""
    failed = {}
    for seed in range(first, min(first + PORTION, ROGUE_SEEDS + 1)):
        _, _, problem, trace, _ = run((seed, 3, SECONDS), rogue=True)
        if problem:
            failed[seed] = problem
            print("\n".join(trace[-60:]))
    assert failed == {}


@pytest.mark.parametrize("seed", [98500168, 98500599, 98500906, 98501334, 98501853, 1795987169])
def test_a_liar_at_birth_stops_the_two_others_no_longer_than_it_is_there(seed: int) -> None:
    """Found by long runs: it had shown them different stores, or that they had lost theirs, and
    they waited for each other for ever.
    """
    _, stats, problem, trace, _ = run((seed, 3, SECONDS), rogue=True)
    assert not problem, trace[-60:]
    assert stats["signed"]
    assert not stats["recovered by hand beside a thief"]


def test_a_member_that_lost_its_store_while_its_epoch_ended_is_recovered_by_the_operator() -> None:
    """Found by a long run: of two members one was sealed, the other's header was torn by a failing
    disk, and neither says how it goes on.

    On the general path, where it was found: what C serves takes other turns from the same seed.
    """
    _, stats, problem, trace, _ = run((61000163, nodes_of(61000163), SECONDS), fast=False)
    assert not problem, trace[-60:]
    assert stats["recovered by hand"] == 1


def test_a_member_that_lost_its_store_beside_a_sealed_one_that_is_off_is_recovered_as_its_refused_seal_says() -> None:
    """Found by a long run: the sealed one, stopped, told nobody that it is sealed."""
    _, stats, problem, trace, _ = run((93002379, nodes_of(93002379), SECONDS))
    assert not problem, trace[-60:]
    assert stats["recovered by hand"] == 1


def test_a_member_that_was_recovered_beside_a_sealed_one_that_is_off_is_sealed_with_the_seal_of_that_one() -> None:
    """Found by a long run: sealed before it met anybody, it bore no incarnation, and the sealed one
    had recorded one of its earlier store.
    """
    _, stats, problem, trace, _ = run((95000587, nodes_of(95000587), SECONDS))
    assert not problem, trace[-60:]
    assert stats["recovered by hand"] == stats["sealed after what the seals say"] == 1


def test_a_member_whose_whole_old_home_was_put_back_leads_in_no_term_a_second_time() -> None:
    """Its journal is the old one, too, and knows nothing of the terms in which it led since: it
    stands far above them.
    """
    _, stats, problem, trace, _ = run((82, nodes_of(82), SECONDS), fast=False)
    assert not problem, trace[-60:]
    assert stats["rollback"] == 1
