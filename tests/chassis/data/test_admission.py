"""Slots for the database: who gets one, who waits, and who is told to try again."""

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import literal, select, text

from freshly.chassis.data.admission import Admission, AdmissionControl, Overloaded
from freshly.chassis.data.queries import CompiledQuery
from freshly.chassis.errors import Unavailable
from tests.conftest import until

ANY_GROUP = Admission()
PANTRY, MEALS = Admission("pantry-items"), Admission("meals")


def control_for(sessions, longest_wait_seconds=5.0):
    """Return admission control with that many slots, all of them for sessions."""
    return AdmissionControl(0, sessions, timedelta(seconds=longest_wait_seconds))


def acquiring(slots, admission=ANY_GROUP):
    """Ask for a slot in a task of its own, like a request."""
    return asyncio.create_task(slots.acquire(admission))


async def test_requests_wait_while_all_slots_are_taken():
    control = control_for(2)
    slots = control.sessions
    first = await slots.acquire(ANY_GROUP)
    await slots.acquire(ANY_GROUP)

    third = acquiring(slots)
    await asyncio.sleep(0.01)
    assert (control.taken, control.waiting, third.done()) == (2, 1, False)

    slots.release(first)
    await third
    assert (control.taken, control.waiting) == (2, 0)


async def test_queue_is_bounded_and_waiting_has_a_limit():
    control = control_for(1, longest_wait_seconds=0.05)
    slots = control.sessions
    await slots.acquire(ANY_GROUP)
    waiting = [acquiring(slots) for _ in range(10)]
    await asyncio.sleep(0)

    with pytest.raises(Overloaded):
        await slots.acquire(ANY_GROUP)
    for task in waiting:
        with pytest.raises(Overloaded):
            await task
    assert (control.taken, control.waiting) == (1, 0)


async def test_request_that_is_cancelled_as_it_gets_a_slot_gives_it_back():
    control = control_for(1)
    slots = control.sessions
    first = await slots.acquire(ANY_GROUP)
    second = acquiring(slots)
    await asyncio.sleep(0)

    slots.release(first)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second

    assert (control.taken, control.waiting) == (0, 0)
    assert await asyncio.wait_for(slots.acquire(ANY_GROUP), 1)


async def test_request_waits_no_longer_for_two_transactions_than_for_one():
    control = control_for(1, longest_wait_seconds=0.2)
    slots = control.sessions
    loop = asyncio.get_running_loop()

    async def request():
        admission = Admission(waited_seconds=0.0)
        slots.release(await slots.acquire(admission))
        blocked = acquiring(slots)
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await slots.acquire(admission)
        await blocked

    first = await slots.acquire(ANY_GROUP)
    task, started = asyncio.create_task(request()), loop.time()
    await asyncio.sleep(0.15)
    slots.release(first)
    await task

    assert loop.time() - started < 0.3


async def test_work_that_is_not_a_request_may_wait_for_each_transaction():
    control = control_for(1, longest_wait_seconds=0.2)
    slots = control.sessions
    job = Admission("jobs")

    for _ in range(3):
        taken = await slots.acquire(ANY_GROUP)
        asyncio.get_running_loop().call_later(0.1, slots.release, taken)
        slots.release(await slots.acquire(job))


async def test_group_that_is_stuck_leaves_slots_to_the_others():
    control = control_for(10)
    slots = control.sessions
    stuck = [acquiring(slots, PANTRY) for _ in range(9)]
    await asyncio.sleep(0.01)
    assert (control.taken, control.waiting) == (4, 5)

    slots.release(await asyncio.wait_for(slots.acquire(MEALS), 1))
    assert sum(task.done() for task in stuck) == 4

    slots.release(stuck[0].result())
    await asyncio.sleep(0.01)
    assert sum(task.done() for task in stuck) == 5

    more = [acquiring(slots, PANTRY) for _ in range(10 * 10 - control.waiting)]
    await asyncio.sleep(0.01)
    with pytest.raises(Overloaded):
        await slots.acquire(PANTRY)
    await asyncio.wait_for(slots.acquire(MEALS), 1)

    for task in stuck + more:
        task.cancel()
    await asyncio.sleep(0.01)
    assert control.waiting == 0


async def test_groups_that_are_stuck_on_every_slot_leave_none_waiting_forever():
    control = control_for(5)
    slots = control.sessions
    held = [await slots.acquire(Admission(name)) for name in ("a", "a", "b", "b", "c")]
    waiting = [acquiring(slots, MEALS), acquiring(slots, PANTRY)]
    await asyncio.sleep(0.01)
    assert control.waiting == 2

    for group in held:
        slots.release(group)
    for task in waiting:
        slots.release(await asyncio.wait_for(task, 1))
    assert (control.taken, control.waiting) == (0, 0)


async def test_request_that_stops_waiting_takes_no_slot():
    control = control_for(1)
    slots = control.sessions
    held = await slots.acquire(ANY_GROUP)
    leaving, staying = acquiring(slots), acquiring(slots)
    await asyncio.sleep(0.01)

    leaving.cancel()
    slots.release(held)
    await staying

    assert control.taken == 1


async def test_groups_without_requests_are_forgotten():
    control = control_for(1, longest_wait_seconds=0.01)
    slots = control.sessions
    held = await slots.acquire(Admission("kept"))
    for number in range(100):
        with pytest.raises(Overloaded):
            await slots.acquire(Admission(f"random-{number}"))
    slots.release(held)

    assert not slots._groups  # noqa: SLF001 - clients could fill the memory with it


async def test_reads_and_sessions_have_slots_of_their_own_and_one_queue():
    control = AdmissionControl(1, 1, timedelta(seconds=5))
    await control.sessions.acquire(PANTRY)
    waiting = [acquiring(control.sessions) for _ in range(19)]
    await control.reads.acquire(PANTRY)
    waiting.append(acquiring(control.reads))
    await asyncio.sleep(0.01)
    assert (control.capacity, control.taken, control.waiting) == (2, 2, 20)

    with pytest.raises(Overloaded):
        await control.reads.acquire(MEALS)
    for task in waiting:
        task.cancel()


@pytest.mark.parametrize("use", ["read", "write", "fetch"])
async def test_task_with_an_open_transaction_may_not_open_another(db, use):
    async def second_use():
        if use == "fetch":
            await db.fetch(CompiledQuery(select(literal(1).label("one"))))
        else:
            async with getattr(db, use)():
                pass

    async with db.read():
        with pytest.raises(RuntimeError, match="one transaction at a time"):
            await second_use()
    assert db.admission.taken == 0

    await second_use()


async def test_request_that_waited_for_a_slot_of_a_silent_database_takes_none(db):
    async def read():
        async with db.read() as session:
            return await session.scalar(text("SELECT 1"))

    sessions = db.admission.sessions
    taken = [await sessions.acquire(ANY_GROUP) for _ in range(sessions.capacity)]
    waiting = asyncio.create_task(read())
    await until(lambda: db.admission.waiting == 1)
    db.watchdog.is_silent = True
    for slot in taken:
        sessions.release(slot)
    with pytest.raises(Unavailable):
        await waiting
    assert (db.admission.taken, db.admission.waiting) == (0, 0)

    db.watchdog.is_silent = False
    assert await read() == 1
