from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal

from freshly.chassis.dependencies import Injected
from freshly.chassis.observability.logging import get_logger
from freshly.chassis.resilience.fairness import in_turns
from freshly.chassis.web.clock import Today
from freshly.domains.families.access import CurrentAccess, Owner
from freshly.domains.grocery.errors import (
    ListFull,
    ListHasNoPlan,
    ListOfAnotherPlan,
    PlanToShopNotFound,
    TooManyNeeds,
)
from freshly.domains.grocery.measuring import (
    MAX_NOTE_LENGTH,
    NOTE_SEPARATOR,
    Foods,
    reservation_row,
)
from freshly.domains.grocery.models import (
    GroceryList,
    GroceryListItem,
    GroceryNeed,
    ListStatus,
)
from freshly.domains.grocery.netting import ZERO, Key, Line, Need, net
from freshly.domains.grocery.repository import ItemRepository, ListRepository, ReasonRepository
from freshly.domains.grocery.room import ensure_explicable, ensure_room
from freshly.domains.grocery.schemas import Rebuilt
from freshly.domains.grocery.service.lists import ListService
from freshly.domains.ingredients.amounts import parse_amount
from freshly.domains.ingredients.measures import comparable, fits, for_display
from freshly.domains.ingredients.models import Ingredient
from freshly.domains.ingredients.service import IngredientService
from freshly.domains.meal_plans.errors import MealPlanNotFound
from freshly.domains.meal_plans.models import MealPlan, MealSlot, SlotMeal
from freshly.domains.meal_plans.service import MealPlanService
from freshly.domains.pantry.service import PantryService

logger = get_logger(__name__)

UNTITLED = "Meal Plan"
MAX_NEEDS = (
    3000  # ingredients of all planned meals; three large meals at each of 28 times have less
)


@dataclass(frozen=True)
class PlannedIngredient:
    """An ingredient of a meal that is planned on a day."""

    slot_meal: SlotMeal
    on: date
    factor: Decimal  # by which the meal's amounts are multiplied
    name: str
    amount: str


@dataclass
class ItemsOnList:
    """Summary of the items that a rebuild does not touch. Foods are ingredient ids."""

    amounts: dict[Key, Decimal] = field(default_factory=dict)
    without_amount: set[int] = field(default_factory=set)
    foods: set[int] = field(default_factory=set)


