"""What processes agree on by Redis, while it is full, deaf, or holds what is not theirs."""

import asyncio

from freshly.chassis.redis.client import RedisUnavailable
from tests.conftest import until
from tests.support.caches import caches, kept
from tests.support.servers import redis_alone


async def test_a_change_is_told_over_what_somebody_else_has_written(redis_url):
    (cache, *_), links = caches(1, redis_url)
    versions = cache.versions
    before = await versions.of(["tag"])
    mark = await versions.begin_change(["tag"])
    [key] = [key async for key in links[0].client.scan_iter(f"test{id(links)}:v:*")]
    await links[0].client.delete(key)
    await links[0].client.rpush(key, "a list")
    await versions.commit_change(["tag"], mark)
    after = await versions.of(["tag"])
    await versions.close()
    await links[0].close()

    assert after is not None
    assert after != before


async def test_what_redis_did_not_hear_is_said_until_it_does(redis_url, monkeypatch):
    monkeypatch.setattr("freshly.chassis.cache.redis_versions.RETRY_INTERVAL", 0.01)
    made, links = caches(2, redis_url)
    writer, reader = (cache.versions for cache in made)
    before = await reader.of(["tag"])
    ask, deaf = links[0].execute, iter([RedisUnavailable, RedisUnavailable, RedisUnavailable])

    async def hard_of_hearing(call):
        for error in deaf:
            raise error
        return await ask(call)

    async def is_told():
        return await reader.of(["tag"]) != before

    monkeypatch.setattr(links[0], "execute", hard_of_hearing)
    await writer.commit_change(["tag"], "0badcafe")
    assert not await is_told()
    assert await writer.of(["tag"]) is None  # who knows better keeps nothing meanwhile
    await until(is_told, within=10)
    await until(lambda: writer.of(["tag"]), within=10)
    for cache, link in zip(made, links, strict=True):
        await cache.versions.close()
        await link.close()


async def test_a_redis_that_is_full_serves_nothing_old_while_a_commit_is_on_its_way():
    with redis_alone() as (url, _):
        (cache, *_), links = caches(1, url)
        versions = cache.versions
        before = await versions.of(["tag"])
        await links[0].client.config_set("maxmemory", 1)
        await versions.begin_change(["tag"])
        meanwhile = await versions.of(["tag"])
        await links[0].client.config_set("maxmemory", 0)
        after = await versions.of(["tag"])
        await versions.close()
        await links[0].close()

    assert meanwhile is None
    assert None not in {before, after}
    assert after != before


async def test_a_flushed_redis_makes_everything_stale(redis_url):
    [cache], [link] = caches(1, redis_url)
    loads = []

    async def load():
        loads.append(1)
        return kept(b"[]")

    for _ in range(2):
        await cache.read("key", ["tag"], load)
    await link.client.delete(*[key async for key in link.client.scan_iter(match="test*")])
    await cache.read("key", ["tag"], load)
    assert len(loads) == 2
    await cache.versions.close()
    await link.close()


async def test_marks_of_the_dead_are_left_out_while_others_come_and_go(redis_url, monkeypatch):
    monkeypatch.setattr("freshly.chassis.cache.redis_versions.LONGEST_COMMIT", 2)
    (cache, *_), links = caches(1, redis_url)
    versions = cache.versions
    await versions.begin_change(["tag"])  # by a process that dies
    for _ in range(3):
        await asyncio.sleep(1)
        await versions.commit_change(["tag"], await versions.begin_change(["tag"]))
    found = await versions.of(["tag"])
    await versions.close()
    await links[0].close()

    assert found is not None


async def test_what_no_version_can_be_is_forgotten(redis_url):
    (cache, *_), links = caches(1, redis_url)
    versions, client = cache.versions, links[0].client
    await versions.of(["tag"])
    [key] = [key async for key in client.scan_iter(f"test{id(links)}:v:*")]
    found = []
    for spoil in (
        lambda: client.set(key, "something else"),
        lambda: client.rpush(key, "a list"),
    ):
        await client.delete(key)
        await spoil()
        found += [await versions.of(["tag"]), await versions.of(["tag"])]
    await versions.close()
    await links[0].close()

    assert [one is None for one in found] == [True, False, True, False]


async def test_who_asks_a_redis_that_has_failed_does_not_wait_for_its_answer(
    redis_url, monkeypatch
):
    (cache, *_), links = caches(1, redis_url)
    asked, answers = asyncio.Event(), asyncio.Event()
    ask = links[0].execute

    async def slow(call):
        asked.set()
        await answers.wait()
        return await ask(call)

    monkeypatch.setattr(links[0], "execute", slow)
    monkeypatch.setattr(links[0], "_failures", 1)
    async with asyncio.timeout(10):
        assert await cache.versions.of(["tag"]) is None
        await asked.wait()  # to find out whether it is back
        answers.set()
        await until(lambda: not links[0].has_failed)
    assert await cache.versions.of(["tag"]) is not None
    await cache.versions.close()
    await links[0].close()


async def test_while_redis_is_being_told_nothing_is_kept(redis_url, monkeypatch):
    monkeypatch.setattr("freshly.chassis.cache.redis_versions.RETRY_INTERVAL", 0.01)
    (cache, *_), links = caches(1, redis_url)
    versions, ask = cache.versions, links[0].execute
    calls, telling, told = iter(range(1000)), asyncio.Event(), asyncio.Event()

    async def first_deaf_then_slow(call):
        number = next(calls)
        if number == 0:
            raise RedisUnavailable
        if number == 1:
            telling.set()
            await told.wait()
        return await ask(call)

    await versions.of(["tag"])
    monkeypatch.setattr(links[0], "execute", first_deaf_then_slow)
    await versions.commit_change(["tag"], "0badcafe")
    async with asyncio.timeout(10):
        await telling.wait()
        meanwhile = await versions.of(["tag"])
        told.set()
        await until(lambda: versions.of(["tag"]))
    await versions.close()
    await links[0].close()

    assert meanwhile is None
