from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from freshly.chassis.dependencies import Injected
from freshly.chassis.resilience.fairness import in_turns
from freshly.chassis.web.clock import Today
from freshly.domains.families.access import CurrentAccess
from freshly.domains.families.service import FamilyService
from freshly.domains.grocery.errors import OnlyCreatorSyncs
from freshly.domains.grocery.measuring import Foods, reservation_row
from freshly.domains.grocery.models import (
    GroceryList,
    GroceryListItem,
    GroceryNeed,
    GroceryReservation,
)
from freshly.domains.grocery.netting import Key, Need, Reservation, Stock
from freshly.domains.grocery.repository import ItemRepository, ListRepository, ReasonRepository
from freshly.domains.grocery.schemas import RemainingItem, Synced
from freshly.domains.ingredients.measures import Measured, for_display
from freshly.domains.ingredients.service import IngredientService
from freshly.domains.pantry.service import PantryService


@dataclass
class SyncService:
    """Subtracts the pantry's stock from a list. Running it again changes nothing."""

    access: CurrentAccess
    lists: Injected[ListRepository]
    items: Injected[ItemRepository]
    reasons: Injected[ReasonRepository]
    pantry: Injected[PantryService]
    ingredients: Injected[IngredientService]
    families: Injected[FamilyService]
    today: Today

    async def sync(self, list_id: int) -> Synced:
        """Remove lines that stock covers, and reduce others. Lock the list.

        Raise OnlyCreatorSyncs if the caller neither owns nor created the list.
        """
        grocery_list = await self.lists.get(list_id, lock=True)
        if self.access.user_id != await self._syncing_user(grocery_list):
            raise OnlyCreatorSyncs
        open_items = [item for item in grocery_list.items if not item.checked]
        stock, foods = await self._stock(grocery_list, open_items)
        needs_by_key = _needs_by_key(await self.reasons.needs(grocery_list))
        covered: list[GroceryListItem] = []
        changed = 0
        reservations: list[GroceryReservation] = []
        async for item in in_turns(open_items):
            needed = foods.needed(item)
            if needed is None:
                continue
            key = Key(item.ingredient.base_food_id, needed.unit)
            reserved = self._reserve(key, item, needed, needs_by_key, stock)
            to_buy = needed.quantity - sum((r.quantity for r in reserved), Decimal(0))
            reservations += [reservation_row(grocery_list, key, r) for r in reserved]
            if to_buy <= 0:
                covered.append(item)
            elif await self._set_amount(item, needed, to_buy, has_stock=bool(reserved)):
                changed += 1
        await self.items.remove(covered)
        await self.reasons.replace_reservations(grocery_list, reservations)
        if covered or changed:
            await self.lists.touch(grocery_list)
        refreshed = await self.lists.refreshed(list_id)
        remaining = [_remaining(item) for item in refreshed.items if not item.checked]
        return Synced(
            items_removed=len(covered),
            items_updated=changed,
            remaining_items=remaining,
            message=f"{len(covered)} removed, {changed} updated, {len(remaining)} still to buy",
        )

    async def _syncing_user(self, grocery_list: GroceryList) -> int | None:
        """Return the user who may sync: the owner or creator of the list.

        Adopted lists of a family may have no creator, and a creator may have left the family. Then
        it is the owner of the family whom responses name as the owner of the list.
        """
        family_id, creator = grocery_list.family_id, grocery_list.created_by_user_id
        if family_id is None:
            return grocery_list.owner_user_id
        if creator is not None and await self.families.has_member(family_id, creator):
            return creator
        return (await self.families.lowest_owner([family_id])).get(family_id)

    async def _stock(
        self, grocery_list: GroceryList, items: Sequence[GroceryListItem]
    ) -> tuple[Stock, Foods]:
        # For a personal list, use the pantry of the user's first family, if any.
        family_id = grocery_list.family_id or self.access.first_family
        # The family's own foods are other rows than the user's own foods of the same names.
        food_ids = {i.ingredient.name.lower(): i.ingredient.base_food_id for i in items}
        names = food_ids if family_id != grocery_list.family_id else ()
        lots = await self.pantry.stock(family_id, set(food_ids.values()), names)
        ids = {lot.ingredient_id for lot in lots if lot.ingredient_id}
        facts = await self.ingredients.facts(
            ids | {i.ingredient_id for i in items}, self.access.owner(family_id)
        )
        foods = Foods(facts, food_ids)
        return Stock(foods.lots(lots)), foods

    def _reserve(
        self,
        key: Key,
        item: GroceryListItem,
        needed: Measured,
        needs_by_key: dict[Key, list[tuple[date, Decimal]]],
        stock: Stock,
    ) -> list[Reservation]:
        """Reserve stock for a line: on the days of the plan's needs, or today for other lines."""
        days = needs_by_key.get(key, []) if item.source_meal_plan_id else []
        if sum((quantity for _, quantity in days), Decimal(0)) != needed.quantity:
            days = [(self.today, needed.quantity)]
        return [
            reservation
            for on, quantity in days
            for reservation in stock.reserve(Need(key, max(on, self.today), quantity))
        ]

    async def _set_amount(
        self, item: GroceryListItem, needed: Measured, to_buy: Decimal, *, has_stock: bool
    ) -> bool:
        """Store the amounts of a line. Return True if stock changed the amount to buy.

        A line that stock never reduced keeps its displayed amount.
        """
        before = (item.quantity, item.unit_id, item.canonical_quantity_needed)
        reduced_before = (
            item.needed_quantity is not None
            and item.canonical_quantity_needed != item.needed_quantity
        )
        item.needed_quantity, item.needed_unit = needed.quantity, needed.unit
        item.canonical_quantity_needed = to_buy
        item.canonical_unit = needed.unit
        if has_stock or reduced_before or item.quantity is None:
            display = for_display(to_buy, needed.unit)
            unit = await self.ingredients.unit_by_code(display.unit)
            item.quantity, item.unit_id = display.quantity, unit.id if unit else None
        await self.items.save(item)
        after = (item.quantity, item.unit_id, item.canonical_quantity_needed)
        return (has_stock or reduced_before) and before != after


def _needs_by_key(needs: Sequence[GroceryNeed]) -> dict[Key, list[tuple[date, Decimal]]]:
    needs_by_key: dict[Key, list[tuple[date, Decimal]]] = {}
    for need in needs:
        if need.quantity is not None and need.unit:
            key = Key(need.ingredient_id, need.unit)
            needs_by_key.setdefault(key, []).append((need.needed_on, need.quantity))
    return needs_by_key


def _remaining(item: GroceryListItem) -> RemainingItem:
    return RemainingItem(
        ingredient_id=item.ingredient_id,
        ingredient_name=item.ingredient_name,
        quantity=item.quantity,
        unit_code=item.unit_code,
        canonical_quantity=item.canonical_quantity_needed,
        canonical_unit=item.canonical_unit,
        note=item.note,
    )
