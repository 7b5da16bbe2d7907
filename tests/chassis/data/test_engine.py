"""Many connections to PostgreSQL that are opened at the same moment."""

import asyncio
from collections import Counter

import pytest
from sqlalchemy import Integer, literal, select, text, type_coerce
from sqlalchemy.engine import make_url

from faults.proxy import Proxy
from freshly.chassis.data.engine import (
    CONNECT_TIMEOUT_SECONDS,
    MAX_CONCURRENT_CONNECTS,
    Capacity,
    create_engine,
)
from freshly.chassis.data.queries import CompiledQuery

MANY = 40
# When all come at once, all of them are late together.
SECONDS_EACH = 1.5 * CONNECT_TIMEOUT_SECONDS / MANY
ONE = CompiledQuery(select(type_coerce(literal(1), Integer).label("one")))


@pytest.fixture
def database_kind():
    return "postgresql"


class SlowServer(Proxy):
    """Accepts one connection after the other, like a server that has much to do."""

    def __init__(self, *targets):
        super().__init__(*targets)
        self.accepted = 0
        self._one_at_a_time = asyncio.Lock()

    async def serve(self, reader, writer):
        self.accepted += 1
        async with self._one_at_a_time:
            await asyncio.sleep(SECONDS_EACH)
        await super().serve(reader, writer)


@pytest.fixture
async def slow_server(database_url):
    """The server, and an engine that connects to it."""
    url = make_url(database_url)
    slow = SlowServer(url.port)
    server = await asyncio.start_server(slow.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    through = url.set(drivername="postgresql+asyncpg", port=port)
    engine = create_engine(through, pool_size=MANY, max_overflow=2 * MANY)
    try:
        yield slow, engine
    finally:
        await engine.dispose()
        server.close()
        slow.close()


async def session(engine):
    async with engine.connect() as connection:
        return await connection.scalar(text("SELECT 1"))


async def read(engine):
    return (await engine.reads.run(ONE, {})).columns["one"][0]


async def all_at_once(use, engine):
    """Count what comes of many uses; each keeps its connection until all are done."""
    all_done = asyncio.Barrier(MANY)

    async def one():
        try:
            return await use(engine)
        finally:
            await all_done.wait()

    async with asyncio.timeout(60):
        results = await asyncio.gather(*(one() for _ in range(MANY)), return_exceptions=True)
    return Counter(result if result == 1 else type(result) for result in results)


@pytest.mark.parametrize("use", [session, read])
async def test_connects_wait_for_each_other_when_all_together_take_long(slow_server, use):
    slow, engine = slow_server

    assert await all_at_once(use, engine) == {1: MANY}

    assert 0 < slow.accepted <= MANY


@pytest.mark.parametrize("use", [session, read])
async def test_silent_database_is_not_tried_by_each_connect_in_turn(slow_server, use):
    slow, engine = slow_server
    slow.become("swallow")

    assert await all_at_once(use, engine) == {TimeoutError: MANY}
    assert slow.accepted == MAX_CONCURRENT_CONNECTS

    slow.become("pass")
    assert await all_at_once(use, engine) == {1: MANY}


@pytest.mark.parametrize(
    ("total", "reads", "sessions"), [(50, 20, 30), (10, 4, 6), (2, 1, 1), (1, 1, 1)]
)
def test_connections_are_shared_between_reads_and_sessions(total, reads, sessions):
    assert Capacity.of(total) == Capacity(reads, sessions)
