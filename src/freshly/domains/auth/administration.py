"""The changes that an operator makes to an account: `freshly accounts`."""

from dataclasses import dataclass
from enum import StrEnum

from freshly.chassis.dependencies import Injected
from freshly.chassis.jobs import JobQueue
from freshly.domains.auth.jobs import ForgetCaller
from freshly.domains.auth.repository import AuthSessionRepository
from freshly.domains.users.activity import ActivityLog
from freshly.domains.users.models import ActivityKind, UserStatus
from freshly.domains.users.service import UserDirectory


class AccountAction(StrEnum):
    SUSPEND = "suspend"
    RESTORE = "restore"
    SIGN_OUT = "sign-out"


RECORDED_AS = {
    AccountAction.SUSPEND: ActivityKind.SUSPENDED,
    AccountAction.RESTORE: ActivityKind.RESTORED,
    AccountAction.SIGN_OUT: ActivityKind.SIGNED_OUT,
}


@dataclass
class AccountAdministration:
    users: Injected[UserDirectory]
    auth_sessions: Injected[AuthSessionRepository]
    log: Injected[ActivityLog]
    jobs: Injected[JobQueue]

    async def apply(self, action: AccountAction, address: str) -> str | None:
        """Change the account with this address. Return the address, or None without an account.

        A server may have cached the caller in its memory, so a job makes it read the account again.
        """
        found = await self.users.by_email(address)
        if found is None:
            return None
        user = await self.users.get(found.id, lock=True)
        if action is AccountAction.SUSPEND:
            user.status = UserStatus.SUSPENDED
        elif action is AccountAction.RESTORE:
            user.status, user.delete_after = UserStatus.ACTIVE, None
        await self.users.save(user)
        if action is not AccountAction.RESTORE:
            await self.auth_sessions.revoke_all(user.id)
        await self.log.record(RECORDED_AS[action], user.id)
        await self.jobs.enqueue(ForgetCaller(user_id=user.id))
        return user.email
