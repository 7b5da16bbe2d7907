from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, cast

from sqlalchemy import CursorResult, and_, delete, func, select, update
from sqlalchemy.exc import IntegrityError

from freshly.chassis.data.functions import now
from freshly.chassis.data.transactions import Session
from freshly.domains.families.access import OwnedRepository, Owner
from freshly.domains.families.models import Family
from freshly.domains.usage.models import ModelUsage
from freshly.domains.users.models import User

KEPT_FOR = timedelta(days=90)


@dataclass(frozen=True)
class DayUsage:
    """The tokens that the caller and the caller's families used on a day."""

    tokens: Mapping[int | None, int]  # by family id; None has the caller's own
    is_confirmed: bool  # the caller's email address


class UsageRepository(OwnedRepository[ModelUsage]):
    model = ModelUsage

    async def reserve(self, owner: Owner, day: date, tokens: int, limit: int) -> bool:
        """Add a call. Return False if that would exceed the limit (0 is no limit).

        It is one statement, which waits for other changes of the row, so the count is exact.
        """
        if await self._add(owner, day, tokens, limit):
            return True
        # The limit is reached, or this is the first call of the day and the row is missing.
        await self._insert_missing(owner, day)
        return await self._add(owner, day, tokens, limit)

    async def _add(self, owner: Owner, day: date, tokens: int, limit: int) -> bool:
        u = ModelUsage
        within_limit = [u.tokens + tokens <= limit] if limit else []
        updated = await self.session.execute(
            update(u)
            .where(self.is_owned_by(owner), u.day == day, *within_limit)
            .values(tokens=u.tokens + tokens, calls=u.calls + 1)
            .execution_options(synchronize_session=False)
        )
        return cast("CursorResult[Any]", updated).rowcount == 1

    async def reserve_picture(self, owner: Owner, day: date, limit: int) -> bool:
        """Count a picture. Return False if the limit is reached."""
        await self._insert_missing(owner, day)
        u = ModelUsage
        updated = await self.session.execute(
            update(u)
            .where(self.is_owned_by(owner), u.day == day, u.pictures < limit)
            .values(pictures=u.pictures + 1)
            .execution_options(synchronize_session=False)
        )
        return cast("CursorResult[Any]", updated).rowcount == 1

    async def correct(self, owner: Owner, day: date, difference: int) -> None:
        await self.session.execute(
            update(ModelUsage)
            .where(self.is_owned_by(owner), ModelUsage.day == day)
            .values(tokens=ModelUsage.tokens + difference)
            .execution_options(synchronize_session=False)
        )

    async def of_day(self, day: date) -> DayUsage:
        u = ModelUsage
        rows = (
            await self.session.execute(
                select(User.is_verified, u.id, u.family_id, u.tokens)
                .select_from(User)
                .outerjoin(u, and_(u.visible_to(self.access), u.day == day))
                .where(User.id == self.access.user_id)
            )
        ).all()
        tokens = {row.family_id: row.tokens for row in rows if row.id is not None}
        return DayUsage(tokens, is_confirmed=any(row.is_verified for row in rows))

    async def is_confirmed(self) -> bool:
        """Return True if the caller has confirmed the email address."""
        confirmed = select(User.is_verified).where(User.id == self.access.user_id)
        return bool(await self.session.scalar(confirmed))

    async def of_all(self, day: date) -> int:
        """Return the tokens of all users. Those of families are the same tokens."""
        u = ModelUsage
        total = select(func.sum(u.tokens)).where(u.day == day, u.owner_user_id.is_not(None))
        return int(await self.session.scalar(total) or 0)

    async def families(self) -> Sequence[tuple[int, str]]:
        """Return id and name of the caller's families."""
        rows = await self.session.execute(
            select(Family.id, Family.display_name)
            .where(Family.id.in_(list(self.access.roles)))
            .order_by(Family.id)
        )
        return [(row.id, row.display_name) for row in rows]

    async def _insert_missing(self, owner: Owner, day: date) -> None:
        """Insert the row of a new day if it is missing."""
        existing = select(ModelUsage.id).where(self.is_owned_by(owner), ModelUsage.day == day)
        if await self.session.scalar(existing) is not None:
            return
        try:
            async with self.session.begin_nested():
                self.session.add(
                    ModelUsage(family_id=owner.family_id, owner_user_id=owner.user_id, day=day)
                )
                await self.session.flush()
        except IntegrityError:
            if await self.session.scalar(existing) is None:  # no concurrent call inserted it
                raise


async def purge_usage(session: Session) -> None:
    """Delete the rows of days before KEPT_FOR. Not scoped by Access: a scheduled job runs it."""
    before = (await session.execute(select(now()))).scalar_one() - KEPT_FOR
    await session.execute(delete(ModelUsage).where(ModelUsage.day < before.date()))
