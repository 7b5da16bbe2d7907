"""Changes of the email address: confirmed from the new one, undone from the old one."""

from dataclasses import dataclass

from freshly.chassis.dependencies import Injected
from freshly.chassis.jobs import JobQueue
from freshly.chassis.security.caller import CurrentCaller
from freshly.domains.auth.codes import EMAIL_CHANGE, CodeService, GuardedCodes
from freshly.domains.auth.errors import InvalidLink, NoActiveCode
from freshly.domains.auth.jobs import SendNotice
from freshly.domains.auth.links import LinkService
from freshly.domains.auth.models import LinkPurpose
from freshly.domains.auth.proof import Proof
from freshly.domains.auth.repository import AuthSessionRepository, OAuthAccountRepository
from freshly.domains.users.activity import ActivityLog
from freshly.domains.users.errors import EmailTaken
from freshly.domains.users.models import ActivityKind, User
from freshly.domains.users.service import UserDirectory


@dataclass
class EmailChangeService:
    caller: CurrentCaller
    proof: Injected[Proof]
    users: Injected[UserDirectory]
    codes: Injected[CodeService]
    emails: Injected[GuardedCodes]
    links: Injected[LinkService]
    auth_sessions: Injected[AuthSessionRepository]
    oauth_accounts: Injected[OAuthAccountRepository]
    log: Injected[ActivityLog]
    jobs: Injected[JobQueue]

    async def confirm(self, code: str) -> User:
        """Make the pending address the user's, end the other sessions and unlink other sign-ins.

        Raise ReauthenticationRequired, EmailTaken, or the error of a wrong code.
        """
        await self.proof.require()
        user = await self.users.get(self.caller.user_id, lock=True)
        if user.pending_email is None:
            raise NoActiveCode
        await self.codes.redeem_of_user(code, EMAIL_CHANGE, user)
        old_address = user.email
        await self._set(user, user.pending_email)
        await self.codes.forget(old_address, user.id)
        await self.links.delete(user.id, LinkPurpose.RESET)  # it is in the old mailbox
        # The link that undoes the change stays, also in a mailbox that was never confirmed. It may
        # be a stranger's, but without the link a thief takes the account of an owner for good.
        await self.auth_sessions.revoke_all(user.id, keep=self.caller.session_id)
        await self.oauth_accounts.unlink(user.id)
        await self.log.record(ActivityKind.EMAIL_CHANGE, user.id)
        await self.jobs.enqueue(SendNotice(address=user.email, about="email_changed"))
        return user

    async def send_code(self) -> None:
        """Send the code to the pending address again. Raise NoActiveCode if there is none."""
        user = await self.users.get(self.caller.user_id)
        if user.pending_email is None:
            raise NoActiveCode
        await self.emails.send_to_user(user, EMAIL_CHANGE, user.pending_email)

    async def _set(self, user: User, address: str) -> None:
        other = await self.users.by_email(address)
        if other is not None and other.id != user.id:
            raise EmailTaken
        user.email, user.pending_email, user.is_verified = address, None, True
        await self.users.save(user)


@dataclass
class EmailChangeUndo:
    """Keeps the old address, or gives it back. The link of the email is the proof."""

    users: Injected[UserDirectory]
    codes: Injected[CodeService]
    links: Injected[LinkService]
    auth_sessions: Injected[AuthSessionRepository]
    log: Injected[ActivityLog]
    jobs: Injected[JobQueue]

    async def undo(self, token: str) -> None:
        """Cancel the change, also one that is in effect, and all later ones. End all sessions.

        Raise InvalidLink, also if another account has the old address now.
        """
        old_address = (await self.links.find(token)).address
        user = await self.users.get(
            await self.links.use(token, LinkPurpose.UNDO_EMAIL_CHANGE), lock=True
        )
        other = await self.users.by_email(old_address or "")
        if not old_address or (other is not None and other.id != user.id):
            raise InvalidLink
        await self.codes.forget(user.email, user.id)
        if user.email != old_address:
            user.email, user.is_verified = old_address, True
        user.pending_email = None
        await self.users.save(user)
        await self.links.delete(user.id, LinkPurpose.RESET)
        await self.auth_sessions.revoke_all(user.id)
        await self.log.record(ActivityKind.EMAIL_CHANGE, user.id, detail="undone")
        await self.jobs.enqueue(SendNotice(address=old_address, about="email_change_undone"))
