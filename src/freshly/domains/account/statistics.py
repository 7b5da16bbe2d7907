"""The numbers of `GET /users/me/stats`."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from pydantic import TypeAdapter

from freshly.chassis.data.transactions import CurrentDatabase
from freshly.chassis.dependencies import Injected
from freshly.chassis.resources import CurrentSettings
from freshly.domains.account.repository import (
    kept_counts,
    planned_days,
    saved_amounts,
    stored_amounts,
)
from freshly.domains.account.schemas import (
    CountsRead,
    SavedRead,
    StatsRead,
    StorageRead,
    StreakRead,
)
from freshly.domains.families.access import CurrentAccess
from freshly.domains.grocery.models import GROCERY
from freshly.domains.meal_plans.models import PLANS
from freshly.domains.meals.models import MEALS
from freshly.domains.storage.service import StoredFiles

COUNTS: TypeAdapter[CountsRead] = TypeAdapter(CountsRead)
STREAK_WINDOW = timedelta(days=730)
ONE_DAY = timedelta(days=1)


@dataclass
class Statistics:
    """Counts what the caller keeps, and may still see.

    The counts are cached: two statements. The streak depends on the day, and slots of plans
    invalidate no cached response, so it is read each time, as the storage is.
    """

    access: CurrentAccess
    db: CurrentDatabase
    settings: CurrentSettings
    files: Injected[StoredFiles]

    async def read(self, timezone: str | None) -> StatsRead:
        """Return the numbers, for today in the time zone, or else in that of the server."""
        today = datetime.now(ZoneInfo(timezone or self.settings.timezone)).date()
        counts = await self._counts()
        pictures = await self.files.total_bytes()
        async with self.db.read() as session:
            days = await planned_days(session, self.access, today - STREAK_WINDOW, today)
            me = self.access.user_id
            texts = (await stored_amounts(session, ["texts"], ("person", me)))["texts"]
        return StatsRead(
            **counts.model_dump(),
            streak=streak(days, today),
            storage=StorageRead(texts=texts, pictures=pictures),
        )

    async def _counts(self) -> CountsRead:
        me, families = self.access.owner(None).tag, self.access.family_tags
        owners = (me, *families)

        async def load() -> CountsRead:
            async with self.db.read() as session:
                counts = await kept_counts(session, self.access)
                saved = await saved_amounts(session, self.access)
            food_saved = [SavedRead.model_validate(row) for row in saved]
            return CountsRead(**counts, food_saved=food_saved)

        tags = [MEALS.of(me), *PLANS.of_each(owners), *GROCERY.of_each(owners)]
        key = f"stats/{me}/{','.join(families)}"
        return await self.db.cache.read_value(key, tags, COUNTS, load)


def streak(days: Collection[date], today: date) -> StreakRead:
    """Return the run of planned days that is still open, and the longest one.

    A day without a plan ends a run once it is over, so today may still be empty.
    """
    longest = run = 0
    before: date | None = None
    for day in sorted(days):
        run = run + 1 if before == day - ONE_DAY else 1
        longest, before = max(longest, run), day
    is_open = before is not None and today - before <= ONE_DAY
    return StreakRead(current_days=run if is_open else 0, longest_days=longest)
