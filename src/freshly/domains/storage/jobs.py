from typing import ClassVar

from freshly.chassis.jobs import Job, Priority


class MakeSmallAvatar(Job):
    """For lists of people, where the whole picture would be a waste."""

    kind: ClassVar[str] = "storage.small_avatar"
    priority: ClassVar[Priority] = Priority.LOW
    path: str
