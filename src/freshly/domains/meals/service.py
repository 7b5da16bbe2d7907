from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from freshly.chassis.cache.body import CachedBody
from freshly.chassis.data.events import EventBus
from freshly.chassis.data.pagination import ListQuery, PageRows
from freshly.chassis.data.transactions import CurrentDatabase
from freshly.chassis.dependencies import Injected
from freshly.chassis.web.schemas import assign, sent_values
from freshly.domains.families.access import CurrentAccess
from freshly.domains.families.service import FamilyService
from freshly.domains.meals.errors import (
    MealNotFound,
    MealNotFoundOrForeign,
    MealToAttachNotFound,
    NotInMealsFamily,
    NotMealsOwner,
    NotYoursToAttach,
)
from freshly.domains.meals.events import MealChanged
from freshly.domains.meals.models import MEALS, Meal
from freshly.domains.meals.repository import MealListReader, MealRepository
from freshly.domains.meals.schemas import MealCreate, MealUpdate

# Null leaves these fields unchanged. The other columns are nullable, so null clears them.
NEVER_NULL = {
    "name", "calories", "meal_type", "ingredients", "instructions", "is_favorite", "macros",
    "tags", "diet_compatibility", "goal_fit", "cooking_tools",
}  # fmt: skip


@dataclass
class MealListing:
    access: CurrentAccess
    db: CurrentDatabase

    async def page(self, query: ListQuery) -> CachedBody:
        owner = self.access.owner(None)

        async def load() -> CachedBody:
            return (await MealListReader(self.db).page(owner, query)).to_body()

        key = f"meals/{owner.tag}/{query.limit}/{query.cursor}"
        return await self.db.cache.read(key, [MEALS.of(owner.tag)], load)


@dataclass
class MealService:
    access: CurrentAccess
    meals: Injected[MealRepository]
    families: Injected[FamilyService]
    events: Injected[EventBus]

    async def of_member(self, family_id: int, user_id: int, query: ListQuery) -> PageRows[Meal]:
        """Return what a member of a family that the caller owns has attached to the family."""
        await self.families.member_of_owned_family(family_id, user_id)
        return await self.meals.attached(user_id, family_id, query)

    async def get(self, id: int) -> Meal:
        return await self.meals.get(id)

    async def of_ids(self, ids: Iterable[int]) -> dict[int, Meal]:
        return await self.meals.of_ids(ids)

    async def create(self, new: MealCreate) -> Meal:
        self._check_family(new.family_id)
        return await self.meals.save(
            Meal(**new.model_dump(), created_by_user_id=self.access.user_id)
        )

    async def update_own(self, id: int, update: MealUpdate) -> Meal:
        return await self._change(await self._lock_own(id), update)

    async def update(self, id: int, update: MealUpdate) -> Meal:
        return await self._change(await self._lock_visible_own(id), update)

    async def remove_own(self, id: int) -> None:
        await self._remove(await self._lock_own(id))

    async def remove(self, id: int) -> None:
        await self._remove(await self._lock_visible_own(id))

    async def own(self, id: int) -> Meal:
        """Lock a meal of the caller. Raise NotMealsOwner for a meal of another user."""
        try:
            return await self._lock_visible_own(id)
        except MealNotFound as error:
            raise (NotMealsOwner if await self.meals.row_exists(id) else MealNotFound) from error

    async def keep(self, snapshot: Mapping[str, Any]) -> Meal:
        """Insert the meal of a snapshot for the caller."""
        return await self.meals.save(Meal.from_snapshot(snapshot, self.access.user_id))

    async def attach(self, id: int, family_id: int) -> Meal:
        try:
            meal = await self.own(id)
        except MealNotFound as error:
            raise MealToAttachNotFound from error
        except NotMealsOwner as error:
            raise NotYoursToAttach from error
        self._check_family(family_id)
        meal.family_id = family_id
        return await self.meals.save(meal)

    async def _change(self, meal: Meal, update: MealUpdate) -> Meal:
        values = sent_values(update, never_null=NEVER_NULL)
        if "family_id" in values and update.family_id != meal.family_id:
            self._check_family(update.family_id)
        shopping = meal.shopping()
        assign(meal, values)
        meal = await self.meals.save(meal)
        if meal.shopping() != shopping:
            await self.events.publish(MealChanged(meal.id))
        return meal

    async def _remove(self, meal: Meal) -> None:
        await self.events.publish(MealChanged(meal.id))  # before the plans lose the meal
        await self.meals.delete(meal)

    def _check_family(self, family_id: int | None) -> None:
        if family_id is not None and not self.access.belongs_to(family_id):
            raise NotInMealsFamily

    async def _lock_own(self, id: int) -> Meal:
        """Lock a meal of the caller. A meal of another user is treated like a missing one."""
        try:
            meal = await self.meals.get(id, lock=True)
        except MealNotFound as error:
            raise MealNotFoundOrForeign from error
        if meal.created_by_user_id != self.access.user_id:
            raise MealNotFoundOrForeign
        return meal

    async def _lock_visible_own(self, id: int) -> Meal:
        meal = await self.meals.get(id, lock=True)
        if meal.created_by_user_id != self.access.user_id:
            raise NotMealsOwner
        return meal
