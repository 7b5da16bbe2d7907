from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, Text, case, cast, select
from sqlalchemy.orm import aliased

from freshly.chassis.data.functions import now, size_in_bytes
from freshly.chassis.data.page_bytes import row_bytes
from freshly.chassis.data.pagination import ListQuery, PageRows, paginate
from freshly.domains.families.access import GuardedRepository
from freshly.domains.meals.models import Meal, flag_bytes, meal_bytes
from freshly.domains.sharing.errors import NotYourShareRequest, ShareRequestNotFound
from freshly.domains.sharing.models import MealShareRequest, ShareStatus
from freshly.domains.users.models import User

OfferStatement = Select[MealShareRequest, Meal, User, User, Meal]
Sender, Recipient, Accepted = aliased(User), aliased(User), aliased(Meal)
OFFER_ROWS = (MealShareRequest, Meal, Sender, Recipient, Accepted)
FRAME_BYTES = 1_700  # names, numbers and dates of an offer in a response, and the meal's name
MEAL_FRAME_BYTES = 700  # of the meal in it
NAMES = Sender.name, Sender.email, Recipient.name, Recipient.email
OFFERED = MealShareRequest.offered_meal
OFFER_BYTES = (
    row_bytes(FRAME_BYTES, MealShareRequest.message, *NAMES, *NAMES)
    + case(
        (cast(OFFERED, Text).is_(None), meal_bytes(Meal)),
        else_=MEAL_FRAME_BYTES + size_in_bytes(OFFERED) + flag_bytes(OFFERED),
    )
    + case((Accepted.id.is_(None), 0), else_=meal_bytes(Accepted))
)


@dataclass(frozen=True)
class Offer:
    """A share request with all rows that its response needs."""

    request: MealShareRequest
    meal: Meal
    sender: User
    recipient: User
    accepted: Meal | None

    @property
    def snapshot(self) -> dict[str, Any]:
        """Return the meal as it was offered."""
        return self.request.offered_meal or self.meal.snapshot()

    @property
    def offered(self) -> Meal:
        """Return the meal as it was offered, as a row of the sender that is not stored."""
        meal = Meal.from_snapshot(self.snapshot, self.request.sender_user_id)
        meal.id, meal.family_id = self.request.meal_id, self.request.family_id
        return meal


class ShareRepository(GuardedRepository[MealShareRequest]):
    model = MealShareRequest
    not_found = ShareRequestNotFound
    forbidden = NotYourShareRequest

    async def offer(self, id: int) -> Offer:
        offers = await self._offers(self._offer_statement().where(MealShareRequest.id == id))
        if not offers:
            raise await self._missing_or_forbidden(id)
        return offers[0]

    async def user(self, id: int) -> User | None:
        return await self.session.get(User, id)

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
        pending = await self.session.scalar(
            self.visible()
            .where(
                MealShareRequest.meal_id == meal_id,
                MealShareRequest.recipient_user_id == recipient_user_id,
                MealShareRequest.status == ShareStatus.PENDING,
            )
            .limit(1)
        )
        return pending is not None

    async def accepted_meals(self, query: ListQuery) -> PageRows[Meal]:
        """Return the caller's copies of meals that the caller accepted and still owns."""
        copies = (
            select(Meal)
            .join(MealShareRequest, MealShareRequest.accepted_meal_id == Meal.id)
            .where(
                MealShareRequest.recipient_user_id == self.access.user_id,
                Meal.created_by_user_id == self.access.user_id,
            )
        )
        return await paginate(self.session, copies, (Meal.id,), query, size=meal_bytes(Meal))

    async def now(self) -> datetime:
        return (await self.session.execute(select(now()))).scalar_one()

    async def _newest(self, query: ListQuery, *conditions: ColumnElement[bool]) -> PageRows[Offer]:
        keys = (MealShareRequest.created_at, MealShareRequest.id)
        statement = self._offer_statement().where(*conditions).add_columns(*keys)
        page = await paginate(
            *(self.session, statement, keys, query),
            columns=True,
            newest_first=True,
            size=OFFER_BYTES,
        )
        offers = [Offer(*row[: len(OFFER_ROWS)]) for row in page.items]
        return PageRows(offers, page.next_cursor)

    def _offer_statement(self) -> OfferStatement:
        """Select share requests with their meals and users in one statement.

        The meal is read for offers without a snapshot, and the copy for its owner, the recipient.
        """
        request = MealShareRequest
        return (
            select(*OFFER_ROWS)
            .where(request.visible_to(self.access))
            .join(Meal, Meal.id == request.meal_id)
            .join(Sender, Sender.id == request.sender_user_id)
            .join(Recipient, Recipient.id == request.recipient_user_id)
            .outerjoin(Accepted, Accepted.id == request.accepted_meal_id)
        )

    async def _offers(self, statement: OfferStatement) -> list[Offer]:
        return [Offer(*row) for row in await self.session.execute(statement)]
