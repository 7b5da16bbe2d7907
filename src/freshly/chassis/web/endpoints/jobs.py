"""The jobs of the signed-in user."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Path, Query
from sqlalchemy import select

from freshly.chassis.data.pagination import BadCursor, Page, PageQuery, PageRows, paginate
from freshly.chassis.data.transactions import DbSession
from freshly.chassis.dependencies import Injected
from freshly.chassis.errors import NotFound, problems
from freshly.chassis.jobs.definitions import JobRead, JobState
from freshly.chassis.jobs.models import JobRow
from freshly.chassis.security.caller import CurrentCaller
from freshly.chassis.web.schemas import ShortText

router = APIRouter(prefix="/jobs", tags=["jobs"])


class JobNotFound(NotFound):
    code, detail = "job_not_found", "Job not found. Finished jobs are deleted later."


class JobQuery(PageQuery):
    state: JobState | None = None


@dataclass
class OwnJobs:
    """The jobs that the caller enqueued."""

    session: DbSession
    caller: CurrentCaller

    async def page(self, query: JobQuery) -> PageRows[JobRow]:
        statement = select(JobRow).where(JobRow.user_id == self.caller.user_id)
        if query.state is not None:
            statement = statement.where(JobRow.state == query.state)
        return await paginate(self.session, statement, (JobRow.id,), query, newest_first=True)

    async def get(self, id: str) -> JobRow:
        row = await self.session.scalar(
            select(JobRow).where(JobRow.id == id, JobRow.user_id == self.caller.user_id)
        )
        if row is None:
            raise JobNotFound
        return row


@router.get(
    "",
    response_model=Page[JobRead],
    responses=problems(BadCursor),
    summary="List my background jobs, newest first",
)
async def list_jobs(
    jobs: Injected[OwnJobs], query: Annotated[JobQuery, Query()]
) -> PageRows[JobRow]:
    return await jobs.page(query)


@router.get(
    "/{id}",
    response_model=JobRead,
    responses=problems(JobNotFound),
    summary="Get a background job",
)
async def read_job(jobs: Injected[OwnJobs], id: Annotated[ShortText, Path()]) -> JobRow:
    return await jobs.get(id)
