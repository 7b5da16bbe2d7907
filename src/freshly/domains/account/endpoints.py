from fastapi import APIRouter

from freshly.chassis.dependencies import Injected
from freshly.chassis.errors import problems
from freshly.chassis.jobs import JobRead
from freshly.chassis.ports.object_storage import StorageUnavailable
from freshly.domains.account.schemas import StorageUsageRead
from freshly.domains.account.service import AccountService
from freshly.domains.account.usage import StorageUsage

router = APIRouter(prefix="/users", tags=["users"])


@router.post(
    "/me/export",
    status_code=202,
    summary="Export all my data as a zip file",
)
async def export_me(account: Injected[AccountService]) -> JobRead:
    return await account.export()


@router.get(
    "/me/usage",
    responses=problems(StorageUnavailable),
    summary="Get what I and my families store, and the quotas",
)
async def read_usage(usage: Injected[StorageUsage]) -> StorageUsageRead:
    return await usage.read()


@router.delete("/me", status_code=204, summary="Delete my account and all its data")
async def delete_me(account: Injected[AccountService]) -> None:
    await account.delete()
