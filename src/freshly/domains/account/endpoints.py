from fastapi import APIRouter

from freshly.chassis.dependencies import Injected
from freshly.chassis.jobs import JobRead
from freshly.domains.account.service import AccountService

router = APIRouter(prefix="/users", tags=["users"])


@router.post(
    "/me/export",
    status_code=202,
    summary="Export all my data as a zip file",
)
async def export_me(account: Injected[AccountService]) -> JobRead:
    return await account.export()


@router.delete("/me", status_code=204, summary="Delete my account and all its data")
async def delete_me(account: Injected[AccountService]) -> None:
    await account.delete()
