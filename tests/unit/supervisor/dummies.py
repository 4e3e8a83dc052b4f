"""A supervisor over dummy children, as a process of its own: `python -m
tests.unit.supervisor.dummies JSON`.

JSON: {"children": {name: behaviour, …}, "timing": {…}, "sigchld_ignored": bool, "reload_file":
path, "subreaper": bool, "home": path}. The home is locked; the reload_file
holds what a SIGHUP loads: a document for the children, or null.
The log goes to stdout, a JSON object a line. A behaviour is a function below; `first, then` joins
two: the first life of the child, and every later one.
"""

import asyncio
import ctypes
import json
import os
import re
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from cometkms.board.status_board import Board
from cometkms.board.trouble import ESSENTIAL
from cometkms.config.reload import Reloadable, decode, encode
from cometkms.errors import StateError, StoreFailure
from cometkms.ipc.child import STOP_SIGNAL, ChildContext, run_loop
from cometkms.ipc.notify import take_notifier
from cometkms.log import Log
from cometkms.store.lock import lock_home
from cometkms.supervisor.child import ChildSpec, Timing
from cometkms.supervisor.home_watch import HomeWatch
from cometkms.supervisor.reloading import Reloaded
from cometkms.supervisor.supervise import Supervisor

FOREVER_S = 10_000
log = Log("debug", "json", fd=1)


def looping(context: ChildContext, main: Callable[[asyncio.Event], Awaitable[None]]) -> int:
    return run_loop(context, main, log.bind(immediate=False, child=context.name))


def works(context: ChildContext) -> int:
    """A good child: its loop runs until it is asked to stop; stopping takes it a moment."""

    async def main(stop: asyncio.Event) -> None:
        context.ready()
        await stop.wait()
        log.info("asked to stop", child=context.name)
        await asyncio.sleep(0.1)
        log.info("gone", child=context.name)

    return looping(context, main)


def takes_reloads_over(context: ChildContext) -> int:
    """Says what it was born with (a node's child is forked with the settings of the last reload),
    and takes over at every reload.
    """

    def take_over(new: Reloadable) -> None:
        log.info("took over", child=context.name, addresses=new.validator_addrs["a"])

    async def main(stop: asyncio.Event) -> None:
        if (born_with := context.board.section("reload").read()) is not None:
            take_over(decode(born_with))
        context.on_reload(take_over)
        context.ready()
        await stop.wait()

    return looping(context, main)


def finds_the_signer_stuck(context: ChildContext) -> int:
    """As a state process: asks for another signer once, when the one that is there has not beaten
    for a while, or at once.
    """

    async def main(stop: asyncio.Event) -> None:
        context.ready()
        while not stop.is_set():
            age_s = context.board.beat_ages_s()["signer"]
            if age_s is not None and age_s > 0.3:
                context.ask_for_new_signer()
                log.info("asked for another signer", silent_s=age_s)
                await asyncio.sleep(0.5)
            await asyncio.sleep(0.02)

    return looping(context, main)


def is_wrong_about_the_signer(context: ChildContext) -> int:
    async def main(stop: asyncio.Event) -> None:
        context.ready()
        while context.board.beat_ages_s()["signer"] is None:
            await asyncio.sleep(0.01)
        for _ in range(5):
            context.ask_for_new_signer()
            await asyncio.sleep(0.05)
        log.info("asked in vain")
        await stop.wait()

    return looping(context, main)


def boots_until_a_file_is_there(context: ChildContext, path: str) -> int:
    """Then it takes reloads over.

    What it was born with it does not look at: a node's child has it from the fork.
    """
    log.info("boots until a file is there", child=context.name)
    while not Path(path).exists():
        time.sleep(0.01)

    async def main(stop: asyncio.Event) -> None:
        context.on_reload(lambda new: log.info("took over", child=context.name, addresses=new.validator_addrs["a"]))
        context.ready()
        await stop.wait()

    return looping(context, main)


def starts_anew(context: ChildContext) -> int:
    """Cannot take over what is reloaded while it runs."""

    born_with = context.board.section("reload").read()

    async def main(stop: asyncio.Event) -> None:
        log.info("born", child=context.name, knows=born_with is not None)
        context.on_reload(lambda new: context.ask_anew() if encode(new) != born_with else None)
        context.ready()
        await stop.wait()
        log.info("gone", child=context.name)

    return looping(context, main)


