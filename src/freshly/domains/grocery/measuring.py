"""Converts rows to the values that netting compares."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from freshly.domains.grocery.models import GroceryList, GroceryListItem, GroceryReservation
from freshly.domains.grocery.netting import Key, Lot, Reservation
from freshly.domains.ingredients.amounts import MAX_CHARACTERS, parse_amount
from freshly.domains.ingredients.measures import FoodFacts, Measured, comparable, fits
from freshly.domains.pantry.models import PantryItem

UNKNOWN = FoodFacts()
NOTE_SEPARATOR = ", "  # between the amounts of several meals in one note
MAX_NOTE_LENGTH = 20_000  # characters


def reservation_row(
    grocery_list: GroceryList, key: Key, reserved: Reservation
) -> GroceryReservation:
    """Return the row that records how much of a pantry item the list reserves."""
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
    """Facts about ingredients, by ingredient id, to measure their amounts.

    `food_ids` are the foods of a list by their lower-case names, to compare them with the stock of
    another owner, whose own foods are other rows.
    """

    facts: Mapping[int, FoodFacts]
    food_ids: Mapping[str, int] = field(default_factory=dict)

    def of(self, ingredient_id: int | None) -> FoodFacts:
        return self.facts.get(ingredient_id or 0, UNKNOWN)

    def lots(self, items: Iterable[PantryItem]) -> list[Lot]:
        """Return the lots of pantry items. Skip items without amount. Needs `ingredient` loaded."""
        lots = []
        for item in items:
            measured = self._in_pantry(item)
            if item.ingredient is not None and measured is not None:
                name, food_id = item.ingredient.name.lower(), item.ingredient.base_food_id
                key = Key(self.food_ids.get(name, food_id), measured.unit)
                lots.append(Lot(item.id, key, measured.quantity, item.expires_at))
        return lots

    def _in_pantry(self, item: PantryItem) -> Measured | None:
        """Measure the canonical amount if there is one, else the displayed one.

        Rows of the existing app may have only the canonical amount.
        """
        facts = self.of(item.ingredient_id)
        if item.canonical_quantity is not None and item.canonical_unit:
            return comparable(item.canonical_quantity, item.canonical_unit, facts)
        if item.quantity is None:
            return None
        return comparable(item.quantity, item.unit, facts)

    def needed(self, item: GroceryListItem) -> Measured | None:
        """Return the amount that a line needs in all: the stored need, else the amount to buy."""
        if item.needed_quantity is not None and item.needed_unit:
            return Measured(item.needed_quantity, item.needed_unit)
        return self.to_buy(item)

    def to_buy(self, item: GroceryListItem) -> Measured | None:
        """Return the canonical amount of a line, else the displayed one, else that of its note."""
        facts = self.of(item.ingredient_id)
        if item.canonical_quantity_needed and item.canonical_unit:
            return comparable(item.canonical_quantity_needed, item.canonical_unit, facts)
        if item.quantity is not None and item.unit_code:
            return comparable(item.quantity, item.unit_code, facts)
        if from_note := self.amount_in_note(item.note, item.ingredient_name, facts):
            return from_note
        if item.quantity is not None:
            return comparable(item.quantity, None, facts)
        return None

    @staticmethod
    def amount_in_note(note: str | None, name: str, facts: FoodFacts) -> Measured | None:
        """Return the amount in a note: of "2 cups, 100 g" the sum.

        Return None if a part cannot be read, the parts cannot be added up, or the note is longer
        than an amount can be.
        """
        if note is not None and len(note) > MAX_CHARACTERS:
            return None
        parts = [part for part in (note or "").split(NOTE_SEPARATOR) if part.strip()]
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
