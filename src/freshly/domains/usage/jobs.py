"""Scheduled jobs of usage."""

from typing import ClassVar

from freshly.chassis.jobs import Job, Priority


class PurgeUsage(Job):
    """Delete the counts of old days."""

    kind: ClassVar[str] = "usage.purge"
    priority: ClassVar[Priority] = Priority.LOW
