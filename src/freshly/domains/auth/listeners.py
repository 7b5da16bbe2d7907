"""Sends the emails about a change of the email address."""

from freshly.chassis.data.transactions import Session
from freshly.chassis.jobs import JobQueue
from freshly.chassis.security.codes import new_seed
from freshly.domains.auth.codes import prepare_code, subject_of
from freshly.domains.auth.jobs import SendCode, SendNotice
from freshly.domains.auth.links import LIFETIMES
from freshly.domains.auth.models import AccountLink, CodePurpose, LinkPurpose
from freshly.domains.auth.repository import CodeRepository, LinkRepository
from freshly.domains.users.events import EmailChangeRequested


async def confirm_new_address(event: EmailChangeRequested, session: Session) -> None:
    """Send a code to the new address, and a link that undoes the change to the old one."""
    codes, links, jobs = CodeRepository(session), LinkRepository(session), JobQueue(session)
    subject, purpose = subject_of(event.user_id), CodePurpose.EMAIL_CHANGE
    # A code that was sent to an earlier address must not confirm this one.
    await codes.forget(subject, purpose)
    await prepare_code(codes, subject, purpose)
    await jobs.enqueue(SendCode(address=event.new_address, purpose=purpose, user_id=event.user_id))
    undo = AccountLink(
        id=new_seed(),
        user_id=event.user_id,
        purpose=LinkPurpose.UNDO_EMAIL_CHANGE,
        address=event.old_address,
        expires_at=await links.now() + LIFETIMES[LinkPurpose.UNDO_EMAIL_CHANGE],
    )
    await links.add(undo)
    await jobs.enqueue(
        SendNotice(address=event.old_address, about="email_change_requested", link_id=undo.id)
    )
