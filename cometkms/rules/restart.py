"""When to start a child again. Pure."""

from cometkms.limits import RESTART_MAX_S, RESTART_MIN_S, RESTART_RESET_AFTER_S


def next_delay_s(
    last_delay_s: float,
    lived_s: float,
    *,
    min_s: float = RESTART_MIN_S,
    max_s: float = RESTART_MAX_S,
    reset_after_s: float = RESTART_RESET_AFTER_S,
) -> float:
    """Seconds to wait before the next start. The keywords: tests shorten them.

    | it lived                    | delay                                              |
    |-----------------------------|----------------------------------------------------|
    | RESTART_RESET_AFTER_S       | RESTART_MIN_S: it was well                         |
    | less, first time            | RESTART_MIN_S                                      |
    | less, again                 | twice the last delay, at most RESTART_MAX_S        |
    """
    if lived_s >= reset_after_s or last_delay_s <= 0:
        return min_s
    return min(last_delay_s * 2, max_s)
