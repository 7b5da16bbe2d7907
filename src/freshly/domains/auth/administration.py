"""The changes of an account that administrators and operators make."""

from dataclasses import dataclass
from typing import Self

from freshly.chassis.data.transactions import DbSession, Session
from freshly.chassis.dependencies import Injected
from freshly.chassis.jobs import JobQueue
from freshly.chassis.security.client_info import ClientInfo
from freshly.domains.auth.jobs import ForgetCaller
from freshly.domains.auth.repository import AuthSessionRepository
from freshly.domains.users.activity import ActivityLog
from freshly.domains.users.models import ActivityKind, User, UserStatus
from freshly.domains.users.service import UserDirectory


@dataclass
class AccountAdministration:
    """Changes a locked user. Its callers check who may ask."""

    session: DbSession
    users: Injected[UserDirectory]
    auth_sessions: Injected[AuthSessionRepository]
    jobs: Injected[JobQueue]

    @classmethod
    def of(cls, session: Session) -> Self:
        """Return the service for a transaction that is no request's own."""
        users, auth_sessions = UserDirectory(session), AuthSessionRepository(session)
        return cls(session, users, auth_sessions, JobQueue(session))

    async def suspend(self, user: User) -> None:
        """Sign the user out everywhere, and let them in no more."""
        user.status = UserStatus.SUSPENDED
        await self.auth_sessions.revoke_all(user.id)
        await self._save(user, ActivityKind.SUSPENDED)

    async def restore(self, user: User) -> None:
        """Let the user in again, also one who closed the account."""
        user.status, user.delete_after = UserStatus.ACTIVE, None
        await self._save(user, ActivityKind.RESTORED)

    async def sign_out(self, user: User) -> None:
        """End all sessions of the user."""
        await self.auth_sessions.revoke_all(user.id)
        await self._save(user, ActivityKind.SIGNED_OUT)

    async def set_tier(self, user: User, tier: str) -> None:
        user.tier = tier
        await self._save(user, ActivityKind.TIER_CHANGED, tier)

    async def set_administrator(self, user: User, *, is_administrator: bool) -> None:
        user.is_administrator = is_administrator
        detail = "administrator" if is_administrator else "user"
        await self._save(user, ActivityKind.ROLE_GIVEN, detail)

    async def _save(self, user: User, kind: ActivityKind, detail: str | None = None) -> None:
        """Save the user, and record it for them without the address of the administrator.

        A server may have cached the caller in its memory, so a job makes it read the account again.
        """
        await self.users.save(user)
        await ActivityLog(self.session, ClientInfo()).record(kind, user.id, detail=detail)
        await self.jobs.enqueue(ForgetCaller(user_id=user.id))
