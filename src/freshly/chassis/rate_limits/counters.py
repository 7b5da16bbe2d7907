"""Counters of calls."""

from collections import Counter
from collections.abc import Callable
from time import time
from typing import Protocol

from freshly.chassis.rate_limits.windows import DAY, HOUR, end_of, window_of


class Counters(Protocol):
    async def increment(self, key: str, expiry: int, by: int = 1) -> int:
        """Add to the count and return it. The key may be forgotten after `expiry` seconds."""

    async def get(self, key: str) -> int: ...


class MemoryCounters:
    """Counters of one process.

    The counters of the `limits` library go through all of their keys at each call.
    """

    def __init__(self, clock: Callable[[], float] = time) -> None:
        self._clock = clock
        self._short: Counter[str] = Counter()  # windows of at most an hour
        self._long: Counter[str] = Counter()
        self._swept_at = clock()

    async def increment(self, key: str, expiry: int, by: int = 1) -> int:
        del expiry  # the key names its window
        self._sweep()
        counts = self._counts_for(key)
        counts[key] += by
        return counts[key]

    async def get(self, key: str) -> int:
        return self._counts_for(key)[key]

    def __len__(self) -> int:
        return len(self._short) + len(self._long)

    def _counts_for(self, key: str) -> Counter[str]:
        seconds, _ = window_of(key)
        return self._short if seconds <= HOUR else self._long

    def _sweep(self) -> None:
        """Drop the keys of windows that have ended, once an hour and once a day."""
        now = self._clock()
        if int(now // HOUR) != int(self._swept_at // HOUR):
            self._short = Counter({k: n for k, n in self._short.items() if end_of(k) > now})
        if int(now // DAY) != int(self._swept_at // DAY):
            self._long = Counter({k: n for k, n in self._long.items() if end_of(k) > now})
        self._swept_at = now
