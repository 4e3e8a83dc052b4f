"""Which members' epoch is over, as far as one home knows.

(When seals vouch: tests/model/epoch.py and tests/unit/store.)
"""

import pytest

from cometkms.rules.epoch import Ended, is_over

OLD = ("a", "b", "c")
ENDED = (Ended(1, OLD, ("a", "b")), Ended(2, ("a", "b"), ("a", "b")))


@pytest.mark.parametrize(
    ("member", "epoch", "members", "over"),
    [
        ("c", 1, OLD, True),
        ("b", 1, OLD, False),  # it gave a seal, and does not say so: an old copy
        ("c", 1, ("a", "c"), False),
        ("c", 2, OLD, False),
        ("c", 3, OLD, False),
        ("b", 2, ("a", "b"), False),
    ],
)
def test_only_who_gave_no_seal_to_an_epoch_that_ended_was_away(
    member: str, epoch: int, members: tuple[str, ...], over: bool
) -> None:
    assert is_over(ENDED, member, epoch, members) is over
    assert not is_over((), member, epoch, members)
