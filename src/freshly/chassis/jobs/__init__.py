"""Background jobs, stored in the database and run by workers.

A job is enqueued in the transaction that needs it, so it is committed with that transaction or not
at all. A domain declares a payload (`Job`), enqueues it (`JobQueue`) and handles it (`JobContext`).
`wiring/jobs.py` lists the handlers and the schedules.
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
