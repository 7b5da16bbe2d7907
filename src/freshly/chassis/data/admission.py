"""Admission control: how many requests use the database at once, and how many more may wait."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from math import ceil
from time import monotonic

from freshly.chassis.errors import Unavailable
from freshly.chassis.observability.metrics import overloads

MAX_GROUP_SHARE = 0.4
MAX_WAITING_PER_SLOT = 10


def route_group(path: str) -> str:
    """Return the first word of a path. A path without a slash is a group by itself."""
    return path.split("/", 2)[1] if path[:1] == "/" else path


class Overloaded(Unavailable):
    code, detail = "overloaded", "The service is busy. Please try again shortly."


@dataclass(slots=True)
class Admission:
    """The route group that a request belongs to, and how long the request has waited so far.

    `longest_wait` limits the sum of all waits of a request. Background work has `waited_seconds`
    None: there the limit holds for each transaction.
    """

    group: str = ""
    waited_seconds: float | None = None


@dataclass
class Queue:
    """The limits of waiting: how many requests may wait for a slot, and for how long."""

    capacity: int
    longest_wait: timedelta
    waiting: int = 0


class _GroupSlots(asyncio.Semaphore):
    """The slots of one route group."""

    def __init__(self, name: str, number: int) -> None:
        super().__init__(number)
        self.name = name
        self.references = 0  # requests that hold a slot or wait for one


class Slots:
    """Slots for the connections of one pool.

    One route group gets at most two fifths of them. So when a table is locked, the requests that
    need it leave connections to all others. The group "" (commands, tests) may take all slots.
    """

    def __init__(self, capacity: int, queue: Queue) -> None:
        self.capacity = capacity
        self.taken = 0
        self._queue = queue
        self._free = asyncio.Semaphore(capacity)
        self._groups: dict[str, _GroupSlots] = {}  # only groups with references

    async def acquire(self, admission: Admission) -> _GroupSlots:
        """Take a slot, and return it for `release`.

        Raise Overloaded if too many wait already, or if the wait takes too long.
        """
        group = self._groups.get(admission.group) or self._new_group(admission.group)
        group.references += 1
        try:
            if group.locked() or self._free.locked():
                await self._wait(group, admission)
            else:
                await group.acquire()  # both have a free slot, so neither call waits
                await self._free.acquire()
        except BaseException:
            self._leave(group)
            raise
        self.taken += 1
        return group

    def release(self, group: _GroupSlots) -> None:
        """Give back the slot that `acquire` returned."""
        self.taken -= 1
        self._free.release()
        group.release()
        self._leave(group)

    def _new_group(self, name: str) -> _GroupSlots:
        share = MAX_GROUP_SHARE if name else 1
        group = self._groups[name] = _GroupSlots(name, ceil(self.capacity * share))
        return group

    def _leave(self, group: _GroupSlots) -> None:
        group.references -= 1
        if not group.references:  # clients choose the paths, so unused groups must go
            del self._groups[group.name]

    async def _wait(self, group: _GroupSlots, admission: Admission) -> None:
        queue, started = self._queue, monotonic()
        if queue.waiting >= queue.capacity:
            overloads.inc()
            raise Overloaded
        may_wait = queue.longest_wait.total_seconds() - (admission.waited_seconds or 0)
        queue.waiting += 1
        try:
            async with asyncio.timeout(may_wait):
                await group.acquire()
                try:
                    await self._free.acquire()
                except BaseException:
                    group.release()
                    raise
        except TimeoutError as error:
            overloads.inc()
            raise Overloaded from error
        finally:
            queue.waiting -= 1
            if admission.waited_seconds is not None:
                admission.waited_seconds += monotonic() - started


class AdmissionControl:
    """The slots of both pools, for single reads and for sessions, and one queue for both."""

    def __init__(self, reads: int, sessions: int, longest_wait: timedelta) -> None:
        self.capacity = reads + sessions
        self._queue = Queue(self.capacity * MAX_WAITING_PER_SLOT, longest_wait)
        self.reads = Slots(reads, self._queue)
        self.sessions = Slots(sessions, self._queue)

    @property
    def taken(self) -> int:
        return self.reads.taken + self.sessions.taken

    @property
    def waiting(self) -> int:
        return self._queue.waiting
