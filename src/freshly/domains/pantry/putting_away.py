"""Adds bought food to a lot of the same food, if their units allow it."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from freshly.domains.ingredients.errors import QuantityTooLarge
from freshly.domains.ingredients.measures import (
    FoodFacts,
    Measured,
    comparable,
    convert,
    fits,
    for_display,
    to_thousandths,
)
from freshly.domains.ingredients.models import Ingredient
from freshly.domains.pantry.models import PantryItem


@dataclass(frozen=True)
class Bought:
    """Bought food. `amount` is comparable, or None if unknown; the others are as displayed."""

    ingredient: Ingredient
    amount: Measured | None
    quantity: Decimal | None
    unit: str | None
    on: date  # the day of the purchase


def good_first(items: Iterable[PantryItem], today: date) -> list[PantryItem]:
    """Return the lots that have not expired. Those without an expiry date come first."""
    good = [item for item in items if item.is_good_on(today)]
    return sorted(good, key=lambda item: (item.expires_at is not None, item.id))


def add_to(item: PantryItem, bought: Measured | None, food: FoodFacts) -> bool:
    """Add the amount to the lot. Return False if their units cannot be converted.

    Raise QuantityTooLarge if the column cannot store the sum.
    """
    if bought is None:
        return True  # an unknown amount leaves the amount of the lot unchanged
    if item.quantity is None and item.canonical_quantity is None:
        return False
    stocked = _measured(item, food)
    if stocked.unit != bought.unit:
        return False
    total = Measured(stocked.quantity + bought.quantity, bought.unit)
    if not fits(total.quantity):
        raise QuantityTooLarge(
            quantity=f"{total.quantity:f}", unit=total.unit, canonical=total.unit
        )
    item.canonical_quantity, item.canonical_unit = total.quantity, total.unit
    display = convert(total.quantity, total.unit, item.unit or "count", food)
    if item.quantity is None or item.unit is None or display is None:
        readable = for_display(total.quantity, total.unit)
        item.quantity, item.unit = readable.quantity, readable.unit
    else:
        item.quantity = to_thousandths(display)
    return True


def _measured(item: PantryItem, food: FoodFacts) -> Measured:
    if item.canonical_quantity is not None and item.canonical_unit:
        return comparable(item.canonical_quantity, item.canonical_unit, food)
    return comparable(item.quantity or Decimal(0), item.unit, food)
