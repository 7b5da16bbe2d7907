"""Work that comes round by the clock, asked for once however many workers look at it."""

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
from freshly.chassis.jobs.queue import JobQueue, clock

# Given an instant and the household's time zone, the next time after it.
Next = Callable[[datetime, ZoneInfo], datetime]
EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Schedule:
    job: Job
    next_after: Next


def every(interval: timedelta) -> Next:
    """At whole multiples, so that it does not drift."""

    def next_after(at: datetime, _zone: ZoneInfo) -> datetime:
        return EPOCH + ((at - EPOCH) // interval + 1) * interval

    return next_after


def daily(at_time: time) -> Next:
    """At that time on the clocks of TIMEZONE."""

    def next_after(at: datetime, zone: ZoneInfo) -> datetime:
        today = at.astimezone(zone).date()
        candidates = (
            datetime.combine(today + timedelta(days=day), at_time, zone) for day in range(3)
        )
        return min(one.astimezone(UTC) for one in candidates if one.astimezone(UTC) > at)

    return next_after


async def ask_for_due(
    session: AsyncSession, schedules: Iterable[Schedule], zone: ZoneInfo
) -> list[str]:
    """Enqueues what is due, and says its kinds; a new schedule begins with its next time.

    What came round several times while nobody was there is asked for once.
    """
    at = await clock(session)
    found = await session.scalars(select(ScheduleRow).with_for_update(skip_locked=True))
    rows = {row.kind: row for row in found}
    asked = []
    for schedule in schedules:
        row = rows.get(schedule.job.kind)
        if row is not None and row.next_at <= at:
            row.next_at = schedule.next_after(at, zone)
            await JobQueue(session).enqueue(schedule.job, key=f"schedule:{schedule.job.kind}")
            asked.append(schedule.job.kind)
    await session.flush()
    return asked


async def note_new(session: AsyncSession, schedules: Iterable[Schedule], zone: ZoneInfo) -> None:
    known = set(await session.scalars(select(ScheduleRow.kind)))
    at = await clock(session)
    for schedule in schedules:
        if schedule.job.kind not in known:
            row = ScheduleRow(kind=schedule.job.kind, next_at=schedule.next_after(at, zone))
            with suppress(IntegrityError):  # another that started at the same time was first
                async with session.begin_nested():
                    session.add(row)
                    await session.flush()
