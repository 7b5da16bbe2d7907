from dataclasses import dataclass

from freshly.chassis.data.events import Event


@dataclass(frozen=True)
class MealChanged(Event):
    """A meal's ingredients or servings changed, or it is about to be deleted."""

    meal_id: int
