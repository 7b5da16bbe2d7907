"""Rate limit counters that processes share through Redis."""

from freshly.chassis.rate_limits.counters import Counters, MemoryCounters
from freshly.chassis.redis.client import CommandBatcher, RedisUnavailable


class RedisCounters:
    """Calls counted over all processes; by each for itself while Redis is away.

    The `limits` library has this too, at a journey for every call, which takes five times as long.
    """

    def __init__(self, batcher: CommandBatcher, prefix: str) -> None:
        self._batcher = batcher
        self._prefix = f"{prefix}:n:"
        self._alone: Counters = MemoryCounters()

    async def increment(self, key: str, expiry: int) -> int:
        place = self._prefix + key
        expiring = self._batcher.execute("SET", place, 0, "EX", expiry, "NX")  # goes first
        counted = self._batcher.execute("INCR", place)
        if self._batcher.has_failed:  # it is counted there too, if Redis only dozed
            return await self._alone.increment(key, expiry)
        try:
            count = await counted
            await expiring
            return int(count)
        except (RedisUnavailable, ValueError):
            return await self._alone.increment(key, expiry)

    async def get(self, key: str) -> int:
        if self._batcher.has_failed:
            return await self._alone.get(key)
        try:
            return int(await self._batcher.execute("GET", self._prefix + key) or 0)
        except (RedisUnavailable, ValueError):
            return await self._alone.get(key)
