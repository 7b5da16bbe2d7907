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
from freshly.domains.meals.models import Meal
from freshly.domains.notifications.digest import SOON, ToUse
from freshly.domains.notifications.errors import NotificationNotFound, NotYourNotification
from freshly.domains.notifications.models import Digest, NoticeChoices, Notification
from freshly.domains.notifications.schemas import NotificationQuery
from freshly.domains.pantry.models import PantryItem
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


class ChoicesRepository(GuardedRepository[NoticeChoices]):
    """The caller's own."""

    model = NoticeChoices
    not_found = NotificationNotFound  # never: it is made where it is missing

    async def mine(self, *, lock: bool = False) -> NoticeChoices:
        """One that is not kept, where nothing was chosen; locked it will be."""
        if lock:
            kept = await _kept(self.session, self.access.user_id)
        else:
            kept = await self.session.scalar(self.visible())
        return kept or NoticeChoices(user_id=self.access.user_id)

    async def is_confirmed(self) -> bool:
        """Is the address the caller's?"""
        me = select(User.is_verified).where(User.id == self.access.user_id)
        return bool(await self.session.scalar(me))


@dataclass
class DigestRepository:
    """Who is to be told what is to be used soon; no Access, because it is for everybody in turn."""

    session: Session

    async def people(self, day: date, *, after: int, limit: int) -> Sequence[int]:
        its = Membership.user_id == User.id
        mine = select(Membership.family_id).where(its).correlate(User)
        theirs = or_(PantryItem.owner_user_id == User.id, PantryItem.family_id.in_(mine))
        found = await self.session.scalars(
            select(User.id)
            .outerjoin(NoticeChoices, NoticeChoices.user_id == User.id)
            .where(
                User.id > after,
                or_(
                    NoticeChoices.user_id.is_(None),
                    and_(NoticeChoices.digest != Digest.NONE, _not_told(day)),
                ),
                select(PantryItem.id).where(theirs, _expires(day)).exists(),
            )
            .order_by(User.id)
            .limit(limit)
        )
        return found.all()

    async def begin(self, person_id: int, day: date) -> Digest | None:
        """What the person wants, if they were not told that day yet; then they were."""
        choices = await _kept(self.session, person_id)
        if choices is None or (choices.digest_on is not None and choices.digest_on >= day):
            return None
        choices.digest_on = day
        return Digest(choices.digest)

    async def to_use(self, person_id: int, day: date) -> Sequence[ToUse]:
        access = await Access.of(person_id, self.session)
        rows = await self.session.execute(
            select(Ingredient.name, PantryItem.expires_at)
            .join(Ingredient, Ingredient.id == PantryItem.ingredient_id)
            .where(PantryItem.visible_to(access), _expires(day))
            .order_by(PantryItem.expires_at, Ingredient.name, PantryItem.id)
        )
        return [ToUse(name, expires_at) for name, expires_at in rows if expires_at is not None]

    async def addressee(self, person_id: int) -> User | None:
        """Who still wants letters, at an address that is theirs."""
        found: User | None = await self.session.scalar(
            select(User)
            .join(NoticeChoices, NoticeChoices.user_id == User.id)
            .where(
                User.id == person_id,
                User.is_verified.is_(True),
                NoticeChoices.digest.in_([one for one in Digest if one.by_mail]),
            )
        )
        return found

    async def tell(self, notification: Notification) -> None:
        self.session.add(notification)
        await self.session.flush()


def _expires(day: date) -> ColumnElement[bool]:
    """Soon, and there is some of it."""
    some = or_(PantryItem.quantity.is_(None), PantryItem.quantity > Decimal(0))
    return and_(PantryItem.expires_at.between(day, day + SOON), some)


def _not_told(day: date) -> ColumnElement[bool]:
    return or_(NoticeChoices.digest_on.is_(None), NoticeChoices.digest_on < day)


async def _kept(session: Session, user_id: int) -> NoticeChoices | None:
    """The person's, made where there is none; None if they are gone. Others wait for the person."""
    person = select(User.id).where(User.id == user_id).with_for_update(key_share=True)
    if await session.scalar(person) is None:
        return None
    found = await session.scalar(select(NoticeChoices).where(NoticeChoices.user_id == user_id))
    if found is None:
        found = NoticeChoices(user_id=user_id)
        session.add(found)
    return found


def _rows_of(done: Any) -> int:
    return int(done.rowcount)
