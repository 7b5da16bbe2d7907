from fastapi import APIRouter

from freshly.chassis.errors import problems
from freshly.chassis.injection import Injected
from freshly.chassis.schemas import Message
from freshly.domains.auth.errors import (
    EmailAlreadyRegistered,
    InvalidCredentials,
    InvalidRefreshToken,
    RefreshTokenRevoked,
    WrongTokenType,
)
from freshly.domains.auth.schemas import Login, Refresh, Register, Tokens
from freshly.domains.auth.service import RegistrationService, SignInService, SignOutService
from freshly.domains.users.models import User
from freshly.domains.users.schemas import UserRead
from freshly.domains.users.service import UserService

public = APIRouter(prefix="/auth", tags=["auth"])
router = APIRouter(prefix="/auth", tags=["auth"])


@public.post(
    "/register",
    response_model=UserRead,
    responses=problems(EmailAlreadyRegistered),
    summary="Open an account",
)
async def register(registration: Injected[RegistrationService], new: Register) -> User:
    return await registration.register(new)


@public.post("/login", responses=problems(InvalidCredentials), summary="Sign in")
async def login(sign_in: Injected[SignInService], given: Login) -> Tokens:
    return await sign_in.login(given)


@public.post(
    "/refresh",
    responses=problems(InvalidRefreshToken, RefreshTokenRevoked, WrongTokenType),
    summary="A new pair of tokens for a refresh token",
)
async def refresh(sign_in: Injected[SignInService], given: Refresh) -> Tokens:
    return await sign_in.refresh(given.refresh_token)


@router.post("/logout", summary="End this sign-in")
async def logout(sign_out: Injected[SignOutService]) -> Message:
    await sign_out.logout()
    return Message(message="Successfully logged out")


@router.get("/me", response_model=UserRead, summary="Who I am")
async def read_me(users: Injected[UserService]) -> User:
    return await users.me()
