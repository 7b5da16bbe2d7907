"""The Redis client, with a circuit breaker and batching.

Redis is optional and may be gone at any time. A call waits at most 0.1 s. After two failures in a
row the circuit breaker opens: no request waits for Redis, until it has answered a ping in the
background. Without Redis every cache read is a miss, and each process counts calls by itself.

A process without requests pings Redis too, so that each process knows the state of Redis.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from contextvars import Context
from functools import partial
from time import monotonic
from typing import Any, TypeVar

from redis import exceptions
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from freshly.chassis.observability.logging import get_logger
from freshly.chassis.observability.metrics import redis_up
from freshly.chassis.observability.tracing import Leaf, tracing
from freshly.chassis.resilience.awake_timeout import AwakeTimeout

logger = get_logger(__name__)

Result = TypeVar("Result")
CALL_TIMEOUT = 0.1  # seconds
MAX_FAILURES = 2  # in a row, until the circuit breaker opens
LATE_AFTER = 0.02  # seconds after which readers no longer wait for a batch
RETRY_INTERVAL = 0.5  # seconds between two pings while Redis is away
PING_INTERVAL = 1.0  # seconds between two pings of a Redis that answers
# Connections of each process. A wait for a free one is not a failure of Redis.
MAX_CONNECTIONS = 8
MAX_BATCH = 200  # commands
# uvloop raises RuntimeError for a connection that Redis has closed while it was not in use.
FAILING = (exceptions.RedisError, OSError, TimeoutError, ValueError, RuntimeError)


class RedisUnavailable(Exception):
    """Redis did not answer, or the circuit breaker is open."""


class RedisError(RedisUnavailable):
    """Redis answered with an error: it is full, or a key has a foreign type."""


class RedisClient:
    """Connections to Redis, with a circuit breaker."""

    def __init__(self, url: str) -> None:
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=MAX_CONNECTIONS,
            timeout=CALL_TIMEOUT,
            socket_timeout=None,  # AwakeTimeout ends the call instead
            socket_connect_timeout=None,
            retry=Retry(NoBackoff(), 0),
        )
        self.client: Redis = Redis(connection_pool=pool)
        self._failures = 0
        self._failed_at = 0.0
        self._ping_task: asyncio.Task[None] | None = None
        self._free = asyncio.Semaphore(MAX_CONNECTIONS)
        self._calls: set[AwakeTimeout] = set()  # calls that Redis has not answered yet

    @property
    def is_available(self) -> bool:
        return self._failures < MAX_FAILURES

    @property
    def has_failed(self) -> bool:
        return self._failures > 0

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Ask Redis now and then in the background, so that `is_available` is true without calls.

        The first answer, or its absence, is known when the context opens.
        """
        await self._ask()
        watch = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            watch.cancel()
            with suppress(asyncio.CancelledError):
                await watch

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(PING_INTERVAL)
            await self._ask()

    async def _ask(self) -> None:
        """Ping until Redis answers or the circuit breaker opens."""
        while self.is_available:
            with suppress(RedisUnavailable):
                await self.execute(_ping)
                redis_up.labels("cache").set(1)
                return
        redis_up.labels("cache").set(0)

    async def execute(self, call: Callable[[Redis], Awaitable[Result]]) -> Result:
        """Return what the call returns. Raises RedisUnavailable, and no other error of Redis."""
        if not self.is_available:
            raise RedisUnavailable
        with tracing.call("redis", db__system__name="redis"):
            async with self._free:
                return await self._execute(call)

    async def _execute(self, call: Callable[[Redis], Awaitable[Result]]) -> Result:
        if not self.is_available:  # the breaker opened while this call waited
            raise RedisUnavailable
        timeout = AwakeTimeout(CALL_TIMEOUT)
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
        """Count a failure. Calls that time out together count once: this process may be slow."""
        is_late = isinstance(error, TimeoutError | exceptions.TimeoutError)
        if is_late and monotonic() - self._failed_at < CALL_TIMEOUT:
            return
        self._failed_at = monotonic()
        self._failures += 1
        if not self.is_available and (self._ping_task is None or self._ping_task.done()):
            logger.warning("redis is gone", error=repr(error))
            self._ping_task = asyncio.create_task(self._ping_until_back())
            for timeout in self._calls:  # no other call waits for the full timeout
                timeout.end()

    async def _ping_until_back(self) -> None:
        """Ping Redis until it answers. No request waits for this."""
        while not self.is_available:
            await asyncio.sleep(RETRY_INTERVAL)
            with suppress(*FAILING):
                async with asyncio.timeout(2 * CALL_TIMEOUT):
                    await self.client.ping()
                self._failures = 0
        redis_up.labels("cache").set(1)
        logger.warning("redis is back")

    async def close(self) -> None:
        if self._ping_task is not None:
            self._ping_task.cancel()
            with suppress(asyncio.CancelledError):
                await self._ping_task
        await self.client.aclose()
        await self.client.connection_pool.disconnect()


