from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, Table, and_, delete, false, func, or_, select

from freshly.chassis.data.base import Base
from freshly.chassis.data.functions import now
from freshly.chassis.data.pagination import PageQuery, paginate
from freshly.chassis.data.transactions import Database, DbSession, Session
from freshly.domains.account.data_ownership import BELONGINGS
from freshly.domains.auth.models import AuthSession
from freshly.domains.families.models import Membership
from freshly.domains.meal_plans.models import MealPlan

ROWS_AT_ONCE = 100
LATELY = timedelta(hours=1)
memberships = Membership.__table__.c


@dataclass(frozen=True)
class BelongingsRepository:
    """A person's rows, whichever table they are in."""

    db: Database

    async def rows(self, table: str, user_id: int) -> AsyncIterator[Sequence[dict[str, Any]]]:
        """A piece at a time, each in a unit of work of its own."""
        known = Base.metadata.tables[table]
        columns = [known.c[name] for name in BELONGINGS[table].exported]
        statement = select(*columns).where(belongs_to(known, user_id))
        cursor: str | None = None
        while True:
            asked = PageQuery(limit=ROWS_AT_ONCE, cursor=cursor)
            async with self.db.read() as session:
                keys = tuple(known.primary_key)
                found = await paginate(session, statement, keys, asked, columns=True)
            yield [dict(row._mapping) for row in found.items]  # noqa: SLF001 - SQLAlchemy's name
            cursor = found.next_cursor
            if cursor is None:
                return


def belongs_to(table: Table, user_id: int) -> ColumnElement[bool]:
    """Whether a row of the table is this person's, as `belongings` has it."""
    belonging = BELONGINGS[table.name]
    reasons: list[ColumnElement[bool]] = [
        table.c[name] == user_id for name in belonging.owner_columns
    ]
    for name in belonging.cascades_from:
        [key] = table.c[name].foreign_keys
        parent = key.column.table
        assert isinstance(parent, Table)
        own = select(key.column).where(belongs_to(parent, user_id))
        reasons.append(table.c[name].in_(own))
    if belonging.referenced_by:
        other, column = belonging.referenced_by
        referring = Base.metadata.tables[other]
        own = select(referring.c[column]).where(belongs_to(referring, user_id))
        reasons.append(table.c.id.in_(own))
    found = or_(false(), *reasons)
    if not belonging.members_only:
        return found
    families = select(memberships.family_id).where(memberships.user_id == user_id)
    return and_(found, or_(table.c.family_id.is_(None), table.c.family_id.in_(families)))


@dataclass
class Remains:
    """What the foreign keys would leave behind of a person."""

    session: DbSession

    async def drop_personal_plans(self, user_id: int) -> None:
        """Their key lets a plan outlive its maker, for the family's sake; there is none here."""
        personal = MealPlan.created_by_user_id == user_id, MealPlan.family_id.is_(None)
        await self.session.execute(
            delete(MealPlan).where(*personal).execution_options(synchronize_session=False)
        )


async def lately_here(session: Session, most: int) -> Sequence[int]:
    """Who signed in, or renewed their tokens, within the hour; the last one first."""
    seen = func.max(func.coalesce(AuthSession.last_used_at, AuthSession.created_at))
    since = (await session.execute(select(now()))).scalar_one() - LATELY
    found = await session.scalars(
        select(AuthSession.user_id)
        .where(AuthSession.revoked_at.is_(None))
        .group_by(AuthSession.user_id)
        .having(seen > since)
        .order_by(seen.desc(), AuthSession.user_id)
        .limit(most)
    )
    return found.all()
