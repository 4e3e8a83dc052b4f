"""Names that cannot be looked up any more: another process is asked for, when somebody is missed
and not before.
"""

import asyncio
from typing import Any, cast

import pytest

from cometkms.hardening.confine import NameWatch
from cometkms.ipc import child
from cometkms.ipc.child import ChildContext, ChildLog, watch_names


class Told:
    """A context, a watch and a log in one."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.file = ""
        self.away = False

    def changed(self) -> str:
        return self.file

    def is_away(self) -> bool:
        return self.away

    def error(self, event: str, **fields: object) -> None:
        self.said.append(f"{event}: {fields['why']}")

    def before(self) -> None:
        self.said.append("hands over")

    def ask_anew(self) -> None:
        self.said.append("asks")


def test_it_asks_once_and_only_while_somebody_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "NAMES_WATCH_S", 0.001)
    told = Told()

    async def rounds() -> None:
        done = asyncio.Event()
        left = 3

        def count() -> None:
            nonlocal left
            left -= 1
            done.set() if left == 0 else asyncio.get_running_loop().call_later(0.01, count)

        count()
        await done.wait()

    async def main() -> None:
        one: Any = told
        watch_names(cast(ChildContext, one), cast(NameWatch, one), told.is_away, cast(ChildLog, one), told.before)
        told.file = "/etc/hosts"
        await rounds()
        assert told.said == [], "everybody is there"
        told.away, told.file = True, ""
        await rounds()
        assert told.said == [], "nothing was replaced"
        told.file = "/etc/hosts"
        while len(told.said) < 3:
            await asyncio.sleep(0)
        await rounds()

    asyncio.run(main())
    assert told.said == [
        "a new process is needed: /etc/hosts was replaced, and this process may read the old one only",
        "hands over",
        "asks",
    ]
