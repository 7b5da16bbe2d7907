from dataclasses import dataclass
from decimal import Decimal

from freshly.chassis.dependencies import Injected
from freshly.domains.families.access import CurrentAccess
from freshly.domains.grocery.errors import MealToAddNotFound
from freshly.domains.grocery.measuring import MAX_NOTE_LENGTH, NOTE_SEPARATOR
from freshly.domains.grocery.models import GroceryList, GroceryListItem
from freshly.domains.grocery.repository import ItemRepository
from freshly.domains.grocery.room import ensure_room
from freshly.domains.grocery.schemas import AddedFromMeal, AddFromMeal, MissingIngredient
from freshly.domains.grocery.service.lists import ListService
from freshly.domains.ingredients.amounts import scaled
from freshly.domains.ingredients.service import IngredientService
from freshly.domains.meals.errors import MealNotFound
from freshly.domains.meals.models import Meal
from freshly.domains.meals.service import MealService


@dataclass
class FromMealService:
    access: CurrentAccess
    lists: Injected[ListService]
    items: Injected[ItemRepository]
    meals: Injected[MealService]
    ingredients: Injected[IngredientService]

    async def add(self, request: AddFromMeal) -> AddedFromMeal:
        """Add the ingredients of a meal to a list, with their amounts as notes.

        The pantry is not read. Raise MealToAddNotFound if the caller cannot see the meal.
        """
        meal = await self._meal(request.meal_id)
        grocery_list = await self._list(request, meal)
        factor = request.servings_multiplier or Decimal(1)
        missing = list(meal.named_amounts(missing_only=True))
        owner = self.access.owner(grocery_list.family_id)
        rows = await self.ingredients.match_or_create((name for name, _ in missing), owner)
        on_list = {item.ingredient.base_food_id: item for item in grocery_list.items}
        added: dict[int, GroceryListItem] = {}
        for name, amount in missing:
            row = rows[name]
            note = scaled(amount, factor, row.name).strip()
            item = on_list.get(row.base_food_id) or added.get(row.base_food_id)
            if item is not None:
                _append(item, note)
            else:
                added[row.base_food_id] = GroceryListItem(
                    grocery_list_id=grocery_list.id, ingredient_id=row.id, note=note or None
                )
        ensure_room([*grocery_list.items, *added.values()])
        await self.items.add_all(added.values())
        read = await self.lists.reread(grocery_list.id)
        return AddedFromMeal(
            grocery_list=read,
            items_added=len(added),
            missing_ingredients=[
                MissingIngredient.model_validate(item) for item in read.items if not item.checked
            ],
            message=f"Added {len(added)} ingredients of {meal.name}",
        )

    async def _meal(self, id: int) -> Meal:
        try:
            return await self.meals.get(id)
        except MealNotFound as error:
            raise MealToAddNotFound(id=id) from error

    async def _list(self, request: AddFromMeal, meal: Meal) -> GroceryList:
        if request.list_id is not None:
            return await self.lists.get(request.list_id, lock=True)
        created = await self.lists.make(request.family_id, title=request.title or meal.name)
        return await self.lists.lists.refreshed(created.id)


def _append(item: GroceryListItem, note: str) -> None:
    """Append an amount to the note of a line, unless the note contains it already."""
    if not note or note in (item.note or ""):
        return
    item.note = NOTE_SEPARATOR.join(part for part in (item.note, note) if part)[:MAX_NOTE_LENGTH]
