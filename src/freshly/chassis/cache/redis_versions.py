"""Cache versions that all processes share through Redis. Redis is optional.

The state of a tag is in its key: a version, the markers of the transactions that change it now, or
nothing. docs/architecture/caching.md has the table of states.
"""

import asyncio
import secrets
from collections.abc import Iterable, Sequence
from contextlib import suppress
from time import monotonic

from redis.asyncio import Redis

from freshly.chassis.cache.versions import LONGEST_COMMIT, Versions
from freshly.chassis.redis.client import (
    RETRY_INTERVAL,
    CommandBatcher,
    RedisClient,
    RedisError,
    RedisUnavailable,
)

CHANGING = b"~"  # begins a marker, which stands in place of a version
MARKER_TIMEOUT = 1.0  # seconds that a commit waits for Redis to take its marker
# Hex digits of a version. A marker has one character more; any other value is foreign.
VERSION_LENGTH = 16
VERSION_TTL = 86400  # seconds

# Several transactions may change one tag, so its key holds a marker for each. A marker has the
# second in which it was made, so that the marker of a process that died expires.
OTHER_MARKERS = """
local now = tonumber(redis.call('TIME')[1])
local others = {}
for place, key in ipairs(KEYS) do
  local kept = ''
  for second, name in string.gmatch(redis.call('GET', key) or '', '~(%x%x%x%x%x%x%x%x)(%x+)') do
    if name ~= ARGV[1] and now - tonumber(second, 16) < tonumber(ARGV[2]) then
      kept = kept .. '~' .. second .. name
    end
  end
  others[place] = kept
end
"""
ADD_MARKER = (
    OTHER_MARKERS
    + """
for place, key in ipairs(KEYS) do
  local marker = '~' .. string.format('%08x', now) .. ARGV[1]
  redis.call('SET', key, others[place] .. marker, 'EX', ARGV[2])
end
"""
)
REMOVE_MARKER = (
    OTHER_MARKERS
    + """
for place, key in ipairs(KEYS) do
  if others[place] == '' then
    redis.call('DEL', key)
  else
    redis.call('SET', key, others[place], 'EX', ARGV[2])
  end
end
"""
)


class RedisVersions:
    """A random version for each tag. A tag without one was changed, or was never read."""

    def __init__(self, client: RedisClient, batcher: CommandBatcher, prefix: str) -> None:
        self._client = client
        self._batcher = batcher
        self._prefix = f"{prefix}:v:".encode()
        self._pending: set[str] = set()  # tags whose change Redis does not know yet
        self._sending: set[str] = set()  # tags that are being sent to Redis now
        self._retry_task: asyncio.Task[None] | None = None

    async def of(self, tags: Sequence[str]) -> Versions | None:
        if self._pending or self._sending:
            return None  # Redis still has the versions from before our change
        if self._batcher.is_late:
            return None  # reading from the database is faster now
        versions_read = self._batcher.execute("MGET", *map(self._key, tags))
        if self._batcher.has_failed:
            return None  # this command is the test: once Redis answers it, reads use Redis again
        try:
            found = await versions_read
            if None in found:
                found = await self._create(tags)
            versions = [version for version in found if version and len(version) == VERSION_LENGTH]
            if len(versions) == len(tags):
                return tuple(version.decode("latin-1") for version in versions)
            if damaged := [tag for tag, one in zip(tags, found, strict=True) if not _is_valid(one)]:
                await self._delete(damaged)
        except RedisUnavailable:
            pass
        return None

    async def begin_change(self, tags: Iterable[str]) -> str:
        changed, marker = list(tags), secrets.token_hex(4)
        # Other processes serve their entries until they see the marker. A single call may be late
        # while Redis is up, so try until the client's circuit breaker opens. Then no process reads
        # versions from Redis, and no marker is needed.
        until = monotonic() + MARKER_TIMEOUT
        while self._client.is_available and monotonic() < until:
            try:
                await self._run(ADD_MARKER, changed, marker)
            except RedisError:  # a full Redis takes no marker, but it can delete
                with suppress(RedisUnavailable):
                    await self._delete(changed)
            except RedisUnavailable:
                continue
            break
        return marker

    async def commit_change(self, tags: Iterable[str], marker: str) -> None:
        changed = set(tags)
        try:
            await self._remove_marker(changed, marker)
        except RedisUnavailable:
            self._send_later(changed)

    async def change_unknown(self, tags: Iterable[str], marker: str) -> None:
        changed = set(tags)
        try:
            await self._run(ADD_MARKER, changed, marker)  # restarts its LONGEST_COMMIT
        except RedisUnavailable:
            self._send_later(changed)

    def _send_later(self, tags: set[str]) -> None:
        self._pending |= tags
        if self._retry_task is None or self._retry_task.done():
            self._retry_task = asyncio.create_task(self._send_pending())

    async def _remove_marker(self, tags: Iterable[str], marker: str) -> None:
        try:
            await self._run(REMOVE_MARKER, tags, marker)
        except RedisError:
            await self._delete(tags)

    async def _run(self, script: str, tags: Iterable[str], marker: str) -> None:
        keys = [self._key(tag) for tag in tags]
        arguments = (marker, LONGEST_COMMIT)
        await self._client.execute(lambda redis: redis.eval(script, len(keys), *keys, *arguments))

    async def _delete(self, tags: Iterable[str]) -> None:
        """Delete the keys, whatever they hold. A full Redis can do that too."""
        keys = [self._key(tag) for tag in tags]
        await self._client.execute(lambda redis: redis.delete(*keys))

    async def _send_pending(self) -> None:
        """Send the pending changes to Redis. Until it has them, this process caches nothing."""
        while self._pending:
            await asyncio.sleep(RETRY_INTERVAL)
            # A tag that changes again while it is being sent has to be sent once more.
            self._sending, self._pending = self._pending, set()
            try:
                await self._remove_marker(self._sending, marker="")
            except RedisUnavailable:
                self._pending |= self._sending
            self._sending = set()

    def _key(self, tag: str) -> bytes:
        return self._prefix + tag.encode()

    async def _create(self, tags: Sequence[str]) -> list[bytes | None]:
        """Create versions for tags that have none, unless another process was faster."""

        async def call(redis: Redis) -> list[bytes | None]:
            pipeline = redis.pipeline(transaction=False)
            for tag in tags:
                pipeline.set(self._key(tag), secrets.token_hex(8), nx=True, ex=VERSION_TTL)
            pipeline.mget([self._key(tag) for tag in tags])
            found: list[bytes | None] = (await pipeline.execute())[-1]
            return found

        return await self._client.execute(call)

    async def close(self) -> None:
        if self._retry_task is not None:
            self._retry_task.cancel()
            with suppress(asyncio.CancelledError):
                await self._retry_task


def _is_valid(version: bytes | None) -> bool:
    """Return whether the value is a version or markers of ours.

    A foreign value must not count as a version: if it were written again, stale entries would be
    served again.
    """
    if version is None or not version.startswith(CHANGING):
        return version is not None and len(version) == VERSION_LENGTH
    return len(version) % (VERSION_LENGTH + 1) == 0
