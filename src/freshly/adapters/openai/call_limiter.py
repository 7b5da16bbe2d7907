"""Limits calls of the language model: a number of slots, and a circuit breaker for each kind."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from time import monotonic, perf_counter

from freshly.chassis.observability import metrics
from freshly.chassis.observability.tracing import tracing
from freshly.chassis.ports.llm import (
    MODEL_KINDS,
    ModelAnswerUnusable,
    ModelBusy,
    ModelFailing,
    ModelKind,
    ModelUnavailable,
)
from freshly.chassis.resilience.circuit_breaker import STATES, CircuitBreaker
from freshly.settings import Settings


class CallLimiter:
    """Bounds the calls of this process that run at once, and stops calls of a kind that fails.

    Each kind has its own circuit breaker because it has its own model: chat goes on while pictures
    cannot be drawn.
    """

    def __init__(self, settings: Settings, clock: Callable[[], float] = monotonic) -> None:
        self._queue_timeout_seconds = settings.openai_queue_timeout
        self._models: Mapping[ModelKind, str] = {
            "text": settings.openai_model,
            "vision": settings.openai_vision_model,
            "image": settings.openai_image_model,
        }
        self._slots = asyncio.Semaphore(settings.openai_max_calls)
        self.breakers = {
            kind: CircuitBreaker(
                settings.openai_breaker_failures, settings.openai_breaker_seconds, clock
            )
            for kind in MODEL_KINDS
        }

    def ensure_available(self, kind: ModelKind) -> None:
        """Raise ModelUnavailable while the circuit breaker of this kind rejects calls."""
        if retry_after := self.breakers[kind].retry_after:
            metrics.count_model_call(kind, "rejected")
            raise ModelUnavailable(retry_after)

    @asynccontextmanager
    async def call(self, kind: ModelKind) -> AsyncIterator[None]:
        """Hold a slot for one call, and record its outcome.

        Raises ModelUnavailable, or ModelBusy if no slot becomes free in time.
        """
        self.ensure_available(kind)
        async with self._slot(kind):
            self.ensure_available(kind)  # other calls may have failed while this one waited
            model = self._models[kind]
            with tracing.call(f"model {model}", gen_ai__request__model=model, freshly__kind=kind):
                async with self._recorded(kind, self.breakers[kind]):
                    yield

    @asynccontextmanager
    async def _slot(self, kind: ModelKind) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._queue_timeout_seconds):
                await self._slots.acquire()
        except TimeoutError as error:
            metrics.count_model_call(kind, "full")
            raise ModelBusy(self._queue_timeout_seconds) from error
        try:
            yield
        finally:
            self._slots.release()

    @asynccontextmanager
    async def _recorded(self, kind: ModelKind, breaker: CircuitBreaker) -> AsyncIterator[None]:
        """Report the outcome of a call to the circuit breaker and the metrics.

        Timeouts, broken connections and 5xx responses count as failures. A 429 or a bad answer does
        not: the server works, and one user's question must not stop the calls of all others.
        """
        is_trial = breaker.start_call()
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
                breaker.record_failure(is_trial=is_trial)
            elif outcome == "left":
                breaker.record_no_result(is_trial=is_trial)
            else:
                breaker.record_success()
            metrics.model_in_flight.dec()
            metrics.count_model_call(kind, outcome, perf_counter() - started)
            metrics.model_breakers.labels(kind).set(STATES.index(breaker.state))
