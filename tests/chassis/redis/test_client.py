"""The Redis client: what counts as a failure, and what happens to waiting calls."""

import asyncio

import pytest
from sqlalchemy.engine import make_url

from faults.proxy import proxy
from freshly.chassis.cache.redis_entries import RedisEntries
from freshly.chassis.rate_limits.redis_counters import RedisCounters
from freshly.chassis.redis.client import CommandBatcher, RedisClient, RedisError, RedisUnavailable
from tests.conftest import until

DAY = "somebody/86400/1000000"  # a day in the future, so that it does not end during the test


def ping(client):
    return client.ping()


@pytest.fixture
async def network(redis_url):
    async with proxy(make_url(redis_url).port) as network_proxy:
        yield network_proxy


@pytest.fixture
async def redis_client(network):
    redis_client = RedisClient(f"redis://127.0.0.1:{network.port}")
    yield redis_client
    await redis_client.close()


async def expect_unavailable(redis_client, call=ping):
    with pytest.raises(RedisUnavailable):
        await redis_client.execute(call)


async def test_simultaneous_timeouts_are_one_failure(network, redis_client):
    network.become("swallow")
    await asyncio.gather(*(expect_unavailable(redis_client) for _ in range(3)))
    assert (redis_client.has_failed, redis_client.is_available) == (True, True)

    await expect_unavailable(redis_client)
    assert not redis_client.is_available


async def test_a_response_ends_a_series_of_failures(network, redis_client):
    for _ in range(3):
        network.become("reset")
        await expect_unavailable(redis_client)
        network.become("pass")
        await redis_client.execute(ping)
        assert not redis_client.has_failed


async def test_waiting_calls_fail_as_soon_as_another_call_finds_redis_unreachable(
    network, redis_client, monkeypatch
):
    network.become("swallow")
    await expect_unavailable(redis_client)
    monkeypatch.setattr("freshly.chassis.redis.client.CALL_TIMEOUT", 60)
    waiting = asyncio.create_task(expect_unavailable(redis_client))
    await until(lambda: redis_client._calls)  # noqa: SLF001 - the call has begun
    monkeypatch.setattr("freshly.chassis.redis.client.CALL_TIMEOUT", 0.1)
    await asyncio.sleep(0.1)  # otherwise it would be the same failure

    await expect_unavailable(redis_client)

    async with asyncio.timeout(10):
        await waiting
    network.become("pass")
    await until(lambda: redis_client.is_available)
    await redis_client.execute(ping)


async def test_an_error_reply_is_not_a_failure(redis_client):
    for _ in range(3):
        with pytest.raises(RedisError):
            await redis_client.execute(lambda client: client.execute_command("NONSENSE"))
    assert not redis_client.has_failed


async def test_a_cancelled_command_leaves_the_other_commands_of_its_batch(redis_client):
    batcher = CommandBatcher(redis_client)
    cancelled, waiting = batcher.execute("ECHO", "one"), batcher.execute("ECHO", "two")
    cancelled.cancel()
    async with asyncio.timeout(10):
        assert await waiting == b"two"
        assert await batcher.execute("ECHO", "three") == b"three"
    await batcher.close()


async def test_calls_are_counted_locally_and_in_redis_while_redis_may_be_unreachable(
    redis_client, monkeypatch
):
    batcher = CommandBatcher(redis_client)
    counts = RedisCounters(batcher, f"test{id(redis_client)}")
    assert [await counts.increment(DAY, 60) for _ in range(3)] == [1, 2, 3]

    monkeypatch.setattr(redis_client, "_failures", 1)
    execute = redis_client.execute
    may_answer = asyncio.Event()

    async def slow(call):
        await may_answer.wait()
        return await execute(call)

    monkeypatch.setattr(redis_client, "execute", slow)
    async with asyncio.timeout(10):
        assert [await counts.increment(DAY, 60) for _ in range(2)] == [1, 2]
        assert await counts.get(DAY) == 2
        may_answer.set()
        await until(lambda: not redis_client.has_failed)
        await until(batcher._round_trip.done)  # noqa: SLF001 - its commands have arrived
        assert await counts.get(DAY) == 5
    await batcher.close()


async def test_the_lock_of_a_load_is_released_when_the_load_ends(redis_client):
    entries = RedisEntries(redis_client, f"test{id(redis_client)}", "secret")
    for _ in range(2):
        async with entries.loading("key"):
            keys_during = await redis_client.execute(
                lambda client: client.keys(f"test{id(redis_client)}:*")
            )
        keys_after = await redis_client.execute(
            lambda client: client.keys(f"test{id(redis_client)}:*")
        )

        assert (len(keys_during), keys_after) == (1, [])
