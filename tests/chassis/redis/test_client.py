"""The connection to Redis: what is a failure, and what becomes of those who wait for an answer."""

import asyncio

import pytest
from sqlalchemy.engine import make_url

from faults.proxy import proxy
from freshly.chassis.cache.redis_entries import RedisEntries
from freshly.chassis.rate_limits.redis_counters import RedisCounters
from freshly.chassis.redis.client import CommandBatcher, RedisClient, RedisError, RedisUnavailable
from tests.conftest import until

DAY = "somebody/86400/1000000"  # one to come, which is not over before the test is


def ping(client):
    return client.ping()


@pytest.fixture
async def network(redis_url):
    async with proxy(make_url(redis_url).port) as between:
        yield between


@pytest.fixture
async def link(network):
    link = RedisClient(f"redis://127.0.0.1:{network.port}")
    yield link
    await link.close()


async def fails(link, call=ping):
    with pytest.raises(RedisUnavailable):
        await link.execute(call)


async def test_what_is_late_at_the_same_moment_is_one_failure(network, link):
    network.become("swallow")
    await asyncio.gather(*(fails(link) for _ in range(3)))
    assert (link.has_failed, link.is_well) == (True, True)

    await fails(link)
    assert not link.is_well


async def test_an_answer_ends_a_row_of_failures(network, link):
    for _ in range(3):
        network.become("reset")
        await fails(link)
        network.become("pass")
        await link.execute(ping)
        assert not link.has_failed


async def test_when_it_is_gone_nobody_waits_any_longer(network, link, monkeypatch):
    network.become("swallow")
    await fails(link)
    monkeypatch.setattr("freshly.chassis.redis.client.CALL_TIMEOUT", 60)
    patient = asyncio.create_task(fails(link))
    await until(lambda: link._calls)  # noqa: SLF001 - has begun
    monkeypatch.setattr("freshly.chassis.redis.client.CALL_TIMEOUT", 0.1)
    await asyncio.sleep(0.1)  # else it would be the same failure

    await fails(link)

    async with asyncio.timeout(10):
        await patient
    network.become("pass")
    await until(lambda: link.is_well)
    await link.execute(ping)


async def test_a_refusal_is_an_answer(link):
    for _ in range(3):
        with pytest.raises(RedisError):
            await link.execute(lambda client: client.execute_command("NONSENSE"))
    assert not link.has_failed


async def test_who_left_takes_nobody_elses_answer_along(link):
    batcher = CommandBatcher(link)
    impatient, patient = batcher.execute("ECHO", "one"), batcher.execute("ECHO", "two")
    impatient.cancel()
    async with asyncio.timeout(10):
        assert await patient == b"two"
        assert await batcher.execute("ECHO", "three") == b"three"
    await batcher.close()


async def test_while_it_may_be_gone_calls_are_counted_here_and_there(link, monkeypatch):
    batcher = CommandBatcher(link)
    counts = RedisCounters(batcher, f"test{id(link)}")
    assert [await counts.increment(DAY, 60) for _ in range(3)] == [1, 2, 3]

    monkeypatch.setattr(link, "_failures", 1)
    ask = link.execute
    heard = asyncio.Event()

    async def slow(call):
        await heard.wait()
        return await ask(call)

    monkeypatch.setattr(link, "execute", slow)
    async with asyncio.timeout(10):
        assert [await counts.increment(DAY, 60) for _ in range(2)] == [1, 2]
        assert await counts.get(DAY) == 2
        heard.set()
        await until(lambda: not link.has_failed)
        await until(batcher._round_trip.done)  # noqa: SLF001 - what it carried is there
        assert await counts.get(DAY) == 5
    await batcher.close()


async def test_who_has_loaded_lets_the_next_one(link):
    entries = RedisEntries(link, f"test{id(link)}")
    for _ in range(2):
        async with entries.loading("key"):
            held = await link.execute(lambda client: client.keys(f"test{id(link)}:*"))
        left = await link.execute(lambda client: client.keys(f"test{id(link)}:*"))

        assert (len(held), left) == (1, [])