@dataclass
class RebuildService:
    """Builds the list of what a meal plan needs and the pantry does not have."""

    access: CurrentAccess
    plans: Injected[MealPlanService]
    lists: Injected[ListService]
    rows: Injected[ListRepository]
    items: Injected[ItemRepository]
    reasons: Injected[ReasonRepository]
    pantry: Injected[PantryService]
    ingredients: Injected[IngredientService]
    today: Today

    async def rebuild(self, plan_id: int) -> Rebuilt:
        """Rebuild the list of a plan, or create it. Lock the plan and the list.

        Raise PlanToShopNotFound if the caller cannot see the plan.
        """
        plan = await self._locked_plan(plan_id)
        return await self._rebuilt(plan, await self._list(plan))

    async def _locked_plan(self, plan_id: int) -> MealPlan:
        try:
            return await self.plans.get(plan_id, lock=True)
        except MealPlanNotFound as error:
            raise PlanToShopNotFound(id=plan_id) from error

    async def _rebuilt(self, plan: MealPlan, list_of_plan: GroceryList) -> Rebuilt:
        grocery_list, items_count = await self._rebuild(plan, list_of_plan)
        return Rebuilt(
            grocery_list=await self.lists.reread(grocery_list.id),
            items_count=items_count,
            items_rebuilt=items_count,
            message=f"{items_count} items to buy for {plan.title or UNTITLED}",
        )

    async def recompute(self, plan_id: int) -> None:
        """Rebuild the list of a plan after a change, if the list exists and is not purchased.

        A job calls this without the user asking, so lines that users removed stay removed.
        """
        plan = await self.plans.get(plan_id, lock=True)
        grocery_list = await self.rows.of_plan(plan.id, self.access.owner(plan.family_id))
        if grocery_list is not None and grocery_list.status != ListStatus.PURCHASED:
            try:
                await self._rebuild(plan, grocery_list, keep_removed=True)
            except (TooManyNeeds, ListFull) as error:
                # The list stays as it is until the plan is smaller.
                logger.warning("list not recomputed", plan=plan_id, reason=error.text)

    async def _rebuild(
        self, plan: MealPlan, list_of_plan: GroceryList, *, keep_removed: bool = False
    ) -> tuple[GroceryList, int]:
        """Lock and rebuild the list. Return it, and the number of lines made from the plan.

        With `keep_removed`, do not add foods again that users removed from the list.
        """
        locked = await self.rows.get(list_of_plan.id, lock=True)
        grocery_list = await self.rows.refreshed(locked.id)
        removed = await self._foods_removed_by_users(grocery_list) if keep_removed else set()
        planned = _planned_ingredients(plan, await self.plans.planned(plan))
        if len(planned) > MAX_NEEDS:
            raise TooManyNeeds(number=len(planned), limit=MAX_NEEDS)
        foods = await self.ingredients.match_or_create(
            (ingredient.name for ingredient in planned), self.access.owner(plan.family_id)
        )
        needs = await self._needs(grocery_list, planned, foods)
        user_items, old_items = _split_by_origin(grocery_list.items, plan)
        lines = await self._net(plan, needs)
        new_items = await self._new_items(grocery_list, plan, lines, needs, user_items)
        new_items = [item for item in new_items if item.ingredient_id not in removed]
        ensure_room([*user_items, *new_items])
        ensure_explicable({need.ingredient_id for need in needs}, needs)
        await self.reasons.replace_needs(grocery_list, needs)
        await self.reasons.replace_reservations(
            grocery_list,
            [
                reservation_row(grocery_list, key, reserved)
                for key, line in lines.items()
                for reserved in line.reserved.values()
            ],
        )
        if await self.items.replace(old_items, new_items):
            await self.rows.touch(grocery_list)
        return grocery_list, len(new_items)

    async def _foods_removed_by_users(self, grocery_list: GroceryList) -> set[int]:
        """Return foods that the last rebuild put on the list and that have no line now."""
        to_buy: defaultdict[tuple[int, str | None], Decimal] = defaultdict(Decimal)
        for need in await self.reasons.needs(grocery_list):
            to_buy[need.ingredient_id, need.unit] += 1 if need.quantity is None else need.quantity
        for reserved in await self.reasons.reservations(grocery_list):
            to_buy[reserved.ingredient_id, reserved.unit] -= reserved.quantity
        on_list = {item.ingredient.base_food_id for item in grocery_list.items}
        return {food for (food, _), amount in to_buy.items() if amount > 0} - on_list

    async def rebuild_list(self, list_id: int, plan_id: int | None) -> Rebuilt:
        """Rebuild this list from its plan. The request may name the plan, too.

        Raise ListHasNoPlan, or ListOfAnotherPlan if the request names another plan.
        """
        grocery_list = await self.lists.get(list_id)
        if grocery_list.meal_plan_id is None and plan_id is None:
            raise ListHasNoPlan
        if plan_id not in (None, grocery_list.meal_plan_id):
            raise ListOfAnotherPlan
        plan = await self._locked_plan(grocery_list.meal_plan_id or 0)
        return await self._rebuilt(plan, grocery_list)

    async def _list(self, plan: MealPlan) -> GroceryList:
        owner = self.access.owner(plan.family_id)
        existing = await self.rows.of_plan(plan.id, owner)
        return existing or await self.lists.make(
            plan.family_id, title=plan.title or UNTITLED, meal_plan_id=plan.id
        )

    async def _needs(
        self,
        grocery_list: GroceryList,
        planned: Sequence[PlannedIngredient],
        foods: Mapping[str, Ingredient],
    ) -> list[GroceryNeed]:
        owner = self.access.owner(grocery_list.family_id)
        food_ids = (row.base_food_id for row in foods.values())
        facts = Foods(await self.ingredients.facts(food_ids, owner))
        needs = []
        async for ingredient in in_turns(planned):
            food_id = foods[ingredient.name].base_food_id
            need = GroceryNeed(
                grocery_list_id=grocery_list.id,
                ingredient_id=food_id,
                meal_id=ingredient.slot_meal.meal_id,
                meal_name=ingredient.slot_meal.meal.name,
                needed_on=ingredient.on,
                text=ingredient.amount,
            )
            amount = parse_amount(ingredient.amount, ingredient.name)
            if amount is not None:
                measured = comparable(
                    amount.quantity * ingredient.factor, amount.unit, facts.of(food_id)
                ).rounded()
                if fits(measured.quantity):
                    need.quantity, need.unit = measured.quantity, measured.unit
            needs.append(need)
        return needs

    async def _net(self, plan: MealPlan, needs: Sequence[GroceryNeed]) -> dict[Key, Line]:
        lots = await self.pantry.stock(plan.family_id, {need.ingredient_id for need in needs})
        ids = {lot.ingredient_id for lot in lots if lot.ingredient_id}
        facts = Foods(await self.ingredients.facts(ids, self.access.owner(plan.family_id)))
        return net(
            (
                Need(Key(n.ingredient_id, n.unit), max(n.needed_on, self.today), n.quantity)
                for n in needs
                if n.quantity is not None and n.unit
            ),
            facts.lots(lots),
        )

    async def _new_items(
        self,
        grocery_list: GroceryList,
        plan: MealPlan,
        lines: Mapping[Key, Line],
        needs: Sequence[GroceryNeed],
        user_items: Sequence[GroceryListItem],
    ) -> list[GroceryListItem]:
        on_list = await self._summary_of(user_items, self.access.owner(grocery_list.family_id))
        new_items = []
        units: dict[str, int | None] = {}
        async for key, line in in_turns(lines.items()):
            already_on_list = on_list.amounts.get(key, ZERO)
            to_buy = line.to_buy - already_on_list
            if to_buy <= 0 or key.food in on_list.without_amount:
                continue
            display = for_display(to_buy, key.unit)
            if display.unit not in units:
                unit = await self.ingredients.unit_by_code(display.unit)
                units[display.unit] = unit.id if unit else None
            new_items.append(
                GroceryListItem(
                    grocery_list_id=grocery_list.id,
                    ingredient_id=key.food,
                    quantity=display.quantity,
                    unit_id=units[display.unit],
                    canonical_quantity_needed=to_buy,
                    canonical_unit=key.unit,
                    source_meal_plan_id=plan.id,
                    needed_quantity=line.needed - already_on_list,
                    needed_unit=key.unit,
                )
            )
        new_items += [
            GroceryListItem(
                grocery_list_id=grocery_list.id,
                ingredient_id=food_id,
                note=text or None,
                source_meal_plan_id=plan.id,
            )
            for food_id, text in _unreadable_amounts(needs).items()
            if food_id not in on_list.foods
        ]
        rows = await self.ingredients.corrected(
            (item.ingredient_id for item in new_items), self.access.owner(grocery_list.family_id)
        )
        return sorted(new_items, key=lambda item: _shop_order(rows[item.ingredient_id]))

    async def _summary_of(self, user_items: Sequence[GroceryListItem], owner: Owner) -> ItemsOnList:
        """Sum up the items of users, so that their amounts are not added a second time.

        Amounts of purchased items do not count: they are in the pantry now.
        """
        summary = ItemsOnList()
        ids = (item.ingredient_id for item in user_items)
        foods = Foods(await self.ingredients.facts(ids, owner))
        for item in user_items:
            food = item.ingredient.base_food_id
            summary.foods.add(food)
            if item.is_purchased:
                continue
            amount = foods.to_buy(item)
            if amount is None:
                summary.without_amount.add(food)
            else:
                key = Key(food, amount.unit)
                summary.amounts[key] = summary.amounts.get(key, ZERO) + amount.quantity
        return summary


