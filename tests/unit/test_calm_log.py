"""A flood of lines of one kind stands as a few of them and a number; nothing that is rare waits,
and nothing is lost uncounted.
"""

from typing import Any

from cometkms.calm_log import CalmLog
from cometkms.limits import LOG_BURST, LOG_EVERY_S, LOG_KINDS_MAX


class Kept:
    def __init__(self) -> None:
        self.lines: list[tuple[str, str, dict[str, Any]]] = []

    def __getattr__(self, level: str) -> Any:
        return lambda event, **fields: self.lines.append((level, event, fields))


class Made:
    def __init__(self) -> None:
        self.now, self.kept = 100.0, Kept()
        self.log = CalmLog(self.kept, lambda: self.now)

    def counted(self) -> int:
        return sum(fields.get("alike", 1) for _, _, fields in self.kept.lines)


def test_a_flood_stands_as_a_burst_and_then_one_line_in_each_interval_with_the_number_of_the_others() -> None:
    made = Made()
    for number in range(1000):
        made.log.info("promise refused to a member", member="node2", number=number)
        made.log.tell_held()
        made.now += 0.1
    intervals = 1000 * 0.1 / LOG_EVERY_S
    assert LOG_BURST < len(made.kept.lines) <= LOG_BURST + intervals + 1
    made.log.tell_held(everything=True)
    assert made.counted() == 1000
    assert made.kept.lines[-1] == (
        "info", "promise refused to a member", {"member": "node2", "number": 999, "alike": made.kept.lines[-1][2]["alike"]},
    )  # fmt: skip


def test_what_is_rare_stands_at_once_and_as_it_is() -> None:
    made = Made()
    for _ in range(5 * LOG_BURST):
        made.log.warning("peer not connected", peer="node1", why="refused")
        made.now += LOG_EVERY_S
    assert made.kept.lines == [("warning", "peer not connected", {"peer": "node1", "why": "refused"})] * 5 * LOG_BURST


def test_a_flood_about_one_member_holds_back_no_line_about_another_and_none_of_another_kind() -> None:
    made = Made()
    for _ in range(500):
        made.log.info("peer connected", peer="node2")
    made.log.info("peer connected", peer="node1")
    made.log.error("peer refused", peer="node2")
    assert made.kept.lines[-2:] == [
        ("info", "peer connected", {"peer": "node1"}),
        ("error", "peer refused", {"peer": "node2"}),
    ]


def test_after_a_flood_a_line_stands_at_once_again() -> None:
    made = Made()
    for _ in range(500):
        made.log.info("role", leading=False)
    made.log.tell_held(everything=True)
    made.now += LOG_BURST * LOG_EVERY_S
    made.log.info("role", leading=True)
    assert made.kept.lines[-1] == ("info", "role", {"leading": True})


def test_names_without_end_are_no_kinds_without_end() -> None:
    made = Made()
    for number in range(10 * LOG_KINDS_MAX):
        made.log.error("a certificate of nobody", member=f"name{number}")
    assert len(made.kept.lines) <= LOG_KINDS_MAX + LOG_BURST
    made.log.tell_held(everything=True)
    assert made.counted() == 10 * LOG_KINDS_MAX


def test_events_that_are_bounded_by_who_says_them_all_stand() -> None:
    made = Made()
    calm = CalmLog(made.kept, lambda: made.now, whole=frozenset({"signed"}))
    for height in range(5 * LOG_BURST):
        calm.info("signed", chain="c", height=height)
        calm.info("validator connected", validator="v")
    assert sum(event == "signed" for _, event, _ in made.kept.lines) == 5 * LOG_BURST
    assert sum(event == "validator connected" for _, event, _ in made.kept.lines) == LOG_BURST
