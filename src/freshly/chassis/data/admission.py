"""How many may use the database at once, and how many more may wait for it."""

import asyncio
from collections import Counter
from contextvars import ContextVar
from dataclasses import dataclass
from time import monotonic

from freshly.chassis.errors import Unavailable
from freshly.chassis.observability.metrics import overloads

# Which part of the kitchen a request is for. A part whose table is locked fills its own lane, and
# leaves connections to the others.
lane: ContextVar[str] = ContextVar("lane", default="")
# Who is inside and waited to enter again would wait for himself.
inside: ContextVar[bool] = ContextVar("inside", default=False)
# Seconds that a request has waited here so far: what is more than one unit of work waits no longer
# than one. None in what is no request, and may wait for each anew.
waited: ContextVar[float | None] = ContextVar("waited", default=None)
SHARE_OF_A_LANE = 0.4
WAITING_FOR_EACH = 10


def route_group(path: str) -> str:
    """The first word of a path."""
    return path.split("/", 2)[1] if path[:1] == "/" else path


class Overloaded(Unavailable):
    code, detail = "overloaded", "The service is busy. Please try again shortly."


@dataclass
class _Waiting:
    lane: str
    turn: asyncio.Future[None]


class AdmissionControl:
    """Lets `capacity` in. More wait their turn, up to `longest` seconds and ten times as many;
    whoever comes then is told to come again, instead of joining a queue without end."""

    def __init__(self, capacity: int, longest: float) -> None:
        self.capacity = capacity
        self.longest = longest
        self._of_a_lane = max(1, int(capacity * SHARE_OF_A_LANE))
        self._inside: Counter[str] = Counter()
        self._taken = 0
        self._waiting: list[_Waiting] = []

    @property
    def taken(self) -> int:
        return self._taken

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    async def enter(self) -> str:
        """Gives the lane, with which to leave. Raises Overloaded."""
        assert not inside.get(), "one unit of work at a time"
        mine = lane.get()
        if self._is_free(mine):  # those who wait do so for a lane that is full
            self._take(mine)
            inside.set(True)
            return mine
        if len(self._waiting) >= self.capacity * WAITING_FOR_EACH:
            overloads.inc()
            raise Overloaded
        waiting = _Waiting(mine, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        before, since = waited.get(), monotonic()
        try:
            async with asyncio.timeout(self.longest - (before or 0)):
                await waiting.turn
        except BaseException as error:
            self._give_up(waiting)
            if isinstance(error, TimeoutError):
                overloads.inc()
                raise Overloaded from error
            raise
        if before is not None:
            waited.set(before + monotonic() - since)
        inside.set(True)
        return mine

    def leave(self, mine: str) -> None:
        inside.set(False)
        self._free(mine)

    def _free(self, mine: str) -> None:
        self._taken -= 1
        self._inside[mine] -= 1
        if not self._inside[mine]:
            del self._inside[mine]
        self._admit()

    def _is_free(self, wanted: str) -> bool:
        if self._taken >= self.capacity:
            return False
        return not wanted or self._inside[wanted] < self._of_a_lane

    def _take(self, wanted: str) -> None:
        self._taken += 1
        self._inside[wanted] += 1

    def _admit(self) -> None:
        """First come, first served, except who waits for a lane that is full."""
        for waiting in list(self._waiting):
            if self._taken >= self.capacity:
                return
            if waiting.turn.done():  # it has just stopped waiting
                self._waiting.remove(waiting)
            elif self._is_free(waiting.lane):
                self._waiting.remove(waiting)
                self._take(waiting.lane)
                waiting.turn.set_result(None)

    def _give_up(self, waiting: _Waiting) -> None:
        if waiting in self._waiting:
            self._waiting.remove(waiting)
        elif waiting.turn.done() and not waiting.turn.cancelled():
            self._free(waiting.lane)  # its turn came at the same moment
