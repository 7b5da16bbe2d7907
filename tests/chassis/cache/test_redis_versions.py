"""Cache versions in Redis while Redis is full, unreachable, or holds foreign values."""

import asyncio

from freshly.chassis.redis.client import RedisUnavailable
from tests.conftest import until
from tests.support.caches import cached_body, caches
from tests.support.servers import redis_alone


async def test_a_change_overwrites_a_foreign_value_in_redis(redis_url):
    (cache, *_), redis_clients = caches(1, redis_url)
    versions = cache.versions
    before = await versions.of(["tag"])
    marker = await versions.begin_change(["tag"])
    [key] = [key async for key in redis_clients[0].client.scan_iter(f"test{id(redis_clients)}:v:*")]
    await redis_clients[0].client.delete(key)
    await redis_clients[0].client.rpush(key, "a list")
    await versions.commit_change(["tag"], marker)
    after = await versions.of(["tag"])
    await versions.close()
    await redis_clients[0].close()

    assert after is not None
    assert after != before


async def test_a_change_is_sent_again_until_redis_gets_it(redis_url, monkeypatch):
    monkeypatch.setattr("freshly.chassis.cache.redis_versions.RETRY_INTERVAL", 0.01)
    two_caches, redis_clients = caches(2, redis_url)
    writer, reader = (cache.versions for cache in two_caches)
    before = await reader.of(["tag"])
    execute, errors = (
        redis_clients[0].execute,
        iter([RedisUnavailable, RedisUnavailable, RedisUnavailable]),
    )

    async def fail_three_times(call):
        for error in errors:
            raise error
        return await execute(call)

    async def is_changed():
        return await reader.of(["tag"]) != before

    monkeypatch.setattr(redis_clients[0], "execute", fail_three_times)
    await writer.commit_change(["tag"], "0badcafe")
    assert not await is_changed()
    assert await writer.of(["tag"]) is None  # the writer caches nothing until then
    await until(is_changed, within=10)
    await until(lambda: writer.of(["tag"]), within=10)
    for cache, redis_client in zip(two_caches, redis_clients, strict=True):
        await cache.versions.close()
        await redis_client.close()


async def test_a_full_redis_serves_no_stale_entry_during_a_commit():
    with redis_alone() as (url, _):
        (cache, *_), redis_clients = caches(1, url)
        versions = cache.versions
        before = await versions.of(["tag"])
        await redis_clients[0].client.config_set("maxmemory", 1)
        await versions.begin_change(["tag"])
        during = await versions.of(["tag"])
        await redis_clients[0].client.config_set("maxmemory", 0)
        after = await versions.of(["tag"])
        await versions.close()
        await redis_clients[0].close()

    assert during is None
    assert None not in {before, after}
    assert after != before


async def test_an_emptied_redis_makes_every_entry_stale(redis_url):
    [cache], [redis_client] = caches(1, redis_url)
    loads = []

    async def load():
        loads.append(1)
        return cached_body(b"[]")

    for _ in range(2):
        await cache.read("key", ["tag"], load)
    await redis_client.client.delete(
        *[key async for key in redis_client.client.scan_iter(match="test*")]
    )
    await cache.read("key", ["tag"], load)
    assert len(loads) == 2
    await cache.versions.close()
    await redis_client.close()


async def test_a_marker_of_a_crashed_process_expires_while_other_changes_go_on(
    redis_url, monkeypatch
):
    monkeypatch.setattr("freshly.chassis.cache.redis_versions.LONGEST_COMMIT", 2)
    (cache, *_), redis_clients = caches(1, redis_url)
    versions = cache.versions
    await versions.begin_change(["tag"])  # by a process that crashes
    for _ in range(3):
        await asyncio.sleep(1)
        await versions.commit_change(["tag"], await versions.begin_change(["tag"]))
    version = await versions.of(["tag"])
    await versions.close()
    await redis_clients[0].close()

    assert version is not None


async def test_a_foreign_value_is_replaced_by_a_new_version(redis_url):
    (cache, *_), redis_clients = caches(1, redis_url)
    versions, client = cache.versions, redis_clients[0].client
    await versions.of(["tag"])
    [key] = [key async for key in client.scan_iter(f"test{id(redis_clients)}:v:*")]
    results = []
    for write_foreign_value in (
        lambda: client.set(key, "something else"),
        lambda: client.rpush(key, "a list"),
    ):
        await client.delete(key)
        await write_foreign_value()
        results += [await versions.of(["tag"]), await versions.of(["tag"])]
    await versions.close()
    await redis_clients[0].close()

    assert [result is None for result in results] == [True, False, True, False]


async def test_a_read_does_not_wait_for_a_redis_that_has_failed(redis_url, monkeypatch):
    (cache, *_), redis_clients = caches(1, redis_url)
    called, may_answer = asyncio.Event(), asyncio.Event()
    execute = redis_clients[0].execute

    async def slow(call):
        called.set()
        await may_answer.wait()
        return await execute(call)

    monkeypatch.setattr(redis_clients[0], "execute", slow)
    monkeypatch.setattr(redis_clients[0], "_failures", 1)
    async with asyncio.timeout(10):
        assert await cache.versions.of(["tag"]) is None
        await called.wait()  # a call in the background finds out whether Redis is back
        may_answer.set()
        await until(lambda: not redis_clients[0].has_failed)
    assert await cache.versions.of(["tag"]) is not None
    await cache.versions.close()
    await redis_clients[0].close()


async def test_nothing_is_cached_while_a_change_is_sent_again(redis_url, monkeypatch):
    monkeypatch.setattr("freshly.chassis.cache.redis_versions.RETRY_INTERVAL", 0.01)
    (cache, *_), redis_clients = caches(1, redis_url)
    versions, execute = cache.versions, redis_clients[0].execute
    calls, sending, may_finish = iter(range(1000)), asyncio.Event(), asyncio.Event()

    async def fail_once_then_wait(call):
        number = next(calls)
        if number == 0:
            raise RedisUnavailable
        if number == 1:
            sending.set()
            await may_finish.wait()
        return await execute(call)

    await versions.of(["tag"])
    monkeypatch.setattr(redis_clients[0], "execute", fail_once_then_wait)
    await versions.commit_change(["tag"], "0badcafe")
    async with asyncio.timeout(10):
        await sending.wait()
        during = await versions.of(["tag"])
        may_finish.set()
        await until(lambda: versions.of(["tag"]))
    await versions.close()
    await redis_clients[0].close()

    assert during is None
