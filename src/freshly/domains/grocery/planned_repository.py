"""The lists of current meal plans, for jobs and listeners."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, func, or_, select

from freshly.chassis.data.transactions import Session
from freshly.domains.families.access import belongs_to
from freshly.domains.families.models import Membership
from freshly.domains.grocery.models import GroceryList, GroceryNeed, ListStatus
from freshly.domains.ingredients.models import Ingredient
from freshly.domains.meal_plans.models import MealPlan, MealSlot, SlotMeal


@dataclass
class PlannedListRepository:
    """Lists of current meal plans, which are recomputed when stock or plans change.

    Not scoped by Access: listeners and jobs read the lists of any owner.
    """

    session: Session

    async def any_needs(
        self,
        ingredient_ids: Iterable[int],
        day: date,
        *,
        family_id: int | None,
        person_id: int | None,
    ) -> bool:
        """Return True if a current list of the family or user needs one of these ingredients."""
        foods = select(func.coalesce(Ingredient.food_id, Ingredient.id)).where(
            Ingredient.id.in_(list(ingredient_ids))
        )
        needs = (
            self._current(day)
            .join(GroceryNeed, GroceryNeed.grocery_list_id == GroceryList.id)
            .where(
                belongs_to(GroceryList, family_id, person_id), GroceryNeed.ingredient_id.in_(foods)
            )
        )
        return bool(await self.session.scalar(select(needs.exists())))

    async def owners(self, plan_id: int, day: date) -> Sequence[tuple[int | None, int | None]]:
        """Return the owners of the lists for a plan: (family id, None) or (None, user id)."""
        return await self._owners(day, MealPlan.id == plan_id)

    async def owners_planning(
        self, meal_id: int, day: date
    ) -> Sequence[tuple[int | None, int | None]]:
        """Return the owners of the lists for all plans that contain the meal."""
        plans = (
            select(MealSlot.meal_plan_id)
            .join(SlotMeal, SlotMeal.meal_slot_id == MealSlot.id)
            .where(SlotMeal.meal_id == meal_id)
        )
        return await self._owners(day, MealPlan.id.in_(plans))

    async def _owners(
        self, day: date, of_plans: ColumnElement[bool]
    ) -> Sequence[tuple[int | None, int | None]]:
        rows = await self.session.execute(
            self._current(day)
            .with_only_columns(GroceryList.family_id, GroceryList.owner_user_id)
            .where(of_plans)
            .distinct()
        )
        return [(row[0], row[1]) for row in rows]

    async def plan_ids(
        self, day: date, *, family_id: int | None, person_id: int | None
    ) -> Sequence[int]:
        rows = await self.session.scalars(
            self._current(day)
            .where(belongs_to(GroceryList, family_id, person_id))
            .distinct()
            .order_by(MealPlan.id)
        )
        return rows.all()

    async def first_member(self, family_id: int) -> int | None:
        """Return the user id of the member who joined first, in whose name a job may work."""
        user_id: int | None = await self.session.scalar(
            select(Membership.user_id)
            .where(Membership.family_id == family_id)
            .order_by(Membership.id)
            .limit(1)
        )
        return user_id

    def _current(self, day: date) -> Select[Any]:
        """Select ids of plans with a list to recompute.

        The list is not purchased, the plan's week is not over on `day`, and both have the same
        owner.
        """
        same_user = and_(
            MealPlan.family_id.is_(None), MealPlan.created_by_user_id == GroceryList.owner_user_id
        )
        return (
            select(MealPlan.id)
            .join(GroceryList, GroceryList.meal_plan_id == MealPlan.id)
            .where(
                GroceryList.status != ListStatus.PURCHASED,
                or_(MealPlan.family_id == GroceryList.family_id, same_user),
                or_(MealPlan.week_start > day - timedelta(days=7), MealPlan.week_end >= day),
            )
        )
