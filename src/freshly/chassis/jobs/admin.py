"""Operations on jobs for the operator: list, retry, cancel, and statistics."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from freshly.chassis.data.functions import now
from freshly.chassis.data.transactions import ENQUEUED
from freshly.chassis.jobs.definitions import JobState
from freshly.chassis.jobs.models import JobRow, WorkerRow
from freshly.chassis.jobs.queue import UNFINISHED_STATES, database_time

COUNTED_STATES = (JobState.QUEUED, JobState.RUNNING, JobState.FAILED)
RETRYABLE_STATES = (JobState.FAILED, JobState.CANCELLED)


class JobActionRefused(Exception):
    """A job cannot be retried or cancelled. The text gives the reason in one line."""


@dataclass(frozen=True)
class QueueStatistics:
    """The state of the queue.

    `counts` is the number of queued, running and failed jobs by kind and state. `lag_seconds` is
    how long the oldest due job has waited. `workers` have a recent heartbeat; servers that run
    jobs are workers too.
    """

    counts: Mapping[tuple[str, str], int]
    lag_seconds: float
    workers: int

    def count(self, state: str) -> int:
        return sum(n for (_, counted_state), n in self.counts.items() if counted_state == state)


async def queue_statistics(session: AsyncSession, heartbeat_timeout: timedelta) -> QueueStatistics:
    """Return the state of the queue. A worker without a heartbeat for so long is not counted."""
    counts = await session.execute(
        select(JobRow.kind, JobRow.state, func.count())
        .where(JobRow.state.in_(COUNTED_STATES))
        .group_by(JobRow.kind, JobRow.state)
    )
    oldest = await session.scalar(
        select(func.min(JobRow.run_after)).where(
            JobRow.state == JobState.QUEUED, JobRow.run_after <= now()
        )
    )
    lag = (await database_time(session) - oldest).total_seconds() if oldest else 0.0
    workers = await count_workers(session, heartbeat_timeout)
    return QueueStatistics({(kind, state): n for kind, state, n in counts}, max(lag, 0.0), workers)


async def count_workers(session: AsyncSession, heartbeat_timeout: timedelta) -> int:
    """Return the number of workers with a heartbeat within the timeout.

    The row of a killed worker stays until another worker deletes it, so the heartbeat decides.
    """
    oldest = await database_time(session) - heartbeat_timeout
    alive = select(func.count()).select_from(WorkerRow).where(WorkerRow.beat_at >= oldest)
    return await session.scalar(alive) or 0


async def list_jobs(
    session: AsyncSession, states: Sequence[JobState], kind: str | None, limit: int
) -> Sequence[JobRow]:
    """Return up to `limit` jobs, newest first. No states means all states."""
    statement = select(JobRow).order_by(JobRow.id.desc()).limit(limit)
    if states:
        statement = statement.where(JobRow.state.in_(states))
    if kind is not None:
        statement = statement.where(JobRow.kind == kind)
    return (await session.scalars(statement)).all()


async def retry(session: AsyncSession, id: str) -> None:
    """Queue a failed or cancelled job again, with all its attempts. Locks the job.

    Raises JobActionRefused if there is no such job, if it has another state, or if an unfinished
    job has the same key.
    """
    row = await _locked_row(session, id)
    if row.state not in RETRYABLE_STATES:
        raise JobActionRefused(f"{id} is {row.state}: only failed or cancelled jobs can be retried")
    at, key = await database_time(session), row.dedup_key
    session.info[ENQUEUED] = True
    try:
        async with session.begin_nested():
            row.state, row.attempts, row.crashes = JobState.QUEUED, 0, 0
            row.finished_at, row.run_after = None, at
            await session.flush()
    except IntegrityError as error:
        raise JobActionRefused(
            f"{id}: another job with the same key is queued or running ({key})"
        ) from error


async def cancel(session: AsyncSession, id: str) -> None:
    """Cancel a queued or running job. Locks the job.

    A worker that runs it commits nothing more, and stops the run at its next heartbeat. Raises
    JobActionRefused if there is no such job or if it has ended.
    """
    row = await _locked_row(session, id)
    if row.state not in UNFINISHED_STATES:
        raise JobActionRefused(f"{id} is {row.state}: only queued or running jobs can be cancelled")
    row.state, row.rerun = JobState.CANCELLED, False
    row.finished_at = await database_time(session)
    await session.flush()


async def _locked_row(session: AsyncSession, id: str) -> JobRow:
    row = await session.get(JobRow, id, with_for_update=True, populate_existing=True)
    if row is None:
        raise JobActionRefused(f"there is no job {id}")
    return row
