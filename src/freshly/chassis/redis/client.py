"""Redis: where several processes agree on what is current, share what is kept, and count.

It is optional and may go at any time. A call waits a tenth of a second at most; when it has failed
a few times, nobody asks any more, until it has answered a ping that no request waits for. Nothing
here raises: without Redis every read is a miss, and calls are counted by each process for itself.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import Any, TypeVar

from redis import exceptions
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from freshly.chassis.observability.logging import get_logger
from freshly.chassis.resilience.awake_timeout import AwakeTimeout

logger = get_logger(__name__)

Result = TypeVar("Result")
LONGEST_CALL = 0.1  # seconds
FAILURES = 2  # in a row, until nobody asks any more
SUSPICIOUS = 0.02  # seconds that an answer is out, until readers do without it
REST = 0.5  # seconds between two looks for whether it is back
CONNECTIONS = 8  # of each process; who finds none free waits for that without blaming Redis
LARGEST_BATCH = 200  # commands
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
