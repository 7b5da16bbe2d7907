from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, and_, delete, func, or_, select, update

from freshly.chassis.data.functions import now
from freshly.chassis.data.transactions import Session
from freshly.domains.families.access import Access, GuardedRepository
from freshly.domains.families.models import Family, Membership, Role
from freshly.domains.ingredients.models import Ingredient
from freshly.domains.notifications.digest import DIGEST_PERIOD, ExpiringFood
from freshly.domains.notifications.errors import NotificationNotFound, NotYourNotification
from freshly.domains.notifications.models import Digest, NoticeChoices, Notification
from freshly.domains.notifications.schemas import NotificationQuery
from freshly.domains.pantry.models import PantryItem
from freshly.domains.users.models import User, UserStatus


@dataclass
class NotificationWriter:
    """Writes notifications. Not scoped by Access, because the recipients are other users."""

    session: Session

    async def owners(self, family_id: int) -> Sequence[int]:
        user_ids = await self.session.scalars(
            select(Membership.user_id)
            .where(Membership.family_id == family_id, Membership.role == Role.OWNER)
            .order_by(Membership.id)
        )
        return user_ids.all()

    async def names(self, user_id: int, family_id: int) -> tuple[str, str]:
        """Return the names of a user (the email address if there is none) and of a family."""
        user = await self.session.get_one(User, user_id)
        family = await self.session.get_one(Family, family_id)
        return user.display_name, family.display_name

    def add(self, notification: Notification) -> None:
        self.session.add(notification)

    async def flush(self) -> None:
        await self.session.flush()


class NotificationRepository(GuardedRepository[Notification]):
    """The notifications of the caller."""

    model = Notification
    not_found = NotificationNotFound
    forbidden = NotYourNotification

    def with_names(self) -> Select[Any]:
        """Select notifications with the names of the user and family that they refer to."""
        return (
            select(
                *Notification.__table__.columns,
                func.coalesce(func.nullif(User.name, ""), User.email).label("related_user_name"),
                Family.display_name.label("related_family_name"),
            )
            .where(Notification.visible_to(self.access))
            .outerjoin(User, User.id == Notification.related_user_id)
            .outerjoin(Family, Family.id == Notification.related_family_id)
        )

    async def page(self, query: NotificationQuery) -> Sequence[Row[Any]]:
        statement = self.with_names()
        if query.unread_only:
            statement = statement.where(Notification.is_read.is_(False))
        if query.type is not None:
            statement = statement.where(Notification.type == query.type)
        newest_first = statement.order_by(Notification.created_at.desc(), Notification.id.desc())
        rows = await self.session.execute(newest_first.offset(query.skip).limit(query.limit))
        return list(rows)

    async def read(self, id: int) -> Row[Any]:
        rows = await self.session.execute(self.with_names().where(Notification.id == id))
        row: Row[Any] | None = rows.one_or_none()
        if row is None:
            raise await self._missing_or_forbidden(id)
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
        result = await self.session.execute(
            update(Notification)
            .where(self._own(), Notification.is_read.is_(False))
            .values(is_read=True, read_at=now())
            .execution_options(synchronize_session=False)
        )
        return _row_count(result)

    async def delete_all(self, *, only_read: bool) -> int:
        statement = delete(Notification).where(self._own())
        if only_read:
            statement = statement.where(Notification.is_read)
        result = await self.session.execute(statement.execution_options(synchronize_session=False))
        return _row_count(result)

    def _own(self) -> ColumnElement[bool]:
        return Notification.visible_to(self.access)


class ChoicesRepository(GuardedRepository[NoticeChoices]):
    """The choices of the caller."""

    model = NoticeChoices
    not_found = NotificationNotFound  # never raised: defaults replace a missing row

    async def own_choices(self, *, lock: bool = False) -> NoticeChoices:
        """Return the caller's choices, or unsaved defaults. With `lock`, create a missing row."""
        if lock:
            row = await _get_or_create(self.session, self.access.user_id)
        else:
            row = await self.session.scalar(self.visible())
        return row or NoticeChoices(user_id=self.access.user_id)

    async def has_confirmed_email(self) -> bool:
        """Return True if the caller has confirmed the email address."""
        is_verified = select(User.is_verified).where(User.id == self.access.user_id)
        return bool(await self.session.scalar(is_verified))


