from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal

from freshly.chassis.dependencies import Injected
from freshly.chassis.web.clock import Today
from freshly.domains.families.access import CurrentAccess
from freshly.domains.grocery.errors import ListHasNoPlan, PlanToShopNotFound
from freshly.domains.grocery.measuring import JOINED, Foods, reservation_row
from freshly.domains.grocery.models import (
    GroceryList,
    GroceryListItem,
    GroceryNeed,
    ListStatus,
)
from freshly.domains.grocery.netting import NOTHING, Key, Line, Need, net
from freshly.domains.grocery.repository import ItemRepository, ListRepository, ReasonRepository
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

UNTITLED = "Meal Plan"


@dataclass(frozen=True)
class Wanted:
    """One ingredient of one meal on one day."""

    slot_meal: SlotMeal
    on: date
    factor: Decimal  # how many times the meal's amounts
    name: str
    amount: str


@dataclass
class OnList:
    """What is on the list already, apart from what is rebuilt."""

    amounts: dict[Key, Decimal] = field(default_factory=dict)
    without_amount: set[int] = field(default_factory=set)
    foods: set[int] = field(default_factory=set)


@dataclass
class RebuildService:
    """What a planned week needs and the kitchen does not have, as a list."""

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
        try:
            plan = await self.plans.get(plan_id, lock=True)
        except MealPlanNotFound as error:
            raise PlanToShopNotFound(id=plan_id) from error
        grocery_list, items_count = await self._rebuild(plan, await self._list(plan))
        return Rebuilt(
            grocery_list=await self.lists.reread(grocery_list.id),
            items_count=items_count,
            message=f"{items_count} items to buy for {plan.title or UNTITLED}",
        )

    async def recompute(self, plan_id: int) -> None:
        """Where there is a list of the plan; one that somebody has removed stays away."""
        plan = await self.plans.get(plan_id, lock=True)
        found = await self.rows.of_plan(plan.id, self.access.owner(plan.family_id))
        if found is not None and found.status != ListStatus.PURCHASED:
            await self._rebuild(plan, found, unasked=True)

    async def _rebuild(
        self, plan: MealPlan, found: GroceryList, *, unasked: bool = False
    ) -> tuple[GroceryList, int]:
        """The list, and how many lines the plan has on it.

        `unasked` leaves out what somebody has taken off the list.
        """
        locked = await self.rows.get(found.id, lock=True)
        grocery_list = await self.rows.refreshed(locked.id)
        off = await self._taken_off(grocery_list) if unasked else set()
        wanted = _wanted(plan, await self.plans.planned(plan))
        foods = await self.ingredients.match_or_create(w.name for w in wanted)
        needs = await self._needs(grocery_list, wanted, foods)
        kept, former = _parted(grocery_list.items, plan)
        lines = await self._net(plan, needs)
        await self.reasons.replace_needs(grocery_list, needs)
        await self.reasons.replace_reservations(
            grocery_list,
            [
                reservation_row(grocery_list, key, reserved)
                for key, line in lines.items()
                for reserved in line.reserved.values()
            ],
        )
        made = await self._make_items(grocery_list, plan, lines, needs, kept)
        made = [item for item in made if item.ingredient_id not in off]
        if await self.items.replace(former, made):
            await self.rows.touch(grocery_list)
        return grocery_list, len(made)

    async def _taken_off(self, grocery_list: GroceryList) -> set[int]:
        """Foods that the last rebuild put on the list, and of which there is no line any more."""
        left: defaultdict[tuple[int, str | None], Decimal] = defaultdict(Decimal)
        for need in await self.reasons.needs(grocery_list):
            left[need.ingredient_id, need.unit] += 1 if need.quantity is None else need.quantity
        for taken in await self.reasons.reservations(grocery_list):
            left[taken.ingredient_id, taken.unit] -= taken.quantity
        there = {item.ingredient.base_food_id for item in grocery_list.items}
        return {food for (food, _), amount in left.items() if amount > 0} - there

    async def rebuild_list(self, list_id: int, plan_id: int | None) -> Rebuilt:
        """By the list, as some code of the existing app calls it."""
        wanted = plan_id or (await self.lists.get(list_id)).meal_plan_id
        if wanted is None:
            raise ListHasNoPlan
        return await self.rebuild(wanted)

    async def _list(self, plan: MealPlan) -> GroceryList:
        owner = self.access.owner(plan.family_id)
        found = await self.rows.of_plan(plan.id, owner)
        return found or await self.lists.make(
            plan.family_id, title=plan.title or UNTITLED, meal_plan_id=plan.id
        )

    async def _needs(
        self,
        grocery_list: GroceryList,
        wanted: Sequence[Wanted],
        foods: Mapping[str, Ingredient],
    ) -> list[GroceryNeed]:
        facts = Foods(await self.ingredients.facts(row.base_food_id for row in foods.values()))
        needs = []
        for one in wanted:
            food_id = foods[one.name].base_food_id
            need = GroceryNeed(
                grocery_list_id=grocery_list.id,
                ingredient_id=food_id,
                meal_id=one.slot_meal.meal_id,
                meal_name=one.slot_meal.meal.name,
                needed_on=one.on,
                text=one.amount,
            )
            amount = parse_amount(one.amount, one.name)
            if amount is not None:
                measured = comparable(
                    amount.quantity * one.factor, amount.unit, facts.of(food_id)
                ).rounded()
                if fits(measured.quantity):
                    need.quantity, need.unit = measured.quantity, measured.unit
            needs.append(need)
        return needs

    async def _net(self, plan: MealPlan, needs: Sequence[GroceryNeed]) -> dict[Key, Line]:
        lots = await self.pantry.stock(plan.family_id, {need.ingredient_id for need in needs})
        ids = {lot.ingredient_id for lot in lots if lot.ingredient_id}
        facts = Foods(await self.ingredients.facts(ids))
        return net(
            (
                Need(Key(n.ingredient_id, n.unit), max(n.needed_on, self.today), n.quantity)
                for n in needs
                if n.quantity is not None and n.unit
            ),
            facts.lots(lots),
        )

    async def _make_items(
        self,
        grocery_list: GroceryList,
        plan: MealPlan,
        lines: Mapping[Key, Line],
        needs: Sequence[GroceryNeed],
        kept: Sequence[GroceryListItem],
    ) -> list[GroceryListItem]:
        on_list = await self._on_list(kept)
        made = []
        for key, line in lines.items():
            there = on_list.amounts.get(key, NOTHING)
            left = line.to_buy - there
            if left <= 0 or key.food in on_list.without_amount:
                continue
            display = for_display(left, key.unit)
            unit = await self.ingredients.unit_by_code(display.unit)
            made.append(
                GroceryListItem(
                    grocery_list_id=grocery_list.id,
                    ingredient_id=key.food,
                    quantity=display.quantity,
                    unit_id=unit.id if unit else None,
                    canonical_quantity_needed=left,
                    canonical_unit=key.unit,
                    source_meal_plan_id=plan.id,
                    needed_quantity=line.needed - there,
                    needed_unit=key.unit,
                )
            )
        made += [
            GroceryListItem(
                grocery_list_id=grocery_list.id,
                ingredient_id=food_id,
                note=text or None,
                source_meal_plan_id=plan.id,
            )
            for food_id, text in _texts(needs).items()
            if food_id not in on_list.foods
        ]
        rows = await self.ingredients.by_id(item.ingredient_id for item in made)
        return sorted(made, key=lambda item: _aisle(rows[item.ingredient_id]))

    async def _on_list(self, kept: Sequence[GroceryListItem]) -> OnList:
        """What people put on the list themselves is bought once. What is purchased is stock now."""
        found = OnList()
        foods = Foods(await self.ingredients.facts(item.ingredient_id for item in kept))
        for item in kept:
            food = item.ingredient.base_food_id
            found.foods.add(food)
            if item.is_purchased:
                continue
            amount = foods.to_buy(item)
            if amount is None:
                found.without_amount.add(food)
            else:
                key = Key(food, amount.unit)
                found.amounts[key] = found.amounts.get(key, NOTHING) + amount.quantity
        return found


