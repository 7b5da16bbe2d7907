"""Tells by email who becomes an owner of a family, and who is one no longer."""

from dataclasses import dataclass

from freshly.chassis.dependencies import Injected
from freshly.chassis.jobs import JobQueue
from freshly.domains.families.jobs import SendFamilyNotice
from freshly.domains.families.models import Membership, Role
from freshly.domains.families.repository import FamilyRepository


@dataclass
class OwnerNotices:
    """Enqueues the emails. Its callers hold the family's lock."""

    families: Injected[FamilyRepository]
    jobs: Injected[JobQueue]

    async def role_changed(self, member: Membership, former: str, role: str | None) -> None:
        """Tell about a change of a role, which is None if the member was removed."""
        if role == Role.OWNER and former != Role.OWNER:
            await self.owner_added(member)
        elif former == Role.OWNER and role != Role.OWNER:
            notice = SendFamilyNotice(
                address=member.user.email,
                about="owner_no_more",
                family_name=await self._name_of(member),
            )
            await self.jobs.enqueue(notice)

    async def owner_added(self, new: Membership, leaving_user_id: int | None = None) -> None:
        """Tell all owners, but not the user who leaves with an account that is deleted."""
        name = await self._name_of(new)
        for owner in await self.families.members(new.family_id):
            if owner.role != Role.OWNER or owner.user_id == leaving_user_id:
                continue
            is_new = owner.user_id == new.user_id
            notice = SendFamilyNotice(
                address=owner.user.email,
                about="owner_made" if is_new else "owner_added",
                family_name=name,
                person=None if is_new else new.user.display_name,
            )
            await self.jobs.enqueue(notice)

    async def _name_of(self, membership: Membership) -> str:
        family = await self.families.lock(membership.family_id)
        assert family is not None
        return family.display_name
