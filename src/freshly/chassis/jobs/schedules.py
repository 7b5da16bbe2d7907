"""Schedules: jobs that the clock starts, enqueued once however many workers run."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from freshly.chassis.jobs.definitions import Job
from freshly.chassis.jobs.models import ScheduleRow
from freshly.chassis.jobs.queue import JobQueue, database_time

# Returns the next time after an instant, given the time zone of the setting TIMEZONE.
NextTime = Callable[[datetime, ZoneInfo], datetime]
EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Schedule:
    job: Job
    next_after: NextTime


def every(interval: timedelta) -> NextTime:
    """Fire at whole multiples of the interval since EPOCH, so that the times do not drift."""

    def next_after(at: datetime, _zone: ZoneInfo) -> datetime:
        return EPOCH + ((at - EPOCH) // interval + 1) * interval

    return next_after


def daily(at_time: time) -> NextTime:
    """Fire once a day at this time of the zone in TIMEZONE."""

    def next_after(at: datetime, zone: ZoneInfo) -> datetime:
        today = at.astimezone(zone).date()
        candidates = (
            datetime.combine(today + timedelta(days=day), at_time, zone).astimezone(UTC)
            for day in range(3)
        )
        return min(candidate for candidate in candidates if candidate > at)

    return next_after


async def enqueue_due(session: AsyncSession, schedules: Iterable[Schedule], zone: ZoneInfo) -> None:
    """Enqueue the jobs of due schedules, and move each schedule to its next time.

    Locks the rows of all schedules, and skips those that another worker has locked. A schedule that
    was missed several times while no worker ran is enqueued once.
    """
    at = await database_time(session)
    rows = await session.scalars(select(ScheduleRow).with_for_update(skip_locked=True))
    rows_by_kind = {row.kind: row for row in rows}
    for schedule in schedules:
        row = rows_by_kind.get(schedule.job.kind)
        if row is not None and row.next_at <= at:
            row.next_at = schedule.next_after(at, zone)
            await JobQueue(session).enqueue(schedule.job, key=f"schedule:{schedule.job.kind}")
    await session.flush()


async def register_schedules(
    session: AsyncSession, schedules: Iterable[Schedule], zone: ZoneInfo
) -> None:
    """Add a row for each schedule that has none. It fires first at its next time."""
    known = set(await session.scalars(select(ScheduleRow.kind)))
    at = await database_time(session)
    for schedule in schedules:
        if schedule.job.kind not in known:
            row = ScheduleRow(kind=schedule.job.kind, next_at=schedule.next_after(at, zone))
            with suppress(IntegrityError):  # another worker added it at the same time
                async with session.begin_nested():
                    session.add(row)
                    await session.flush()
