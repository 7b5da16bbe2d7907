"""Work that an account asks for later."""

from datetime import timedelta
from typing import ClassVar

from freshly.chassis.jobs import Job, Priority


class Export(Job):
    """Everything of the person who asked for it, in a zip."""

    kind: ClassVar[str] = "account.export"
    time_limit: ClassVar[timedelta] = timedelta(minutes=15)


class RemoveFiles(Job):
    """The files of somebody who is gone. The one trace of them, until it is done."""

    kind: ClassVar[str] = "account.remove_files"
    max_attempts: ClassVar[int] = (
        20  # up to an hour between two: an object store may be away for long
    )

    user_id: int


class PurgeAccounts(Job):
    """Exports whose links have expired, and activities that are a year old."""

    kind: ClassVar[str] = "account.purge"
    priority: ClassVar[Priority] = Priority.LOW
    time_limit: ClassVar[timedelta] = timedelta(minutes=10)


class WarmUp(Job):
    """What people who were here lately will ask for next, before they ask."""

    kind: ClassVar[str] = "account.warm_up"
    priority: ClassVar[Priority] = Priority.LOW
