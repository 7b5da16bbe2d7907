"""Where bought food goes: to a lot of the same food that it may be added to."""

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
    """`amount` is comparable, None where nobody knows it; quantity and unit are as displayed."""

    ingredient: Ingredient
    amount: Measured | None
    quantity: Decimal | None
    unit: str | None
    on: date


def good_first(items: Iterable[PantryItem], today: date) -> list[PantryItem]:
    """What has not expired; what keeps for ever first. Fresh food is never added to spoilt food."""
    good = [item for item in items if item.is_good_on(today)]
    return sorted(good, key=lambda item: (item.expires_at is not None, item.id))


def add_to(item: PantryItem, bought: Measured | None, food: FoodFacts) -> bool:
    """Whether it could be added, which takes a way from its unit into the item's."""
    if bought is None:
        return True  # there is some, and some more
    if item.quantity is None and item.canonical_quantity is None:
        return False
    there = _measured(item, food)
    if there.unit != bought.unit:
        return False
    total = Measured(there.quantity + bought.quantity, bought.unit)
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
