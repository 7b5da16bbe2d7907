"""Jobs that delete old rows: finished jobs and idempotency records."""

from datetime import timedelta
from typing import ClassVar

from sqlalchemy import and_, delete, or_, select

from freshly.chassis.data.idempotency_keys import IdempotencyRecords
from freshly.chassis.jobs.context import JobContext
from freshly.chassis.jobs.definitions import Job, JobState, Priority
from freshly.chassis.jobs.models import JobRow
from freshly.chassis.jobs.queue import database_time

RETENTION = timedelta(days=7)
FAILED_RETENTION = timedelta(days=30)  # gives the operator time to read the error and retry
ROWS_PER_COMMIT = 1000


class PurgeJobs(Job):
    kind: ClassVar[str] = "jobs.purge"
    priority: ClassVar[Priority] = Priority.LOW
    time_limit: ClassVar[timedelta] = timedelta(minutes=10)


async def purge_jobs(_job: PurgeJobs, context: JobContext) -> None:
    """Delete done and cancelled jobs after RETENTION, failed ones after FAILED_RETENTION."""
    more = True
    while more:
        async with context.write() as session:
            at = await database_time(session)
            ended = (JobState.DONE, JobState.CANCELLED)
            expired = or_(
                and_(JobRow.state.in_(ended), JobRow.finished_at < at - RETENTION),
                and_(JobRow.state == JobState.FAILED, JobRow.finished_at < at - FAILED_RETENTION),
            )
            ids = select(JobRow.id).where(expired).limit(ROWS_PER_COMMIT)
            deleted = await session.scalars(
                delete(JobRow).where(JobRow.id.in_(ids.scalar_subquery())).returning(JobRow.id),
                execution_options={"synchronize_session": False},
            )
            more = len(deleted.all()) == ROWS_PER_COMMIT


class PurgeIdempotencyRecords(Job):
    kind: ClassVar[str] = "answers.purge"  # the stored name from earlier releases
    priority: ClassVar[Priority] = Priority.LOW


async def purge_idempotency_records(_job: PurgeIdempotencyRecords, context: JobContext) -> None:
    """Delete the idempotency records that have expired."""
    async with context.write() as session:
        await IdempotencyRecords(session).purge()
