"""What the operator sees of jobs, and may do with them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from freshly.chassis.data.functions import now
from freshly.chassis.data.transactions import ENQUEUED
from freshly.chassis.jobs.definitions import JobState
from freshly.chassis.jobs.models import JobRow, WorkerRow
from freshly.chassis.jobs.queue import UNFINISHED, clock

OPEN = (JobState.QUEUED, JobState.RUNNING, JobState.FAILED)
ENDED_BADLY = (JobState.FAILED, JobState.CANCELLED)


class CannotBeDone(Exception):
    """Says why, in one line."""


@dataclass(frozen=True)
class Load:
    depth: Mapping[tuple[str, str], int]  # by kind and state, of what is not done
    lag: float  # seconds that the job that is due longest has waited
    workers: int  # that live; servers that run jobs besides count too

    def count(self, state: str) -> int:
        return sum(number for (_, of), number in self.depth.items() if of == state)


async def load_of(session: AsyncSession) -> Load:
    depth = await session.execute(
        select(JobRow.kind, JobRow.state, func.count())
        .where(JobRow.state.in_(OPEN))
        .group_by(JobRow.kind, JobRow.state)
    )
    oldest = await session.scalar(
        select(func.min(JobRow.run_after)).where(
            JobRow.state == JobState.QUEUED, JobRow.run_after <= now()
        )
    )
    lag = (await clock(session) - oldest).total_seconds() if oldest else 0.0
    workers = await session.scalar(select(func.count()).select_from(WorkerRow)) or 0
    return Load({(kind, state): n for kind, state, n in depth}, max(lag, 0.0), workers)


async def listed(
    session: AsyncSession, states: Sequence[JobState], kind: str | None, most: int
) -> Sequence[JobRow]:
    """The newest first."""
    statement = select(JobRow).order_by(JobRow.id.desc()).limit(most)
    if states:
        statement = statement.where(JobRow.state.in_(states))
    if kind is not None:
        statement = statement.where(JobRow.kind == kind)
    return (await session.scalars(statement)).all()


async def retry(session: AsyncSession, id: str) -> None:
    """Once more from the beginning, with all its tries. Raises CannotBeDone."""
    row = await _locked(session, id)
    if row.state not in ENDED_BADLY:
        raise CannotBeDone(f"{id} is {row.state}: only what failed or was cancelled is retried")
    at, key = await clock(session), row.dedup_key
    session.info[ENQUEUED] = True
    try:
        async with session.begin_nested():
            row.state, row.attempts, row.crashes = JobState.QUEUED, 0, 0
            row.finished_at, row.run_after = None, at
            await session.flush()
    except IntegrityError as error:
        raise CannotBeDone(f"{id}: another job does the same already ({key})") from error


async def cancel(session: AsyncSession, id: str) -> None:
    """Whoever runs it commits nothing more, and is stopped. Raises CannotBeDone."""
    row = await _locked(session, id)
    if row.state not in UNFINISHED:
        raise CannotBeDone(f"{id} is {row.state}: only what waits or runs is cancelled")
    row.state, row.rerun, row.finished_at = JobState.CANCELLED, False, await clock(session)
    await session.flush()


async def _locked(session: AsyncSession, id: str) -> JobRow:
    row = await session.get(JobRow, id, with_for_update=True, populate_existing=True)
    if row is None:
        raise CannotBeDone(f"there is no job {id}")
    return row
