"""`cmkms` with one child in foreign hands: `python -m tests.attacks.taken CHILD PAYLOAD start …`.

The child lives as always, shuts itself off as always, and when it is ready it runs the payload:
code of the attacker in that very process, with all that it holds. What a payload finds goes to
stdout as one JSON line {"payload": …, "found": …}; whoever cannot open a file any more has its
modules imported here. Payloads are the functions of tests/attacks/payloads.py.
"""

import asyncio
import importlib
import json
import os
import sys
from collections.abc import Callable
from typing import Any

from cometkms.cli import main
from cometkms.ipc.child import ChildContext
from tests.attacks import payloads

AFTER_S = 0.2


def take(child: str, name: str) -> None:
    """From now on that child of this program's nodes is the attacker's."""
    module = importlib.import_module(f"cometkms.{child}.process")
    payload: Callable[[ChildContext, Any], object] = getattr(payloads, name)
    honest = module.run

    def run(context: ChildContext, parts: Any) -> int:
        is_ready = context.ready

        def ready() -> None:
            is_ready()
            asyncio.get_running_loop().call_later(AFTER_S, attack)

        def attack() -> None:
            found = payload(context, parts)
            os.write(1, json.dumps({"payload": name, "found": found}).encode() + b"\n")

        context.ready = ready  # type: ignore[method-assign]  # that is what the attack is
        code: int = honest(context, parts)
        return code

    module.run = run  # type: ignore[attr-defined]


if __name__ == "__main__":
    take(sys.argv[1], sys.argv[2])
    del sys.argv[1:3]
    main()
