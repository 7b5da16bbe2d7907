"""The job queue: enqueues a job in the caller's transaction."""

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from time import time

from sqlalchemy import case, delete, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from freshly.chassis.data.functions import now
from freshly.chassis.data.transactions import ENQUEUED, DbSession
from freshly.chassis.jobs.definitions import Job, JobState, Priority
from freshly.chassis.jobs.models import JobRow
from freshly.chassis.observability.logging import correlation_id
from freshly.chassis.observability.tracing import tracing

UNFINISHED_STATES = (JobState.QUEUED, JobState.RUNNING)


@dataclass
class JobQueue:
    session: DbSession

    async def enqueue(
        self,
        job: Job,
        *,
        user_id: int | None = None,
        key: str | None = None,
        delay: timedelta | None = None,
        priority: Priority | None = None,
    ) -> JobRow:
        """Return the job's row. Workers see the job once this transaction is committed.

        `user_id` is the user who caused the job and may read its state. `key` deduplicates: while a
        job with this key is queued, that job is returned. While it runs, it is returned too and
        marked to run once more, because it may have read old rows. Without a key each call creates
        a job.
        """
        self.session.info[ENQUEUED] = True
        run_after = await database_time(self.session) + delay if delay else None
        if key is not None and (existing := await self._reuse(key, run_after)):
            return existing
        row = JobRow(
            id=f"{int(time() * 1000):012x}{secrets.token_hex(10)}",
            kind=job.kind,
            payload=job.model_dump(mode="json"),
            user_id=user_id,
            priority=job.priority if priority is None else priority,
            dedup_key=key,
            correlation_id=correlation_id.get(),
            traceparent=tracing.traceparent(),
        )
        if run_after is not None:
            row.run_after = run_after
        try:
            async with self.session.begin_nested():
                self.session.add(row)
                await self.session.flush()
        except IntegrityError:  # another transaction enqueued the same key first
            existing = await self._reuse(key, run_after) if key is not None else None
            if existing is None:
                raise
            return existing
        return row

    async def delete(self, job: type[Job], **payload: str) -> None:
        """Delete the jobs of this kind whose payload has these values, whatever their state."""
        matches = [JobRow.payload[name].as_string() == value for name, value in payload.items()]
        await self.session.execute(
            delete(JobRow)
            .where(JobRow.kind == job.kind, *matches)
            .execution_options(synchronize_session=False)
        )

    async def _reuse(self, key: str, run_after: datetime | None) -> JobRow | None:
        """Return the unfinished job with this key, or None if there is none.

        Marks a running job to run once more, and moves `run_after` forward if this call wants it
        sooner.
        """
        wanted = now() if run_after is None else run_after
        rows = await self.session.scalars(
            update(JobRow)
            .where(JobRow.dedup_key == key, JobRow.state.in_(UNFINISHED_STATES))
            .values(
                rerun=JobRow.state == JobState.RUNNING,
                run_after=case((JobRow.run_after > wanted, wanted), else_=JobRow.run_after),
            )
            .returning(JobRow),
            execution_options={"populate_existing": True},
        )
        return rows.one_or_none()


async def database_time(session: AsyncSession) -> datetime:
    """Return the database's clock, which all processes share."""
    return (await session.execute(select(now()))).scalar_one()
