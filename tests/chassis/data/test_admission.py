"""Who may use the database, who waits, and who is told to come again."""

import asyncio
from contextvars import copy_context

import pytest
from sqlalchemy import text

from freshly.chassis.data.admission import Gate, Overloaded, lane, waited
from freshly.chassis.errors import Unavailable
from tests.conftest import until


def entering(gate, name):
    """As a request of that part of the kitchen, which is a context of its own."""

    async def enter():
        lane.set(name)
        return await gate.enter()

    return asyncio.get_running_loop().create_task(enter(), context=copy_context())


async def test_more_than_fit_wait_and_take_turns():
    gate = Gate(capacity=2, longest=5)
    inside = [await entering(gate, ""), await entering(gate, "")]
    third = entering(gate, "")
    await asyncio.sleep(0.01)
    assert (gate.taken, gate.waiting, third.done()) == (2, 1, False)
    gate.leave(inside[0])
    assert await third == ""
    assert (gate.taken, gate.waiting) == (2, 0)


async def test_a_queue_has_an_end_and_waiting_a_limit():
    gate = Gate(capacity=1, longest=0.05)
    await entering(gate, "")
    waiting = [entering(gate, "") for _ in range(10)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await entering(gate, "")
    for task in waiting:
        with pytest.raises(Overloaded):
            await task
    assert (gate.taken, gate.waiting) == (1, 0)


async def test_who_leaves_as_the_turn_comes_takes_no_place_along():
    gate = Gate(capacity=1, longest=5)
    first, second = await entering(gate, ""), entering(gate, "")
    await asyncio.sleep(0)
    gate.leave(first)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    assert (gate.taken, gate.waiting) == (0, 0)


async def test_a_request_waits_no_longer_for_two_units_of_work_than_for_one():
    gate = Gate(capacity=1, longest=0.2)
    loop = asyncio.get_running_loop()

    async def request():
        waited.set(0.0)
        mine = await gate.enter()
        gate.leave(mine)
        blocked = entering(gate, "")  # somebody else is faster
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await gate.enter()
        return await blocked

    first = await entering(gate, "")
    asked, started = loop.create_task(request()), loop.time()
    await asyncio.sleep(0.15)
    gate.leave(first)
    await asked

    assert loop.time() - started < 0.3


async def test_a_part_that_is_stuck_leaves_room_for_the_others():
    gate = Gate(capacity=10, longest=5)
    stuck = [entering(gate, "pantry-items") for _ in range(9)]
    await asyncio.sleep(0.01)
    assert (gate.taken, gate.waiting) == (4, 5)
    assert await asyncio.wait_for(entering(gate, "meals"), 1) == "meals"
    gate.leave("meals")
    assert sum(task.done() for task in stuck) == 4
    gate.leave("pantry-items")
    await asyncio.sleep(0.01)
    assert sum(task.done() for task in stuck) == 5
    crowd = [entering(gate, "pantry-items") for _ in range(10 * 10 - gate.waiting)]
    await asyncio.sleep(0.01)
    with pytest.raises(Overloaded):
        await entering(gate, "pantry-items")
    assert await asyncio.wait_for(entering(gate, "meals"), 1) == "meals"
    for task in stuck + crowd:
        task.cancel()
    await asyncio.sleep(0.01)
    assert gate.waiting == 0


async def test_who_stops_waiting_takes_nobodys_place():
    gate = Gate(capacity=1, longest=5)
    await entering(gate, "")
    leaving, staying = entering(gate, ""), entering(gate, "")
    await asyncio.sleep(0.01)
    leaving.cancel()
    gate.leave("")
    assert await staying == ""
    assert gate.taken == 1


async def test_who_is_inside_may_not_wait_to_enter_again():
    gate = Gate(capacity=5, longest=5)

    async def twice():
        await gate.enter()
        await gate.enter()

    with pytest.raises(AssertionError, match="one unit of work at a time"):
        await asyncio.get_running_loop().create_task(twice(), context=copy_context())


async def test_who_learns_at_the_gate_that_the_database_is_silent_takes_no_place(units, app):
    gate = app.state["gate"]

    async def read():
        async with units.reading() as session:
            return await session.scalar(text("SELECT 1"))

    taken = [await entering(gate, "") for _ in range(gate.capacity)]
    waiting = asyncio.create_task(read())
    await until(lambda: gate.waiting == 1)
    units.pulse.is_gone = True
    for place in taken:
        gate.leave(place)
    with pytest.raises(Unavailable):
        await waiting
    assert (gate.taken, gate.waiting) == (0, 0)

    units.pulse.is_gone = False
    assert await read() == 1
