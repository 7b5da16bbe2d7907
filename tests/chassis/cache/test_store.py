"""The cache by itself, in memory and in Redis."""

import asyncio
from datetime import timedelta

import pytest

from freshly.chassis.cache.body import CachedBody, etag_of
from freshly.chassis.cache.redis_entries import decode_entry, encode_entry
from freshly.chassis.cache.store import Cache, LocalEntries
from freshly.chassis.cache.versions import MemoryVersions
from tests.support.caches import caches, kept


@pytest.fixture(params=["memory", "redis"])
async def four(request):
    """Of four processes, or one that is alone."""
    url = request.getfixturevalue("redis_url") if request.param == "redis" else None
    made, links = caches(4, url)
    yield made * (4 // len(made))
    for cache in made:
        if links:
            await cache.versions.close()
    for link in links:
        await link.close()


async def test_two_hundred_who_come_at_once_cause_one_load(four):
    loads = []

    async def load():
        loads.append(1)
        await asyncio.sleep(0.05)
        return kept(b"[1]")

    entries = await asyncio.gather(*(four[n % 4].read("key", ["a", "b"], load) for n in range(200)))

    assert len(loads) == 1
    assert {entry.body for entry in entries} == {b"[1]"}


async def test_a_reader_overtaken_by_a_commit_leaves_nothing_behind(four):
    reading, committed = asyncio.Event(), asyncio.Event()

    async def slow():
        reading.set()
        await committed.wait()
        return kept(b"old")

    async def fast():
        return kept(b"new")

    overtaken = asyncio.create_task(four[0].read("key", ["tag"], slow))
    await reading.wait()
    mark = await four[1].versions.begin_change(["tag"])
    await four[1].versions.commit_change(["tag"], mark)
    # Whoever comes now must not be given what the overtaken one is still reading.
    after = await asyncio.wait_for(four[0].read("key", ["tag"], fast), 5)
    assert not overtaken.done()  # and need not wait for it
    committed.set()

    assert (await overtaken).body == b"old"
    assert after.body == b"new"
    for cache in four:
        assert (await cache.read("key", ["tag"], fast)).body == b"new"


async def test_while_a_commit_is_on_its_way_nothing_is_kept(four):
    loads = []

    async def load():
        loads.append(1)
        return kept(b"[]")

    mark = await four[0].versions.begin_change(["tag"])
    await four[1].read("key", ["tag"], load)
    await four[1].read("key", ["tag"], load)
    assert len(loads) == 2
    await four[0].versions.commit_change(["tag"], mark)
    await four[1].read("key", ["tag"], load)
    await four[2].read("key", ["tag"], load)
    assert len(loads) == 3


async def test_a_commit_leaves_the_mark_of_another_one(four):
    """Neither the one that began first nor the one that ends first."""
    loads = []

    async def load():
        loads.append(1)
        return kept(b"[]")

    for first_to_end in (0, 1):
        marks = [await one.versions.begin_change(["tag"]) for one in four[:2]]
        await four[first_to_end].versions.commit_change(["tag"], marks[first_to_end])
        before = len(loads)
        for _ in range(2):
            await four[2].read("key", ["tag"], load)
        assert len(loads) == before + 2
        last = 1 - first_to_end
        await four[last].versions.commit_change(["tag"], marks[last])
        for _ in range(2):
            await four[2].read("key", ["tag"], load)
        assert len(loads) == before + 3


async def test_a_commit_whose_end_nobody_saw_is_awaited(four, monkeypatch):
    monkeypatch.setattr("freshly.chassis.cache.versions.LONGEST_COMMIT", 0.3)
    monkeypatch.setattr(
        "freshly.chassis.cache.redis_versions.LONGEST_COMMIT", 1
    )  # Redis counts whole seconds
    loads = []

    async def load():
        loads.append(1)
        return kept(b"[]")

    await four[0].read("key", ["tag"], load)
    mark = await four[1].versions.begin_change(["tag"])
    await four[1].versions.change_unknown(["tag"], mark)
    for _ in range(2):
        await four[0].read("key", ["tag"], load)
    assert len(loads) == 3
    await asyncio.sleep(1.1)
    for _ in range(2):
        await four[0].read("key", ["tag"], load)
    assert len(loads) == 4


async def test_who_waits_is_served_even_if_the_one_who_loads_goes_away(four):
    loading = asyncio.Event()

    async def for_ever():
        loading.set()
        await asyncio.sleep(3600)

    async def load():
        return kept(b"[]")

    leaving = asyncio.create_task(four[0].read("key", ["tag"], for_ever))
    await loading.wait()
    waiting = asyncio.create_task(four[0].read("key", ["tag"], load))
    await asyncio.sleep(0.01)
    leaving.cancel()

    assert (await asyncio.wait_for(waiting, 5)).body == b"[]"


async def test_what_fails_to_load_fails_for_all_who_wait_and_is_tried_again(four):
    async def broken():
        await asyncio.sleep(0.01)
        raise LookupError

    async def load():
        return kept(b"[]")

    results = await asyncio.gather(
        *(four[0].read("key", ["tag"], broken) for _ in range(3)), return_exceptions=True
    )
    assert [type(result) for result in results] == [LookupError] * 3
    assert (await four[0].read("key", ["tag"], load)).body == b"[]"


async def test_memory_is_bounded_and_the_longest_unused_goes_first():
    cache = Cache(MemoryVersions(), LocalEntries(), max_bytes=100_000)
    loads = []

    def loading(key):
        async def load():
            loads.append(key)
            return kept(b"x" * 10_000)

        return load

    for key in "abcd":
        await cache.read(key, ["tag"], loading(key))
    assert cache.size <= 100_000
    await cache.read("a", ["tag"], loading("a"))
    await cache.read("e", ["tag"], loading("e"))
    for key in "ab":
        await cache.read(key, ["tag"], loading(key))
    assert loads == ["a", "b", "c", "d", "e", "b"]


async def test_what_is_too_long_to_keep_drives_nothing_out():
    cache = Cache(MemoryVersions(), LocalEntries(), max_bytes=10_000)
    loads = []

    def loading(length):
        async def load():
            loads.append(length)
            return kept(b"x" * length)

        return load

    for key, length in (("short", 100), ("long", 10_000), ("short", 100), ("long", 10_000)):
        entry = await cache.read(key, ["tag"], loading(length))
        assert len(entry.body) == length
    assert loads == [100, 10_000, 10_000]


async def test_what_is_loaded_anew_takes_no_more_room():
    cache = Cache(MemoryVersions(), LocalEntries())

    async def load():
        return kept(b"x" * 10_000)

    sizes = set()
    for _ in range(3):
        await cache.read("key", ["tag"], load)
        await cache.versions.commit_change(["tag"], await cache.versions.begin_change(["tag"]))
        sizes.add(cache.size)
    assert len(sizes) == 1


async def test_when_versions_are_forgotten_all_is_stale(monkeypatch):
    monkeypatch.setattr("freshly.chassis.cache.versions.MAX_TAGS", 1)
    cache = Cache(MemoryVersions(), LocalEntries())
    loads = []

    async def load():
        loads.append(1)
        return kept(b"[]")

    await cache.read("key", ["tag"], load)
    for tag in ("tag", "other"):  # one more than are remembered
        await cache.versions.commit_change([tag], await cache.versions.begin_change([tag]))
    await cache.read("key", ["tag"], load)
    assert len(loads) == 2


async def test_an_answer_is_kept_for_its_time_only():
    cache = Cache(MemoryVersions(), LocalEntries(), ttl=timedelta(seconds=0))
    loads = []

    async def load():
        loads.append(1)
        return kept(b"[]")

    for _ in range(2):
        await cache.read("key", ["tag"], load)
    assert len(loads) == 2


@pytest.mark.parametrize(
    "stored",
    [
        b"",
        b"{}",
        b"null\n",
        b'{"versions": [1]}\nnot compressed',
        b"\x80\x04\x95pickle",
        pytest.param(encode_entry(("1",), kept(b"[]"), 0)[:-3], id="cut off"),
        pytest.param(
            encode_entry(("1",), CachedBody(b"[]", "of something else"), 0), id="of something else"
        ),
    ],
)
def test_what_is_not_ours_or_damaged_is_as_good_as_nothing(stored):
    assert decode_entry(stored) is None


def test_what_is_stored_is_json_and_comes_back_whole():
    original = CachedBody(b'[{"a":1}]', etag_of(b'[{"a":1}]', "cursor"), "cursor")
    versions, back, until = decode_entry(encode_entry(("1", "2"), original, until=1.5))
    assert until == 1.5
    assert (versions, back.body, back.etag, back.next_cursor) == (
        ("1", "2"),
        original.body,
        original.etag,
        "cursor",
    )


async def test_what_another_process_has_kept_becomes_no_younger(redis_url):
    caches_, links = caches(2, redis_url)
    for cache in caches_:
        cache.ttl = timedelta(seconds=1)
    loads = []

    async def load():
        loads.append(1)
        return kept(b"[]")

    await caches_[0].read("key", ["tag"], load)
    await asyncio.sleep(0.6)
    await caches_[1].read("key", ["tag"], load)  # from Redis
    assert len(loads) == 1
    await asyncio.sleep(0.6)
    await caches_[1].read("key", ["tag"], load)
    assert len(loads) == 2
    for cache, link in zip(caches_, links, strict=True):
        await cache.versions.close()
        await link.close()
