"""Change of the password by a signed-in user."""

from dataclasses import dataclass

from freshly.chassis.dependencies import Injected
from freshly.chassis.jobs import JobQueue
from freshly.chassis.resources import CurrentPasswords
from freshly.chassis.security.caller import CurrentCaller
from freshly.domains.auth.errors import WrongPassword
from freshly.domains.auth.jobs import SendNotice
from freshly.domains.auth.links import LinkService
from freshly.domains.auth.models import LinkPurpose
from freshly.domains.auth.password_rules import check_password
from freshly.domains.auth.proof import Proof, ReauthenticationService
from freshly.domains.auth.repository import AuthSessionRepository
from freshly.domains.auth.schemas import PasswordChange
from freshly.domains.users.activity import ActivityLog
from freshly.domains.users.models import ActivityKind
from freshly.domains.users.service import UserDirectory


@dataclass
class PasswordChangeService:
    caller: CurrentCaller
    proof: Injected[Proof]
    reauthentication: Injected[ReauthenticationService]
    users: Injected[UserDirectory]
    links: Injected[LinkService]
    auth_sessions: Injected[AuthSessionRepository]
    log: Injected[ActivityLog]
    jobs: Injected[JobQueue]
    passwords: CurrentPasswords

    async def change(self, given: PasswordChange) -> None:
        """Set the password and end the other sessions.

        Raise WrongPassword, ReauthenticationRequired, or the reason against the new password.
        """
        user = await self.users.get(self.caller.user_id)
        if given.current_password is None:
            await self.proof.require()
        else:
            await self.reauthentication.check_password(user, given.current_password)
        check_password(given.new_password, user.email, user.name)
        before = user.hashed_password
        hashed = await self.passwords.hash(given.new_password)
        # Lock only after hashing, which takes time.
        user = await self.users.get(self.caller.user_id, lock=True)
        if user.hashed_password != before:  # another request has changed it
            raise WrongPassword
        user.hashed_password = hashed
        await self.users.save(user)
        await self.links.delete(user.id, LinkPurpose.RESET)
        await self.auth_sessions.revoke_all(user.id, keep=self.caller.session_id)
        await self.log.record(ActivityKind.PASSWORD_CHANGE, user.id)
        await self.jobs.enqueue(SendNotice(address=user.email, about="password_changed"))
