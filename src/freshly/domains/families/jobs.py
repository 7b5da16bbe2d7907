"""Scheduled jobs of families."""

from datetime import timedelta
from typing import ClassVar

from freshly.chassis.jobs import Job, Priority


class RenewInviteCodes(Job):
    """Replace expired invite codes, and delete expired invitations."""

    kind: ClassVar[str] = "families.renew_invite_codes"
    priority: ClassVar[Priority] = Priority.LOW
    time_limit: ClassVar[timedelta] = timedelta(minutes=10)
