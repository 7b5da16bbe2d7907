from dataclasses import dataclass

from freshly.chassis.data.events import Event


@dataclass(frozen=True)
class MealChanged(Event):
    """It takes other things, or is about to be dropped."""

    meal_id: int
