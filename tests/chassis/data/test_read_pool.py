"""Connections that questions use stay at hand, and nobody else goes without for that."""

import asyncio
import sqlite3

import pytest
from asyncpg import DataError
from sqlalchemy import Integer, Text, bindparam, cast, event, func, literal, select, text
from sqlalchemy.exc import OperationalError

from freshly.chassis.data import queries as questions
from freshly.chassis.data.queries import CompiledQuery
from tests.conftest import until

ONE = CompiledQuery(select((literal(1) + bindparam("more", type_=Integer)).label("sum")))
SLOW = CompiledQuery(select(cast(func.pg_sleep(0.5), Text).label("slept")))


async def ask(db):
    found = await db.fetch(ONE, more=1)
    assert found.columns == {"sum": (2,)}


def checkouts(db):
    return db.engine.sync_engine.pool.checkedout()


async def test_one_connection_answers_one_question_after_the_other(db):
    for _ in range(3):
        await ask(db)

    assert checkouts(db) == 1


async def test_after_a_while_the_pool_looks_after_it(db, monkeypatch):
    await ask(db)
    monkeypatch.setattr(questions, "STAYS", -1)
    taken = []
    event.listen(db.engine.sync_engine, "checkout", lambda *_: taken.append(1))
    await ask(db)

    assert taken == [1]
    assert checkouts(db) == 1


async def test_no_more_are_kept_than_the_pool_keeps_open(db):
    await asyncio.gather(*(ask(db) for _ in range(20)))

    assert checkouts(db) <= db.engine.sync_engine.pool.size()


async def test_whoever_needs_the_last_connection_gets_it(db):
    await asyncio.gather(*(ask(db) for _ in range(20)))
    capacity = db.admission.capacity
    all_inside = asyncio.Barrier(capacity)

    async def read():
        async with db.read() as session:
            await session.execute(select(1))
            async with asyncio.timeout(20):
                await all_inside.wait()

    await asyncio.gather(*(read() for _ in range(capacity)))
    await ask(db)


@pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
async def test_one_that_died_at_hand_is_replaced(db):
    await ask(db)
    async with db.write() as session:
        ended = select(func.pg_terminate_backend(text("pid"))).select_from(text("pg_stat_activity"))
        mine = text("datname = current_database() AND pid <> pg_backend_pid()")
        await session.execute(ended.where(mine))
    await asyncio.sleep(0.1)

    await ask(db)


@pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
async def test_nobody_is_given_a_connection_whose_answer_somebody_did_not_await(db):
    asking = asyncio.create_task(db.fetch(SLOW))
    await asyncio.sleep(0.2)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking

    assert checkouts(db) == 0
    await ask(db)


async def test_a_refused_question_leaves_nothing_behind(db):
    refused = CompiledQuery(select(text("nothing")).select_from(text("nowhere")))
    with pytest.raises(OperationalError):
        await db.fetch(refused)

    assert checkouts(db) == 0
    await ask(db)


@pytest.mark.parametrize("broken", [ConnectionResetError(), TimeoutError(), OSError("no route")])
async def test_a_connection_that_breaks_is_told_from_a_refusal(db, broken):
    class Driver:
        async def fetch(self, _sql, *_values):
            raise broken

    with pytest.raises(OperationalError) as found:
        await ONE.run(Driver(), db.engine.dialect, {"more": 1})

    assert found.value.connection_invalidated


async def test_a_bug_is_no_busy_database(db):
    with pytest.raises((TypeError, DataError, sqlite3.ProgrammingError, OperationalError)) as found:
        await db.fetch(ONE, more=object())

    cause = found.value
    assert not isinstance(cause, OperationalError) or not cause.connection_invalidated
    await ask(db)


async def test_none_survives_the_engine(db):
    drivers = []

    def note(connection, _record):
        drivers.append(connection.driver_connection)

    event.listen(db.engine.sync_engine, "connect", note)
    await asyncio.gather(*(ask(db) for _ in range(5)))
    answering = asyncio.create_task(ask(db))
    await asyncio.sleep(0)
    await db.engine.dispose()
    await answering

    assert drivers
    assert all(driver.is_closed() for driver in drivers)
    await ask(db)


@pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
async def test_nor_does_one_that_is_out_when_the_engine_ends(db):
    drivers = []

    def note(connection, _record):
        drivers.append(connection.driver_connection)

    event.listen(db.engine.sync_engine, "connect", note)
    asking = asyncio.create_task(db.fetch(SLOW))
    await until(lambda: len(drivers) == 1)
    await asyncio.sleep(0.1)
    await db.engine.dispose()
    await asking

    assert [driver.is_closed() for driver in drivers] == [True]
