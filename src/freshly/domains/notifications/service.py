from dataclasses import dataclass

from freshly.chassis.data.transactions import DbSession
from freshly.chassis.dependencies import Injected
from freshly.chassis.web.schemas import assign, changes
from freshly.domains.notifications.errors import EmailNotConfirmed
from freshly.domains.notifications.models import Digest, NoticeChoices, Notification
from freshly.domains.notifications.repository import (
    ChoicesRepository,
    NotificationRepository,
    NotificationWriter,
)
from freshly.domains.notifications.schemas import (
    Counted,
    NoticeChoicesUpdate,
    NotificationQuery,
    NotificationRead,
    NotificationStats,
)


@dataclass
class NoticeService:
    """Lets other domains notify users, in the same transaction."""

    session: DbSession

    async def notify(self, notification: Notification) -> None:
        writer = NotificationWriter(self.session)
        writer.add(notification)
        await writer.flush()


@dataclass
class NotificationService:
    notifications: Injected[NotificationRepository]

    async def page(self, query: NotificationQuery) -> list[NotificationRead]:
        rows = await self.notifications.page(query)
        return [NotificationRead.model_validate(row) for row in rows]

    async def read(self, id: int) -> NotificationRead:
        return NotificationRead.model_validate(await self.notifications.read(id))

    async def unread(self) -> int:
        return sum((await self.notifications.unread_by_type()).values())

    async def stats(self) -> NotificationStats:
        by_type = await self.notifications.unread_by_type()
        total = await self.notifications.count()
        return NotificationStats(total=total, unread=sum(by_type.values()), unreadByType=by_type)

    async def mark(self, id: int, *, read: bool) -> NotificationRead:
        """Mark as read or unread. A second mark as read keeps the time of the first."""
        notification = await self.notifications.get(id, lock=True)
        if read and not notification.is_read:
            notification.read_at = await self.notifications.now()
        elif not read:
            notification.read_at = None
        notification.is_read = read
        await self.notifications.save(notification)
        return await self.read(id)

    async def mark_all_read(self) -> Counted:
        count = await self.notifications.mark_all_read()
        return Counted(message=f"Marked {count} notifications as read", count=count)

    async def delete(self, id: int) -> None:
        await self.notifications.delete(await self.notifications.get(id, lock=True))

    async def delete_all(self, *, only_read: bool) -> Counted:
        count = await self.notifications.delete_all(only_read=only_read)
        return Counted(message=f"Deleted {count} notifications", count=count)


@dataclass
class ChoicesService:
    choices: Injected[ChoicesRepository]

    async def read(self) -> NoticeChoices:
        return await self.choices.own_choices()

    async def update(self, update: NoticeChoicesUpdate) -> NoticeChoices:
        choices = await self.choices.own_choices(lock=True)
        values = changes(update)
        digest = Digest(values.get("digest", Digest.NONE))
        if digest.by_mail and not await self.choices.has_confirmed_email():
            raise EmailNotConfirmed
        assign(choices, values)
        return await self.choices.save(choices)
