"""Cached entries that processes share through Redis."""

import asyncio
import gzip
import json
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from time import monotonic, time

from freshly.chassis.cache.body import CachedBody, etag_of
from freshly.chassis.cache.versions import Versions
from freshly.chassis.redis.client import RedisClient, RedisUnavailable

POLL = 0.02  # seconds between two looks for an entry that another process loads
LONGEST_LOAD = 2.0  # seconds after which a process loads by itself


class RedisEntries:
    """Entries in Redis. Without Redis every read is a miss."""

    def __init__(self, client: RedisClient, prefix: str) -> None:
        self._client = client
        self._prefix = prefix

    async def get(self, key: str) -> tuple[Versions, CachedBody, float] | None:
        try:
            stored = await self._client.execute(lambda redis: redis.get(self._key(key)))
        except RedisUnavailable:
            return None
        return decode_entry(stored) if isinstance(stored, bytes) else None

    async def put(self, key: str, versions: Versions, body: CachedBody, ttl: timedelta) -> None:
        stored = encode_entry(versions, body, until=time() + ttl.total_seconds())
        with suppress(RedisUnavailable):
            await self._client.execute(lambda redis: redis.set(self._key(key), stored, ex=ttl))

    @asynccontextmanager
    async def loading(self, key: str) -> AsyncIterator[None]:
        lock = f"{self._prefix}:l:{key}"
        until = monotonic() + LONGEST_LOAD
        is_first = True
        while monotonic() < until:
            try:
                is_first = bool(
                    await self._client.execute(
                        lambda redis: redis.set(lock, 1, nx=True, px=int(LONGEST_LOAD * 1000))
                    )
                )
            except RedisUnavailable:
                break
            if is_first:
                break
            await asyncio.sleep(POLL)
        try:
            yield
        finally:
            if is_first:
                with suppress(RedisUnavailable):
                    await self._client.execute(lambda redis: redis.delete(lock))

    def _key(self, key: str) -> str:
        return f"{self._prefix}:e:{key}"


def encode_entry(versions: Versions, body: CachedBody, until: float) -> bytes:
    """Return a line of JSON, then the compressed body. `until` is Unix time."""
    head = {
        "versions": versions,
        "until": until,
        "etag": body.etag,
        "next": body.next_cursor,
    }
    return json.dumps(head).encode() + b"\n" + gzip.compress(body.body, 1)


def decode_entry(stored: bytes) -> tuple[Versions, CachedBody, float] | None:
    """Return None for bytes that are damaged or foreign: the ETag must fit the body."""
    line, _, rest = stored.partition(b"\n")
    try:
        head = json.loads(line)
        content = gzip.decompress(rest)
        versions = tuple(str(version) for version in head["versions"])
        body = CachedBody(content, str(head["etag"]), head["next"])
        until = float(head["until"])
    except (ValueError, KeyError, TypeError, OSError, EOFError, RecursionError, zlib.error):
        return None
    is_whole = etag_of(content, body.next_cursor) == body.etag
    return (versions, body, until) if is_whole else None
