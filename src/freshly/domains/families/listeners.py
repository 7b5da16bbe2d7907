"""Reacts to changes of accounts, and to links in emails."""

from freshly.chassis.cache.invalidation import invalidate_rows
from freshly.chassis.data.transactions import Session
from freshly.chassis.jobs import JobQueue
from freshly.domains.auth.events import AccountStatusChanged, FamilyRestoreRequested
from freshly.domains.families.closed_repository import ClosedFamilyRepository
from freshly.domains.families.closing import restore
from freshly.domains.families.models import Membership


async def recount_members(event: AccountStatusChanged, session: Session) -> None:
    """Invalidate the lists of the user's families, which count no closed accounts."""
    of_user = Membership.user_id == event.user_id
    await session.run_sync(invalidate_rows, Membership, of_user)


async def restore_family(event: FamilyRestoreRequested, session: Session) -> None:
    await restore(ClosedFamilyRepository(session), JobQueue(session), event.family_id)
