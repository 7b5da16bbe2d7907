from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select

from freshly.chassis.database import Session
from freshly.domains.families.models import Family, Membership, Role
from freshly.domains.notifications.models import Notification
from freshly.domains.users.models import User


@dataclass
class NotificationWriter:
    """Writes what people are told; no Access, because it is others who are told."""

    session: Session

    async def owners(self, family_id: int) -> Sequence[int]:
        found = await self.session.scalars(
            select(Membership.user_id)
            .where(Membership.family_id == family_id, Membership.role == Role.OWNER)
            .order_by(Membership.id)
        )
        return found.all()

    async def names(self, user_id: int, family_id: int) -> tuple[str, str]:
        """A person's name, or e-mail address where there is none, and a family's."""
        user = await self.session.get_one(User, user_id)
        family = await self.session.get_one(Family, family_id)
        return user.display_name, family.display_name

    def add(self, notification: Notification) -> None:
        self.session.add(notification)

    async def flush(self) -> None:
        await self.session.flush()
