from dataclasses import dataclass

from freshly.chassis.data.events import Event


@dataclass(frozen=True)
class SlotsChanged(Event):
    """Other meals are planned in a week, or the week has moved."""

    plan_id: int
