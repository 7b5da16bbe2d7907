from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, delete, func, select, update

from freshly.chassis.columns import now
from freshly.chassis.database import Session
from freshly.domains.families.access import GuardedRepository
from freshly.domains.families.models import Family, Membership, Role
from freshly.domains.meals.models import Meal
from freshly.domains.notifications.errors import NotificationNotFound, NotYourNotification
from freshly.domains.notifications.models import Notification
from freshly.domains.notifications.schemas import NotificationQuery
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


class NotificationRepository(GuardedRepository[Notification]):
    """The caller's own."""

    model = Notification
    not_found = NotificationNotFound
    forbidden = NotYourNotification

    def named(self) -> Select[Any]:
        """Each with the names of the person, the meal and the family it is about."""
        return (
            select(
                *Notification.__table__.columns,
                func.coalesce(func.nullif(User.name, ""), User.email).label("related_user_name"),
                Meal.name.label("related_meal_name"),
                Family.display_name.label("related_family_name"),
            )
            .where(Notification.visible_to(self.access))
            .outerjoin(User, User.id == Notification.related_user_id)
            .outerjoin(Meal, Meal.id == Notification.related_meal_id)
            .outerjoin(Family, Family.id == Notification.related_family_id)
        )

    async def page(self, query: NotificationQuery) -> Sequence[Row[Any]]:
        found = self.named()
        if query.unread_only:
            found = found.where(Notification.is_read.is_(False))
        if query.type is not None:
            found = found.where(Notification.type == query.type)
        newest = found.order_by(Notification.created_at.desc(), Notification.id.desc())
        rows = await self.session.execute(newest.offset(query.skip).limit(query.limit))
        return list(rows)

    async def read(self, id: int) -> Row[Any]:
        found = await self.session.execute(self.named().where(Notification.id == id))
        row: Row[Any] | None = found.one_or_none()
        if row is None:
            raise await self._refusal(id)
        return row

    async def now(self) -> datetime:
        return (await self.session.execute(select(now()))).scalar_one()

    async def unread_by_type(self) -> dict[str, int]:
        rows = await self.session.execute(
            select(Notification.type, func.count())
            .where(Notification.visible_to(self.access), Notification.is_read.is_(False))
            .group_by(Notification.type)
            .order_by(Notification.type)
        )
        return {row[0].value: row[1] for row in rows}

    async def count(self) -> int:
        return (
            await self.session.scalar(
                select(func.count()).select_from(Notification).where(self._own())
            )
            or 0
        )

    async def mark_all_read(self) -> int:
        done = await self.session.execute(
            update(Notification)
            .where(self._own(), Notification.is_read.is_(False))
            .values(is_read=True, read_at=now())
            .execution_options(synchronize_session=False)
        )
        return _rows_of(done)

    async def delete_all(self, *, only_read: bool) -> int:
        statement = delete(Notification).where(self._own())
        if only_read:
            statement = statement.where(Notification.is_read)
        done = await self.session.execute(statement.execution_options(synchronize_session=False))
        return _rows_of(done)

    def _own(self) -> ColumnElement[bool]:
        return Notification.visible_to(self.access)


def _rows_of(done: Any) -> int:
    return int(done.rowcount)