async def _ping(client: Redis) -> None:
    await client.ping()


class CommandBatcher:
    """Sends commands to Redis in batches.

    Commands that come while a batch is on its way go with the next one. The busier the process,
    the more commands share a round trip, which costs five times as much as a command.
    """

    def __init__(self, client: RedisClient) -> None:
        self._client = client
        self._waiting: list[tuple[tuple[Any, ...], asyncio.Future[Any]]] = []
        self._round_trip: asyncio.Task[None] | None = None
        self._sent_at = 0.0  # when the current batch was sent; 0 without one

    @property
    def is_late(self) -> bool:
        """True if the current batch has been waiting longer than usual."""
        return self._sent_at > 0 and monotonic() - self._sent_at > LATE_AFTER

    @property
    def has_failed(self) -> bool:
        """True if the last call failed, so that Redis may be gone."""
        return self._client.has_failed

    def execute(self, *command: Any) -> asyncio.Future[Any]:
        """Return a future of the result of a command such as `"GET", key`.

        The future raises RedisUnavailable.
        """
        loop = asyncio.get_running_loop()
        result: asyncio.Future[Any] = loop.create_future()
        self._waiting.append((command, result))
        leaf = tracing.leaf(str(command[0]), db__system__name="redis") if tracing.is_on else None
        if leaf is not None:
            result.add_done_callback(partial(_end_leaf, leaf))
        if self._round_trip is None or self._round_trip.done():
            # In a context of its own: a batch has commands of several requests.
            self._round_trip = loop.create_task(self._flush(), context=Context())
        return result

    async def _flush(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:MAX_BATCH], self._waiting[MAX_BATCH:]
            commands = [command for command, _ in batch]
            self._sent_at = monotonic()
            try:
                results: list[Any] = await self._client.execute(
                    partial(_execute_pipeline, commands)
                )
            except Exception as error:  # noqa: BLE001 - each caller gets it
                results = [error] * len(batch)
            finally:
                self._sent_at = 0.0
            for (_, future), result in zip(batch, results, strict=True):
                if future.done():  # its caller was cancelled
                    continue
                if isinstance(result, Exception):
                    future.set_exception(RedisUnavailable(repr(result)))
                    future.exception()  # marks it as retrieved, even if no caller waits for it
                else:
                    future.set_result(result)

    async def close(self) -> None:
        if self._round_trip is not None:
            self._round_trip.cancel()
            with suppress(asyncio.CancelledError):
                await self._round_trip


def _end_leaf(leaf: Leaf, result: asyncio.Future[Any]) -> None:
    leaf.end(None if result.cancelled() else result.exception())


async def _execute_pipeline(commands: Sequence[tuple[Any, ...]], client: Redis) -> list[Any]:
    pipeline = client.pipeline(transaction=False)
    for command in commands:
        pipeline.execute_command(*command)
    results: list[Any] = await pipeline.execute(raise_on_error=False)
    return results
