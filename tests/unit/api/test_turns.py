"""Whose request is answered next."""

import asyncio
import itertools
from dataclasses import dataclass

from cometkms.api.turns import Turns

PATIENCE_S = 120


@dataclass(eq=False)
class Asker:
    name: str
    address: str
    is_local: bool = False
    last_turn: int = 0


def order_of(arrivals, *, rounds=1, late=None):
    """Each asks `rounds` times, one thing at a time; the names in the order of their turns.

    `late`: after so many turns this one asks, once.
    """

    async def scenario():
        turns, order, tasks = Turns(), [], []

        async def ask(asker, times):
            for _ in range(times):
                assert await turns.wait(asker)
                order.append(asker.name)
                if late is not None and len(order) == late[0]:
                    tasks.append(asyncio.create_task(ask(late[1], 1)))

        tasks += [asyncio.create_task(ask(one, rounds)) for one in arrivals]
        while not all(task.done() for task in tasks):
            await asyncio.wait(tasks, timeout=PATIENCE_S)
        for task in tasks:
            task.result()
        return order

    return asyncio.run(scenario())


def test_who_comes_first_is_first():
    assert order_of([Asker("a", "10.0.0.1"), Asker("b", "10.0.0.2"), Asker("c", "10.0.0.3")]) == ["a", "b", "c"]


def test_the_connections_of_an_address_take_turns_and_addresses_take_turns():
    crowd = [Asker(f"x{n}", "10.0.0.1") for n in range(3)]
    order = order_of([*crowd, Asker("y", "10.0.0.2")], rounds=3)
    assert order[:6] == ["x0", "y", "x1", "y", "x2", "y"]
    assert order[6:] == ["x0", "x1", "x2", "x0", "x1", "x2"]


def test_a_new_connection_is_before_those_that_were_answered_of_its_own_address():
    crowd = [Asker(f"x{n}", "10.0.0.1") for n in range(50)]
    order = order_of(crowd, rounds=20, late=(60, Asker("monitor", "10.0.0.1")))
    assert order.index("monitor") - 60 <= 2, "it waits for who is being answered, and for nobody else"


def test_a_monitor_of_this_machine_has_every_second_turn():
    crowd = [Asker(f"x{n}", f"10.0.0.{n}") for n in range(60)]
    monitor = Asker("monitor", "127.0.0.1", is_local=True)
    order = order_of([*crowd, monitor], rounds=4)
    places = [place for place, name in enumerate(order) if name == "monitor"]
    assert places[0] == 0
    assert all(after - before <= 3 for before, after in itertools.pairwise(places)), places


def test_who_has_gone_has_no_turn():
    async def scenario():
        turns, gone, stays = Turns(), Asker("gone", "10.0.0.1"), Asker("stays", "10.0.0.1")
        waits = [asyncio.create_task(turns.wait(one)) for one in (gone, stays)]
        await asyncio.sleep(0)
        turns.leave(gone)
        turns.leave(gone)
        assert await asyncio.wait_for(asyncio.gather(*waits), PATIENCE_S) == [False, True]
        assert (gone.last_turn, stays.last_turn) == (0, 1)

    asyncio.run(scenario())


def test_addresses_without_number_are_forgotten():
    async def scenario():
        turns = Turns()
        for number in range(1000):
            assert await turns.wait(Asker("x", f"10.0.{number >> 8}.{number & 255}"))
        assert len(turns._addresses) <= 256

    asyncio.run(scenario())
