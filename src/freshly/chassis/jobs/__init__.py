"""Work for later: asked for in the transaction that needs it, so that it is committed with it or
not at all, and done by whichever process has a hand free.

A domain declares a record (`Job`), enqueues it (`JobQueue`), and handles it (`JobContext`);
`wiring/jobs.py` lists who handles what, and what comes round by the clock (`Schedule`).
"""

from freshly.chassis.jobs.context import JobContext, LeaseLost
from freshly.chassis.jobs.definitions import (
    Handler,
    Handlers,
    Job,
    JobRead,
    PermanentFailure,
    Priority,
)
from freshly.chassis.jobs.queue import JobQueue
from freshly.chassis.jobs.schedules import Schedule, daily, every

__all__ = [
    "Handler",
    "Handlers",
    "Job",
    "JobContext",
    "JobQueue",
    "JobRead",
    "LeaseLost",
    "PermanentFailure",
    "Priority",
    "Schedule",
    "daily",
    "every",
]