def _split_by_origin(
    items: Sequence[GroceryListItem], plan: MealPlan
) -> tuple[list[GroceryListItem], list[GroceryListItem]]:
    """Separate the items that users added, changed or purchased from those of the last rebuild."""
    user_items: list[GroceryListItem] = []
    old_items: list[GroceryListItem] = []
    for item in items:
        from_plan = item.source_meal_plan_id == plan.id
        by_user = not from_plan or item.is_manual or item.is_purchased
        (user_items if by_user else old_items).append(item)
    return user_items, old_items


def _planned_ingredients(plan: MealPlan, slots: Sequence[MealSlot]) -> list[PlannedIngredient]:
    return [
        PlannedIngredient(
            slot_meal=slot_meal,
            on=slot.date_in(plan),
            factor=slot_meal.meal.servings_factor(slot.servings) * (slot_meal.portions or 1),
            name=name,
            amount=amount,
        )
        for slot in slots
        for slot_meal in slot.meals
        for name, amount in slot_meal.meal.named_amounts()
    ]


def _unreadable_amounts(needs: Sequence[GroceryNeed]) -> dict[int, str]:
    """Return the texts of amounts that could not be parsed, by ingredient id, each once."""
    texts: dict[int, dict[str, None]] = {}  # as an ordered set
    for need in needs:
        if need.quantity is None:
            food_texts = texts.setdefault(need.ingredient_id, {})
            if need.text:
                food_texts[need.text] = None
    return {
        food_id: NOTE_SEPARATOR.join(food_texts)[:MAX_NOTE_LENGTH]
        for food_id, food_texts in texts.items()
    }


def _shop_order(row: Ingredient) -> tuple[bool, str, str]:
    """Return the sort key of a line: category, then name. No category comes last."""
    return row.category is None, row.category or "", row.name
