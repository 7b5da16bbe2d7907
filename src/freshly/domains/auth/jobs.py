"""Jobs of auth."""

from datetime import timedelta
from typing import ClassVar, Literal

from freshly.chassis.jobs import Job, Priority
from freshly.domains.auth.models import CodePurpose


class SendCode(Job):
    """Email the code of an address. Enqueued for unknown addresses, too."""

    kind: ClassVar[str] = "auth.send_code"
    priority: ClassVar[Priority] = Priority.URGENT

    address: str
    purpose: CodePurpose
    user_id: int | None = None  # for the codes of a signed-in user


class SendNotice(Job):
    """Email a notice about an account, which may be deleted before the job runs."""

    kind: ClassVar[str] = "auth.send_notice"

    address: str
    about: Literal[
        "password_changed",
        "email_change_requested",
        "email_changed",
        "email_change_undone",
        "account_closed",
        "account_restored",
        "account_deleted",
    ]
    link_id: str | None = None  # which is no link without the secret


class SendSignInNotice(Job):
    """Email a user about a sign-in from a new device or network."""

    kind: ClassVar[str] = "auth.send_sign_in_notice"

    address: str
    device: str
    network: str


class ForgetCaller(Job):
    """Invalidate the cached caller, after a command changed the account."""

    kind: ClassVar[str] = "auth.forget_caller"
    priority: ClassVar[Priority] = Priority.URGENT

    user_id: int


class PurgeExpired(Job):
    """Delete expired codes, sessions and refresh tokens."""

    kind: ClassVar[str] = "auth.purge_expired"
    priority: ClassVar[Priority] = Priority.LOW
    time_limit: ClassVar[timedelta] = timedelta(minutes=10)
