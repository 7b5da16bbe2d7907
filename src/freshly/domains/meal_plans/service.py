from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from freshly.chassis.cache.body import CachedBody
from freshly.chassis.data.events import EventBus
from freshly.chassis.data.pagination import ListQuery
from freshly.chassis.data.transactions import CurrentDatabase
from freshly.chassis.dependencies import Injected
from freshly.chassis.security.caller import IDENTITY
from freshly.chassis.web.schemas import assign, sent_values
from freshly.domains.families.access import CurrentAccess
from freshly.domains.families.permissions import Permission
from freshly.domains.meal_plans.errors import (
    MealPlannedTwice,
    MealPlanNotFound,
    MealPlanNotFoundOrForeign,
    NotAllowedOnPlan,
    SlotNotFound,
    WeekEndsBeforeItStarts,
)
from freshly.domains.meal_plans.events import SlotsChanged
from freshly.domains.meal_plans.models import PLANS, MealPlan, MealSlot, PlannedPortions, SlotMeal
from freshly.domains.meal_plans.repository import (
    MealPlanListReader,
    MealPlanRepository,
    SlotRepository,
)
from freshly.domains.meal_plans.schemas import (
    MealPlanCreate,
    MealPlanUpdate,
    PersonalMealPlanCreate,
    SlotMealRead,
    SlotRead,
    SlotWrite,
)
from freshly.domains.meals.errors import MealNotFound
from freshly.domains.meals.schemas import MealBoth
from freshly.domains.meals.service import MealService

TIMES_OF_DAY = ("breakfast", "lunch", "dinner", "snack")


@dataclass
class MealPlanListing:
    access: CurrentAccess
    db: CurrentDatabase

    async def page(self, family_id: int | None, query: ListQuery) -> CachedBody:
        owner = self.access.owner(family_id)

        async def load() -> CachedBody:
            return (await MealPlanListReader(self.db).page(owner, query)).to_body()

        key = f"meal_plans/{owner.tag}/{query.limit}/{query.cursor}"
        # A user who leaves a family no longer sees its plans, so memberships count too.
        tags = [PLANS.of(owner.tag), IDENTITY.of(owner.tag)]
        return await self.db.cache.read(key, tags, load)


@dataclass
class PlannedMealService:
    """Reads meals for users who see them, or see a family's plan that contains them."""

    meals: Injected[MealService]
    slots: Injected[SlotRepository]

    async def read(self, id: int) -> MealBoth:
        """Return the meal. Raise MealNotFound."""
        try:
            return MealBoth.of(await self.meals.get(id))
        except MealNotFound:
            planned = await self.slots.meal_on_family_plan(id)
            if planned is None:
                raise
            return MealBoth.on_plan(planned)


