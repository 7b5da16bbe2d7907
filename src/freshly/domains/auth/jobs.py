"""Work that auth asks for later."""

from datetime import timedelta
from typing import ClassVar, Literal

from freshly.chassis.jobs import Job, Priority
from freshly.domains.auth.models import CodePurpose


class SendCode(Job):
    """The letter with the code of an address. Asked for whether or not there is an account."""

    kind: ClassVar[str] = "auth.send_code"
    priority: ClassVar[Priority] = Priority.URGENT

    address: str
    purpose: CodePurpose


class SendNotice(Job):
    """A letter about what happened to an account, which may be gone by then."""

    kind: ClassVar[str] = "auth.send_notice"

    address: str
    about: Literal["password_changed", "account_deleted"]


class PurgeExpired(Job):
    """Codes, sign-ins and refresh tokens that are of no use any more."""

    kind: ClassVar[str] = "auth.purge_expired"
    priority: ClassVar[Priority] = Priority.LOW
    time_limit: ClassVar[timedelta] = timedelta(minutes=10)
