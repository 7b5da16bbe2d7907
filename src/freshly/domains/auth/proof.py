"""Proof that the user is at the device, which an access token alone does not give."""

from dataclasses import dataclass
from datetime import timedelta

from freshly.chassis.dependencies import Injected
from freshly.chassis.resources import CurrentPasswords
from freshly.chassis.security.caller import CurrentCaller
from freshly.chassis.security.client_info import CurrentClientInfo
from freshly.domains.auth.codes import REAUTHENTICATE, CodeService, GuardedCodes
from freshly.domains.auth.errors import (
    InvalidToken,
    ProofMissing,
    ReauthenticationRequired,
    TokenExpired,
    WrongPassword,
    WrongTokenType,
)
from freshly.domains.auth.identity import CurrentTokenSigner
from freshly.domains.auth.repository import AuthSessionRepository
from freshly.domains.auth.schemas import Reauthentication, ReauthenticationToken
from freshly.domains.auth.tokens import PROOF_LIFETIME
from freshly.domains.users.activity import ActivityLog
from freshly.domains.users.models import ActivityKind, User
from freshly.domains.users.service import UserDirectory

FRESH_FOR = timedelta(minutes=15)  # after a sign-in of this session


@dataclass
class Proof:
    """Decides whether the caller has proved who they are."""

    caller: CurrentCaller
    auth_sessions: Injected[AuthSessionRepository]
    tokens: CurrentTokenSigner
    client_info: CurrentClientInfo

    async def is_given(self) -> bool:
        """Return True for a sign-in within 15 minutes, or a valid token in `X-Reauth`."""
        auth_session = await self.auth_sessions.get(self.caller.session_id)
        if auth_session is None:
            return False
        if await self.auth_sessions.now() - auth_session.created_at <= FRESH_FOR:
            return True
        try:
            claims = self.tokens.read(self.client_info.proof_token or "", "reauth")
        except (InvalidToken, TokenExpired, WrongTokenType):
            return False
        mine = (self.caller.user_id, self.caller.session_id)
        return (claims.user_id, claims.session_id) == mine

    async def require(self) -> None:
        """Raise ReauthenticationRequired without proof."""
        if not await self.is_given():
            raise ReauthenticationRequired


@dataclass
class ReauthenticationService:
    """Gives a token of five minutes for the password, or for a code by email."""

    caller: CurrentCaller
    users: Injected[UserDirectory]
    codes: Injected[CodeService]
    emails: Injected[GuardedCodes]
    auth_sessions: Injected[AuthSessionRepository]
    log: Injected[ActivityLog]
    passwords: CurrentPasswords
    tokens: CurrentTokenSigner

    async def send_code(self) -> None:
        user = await self.users.get(self.caller.user_id)
        await self.emails.send_to_user(user, REAUTHENTICATE, user.email)

    async def prove(self, given: Reauthentication) -> ReauthenticationToken:
        """Return a token for `X-Reauth`. Raise WrongPassword, or the error of a wrong code."""
        user = await self.users.get(self.caller.user_id)
        if given.password is not None:
            await self.check_password(user, given.password)
        elif given.code is not None:
            await self.codes.redeem_of_user(given.code, REAUTHENTICATE, user)
        else:
            raise ProofMissing
        at = await self.auth_sessions.now()
        token = self.tokens.reauth(user.id, self.caller.session_id, at)
        expires_in = int(PROOF_LIFETIME.total_seconds())
        return ReauthenticationToken(reauth_token=token, expires_in=expires_in)

    async def check_password(self, user: User, password: str) -> None:
        """Raise WrongPassword, and record it."""
        matches, _ = await self.passwords.verify(password, user.hashed_password)
        if not matches:
            await self.log.record_denied(ActivityKind.REAUTHENTICATION, user.id)
            raise WrongPassword
