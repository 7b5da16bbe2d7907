"""A timeout for answers of other processes."""

import asyncio
from types import TracebackType

CHECKS = 10  # while the timeout runs


class AwakeTimeout:
    """Like `asyncio.timeout`, but does not count time in which the event loop was blocked.

    It checks the time in ten steps, and the event loop reads what has arrived between two of them.
    With one timer, a call whose answer has arrived would time out if the loop was blocked for long.
    """

    def __init__(self, seconds: float) -> None:
        self._timeout = asyncio.timeout(None)
        self._interval_seconds = seconds / CHECKS
        self._checks_left = CHECKS

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()
        self._check()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._next.cancel()
        await self._timeout.__aexit__(kind, error, trace)

    def end(self) -> None:
        """Time out now."""
        if not self._timeout.expired():
            self._timeout.reschedule(0)

    def _check(self) -> None:
        if self._checks_left == 0:
            self.end()
            return
        self._checks_left -= 1
        self._next = asyncio.get_running_loop().call_later(self._interval_seconds, self._check)
