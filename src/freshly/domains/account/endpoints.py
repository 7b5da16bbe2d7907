from fastapi import APIRouter, BackgroundTasks

from freshly.chassis.injection import Injected
from freshly.domains.account.files import PersonalFiles
from freshly.domains.account.service import AccountService

router = APIRouter(prefix="/users", tags=["users"])


@router.delete("/me", status_code=204, summary="Delete my account and everything in it")
async def delete_me(
    account: Injected[AccountService], files: Injected[PersonalFiles], tasks: BackgroundTasks
) -> None:
    tasks.add_task(files.remove_all, await account.delete())
