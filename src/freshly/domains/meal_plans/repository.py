from collections.abc import Sequence
from typing import Any

from sqlalchemy import and_, delete, select
from sqlalchemy.orm import joinedload, selectinload

from freshly.chassis.pages import ListQuery, Slice, paginate
from freshly.domains.families.access import GuardedRepository, Owner
from freshly.domains.meal_plans.errors import MealPlanNotFound, SlotNotFound
from freshly.domains.meal_plans.models import MealPlan, MealSlot, SlotMeal


class MealPlanRepository(GuardedRepository[MealPlan]):
    model = MealPlan
    not_found = MealPlanNotFound

    async def listed(self, owner: Owner, query: ListQuery) -> Slice[Any]:
        """Rows of a family's plans, or of those that the caller made and may still see."""
        theirs = (
            MealPlan.family_id == owner.family_id
            if owner.family_id is not None
            else and_(
                MealPlan.created_by_user_id == owner.user_id, MealPlan.visible_to(self.access)
            )
        )
        rows = select(*MealPlan.__table__.columns).where(theirs)
        return await paginate(self.session, rows, (MealPlan.id,), query, columns=True)


class SlotRepository(GuardedRepository[MealSlot]):
    model = MealSlot
    not_found = SlotNotFound

    async def of(self, plan: MealPlan) -> Sequence[MealSlot]:
        """The slots of a plan with their meals, day by day."""
        found = await self.session.scalars(
            self.visible()
            .where(MealSlot.meal_plan_id == plan.id)
            .options(
                selectinload(MealSlot.meals).options(joinedload(SlotMeal.meal, innerjoin=True))
            )
            .order_by(MealSlot.day, MealSlot.id)
            .execution_options(populate_existing=True)
        )
        return found.all()

    async def meal_ids_at(self, plan: MealPlan, day: int, slot: str) -> set[int]:
        found = await self.session.scalars(
            select(SlotMeal.meal_id)
            .join(MealSlot, MealSlot.id == SlotMeal.meal_slot_id)
            .where(MealSlot.meal_plan_id == plan.id, MealSlot.day == day, MealSlot.slot == slot)
        )
        return set(found)

    async def clear(self, plan: MealPlan, day: int, slot: str) -> bool:
        """Whether there was anything."""
        gone = await self.session.scalars(
            delete(MealSlot)
            .where(MealSlot.meal_plan_id == plan.id, MealSlot.day == day, MealSlot.slot == slot)
            .returning(MealSlot.id)
        )
        return bool(gone.all())
