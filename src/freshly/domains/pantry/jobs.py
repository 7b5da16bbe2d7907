from datetime import timedelta
from typing import ClassVar

from freshly.chassis.jobs import Job, Priority


class DrawPicture(Job):
    """Draw the picture of an item without one, charged to the user who added the item."""

    kind: ClassVar[str] = "pantry.draw_picture"
    priority: ClassVar[Priority] = Priority.LOW
    max_attempts: ClassVar[int] = 2
    time_limit: ClassVar[timedelta] = timedelta(minutes=3)
    backoff: ClassVar[timedelta] = timedelta(minutes=1)
    item_id: int
    person_id: int
    base: str  # the address with which links to files begin


class RemovePicture(Job):
    """Delete the picture of a deleted item."""

    kind: ClassVar[str] = "pantry.remove_picture"
    priority: ClassVar[Priority] = Priority.LOW
    url: str


class SweepPictures(Job):
    """Delete pictures without an item.

    They are left if an item is deleted with its family, or while its picture is drawn.
    """

    kind: ClassVar[str] = "pantry.sweep_pictures"
    priority: ClassVar[Priority] = Priority.LOW
    time_limit: ClassVar[timedelta] = timedelta(minutes=10)
