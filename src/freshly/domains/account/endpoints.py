from fastapi import APIRouter

from freshly.chassis.injection import Injected
from freshly.domains.account.service import AccountService

router = APIRouter(prefix="/users", tags=["users"])


@router.delete("/me", status_code=204, summary="Delete my account and everything in it")
async def delete_me(account: Injected[AccountService]) -> None:
    await account.delete()
