"""Who looks at the board: wakes readers, evaluates alerts, tells the log once."""

import asyncio

from cometkms.config.schema import AlertBounds

from .boards import FakeBoard


def test_readers_are_woken_once_a_second_and_at_once_when_something_happens() -> None:
    board = FakeBoard()
    watch = board.watch()
    watch.look()
    turns = watch.turns
    for _ in range(3):
        board.now += 0.25
        watch.look()
    assert watch.turns == turns
    board.now += 0.25
    watch.look()
    assert watch.turns == turns + 1
    board.sections_now["state"]["events"] = [{"at": board.now, "what": "lease", "granted": False}]  # type: ignore[index]
    board.now += 0.25
    watch.look()
    assert watch.turns == turns + 2


def test_parts_are_made_once_a_turn() -> None:
    board = FakeBoard()
    watch = board.watch()
    watch.look()
    first = watch.parts()
    assert watch.parts()[0] is first[0]
    board.now += 2
    watch.look()
    assert watch.parts()[0] is not first[0]


def test_an_alert_reaches_the_log_with_its_cure_and_the_status() -> None:
    board = FakeBoard()
    watch = board.watch()
    watch.set_bounds(AlertBounds(stall_s=5))
    for _ in range(8):
        board.now += 1
        watch.look()
    raised = [line for line in board.log.lines if line[1] == "alert raised"]
    assert [(level, fields["name"]) for level, _, fields in raised] == [("error", "height_stalled")]
    assert set(raised[0][2]) == {"name", "what", "cure"}
    assert [one["name"] for one in watch.status()["alerts"]] == ["height_stalled"]
    board.sections_now["state"]["rows"][0]["last_sign_state"]["height"] = 99  # type: ignore[index]
    for _ in range(3):
        board.now += 1
        watch.look()
    assert ("info", "alert over") in [(level, event) for level, event, _ in board.log.lines]
    assert watch.status()["alerts"] == []


def test_closing_wakes_everybody_and_nobody_waits_afterwards() -> None:
    async def scenario() -> None:
        watch = FakeBoard().watch()
        waiting = [asyncio.create_task(watch.next_turn()) for _ in range(3)]
        await asyncio.sleep(0)
        watch.close()
        await asyncio.wait_for(asyncio.gather(*waiting, watch.next_turn()), 10)

    asyncio.run(scenario())


def test_what_nobody_wrote_is_looked_at_once_a_second_and_what_somebody_wrote_at_the_next_heartbeat() -> None:
    """An idle node's board is written about once a second: composing the status four times as often
    is most of what its api process does.
    """
    board = FakeBoard()
    watch = board.watch()
    assert watch.look_if_written()
    looks = []
    for _ in range(40):
        board.now += 0.25
        looks.append(watch.look_if_written())
    assert looks == [False, False, False, True] * 10
    board.now += 0.25
    board.writes += 2
    assert watch.look_if_written()
    board.now += 0.25
    assert not watch.look_if_written()


def test_a_beat_that_falls_silent_is_seen_though_nobody_writes() -> None:
    board = FakeBoard()
    watch = board.watch()
    watch.look_if_written()
    board.ages["state"] = 60.0
    for _ in range(8):
        board.now += 0.25
        watch.look_if_written()
    assert "state" in " ".join(watch.status()["trouble"])
