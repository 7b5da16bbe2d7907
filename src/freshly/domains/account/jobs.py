"""Jobs of account."""

from datetime import timedelta
from typing import ClassVar

from freshly.chassis.jobs import Job, Priority


class Export(Job):
    """Collect all data of the user who enqueued the job in a zip."""

    kind: ClassVar[str] = "account.export"
    time_limit: ClassVar[timedelta] = timedelta(minutes=15)


class DeleteClosedAccount(Job):
    """Delete an account that was closed seven days ago and was not opened again."""

    kind: ClassVar[str] = "account.delete_closed"
    max_attempts: ClassVar[int] = 20

    user_id: int


class RemoveFiles(Job):
    """Delete the files of a deleted user, of whom only the id in the payload remains."""

    kind: ClassVar[str] = "account.remove_files"
    # The backoff grows to an hour, because an object store may be unavailable for long.
    max_attempts: ClassVar[int] = 20

    user_id: int


class PurgeAccounts(Job):
    """Delete exports that have expired, and activities older than a year."""

    kind: ClassVar[str] = "account.purge"
    priority: ClassVar[Priority] = Priority.LOW
    time_limit: ClassVar[timedelta] = timedelta(minutes=10)


class WarmUp(Job):
    """Fill the cache with the lists that recently active users will probably read next."""

    kind: ClassVar[str] = "account.warm_up"
    priority: ClassVar[Priority] = Priority.LOW
