"""Asking for work, within the transaction that needs it."""

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

UNFINISHED = (JobState.QUEUED, JobState.RUNNING)


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
        """The job, which runs once this transaction is committed.

        `user_id` is who caused it and may look at it. While a job of the same `key` waits, that
        one is given instead; while it runs, it is told to run once more afterwards, as what it has
        read may be old by now. A job without a key is one of its own.
        """
        self.session.info[ENQUEUED] = True
        starts = await clock(self.session) + delay if delay else None
        if key is not None and (known := await self._known(key, starts)):
            return known
        row = JobRow(
            id=f"{int(time() * 1000):012x}{secrets.token_hex(10)}",
            kind=job.kind,
            payload=job.model_dump(mode="json"),
            user_id=user_id,
            priority=job.priority if priority is None else priority,
            dedup_key=key,
            correlation_id=correlation_id.get(),
        )
        if starts is not None:
            row.run_after = starts
        try:
            async with self.session.begin_nested():
                self.session.add(row)
                await self.session.flush()
        except IntegrityError:
            first = await self._known(key, starts) if key is not None else None
            if first is None:
                raise
            return first
        return row

    async def delete(self, job: type[Job], **payload: str) -> None:
        """Delete the jobs of this kind whose payload has these values, whatever their state."""
        matches = [JobRow.payload[name].as_string() == value for name, value in payload.items()]
        await self.session.execute(
            delete(JobRow)
            .where(JobRow.kind == job.kind, *matches)
            .execution_options(synchronize_session=False)
        )

    async def _known(self, key: str, starts: datetime | None) -> JobRow | None:
        """The unfinished one with this key, told that it is wanted."""
        wanted = now() if starts is None else starts
        found = await self.session.scalars(
            update(JobRow)
            .where(JobRow.dedup_key == key, JobRow.state.in_(UNFINISHED))
            .values(
                rerun=JobRow.state == JobState.RUNNING,
                run_after=case((JobRow.run_after > wanted, wanted), else_=JobRow.run_after),
            )
            .returning(JobRow),
            execution_options={"populate_existing": True},
        )
        return found.one_or_none()


async def clock(session: AsyncSession) -> datetime:
    return (await session.execute(select(now()))).scalar_one()
