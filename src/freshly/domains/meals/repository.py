from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, select

from freshly.chassis.database import Units
from freshly.chassis.pages import Listing, ListQuery, Slice
from freshly.domains.families.access import GuardedRepository, Owner
from freshly.domains.meals.errors import MealNotFound
from freshly.domains.meals.models import Meal

meals = Meal.__table__.c
OWN = Listing(select(*meals).where(meals.created_by_user_id == bindparam("owner")), meals.id)


@dataclass
class CookbookRepository:
    """What a person has created, as rows with all columns."""

    units: Units

    async def page(self, me: Owner, query: ListQuery) -> Slice[Any]:
        return await OWN.page(self.units, query, owner=me.user_id)


class MealRepository(GuardedRepository[Meal]):
    model = Meal
    not_found = MealNotFound

    async def own(self) -> Sequence[Meal]:
        """All that the person of this access has created."""
        found = await self.session.scalars(
            self.visible().where(Meal.created_by_user_id == self.access.user_id).order_by(Meal.id)
        )
        return found.all()

    async def of_ids(self, ids: Iterable[int]) -> dict[int, Meal]:
        """Meals by id, not asking who may see them: for a plan that the caller may read."""
        found = await self.session.scalars(select(Meal).where(Meal.id.in_(set(ids))))
        return {meal.id: meal for meal in found}
