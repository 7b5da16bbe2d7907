"""What is over is forgotten after a while."""

from datetime import timedelta
from typing import ClassVar

from sqlalchemy import and_, delete, or_, select

from freshly.chassis.data.idempotency_keys import IdempotencyRecords
from freshly.chassis.jobs.context import JobContext
from freshly.chassis.jobs.definitions import Job, JobState, Priority
from freshly.chassis.jobs.models import JobRow
from freshly.chassis.jobs.queue import clock

KEPT = timedelta(days=7)
KEPT_PARKED = timedelta(days=30)  # somebody should have looked at it by then
AT_ONCE = 1000  # rows of one commit


class PurgeJobs(Job):
    kind: ClassVar[str] = "jobs.purge"
    priority: ClassVar[Priority] = Priority.LOW
    time_limit: ClassVar[timedelta] = timedelta(minutes=10)


async def purge_jobs(_job: PurgeJobs, run: JobContext) -> None:
    more = True
    while more:
        async with run.write() as session:
            at = await clock(session)
            ended = (JobState.DONE, JobState.CANCELLED)
            over = or_(
                and_(JobRow.state.in_(ended), JobRow.finished_at < at - KEPT),
                and_(JobRow.state == JobState.FAILED, JobRow.finished_at < at - KEPT_PARKED),
            )
            old = select(JobRow.id).where(over).limit(AT_ONCE)
            gone = await session.scalars(
                delete(JobRow).where(JobRow.id.in_(old.scalar_subquery())).returning(JobRow.id),
                execution_options={"synchronize_session": False},
            )
            more = len(gone.all()) == AT_ONCE


class PurgeAnswers(Job):
    """Those to an Idempotency-Key that nobody can ask for any more."""

    kind: ClassVar[str] = "answers.purge"
    priority: ClassVar[Priority] = Priority.LOW


async def purge_answers(_job: PurgeAnswers, run: JobContext) -> None:
    async with run.write() as session:
        await IdempotencyRecords(session).purge()