def starts_anew_and_does_not_stop(context: ChildContext) -> int:
    async def main(stop: asyncio.Event) -> None:
        if context.board.section("reload").read() is None:
            context.on_reload(lambda _new: context.ask_anew())
            context.ready()
            await asyncio.sleep(FOREVER_S)
        context.ready()
        await stop.wait()

    return looping(context, main)


def leaves_an_orphan(context: ChildContext) -> int:
    """A grandchild whose parent is gone, and that ends a moment later."""

    async def main(stop: asyncio.Event) -> None:
        middle = os.fork()
        if middle == 0:
            orphan = os.fork()
            if orphan == 0:
                time.sleep(0.2)
            else:
                log.info("orphan", pid=orphan)
            os._exit(0)
        os.waitpid(middle, 0)
        context.ready()
        await stop.wait()

    return looping(context, main)


def shows_the_board(context: ChildContext) -> int:
    """Logs what the supervisor says of itself and of the others."""

    async def main(stop: asyncio.Event) -> None:
        context.ready()
        shown = None
        while not stop.is_set():
            document = context.board.section("supervisor").read()  # the same object as last time, perhaps
            # "use" changes all the time, and a line of the log has its bound
            told = {name: value for name, value in (document or {}).items() if name != "use"}
            if told and told != shown:
                shown = told
                text = re.sub(r"(\.\d{3})\d+", r"\1", json.dumps(told, separators=(",", ":")))
                log.info("board", document=text)
            await asyncio.sleep(0.01)

    return looping(context, main)


def blocks_its_loop(context: ChildContext) -> int:
    async def main(_stop: asyncio.Event) -> None:
        context.ready()
        time.sleep(FOREVER_S)

    return looping(context, main)


def ignores_the_stop(context: ChildContext) -> int:
    async def main(stop: asyncio.Event) -> None:
        context.ready()
        await stop.wait()
        log.info("ignores the stop", child=context.name)
        await asyncio.sleep(FOREVER_S)

    return looping(context, main)


def stops_slowly(context: ChildContext) -> int:
    """Its disk takes longer than a stop has otherwise."""

    async def main(stop: asyncio.Event) -> None:
        context.ready()
        await stop.wait()
        time.sleep(1.0)
        log.info("gone", child=context.name)

    return looping(context, main)


def refuses_to_boot(context: ChildContext) -> int:
    raise StateError(f"the store of {context.name} is corrupt; run cmkms recover")


def refuses_to_boot_in_its_loop(context: ChildContext) -> int:
    async def main(_stop: asyncio.Event) -> None:
        raise StateError(f"the store of {context.name} is corrupt; run cmkms recover")

    return looping(context, main)


def finds_no_descriptor(context: ChildContext) -> int:
    """What the machine says, met in the loop after it ran."""

    async def main(_stop: asyncio.Event) -> None:
        context.ready()
        raise OSError(24, "Too many open files")

    return looping(context, main)


def fails_in_its_loop(context: ChildContext) -> int:
    async def main(_stop: asyncio.Event) -> None:
        context.ready()
        raise StateError(f"the store of {context.name} is corrupt; run cmkms recover")

    return looping(context, main)


def has_a_bug_at_boot(context: ChildContext) -> int:
    async def main(_stop: asyncio.Event) -> None:
        raise LookupError("a bug of ours")

    return looping(context, main)


def is_never_ready(context: ChildContext) -> int:
    log.info("boots forever", child=context.name)
    time.sleep(FOREVER_S)
    return 0


def is_killed_at_boot(_context: ChildContext) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


def has_a_failing_disk_at_boot(_context: ChildContext) -> int:
    raise StoreFailure("fdatasync: Input/output error")


def boots_slowly(context: ChildContext) -> int:
    log.info("boots slowly", child=context.name, pid=os.getpid())
    time.sleep(0.3)
    return works(context)


def refuses_to_boot_again(context: ChildContext) -> int:
    """What the operator could mend, but not at the first boot."""
    log.info("boots again", child=context.name)
    return refuses_to_boot(context)


