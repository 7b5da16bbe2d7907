"""A circuit breaker."""

from collections.abc import Callable
from time import monotonic
from typing import Literal

State = Literal["closed", "half-open", "open"]
STATES: tuple[State, ...] = ("closed", "half-open", "open")
TRIAL_WAIT_SECONDS = 1.0  # how long other callers wait while the trial call runs


class CircuitBreaker:
    """Stops calls to a service that keeps failing.

    It opens after `max_failures` in a row. After `open_seconds` it is half-open and lets one trial
    call through. If the trial succeeds the breaker closes; if it fails the breaker opens again.
    """

    def __init__(
        self, max_failures: int, open_seconds: float, clock: Callable[[], float] = monotonic
    ) -> None:
        self.clock = clock
        self._max_failures = max_failures
        self._open_seconds = open_seconds
        self._failures = 0
        self._open_until: float | None = None  # None while it is closed
        self._trial_running = False

    @property
    def state(self) -> State:
        if self._open_until is None:
            return "closed"
        return "open" if self.clock() < self._open_until else "half-open"

    @property
    def retry_after(self) -> float:
        """The seconds until a call is allowed; 0 if it is allowed now."""
        if self._open_until is None:
            return 0.0
        remaining = self._open_until - self.clock()
        return max(remaining, TRIAL_WAIT_SECONDS if self._trial_running else 0.0)

    def start_call(self) -> bool:
        """Return whether the call is the trial. Allowed only while `retry_after` is 0.

        The caller then reports success, failure or no result.
        """
        self._trial_running = is_trial = self._open_until is not None
        return is_trial

    def record_success(self) -> None:
        self._failures, self._open_until, self._trial_running = 0, None, False

    def record_failure(self, *, is_trial: bool) -> None:
        """Count a failure. A call that began before the breaker opened does not extend the wait."""
        self._failures += 1
        reached_limit = self._open_until is None and self._failures >= self._max_failures
        if is_trial or reached_limit:
            self._open_until = self.clock() + self._open_seconds
        if is_trial:
            self._trial_running = False

    def record_no_result(self, *, is_trial: bool) -> None:
        """Release the trial slot of a call that was cancelled and so proved nothing."""
        if is_trial:
            self._trial_running = False
