from typing import ClassVar

from freshly.chassis.jobs import Job


class Recompute(Job):
    """Recompute the lists for the meal plans of a family or a user. One of the ids is given."""

    kind: ClassVar[str] = "grocery.recompute"
    family_id: int | None = None
    person_id: int | None = None
