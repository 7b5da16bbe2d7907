"""Cached entries that processes share through Redis."""

import asyncio
import gzip
import hmac
import json
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from time import monotonic, time

from freshly.chassis.cache.body import CachedBody
from freshly.chassis.cache.versions import Versions
from freshly.chassis.redis.client import RedisClient, RedisUnavailable

POLL = 0.02  # seconds between two looks for an entry that another process loads
MAC_BYTES = 32
LONGEST_LOAD = 2.0  # seconds after which a process loads by itself


class RedisEntries:
    """Entries in Redis. Without Redis every read is a miss.

    Entries decide who may see what, so each has a MAC of its key and content. A program
    that can write to Redis can neither change an entry nor move it to another key.
    """

    def __init__(self, client: RedisClient, prefix: str, secret: str) -> None:
        self._client = client
        self._prefix = prefix
        self._mac_key = hmac.digest(secret.encode(), b"cache: entries", "sha256")

    async def get(self, key: str) -> tuple[Versions, CachedBody, float] | None:
        try:
            stored = await self._client.execute(lambda redis: redis.get(self._key(key)))
        except RedisUnavailable:
            return None
        return decode_entry(self._mac_key, key, stored) if isinstance(stored, bytes) else None

    async def put(self, key: str, versions: Versions, body: CachedBody, ttl: timedelta) -> None:
        until = time() + ttl.total_seconds()
        stored = encode_entry(self._mac_key, key, versions, body, until)
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


def encode_entry(
    mac_key: bytes, key: str, versions: Versions, body: CachedBody, until: float
) -> bytes:
    """Return a MAC, a line of JSON, and the compressed body. `until` is Unix time."""
    head = {
        "versions": versions,
        "until": until,
        "etag": body.etag,
        "next": body.next_cursor,
    }
    content = json.dumps(head).encode() + b"\n" + gzip.compress(body.body, 1)
    return _mac(mac_key, key, content) + content


def decode_entry(
    mac_key: bytes, key: str, stored: bytes
) -> tuple[Versions, CachedBody, float] | None:
    """Return None for bytes that are damaged, or that Freshly did not store under this key."""
    content = stored[MAC_BYTES:]
    if not hmac.compare_digest(stored[:MAC_BYTES], _mac(mac_key, key, content)):
        return None
    line, _, rest = content.partition(b"\n")
    try:
        head = json.loads(line)
        body = CachedBody(gzip.decompress(rest), head["etag"], head["next"])
        return tuple(head["versions"]), body, head["until"]
    except (ValueError, KeyError, TypeError, OSError, EOFError, zlib.error):
        return None  # an entry of another release


def _mac(mac_key: bytes, key: str, content: bytes) -> bytes:
    return hmac.digest(mac_key, b"%s\0%s" % (key.encode(), content), "sha256")
