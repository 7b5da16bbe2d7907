from dataclasses import dataclass

from freshly.chassis.data.events import Event


@dataclass(frozen=True)
class StockChanged(Event):
    """The stock of these ingredients changed in the pantry of a family or a user."""

    family_id: int | None
    owner_user_id: int | None
    ingredient_ids: frozenset[int]
