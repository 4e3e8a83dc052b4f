"""When to start a child again. Pure."""

from cometkms.limits import RESTART_MAX_S, RESTART_MIN_S, RESTART_RESET_AFTER_S


def next_delay_s(last_delay_s: float, lived_s: float) -> float:
    """Seconds to wait before the next start.

    | it lived                    | delay                                              |
    |-----------------------------|----------------------------------------------------|
    | RESTART_RESET_AFTER_S       | RESTART_MIN_S: it was well                         |
    | less, first time            | RESTART_MIN_S                                      |
    | less, again                 | twice the last delay, at most RESTART_MAX_S        |
    """
    if lived_s >= RESTART_RESET_AFTER_S or last_delay_s <= 0:
        return RESTART_MIN_S
    return min(last_delay_s * 2, RESTART_MAX_S)
