"""What stands between Freshly and a model that is slow, full, or gone."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from time import monotonic, perf_counter

from freshly.chassis.observability import metrics
from freshly.chassis.ports.llm import (
    KINDS,
    Kind,
    ModelAnswerUnusable,
    ModelBusy,
    ModelFailing,
    ModelUnavailable,
)
from freshly.chassis.resilience.circuit_breaker import STATES, CircuitBreaker
from freshly.settings import Settings


class CallLimiter:
    """So many calls at once in this process, and none of a kind whose server has stopped answering.

    Each kind has a breaker of its own, since it has a model of its own: pictures that cannot be
    drawn are no reason not to chat.
    """

    def __init__(self, settings: Settings, clock: Callable[[], float] = monotonic) -> None:
        self._queue = settings.openai_queue_timeout
        self._room = asyncio.Semaphore(settings.openai_max_calls)
        self.breakers = {
            kind: CircuitBreaker(
                settings.openai_breaker_failures, settings.openai_breaker_seconds, clock
            )
            for kind in KINDS
        }

    def check(self, kind: Kind) -> None:
        if wait := self.breakers[kind].wait:
            metrics.model_called(kind, "spared")
            raise ModelUnavailable(wait)

    @asynccontextmanager
    async def call(self, kind: Kind) -> AsyncIterator[None]:
        """Around one call. Raises ModelUnavailable, ModelBusy."""
        self.check(kind)
        async with self._place(kind):
            self.check(kind)  # others may have failed meanwhile
            async with self._watched(kind, self.breakers[kind]):
                yield

    @asynccontextmanager
    async def _place(self, kind: Kind) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._queue):
                await self._room.acquire()
        except TimeoutError as error:
            metrics.model_called(kind, "full")
            raise ModelBusy(self._queue) from error
        try:
            yield
        finally:
            self._room.release()

    @asynccontextmanager
    async def _watched(self, kind: Kind, breaker: CircuitBreaker) -> AsyncIterator[None]:
        """Timeouts, broken connections and 5xx are failures. A 429 or a bad answer is not: the
        server is there, and one person's question must not close it to everybody."""
        trial = breaker.enter()
        outcome, started = "left", perf_counter()
        metrics.model_in_flight.inc()
        try:
            yield
        except ModelBusy:
            outcome = "busy"
            raise
        except ModelUnavailable:
            outcome = "unavailable"
            raise
        except ModelFailing:
            outcome = "failing"
            raise
        except ModelAnswerUnusable:
            outcome = "unusable"
            raise
        else:
            outcome = "answered"
        finally:
            if outcome in ("unavailable", "failing"):
                breaker.failed(trial=trial)
            elif outcome == "left":
                breaker.no_result(trial=trial)
            else:
                breaker.succeeded()
            metrics.model_in_flight.dec()
            metrics.model_called(kind, outcome, perf_counter() - started)
            metrics.model_breakers.labels(kind).set(STATES.index(breaker.state))
