from typing import ClassVar

from freshly.chassis.jobs import Job, Priority


class MakeSmallAvatar(Job):
    """Write a small copy of an avatar, for lists of users."""

    kind: ClassVar[str] = "storage.small_avatar"
    priority: ClassVar[Priority] = Priority.LOW
    path: str
