from datetime import timedelta
from typing import ClassVar

from freshly.chassis.jobs import Job, Priority


class DrawPicture(Job):
    """Of an item that has none, on the account of whoever put it there."""

    kind: ClassVar[str] = "pantry.draw_picture"
    priority: ClassVar[Priority] = Priority.LOW
    max_attempts: ClassVar[int] = 2
    time_limit: ClassVar[timedelta] = timedelta(minutes=3)
    backoff: ClassVar[timedelta] = timedelta(minutes=1)
    item_id: int
    person_id: int
    base: str  # what links to files begin with


class RemovePicture(Job):
    """Of an item that is gone."""

    kind: ClassVar[str] = "pantry.remove_picture"
    priority: ClassVar[Priority] = Priority.LOW
    url: str


class SweepPictures(Job):
    """What is left of items that went with their family, or while they were drawn."""

    kind: ClassVar[str] = "pantry.sweep_pictures"
    priority: ClassVar[Priority] = Priority.LOW
    time_limit: ClassVar[timedelta] = timedelta(minutes=10)
