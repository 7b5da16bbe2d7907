"""A job as its handler sees it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from types import SimpleNamespace
from typing import Any, TypeVar

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from freshly.chassis.data.transactions import Database, request_session
from freshly.chassis.dependencies import build_with
from freshly.chassis.jobs.definitions import JobState
from freshly.chassis.jobs.models import JobRow
from freshly.chassis.jobs.queue import clock
from freshly.chassis.resources import Resources
from freshly.chassis.security.caller import current_caller
from freshly.chassis.security.client_info import ClientInfo, current_client_info

T = TypeVar("T")


class LeaseLost(Exception):
    """Somebody else has the job now, or it was cancelled: whoever had it changes nothing more."""


@dataclass
class JobContext:
    """One taking of a job. What it writes through here is committed only while the job is its own.

    A handler may run twice (a worker dies, a letter is refused), so what it does is safe to repeat;
    what it writes in `finishing` happens once, as the job is done with the same commit.
    """

    id: str
    user_id: int | None
    lease: int
    resources: Resources
    is_over: bool = field(default=False, init=False)

    @property
    def db(self) -> Database:
        return self.resources.db

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncSession]:
        async with self.db.read() as session:
            yield session

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncSession]:
        """A unit of work that ends with locking the job. Raises TakenOver, and nothing is kept.

        Last, because requests lock what they change before they ask for a job about it.
        """
        async with self.db.write() as session:
            yield session
            await session.flush()
            await self.locked_row(session)

    @asynccontextmanager
    async def complete(self, result_url: str | None = None) -> AsyncIterator[AsyncSession]:
        """The last unit of work: its effects and the end of the job are one commit."""
        async with self.db.write() as session:
            yield session
            await session.flush()
            row = await self.locked_row(session)
            finish(row, await clock(session), result_url)
            await session.flush()
        self.is_over = True

    async def locked_row(self, session: AsyncSession) -> JobRow:
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
        """To be asked right before something that no rollback undoes. Raises TakenOver."""
        async with self.db.read() as session:
            found = await session.scalar(
                select(JobRow.id).where(
                    JobRow.id == self.id,
                    JobRow.lease == self.lease,
                    JobRow.state == JobState.RUNNING,
                )
            )
        if found is None:
            raise LeaseLost

    async def progress(self, share: float) -> None:
        """How much is done, from 0 to 1; a commit of its own, so not for each crumb."""
        async with self.write() as session:
            await session.execute(
                update(JobRow)
                .where(JobRow.id == self.id)
                .values(progress=min(max(share, 0.0), 1.0))
            )

    async def service(
        self, wanted: type[T], session: AsyncSession, *, user_id: int | None = None
    ) -> T:
        """A service or repository in this session, as the person who caused the job would get it.

        Give `user_id` for another person's. Without either it can be one that asks for nobody.
        """
        person = self.user_id if user_id is None else user_id
        known: dict[Any, Any] = {request_session: session, current_client_info: ClientInfo()}
        if person is not None:
            known[current_caller] = await self.resources.identity.person(person, session)
        request = SimpleNamespace(state=SimpleNamespace(resources=self.resources, caller=None))
        made: T = await build_with(wanted, request, known)
        return made


def finish(row: JobRow, at: datetime, result_url: str | None = None) -> None:
    """Done; or waiting again, where it was asked for once more meanwhile."""
    row.error = row.worker_id = None
    if row.rerun:
        row.state, row.rerun, row.progress = JobState.QUEUED, False, 0.0
        row.attempts = row.crashes = 0
        return
    row.state, row.progress, row.result_url, row.finished_at = JobState.DONE, 1.0, result_url, at
    row.payload = {}
