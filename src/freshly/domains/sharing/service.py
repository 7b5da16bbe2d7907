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
    NoCommonFamily,
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
        recipient = await self.requests.user(new.recipient_user_id)
        if recipient is None or recipient.status == UserStatus.CLOSED:
            raise RecipientNotFound
        recipient_access = await Access.of(new.recipient_user_id, self.session)
        if not recipient_access.roles.keys() & self.access.roles.keys():
            raise NoCommonFamily
        # The meal is locked, so that concurrent requests cannot both pass this check.
        if await self.requests.is_pending(meal.id, new.recipient_user_id):
            raise AlreadyOffered
        request = await self.requests.save(
            MealShareRequest(
                **new.model_dump(),
                sender_user_id=self.access.user_id,
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
        return _read(offer)

    async def pending(self, query: ListQuery) -> PageRows[ShareRead]:
        return _read_page(await self.requests.pending(query))

    async def sent(self, query: ListQuery) -> PageRows[ShareRead]:
        return _read_page(await self.requests.sent(query))

    async def received(self, query: ListQuery) -> PageRows[ShareRead]:
        return _read_page(await self.requests.received(query))

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
            original = (await self.requests.offer(id)).meal
            request.accepted_meal_id = (await self.meals.keep_copy(original)).id
        await self.requests.save(request)
        offer = await self.requests.offer(id)
        recipient, meal = offer.recipient.display_name, offer.meal.name
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
        return _read(offer)

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
                related_user_id=other.id,
                related_share_request_id=offer.request.id,
            )
        )


def _read_page(page: PageRows[Offer]) -> PageRows[ShareRead]:
    return PageRows([_read(offer) for offer in page.items], page.next_cursor)


def _read(offer: Offer) -> ShareRead:
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
    return ShareRead(
        **columns,
        meal_name=offer.meal.name,
        sender_name=sender.name,
        recipient_name=recipient.name,
        sender=sender,
        recipient=recipient,
        meal_detail=MealRead.model_validate(offer.meal),
        accepted_meal_detail=MealRead.model_validate(offer.accepted) if offer.accepted else None,
    )
