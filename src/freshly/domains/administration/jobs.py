"""Scheduled jobs of administration."""

from datetime import timedelta
from typing import ClassVar

from freshly.chassis.jobs import Job, Priority


class PurgeAdministration(Job):
    """Delete expired invitations, and acts of administrators that are older than a year."""

    kind: ClassVar[str] = "administration.purge"
    priority: ClassVar[Priority] = Priority.LOW
    time_limit: ClassVar[timedelta] = timedelta(minutes=10)
