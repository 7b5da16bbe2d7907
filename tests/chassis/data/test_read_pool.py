"""Connections for single reads: kept while they are good, replaced when they are not."""

import asyncio
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy import Integer, Text, bindparam, cast, func, literal, select, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError

from freshly.chassis.data import read_pool
from freshly.chassis.data.queries import CompiledQuery
from tests.conftest import until

ON_POSTGRES = pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)

SUM = CompiledQuery(select((literal(1) + bindparam("more", type_=Integer)).label("sum")))
SLOW = CompiledQuery(select(cast(func.pg_sleep(0.5), Text).label("slept")))
BACKEND = CompiledQuery(select(func.pg_backend_pid().label("pid")))
REFUSED = CompiledQuery(select(text("nothing")).select_from(text("nowhere")))
CONNECTIONS = """
    SELECT pid, backend_start FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


async def read(db):
    columns = await db.fetch(SUM, more=1)
    assert columns.columns == {"sum": (2,)}


async def read_twenty_times_at_once(db):
    await asyncio.gather(*(read(db) for _ in range(20)))


async def backend(db):
    [pid] = (await db.fetch(BACKEND)).columns["pid"]
    return pid


@pytest.fixture
async def observer(settings):
    """A connection from outside, to look at those of the app."""
    connection = await asyncpg.connect(settings.database_url.get_secret_value())
    yield connection
    await connection.close()


async def connections(observer):
    return [row["pid"] for row in await observer.fetch(CONNECTIONS)]


async def test_reads_leave_the_connections_of_sessions_alone(db):
    await read_twenty_times_at_once(db)

    assert db.engine.pool.checkedin() == db.engine.pool.checkedout() == 0


@ON_POSTGRES
async def test_one_connection_serves_one_read_after_the_other(db, observer):
    for _ in range(3):
        await read(db)

    assert await connections(observer) == [await backend(db)]


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
async def test_sqlite_has_one_connection_for_all_reads(db, settings):
    await read_twenty_times_at_once(db)

    assert open_files(settings) == 1


def open_files(settings):
    """Count the open file descriptors of the SQLite database."""
    path = make_url(settings.database_url.get_secret_value()).database
    descriptors = Path("/proc/self/fd").iterdir()
    return sum(descriptor.exists() and descriptor.samefile(path) for descriptor in descriptors)


@ON_POSTGRES
async def test_connection_that_was_idle_for_long_is_replaced(db, observer, monkeypatch):
    before = await backend(db)
    monkeypatch.setattr(read_pool, "MAX_IDLE_SECONDS", -1)

    after = await backend(db)

    assert after != before
    await until(lambda: has_only(observer, after))


@ON_POSTGRES
async def test_connection_that_is_old_is_replaced(db, observer, monkeypatch):
    before = await backend(db)
    monkeypatch.setattr(read_pool, "MAX_AGE_SECONDS", 0)

    after = await backend(db)

    assert after != before
    await until(lambda: has_only(observer, after))


async def has_only(observer, pid):
    return await connections(observer) == [pid]


@ON_POSTGRES
async def test_connections_that_a_burst_needed_are_closed_later(db, observer, monkeypatch):
    await read_twenty_times_at_once(db)
    assert len(await connections(observer)) > 1
    monkeypatch.setattr(read_pool, "MAX_IDLE_SECONDS", 0.05)

    async def only_one_is_left():
        await read(db)
        return len(await connections(observer)) == 1

    await until(only_one_is_left)


@ON_POSTGRES
async def test_reads_open_no_more_connections_than_they_may(db, observer):
    await asyncio.gather(*(db.fetch(SLOW) for _ in range(db.engine.capacity.reads + 5)))

    assert len(await connections(observer)) == db.engine.capacity.reads


@ON_POSTGRES
async def test_both_pools_together_stay_within_the_limit(db, observer, settings):
    limit = settings.database_pool_size + settings.database_max_overflow
    capacity = db.engine.capacity
    assert capacity.reads + capacity.sessions == db.admission.capacity == limit

    await asyncio.gather(*(db.fetch(SLOW) for _ in range(capacity.reads)))
    all_inside = asyncio.Barrier(capacity.sessions)

    async def session():
        async with db.read() as session:
            await session.execute(select(1))
            async with asyncio.timeout(20):
                await all_inside.wait()

    await asyncio.gather(*(session() for _ in range(capacity.sessions)))
    await read(db)

    assert len(await connections(observer)) <= limit


@ON_POSTGRES
async def test_connection_that_died_is_replaced(db, observer):
    before = await backend(db)
    await observer.execute("SELECT pg_terminate_backend($1)", before)
    await asyncio.sleep(0.1)

    assert await backend(db) != before


@ON_POSTGRES
async def test_cancelled_read_leaves_no_connection_behind(db):
    before = await backend(db)
    reading = asyncio.create_task(db.fetch(SLOW))
    await asyncio.sleep(0.2)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading

    assert await backend(db) != before
    assert db.admission.taken == 0


async def test_refused_query_leaves_nothing_behind(db):
    with pytest.raises(OperationalError) as caught:
        await db.fetch(REFUSED)

    assert not caught.value.connection_invalidated
    assert db.admission.taken == 0
    await read(db)


async def test_bug_in_a_query_is_not_reported_as_a_busy_database(db):
    with pytest.raises(Exception) as caught:  # noqa: PT011 - each driver has an error of its own
        await db.fetch(SUM, more=object())

    error = caught.value
    assert not isinstance(error, OperationalError) or not error.connection_invalidated
    await read(db)


async def test_connections_are_closed_with_the_engine(db, settings, database_kind):
    await asyncio.gather(*(read(db) for _ in range(5)))
    reading = asyncio.create_task(read(db))
    await asyncio.sleep(0)

    await db.engine.dispose()
    await reading

    if database_kind == "sqlite":
        assert open_files(settings) == 0
    else:
        await until(lambda: no_connections(settings))
    await read(db)


async def no_connections(settings):
    observer = await asyncpg.connect(settings.database_url.get_secret_value())
    try:
        return not await connections(observer)
    finally:
        await observer.close()


@ON_POSTGRES
async def test_connection_in_use_is_closed_after_its_read_when_the_engine_closes(db, observer):
    reading = asyncio.create_task(db.fetch(SLOW))
    await until(lambda: connections(observer))
    await asyncio.sleep(0.1)

    await db.engine.dispose()
    await reading

    await until(lambda: has_none(observer))


async def has_none(observer):
    return not await connections(observer)


@ON_POSTGRES
async def test_database_that_refuses_connections_is_an_operational_error(
    db, settings, postgres_url
):
    name = make_url(settings.database_url.get_secret_value()).database
    server = await asyncpg.connect(postgres_url)
    await server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")

    try:
        with pytest.raises(OperationalError) as caught:
            await read(db)
    finally:
        await server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        await server.close()

    assert caught.value.connection_invalidated
    await read(db)
