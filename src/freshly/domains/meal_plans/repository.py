from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, delete, or_, select
from sqlalchemy.orm import joinedload, selectinload

from freshly.chassis.data.pagination import KeysetQuery, ListQuery, PageRows, columns_for
from freshly.chassis.data.queries import struct_for
from freshly.chassis.data.transactions import CurrentDatabase
from freshly.domains.families.access import MY_FAMILY_IDS, GuardedRepository, Owner
from freshly.domains.meal_plans.errors import MealPlanNotFound, SlotNotFound
from freshly.domains.meal_plans.models import MealPlan, MealSlot, PlannedPortions, SlotMeal
from freshly.domains.meal_plans.schemas import MealPlanRead
from freshly.domains.meals.models import Meal

plans = MealPlan.__table__.c
ROWS = select(*columns_for(MealPlanRead, MealPlan.__table__))
PLAN = struct_for(MealPlanRead)
OF_FAMILY = KeysetQuery(ROWS.where(plans.family_id == bindparam("family")), plans.id)
OF_USER = KeysetQuery(
    ROWS.where(
        plans.created_by_user_id == bindparam("user_id"),
        # A user who left a family does not see its plans, not even those that they created.
        or_(plans.family_id.is_(None), plans.family_id.in_(MY_FAMILY_IDS)),
    ),
    plans.id,
)


@dataclass
class MealPlanListReader:
    """Reads plans as structs with the fields of MealPlanRead.

    The plans of a family, or those that a user created and may still see.
    """

    db: CurrentDatabase

    async def page(self, owner: Owner, query: ListQuery) -> PageRows[Any]:
        if owner.family_id is not None:
            rows, next_cursor = await OF_FAMILY.page(self.db, query, family=owner.family_id)
        else:
            rows, next_cursor = await OF_USER.page(self.db, query, user_id=owner.user_id)
        return PageRows(rows.as_structs(PLAN), next_cursor)


class MealPlanRepository(GuardedRepository[MealPlan]):
    model = MealPlan
    not_found = MealPlanNotFound


class SlotRepository(GuardedRepository[MealSlot]):
    model = MealSlot
    not_found = SlotNotFound

    async def of(self, plan: MealPlan) -> Sequence[MealSlot]:
        """Return the slots of a plan with their meals, ordered by day."""
        slots = await self.session.scalars(
            self.visible()
            .where(MealSlot.meal_plan_id == plan.id)
            .options(
                selectinload(MealSlot.meals).options(joinedload(SlotMeal.meal, innerjoin=True))
            )
            .order_by(MealSlot.day, MealSlot.id)
            .execution_options(populate_existing=True)
        )
        return slots.all()

    async def meal_on_family_plan(self, meal_id: int) -> Meal | None:
        """Return the meal if a plan of one of the caller's families contains it."""
        planned = (
            select(SlotMeal.meal_id)
            .join(MealSlot, MealSlot.id == SlotMeal.meal_slot_id)
            .join(MealPlan, MealPlan.id == MealSlot.meal_plan_id)
            .where(MealPlan.family_id.in_(list(self.access.roles)))
        )
        return await self.session.scalar(
            select(Meal).where(
                Meal.id == meal_id, Meal.id.in_(planned.where(SlotMeal.meal_id == meal_id))
            )
        )

    async def planned_at(self, plan: MealPlan, day: int, slot: str) -> list[PlannedPortions]:
        rows = await self.session.execute(
            select(SlotMeal.meal_id, SlotMeal.portions, MealSlot.servings)
            .join(MealSlot, MealSlot.id == SlotMeal.meal_slot_id)
            .where(MealSlot.meal_plan_id == plan.id, MealSlot.day == day, MealSlot.slot == slot)
        )
        return [PlannedPortions(*row) for row in rows]

    async def clear(self, plan: MealPlan, day: int, slot: str) -> bool:
        """Delete the slot. Return False if there was none."""
        deleted = await self.session.scalars(
            delete(MealSlot)
            .where(MealSlot.meal_plan_id == plan.id, MealSlot.day == day, MealSlot.slot == slot)
            .returning(MealSlot.id)
        )
        return bool(deleted.all())
