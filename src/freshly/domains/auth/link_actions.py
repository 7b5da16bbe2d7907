"""Does what a link in an email says."""

from dataclasses import dataclass

from freshly.chassis.dependencies import Injected
from freshly.domains.auth.closing import AccountClosing
from freshly.domains.auth.codes import PasswordResetService, VerificationService
from freshly.domains.auth.email_change import EmailChangeUndo
from freshly.domains.auth.links import LinkService
from freshly.domains.auth.models import LinkPurpose


@dataclass
class LinkActions:
    links: Injected[LinkService]
    verification: Injected[VerificationService]
    passwords: Injected[PasswordResetService]
    email_changes: Injected[EmailChangeUndo]
    closing: Injected[AccountClosing]

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
        return purpose
