from dataclasses import dataclass
from typing import Any

from freshly.chassis.data.pagination import ListQuery, PageRows
from freshly.chassis.data.transactions import DbSession
from freshly.chassis.dependencies import Injected
from freshly.domains.families.access import Access, CurrentAccess
from freshly.domains.meals.errors import MealNotFound, NotMealsOwner
from freshly.domains.meals.models import Meal
from freshly.domains.meals.schemas import MealRead
from freshly.domains.meals.service import MealService
from freshly.domains.notifications.models import Notification, NotificationType
from freshly.domains.notifications.service import NoticeService
from freshly.domains.sharing.errors import (
    AlreadyOffered,
    AlreadyResponded,
    MealToShareNotFound,
    NotYoursToShare,
    OnlyPendingIsCancelled,
    OnlyRecipientResponds,
    OnlySenderCancels,
    RecipientNotFound,
    SharedWithOneself,
)
from freshly.domains.sharing.models import MealShareRequest, ShareStatus
from freshly.domains.sharing.repository import Offer, ShareRepository
from freshly.domains.sharing.schemas import ShareCreate, ShareRead, Somebody
from freshly.domains.users.models import UserStatus


@dataclass
class ShareService:
    session: DbSession
    access: CurrentAccess
    requests: Injected[ShareRepository]
    meals: Injected[MealService]
    notices: Injected[NoticeService]

    async def create(self, new: ShareCreate) -> ShareRead:
        """Offer a meal of the caller to a member of a common family. Lock the meal."""
        meal = await self._own(new.meal_id)
        if new.recipient_user_id == self.access.user_id:
            raise SharedWithOneself
        # One answer for unknown users and for users of other families.
        recipient = await self.requests.user(new.recipient_user_id)
        if recipient is None or recipient.status == UserStatus.CLOSED:
            raise RecipientNotFound
        recipient_access = await Access.of(new.recipient_user_id, self.session)
        if not recipient_access.roles.keys() & self.access.roles.keys():
            raise RecipientNotFound
        # The meal is locked, so that concurrent requests cannot both pass this check.
        if await self.requests.is_pending(meal.id, new.recipient_user_id):
            raise AlreadyOffered
        request = await self.requests.save(
            MealShareRequest(
                **new.model_dump(),
                sender_user_id=self.access.user_id,
                offered_meal=meal.snapshot(),
                family_id=meal.family_id,
            )
        )
        offer = await self.requests.offer(request.id)
        await self._notify(
            offer,
            NotificationType.MEAL_SHARE_REQUEST,
            "New Meal Share Request",
            f"{offer.sender.display_name} wants to share '{meal.name}' with you",
        )
        return self._read(offer)

    async def pending(self, query: ListQuery) -> PageRows[ShareRead]:
        return self._read_page(await self.requests.pending(query))

    async def sent(self, query: ListQuery) -> PageRows[ShareRead]:
        return self._read_page(await self.requests.sent(query))

    async def received(self, query: ListQuery) -> PageRows[ShareRead]:
        return self._read_page(await self.requests.received(query))

    async def accepted_meals(self, query: ListQuery) -> PageRows[Meal]:
        return await self.requests.accepted_meals(query)

    async def respond(self, id: int, *, accepted: bool) -> ShareRead:
        """Answer a request. Lock it, and copy the meal for the caller if accepted.

        Raise OnlyRecipientResponds or AlreadyResponded.
        """
        request = await self.requests.get(id, lock=True)
        if request.recipient_user_id != self.access.user_id:
            raise OnlyRecipientResponds
        if request.status is not ShareStatus.PENDING:
            raise AlreadyResponded(status=request.status.value)
        request.status = ShareStatus.ACCEPTED if accepted else ShareStatus.DECLINED
        request.responded_at = await self.requests.now()
        if accepted:
            snapshot = (await self.requests.offer(id)).snapshot
            request.accepted_meal_id = (await self.meals.keep(snapshot)).id
        await self.requests.save(request)
        offer = await self.requests.offer(id)
        recipient, meal = offer.recipient.display_name, offer.offered.name
        if accepted:
            await self._notify(
                offer,
                NotificationType.MEAL_SHARE_ACCEPTED,
                "Meal Share Accepted",
                f"{recipient} accepted your meal '{meal}' and now has their own copy.",
            )
        else:
            await self._notify(
                offer,
                NotificationType.MEAL_SHARE_DECLINED,
                "Meal Share Declined",
                f"{recipient} declined your meal '{meal}'",
            )
        return self._read(offer)

    async def cancel(self, id: int) -> None:
        """Delete a pending request of the caller. A foreign key deletes its notifications."""
        request = await self.requests.get(id, lock=True)
        if request.sender_user_id != self.access.user_id:
            raise OnlySenderCancels
        if request.status is not ShareStatus.PENDING:
            raise OnlyPendingIsCancelled
        await self.requests.delete(request)

    async def _own(self, meal_id: int) -> Meal:
        """Lock a meal of the caller. Raise MealToShareNotFound or NotYoursToShare."""
        try:
            return await self.meals.own(meal_id)
        except MealNotFound as error:
            raise MealToShareNotFound from error
        except NotMealsOwner as error:
            raise NotYoursToShare from error

    async def _notify(self, offer: Offer, type: NotificationType, title: str, message: str) -> None:
        """Notify the recipient of a new request, or the sender of its answer."""
        is_new = type is NotificationType.MEAL_SHARE_REQUEST
        notified, other = offer.recipient, offer.sender
        if not is_new:
            notified, other = other, notified
        await self.notices.notify(
            Notification(
                user_id=notified.id,
                type=type,
                title=title,
                message=message,
                related_meal_id=offer.meal.id,
                related_meal_name=offer.offered.name,
                related_user_id=other.id,
                related_share_request_id=offer.request.id,
            )
        )

    def _read_page(self, page: PageRows[Offer]) -> PageRows[ShareRead]:
        return PageRows([self._read(offer) for offer in page.items], page.next_cursor)

    def _read(self, offer: Offer) -> ShareRead:
        """Return the offer with the meal as it was offered.

        The copy is shown to its owner only. Of a declined offer the recipient reads the name.
        """
        request = offer.request
        columns: dict[str, Any] = {
            name: getattr(request, name)
            for name in (
                *("id", "meal_id", "sender_user_id", "recipient_user_id", "family_id", "status"),
                *("message", "created_at", "updated_at", "responded_at", "accepted_meal_id"),
            )
        }
        sender = Somebody(id=offer.sender.id, name=offer.sender.display_name)
        recipient = Somebody(id=offer.recipient.id, name=offer.recipient.display_name)
        receives = request.recipient_user_id == self.access.user_id
        hidden = receives and request.status is ShareStatus.DECLINED
        copy = offer.accepted if receives else None
        offered = offer.offered
        return ShareRead(
            **columns,
            meal_name=offered.name,
            sender_name=sender.name,
            recipient_name=recipient.name,
            sender=sender,
            recipient=recipient,
            meal_detail=None if hidden else MealRead.model_validate(offered),
            accepted_meal_detail=MealRead.model_validate(copy) if copy else None,
        )
