"""Work for later: asked for in the transaction that needs it, so that it is committed with it or
not at all, and done by whichever process has a hand free.

A domain declares a record (`Job`), enqueues it (`JobQueue`), and handles it (`Run`); `work.py`
lists who handles what, and what comes round by the clock (`Schedule`). Which rows there are, and
who takes them, is behind this door: `rows`, `queue`, `taking`, `runner`.
"""

from freshly.chassis.jobs.context import Run, TakenOver
from freshly.chassis.jobs.definitions import GiveUp, Handler, Handlers, Job, JobRead, Priority
from freshly.chassis.jobs.queue import JobQueue
from freshly.chassis.jobs.schedules import Schedule, daily, every

__all__ = [
    "GiveUp",
    "Handler",
    "Handlers",
    "Job",
    "JobQueue",
    "JobRead",
    "Priority",
    "Run",
    "Schedule",
    "TakenOver",
    "daily",
    "every",
]
