from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any, cast

from sqlalchemy import CursorResult, delete, select, update
from sqlalchemy.exc import IntegrityError

from freshly.chassis.data.functions import now
from freshly.chassis.data.transactions import Session
from freshly.domains.families.access import OwnedRepository, Owner
from freshly.domains.families.models import Family
from freshly.domains.usage.models import ModelUsage

KEPT = timedelta(days=90)


class UsageRepository(OwnedRepository[ModelUsage]):
    model = ModelUsage

    async def take(self, owner: Owner, day: date, tokens: int, limit: int) -> bool:
        """Adds a call, unless that makes more than the limit (0 is none).

        In one statement, which waits for others that change the row: so it is exact.
        """
        if await self._added(owner, day, tokens, limit):
            return True
        # Too much, or the day's first call: which of the two is known when there is a row.
        await self._begin(owner, day)
        return await self._added(owner, day, tokens, limit)

    async def _added(self, owner: Owner, day: date, tokens: int, limit: int) -> bool:
        u = ModelUsage
        fits = [u.tokens + tokens <= limit] if limit else []
        added = await self.session.execute(
            update(u)
            .where(self.is_owned_by(owner), u.day == day, *fits)
            .values(tokens=u.tokens + tokens, calls=u.calls + 1)
            .execution_options(synchronize_session=False)
        )
        return cast("CursorResult[Any]", added).rowcount == 1

    async def take_picture(self, owner: Owner, day: date, limit: int) -> bool:
        """Counts one more, as exactly as tokens, unless the limit is reached."""
        await self._begin(owner, day)
        u = ModelUsage
        taken = await self.session.execute(
            update(u)
            .where(self.is_owned_by(owner), u.day == day, u.pictures < limit)
            .values(pictures=u.pictures + 1)
            .execution_options(synchronize_session=False)
        )
        return cast("CursorResult[Any]", taken).rowcount == 1

    async def correct(self, owner: Owner, day: date, difference: int) -> None:
        await self.session.execute(
            update(ModelUsage)
            .where(self.is_owned_by(owner), ModelUsage.day == day)
            .values(tokens=ModelUsage.tokens + difference)
            .execution_options(synchronize_session=False)
        )

    async def of_day(self, day: date) -> dict[int | None, int]:
        """Tokens by family; the caller's own are under None."""
        u = ModelUsage
        rows = await self.session.execute(
            select(u.family_id, u.tokens).where(u.visible_to(self.access), u.day == day)
        )
        return {row.family_id: row.tokens for row in rows}

    async def families(self) -> Sequence[tuple[int, str]]:
        """Id and name of the caller's families."""
        rows = await self.session.execute(
            select(Family.id, Family.display_name)
            .where(Family.id.in_(list(self.access.roles)))
            .order_by(Family.id)
        )
        return [(row.id, row.display_name) for row in rows]

    async def _begin(self, owner: Owner, day: date) -> None:
        """Makes the row of a new day, where there is none."""
        there = select(ModelUsage.id).where(self.is_owned_by(owner), ModelUsage.day == day)
        if await self.session.scalar(there) is not None:
            return
        try:
            async with self.session.begin_nested():
                self.session.add(
                    ModelUsage(family_id=owner.family_id, owner_user_id=owner.user_id, day=day)
                )
                await self.session.flush()
        except IntegrityError:
            if await self.session.scalar(there) is None:  # not that another call was first
                raise


async def purge_usage(session: Session) -> None:
    """Of days that are long over; whoever runs this is nobody in particular."""
    at = (await session.execute(select(now()))).scalar_one()
    await session.execute(delete(ModelUsage).where(ModelUsage.day < (at - KEPT).date()))
