from datetime import date, timedelta
from typing import ClassVar

from freshly.chassis.jobs import Job, Priority


class DigestForAll(Job):
    """Enqueue a digest for each user who has food that expires soon. Runs each morning."""

    kind: ClassVar[str] = "notifications.digest_for_all"
    priority: ClassVar[Priority] = Priority.LOW
    time_limit: ClassVar[timedelta] = timedelta(minutes=10)


class SendDigest(Job):
    """Notify a user about food that expires soon, as the user chose."""

    kind: ClassVar[str] = "notifications.digest"
    priority: ClassVar[Priority] = Priority.LOW
    person_id: int
    day: date


class SendDigestEmail(Job):
    """Email the digest of a day. The job reads the pantry again before it writes the email."""

    kind: ClassVar[str] = "notifications.mail_digest"
    priority: ClassVar[Priority] = Priority.LOW
    person_id: int
    day: date
