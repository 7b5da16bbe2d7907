"""Counters of calls in one process."""

from collections import Counter
from collections.abc import Callable
from time import time
from typing import Protocol

from freshly.chassis.rate_limits.windows import DAY, HOUR, _ends, _window


class Counters(Protocol):
    """Where calls are counted."""

    async def increment(self, key: str, expiry: int) -> int:
        """One more; gives how many there are now. The key may be forgotten after `expiry` s."""

    async def get(self, key: str) -> int: ...


class MemoryCounters:
    """Of one process. The library's own goes through all of its keys at every call."""

    def __init__(self, clock: Callable[[], float] = time) -> None:
        self._clock = clock
        self._short: Counter[str] = Counter()  # of windows that last an hour at most
        self._long: Counter[str] = Counter()
        self._swept = clock()

    async def increment(self, key: str, expiry: int) -> int:
        del expiry  # the key names its window
        self._sweep()
        counts = self._of(key)
        counts[key] += 1
        return counts[key]

    async def get(self, key: str) -> int:
        return self._of(key)[key]

    def __len__(self) -> int:
        return len(self._short) + len(self._long)

    def _of(self, key: str) -> Counter[str]:
        seconds, _ = _window(key)
        return self._short if seconds <= HOUR else self._long

    def _sweep(self) -> None:
        """Keys name their window, so none is read after it: they are only in the way."""
        now = self._clock()
        if int(now // HOUR) != int(self._swept // HOUR):
            self._short = Counter({k: n for k, n in self._short.items() if _ends(k) > now})
        if int(now // DAY) != int(self._swept // DAY):
            self._long = Counter({k: n for k, n in self._long.items() if _ends(k) > now})
        self._swept = now
