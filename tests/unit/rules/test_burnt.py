"""Heights that are burnt on the operator's word: which chains they are said of, and how such a mark
is told from a promise.
"""

import pytest

from cometkms.errors import StateError
from cometkms.limits import ROUND_MAX
from cometkms.model import HRS, Step, Watermark
from cometkms.rules.burnt import Heights, burnt_up_to, is_burnt_up_to


def test_one_height_counts_for_every_chain() -> None:
    heights = Heights(5)
    heights.check(["a", "b"])
    assert (heights.of("a"), heights.of("b"), str(heights), heights.words) == (5, 5, "5", "every height up to 5")


def test_heights_of_their_own_count_for_the_chains_that_are_named() -> None:
    heights = Heights(each={"b": 7, "a": 5})
    heights.check(["a", "b"])
    assert (heights.of("a"), heights.of("b")) == (5, 7)
    assert (str(heights), heights.words) == ("a=5 b=7", "every height of a up to 5 and of b up to 7")


@pytest.mark.parametrize(
    ("chains", "words"),
    [(("a",), "given for b, and the chains here are a"), (("a", "b", "c"), "no height is given for c")],
)
def test_a_chain_too_many_or_too_few_is_refused(chains: tuple[str, ...], words: str) -> None:
    with pytest.raises(StateError, match=words):
        Heights(each={"a": 5, "b": 7}).check(chains)


@pytest.mark.parametrize(
    "mark",
    [
        Watermark(),
        Watermark(HRS(5, 0, Step.PRECOMMIT)),
        Watermark(HRS(5, ROUND_MAX, Step.PREVOTE)),
        Watermark(HRS(5, ROUND_MAX, Step.PRECOMMIT), b"bytes"),
        Watermark(HRS(5, ROUND_MAX, Step.PRECOMMIT), b"bytes", b"signature"),
    ],
)
def test_a_promise_or_a_place_that_is_burnt_alone_is_no_height_that_is(mark: Watermark) -> None:
    assert not is_burnt_up_to(mark)
    assert is_burnt_up_to(burnt_up_to(5))
