"""Many who need a connection to PostgreSQL at the same moment."""

import asyncio
from collections import Counter

import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url

from faults.proxy import Proxy
from freshly.chassis.data.engine import CONNECT_AT_ONCE, CONNECTS_WITHIN, create_engine

MANY = 40
EACH = 1.5 * CONNECTS_WITHIN / MANY  # seconds: those who come all at once are late together


@pytest.fixture
def database_kind():
    return "postgresql"


class Doorkeeper(Proxy):
    """Lets one in after the other, like a server that has much to do."""

    def __init__(self, *targets):
        super().__init__(*targets)
        self.came = 0
        self._door = asyncio.Lock()

    async def serve(self, reader, writer):
        self.came += 1
        async with self._door:
            await asyncio.sleep(EACH)
        await super().serve(reader, writer)


@pytest.fixture
async def connecting(database_url):
    """The doorkeeper, and an engine that comes by it."""
    url = make_url(database_url)
    doorkeeper = Doorkeeper(url.port)
    server = await asyncio.start_server(doorkeeper.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    through = url.set(drivername="postgresql+asyncpg", port=port)
    engine = create_engine(through, pool_size=MANY, max_overflow=0)
    try:
        yield doorkeeper, engine
    finally:
        await engine.dispose()
        server.close()
        doorkeeper.close()


async def all_at_once(engine):
    """What became of each of many who ask, and keep their connection until all are done."""
    everybody = asyncio.Barrier(MANY)

    async def ask():
        try:
            async with engine.connect() as connection:
                return await connection.scalar(text("SELECT 1"))
        finally:
            await everybody.wait()

    async with asyncio.timeout(60):
        found = await asyncio.gather(*(ask() for _ in range(MANY)), return_exceptions=True)
    return Counter(answer if answer == 1 else type(answer) for answer in found)


async def test_they_wait_for_each_other_when_it_takes_a_while_for_all(connecting):
    doorkeeper, engine = connecting

    assert await all_at_once(engine) == {1: MANY}

    assert doorkeeper.came == MANY


async def test_a_database_that_is_silent_is_not_asked_by_each_in_turn(connecting):
    doorkeeper, engine = connecting
    doorkeeper.become("swallow")

    assert await all_at_once(engine) == {TimeoutError: MANY}
    assert doorkeeper.came == CONNECT_AT_ONCE

    doorkeeper.become("pass")
    assert await all_at_once(engine) == {1: MANY}
