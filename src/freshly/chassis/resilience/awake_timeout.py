"""How long to wait for what another process has to say, fairly measured."""

import asyncio
from types import TracebackType

LOOKS = 10  # within the time that is given


class AwakeTimeout:
    """Ends what takes more than so many seconds that this process was awake for: TimeoutError.

    It looks a few times, and each time what has come is read. One timer for all of it would end a
    call whose answer is here, when the process was busy with something else for as long.
    """

    def __init__(self, seconds: float) -> None:
        self._limit = asyncio.timeout(None)
        self._pause = seconds / LOOKS
        self._looks = LOOKS

    async def __aenter__(self) -> None:
        await self._limit.__aenter__()
        self._look()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._next.cancel()
        await self._limit.__aexit__(kind, error, trace)

    def end(self) -> None:
        if not self._limit.expired():
            self._limit.reschedule(0)

    def _look(self) -> None:
        if self._looks == 0:
            self.end()
            return
        self._looks -= 1
        self._next = asyncio.get_running_loop().call_later(self._pause, self._look)
