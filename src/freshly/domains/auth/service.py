from dataclasses import dataclass
from datetime import datetime, timedelta
from hmac import compare_digest

from freshly.chassis.data.pagination import Page, PageQuery
from freshly.chassis.data.transactions import CurrentDatabase, Session
from freshly.chassis.dependencies import Injected
from freshly.chassis.resources import CurrentPasswords
from freshly.chassis.security.caller import CurrentCaller
from freshly.chassis.security.client_info import CurrentClientInfo
from freshly.domains.auth.errors import (
    EmailAlreadyRegistered,
    InvalidCredentials,
    InvalidRefreshToken,
    InvalidToken,
    RefreshTokenReplayed,
    RefreshTokenRevoked,
    SessionNotFound,
    TokenExpired,
    UserGone,
)
from freshly.domains.auth.identity import CurrentTokenSigner
from freshly.domains.auth.models import AuthSession, RefreshToken
from freshly.domains.auth.repository import SignInRepository
from freshly.domains.auth.schemas import Login, Register, SessionRead, Tokens
from freshly.domains.auth.tokens import Claims, digest, fresh_id
from freshly.domains.preferences.service import PreferenceService
from freshly.domains.users.activity import ActivityLog
from freshly.domains.users.errors import EmailTaken, UserNotFound
from freshly.domains.users.models import ActivityKind, User
from freshly.domains.users.service import UserDirectory

GRACE = timedelta(seconds=10)
PASSWORD = "password"  # noqa: S105 - how somebody signed in


@dataclass
class RegistrationService:
    users: Injected[UserDirectory]
    preferences: Injected[PreferenceService]
    passwords: CurrentPasswords

    async def register(self, new: Register) -> User:
        # Hashed before the first statement: no connection and no lock is held meanwhile.
        hashed = await self.passwords.hash(new.password)
        if await self.users.by_email(new.email):
            raise EmailAlreadyRegistered
        user = User(
            **new.model_dump(exclude={"password", "preference"}),
            hashed_password=hashed,
        )
        try:
            await self.users.save(user)
        except EmailTaken as error:
            raise EmailAlreadyRegistered from error
        await self.preferences.begin(user.id, new.preference)
        return user


