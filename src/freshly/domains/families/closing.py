"""Closes a family for seven days before it is deleted, and opens it again."""

from dataclasses import dataclass

from freshly.chassis.dependencies import Injected
from freshly.chassis.jobs import JobQueue
from freshly.domains.auth.errors import InvalidLink
from freshly.domains.auth.links import LIFETIMES, LinkService
from freshly.domains.auth.models import LinkPurpose
from freshly.domains.families.closed_repository import ClosedFamilyRepository
from freshly.domains.families.jobs import DeleteClosedFamily, SendFamilyNotice
from freshly.domains.families.models import Family, Role
from freshly.domains.families.repository import FamilyRepository

DELETED_AFTER = LIFETIMES[LinkPurpose.RESTORE_FAMILY]


@dataclass
class FamilyClosing:
    families: Injected[FamilyRepository]
    closed: Injected[ClosedFamilyRepository]
    links: Injected[LinkService]
    jobs: Injected[JobQueue]

    async def close(self, family: Family) -> None:
        """Make the family look deleted to all users, and email its owners a link that undoes it.

        The caller holds the family's lock.
        """
        members = await self.families.members(family.id)
        await self.closed.close(family, await self.families.now() + DELETED_AFTER)
        for owner in (member for member in members if member.role == Role.OWNER):
            link_id = await self.links.create(
                owner.user_id, LinkPurpose.RESTORE_FAMILY, family_id=family.id
            )
            await self.jobs.enqueue(
                SendFamilyNotice(
                    address=owner.user.email,
                    about="family_closed",
                    family_name=family.display_name,
                    link_id=link_id,
                )
            )
        # Without a key: the job of an earlier closing may still wait, and would run too soon.
        await self.jobs.enqueue(DeleteClosedFamily(family_id=family.id), delay=DELETED_AFTER)


async def restore(closed: ClosedFamilyRepository, jobs: JobQueue, family_id: int) -> None:
    """Open a closed family again, and tell its members. Raise InvalidLink if it is not closed."""
    family = await closed.lock(family_id)
    if family is None or family.delete_after is None:
        raise InvalidLink
    await closed.restore(family, closed_at=family.delete_after - DELETED_AFTER)
    for address in await closed.addresses(family_id):
        await jobs.enqueue(
            SendFamilyNotice(
                address=address, about="family_restored", family_name=family.display_name
            )
        )
