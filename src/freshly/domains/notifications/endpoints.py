from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import TypeAdapter

from freshly.chassis.dependencies import Injected
from freshly.chassis.errors import problems
from freshly.chassis.web.etags import conditional
from freshly.chassis.web.schemas import Id
from freshly.domains.notifications.errors import (
    EmailNotConfirmed,
    NotificationNotFound,
    NotYourNotification,
)
from freshly.domains.notifications.models import NoticeChoices
from freshly.domains.notifications.schemas import (
    Counted,
    NoticeChoicesRead,
    NoticeChoicesUpdate,
    NotificationQuery,
    NotificationRead,
    NotificationStats,
    UnreadCount,
)
from freshly.domains.notifications.service import ChoicesService, NotificationService

router = APIRouter(prefix="/notifications", tags=["notifications"])

Notifications = Injected[NotificationService]
NOTIFICATIONS = TypeAdapter(list[NotificationRead])
MAX_AGE_SECONDS = 30
ERRORS = problems(NotificationNotFound, NotYourNotification)


@router.get(
    "", response_model=list[NotificationRead], summary="List my notifications, newest first"
)
async def list_notifications(
    notifications: Notifications,
    query: Annotated[NotificationQuery, Query()],
    request: Request,
) -> Response:
    page = await notifications.page(query)
    return conditional(request, NOTIFICATIONS, page, MAX_AGE_SECONDS)


@router.get("/unread-count", summary="Count my unread notifications")
async def count_unread(notifications: Notifications) -> UnreadCount:
    return UnreadCount(count=await notifications.unread())


@router.get("/stats", summary="Count my notifications, and the unread ones by type")
async def read_stats(notifications: Notifications) -> NotificationStats:
    return await notifications.stats()


@router.post("/mark-all-read", summary="Mark all my notifications as read")
async def mark_all_read(notifications: Notifications) -> Counted:
    return await notifications.mark_all_read()


@router.delete("/read/all", summary="Delete my read notifications")
async def delete_read(notifications: Notifications) -> Counted:
    return await notifications.delete_all(only_read=True)


# Ahead of /{id}, which would take "all" for an id.
@router.delete("/all", summary="Delete all my notifications")
async def delete_all(notifications: Notifications) -> Counted:
    return await notifications.delete_all(only_read=False)


@router.get("/choices", response_model=NoticeChoicesRead, summary="Get my notification settings")
async def read_choices(choices: Injected[ChoicesService]) -> NoticeChoices:
    return await choices.read()


@router.patch(
    "/choices",
    response_model=NoticeChoicesRead,
    responses=problems(EmailNotConfirmed),
    summary="Update my notification settings",
)
async def update_choices(
    choices: Injected[ChoicesService], update: NoticeChoicesUpdate
) -> NoticeChoices:
    return await choices.update(update)


@router.get("/{id}", responses=ERRORS, summary="Get a notification")
async def read_notification(notifications: Notifications, id: Id) -> NotificationRead:
    return await notifications.read(id)


@router.patch("/{id}/read", responses=ERRORS, summary="Mark a notification as read")
async def mark_read(notifications: Notifications, id: Id) -> NotificationRead:
    return await notifications.mark(id, read=True)


@router.patch("/{id}/unread", responses=ERRORS, summary="Mark a notification as unread")
async def mark_unread(notifications: Notifications, id: Id) -> NotificationRead:
    return await notifications.mark(id, read=False)


@router.delete("/{id}", status_code=204, responses=ERRORS, summary="Delete a notification")
async def delete_notification(notifications: Notifications, id: Id) -> None:
    await notifications.delete(id)