@dataclass
class DigestRepository:
    """Reads data for digests. Not scoped by Access, because a job runs it for all users."""

    session: Session

    async def users_to_notify(self, day: date, *, after: int, limit: int) -> Sequence[int]:
        """Return users with food that expires soon, in order of their ids, beginning after `after`.

        Leave out users who chose no digest or already got the one of the day.
        """
        of_user = Membership.user_id == User.id
        families = select(Membership.family_id).where(of_user).correlate(User)
        in_pantry = or_(PantryItem.owner_user_id == User.id, PantryItem.family_id.in_(families))
        user_ids = await self.session.scalars(
            select(User.id)
            .outerjoin(NoticeChoices, NoticeChoices.user_id == User.id)
            .where(
                User.id > after,
                User.status == UserStatus.ACTIVE,
                or_(
                    NoticeChoices.user_id.is_(None),
                    and_(NoticeChoices.digest != Digest.NONE, _not_notified(day)),
                ),
                select(PantryItem.id).where(in_pantry, _expires_soon(day)).exists(),
            )
            .order_by(User.id)
            .limit(limit)
        )
        return user_ids.all()

    async def start(self, person_id: int, day: date) -> Digest | None:
        """Mark the day as done and return the user's choice.

        Return None if the day was done before or the user is deleted. Lock the user.
        """
        choices = await _get_or_create(self.session, person_id)
        if choices is None or (choices.digest_on is not None and choices.digest_on >= day):
            return None
        choices.digest_on = day
        return Digest(choices.digest)

    async def expiring_foods(self, person_id: int, day: date) -> Sequence[ExpiringFood]:
        access = await Access.of(person_id, self.session)
        rows = await self.session.execute(
            select(Ingredient.name, PantryItem.expires_at)
            .join(Ingredient, Ingredient.id == PantryItem.ingredient_id)
            .where(PantryItem.visible_to(access), _expires_soon(day))
            .order_by(PantryItem.expires_at, Ingredient.name, PantryItem.id)
        )
        return [
            ExpiringFood(name, expires_at) for name, expires_at in rows if expires_at is not None
        ]

    async def email_recipient(self, person_id: int) -> User | None:
        """Return the user if the digest is still wanted by email and the address is confirmed."""
        user: User | None = await self.session.scalar(
            select(User)
            .join(NoticeChoices, NoticeChoices.user_id == User.id)
            .where(
                User.id == person_id,
                User.is_verified.is_(True),
                NoticeChoices.digest.in_([digest for digest in Digest if digest.by_mail]),
            )
        )
        return user

    async def add(self, notification: Notification) -> None:
        self.session.add(notification)
        await self.session.flush()


def _expires_soon(day: date) -> ColumnElement[bool]:
    """Return the condition for items that are not used up and expire within DIGEST_PERIOD."""
    in_stock = or_(PantryItem.quantity.is_(None), PantryItem.quantity > Decimal(0))
    return and_(PantryItem.expires_at.between(day, day + DIGEST_PERIOD), in_stock)


def _not_notified(day: date) -> ColumnElement[bool]:
    return or_(NoticeChoices.digest_on.is_(None), NoticeChoices.digest_on < day)


async def _get_or_create(session: Session, user_id: int) -> NoticeChoices | None:
    """Lock the user and return the choices. Add a missing row to the session.

    Return None if the user is deleted.
    """
    user = select(User.id).where(User.id == user_id).with_for_update(key_share=True)
    if await session.scalar(user) is None:
        return None
    row = await session.scalar(select(NoticeChoices).where(NoticeChoices.user_id == user_id))
    if row is None:
        row = NoticeChoices(user_id=user_id)
        session.add(row)
    return row


def _row_count(result: Any) -> int:
    return int(result.rowcount)
