"""The cache alone, in memory and in Redis."""

import asyncio
from datetime import timedelta
from time import monotonic, time

import pytest

from freshly.chassis.cache.body import CachedBody, etag_of
from freshly.chassis.cache.redis_entries import decode_entry, encode_entry
from freshly.chassis.cache.store import Cache, LocalEntries
from freshly.chassis.cache.versions import MemoryVersions
from tests.support.caches import cached_body, caches


@pytest.fixture(params=["memory", "redis"])
async def four_caches(request):
    """The caches of four processes in Redis, or four times the one cache in memory."""
    url = request.getfixturevalue("redis_url") if request.param == "redis" else None
    distinct_caches, redis_clients = caches(4, url)
    yield distinct_caches * (4 // len(distinct_caches))
    for cache in distinct_caches:
        if redis_clients:
            await cache.versions.close()
    for redis_client in redis_clients:
        await redis_client.close()


async def test_two_hundred_simultaneous_reads_load_once(four_caches):
    loads = []

    async def load():
        loads.append(1)
        await asyncio.sleep(0.05)
        return cached_body(b"[1]")

    entries = await asyncio.gather(
        *(four_caches[n % 4].read("key", ["a", "b"], load) for n in range(200))
    )

    assert len(loads) == 1
    assert {entry.body for entry in entries} == {b"[1]"}


async def test_a_read_that_a_commit_overtakes_is_not_cached(four_caches):
    reading, committed = asyncio.Event(), asyncio.Event()

    async def slow():
        reading.set()
        await committed.wait()
        return cached_body(b"old")

    async def fast():
        return cached_body(b"new")

    overtaken = asyncio.create_task(four_caches[0].read("key", ["tag"], slow))
    await reading.wait()
    marker = await four_caches[1].versions.begin_change(["tag"])
    await four_caches[1].versions.commit_change(["tag"], marker)
    # A new read must not get what the overtaken read is still loading.
    after = await asyncio.wait_for(four_caches[0].read("key", ["tag"], fast), 5)
    assert not overtaken.done()  # and the new read did not wait for it
    committed.set()

    assert (await overtaken).body == b"old"
    assert after.body == b"new"
    for cache in four_caches:
        assert (await cache.read("key", ["tag"], fast)).body == b"new"


async def test_nothing_is_cached_during_a_commit(four_caches):
    loads = []

    async def load():
        loads.append(1)
        return cached_body(b"[]")

    marker = await four_caches[0].versions.begin_change(["tag"])
    await four_caches[1].read("key", ["tag"], load)
    await four_caches[1].read("key", ["tag"], load)
    assert len(loads) == 2
    await four_caches[0].versions.commit_change(["tag"], marker)
    await four_caches[1].read("key", ["tag"], load)
    await four_caches[2].read("key", ["tag"], load)
    assert len(loads) == 3


async def test_a_commit_leaves_the_marker_of_another_commit(four_caches):
    """Two commits overlap. Nothing is cached until both have ended, in either order."""
    loads = []

    async def load():
        loads.append(1)
        return cached_body(b"[]")

    for first_to_end in (0, 1):
        markers = [await cache.versions.begin_change(["tag"]) for cache in four_caches[:2]]
        await four_caches[first_to_end].versions.commit_change(["tag"], markers[first_to_end])
        before = len(loads)
        for _ in range(2):
            await four_caches[2].read("key", ["tag"], load)
        assert len(loads) == before + 2
        last = 1 - first_to_end
        await four_caches[last].versions.commit_change(["tag"], markers[last])
        for _ in range(2):
            await four_caches[2].read("key", ["tag"], load)
        assert len(loads) == before + 3


async def test_nothing_is_cached_for_a_while_after_a_commit_of_unknown_outcome(
    four_caches, monkeypatch
):
    monkeypatch.setattr("freshly.chassis.cache.versions.LONGEST_COMMIT", 1)
    monkeypatch.setattr(
        "freshly.chassis.cache.redis_versions.LONGEST_COMMIT", 1
    )  # Redis counts whole seconds
    loads = []

    async def load():
        loads.append(1)
        return cached_body(b"[]")

    await four_caches[0].read("key", ["tag"], load)
    marker = await four_caches[1].versions.begin_change(["tag"])
    await four_caches[1].versions.change_unknown(["tag"], marker)
    for _ in range(2):
        await four_caches[0].read("key", ["tag"], load)
    assert len(loads) == 3
    await asyncio.sleep(1.1)
    for _ in range(2):
        await four_caches[0].read("key", ["tag"], load)
    assert len(loads) == 4


async def test_a_waiting_read_is_served_although_the_loading_read_is_cancelled(four_caches):
    loading = asyncio.Event()

    async def load_forever():
        loading.set()
        await asyncio.sleep(3600)

    async def load():
        return cached_body(b"[]")

    loader = asyncio.create_task(four_caches[0].read("key", ["tag"], load_forever))
    await loading.wait()
    waiting = asyncio.create_task(four_caches[0].read("key", ["tag"], load))
    await asyncio.sleep(0.01)
    loader.cancel()

    assert (await asyncio.wait_for(waiting, 5)).body == b"[]"


async def test_a_failed_load_fails_all_waiting_reads_and_the_next_read_loads_again(four_caches):
    async def broken():
        await asyncio.sleep(0.01)
        raise LookupError

    async def load():
        return cached_body(b"[]")

    results = await asyncio.gather(
        *(four_caches[0].read("key", ["tag"], broken) for _ in range(3)), return_exceptions=True
    )
    assert [type(result) for result in results] == [LookupError] * 3
    assert (await four_caches[0].read("key", ["tag"], load)).body == b"[]"


async def test_memory_is_bounded_and_the_least_recently_used_entry_is_evicted_first():
    cache = Cache(MemoryVersions(), LocalEntries(), max_bytes=100_000)
    loads = []

    def loading(key):
        async def load():
            loads.append(key)
            return cached_body(b"x" * 10_000)

        return load

    for key in "abcd":
        await cache.read(key, ["tag"], loading(key))
    assert cache.size <= 100_000
    await cache.read("a", ["tag"], loading("a"))
    await cache.read("e", ["tag"], loading("e"))
    for key in "ab":
        await cache.read(key, ["tag"], loading(key))
    assert loads == ["a", "b", "c", "d", "e", "b"]


async def test_an_entry_that_is_too_large_is_not_cached_and_evicts_nothing():
    cache = Cache(MemoryVersions(), LocalEntries(), max_bytes=10_000)
    loads = []

    def loading(length):
        async def load():
            loads.append(length)
            return cached_body(b"x" * length)

        return load

    for key, length in (("short", 100), ("long", 10_000), ("short", 100), ("long", 10_000)):
        entry = await cache.read(key, ["tag"], loading(length))
        assert len(entry.body) == length
    assert loads == [100, 10_000, 10_000]


async def test_an_entry_that_is_loaded_again_takes_no_more_memory():
    cache = Cache(MemoryVersions(), LocalEntries())

    async def load():
        return cached_body(b"x" * 10_000)

    sizes = set()
    for _ in range(3):
        await cache.read("key", ["tag"], load)
        await cache.versions.commit_change(["tag"], await cache.versions.begin_change(["tag"]))
        sizes.add(cache.size)
    assert len(sizes) == 1


async def test_entries_are_stale_after_too_many_tags_were_changed(monkeypatch):
    monkeypatch.setattr("freshly.chassis.cache.versions.MAX_TAGS", 1)
    cache = Cache(MemoryVersions(), LocalEntries())
    loads = []

    async def load():
        loads.append(1)
        return cached_body(b"[]")

    await cache.read("key", ["tag"], load)
    for tag in ("tag", "other"):  # one tag more than MAX_TAGS
        await cache.versions.commit_change([tag], await cache.versions.begin_change([tag]))
    await cache.read("key", ["tag"], load)
    assert len(loads) == 2


async def test_an_entry_is_cached_only_until_its_ttl_ends():
    cache = Cache(MemoryVersions(), LocalEntries(), ttl=timedelta(seconds=0))
    loads = []

    async def load():
        loads.append(1)
        return cached_body(b"[]")

    for _ in range(2):
        await cache.read("key", ["tag"], load)
    assert len(loads) == 2


KEY = b"the key of the MAC"


def encoded(key="mine", body=b"[]", mac_key=KEY):
    return encode_entry(mac_key, key, ("1", "2"), cached_body(body), until=1.5)


@pytest.mark.parametrize(
    "stored",
    [
        b"",
        b"{}",
        b"null\n",
        b'{"versions": [1]}\nnot compressed',
        b"\x80\x04\x95pickle",
        pytest.param(encoded()[:-3], id="truncated"),
        pytest.param(encoded()[32:], id="without a MAC"),
        pytest.param(encoded()[:32] + encoded(body=b"[1]")[32:], id="another content"),
        pytest.param(encoded("another's"), id="of another key"),
        pytest.param(encoded(mac_key=b"a guess"), id="by another secret"),
    ],
)
def test_an_entry_that_freshly_did_not_store_under_this_key_is_a_miss(stored):
    assert decode_entry(KEY, "mine", stored) is None


def test_an_encoded_entry_is_decoded_unchanged():
    original = CachedBody(b'[{"a":1}]', etag_of(b'[{"a":1}]', "cursor"), "cursor")
    stored = encode_entry(KEY, "mine", ("1", "2"), original, until=1.5)
    versions, decoded, until = decode_entry(KEY, "mine", stored)
    assert until == 1.5
    assert (versions, decoded.body, decoded.etag, decoded.next_cursor) == (
        ("1", "2"),
        original.body,
        original.etag,
        "cursor",
    )


async def test_an_entry_cached_by_another_process_keeps_its_age(redis_url, monkeypatch):
    two_caches, redis_clients = caches(2, redis_url)
    for cache in two_caches:
        cache.ttl = timedelta(seconds=60)
    loads = []

    async def load():
        loads.append(1)
        return cached_body(b"[]")

    def move_clocks_on(seconds):
        monkeypatch.setattr("freshly.chassis.cache.store.time", lambda: time() + seconds)
        monkeypatch.setattr("freshly.chassis.cache.store.monotonic", lambda: monotonic() + seconds)

    await two_caches[0].read("key", ["tag"], load)
    move_clocks_on(40)
    await two_caches[1].read("key", ["tag"], load)  # from Redis
    loads_at_40 = len(loads)
    redis = redis_clients[0].client
    await redis.delete(*[key async for key in redis.scan_iter("test*") if b":v:" not in key])
    move_clocks_on(70)
    await two_caches[1].read("key", ["tag"], load)
    for cache, redis_client in zip(two_caches, redis_clients, strict=True):
        await cache.versions.close()
        await redis_client.close()

    assert loads_at_40 == 1
    assert len(loads) == 2
