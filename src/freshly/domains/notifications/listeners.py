"""Creates notifications for events of other domains."""

from freshly.chassis.data.transactions import Session
from freshly.domains.families.events import MemberJoined
from freshly.domains.notifications.models import Notification, NotificationType
from freshly.domains.notifications.repository import NotificationWriter


async def notify_owners_of_new_member(event: MemberJoined, session: Session) -> None:
    notifications = NotificationWriter(session)
    newcomer, family = await notifications.names(event.user_id, event.family_id)
    for owner_id in await notifications.owners(event.family_id):
        notifications.add(
            Notification(
                user_id=owner_id,
                type=NotificationType.FAMILY_MEMBER_JOINED,
                title="New Family Member",
                message=f"{newcomer} joined {family}",
                related_user_id=event.user_id,
                related_family_id=event.family_id,
            )
        )
    await notifications.flush()
