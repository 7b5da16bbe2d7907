from typing import Annotated

from fastapi import APIRouter, Query

from freshly.chassis.data.pagination import BadCursor, Page, PageQuery, PageRows
from freshly.chassis.dependencies import Injected
from freshly.chassis.errors import problems
from freshly.chassis.rate_limits.policy import RateLimited
from freshly.domains.users.activity import ActivityService
from freshly.domains.users.errors import EmailTaken
from freshly.domains.users.models import Activity, User
from freshly.domains.users.schemas import ActivityRead, OwnUserRead, UserUpdate
from freshly.domains.users.service import UserService

router = APIRouter(prefix="/users", tags=["users"])


@router.get("/me", response_model=OwnUserRead, summary="Get my profile")
async def read_me(users: Injected[UserService]) -> User:
    return await users.me()


@router.patch(
    "/me",
    response_model=OwnUserRead,
    responses=problems(EmailTaken, RateLimited),
    summary="Update my profile",
)
async def update_me(users: Injected[UserService], update: UserUpdate) -> User:
    return await users.update_me(update)


@router.get(
    "/me/activity",
    response_model=Page[ActivityRead],
    responses=problems(BadCursor),
    summary="List my account activity, newest first",
)
async def list_activity(
    activity: Injected[ActivityService], query: Annotated[PageQuery, Query()]
) -> PageRows[Activity]:
    return await activity.page(query)