@dataclass
class SignInService:
    db: CurrentDatabase
    passwords: CurrentPasswords
    tokens: CurrentTokenSigner
    client_info: CurrentClientInfo

    async def login(self, given: Login) -> Tokens:
        """The password is checked between two units of work, holding no connection and no lock."""
        async with self.db.read() as session:
            user = await UserDirectory(session).by_email(given.email)
        known = user.hashed_password if user else None
        matches, better_hash = await self.passwords.verify(given.password, known)
        if user is None or not matches:
            async with self.db.write() as session:
                log = ActivityLog(session, self.client_info)
                await log.record_denied(
                    ActivityKind.SIGN_IN, user.id if user else None, detail=PASSWORD
                )
            raise InvalidCredentials
        async with self.db.write() as session:
            try:
                current = await UserDirectory(session).get(user.id, lock=True)
            except UserNotFound as error:
                raise InvalidCredentials from error
            if current.hashed_password != known:  # changed in between
                raise InvalidCredentials
            if better_hash:
                current.hashed_password = better_hash
                await UserDirectory(session).save(current)
            return await self.begin(user.id, PASSWORD, session)

    async def begin(self, user_id: int, how: str, session: Session) -> Tokens:
        sign_ins = SignInRepository(session)
        at = await sign_ins.now()
        token = self._new_refresh_token(fresh_id(), at)
        signed = self._seal(user_id, token)
        sign_in = AuthSession(
            id=token.sign_in_id,
            user_id=user_id,
            expires_at=token.expires_at,
            address=self.client_info.address,
            user_agent=self.client_info.user_agent,
        )
        await sign_ins.begin(sign_in, token)
        log = ActivityLog(session, self.client_info)
        await log.record(ActivityKind.SIGN_IN, user_id, session_id=sign_in.id, detail=how)
        return self._pair(user_id, sign_in.id, signed, at)

    async def refresh(self, given: str | None) -> Tokens:
        """A new pair for a refresh token, which is used up by that.

        Sent again within a grace of 10 s (a retry, a second tab) it gives the same successor;
        later it is a replay, and ends the sign-in.
        """
        claims = self._read_refresh_token(given)
        async with self.db.write() as session:
            sign_ins = SignInRepository(session)
            sign_in = await sign_ins.get(claims.sign_in_id, lock=True)
            if sign_in is None or sign_in.user_id != claims.user_id:
                raise UserGone
            if sign_in.revoked_at is not None:
                raise RefreshTokenRevoked
            presented = await sign_ins.token(claims.jti)
            if presented is None or not compare_digest(presented.token_hash, digest(given or "")):
                raise InvalidRefreshToken
            at = await sign_ins.now()
            live = await self._live_successor(presented, at, sign_ins)
            if live is None:
                await sign_ins.revoke(sign_in.id)
                log = ActivityLog(session, self.client_info)
                await log.record_denied(
                    ActivityKind.REFRESH, sign_in.user_id, session_id=sign_in.id
                )
                raise RefreshTokenReplayed
            if live is presented:
                live = await self._rotate(presented, sign_in, at, sign_ins)
            signed = self.tokens.refresh(sign_in.user_id, live)
            return self._pair(sign_in.user_id, sign_in.id, signed, at)

    def _read_refresh_token(self, given: str | None) -> Claims:
        try:
            return self.tokens.read(given or "", "refresh")
        except (InvalidToken, TokenExpired) as error:
            raise InvalidRefreshToken from error

    @staticmethod
    async def _live_successor(
        token: RefreshToken, at: datetime, sign_ins: SignInRepository
    ) -> RefreshToken | None:
        """The one unused token that this one led to, if each step is still within its grace."""
        current: RefreshToken | None = token
        while current is not None and current.used_at is not None:
            if at - current.used_at > GRACE or current.successor_id is None:
                return None
            current = await sign_ins.token(current.successor_id)
        return current

    async def _rotate(
        self, used: RefreshToken, sign_in: AuthSession, at: datetime, sign_ins: SignInRepository
    ) -> RefreshToken:
        successor = self._new_refresh_token(sign_in.id, at)
        self._seal(sign_in.user_id, successor)
        await sign_ins.add(successor)
        used.used_at, used.successor_id = at, successor.id
        sign_in.expires_at, sign_in.last_used_at = successor.expires_at, at
        await sign_ins.save()
        return successor

    def _new_refresh_token(self, sign_in_id: str, at: datetime) -> RefreshToken:
        issued = at.replace(microsecond=0)  # as the claims have it, so that it signs the same
        return RefreshToken(
            id=fresh_id(),
            sign_in_id=sign_in_id,
            token_hash="",
            issued_at=issued,
            expires_at=issued + self.tokens.refresh_lifetime,
        )

    def _seal(self, user_id: int, token: RefreshToken) -> str:
        signed = self.tokens.refresh(user_id, token)
        token.token_hash = digest(signed)
        return signed

    def _pair(self, user_id: int, sign_in_id: str, refresh_token: str, at: datetime) -> Tokens:
        access_token = self.tokens.access(user_id, sign_in_id, at)
        return Tokens(access_token=access_token, refresh_token=refresh_token)


@dataclass
class SessionService:
    """The sign-ins of the caller that stand."""

    caller: CurrentCaller
    sign_ins: Injected[SignInRepository]
    log: Injected[ActivityLog]

    async def logout(self) -> None:
        """Ends this sign-in: its access tokens and its refresh token, in every process."""
        await self.sign_ins.revoke(self.caller.session_id)
        await self.log.record(ActivityKind.SIGN_OUT, self.caller.user_id)

    async def page(self, query: PageQuery) -> Page[SessionRead]:
        found = await self.sign_ins.page(self.caller.user_id, query)
        items = [self._read(sign_in) for sign_in in found.items]
        return Page(items=items, next_cursor=found.next_cursor)

    async def revoke(self, id: str) -> None:
        """Ends one of them, wherever it is."""
        if not await self.sign_ins.end(id, self.caller.user_id):
            raise SessionNotFound
        await self.log.record(ActivityKind.SESSION_REVOKED, self.caller.user_id, detail=id)

    def _read(self, sign_in: AuthSession) -> SessionRead:
        return SessionRead(
            id=sign_in.id,
            created_at=sign_in.created_at,
            last_used_at=sign_in.last_used_at or sign_in.created_at,
            expires_at=sign_in.expires_at,
            address=sign_in.address,
            user_agent=sign_in.user_agent,
            current=sign_in.id == self.caller.session_id,
        )
