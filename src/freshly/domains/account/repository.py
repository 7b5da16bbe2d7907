from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Select,
    Table,
    and_,
    delete,
    exists,
    false,
    func,
    or_,
    select,
)

from freshly.chassis.data.base import Base
from freshly.chassis.data.functions import now
from freshly.chassis.data.page_bytes import bytes_of_texts
from freshly.chassis.data.pagination import PageQuery, paginate
from freshly.chassis.data.quotas import Holder, amount_of
from freshly.chassis.data.transactions import Database, DbSession, Session
from freshly.domains.account.data_ownership import TABLE_OWNERSHIP
from freshly.domains.auth.models import AuthSession
from freshly.domains.families.access import Access
from freshly.domains.families.models import Membership
from freshly.domains.grocery.models import GroceryList, GroceryListItem, GroceryReservation
from freshly.domains.meal_plans.models import MealPlan, MealSlot, SlotMeal
from freshly.domains.meals.models import Meal

ROWS_PER_PAGE = 100
DAYS_OF_PLAN = 7
RECENT_ACTIVITY = timedelta(hours=1)
memberships = Membership.__table__.c


@dataclass(frozen=True)
class PersonalRowReader:
    """Reads the rows of a user from any table."""

    db: Database

    async def rows(self, table: str, user_id: int) -> AsyncIterator[Sequence[dict[str, Any]]]:
        """Yield the exported columns of the user's rows, page by page, each in a transaction."""
        source = Base.metadata.tables[table]
        names = TABLE_OWNERSHIP[table].exported
        columns = [source.c[name] for name in names]
        size = bytes_of_texts(columns)
        statement = select(*columns).where(belongs_to(source, user_id))
        cursor: str | None = None
        while True:
            page = PageQuery(limit=ROWS_PER_PAGE, cursor=cursor)
            async with self.db.read() as session:
                keys = tuple(source.primary_key)
                rows = await paginate(session, statement, keys, page, columns=True, size=size)
            yield [dict(zip(names, row, strict=False)) for row in rows.items]
            cursor = rows.next_cursor
            if cursor is None:
                return


def belongs_to(table: Table, user_id: int) -> ColumnElement[bool]:
    """Return the condition for rows of the table that belong to the user, by TABLE_OWNERSHIP."""
    ownership = TABLE_OWNERSHIP[table.name]
    conditions: list[ColumnElement[bool]] = [
        table.c[name] == user_id for name in ownership.owner_columns
    ]
    for name in ownership.cascades_from:
        [key] = table.c[name].foreign_keys
        parent = key.column.table
        assert isinstance(parent, Table)
        own = select(key.column).where(belongs_to(parent, user_id))
        conditions.append(table.c[name].in_(own))
    if ownership.referenced_by:
        other, column = ownership.referenced_by
        referring = Base.metadata.tables[other]
        own = select(referring.c[column]).where(belongs_to(referring, user_id))
        conditions.append(table.c.id.in_(own))
    owned = or_(false(), *conditions)
    if not ownership.members_only:
        return owned
    families = select(memberships.family_id).where(memberships.user_id == user_id)
    return and_(owned, or_(table.c.family_id.is_(None), table.c.family_id.in_(families)))


async def stored_amounts(
    session: Session, names: Sequence[str], holder: Holder
) -> Mapping[str, int]:
    """Return how much the family or user stores, by quota. It is one statement."""
    if not names:
        return {}
    amounts = [amount_of(name, holder).label(name) for name in names]
    row = (await session.execute(select(*amounts))).one()
    return dict(zip(names, row, strict=True))


async def kept_counts(session: Session, access: Access) -> Mapping[str, int]:
    """Return what the user created and may still see, in one statement."""
    me = access.user_id
    plans = MealPlan.created_by_user_id == me, MealPlan.visible_to(access)
    lists = _own_lists(access)
    counts = {
        "meals": select(func.count()).select_from(Meal).where(Meal.created_by_user_id == me),
        "meal_plans": select(func.count()).select_from(MealPlan).where(*plans),
        "grocery_lists": select(func.count()).select_from(lists.subquery()),
        "items_bought": select(func.count())
        .select_from(GroceryListItem)
        .where(
            GroceryListItem.grocery_list_id.in_(lists),
            or_(GroceryListItem.is_purchased.is_(True), GroceryListItem.checked.is_(True)),
        ),
    }
    columns = [count.scalar_subquery().label(name) for name, count in counts.items()]
    row = (await session.execute(select(*columns))).one()
    return dict(zip(counts, row, strict=True))


async def saved_amounts(session: Session, access: Access) -> Sequence[Any]:
    """Return how much the user's lists took from the pantry, by unit: unit, quantity, times."""
    reservation = GroceryReservation
    rows = await session.execute(
        select(
            reservation.unit,
            func.sum(reservation.quantity).label("quantity"),
            func.count().label("times"),
        )
        .where(reservation.grocery_list_id.in_(_own_lists(access)))
        .group_by(reservation.unit)
        .order_by(reservation.unit)
    )
    return rows.all()


def _own_lists(access: Access) -> Select[Any]:
    me = access.user_id
    mine = or_(GroceryList.created_by_user_id == me, GroceryList.owner_user_id == me)
    return select(GroceryList.id).where(mine, GroceryList.visible_to(access))


async def planned_days(session: Session, access: Access, since: date, until: date) -> set[date]:
    """Return the days with a planned meal, on plans that the user may see. Both ends count."""
    rows = await session.execute(
        select(MealPlan.week_start, MealSlot.day)
        .join(MealSlot, MealSlot.meal_plan_id == MealPlan.id)
        .where(
            MealPlan.visible_to(access),
            MealPlan.week_start.between(since - timedelta(days=DAYS_OF_PLAN), until),
            exists().where(SlotMeal.meal_slot_id == MealSlot.id),
        )
        .distinct()
    )
    days = {week_start + timedelta(days=day) for week_start, day in rows}
    return {day for day in days if since <= day <= until}


@dataclass
class PersonalPlanRepository:
    """Meal plans without family, which no foreign key deletes together with their user."""

    session: DbSession

    async def delete_of(self, user_id: int) -> None:
        """Delete the personal plans of a user.

        The foreign key to the creator sets null, so that plans of families outlive their creators.
        """
        personal = MealPlan.created_by_user_id == user_id, MealPlan.family_id.is_(None)
        await self.session.execute(
            delete(MealPlan).where(*personal).execution_options(synchronize_session=False)
        )


async def recently_active_users(session: Session, limit: int) -> Sequence[int]:
    """Return users who signed in or refreshed a token within the last hour, latest first."""
    seen = func.max(func.coalesce(AuthSession.last_used_at, AuthSession.created_at))
    since = (await session.execute(select(now()))).scalar_one() - RECENT_ACTIVITY
    user_ids = await session.scalars(
        select(AuthSession.user_id)
        .where(AuthSession.revoked_at.is_(None))
        .group_by(AuthSession.user_id)
        .having(seen > since)
        .order_by(seen.desc(), AuthSession.user_id)
        .limit(limit)
    )
    return user_ids.all()
