from dataclasses import dataclass

from freshly.chassis.data.events import Event


@dataclass(frozen=True)
class SlotsChanged(Event):
    """Something else is planned in a week, or it is another week."""

    plan_id: int
