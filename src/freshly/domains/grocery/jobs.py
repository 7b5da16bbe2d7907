from typing import ClassVar

from freshly.chassis.jobs import Job


class Recompute(Job):
    """The lists of meal plans of a family, or of a person."""

    kind: ClassVar[str] = "grocery.recompute"
    family_id: int | None = None
    person_id: int | None = None
