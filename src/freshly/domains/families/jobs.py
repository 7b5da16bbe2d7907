"""Jobs of families."""

from datetime import timedelta
from typing import ClassVar, Literal

from freshly.chassis.jobs import Job, Priority


class SendFamilyNotice(Job):
    """Email a notice about a family, which may be deleted before the job runs."""

    kind: ClassVar[str] = "families.send_notice"

    address: str
    about: Literal["family_closed", "family_restored", "owner_added", "owner_made", "owner_no_more"]
    family_name: str
    person: str | None = None  # the name of the new owner
    link_id: str | None = None  # which is no link without the secret


class DeleteClosedFamily(Job):
    """Delete a family that was closed seven days ago and was not opened again."""

    kind: ClassVar[str] = "families.delete_closed"
    max_attempts: ClassVar[int] = 20

    family_id: int


class RenewInviteCodes(Job):
    """Replace expired invite codes, and delete expired invitations."""

    kind: ClassVar[str] = "families.renew_invite_codes"
    priority: ClassVar[Priority] = Priority.LOW
    time_limit: ClassVar[timedelta] = timedelta(minutes=10)
