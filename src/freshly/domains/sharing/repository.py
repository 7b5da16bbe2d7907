from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Select, select
from sqlalchemy.orm import aliased

from freshly.chassis.columns import now
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
            raise await self._refusal(id)
        return found[0]

    async def sent(self) -> list[Offer]:
        return await self._newest(MealShareRequest.sender_user_id == self.access.user_id)

    async def received(self) -> list[Offer]:
        return await self._newest(MealShareRequest.recipient_user_id == self.access.user_id)

    async def pending(self) -> list[Offer]:
        return await self._newest(
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

    async def accepted_meals(self) -> Sequence[Meal]:
        """Clones that came of requests to the caller, and that the caller still has."""
        found = await self.session.scalars(
            select(Meal)
            .join(MealShareRequest, MealShareRequest.accepted_meal_id == Meal.id)
            .where(
                MealShareRequest.recipient_user_id == self.access.user_id,
                Meal.created_by_user_id == self.access.user_id,
            )
            .order_by(Meal.id)
        )
        return found.all()

    async def person(self, id: int) -> User | None:
        return await self.session.get(User, id)

    async def now(self) -> datetime:
        return (await self.session.execute(select(now()))).scalar_one()

    async def _newest(self, *conditions: ColumnElement[bool]) -> list[Offer]:
        newest = self._told().where(*conditions)
        return await self._offers(
            newest.order_by(MealShareRequest.created_at.desc(), MealShareRequest.id.desc())
        )

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
