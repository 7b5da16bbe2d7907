"""Who may use the database, who waits, and who is told to come again."""

import asyncio
from contextvars import copy_context

import pytest
from sqlalchemy import text

from freshly.chassis.data.admission import AdmissionControl, Overloaded, lane, waited
from freshly.chassis.errors import Unavailable
from tests.conftest import until


def entering(admission, name):
    """As a request of that part of the kitchen, which is a context of its own."""

    async def enter():
        lane.set(name)
        return await admission.enter()

    return asyncio.get_running_loop().create_task(enter(), context=copy_context())


async def test_more_than_fit_wait_and_take_turns():
    admission = AdmissionControl(capacity=2, longest=5)
    inside = [await entering(admission, ""), await entering(admission, "")]
    third = entering(admission, "")
    await asyncio.sleep(0.01)
    assert (admission.taken, admission.waiting, third.done()) == (2, 1, False)
    admission.leave(inside[0])
    assert await third == ""
    assert (admission.taken, admission.waiting) == (2, 0)


async def test_a_queue_has_an_end_and_waiting_a_limit():
    admission = AdmissionControl(capacity=1, longest=0.05)
    await entering(admission, "")
    waiting = [entering(admission, "") for _ in range(10)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await entering(admission, "")
    for task in waiting:
        with pytest.raises(Overloaded):
            await task
    assert (admission.taken, admission.waiting) == (1, 0)


async def test_who_leaves_as_the_turn_comes_takes_no_place_along():
    admission = AdmissionControl(capacity=1, longest=5)
    first, second = await entering(admission, ""), entering(admission, "")
    await asyncio.sleep(0)
    admission.leave(first)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    assert (admission.taken, admission.waiting) == (0, 0)


async def test_a_request_waits_no_longer_for_two_units_of_work_than_for_one():
    admission = AdmissionControl(capacity=1, longest=0.2)
    loop = asyncio.get_running_loop()

    async def request():
        waited.set(0.0)
        mine = await admission.enter()
        admission.leave(mine)
        blocked = entering(admission, "")  # somebody else is faster
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await admission.enter()
        return await blocked

    first = await entering(admission, "")
    asked, started = loop.create_task(request()), loop.time()
    await asyncio.sleep(0.15)
    admission.leave(first)
    await asked

    assert loop.time() - started < 0.3


async def test_a_part_that_is_stuck_leaves_room_for_the_others():
    admission = AdmissionControl(capacity=10, longest=5)
    stuck = [entering(admission, "pantry-items") for _ in range(9)]
    await asyncio.sleep(0.01)
    assert (admission.taken, admission.waiting) == (4, 5)
    assert await asyncio.wait_for(entering(admission, "meals"), 1) == "meals"
    admission.leave("meals")
    assert sum(task.done() for task in stuck) == 4
    admission.leave("pantry-items")
    await asyncio.sleep(0.01)
    assert sum(task.done() for task in stuck) == 5
    crowd = [entering(admission, "pantry-items") for _ in range(10 * 10 - admission.waiting)]
    await asyncio.sleep(0.01)
    with pytest.raises(Overloaded):
        await entering(admission, "pantry-items")
    assert await asyncio.wait_for(entering(admission, "meals"), 1) == "meals"
    for task in stuck + crowd:
        task.cancel()
    await asyncio.sleep(0.01)
    assert admission.waiting == 0


async def test_who_stops_waiting_takes_nobodys_place():
    admission = AdmissionControl(capacity=1, longest=5)
    await entering(admission, "")
    leaving, staying = entering(admission, ""), entering(admission, "")
    await asyncio.sleep(0.01)
    leaving.cancel()
    admission.leave("")
    assert await staying == ""
    assert admission.taken == 1


async def test_who_is_inside_may_not_wait_to_enter_again():
    admission = AdmissionControl(capacity=5, longest=5)

    async def twice():
        await admission.enter()
        await admission.enter()

    with pytest.raises(AssertionError, match="one unit of work at a time"):
        await asyncio.get_running_loop().create_task(twice(), context=copy_context())


async def test_who_learns_at_the_gate_that_the_database_is_silent_takes_no_place(db, app):
    admission = app.resources.db.admission

    async def read():
        async with db.read() as session:
            return await session.scalar(text("SELECT 1"))

    taken = [await entering(admission, "") for _ in range(admission.capacity)]
    waiting = asyncio.create_task(read())
    await until(lambda: admission.waiting == 1)
    db.watchdog.is_silent = True
    for place in taken:
        admission.leave(place)
    with pytest.raises(Unavailable):
        await waiting
    assert (admission.taken, admission.waiting) == (0, 0)

    db.watchdog.is_silent = False
    assert await read() == 1
