from dataclasses import dataclass

from freshly.chassis.dependencies import Injected
from freshly.chassis.web.clock import Today
from freshly.chassis.web.schemas import assign, sent_values
from freshly.domains.families.access import CurrentAccess
from freshly.domains.grocery.errors import ItemNotFound
from freshly.domains.grocery.measuring import Foods
from freshly.domains.grocery.models import GroceryList, GroceryListItem
from freshly.domains.grocery.repository import ItemRepository, ListRepository
from freshly.domains.grocery.room import LINE_BYTES, ensure_fits, ensure_room, note_bytes
from freshly.domains.grocery.schemas import Cleared, ItemCreate, ItemRead, ItemUpdate, Purchased
from freshly.domains.ingredients.service import IngredientService
from freshly.domains.pantry.putting_away import Bought
from freshly.domains.pantry.service import PantryService


@dataclass
class ItemService:
    access: CurrentAccess
    lists: Injected[ListRepository]
    items: Injected[ItemRepository]
    ingredients: Injected[IngredientService]
    pantry: Injected[PantryService]
    today: Today

    async def get(self, id: int) -> GroceryListItem:
        return await self.items.get(id)

    async def add(self, list_id: int, new: ItemCreate) -> GroceryListItem:
        grocery_list = await self.lists.get(list_id, lock=True)
        owner = self.access.owner(grocery_list.family_id)
        ingredient = await self.ingredients.for_owner(new.ingredient_id, owner)
        if new.unit_id is not None:
            await self.ingredients.unit(new.unit_id)
        item = GroceryListItem(
            **new.model_dump(exclude={"checked", "ingredient_id"}),
            ingredient_id=ingredient.id,
            grocery_list_id=grocery_list.id,
            checked=bool(new.checked),
            is_manual=True,
        )
        ensure_room([*grocery_list.items, item])
        await self.items.save(item)
        return await self.items.refreshed(item.id)

    async def update(self, id: int, update: ItemUpdate) -> GroceryListItem:
        item, grocery_list = await self._locked(id)
        values = sent_values(update, never_null={"checked"})
        growth = note_bytes(update.note) - note_bytes(item.note)
        if growth > 0:
            lines, notes = await self.items.size_of(grocery_list)
            ensure_fits(lines * LINE_BYTES + notes + growth)
        if update.unit_id is not None:
            await self.ingredients.unit(update.unit_id)
        assign(item, values)
        if values.keys() & {"quantity", "unit_id", "note"}:
            # The computed amounts are obsolete, and a rebuild must not overwrite the user's change.
            item.is_manual = True
            item.needed_quantity = item.needed_unit = None
            item.canonical_quantity_needed = item.canonical_unit = None
        await self.items.save(item)
        return await self.items.refreshed(id)

    async def toggle(self, id: int) -> GroceryListItem:
        item, _ = await self._locked(id)
        item.checked = not item.checked
        return await self.items.save(item)

    async def remove(self, id: int, list_id: int | None = None) -> None:
        item, grocery_list = await self._locked(id)
        if list_id is not None and grocery_list.id != list_id:
            raise ItemNotFound
        await self.items.delete(item)

    async def remove_checked(self, list_id: int) -> Cleared:
        grocery_list = await self.lists.get(list_id, lock=True)
        removed = await self.items.remove_checked(grocery_list)
        return Cleared(items_removed=removed, message=f"Removed {removed} checked items")

    async def mark_purchased(self, id: int) -> Purchased:
        """Check the line and add its amount to the pantry of the list's owner.

        Change nothing if the line is already purchased.
        """
        item, grocery_list = await self._locked(id)
        if item.is_purchased:
            return self._purchased(item, None, "Item was already purchased")
        owner = self.access.owner(grocery_list.family_id)
        foods = Foods(await self.ingredients.facts([item.ingredient_id], owner))
        amount = foods.to_buy(item)
        bought = Bought(
            ingredient=item.ingredient,
            amount=amount,
            quantity=item.quantity,
            unit=item.unit_code,
            on=self.today,
        )
        await self.pantry.put_away(grocery_list.family_id, bought)
        item.is_purchased = item.checked = True
        await self.items.save(item)
        return self._purchased(
            await self.items.refreshed(id), bought, "Item purchased and added to the pantry"
        )

    @staticmethod
    def _purchased(item: GroceryListItem, bought: Bought | None, message: str) -> Purchased:
        amount = bought.amount if bought else None
        return Purchased(
            grocery_item=ItemRead.model_validate(item),
            pantry_quantity_added=amount.quantity if amount else None,
            pantry_unit=amount.unit if amount else None,
            message=message,
        )

    async def _locked(self, id: int) -> tuple[GroceryListItem, GroceryList]:
        """Lock the list of an item, and return both. Changes of a list run one after another."""
        grocery_list = await self.lists.locked_with(id)
        if grocery_list is None:
            await self.items.get(id)  # raises ItemNotFound or ListAccessDenied
            raise ItemNotFound
        return await self.items.refreshed(id), grocery_list
