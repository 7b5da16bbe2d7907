from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import select

from freshly.chassis.pages import ListQuery, Slice, paginate
from freshly.domains.families.access import GuardedRepository
from freshly.domains.meals.errors import MealNotFound
from freshly.domains.meals.models import Meal


class MealRepository(GuardedRepository[Meal]):
    model = Meal
    not_found = MealNotFound

    async def own_page(self, query: ListQuery) -> Slice[Any]:
        """Rows with all columns."""
        own = Meal.created_by_user_id == self.access.user_id
        rows = select(*Meal.__table__.columns).where(own)
        return await paginate(self.session, rows, (Meal.id,), query, columns=True)

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
