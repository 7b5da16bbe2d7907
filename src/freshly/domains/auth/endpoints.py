from typing import Annotated

from fastapi import APIRouter, Body, Form, Header, Query
from fastapi.responses import HTMLResponse

from freshly.chassis.data.pagination import BadCursor, Page, PageQuery
from freshly.chassis.dependencies import Injected
from freshly.chassis.errors import problems
from freshly.chassis.rate_limits.policy import RateLimited
from freshly.chassis.web.request_headers import REAUTH_HEADER
from freshly.chassis.web.schemas import Message
from freshly.domains.auth import pages
from freshly.domains.auth.codes import PasswordResetService, VerificationService
from freshly.domains.auth.email_change import EmailChangeService
from freshly.domains.auth.errors import (
    OAUTH_ERRORS,
    AccountClosed,
    AccountSuspended,
    CodeExpired,
    InvalidCredentials,
    InvalidLink,
    InvalidRefreshToken,
    InvalidResetToken,
    NoActiveCode,
    NoActiveResetCode,
    NoAddress,
    NotRegistered,
    PasswordIsPersonal,
    PasswordTooCommon,
    PasswordTooShort,
    ProofMissing,
    ProviderMismatch,
    ReauthenticationRequired,
    RefreshTokenRevoked,
    ResetCodeExpired,
    SessionNotFound,
    TooManyAttempts,
    WrongCode,
    WrongPassword,
    WrongResetCode,
    WrongTokenScope,
    WrongTokenType,
)
from freshly.domains.auth.link_actions import LinkActions
from freshly.domains.auth.oauth import OAuthService, bearer_token
from freshly.domains.auth.password_change import PasswordChangeService
from freshly.domains.auth.proof import ReauthenticationService
from freshly.domains.auth.schemas import (
    CodeOnly,
    EmailAndCode,
    EmailOnly,
    LinkToken,
    Login,
    NewPassword,
    OAuthTokens,
    PasswordChange,
    PasswordReset,
    Reauthentication,
    ReauthenticationToken,
    Refresh,
    ResetAllowed,
    SessionId,
    SessionRead,
    Tokens,
    Verified,
)
from freshly.domains.auth.service import SessionService, SignInService
from freshly.domains.users.errors import EmailTaken, UserNotFound
from freshly.domains.users.models import User
from freshly.domains.users.schemas import OwnUserRead, TypedEmail
from freshly.domains.users.service import UserService

public = APIRouter(prefix="/auth", tags=["auth"])
router = APIRouter(prefix="/auth", tags=["auth"])

SENT = "If this address has an account, a code is on its way."


@public.post(
    "/login",
    responses=problems(InvalidCredentials, AccountSuspended, AccountClosed, RateLimited),
    summary="Sign in",
)
async def login(sign_in: Injected[SignInService], given: Login) -> Tokens:
    return await sign_in.login(given)


@public.post(
    "/refresh",
    responses=problems(InvalidRefreshToken, RefreshTokenRevoked, WrongTokenType, AccountSuspended),
    summary="Trade a refresh token for new tokens",
)
async def refresh(sign_in: Injected[SignInService], given: Refresh) -> Tokens:
    return await sign_in.refresh(given.refresh_token)


@router.post("/logout", summary="Sign out of this session")
async def logout(sessions: Injected[SessionService]) -> Message:
    await sessions.logout()
    return Message(message="Successfully logged out")


@router.get("/sessions", responses=problems(BadCursor), summary="List my sessions, latest first")
async def list_sessions(
    sessions: Injected[SessionService], query: Annotated[PageQuery, Query()]
) -> Page[SessionRead]:
    return await sessions.page(query)


@router.delete(
    "/sessions/{id}",
    status_code=204,
    responses=problems(SessionNotFound),
    summary="Revoke a session",
)
async def revoke_session(sessions: Injected[SessionService], id: SessionId) -> None:
    await sessions.revoke(id)


@router.post(
    "/reauthenticate",
    responses=problems(
        WrongPassword, NoActiveCode, CodeExpired, WrongCode, TooManyAttempts, ProofMissing
    ),
    summary="Prove that it is me, for important changes",
)
async def reauthenticate(
    proof: Injected[ReauthenticationService], given: Reauthentication
) -> ReauthenticationToken:
    return await proof.prove(given)


@router.post("/reauthenticate/send-code", summary="Send me a code to prove that it is me")
async def send_reauthentication_code(proof: Injected[ReauthenticationService]) -> Message:
    await proof.send_code()
    return Message(message="A code is on its way to your email address.")


