"""Redis: where several processes agree on what is current, share what is kept, and count.

It is optional and may go at any time. A call waits a tenth of a second at most; when it has failed
a few times, nobody asks any more, until it has answered a ping that no request waits for. Nothing
here raises: without Redis every read is a miss, and calls are counted by each process for itself.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from functools import partial
from time import monotonic, time
from typing import Any, TypeVar

from redis import exceptions
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from freshly.chassis.cache.store import Versions, packed, unpacked
from freshly.chassis.observability.logging import get_logger
from freshly.chassis.rate_limits.policy import Counters, MemoryCounters
from freshly.chassis.resilience.awake_timeout import AwakeTimeout
from freshly.chassis.web.etags import CachedBody

logger = get_logger(__name__)

Result = TypeVar("Result")
LONGEST_CALL = 0.1  # seconds
FAILURES = 2  # in a row, until nobody asks any more
SUSPICIOUS = 0.02  # seconds that an answer is out, until readers do without it
REST = 0.5  # seconds between two looks for whether it is back
CONNECTIONS = 8  # of each process; who finds none free waits for that without blaming Redis
LARGEST_BATCH = 200  # commands
POLL = 0.02  # seconds between two looks for what another process loads
LONGEST_LOAD = 2.0  # seconds until one loads for himself
FAILING = (exceptions.RedisError, OSError, TimeoutError, ValueError)


class RedisUnavailable(Exception):
    """It did not answer, or is given a rest."""


class RedisError(RedisUnavailable):
    """It answered, with an error: it is full, or holds garbage."""


class RedisClient:
    """The connection to Redis, with a circuit breaker."""

    def __init__(self, url: str) -> None:
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=CONNECTIONS,
            timeout=LONGEST_CALL,
            socket_timeout=None,  # see Patience
            socket_connect_timeout=None,
            retry=Retry(NoBackoff(), 0),
        )
        self.client: Redis = Redis(connection_pool=pool)
        self._failures = 0
        self._failed_at = 0.0
        self._return: asyncio.Task[None] | None = None
        self._free = asyncio.Semaphore(CONNECTIONS)
        self._calls: set[AwakeTimeout] = set()  # that are on their way

    @property
    def is_well(self) -> bool:
        return self._failures < FAILURES

    @property
    def has_failed(self) -> bool:
        return self._failures > 0

    async def execute(self, call: Callable[[Redis], Awaitable[Result]]) -> Result:
        """Raises RedisGone, and nothing else that has to do with Redis."""
        if not self.is_well:
            raise RedisUnavailable
        async with self._free:
            return await self._execute(call)

    async def _execute(self, call: Callable[[Redis], Awaitable[Result]]) -> Result:
        if not self.is_well:  # since this call began to wait
            raise RedisUnavailable
        timeout = AwakeTimeout(LONGEST_CALL)
        try:
            async with timeout:
                self._calls.add(timeout)
                try:
                    answer = await call(self.client)
                finally:
                    self._calls.discard(timeout)
        except exceptions.ResponseError as error:
            raise RedisError from error
        except FAILING as error:
            self._failed(error)
            raise RedisUnavailable from error
        self._failures = 0
        return answer

    def _failed(self, error: Exception) -> None:
        """What is late at the same moment is one failure: maybe it was this process that dozed."""
        is_late = isinstance(error, TimeoutError | exceptions.TimeoutError)
        if is_late and monotonic() - self._failed_at < LONGEST_CALL:
            return
        self._failed_at = monotonic()
        self._failures += 1
        if not self.is_well and (self._return is None or self._return.done()):
            logger.warning("redis is gone", error=repr(error))
            self._return = asyncio.create_task(self._await_return())
            for timeout in self._calls:  # nobody waits any longer for what others gave up
                timeout.end()

    async def _await_return(self) -> None:
        """Apart from all requests: one that asked a silent Redis would be late for nothing."""
        while not self.is_well:
            await asyncio.sleep(REST)
            with suppress(*FAILING):
                async with asyncio.timeout(2 * LONGEST_CALL):
                    await self.client.ping()
                self._failures = 0
        logger.warning("redis is back")

    async def close(self) -> None:
        if self._return is not None:
            self._return.cancel()
            with suppress(asyncio.CancelledError):
                await self._return
        await self.client.aclose()
        await self.client.connection_pool.disconnect()


class CommandBatcher:
    """Carries commands to Redis in bunches.

    Whoever has one while a bunch is on its way goes with the next: the busier it is, the more of
    them share a journey, which costs five times what a command does.
    """

    def __init__(self, link: RedisClient) -> None:
        self._link = link
        self._waiting: list[tuple[tuple[Any, ...], asyncio.Future[Any]]] = []
        self._round_trip: asyncio.Task[None] | None = None
        self._left_at = 0.0  # when the present journey began, while there is one

    @property
    def is_late(self) -> bool:
        """Have those who asked before been waiting for suspiciously long?"""
        return self._left_at > 0 and monotonic() - self._left_at > SUSPICIOUS

    @property
    def has_failed(self) -> bool:
        """The last time that somebody asked; it may be gone."""
        return self._link.has_failed

    def execute(self, *command: Any) -> asyncio.Future[Any]:
        """The answer to a command, such as `"GET", key`. Raises RedisGone."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Any] = loop.create_future()
        self._waiting.append((command, answer))
        if self._round_trip is None or self._round_trip.done():
            self._round_trip = loop.create_task(self._flush())
        return answer

    async def _flush(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:LARGEST_BATCH], self._waiting[LARGEST_BATCH:]
            commands = [command for command, _ in batch]
            self._left_at = monotonic()
            try:
                found = await self._link.execute(partial(_execute_pipeline, commands))
            except Exception as error:  # noqa: BLE001 - it is for those who asked
                found = [error] * len(batch)
            finally:
                self._left_at = 0.0
            for (_, answer), result in zip(batch, found, strict=True):
                if answer.done():  # who asked has left
                    continue
                if isinstance(result, Exception):
                    answer.set_exception(RedisUnavailable(repr(result)))
                    answer.exception()  # seen, even if nobody waits for it
                else:
                    answer.set_result(result)

    async def close(self) -> None:
        if self._round_trip is not None:
            self._round_trip.cancel()
            with suppress(asyncio.CancelledError):
                await self._round_trip


