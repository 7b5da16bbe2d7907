"""Leaves a neighbour in peace that has stopped answering, so that nobody waits for it in vain."""

from collections.abc import Callable
from time import monotonic
from typing import Literal

State = Literal["closed", "half-open", "open"]
STATES: tuple[State, ...] = ("closed", "half-open", "open")
TRIAL = 1.0  # seconds to wait for the one that is trying


class CircuitBreaker:
    """Opens after so many failures in a row. So many seconds later one call is let through: its
    success closes it, its failure opens it anew."""

    def __init__(
        self, failures: int, seconds: float, clock: Callable[[], float] = monotonic
    ) -> None:
        self.clock = clock
        self._most = failures
        self._seconds = seconds
        self._failures = 0
        self._until: float | None = None
        self._trying = False

    @property
    def state(self) -> State:
        if self._until is None:
            return "closed"
        return "open" if self.clock() < self._until else "half-open"

    @property
    def wait(self) -> float:
        """Seconds until a call may be tried; 0 where it may be now."""
        if self._until is None:
            return 0.0
        return max(self._until - self.clock(), TRIAL if self._trying else 0.0)

    def enter(self) -> bool:
        """Is this the trial? To be told afterwards what came of it. Only where `wait` is 0."""
        self._trying = trial = self._until is not None
        return trial

    def succeeded(self) -> None:
        self._failures, self._until, self._trying = 0, None, False

    def failed(self, *, trial: bool) -> None:
        """What began before it opened, and fails late, does not keep it open for longer."""
        self._failures += 1
        if trial or (self._until is None and self._failures >= self._most):
            self._until = self.clock() + self._seconds
        if trial:
            self._trying = False

    def no_result(self, *, trial: bool) -> None:
        """The caller left: nothing was learnt, and the next one may try."""
        if trial:
            self._trying = False
