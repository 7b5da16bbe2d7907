"""What other domains' news means for people."""

from freshly.chassis.data.transactions import Session
from freshly.domains.families.events import MemberJoined
from freshly.domains.notifications.models import Notification, NotificationType
from freshly.domains.notifications.repository import NotificationWriter


async def tell_owners_of_new_member(news: MemberJoined, session: Session) -> None:
    notifications = NotificationWriter(session)
    newcomer, family = await notifications.names(news.user_id, news.family_id)
    for owner_id in await notifications.owners(news.family_id):
        notifications.add(
            Notification(
                user_id=owner_id,
                type=NotificationType.FAMILY_MEMBER_JOINED,
                title="New Family Member",
                message=f"{newcomer} joined {family}",
                related_user_id=news.user_id,
                related_family_id=news.family_id,
            )
        )
    await notifications.flush()
