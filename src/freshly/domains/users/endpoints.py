from fastapi import APIRouter

from freshly.chassis.errors import problems
from freshly.chassis.injection import Injected
from freshly.domains.users.errors import EmailTaken
from freshly.domains.users.models import User
from freshly.domains.users.schemas import UserRead, UserUpdate
from freshly.domains.users.service import UserService

router = APIRouter(prefix="/users", tags=["users"])


@router.get("/me", response_model=UserRead, summary="Who I am")
async def read_me(users: Injected[UserService]) -> User:
    return await users.me()


@router.patch(
    "/me", response_model=UserRead, responses=problems(EmailTaken), summary="Change my profile"
)
async def update_me(users: Injected[UserService], update: UserUpdate) -> User:
    return await users.update_me(update)
