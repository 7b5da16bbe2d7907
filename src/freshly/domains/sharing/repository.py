from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Select, select
from sqlalchemy.orm import aliased

from freshly.chassis.data.functions import now
from freshly.chassis.data.pagination import ListQuery, PageRows, paginate
from freshly.domains.families.access import GuardedRepository
from freshly.domains.meals.models import Meal
from freshly.domains.sharing.errors import NotYourShareRequest, ShareRequestNotFound
from freshly.domains.sharing.models import MealShareRequest, ShareStatus
from freshly.domains.users.models import User

Told = Select[MealShareRequest, Meal, User, User, Meal]


@dataclass(frozen=True)
class Offer:
    """A request with everything that is told of it."""

    request: MealShareRequest
    meal: Meal
    sender: User
    recipient: User
    accepted: Meal | None


class ShareRepository(GuardedRepository[MealShareRequest]):
    model = MealShareRequest
    not_found = ShareRequestNotFound
    forbidden = NotYourShareRequest

    async def offer(self, id: int) -> Offer:
        found = await self._offers(self._told().where(MealShareRequest.id == id))
        if not found:
            raise await self._missing_or_forbidden(id)
        return found[0]

    async def sent(self, query: ListQuery) -> PageRows[Offer]:
        return await self._newest(query, MealShareRequest.sender_user_id == self.access.user_id)

    async def received(self, query: ListQuery) -> PageRows[Offer]:
        return await self._newest(query, MealShareRequest.recipient_user_id == self.access.user_id)

    async def pending(self, query: ListQuery) -> PageRows[Offer]:
        return await self._newest(
            query,
            MealShareRequest.recipient_user_id == self.access.user_id,
            MealShareRequest.status == ShareStatus.PENDING,
        )

    async def is_pending(self, meal_id: int, recipient_user_id: int) -> bool:
        found = await self.session.scalar(
            self.visible()
            .where(
                MealShareRequest.meal_id == meal_id,
                MealShareRequest.recipient_user_id == recipient_user_id,
                MealShareRequest.status == ShareStatus.PENDING,
            )
            .limit(1)
        )
        return found is not None

    async def accepted_meals(self, query: ListQuery) -> PageRows[Meal]:
        """Clones that came of requests to the caller, and that the caller still has."""
        clones = (
            select(Meal)
            .join(MealShareRequest, MealShareRequest.accepted_meal_id == Meal.id)
            .where(
                MealShareRequest.recipient_user_id == self.access.user_id,
                Meal.created_by_user_id == self.access.user_id,
            )
        )
        return await paginate(self.session, clones, (Meal.id,), query)

    async def person(self, id: int) -> User | None:
        return await self.session.get(User, id)

    async def now(self) -> datetime:
        return (await self.session.execute(select(now()))).scalar_one()

    async def _newest(self, query: ListQuery, *conditions: ColumnElement[bool]) -> PageRows[Offer]:
        keys = (MealShareRequest.created_at, MealShareRequest.id)
        told = self._told().where(*conditions).add_columns(*keys)
        found = await paginate(self.session, told, keys, query, columns=True, newest_first=True)
        return PageRows([Offer(*row[: -len(keys)]) for row in found.items], found.next_cursor)

    def _told(self) -> Told:
        """One statement for everything: the meal of a request may be read by both sides."""
        sender, recipient, accepted = aliased(User), aliased(User), aliased(Meal)
        request = MealShareRequest
        return (
            select(request, Meal, sender, recipient, accepted)
            .where(request.visible_to(self.access))
            .join(Meal, Meal.id == request.meal_id)
            .join(sender, sender.id == request.sender_user_id)
            .join(recipient, recipient.id == request.recipient_user_id)
            .outerjoin(accepted, accepted.id == request.accepted_meal_id)
        )

    async def _offers(self, statement: Told) -> list[Offer]:
        return [Offer(*row) for row in await self.session.execute(statement)]