def has_a_failing_callback(context: ChildContext) -> int:
    async def main(_stop: asyncio.Event) -> None:
        context.ready()
        asyncio.get_running_loop().call_later(0.01, fail)
        await asyncio.sleep(FOREVER_S)

    def fail() -> None:
        raise LookupError("a bug of ours")

    return looping(context, main)


def has_a_failing_disk(context: ChildContext) -> int:
    async def main(_stop: asyncio.Event) -> None:
        context.ready()
        await asyncio.sleep(0.01)
        raise StoreFailure("fdatasync: Input/output error")

    return looping(context, main)


def fails_its_last_sync(context: ChildContext) -> int:
    async def main(stop: asyncio.Event) -> None:
        context.ready()
        await stop.wait()
        raise StoreFailure("fdatasync: Input/output error")

    return looping(context, main)


def wants_the_node_restarted(context: ChildContext) -> int:
    context.ready()
    context.ask_for_restart()
    log.info("asked for a restart", child=context.name)
    time.sleep(0.3)
    return 1


def is_ordered_to_restart_three_times(context: ChildContext) -> int:
    async def main(stop: asyncio.Event) -> None:
        context.ready()
        log.info("counts", asked=context.asked_restarts)
        if context.asked_restarts < 3:
            context.ask_for_restart()
        await stop.wait()

    return looping(context, main)


def exits_at_once(context: ChildContext) -> int:
    context.ready()
    return 1


def talks_to_nobody(context: ChildContext) -> int:
    """Ends with text for a stdout that nobody reads any more."""
    reader, writer = os.pipe()
    os.dup2(writer, 1)
    os.close(reader)
    os.close(writer)
    context.ready()
    sys.stdout = os.fdopen(1, "w", closefd=False)
    sys.stdout.write("unread")
    return 9


def counts_its_descriptors(context: ChildContext) -> int:
    """Logs what it was born with, then ends."""
    shared = sum("/memfd:cmkms-" in line for line in Path("/proc/self/maps").read_text().splitlines())
    log.info("born", descriptors=len(os.listdir("/proc/self/fd")), shared_mappings=shared)
    return exits_at_once(context)


def ends_on_stop_without_a_loop(context: ChildContext) -> int:
    signal.signal(STOP_SIGNAL, lambda *_: os._exit(0))
    context.ready()
    while True:
        context.beat()
        time.sleep(0.01)


def behaviour(words: str) -> Callable[[ChildContext], int]:
    first, _, later = words.partition(", then ")

    def run(context: ChildContext) -> int:
        document = context.board.section("supervisor").read()
        reports = document["children"] if document else []
        lives = next((report["restarts"] for report in reports if report["name"] == context.name), 0)
        chosen = later if lives and later else first
        name, slash, path = chosen.partition(" /")
        function = globals()[name.replace(" ", "_")]
        code: int = function(context, f"/{path}") if slash else function(context)
        return code

    return run


def main(settings: dict[str, dict[str, object]]) -> int:
    names = tuple(settings["children"])
    if settings.get("sigchld_ignored"):
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    if settings.get("subreaper"):
        ctypes.CDLL(None).prctl(
            36, ctypes.c_ulong(1), 0, 0, 0
        )  # PR_SET_CHILD_SUBREAPER: orphans come here, as to process 1
    specs = [
        ChildSpec(
            name,
            behaviour(str(words)),
            essential=name in ESSENTIAL,
            stops_first=name == "signer",
            keeps_store=name == "state",
            hands_over=name == "state",
        )
        for name, words in settings["children"].items()
    ]
    board = Board(("supervisor", "reload", *names), names)
    timing = Timing(**settings.get("timing", {}))  # type: ignore[arg-type]  # numbers from the test
    file = settings.get("reload_file")
    reload = (lambda: Reloaded(json.loads(Path(str(file)).read_text()), {"at": 1.0})) if file else None
    told = log.bind(child="-")
    notifier = take_notifier()
    look = HomeWatch(home := Path(str(settings["home"])), lock_home(home), told).look if "home" in settings else None
    more = {} if look is None else {"look_home": look}
    return Supervisor(specs, board, told, {"version": "1.2.3"}, timing, notifier=notifier, reload=reload, **more).run()


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