def _parted(
    items: Sequence[GroceryListItem], plan: MealPlan
) -> tuple[list[GroceryListItem], list[GroceryListItem]]:
    """What people did on the list, which stays; and what the last rebuild made."""
    kept: list[GroceryListItem] = []
    former: list[GroceryListItem] = []
    for item in items:
        made_here = item.source_meal_plan_id == plan.id
        stays = not made_here or item.is_manual or item.is_purchased
        (kept if stays else former).append(item)
    return kept, former


def _wanted(plan: MealPlan, slots: Sequence[MealSlot]) -> list[Wanted]:
    return [
        Wanted(
            slot_meal=slot_meal,
            on=slot.date_in(plan),
            factor=slot_meal.meal.servings_factor(slot.servings) * (slot_meal.portions or 1),
            name=str(ingredient["name"]).strip(),
            amount=str(ingredient.get("amount") or "").strip(),
        )
        for slot in slots
        for slot_meal in slot.meals
        for ingredient in slot_meal.meal.ingredients
        if str(ingredient.get("name") or "").strip()
    ]


def _texts(needs: Sequence[GroceryNeed]) -> dict[int, str]:
    """Per food what stands in recipes without an amount that could be read, each text once."""
    texts: dict[int, list[str]] = {}
    for need in needs:
        if need.quantity is None:
            known = texts.setdefault(need.ingredient_id, [])
            if need.text and need.text not in known:
                known.append(need.text)
    return {food_id: JOINED.join(found) for food_id, found in texts.items()}


def _aisle(row: Ingredient) -> tuple[bool, str, str]:
    """As one walks through the shop."""
    return row.category is None, row.category or "", row.name
