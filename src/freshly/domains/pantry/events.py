from dataclasses import dataclass

from freshly.chassis.data.events import Event


@dataclass(frozen=True)
class StockChanged(Event):
    """There is more or less of these foods in a family's kitchen, or in a person's own."""

    family_id: int | None
    owner_user_id: int | None
    ingredient_ids: frozenset[int]
