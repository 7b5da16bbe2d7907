"""Closes an account for seven days before it is deleted, and opens it again."""

from dataclasses import dataclass
from datetime import timedelta

from freshly.chassis.data.events import EventBus
from freshly.chassis.dependencies import Injected
from freshly.chassis.jobs import JobQueue
from freshly.domains.auth.errors import InvalidLink
from freshly.domains.auth.events import AccountStatusChanged
from freshly.domains.auth.jobs import SendNotice
from freshly.domains.auth.links import LIFETIMES, LinkService
from freshly.domains.auth.models import LinkPurpose
from freshly.domains.auth.repository import AuthSessionRepository
from freshly.domains.users.activity import ActivityLog
from freshly.domains.users.models import ActivityKind, User, UserStatus
from freshly.domains.users.service import UserDirectory

DELETED_AFTER: timedelta = LIFETIMES[LinkPurpose.RESTORE_ACCOUNT]


@dataclass
class AccountClosing:
    users: Injected[UserDirectory]
    links: Injected[LinkService]
    auth_sessions: Injected[AuthSessionRepository]
    log: Injected[ActivityLog]
    jobs: Injected[JobQueue]
    events: Injected[EventBus]

    async def close(self, user: User) -> None:
        """Sign the user out everywhere, let no client in, and email a link that undoes it."""
        user.status = UserStatus.CLOSED
        user.delete_after = await self.auth_sessions.now() + DELETED_AFTER
        await self.users.save(user)
        await self.auth_sessions.revoke_all(user.id)
        await self.events.publish(AccountStatusChanged(user.id))
        await self.log.record(ActivityKind.ACCOUNT_CLOSED, user.id)
        link_id = await self.links.create(user.id, LinkPurpose.RESTORE_ACCOUNT)
        notice = SendNotice(address=user.email, about="account_closed", link_id=link_id)
        await self.jobs.enqueue(notice)

    async def restore(self, token: str) -> None:
        """Open the account again by the link in the email. Raise InvalidLink."""
        user_id = await self.links.use(token, LinkPurpose.RESTORE_ACCOUNT)
        user = await self.users.get(user_id, lock=True)
        if user.status != UserStatus.CLOSED:
            raise InvalidLink
        user.status, user.delete_after = UserStatus.ACTIVE, None
        await self.users.save(user)
        await self.events.publish(AccountStatusChanged(user.id))
        await self.log.record(ActivityKind.RESTORED, user.id)
        await self.jobs.enqueue(SendNotice(address=user.email, about="account_restored"))

    async def is_due(self, user_id: int) -> bool:
        """Lock the user. Return whether the account is closed and its seven days are over."""
        user = await self.users.get(user_id, lock=True)
        at = await self.auth_sessions.now()
        return user.delete_after is not None and user.delete_after <= at
