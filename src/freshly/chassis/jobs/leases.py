"""Who takes which job, and what becomes of those whose worker has died."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import ColumnElement, and_, delete, exists, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from freshly.chassis.data.functions import now
from freshly.chassis.data.transactions import is_first
from freshly.chassis.jobs.definitions import JobState
from freshly.chassis.jobs.models import JobRow, ScheduleRow, WorkerRow
from freshly.chassis.jobs.queue import clock

HEALING = 0x46524553  # names the advisory lock; any number that nobody else uses
MAX_CRASHES = 25  # workers that a job may take with it: not one that is killed now and then


@dataclass(frozen=True)
class Due:
    jobs: bool
    schedules: bool
    dedicated: bool  # a `freshly worker` lives


async def look(session: AsyncSession, kinds: Iterable[str]) -> Due:
    """One statement that writes nothing: what an idle worker asks again and again."""
    row = (
        await session.execute(
            select(
                exists().where(_is_due(kinds)),
                exists().where(ScheduleRow.next_at <= now(), ScheduleRow.kind.in_(tuple(kinds))),
                exists().where(WorkerRow.dedicated),
            )
        )
    ).one()
    return Due(*map(bool, row))


async def take(
    session: AsyncSession, worker_id: str, kinds: Iterable[str], most: int
) -> Sequence[JobRow]:
    """Up to so many, the most urgent first, of the kinds that this release knows."""
    due = (
        select(JobRow.id)
        .where(_is_due(kinds))
        .order_by(JobRow.priority, JobRow.run_after, JobRow.id)
        .limit(most)
        .with_for_update(skip_locked=True)
        .cte("due")  # so that PostgreSQL picks them once
    )
    taken = await session.scalars(
        update(JobRow)
        .where(JobRow.id.in_(select(due.c.id)), JobRow.state == JobState.QUEUED)
        .values(state=JobState.RUNNING, lease=JobRow.lease + 1, worker_id=worker_id)
        .returning(JobRow),
        execution_options={"synchronize_session": False},
    )
    return sorted(taken.all(), key=lambda row: (row.priority, row.run_after, row.id))


def _is_due(kinds: Iterable[str]) -> ColumnElement[bool]:
    return and_(
        JobRow.state == JobState.QUEUED, JobRow.run_after <= now(), JobRow.kind.in_(tuple(kinds))
    )


async def held_by(session: AsyncSession, worker_id: str) -> set[tuple[str, int]]:
    rows = await session.execute(
        select(JobRow.id, JobRow.lease).where(
            JobRow.worker_id == worker_id, JobRow.state == JobState.RUNNING
        )
    )
    return {(row.id, row.lease) for row in rows}


async def give_back_unknown(
    session: AsyncSession, worker_id: str, known: Iterable[tuple[str, int]]
) -> None:
    """What is this worker's by the database, and it knows nothing of: the answer was lost."""
    for job_id, taken in await held_by(session, worker_id) - set(known):
        await session.execute(
            update(JobRow)
            .where(JobRow.id == job_id, JobRow.lease == taken, JobRow.state == JobState.RUNNING)
            .values(state=JobState.QUEUED, worker_id=None),
            execution_options={"synchronize_session": False},
        )


async def give_back(session: AsyncSession, worker_id: str) -> None:
    """What a worker that ends has not finished. That was no try."""
    await session.execute(
        update(JobRow)
        .where(JobRow.worker_id == worker_id, JobRow.state == JobState.RUNNING)
        .values(state=JobState.QUEUED, worker_id=None),
        execution_options={"synchronize_session": False},
    )
    await session.execute(delete(WorkerRow).where(WorkerRow.id == worker_id))


async def heartbeat(session: AsyncSession, worker_id: str, name: str, *, dedicated: bool) -> None:
    found = await session.scalars(
        update(WorkerRow)
        .where(WorkerRow.id == worker_id)
        .values(beat_at=now())
        .returning(WorkerRow.id)
    )
    if found.one_or_none() is None:
        session.add(WorkerRow(id=worker_id, name=name, dedicated=dedicated))
        await session.flush()


async def reclaim_orphans(session: AsyncSession, silence: timedelta) -> Sequence[str]:
    """Gives back what workers had whose heart has stopped for so long. One heals at a time.

    Such a worker may be paused, not dead: should it wake up, it has lost its jobs (`taken`).
    """
    if not await is_first(session, HEALING):
        return []
    await session.execute(
        delete(WorkerRow).where(WorkerRow.beat_at < await clock(session) - silence)
    )
    # A paused worker may hold a job locked: that one is given back when its session has ended.
    orphans = await session.scalars(
        select(JobRow)
        .where(
            JobRow.state == JobState.RUNNING,
            ~exists().where(WorkerRow.id == JobRow.worker_id),
        )
        .with_for_update(skip_locked=True)
    )
    given_back = []
    for row in orphans.all():
        row.worker_id, row.rerun, row.crashes = None, False, row.crashes + 1
        if row.crashes < MAX_CRASHES:
            row.state = JobState.QUEUED
        else:
            row.state, row.finished_at = JobState.FAILED, await clock(session)
            row.error = "It ended whatever worked on it, again and again."
        given_back.append(row.id)
    await session.flush()
    return given_back