async def _execute_pipeline(commands: Sequence[tuple[Any, ...]], client: Redis) -> list[Any]:
    pipeline = client.pipeline(transaction=False)
    for command in commands:
        pipeline.execute_command(*command)
    found: list[Any] = await pipeline.execute(raise_on_error=False)
    return found


class RedisEntries:
    """What one process has kept, for the others."""

    def __init__(self, link: RedisClient, prefix: str) -> None:
        self._link = link
        self._prefix = prefix

    async def get(self, key: str) -> tuple[Versions, CachedBody, float] | None:
        try:
            stored = await self._link.execute(lambda client: client.get(self._key(key)))
        except RedisUnavailable:
            return None
        return unpacked(stored) if isinstance(stored, bytes) else None

    async def put(self, key: str, versions: Versions, kept: CachedBody, ttl: timedelta) -> None:
        stored = packed(versions, kept, until=time() + ttl.total_seconds())
        with suppress(RedisUnavailable):
            await self._link.execute(lambda client: client.set(self._key(key), stored, ex=ttl))

    @asynccontextmanager
    async def loading(self, key: str) -> AsyncIterator[None]:
        lock = f"{self._prefix}:l:{key}"
        until = monotonic() + LONGEST_LOAD
        first = True
        while monotonic() < until:
            try:
                first = bool(
                    await self._link.execute(
                        lambda client: client.set(lock, 1, nx=True, px=int(LONGEST_LOAD * 1000))
                    )
                )
            except RedisUnavailable:
                break
            if first:
                break
            await asyncio.sleep(POLL)
        try:
            yield
        finally:
            if first:
                with suppress(RedisUnavailable):
                    await self._link.execute(lambda client: client.delete(lock))

    def _key(self, key: str) -> str:
        return f"{self._prefix}:e:{key}"


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
