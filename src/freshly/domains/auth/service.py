import math
from asyncio import sleep
from dataclasses import dataclass
from datetime import datetime, timedelta
from hmac import compare_digest
from time import monotonic

from freshly.chassis.data.events import EventBus
from freshly.chassis.data.pagination import Page, PageQuery
from freshly.chassis.data.transactions import CurrentDatabase, Session
from freshly.chassis.dependencies import Injected
from freshly.chassis.jobs import JobQueue
from freshly.chassis.resources import CurrentPasswords
from freshly.chassis.security.caller import CurrentCaller
from freshly.chassis.security.client_info import CurrentClientInfo, network_of
from freshly.domains.auth.attempts import AccountAttempts
from freshly.domains.auth.errors import (
    AccountClosed,
    AccountSuspended,
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
from freshly.domains.auth.jobs import SendSignInNotice
from freshly.domains.auth.models import AuthSession, RefreshToken
from freshly.domains.auth.password_rules import check_password
from freshly.domains.auth.repository import AuthSessionRepository
from freshly.domains.auth.schemas import Login, Register, SessionRead, Tokens
from freshly.domains.auth.signing_up import Door
from freshly.domains.auth.tokens import Claims, digest, new_id
from freshly.domains.preferences.events import FoodsNamed
from freshly.domains.preferences.service import PreferenceService
from freshly.domains.users.activity import ActivityLog
from freshly.domains.users.errors import EmailTaken, UserNotFound
from freshly.domains.users.models import ActivityKind, User, UserStatus
from freshly.domains.users.service import UserDirectory

REFUSAL_STEP = timedelta(seconds=0.5)  # a bcrypt hash of the existing app takes 0.2 s to check
REFRESH_GRACE = timedelta(seconds=10)
LONGEST_SESSION = timedelta(days=90)
MOST_SESSIONS = 50  # of a user
PASSWORD = "password"  # noqa: S105 - a way of signing in


@dataclass
class RegistrationService:
    users: Injected[UserDirectory]
    preferences: Injected[PreferenceService]
    passwords: CurrentPasswords
    events: Injected[EventBus]

    async def register(self, new: Register, door: Door) -> User:
        """Insert the user. Raise EmailAlreadyRegistered, or the reason against the password.

        The door decides before the address is looked up, so a refusal tells nothing about it.
        """
        door.knock()
        check_password(new.password, new.email, new.name)
        # Hash before the first statement, so that hashing holds no connection and no lock.
        hashed = await self.passwords.hash(new.password)
        await door.admit(new.email, self.users.session)
        if await self.users.by_email(new.email):
            raise EmailAlreadyRegistered
        user = User(
            **new.model_dump(exclude={"password", "preference", "invitation"}),
            hashed_password=hashed,
        )
        try:
            await self.users.save(user)
        except EmailTaken as error:
            raise EmailAlreadyRegistered from error
        preference = await self.preferences.begin(user.id, new.preference)
        if named := preference.ingredient_ids():
            await self.events.publish(FoodsNamed(user.id, named))
        await door.welcome(user, self.users.session)
        return user


@dataclass
class SignInService:
    db: CurrentDatabase
    passwords: CurrentPasswords
    tokens: CurrentTokenSigner
    client_info: CurrentClientInfo
    attempts: Injected[AccountAttempts]

    async def login(self, given: Login) -> Tokens:
        """Verify the password between two transactions, holding no connection and no lock."""
        async with self.db.read() as session:
            user = await UserDirectory(session).by_email(given.email)
            known = await self.attempts.is_known(user, session)
        subject = self.attempts.subject(given.email, user, known=known)
        await self.attempts.count(subject)
        started = monotonic()
        stored_hash = user.hashed_password if user else None
        matches, better_hash = await self.passwords.verify(given.password, stored_hash)
        if user is None or not matches:
            await self._wait_for_step(started)
            async with self.db.write() as session:
                log = ActivityLog(session, self.client_info)
                await log.record_denied(
                    ActivityKind.SIGN_IN, user.id if user else None, detail=PASSWORD
                )
            raise InvalidCredentials
        await self.attempts.succeeded(subject)
        async with self.db.write() as session:
            try:
                current = await UserDirectory(session).get(user.id, lock=True)
            except UserNotFound as error:
                raise InvalidCredentials from error
            if current.hashed_password != stored_hash:  # changed during the verification
                raise InvalidCredentials
            if better_hash:
                current.hashed_password = better_hash
                await UserDirectory(session).save(current)
            return await self.begin(current, PASSWORD, session)

    @staticmethod
    async def _wait_for_step(started: float) -> None:
        """Wait until a whole number of steps has passed since the check began.

        A bcrypt hash of the existing app takes many times as long to check as a hash of ours, so
        the time of a refusal would tell that the account exists.
        """
        step = REFUSAL_STEP.total_seconds()
        passed = monotonic() - started
        await sleep(math.ceil(passed / step) * step - passed)

    async def begin(self, user: User, method: str, session: Session) -> Tokens:
        """Insert a session and return its tokens. `method` is PASSWORD or an OAuth provider.

        Raise AccountSuspended or AccountClosed.
        """
        _check_status(user)
        email = None if method == PASSWORD else user.email
        user_id = user.id
        auth_sessions = AuthSessionRepository(session)
        at = await auth_sessions.now()
        token = self._new_refresh_token(new_id(), at, at + LONGEST_SESSION)
        signed = self._sign(user_id, token)
        auth_session = AuthSession(
            id=token.sign_in_id,
            user_id=user_id,
            expires_at=token.expires_at,
            address=self.client_info.address,
            user_agent=self.client_info.user_agent,
        )
        await self._tell_about_new_device(user, session)
        await auth_sessions.begin(auth_session, token)
        await auth_sessions.revoke_oldest(user_id, keep=MOST_SESSIONS)
        log = ActivityLog(session, self.client_info)
        await log.record(ActivityKind.SIGN_IN, user_id, session_id=auth_session.id, detail=method)
        return self._pair(user_id, auth_session.id, signed, at, email)

    async def _tell_about_new_device(self, user: User, session: Session) -> None:
        """Email a user with a confirmed address if the device or its network is new."""
        info = self.client_info
        network = network_of(info.address)
        known = AuthSessionRepository(session).is_known_device
        if user.is_verified and not await known(user.id, network, info.user_agent):
            job = SendSignInNotice(
                address=user.email, device=info.user_agent or "", network=info.address or "unknown"
            )
            await JobQueue(session).enqueue(job)

    async def refresh(self, given: str | None) -> Tokens:
        """Exchange a refresh token for a new pair of tokens.

        A used token within REFRESH_GRACE (a retry, a second tab) gives the newest token of the
        chain. Later, Freshly treats the used token as stolen and ends the session.
        """
        claims = self._read_refresh_token(given)
        async with self.db.write() as session:
            auth_sessions = AuthSessionRepository(session)
            auth_session = await auth_sessions.get(claims.session_id, lock=True)
            if auth_session is None or auth_session.user_id != claims.user_id:
                raise UserGone
            if auth_session.revoked_at is not None:
                raise RefreshTokenRevoked
            _check_status(await UserDirectory(session).get(auth_session.user_id))
            at = await auth_sessions.now()
            if at >= auth_session.created_at + LONGEST_SESSION:
                raise InvalidRefreshToken
            presented = await auth_sessions.token(claims.jti)
            if presented is None or not compare_digest(presented.token_hash, digest(given or "")):
                raise InvalidRefreshToken
            live = await self._live_successor(presented, at, auth_sessions)
            if live is None:
                await auth_sessions.revoke(auth_session.id)
                log = ActivityLog(session, self.client_info)
                await log.record_denied(
                    ActivityKind.REFRESH, auth_session.user_id, session_id=auth_session.id
                )
                raise RefreshTokenReplayed
            if live is presented:
                live = await self._rotate(presented, auth_session, at, auth_sessions)
            signed = self.tokens.refresh(auth_session.user_id, live)
            return self._pair(auth_session.user_id, auth_session.id, signed, at)

    def _read_refresh_token(self, given: str | None) -> Claims:
        try:
            return self.tokens.read(given or "", "refresh")
        except (InvalidToken, TokenExpired) as error:
            raise InvalidRefreshToken from error

    @staticmethod
    async def _live_successor(
        token: RefreshToken, at: datetime, auth_sessions: AuthSessionRepository
    ) -> RefreshToken | None:
        """Follow the successors of a token to the first unused one, which may be the token itself.

        Return None if a token on the way was used more than REFRESH_GRACE ago.
        """
        current: RefreshToken | None = token
        while current is not None and current.used_at is not None:
            if at - current.used_at > REFRESH_GRACE or current.successor_id is None:
                return None
            current = await auth_sessions.token(current.successor_id)
        return current

    async def _rotate(
        self,
        used: RefreshToken,
        auth_session: AuthSession,
        at: datetime,
        auth_sessions: AuthSessionRepository,
    ) -> RefreshToken:
        end = auth_session.created_at + LONGEST_SESSION
        successor = self._new_refresh_token(auth_session.id, at, end)
        self._sign(auth_session.user_id, successor)
        await auth_sessions.add(successor)
        used.used_at, used.successor_id = at, successor.id
        auth_session.expires_at, auth_session.last_used_at = successor.expires_at, at
        await auth_sessions.save()
        return successor

    def _new_refresh_token(
        self, session_id: str, at: datetime, session_end: datetime
    ) -> RefreshToken:
        issued = at.replace(microsecond=0)  # as in claims, so the row signs the same token
        return RefreshToken(
            id=new_id(),
            sign_in_id=session_id,
            token_hash="",
            issued_at=issued,
            expires_at=min(issued + self.tokens.refresh_lifetime, session_end),
        )

    def _sign(self, user_id: int, token: RefreshToken) -> str:
        signed = self.tokens.refresh(user_id, token)
        token.token_hash = digest(signed)
        return signed

    def _pair(
        self,
        user_id: int,
        session_id: str,
        refresh_token: str,
        at: datetime,
        email: str | None = None,
    ) -> Tokens:
        access_token = self.tokens.access(user_id, session_id, at, email)
        return Tokens(access_token=access_token, refresh_token=refresh_token)


def _check_status(user: User) -> None:
    if user.status == UserStatus.CLOSED:
        raise AccountClosed
    if user.status != UserStatus.ACTIVE:
        raise AccountSuspended


@dataclass
class SessionService:
    """The active sessions of the caller."""

    caller: CurrentCaller
    auth_sessions: Injected[AuthSessionRepository]
    log: Injected[ActivityLog]

    async def logout(self) -> None:
        """End this session: its access and refresh tokens become invalid in all processes."""
        await self.auth_sessions.revoke(self.caller.session_id)
        await self.log.record(ActivityKind.SIGN_OUT, self.caller.user_id)

    async def page(self, query: PageQuery) -> Page[SessionRead]:
        page = await self.auth_sessions.page(self.caller.user_id, query)
        items = [self._read(auth_session) for auth_session in page.items]
        return Page(items=items, next_cursor=page.next_cursor)

    async def revoke(self, id: str) -> None:
        """End one of the sessions. Raise SessionNotFound."""
        if not await self.auth_sessions.end(id, self.caller.user_id):
            raise SessionNotFound
        await self.log.record(ActivityKind.SESSION_REVOKED, self.caller.user_id, detail=id)

    def _read(self, auth_session: AuthSession) -> SessionRead:
        return SessionRead(
            id=auth_session.id,
            created_at=auth_session.created_at,
            last_used_at=auth_session.last_used_at or auth_session.created_at,
            expires_at=auth_session.expires_at,
            address=auth_session.address,
            user_agent=auth_session.user_agent,
            current=auth_session.id == self.caller.session_id,
        )
