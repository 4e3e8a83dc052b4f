"""The sign rule and the promise rule, row by row of their tables; the restart policy."""

import pytest

from cometkms.core.interface import Core
from cometkms.limits import RESTART_MAX_S, RESTART_MIN_S, RESTART_RESET_AFTER_S
from cometkms.model import HRS, BlockID, Dialect, Kind, Message, Reason, Refusal, Request, Timestamp, Vote, Watermark
from cometkms.rules.promise import Accept, decide_promise
from cometkms.rules.restart import next_delay_s
from cometkms.rules.sign import Repeat, Sign, decide


def request(
    core: Core, height: int = 10, round_: int = 2, type_: int = 1, block: bytes = b"a", second: int = 0
) -> Request:
    ballot = Vote(type_, height, round_, BlockID(block * 32, 1, b"p" * 32), Timestamp(1_700_000_000 + second, 0))
    return core.check_request(Dialect.PROTO, "c", Message(Kind.SIGN_VOTE_REQUEST, "c", vote=ballot))


def signed(core: Core, **place: object) -> Watermark:
    made = request(core, **place)
    return Watermark(made.hrs, made.sign_bytes, b"s" * 64)


@pytest.mark.parametrize(
    ("place", "reason", "words"),
    [
        ({"height": 9}, Reason.HEIGHT_REGRESSION, "height regression. Got 9, last height 10"),
        ({"round_": 1}, Reason.ROUND_REGRESSION, "round regression at height 10. Got 1, last round 2"),
        ({"type_": 1}, Reason.STEP_REGRESSION, "step regression at height 10 round 2. Got 2, last step 3"),
        ({"type_": 2, "block": b"b"}, Reason.CONFLICT, "conflicting data"),
    ],
)
def test_what_is_below_or_conflicts_is_refused_in_filepvs_words(
    core: Core, place: dict, reason: Reason, words: str
) -> None:
    outcome = decide(signed(core, type_=2), request(core, **place), same_but_timestamp=core.same_but_timestamp)
    assert outcome == Refusal(reason, words)


@pytest.mark.parametrize("second", [0, 5])
def test_the_same_place_gets_the_recorded_timestamp_and_signature(core: Core, second: int) -> None:
    mark = signed(core)
    outcome = decide(mark, request(core, second=second), same_but_timestamp=core.same_but_timestamp)
    assert outcome == Repeat(mark.sign_bytes, mark.signature)


def test_what_was_promised_but_not_known_to_be_signed_is_asked_of_the_promise(core: Core) -> None:
    known = signed(core)
    mark = Watermark(known.hrs, known.sign_bytes)
    assert isinstance(decide(mark, request(core, second=3), same_but_timestamp=core.same_but_timestamp), Sign)


def test_a_burnt_place_is_refused_and_the_next_one_is_not(core: Core) -> None:
    burnt = Watermark(HRS(10, 2, 2))
    outcome = decide(burnt, request(core), same_but_timestamp=core.same_but_timestamp)
    assert isinstance(outcome, Refusal)
    assert outcome.reason is Reason.BURNT
    assert isinstance(decide(burnt, request(core, type_=2), same_but_timestamp=core.same_but_timestamp), Sign)


def test_a_senseless_request_keeps_its_reason(core: Core) -> None:
    outcome = decide(Watermark(), request(core, height=-1), same_but_timestamp=core.same_but_timestamp)
    assert isinstance(outcome, Refusal)
    assert outcome.reason is Reason.NEGATIVE_HEIGHT


REACH = 1000


def promise(core: Core, mark: Watermark, asked: Request) -> Accept | Refusal:
    return decide_promise(mark, asked.hrs, asked.sign_bytes, reach=REACH, signed=Watermark())


def test_a_promise_above_the_mark_is_written(core: Core) -> None:
    asked = request(core, height=11)
    assert promise(core, signed(core), asked) == Accept(write=True)


def test_held_bytes_are_accepted_again_and_others_never_not_even_with_another_timestamp(core: Core) -> None:
    mark = signed(core)
    assert promise(core, mark, request(core)) == Accept(write=False)
    refused = promise(core, mark, request(core, second=7))
    assert isinstance(refused, Refusal)
    assert refused.reason is Reason.CONFLICT


@pytest.mark.parametrize(
    ("mark", "reason"),
    [
        (Watermark(HRS(10, 2, 2)), Reason.BURNT),
        (Watermark(HRS(11, 0, 1)), Reason.HEIGHT_REGRESSION),
        (Watermark(HRS(10, 3, 1)), Reason.ROUND_REGRESSION),
        (Watermark(HRS(10, 2, 3)), Reason.STEP_REGRESSION),
    ],
)
def test_no_promise_at_or_below_a_mark_of_other_bytes(core: Core, mark: Watermark, reason: Reason) -> None:
    outcome = promise(core, mark, request(core))
    assert isinstance(outcome, Refusal)
    assert outcome.reason is reason


def test_a_conflicting_promise_and_a_jump_are_refused(core: Core) -> None:
    for asked, reason in (
        (request(core, block=b"b"), Reason.CONFLICT),
        (request(core, height=REACH + 1), Reason.JUMP),
    ):
        outcome = promise(core, signed(core), asked)
        assert isinstance(outcome, Refusal)
        assert outcome.reason is reason


def test_restart_delays_double_up_to_the_bound_and_start_over_after_a_good_life() -> None:
    delays = [next_delay_s(0, 0.1)]
    for _ in range(10):
        delays.append(next_delay_s(delays[-1], 0.1))
    assert delays[0] == RESTART_MIN_S
    assert delays[1] == 2 * RESTART_MIN_S
    assert delays[-1] == RESTART_MAX_S
    assert next_delay_s(RESTART_MAX_S, RESTART_RESET_AFTER_S) == RESTART_MIN_S
