"""What is said of a protection, and when a process must not start."""

import pytest

from cometkms.errors import HardeningError
from cometkms.hardening.confine import Told
from cometkms.hardening.measures import Measure, Mode, State, UnavailableError, check_required, not_effective, tell

LACKING = Measure("signer", "scope", State.UNAVAILABLE, "Landlock ABI 4 has no scopes")
OFF = Measure("signer", "user", State.OFF, "not started as root")
ON = Measure("signer", "filesystem", State.ON, "no file")


class Log:
    def __init__(self) -> None:
        self.lines: list[tuple[str, str, dict[str, object]]] = []

    def info(self, event: str, **fields: object) -> None:
        self.lines.append(("info", event, fields))

    def warning(self, event: str, **fields: object) -> None:
        self.lines.append(("warning", event, fields))


def test_only_required_stops_for_what_the_kernel_lacks() -> None:
    for mode in (Mode.OFF, Mode.BEST_EFFORT):
        check_required(mode, [LACKING])
    check_required(Mode.REQUIRED, [ON, OFF])
    with pytest.raises(HardeningError, match=r"signer scope: Landlock ABI 4 has no scopes.*best-effort"):
        check_required(Mode.REQUIRED, [ON, LACKING])


def test_the_log_has_a_line_for_what_holds_and_one_for_each_that_is_lacking() -> None:
    log = Log()
    tell(log, [ON, OFF, LACKING])
    assert log.lines == [
        ("warning", "protection unavailable", {"measure": "scope", "why": LACKING.why}),
        ("info", "shut off", {"on": ("filesystem",), "off": ("user",)}),
    ]


def test_the_document_is_what_the_board_carries() -> None:
    assert ON.document() == {"process": "signer", "measure": "filesystem", "state": "on", "why": "no file"}


def failing(error: Exception) -> object:
    def apply() -> str:
        raise error

    return apply


def test_an_attempt_is_on_unavailable_or_the_end() -> None:
    told = Told("signer")
    assert told.attempt("one", lambda: "holds")
    assert not told.attempt("two", failing(UnavailableError("no such kernel")))  # type: ignore[arg-type]
    with pytest.raises(HardeningError, match="three was set and does not hold"):
        told.attempt("three", failing(OSError(22, "Invalid argument")))  # type: ignore[arg-type]
    with pytest.raises(HardeningError, match="Seccomp is 0"):
        told.attempt("four", failing(not_effective("four", "Seccomp is 0")))  # type: ignore[arg-type]
    assert [(one.measure, one.state, one.why) for one in told.measures] == [
        ("one", State.ON, "holds"),
        ("two", State.UNAVAILABLE, "no such kernel"),
    ]


def test_the_exit_code_is_its_own() -> None:
    assert HardeningError.exit_code == 9
