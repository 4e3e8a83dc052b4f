"""The quick models: the protocol as it is holds, and each rule that is taken away makes one fail. All of them: `make model`."""

import pytest

from tests.model import birth
from tests.model.__main__ import CASES, Case


@pytest.mark.parametrize("case", [case for case in CASES if case.quick], ids=lambda case: case.name)
def test_the_model_turns_out_as_expected(case: Case) -> None:
    result = case.run()
    assert result.holds == case.expected, "\n".join(result.trace) or str(result)


def test_birth_without_losses_never_gets_stuck() -> None:
    assert birth.deadlocks(2, 0) == 0
