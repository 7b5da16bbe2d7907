"""Where several processes agree on what is current: by Redis, which may go at any time."""

import asyncio
import secrets
from collections.abc import Iterable, Sequence
from contextlib import suppress
from time import monotonic

from redis.asyncio import Redis

from freshly.chassis.cache.versions import LONGEST_COMMIT, Versions
from freshly.chassis.redis.client import (
    REST,
    CommandBatcher,
    RedisClient,
    RedisError,
    RedisUnavailable,
)

CHANGING = b"~"  # instead of a version, while a transaction is about to commit
LONGEST_MARK = 1.0  # seconds that a commit waits for it
OURS = 16  # characters of a version; a mark has one more, and whatever else is there is not ours
LIFETIME = 86400  # seconds a version is remembered

# A tag that is being changed has the marks of all who change it instead of a version, each with the
# second in which it was made, so that those whose process died are left out after a while.
MARKS = """
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
MARK = (
    MARKS
    + """
for place, key in ipairs(KEYS) do
  local mark = '~' .. string.format('%08x', now) .. ARGV[1]
  redis.call('SET', key, others[place] .. mark, 'EX', ARGV[2])
end
"""
)
EXPIRE = (
    MARKS
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
    """A random version for each tag. A tag without one was changed, or never asked for."""

    def __init__(self, link: RedisClient, batcher: CommandBatcher, prefix: str) -> None:
        self._link = link
        self._batcher = batcher
        self._prefix = f"{prefix}:v:".encode()
        self._pending: set[str] = set()  # what changed, and Redis has not been told
        self._sending: set[str] = set()  # what it is being told just now
        self._retry_task: asyncio.Task[None] | None = None

    async def of(self, tags: Sequence[str]) -> Versions | None:
        if self._pending or self._sending:
            return None  # others may be served from there; we know better
        if self._batcher.is_late:
            return None  # the database is nearer
        asked = self._batcher.execute("MGET", *map(self._key, tags))
        if self._batcher.has_failed:
            return None  # when it has answered this, it is asked as before
        try:
            found = await asked
            if None in found:
                found = await self._begin(tags)
            versions = [version for version in found if version and len(version) == OURS]
            if len(versions) == len(tags):
                return tuple(version.decode("latin-1") for version in versions)
            if spoilt := [tag for tag, one in zip(tags, found, strict=True) if not _is_known(one)]:
                await self._forget(spoilt)
        except RedisUnavailable:
            pass
        return None

    async def begin_change(self, tags: Iterable[str]) -> str:
        wanted, mark = list(tags), secrets.token_hex(4)
        # Others go on serving what they have until they see the mark. One call may be late without
        # Redis being gone, so only when it is taken for gone by all is there nobody to be told.
        until = monotonic() + LONGEST_MARK
        while self._link.is_well and monotonic() < until:
            try:
                await self._run(MARK, wanted, mark)
            except RedisError:  # a full one takes no mark, but forgets
                with suppress(RedisUnavailable):
                    await self._forget(wanted)
            except RedisUnavailable:
                continue
            break
        return mark

    async def commit_change(self, tags: Iterable[str], mark: str) -> None:
        wanted = set(tags)
        try:
            await self._expire(wanted, mark)
        except RedisUnavailable:
            self._send_later(wanted)

    async def change_unknown(self, tags: Iterable[str], mark: str) -> None:
        wanted = set(tags)
        try:
            await self._run(MARK, wanted, mark)  # for as long again
        except RedisUnavailable:
            self._send_later(wanted)

    def _send_later(self, tags: set[str]) -> None:
        self._pending |= tags
        if self._retry_task is None or self._retry_task.done():
            self._retry_task = asyncio.create_task(self._send_pending())

    async def _expire(self, tags: Iterable[str], mark: str) -> None:
        try:
            await self._run(EXPIRE, tags, mark)
        except RedisError:
            await self._forget(tags)

    async def _run(self, script: str, tags: Iterable[str], mark: str) -> None:
        keys = [self._key(tag) for tag in tags]
        arguments = (mark, LONGEST_COMMIT)
        await self._link.execute(lambda client: client.eval(script, len(keys), *keys, *arguments))

    async def _forget(self, tags: Iterable[str]) -> None:
        """Whatever is there. Works in a Redis that is full, too."""
        keys = [self._key(tag) for tag in tags]
        await self._link.execute(lambda client: client.delete(*keys))

    async def _send_pending(self) -> None:
        """Until Redis knows what has changed meanwhile, this process keeps nothing."""
        while self._pending:
            await asyncio.sleep(REST)
            # What changes again meanwhile is not said by this, and has to be said again.
            self._sending, self._pending = self._pending, set()
            try:
                await self._expire(self._sending, mark="")
            except RedisUnavailable:
                self._pending |= self._sending
            self._sending = set()

    def _key(self, tag: str) -> bytes:
        return self._prefix + tag.encode()

    async def _begin(self, tags: Sequence[str]) -> list[bytes | None]:
        """Versions for tags that have none, unless somebody else is faster."""

        async def call(client: Redis) -> list[bytes | None]:
            pipeline = client.pipeline(transaction=False)
            for tag in tags:
                pipeline.set(self._key(tag), secrets.token_hex(8), nx=True, ex=LIFETIME)
            pipeline.mget([self._key(tag) for tag in tags])
            found: list[bytes | None] = (await pipeline.execute())[-1]
            return found

        return await self._link.execute(call)

    async def close(self) -> None:
        if self._retry_task is not None:
            self._retry_task.cancel()
            with suppress(asyncio.CancelledError):
                await self._retry_task


def _is_known(version: bytes | None) -> bool:
    """Or is it of another type, or what somebody else has written?

    To take it for a version would be wrong: written twice, it would bring back what is stale.
    """
    if version is None or not version.startswith(CHANGING):
        return version is not None and len(version) == OURS
    return len(version) % (OURS + 1) == 0
