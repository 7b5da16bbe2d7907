from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from freshly.chassis.dependencies import Injected
from freshly.chassis.resilience.fairness import in_turns
from freshly.domains.grocery.models import GroceryListItem, GroceryNeed, GroceryReservation
from freshly.domains.grocery.netting import ZERO, Key
from freshly.domains.grocery.repository import ListRepository, ReasonRepository
from freshly.domains.grocery.schemas import (
    CoverRead,
    ExplainedLine,
    Explanation,
    NeedRead,
    Unquantified,
)
from freshly.domains.ingredients.service import IngredientService


@dataclass
class ExplanationService:
    """Explains the lines of a list, from the needs and reservations stored when it was computed."""

    lists: Injected[ListRepository]
    reasons: Injected[ReasonRepository]
    ingredients: Injected[IngredientService]

    async def explain(self, list_id: int) -> Explanation:
        grocery_list = await self.lists.get(list_id)
        needs = await self.reasons.needs(grocery_list)
        reservations = await self.reasons.reservations(grocery_list)
        items = {key: item for item in grocery_list.items if (key := _key(item))}
        needed = {Key(n.ingredient_id, n.unit): None for n in needs if n.quantity and n.unit}
        rows = await self.ingredients.by_id(key.food for key in needed)
        needs_by_key: defaultdict[Key, list[GroceryNeed]] = defaultdict(list)
        for need in needs:
            if need.quantity:
                needs_by_key[Key(need.ingredient_id, need.unit or "")].append(need)
        reserved_by_key: defaultdict[Key, list[GroceryReservation]] = defaultdict(list)
        for part in reservations:
            reserved_by_key[Key(part.ingredient_id, part.unit)].append(part)
        lines = [
            _line(key, items.get(key), rows[key.food].name, needs_by_key[key], reserved_by_key[key])
            async for key in in_turns(needed)
        ]
        lines_without_needs = [
            _line(key, item, item.ingredient_name, (), reserved_by_key[key])
            for key, item in items.items()
            if key not in needed
        ]
        return Explanation(
            lines=lines + lines_without_needs,
            unquantified=[
                Unquantified(
                    item_id=item.id, ingredient_name=item.ingredient_name, text=item.note or ""
                )
                for item in grocery_list.items
                if _key(item) is None
            ],
        )


def _line(
    key: Key,
    item: GroceryListItem | None,
    name: str,
    needs: Sequence[GroceryNeed],
    reservations: Sequence[GroceryReservation],
) -> ExplainedLine:
    return ExplainedLine(
        item_id=item.id if item else None,
        ingredient_name=name,
        unit=key.unit,
        needed=[
            NeedRead(
                meal_id=need.meal_id,
                meal_name=need.meal_name,
                on=need.needed_on,
                quantity=need.quantity,
            )
            for need in needs
            if need.quantity
        ],
        covered=[
            CoverRead(
                pantry_item_id=part.pantry_item_id,
                quantity=part.quantity,
                expires_at=part.expires_at,
            )
            for part in reservations
        ],
        to_buy=_to_buy(item),
    )


def _key(item: GroceryListItem) -> Key | None:
    if item.canonical_unit is not None:
        return Key(item.ingredient.base_food_id, item.canonical_unit)
    if item.quantity is not None:
        return Key(item.ingredient.base_food_id, item.unit_code or "count")
    return None


def _to_buy(item: GroceryListItem | None) -> Decimal:
    if item is None:
        return ZERO
    if item.canonical_quantity_needed is not None:
        return item.canonical_quantity_needed
    return item.quantity or ZERO
