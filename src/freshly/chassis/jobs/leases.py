"""Leases: workers claim due jobs, and reclaim the jobs of workers that died."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import ColumnElement, and_, delete, exists, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from freshly.chassis.data.functions import now
from freshly.chassis.data.transactions import is_first
from freshly.chassis.jobs.definitions import JobState
from freshly.chassis.jobs.models import JobRow, ScheduleRow, WorkerRow
from freshly.chassis.jobs.queue import database_time

RECLAIM_LOCK = 0x46524553  # the number of the advisory lock; arbitrary, but used for nothing else
# A job that ends so many workers is at fault itself. Restarts and kills rarely hit the same job.
MAX_CRASHES = 25
CRASHED_TOO_OFTEN = f"Stopped after crashing its worker {MAX_CRASHES} times."


@dataclass(frozen=True)
class DueWork:
    jobs: bool
    schedules: bool
    has_dedicated_worker: bool


async def find_due_work(session: AsyncSession, kinds: Iterable[str]) -> DueWork:
    """Return if there are due jobs or schedules of these kinds, and if a dedicated worker lives.

    An idle worker calls this again and again, so it is a single statement and writes nothing.
    """
    row = (
        await session.execute(
            select(
                exists().where(_is_due(kinds)),
                exists().where(ScheduleRow.next_at <= now(), ScheduleRow.kind.in_(tuple(kinds))),
                exists().where(WorkerRow.dedicated),
            )
        )
    ).one()
    return DueWork(*map(bool, row))


async def claim(
    session: AsyncSession, worker_id: str, kinds: Iterable[str], limit: int
) -> Sequence[JobRow]:
    """Claim and return up to `limit` due jobs, the most urgent first.

    Only `kinds` are claimed, which are those that this release can run. Locks the rows; rows that
    another transaction has locked are skipped.
    """
    due = (
        select(JobRow.id)
        .where(_is_due(kinds))
        .order_by(JobRow.priority, JobRow.run_after, JobRow.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte("due")  # PostgreSQL might evaluate a subquery several times, and exceed the limit
    )
    claimed = await session.scalars(
        update(JobRow)
        .where(JobRow.id.in_(select(due.c.id)), JobRow.state == JobState.QUEUED)
        .values(state=JobState.RUNNING, lease=JobRow.lease + 1, worker_id=worker_id)
        .returning(JobRow),
        execution_options={"synchronize_session": False},
    )
    return sorted(claimed.all(), key=lambda row: (row.priority, row.run_after, row.id))


def _is_due(kinds: Iterable[str]) -> ColumnElement[bool]:
    return and_(
        JobRow.state == JobState.QUEUED, JobRow.run_after <= now(), JobRow.kind.in_(tuple(kinds))
    )


async def leases_of(session: AsyncSession, worker_id: str) -> set[tuple[str, int]]:
    """Return job id and lease of each job that this worker holds."""
    rows = await session.execute(
        select(JobRow.id, JobRow.lease).where(
            JobRow.worker_id == worker_id, JobRow.state == JobState.RUNNING
        )
    )
    return {(row.id, row.lease) for row in rows}


async def release_unknown(
    session: AsyncSession, worker_id: str, known: Iterable[tuple[str, int]]
) -> None:
    """Queue again the jobs that the worker holds in the database but does not know of.

    This happens when the connection breaks after the commit of a claim, before its response.
    """
    for job_id, lease in await leases_of(session, worker_id) - set(known):
        await session.execute(
            update(JobRow)
            .where(JobRow.id == job_id, JobRow.lease == lease, JobRow.state == JobState.RUNNING)
            .values(state=JobState.QUEUED, worker_id=None),
            execution_options={"synchronize_session": False},
        )


async def release_all(session: AsyncSession, worker_id: str) -> None:
    """Queue again all jobs of a worker that stops, and delete the worker's row.

    An interrupted run does not count as an attempt.
    """
    await session.execute(
        update(JobRow)
        .where(JobRow.worker_id == worker_id, JobRow.state == JobState.RUNNING)
        .values(state=JobState.QUEUED, worker_id=None),
        execution_options={"synchronize_session": False},
    )
    await session.execute(delete(WorkerRow).where(WorkerRow.id == worker_id))


async def heartbeat(session: AsyncSession, worker_id: str, name: str, *, dedicated: bool) -> None:
    """Record that the worker is alive. Adds its row if it has none."""
    updated = await session.scalars(
        update(WorkerRow)
        .where(WorkerRow.id == worker_id)
        .values(beat_at=now())
        .returning(WorkerRow.id)
    )
    if updated.one_or_none() is None:
        session.add(WorkerRow(id=worker_id, name=name, dedicated=dedicated))
        await session.flush()


async def reclaim_orphans(session: AsyncSession, heartbeat_timeout: timedelta) -> Sequence[str]:
    """Return the ids of the jobs taken from workers without a heartbeat for so long.

    Such a job is queued again, or fails after MAX_CRASHES. A worker that was only paused finds its
    lease lost when it wakes up. An advisory lock lets a single worker reclaim at a time; the others
    return an empty list.
    """
    if not await is_first(session, RECLAIM_LOCK):
        return []
    oldest_heartbeat = await database_time(session) - heartbeat_timeout
    await session.execute(delete(WorkerRow).where(WorkerRow.beat_at < oldest_heartbeat))
    # A paused worker may hold a lock on a job. That job is skipped until the worker's database
    # session ends.
    orphans = await session.scalars(
        select(JobRow)
        .where(
            JobRow.state == JobState.RUNNING,
            ~exists().where(WorkerRow.id == JobRow.worker_id),
        )
        .with_for_update(skip_locked=True)
    )
    reclaimed = []
    for row in orphans.all():
        row.worker_id, row.rerun, row.crashes = None, False, row.crashes + 1
        if row.crashes < MAX_CRASHES:
            row.state = JobState.QUEUED
        else:
            row.state, row.finished_at = JobState.FAILED, await database_time(session)
            row.error = CRASHED_TOO_OFTEN
        reclaimed.append(row.id)
    await session.flush()
    return reclaimed
