"""The context of a running job: what its handler uses to read, write and finish."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from types import SimpleNamespace
from typing import Any, TypeVar

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from freshly.chassis.data.transactions import Database, current_database, request_session
from freshly.chassis.dependencies import build_with
from freshly.chassis.jobs.definitions import JobState
from freshly.chassis.jobs.models import JobRow
from freshly.chassis.jobs.queue import database_time
from freshly.chassis.resources import Resources
from freshly.chassis.security.caller import current_caller
from freshly.chassis.security.client_info import ClientInfo, current_client_info

T = TypeVar("T")


class LeaseLost(Exception):
    """The job was cancelled, or another worker has claimed it. This run must change nothing."""


@dataclass
class JobContext:
    """A run of a job under one lease. Its writes are committed only while the lease is valid.

    A handler may run twice, for example because a worker died or the mail server refused an email.
    Its effects must therefore be safe to repeat. What it writes in `complete()` happens once,
    because the job is marked done in the same commit.
    """

    id: str
    user_id: int | None
    lease: int
    resources: Resources
    is_finished: bool = field(default=False, init=False)

    @property
    def db(self) -> Database:
        return self.resources.db

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncSession]:
        async with self.db.read() as session:
            yield session

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncSession]:
        """Open a transaction that locks the job's row before it commits.

        Raises LeaseLost, and rolls back, if the lease is no longer valid. The job is locked last
        because requests lock what they change before they enqueue a job about it, and the opposite
        order could deadlock with them.
        """
        async with self.db.write() as session:
            yield session
            await session.flush()
            await self.locked_row(session)

    @asynccontextmanager
    async def complete(self, result_url: str | None = None) -> AsyncIterator[AsyncSession]:
        """Open the last transaction of the run, which also marks the job done.

        Raises LeaseLost, and rolls back, if the lease is no longer valid.
        """
        async with self.db.write() as session:
            yield session
            await session.flush()
            row = await self.locked_row(session)
            mark_done(row, await database_time(session), result_url)
            await session.flush()
        self.is_finished = True

    async def locked_row(self, session: AsyncSession) -> JobRow:
        """Return the job's row, locked. Raises LeaseLost if the lease is no longer valid."""
        row = await session.scalar(
            select(JobRow)
            .where(
                JobRow.id == self.id,
                JobRow.lease == self.lease,
                JobRow.state == JobState.RUNNING,
            )
            .with_for_update()
            .execution_options(populate_existing=True)
        )
        if row is None:
            raise LeaseLost
        return row

    async def ensure_lease(self) -> None:
        """Raise LeaseLost if the lease is no longer valid.

        Call it right before an effect that no rollback undoes, such as sending an email.
        """
        async with self.db.read() as session:
            job_id = await session.scalar(
                select(JobRow.id).where(
                    JobRow.id == self.id,
                    JobRow.lease == self.lease,
                    JobRow.state == JobState.RUNNING,
                )
            )
        if job_id is None:
            raise LeaseLost

    async def progress(self, fraction: float) -> None:
        """Store how much is done, from 0 to 1. Each call is a commit, so call it rarely.

        Raises LeaseLost if the lease is no longer valid.
        """
        async with self.write() as session:
            await session.execute(
                update(JobRow)
                .where(JobRow.id == self.id)
                .values(progress=min(max(fraction, 0.0), 1.0))
            )

    async def service(
        self, service_class: type[T], session: AsyncSession, *, user_id: int | None = None
    ) -> T:
        """Return a service or repository in this session, acting for a user.

        The user is `user_id`, or else the user who caused the job. A job without either can use
        only classes that need no caller; others raise Unauthenticated.
        """
        acting_user_id = self.user_id if user_id is None else user_id
        known: dict[Any, Any] = {
            request_session: session,
            current_database: self.db,
            current_client_info: ClientInfo(),
        }
        if acting_user_id is not None:
            identity = self.resources.identity
            known[current_caller] = await identity.caller_of(acting_user_id, session)
        request = SimpleNamespace(state=SimpleNamespace(resources=self.resources, caller=None))
        service: T = await build_with(service_class, request, known)
        return service


def mark_done(row: JobRow, at: datetime, result_url: str | None = None) -> None:
    """Mark the job done, or queue it again if it was enqueued once more while it ran."""
    row.error = row.worker_id = None
    if row.rerun:
        row.state, row.rerun, row.progress = JobState.QUEUED, False, 0.0
        row.attempts = row.crashes = 0
        return
    row.state, row.progress, row.result_url, row.finished_at = JobState.DONE, 1.0, result_url, at
    row.payload = {}
