"""A database that is busy, locked or gone: requests learn it in time, and others are served."""

import asyncio
import time
from contextlib import asynccontextmanager

import asyncpg
import pytest
from pydantic import SecretStr
from sqlalchemy.engine import make_url

from faults.proxy import proxy
from freshly.chassis.data.engine import LOCK_TIMEOUT_SECONDS
from tests.conftest import client_of, running, settings_for
from tests.support.api import Kitchen

CAPACITY = 10
MAX_WAIT_SECONDS = 2


@pytest.fixture
def database_kind():
    return "postgresql"


@pytest.fixture
def settings(database_url, tmp_path):
    return settings_for(
        database_url,
        tmp_path,
        cache="off",
        database_pool_size=5,
        database_max_overflow=CAPACITY - 5,
        database_pool_timeout=MAX_WAIT_SECONDS,
    )


@pytest.fixture
async def app(settings):
    async with running(settings) as served:
        yield served


@asynccontextmanager
async def connected(url):
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


async def timed(request):
    started = time.monotonic()
    response = await request
    return response.status_code, time.monotonic() - started, response


async def test_locked_table_delays_only_the_routes_that_need_it(kitchen, client, settings, app):
    alice = await kitchen.person()
    async with connected(settings.database_url.get_secret_value()) as other:
        async with other.transaction():
            await other.execute("LOCK TABLE pantry_items IN ACCESS EXCLUSIVE MODE")
            stuck = [
                asyncio.create_task(timed(alice.get("/pantry-items/me")))
                for _ in range(2 * CAPACITY)
            ]
            await asyncio.sleep(0.5)

            others = await asyncio.gather(
                timed(client.get("/health")),
                *(timed(alice.get(path)) for path in ("/families", "/meals/me", "/units") * 3),
            )
            assert {status for status, _, _ in others} == {200}
            assert max(seconds for _, seconds, _ in others) < LOCK_TIMEOUT_SECONDS
            assert app.resources.db.admission.taken < CAPACITY

            for status, seconds, response in await asyncio.gather(*stuck):
                assert status == 503
                assert int(response.headers["Retry-After"]) >= 1
                assert seconds < MAX_WAIT_SECONDS + LOCK_TIMEOUT_SECONDS + 1
        assert (await alice.get("/pantry-items/me")).status_code == 200


async def test_requests_get_503_while_the_database_is_gone_and_200_when_it_is_back(
    kitchen, client, settings, postgres_url
):
    alice = await kitchen.person()
    name = make_url(settings.database_url.get_secret_value()).database
    async with connected(postgres_url) as server:
        await server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        await server.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name
        )

        gone = await asyncio.gather(*(timed(alice.get("/families")) for _ in range(2 * CAPACITY)))
        for status, seconds, response in gone:
            assert (status, seconds < MAX_WAIT_SECONDS) == (503, True)
            assert int(response.headers["Retry-After"]) >= 1
        assert (await client.get("/health")).status_code == 200
        assert (await client.get("/ready")).status_code == 503

        await server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        status, seconds, _ = await timed(alice.get("/families"))
        assert (status, seconds < 3) == (200, True)
        assert (await client.get("/ready")).json()["pool"]["taken"] == 0


async def test_requests_get_503_soon_when_the_database_falls_silent(settings):
    """The network swallows everything, so no connection fails by itself."""
    url = make_url(settings.database_url.get_secret_value())
    async with proxy(url.port) as between:
        through = url.set(port=between.port).render_as_string(hide_password=False)
        changed = settings.model_copy(update={"database_url": SecretStr(through)})
        async with running(changed) as app, client_of(app) as client:
            alice = await Kitchen(client).person()
            between.become("swallow")

            async with asyncio.timeout(20):  # they would wait for as long as it is silent
                waiting = [alice.get("/families"), alice.post("/families", {"display_name": "Us"})]
                for response in await asyncio.gather(*waiting):
                    assert response.status_code == 503
                    assert int(response.headers["Retry-After"]) >= 1
                assert (await client.get("/health")).status_code == 200
                assert (await client.get("/ready")).status_code == 503

            between.become("pass")
            async with asyncio.timeout(20):
                while (await alice.get("/families")).status_code != 200:  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
            assert app.resources.db.admission.taken == 0


async def test_read_only_database_serves_reads_and_answers_writes_with_503(
    kitchen, settings, postgres_url
):
    alice = await kitchen.person()
    name = make_url(settings.database_url.get_secret_value()).database
    cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1"
    async with connected(postgres_url) as server:
        await server.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        await server.execute(cut, name)

        await asyncio.sleep(0.5)  # until asyncpg has noticed that its connections are cut
        assert (await alice.get("/families")).status_code == 200
        assert (await alice.post("/families", {"display_name": "Us"})).status_code == 503

        await server.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
        await server.execute(cut, name)
        await asyncio.sleep(0.5)
        assert (await alice.post("/families", {"display_name": "Us"})).status_code == 200


async def test_connections_never_exceed_the_limit(kitchen, settings, postgres_url):
    alice = await kitchen.person()
    name = make_url(settings.database_url.get_secret_value()).database
    count = "SELECT count(*) FROM pg_stat_activity WHERE datname = $1"
    most = 0

    async with connected(postgres_url) as server:
        paths = ("/families", "/meals/me", "/pantry-items/me", "/units", "/recipes")
        requests = [asyncio.create_task(alice.get(paths[n % 5])) for n in range(90)]
        while not all(task.done() for task in requests):
            most = max(most, await server.fetchval(count, name))
            await asyncio.sleep(0.005)

    assert {task.result().status_code for task in requests} == {200}
    assert 1 <= most <= CAPACITY


async def test_statement_that_takes_too_long_is_ended(settings):
    short = settings.model_copy(update={"database_statement_timeout": 1})
    async with running(short) as app, client_of(app) as client:
        alice = await Kitchen(client).person()
        url = settings.database_url.get_secret_value()
        async with connected(url) as other, other.transaction():
            await other.execute("LOCK TABLE families IN ACCESS EXCLUSIVE MODE")
            family = await timed(alice.post("/families", {"display_name": "Us"}))
        assert family[0] == 503
        assert family[1] < LOCK_TIMEOUT_SECONDS
