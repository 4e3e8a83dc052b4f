"""What a node becomes and shows by what the others show of themselves, before it promises anything."""

import pytest

from cometkms.rules.birth import Life, NodeState, Record, next_life, record_shown

EMPTY, BORN, COMPLETE, RECOVERING, SEALED = NodeState


def nonce(letter: str) -> bytes:
    return letter.encode() * 8


def record(*letters: str) -> Record:
    """The nonces of a, b and c (and d, e), each one letter eight times."""
    return tuple((name, nonce(letter)) for name, letter in zip("abcde", letters, strict=False))


def life(state: NodeState, letter: str, of: Record = ()) -> Life:
    return Life(state, nonce(letter), of)


ABC, ABX, ABY = record("a", "b", "c"), record("a", "b", "x"), record("a", "b", "y")


def turn(mine: Life, members: int = 3, before: tuple[Record, ...] = (), **others: Life) -> tuple[Record, Life]:
    """What node a shows and becomes."""
    shown = record_shown("a", mine, others, members, before)
    return shown, next_life("a", mine, shown, others, members)


def test_all_are_seen_empty_then_born_then_complete() -> None:
    empty = life(EMPTY, "a")
    assert turn(empty, b=life(EMPTY, "b")) == ((), empty)
    born = life(BORN, "a", ABC)
    assert turn(empty, b=life(EMPTY, "b"), c=life(EMPTY, "c")) == ((), born)
    assert turn(empty, b=life(EMPTY, "b"), c=life(BORN, "c", ABC)) == ((), born)
    assert turn(born, b=life(BORN, "b", ABC), c=life(EMPTY, "c")) == (ABC, born)
    assert turn(born, b=life(BORN, "b", ABC), c=life(COMPLETE, "c", ABC)) == (ABC, life(COMPLETE, "a", ABC))


def test_what_a_born_node_shows_follows_the_stores_that_there_are() -> None:
    """Two that a liar told different nonces come to the one of the honest node that has its place."""
    for mine, its in ((ABX, ABY), (ABX, ABX), (ABX, ABC)):
        shown, after = turn(life(BORN, "a", mine), b=life(BORN, "b", its), c=life(EMPTY, "c"))
        assert (shown, after.state) == (ABC, BORN)
    shown, after = turn(life(BORN, "a", ABX), b=life(BORN, "b", ABC), c=life(BORN, "c", ABC))
    assert (shown, after) == (ABC, life(COMPLETE, "a", ABC))
    assert turn(life(EMPTY, "a"), b=life(BORN, "b", ABC), c=life(RECOVERING, "c"))[1] == life(BORN, "a", ABC)


def test_a_born_node_beside_two_new_stores_keeps_to_its_birth() -> None:
    """The two that are gone may have promised together."""
    shown, after = turn(life(BORN, "a", ABC), b=life(EMPTY, "x"), c=life(EMPTY, "y"))
    assert (shown, after.state) == (ABC, BORN)
    five = record("a", "b", "c", "d", "e")
    others = {"b": life(EMPTY, "b"), "c": life(EMPTY, "x"), "d": life(EMPTY, "y"), "e": life(EMPTY, "z")}
    assert turn(life(BORN, "a", five), 5, **others)[0] == five
    others["c"] = life(EMPTY, "c")
    assert turn(life(BORN, "a", five), 5, **others)[0] == record("a", "b", "c", "y", "z")


def test_one_members_word_completes_nobody() -> None:
    born = life(BORN, "a", ABC)
    assert turn(born, b=life(EMPTY, "b"), c=life(COMPLETE, "c", ABC))[1] == born
    assert turn(born, c=life(COMPLETE, "c", ABC))[1] == born
    five = record("a", "b", "c", "d", "e")
    born = life(BORN, "a", five)
    assert turn(born, 5, b=life(COMPLETE, "b", five))[1] == born
    assert turn(born, 5, b=life(COMPLETE, "b", five), e=life(COMPLETE, "e", five))[1].state is COMPLETE


@pytest.mark.parametrize("mine", [life(EMPTY, "a"), life(BORN, "a", ABC)], ids=["empty", "born"])
def test_who_was_born_before_is_told_by_a_majority(mine: Life) -> None:
    old = record("z", "b", "c")
    told = [
        {"b": life(COMPLETE, "b", old), "c": life(COMPLETE, "c", old)},
        {"b": life(BORN, "b", old), "c": life(COMPLETE, "c", old)},
        {"b": life(BORN, "b", old), "c": life(BORN, "c", old)},
        {"b": life(COMPLETE, "b", old), "c": life(RECOVERING, "c")},
        {"b": life(COMPLETE, "b", old), "c": life(SEALED, "c")},
        {"b": life(COMPLETE, "b", old), "c": life(COMPLETE, "c")},
    ]
    assert [turn(mine, **others)[1].state for others in told] == [RECOVERING] * len(told)
    waits = [
        {"b": life(COMPLETE, "b", old)},
        {"b": life(COMPLETE, "b", old), "c": life(EMPTY, "c")},
        {"b": life(COMPLETE, "b", old), "c": life(BORN, "c", ABC)},
        {"b": life(BORN, "b", old), "c": life(BORN, "c", record("y", "b", "c"))},
        {"b": life(RECOVERING, "b"), "c": life(RECOVERING, "c")},
    ]
    assert [turn(mine, **others)[1] for others in waits] == [mine] * len(waits)


def test_a_record_that_a_complete_member_shows_is_not_taken_against_what_the_third_shows() -> None:
    """The third still has the store that this node was born beside: whoever shows another one in
    its name lies.
    """
    born = life(BORN, "a", ABC)
    false = record("a", "x", "c")
    assert turn(born, b=life(EMPTY, "b"), c=life(COMPLETE, "c", false))[0] == ABC
    assert turn(born, b=life(EMPTY, "y"), c=life(COMPLETE, "c", false))[0] == false, "that store is gone"
    assert turn(born, 3, (false,), b=life(EMPTY, "b"), c=life(COMPLETE, "c", false))[0] == false


@pytest.mark.parametrize(
    "false",
    [record("a", "b"), (*ABC, ("d", nonce("d"))), ABC[::-1], (ABC[0], *ABC), record("x", "b", "c")],
    ids=["too few", "too many", "another order", "twice", "not this node's"],
)
def test_a_record_that_is_none_is_nobodys(false: Record) -> None:
    born = life(BORN, "a", ABX)
    assert turn(born, b=life(BORN, "b", ABC), c=life(COMPLETE, "c", false)) == (ABX, born)
    empty = life(EMPTY, "a")
    assert turn(empty, b=life(COMPLETE, "b", false), c=life(COMPLETE, "c", false))[1].state in (EMPTY, RECOVERING)


def test_a_nonce_that_is_none_makes_no_record() -> None:
    assert turn(life(EMPTY, "a"), b=life(EMPTY, "b"), c=Life(EMPTY, b""))[1] == life(EMPTY, "a")
