from collections.abc import Mapping
from dataclasses import dataclass

from freshly.chassis.data.events import Event
from freshly.domains.ingredients.measures import FoodFacts


@dataclass(frozen=True)
class FactsChanged(Event):
    """The facts of these foods, by ingredient id, changed for a family or a user."""

    family_id: int | None
    owner_user_id: int | None
    facts: Mapping[int, FoodFacts]
