"""Does what a link in an email says."""

from dataclasses import dataclass

from freshly.chassis.data.events import EventBus
from freshly.chassis.dependencies import Injected
from freshly.domains.auth.closing import AccountClosing
from freshly.domains.auth.codes import PasswordResetService, VerificationService
from freshly.domains.auth.email_change import EmailChangeUndo
from freshly.domains.auth.events import FamilyRestoreRequested
from freshly.domains.auth.links import LinkService
from freshly.domains.auth.models import LinkPurpose
from freshly.domains.users.activity import ActivityLog
from freshly.domains.users.models import ActivityKind


@dataclass
class LinkActions:
    links: Injected[LinkService]
    verification: Injected[VerificationService]
    passwords: Injected[PasswordResetService]
    email_changes: Injected[EmailChangeUndo]
    closing: Injected[AccountClosing]
    events: Injected[EventBus]
    log: Injected[ActivityLog]

    async def purpose(self, token: str) -> LinkPurpose:
        """Return what the link does. Raise InvalidLink."""
        return LinkPurpose((await self.links.find(token)).purpose)

    async def follow(self, token: str, new_password: str) -> LinkPurpose:
        """Do what the link says, and return it. Raise InvalidLink or PasswordTooShort."""
        purpose = await self.purpose(token)
        match purpose:
            case LinkPurpose.VERIFY:
                await self.verification.verify_by_link(token)
            case LinkPurpose.RESET:
                await self.passwords.reset_by_link(token, new_password)
            case LinkPurpose.UNDO_EMAIL_CHANGE:
                await self.email_changes.undo(token)
            case LinkPurpose.RESTORE_ACCOUNT:
                await self.closing.restore(token)
            case LinkPurpose.RESTORE_FAMILY:
                await self._restore_family(token)
        return purpose

    async def _restore_family(self, token: str) -> None:
        user_id, family_id = await self.links.use_of_family(token)
        await self.events.publish(FamilyRestoreRequested(user_id, family_id))
        await self.log.record(ActivityKind.FAMILY_RESTORED, user_id, family_id=family_id)
