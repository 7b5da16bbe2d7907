from datetime import date, timedelta
from typing import ClassVar

from freshly.chassis.jobs import Job, Priority


class DigestForAll(Job):
    """Each morning: whoever has something to use soon is told."""

    kind: ClassVar[str] = "notifications.digest_for_all"
    priority: ClassVar[Priority] = Priority.LOW
    time_limit: ClassVar[timedelta] = timedelta(minutes=10)


class TellWhatExpires(Job):
    kind: ClassVar[str] = "notifications.digest"
    priority: ClassVar[Priority] = Priority.LOW
    person_id: int
    day: date


class MailWhatExpires(Job):
    """The letter of a day. The shelves are read again when it is written."""

    kind: ClassVar[str] = "notifications.mail_digest"
    priority: ClassVar[Priority] = Priority.LOW
    person_id: int
    day: date