@dataclass
class MealPlanService:
    access: CurrentAccess
    plans: Injected[MealPlanRepository]
    slots: Injected[SlotRepository]
    meals: Injected[MealService]
    events: Injected[EventBus]

    async def get(self, id: int, *, lock: bool = False) -> MealPlan:
        return await self.plans.get(id, lock=lock)

    async def create(self, new: MealPlanCreate) -> MealPlan:
        owner = self.access.owner(new.family_id)
        return await self._create(new, owner.family_id)

    async def create_personal(self, new: PersonalMealPlanCreate) -> MealPlan:
        return await self._create(new, None)

    async def update_own(self, id: int, update: MealPlanUpdate) -> MealPlan:
        return await self._change(await self._lock_own(id), update)

    async def update(self, id: int, update: MealPlanUpdate) -> MealPlan:
        return await self._change(await self._lock_managed(id), update)

    async def remove_own(self, id: int) -> None:
        await self.plans.delete(await self._lock_own(id))

    async def remove(self, id: int) -> None:
        await self.plans.delete(await self._lock_managed(id))

    async def planned(self, plan: MealPlan) -> Sequence[MealSlot]:
        return await self.slots.of(plan)

    async def list_slots(self, plan_id: int) -> list[SlotRead]:
        slots = await self.slots.of(await self.plans.get(plan_id))
        return sorted((_read(slot) for slot in slots), key=_day_and_time)

    async def plan_meals(self, plan_id: int, day: int, slot: str, new: SlotWrite) -> SlotRead:
        """Create or replace a slot. The plan is locked, so changes of its slots take turns."""
        if len({planned.meal_id for planned in new.meals}) < len(new.meals):
            raise MealPlannedTwice
        plan = await self.plans.get(plan_id, lock=True)
        former = await self.slots.planned_at(plan, day, slot)
        await self._check_meals(plan, new, {planned.meal_id for planned in former})
        await self.slots.clear(plan, day, slot)
        await self.slots.save(
            MealSlot(
                meal_plan_id=plan.id,
                day=day,
                slot=slot,
                **new.model_dump(exclude={"meals"}),
                meals=[SlotMeal(**planned.model_dump()) for planned in new.meals],
            )
        )
        planned = [PlannedPortions(m.meal_id, m.portions, new.servings) for m in new.meals]
        if Counter(planned) != Counter(former):
            await self.events.publish(SlotsChanged(plan.id))
        slots = await self.slots.of(plan)
        return next(_read(row) for row in slots if (row.day, row.slot) == (day, slot))

    async def clear_slot(self, plan_id: int, day: int, slot: str) -> None:
        plan = await self.plans.get(plan_id, lock=True)
        if not await self.slots.clear(plan, day, slot):
            raise SlotNotFound
        await self.events.publish(SlotsChanged(plan.id))

    async def _check_meals(self, plan: MealPlan, new: SlotWrite, already_planned: set[int]) -> None:
        """Raise MealNotFound for a new meal of neither the caller nor the plan's family."""
        new_ids = {planned.meal_id for planned in new.meals} - already_planned
        meals = await self.meals.of_ids(new_ids)
        for meal_id in new_ids:
            meal = meals.get(meal_id)
            if meal is None:
                raise MealNotFound
            is_own = meal.created_by_user_id == self.access.user_id
            is_of_family = plan.family_id is not None and meal.family_id == plan.family_id
            if not (is_own or is_of_family):
                raise MealNotFound

    async def _create(
        self, new: MealPlanCreate | PersonalMealPlanCreate, family_id: int | None
    ) -> MealPlan:
        plan = MealPlan(
            **new.model_dump(exclude={"family_id"}),
            family_id=family_id,
            created_by_user_id=self.access.user_id,
        )
        _check_week(plan)
        return await self.plans.save(plan)

    async def _change(self, plan: MealPlan, update: MealPlanUpdate) -> MealPlan:
        shopping = plan.shopping()
        assign(plan, sent_values(update, never_null={"week_start"}))
        _check_week(plan)
        plan = await self.plans.save(plan)
        if plan.shopping() != shopping:
            await self.events.publish(SlotsChanged(plan.id))
        return plan

    async def _lock_own(self, id: int) -> MealPlan:
        """Lock a plan that the caller created. Others are treated like missing ones."""
        try:
            plan = await self.plans.get(id, lock=True)
        except MealPlanNotFound as error:
            raise MealPlanNotFoundOrForeign from error
        if plan.created_by_user_id != self.access.user_id:
            raise MealPlanNotFoundOrForeign
        return plan

    async def _lock_managed(self, id: int) -> MealPlan:
        """Lock a plan of the caller, or of a family that the caller manages.

        Raise NotAllowedOnPlan for other plans that the caller sees.
        """
        plan = await self.plans.get(id, lock=True)
        if plan.family_id is not None and not self.access.may(
            Permission.MANAGE_PLANS, plan.family_id
        ):
            raise NotAllowedOnPlan
        return plan


def _check_week(plan: MealPlan) -> None:
    if plan.week_end is not None and plan.week_end < plan.week_start:
        raise WeekEndsBeforeItStarts


def _read(slot: MealSlot) -> SlotRead:
    return SlotRead(
        day=slot.day,
        slot=slot.slot,
        servings=slot.servings,
        notes=slot.notes,
        meals=[
            SlotMealRead(meal_id=m.meal_id, name=m.meal.name, portions=m.portions)
            for m in slot.meals
        ],
    )


def _day_and_time(slot: SlotRead) -> tuple[int, int]:
    known = slot.slot in TIMES_OF_DAY
    return slot.day, TIMES_OF_DAY.index(slot.slot) if known else len(TIMES_OF_DAY)