@router.post(
    "/change-password",
    responses=problems(
        *(WrongPassword, ReauthenticationRequired, PasswordTooCommon, PasswordIsPersonal),
    ),
    openapi_extra=REAUTH_HEADER,
    summary="Change my password and sign out my other devices",
)
async def change_password(
    passwords: Injected[PasswordChangeService], given: PasswordChange
) -> Message:
    await passwords.change(given)
    return Message(message="Password changed. Your other devices are signed out.")


@router.post(
    "/confirm-email",
    response_model=OwnUserRead,
    responses=problems(
        *(NoActiveCode, CodeExpired, WrongCode, TooManyAttempts),
        *(ReauthenticationRequired, EmailTaken),
    ),
    openapi_extra=REAUTH_HEADER,
    summary="Use my new email address, with the code that it was sent",
)
async def confirm_email(changes: Injected[EmailChangeService], given: CodeOnly) -> User:
    return await changes.confirm(given.code)


@router.post(
    "/confirm-email/send-code",
    responses=problems(NoActiveCode),
    summary="Send the code to my new email address again",
)
async def send_new_address_code(changes: Injected[EmailChangeService]) -> Message:
    await changes.send_code()
    return Message(message="A code is on its way to your new email address.")


@router.get("/me", response_model=OwnUserRead, summary="Get the signed-in user")
async def read_me(users: Injected[UserService]) -> User:
    return await users.me()


@public.post(
    "/send-code",
    responses=problems(NoAddress),
    summary="Send a code to confirm an email address",
)
async def send_code(
    verification: Injected[VerificationService],
    given: Annotated[EmailOnly | None, Body()] = None,
    email: Annotated[TypedEmail | None, Query(max_length=320)] = None,
) -> Message:
    address = given.email if given else email
    if address is None:
        raise NoAddress
    await verification.send_code(address)
    return Message(message=SENT)


@public.post(
    "/verify-code",
    responses=problems(NoActiveCode, CodeExpired, WrongCode, TooManyAttempts, RateLimited),
    summary="Confirm an email address with the code",
)
async def verify_code(
    verification: Injected[VerificationService],
    given: EmailAndCode,
) -> Verified:
    confirmed = await verification.verify(given)
    return Verified(message="Email verified", is_verified=confirmed)


@public.post("/forgot-password", summary="Send a code to reset a password")
async def forgot_password(reset: Injected[PasswordResetService], given: EmailOnly) -> Message:
    await reset.send_code(given.email)
    return Message(message=SENT)


@public.post(
    "/forgot-password/verify",
    responses=problems(
        NoActiveResetCode, ResetCodeExpired, WrongResetCode, TooManyAttempts, RateLimited
    ),
    summary="Trade the code for a password reset token",
)
async def verify_reset_code(
    reset: Injected[PasswordResetService], given: EmailAndCode
) -> ResetAllowed:
    token = await reset.allow(given)
    return ResetAllowed(message="Code accepted", reset_token=token)


@public.post(
    "/reset-password",
    responses=problems(
        *(InvalidResetToken, PasswordTooShort, PasswordTooCommon, PasswordIsPersonal),
        *(WrongTokenScope, UserNotFound),
    ),
    summary="Set a new password and end all sessions",
)
async def reset_password(reset: Injected[PasswordResetService], given: PasswordReset) -> Message:
    await reset.reset(given)
    return Message(message="Password changed. Sign in with the new one.")


@public.get(
    "/link",
    response_class=HTMLResponse,
    responses=problems(InvalidLink),
    summary="Show what a link in an email will do",
)
async def show_link(actions: Injected[LinkActions], token: LinkToken) -> HTMLResponse:
    # A GET changes nothing, because mail programs open links by themselves.
    return _page(pages.question(await actions.purpose(token), token))


@public.post(
    "/link",
    response_class=HTMLResponse,
    responses=problems(InvalidLink, PasswordTooShort, PasswordTooCommon, PasswordIsPersonal),
    summary="Do what a link in an email says",
)
async def follow_link(
    actions: Injected[LinkActions],
    token: Annotated[LinkToken, Form()],
    new_password: Annotated[NewPassword, Form()] = "",
) -> HTMLResponse:
    return _page(pages.result(await actions.follow(token, new_password)))


@public.post(
    "/login/oauth",
    responses=problems(
        ProviderMismatch, NotRegistered, AccountSuspended, AccountClosed, *OAUTH_ERRORS
    ),
    summary="Sign in with Google or Apple (bearer: Supabase token)",
)
async def login_by_oauth(
    oauth: Injected[OAuthService],
    authorization: Annotated[str | None, Header(max_length=10_000)] = None,
) -> OAuthTokens:
    return await oauth.login(bearer_token(authorization))


def _page(text: str) -> HTMLResponse:
    return HTMLResponse(text, headers=pages.HEADERS)
