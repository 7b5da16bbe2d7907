"""Work that comes round for what is counted."""

from typing import ClassVar

from freshly.chassis.jobs import Job, Priority


class PurgeUsage(Job):
    """Days that are long over."""

    kind: ClassVar[str] = "usage.purge"
    priority: ClassVar[Priority] = Priority.LOW
