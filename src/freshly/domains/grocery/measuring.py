"""From rows to values that netting can compare."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from freshly.domains.grocery.models import GroceryList, GroceryListItem, GroceryReservation
from freshly.domains.grocery.netting import Key, Lot, Reservation
from freshly.domains.ingredients.amounts import parse_amount
from freshly.domains.ingredients.measures import FoodFacts, Measured, comparable, fits
from freshly.domains.pantry.models import PantryItem

UNKNOWN = FoodFacts()
JOINED = ", "  # how amounts of several dishes stand in one note


def reservation_row(
    grocery_list: GroceryList, key: Key, reserved: Reservation
) -> GroceryReservation:
    """What is remembered of stock that was counted on."""
    return GroceryReservation(
        grocery_list_id=grocery_list.id,
        ingredient_id=key.food,
        pantry_item_id=reserved.lot.id,
        quantity=reserved.quantity,
        unit=key.unit,
        expires_at=reserved.lot.expires_at,
    )


@dataclass(frozen=True)
class Foods:
    """What is known of the ingredients at hand, by id."""

    facts: Mapping[int, FoodFacts]

    def of(self, ingredient_id: int | None) -> FoodFacts:
        return self.facts.get(ingredient_id or 0, UNKNOWN)

    def lots(self, items: Iterable[PantryItem]) -> list[Lot]:
        """Of rows with their ingredient loaded; what has no amount covers nothing."""
        lots = []
        for item in items:
            measured = self._in_pantry(item)
            if item.ingredient is not None and measured is not None:
                key = Key(item.ingredient.base_food_id, measured.unit)
                lots.append(Lot(item.id, key, measured.quantity, item.expires_at))
        return lots

    def _in_pantry(self, item: PantryItem) -> Measured | None:
        """Canonical where that is known (adopted rows may have nothing else), else as displayed."""
        facts = self.of(item.ingredient_id)
        if item.canonical_quantity is not None and item.canonical_unit:
            return comparable(item.canonical_quantity, item.canonical_unit, facts)
        if item.quantity is None:
            return None
        return comparable(item.quantity, item.unit, facts)

    def needed(self, item: GroceryListItem) -> Measured | None:
        """What a line stands for: what it was made for, else what it shows, else what it notes."""
        if item.needed_quantity is not None and item.needed_unit:
            return Measured(item.needed_quantity, item.needed_unit)
        return self.to_buy(item)

    def to_buy(self, item: GroceryListItem) -> Measured | None:
        facts = self.of(item.ingredient_id)
        if item.canonical_quantity_needed and item.canonical_unit:
            return comparable(item.canonical_quantity_needed, item.canonical_unit, facts)
        if item.quantity is not None and item.unit_code:
            return comparable(item.quantity, item.unit_code, facts)
        if noted := self.noted(item.note, item.ingredient_name, facts):
            return noted
        if item.quantity is not None:
            return comparable(item.quantity, None, facts)
        return None

    @staticmethod
    def noted(note: str | None, name: str, facts: FoodFacts) -> Measured | None:
        """The amount of a note; of "2 cups, 100 g" the sum, if they add up."""
        parts = [part for part in (note or "").split(JOINED) if part.strip()]
        amounts = [parse_amount(part, name) for part in parts]
        if amounts and amounts[0] and not any(c.isdigit() for p in parts[1:] for c in p):
            amounts = amounts[:1]  # "400 g, drained"
        measured = [comparable(a.quantity, a.unit, facts) for a in amounts if a]
        if not measured or len(measured) != len(amounts):
            return None
        if len({m.unit for m in measured}) > 1:
            return None
        total = sum((m.quantity for m in measured), Decimal(0))
        return Measured(total, measured[0].unit) if fits(total) else None
