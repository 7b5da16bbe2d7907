from typing import Annotated

from fastapi import APIRouter, Path, Query, Response
from fastapi.responses import StreamingResponse

from freshly.chassis.dependencies import Injected
from freshly.chassis.errors import problems
from freshly.chassis.jobs import JobRead
from freshly.chassis.ports.object_storage import StorageUnavailable
from freshly.chassis.security.caller import CurrentCaller
from freshly.chassis.web.request_headers import REAUTH_HEADER
from freshly.domains.account.errors import ExportNotFound
from freshly.domains.account.files import PersonalFiles
from freshly.domains.account.schemas import StatsQuery, StatsRead, StorageUsageRead
from freshly.domains.account.service import AccountService
from freshly.domains.account.statistics import Statistics
from freshly.domains.account.usage import StorageUsage
from freshly.domains.auth.errors import ReauthenticationRequired

router = APIRouter(prefix="/users", tags=["users"])
EXPORT_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Disposition": 'attachment; filename="freshly-export.zip"',
}


@router.post(
    "/me/export",
    status_code=202,
    responses=problems(ReauthenticationRequired),
    openapi_extra=REAUTH_HEADER,
    summary="Export all my data as a zip file",
)
async def export_me(account: Injected[AccountService]) -> JobRead:
    return await account.export()


@router.get(
    "/me/exports/{name}",
    response_class=Response,
    responses=problems(ExportNotFound, StorageUnavailable),
    summary="Download an export of my data",
)
async def read_export(
    caller: CurrentCaller, files: Injected[PersonalFiles], name: Annotated[str, Path(max_length=64)]
) -> Response:
    content = await files.export(caller.user_id, name)
    return StreamingResponse(content, media_type="application/zip", headers=EXPORT_HEADERS)


@router.get(
    "/me/usage",
    responses=problems(StorageUnavailable),
    summary="Get what I and my families store, and the quotas",
)
async def read_usage(usage: Injected[StorageUsage]) -> StorageUsageRead:
    return await usage.read()


@router.get(
    "/me/stats",
    responses=problems(StorageUnavailable),
    summary="Get the numbers of my meals, plans, lists and streaks",
)
async def read_stats(
    statistics: Injected[Statistics], query: Annotated[StatsQuery, Query()]
) -> StatsRead:
    return await statistics.read(query.timezone)


@router.delete(
    "/me",
    status_code=204,
    openapi_extra=REAUTH_HEADER,
    summary="Delete my account: at once with proof that it is me, else after seven days",
)
async def delete_me(account: Injected[AccountService]) -> None:
    await account.delete()
