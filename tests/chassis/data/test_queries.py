"""Connections that questions use stay at hand, and nobody else goes without for that."""

import asyncio
import sqlite3

import pytest
from asyncpg import DataError
from sqlalchemy import Integer, Text, bindparam, cast, event, func, literal, select, text
from sqlalchemy.exc import OperationalError

from freshly.chassis.data import queries as questions
from freshly.chassis.data.queries import Question
from tests.conftest import until

ONE = Question(select((literal(1) + bindparam("more", type_=Integer)).label("sum")))
SLOW = Question(select(cast(func.pg_sleep(0.5), Text).label("slept")))


async def ask(units):
    found = await units.ask(ONE, more=1)
    assert found.columns == {"sum": (2,)}


def checkouts(units):
    return units.engine.sync_engine.pool.checkedout()


async def test_one_connection_answers_one_question_after_the_other(units):
    for _ in range(3):
        await ask(units)

    assert checkouts(units) == 1


async def test_after_a_while_the_pool_looks_after_it(units, monkeypatch):
    await ask(units)
    monkeypatch.setattr(questions, "STAYS", -1)
    taken = []
    event.listen(units.engine.sync_engine, "checkout", lambda *_: taken.append(1))
    await ask(units)

    assert taken == [1]
    assert checkouts(units) == 1


async def test_no_more_are_kept_than_the_pool_keeps_open(units):
    await asyncio.gather(*(ask(units) for _ in range(20)))

    assert checkouts(units) <= units.engine.sync_engine.pool.size()


async def test_whoever_needs_the_last_connection_gets_it(units):
    await asyncio.gather(*(ask(units) for _ in range(20)))
    capacity = units.gate.capacity
    all_inside = asyncio.Barrier(capacity)

    async def read():
        async with units.reading() as session:
            await session.execute(select(1))
            async with asyncio.timeout(20):
                await all_inside.wait()

    await asyncio.gather(*(read() for _ in range(capacity)))
    await ask(units)


@pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
async def test_one_that_died_at_hand_is_replaced(units):
    await ask(units)
    async with units.writing() as session:
        ended = select(func.pg_terminate_backend(text("pid"))).select_from(text("pg_stat_activity"))
        mine = text("datname = current_database() AND pid <> pg_backend_pid()")
        await session.execute(ended.where(mine))
    await asyncio.sleep(0.1)

    await ask(units)


@pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
async def test_nobody_is_given_a_connection_whose_answer_somebody_did_not_await(units):
    asking = asyncio.create_task(units.ask(SLOW))
    await asyncio.sleep(0.2)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking

    assert checkouts(units) == 0
    await ask(units)


async def test_a_refused_question_leaves_nothing_behind(units):
    refused = Question(select(text("nothing")).select_from(text("nowhere")))
    with pytest.raises(OperationalError):
        await units.ask(refused)

    assert checkouts(units) == 0
    await ask(units)


@pytest.mark.parametrize("broken", [ConnectionResetError(), TimeoutError(), OSError("no route")])
async def test_a_connection_that_breaks_is_told_from_a_refusal(units, broken):
    class Driver:
        async def fetch(self, _sql, *_values):
            raise broken

    with pytest.raises(OperationalError) as found:
        await ONE.put(Driver(), units.engine.dialect, {"more": 1})

    assert found.value.connection_invalidated


async def test_a_bug_is_no_busy_database(units):
    with pytest.raises((TypeError, DataError, sqlite3.ProgrammingError, OperationalError)) as found:
        await units.ask(ONE, more=object())

    cause = found.value
    assert not isinstance(cause, OperationalError) or not cause.connection_invalidated
    await ask(units)


async def test_none_survives_the_engine(units):
    drivers = []

    def note(connection, _record):
        drivers.append(connection.driver_connection)

    event.listen(units.engine.sync_engine, "connect", note)
    await asyncio.gather(*(ask(units) for _ in range(5)))
    answering = asyncio.create_task(ask(units))
    await asyncio.sleep(0)
    await units.engine.dispose()
    await answering

    assert drivers
    assert all(driver.is_closed() for driver in drivers)
    await ask(units)


@pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
async def test_nor_does_one_that_is_out_when_the_engine_ends(units):
    drivers = []

    def note(connection, _record):
        drivers.append(connection.driver_connection)

    event.listen(units.engine.sync_engine, "connect", note)
    asking = asyncio.create_task(units.ask(SLOW))
    await until(lambda: len(drivers) == 1)
    await asyncio.sleep(0.1)
    await units.engine.dispose()
    await asking

    assert [driver.is_closed() for driver in drivers] == [True]
