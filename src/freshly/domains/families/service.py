from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from freshly.chassis.cache.body import CachedBody
from freshly.chassis.data.pagination import PageRows
from freshly.chassis.data.transactions import CurrentDatabase
from freshly.chassis.dependencies import Injected
from freshly.domains.auth.proof import Proof
from freshly.domains.families.access import CurrentAccess
from freshly.domains.families.closed_repository import ClosedFamilyRepository
from freshly.domains.families.closing import FamilyClosing
from freshly.domains.families.errors import (
    InvalidRole,
    LastOwner,
    MemberNotFound,
    MembershipNotFound,
    NotAFamilyMember,
    NotAllowed,
    NotAMember,
)
from freshly.domains.families.models import FAMILIES, Family, Membership, Role
from freshly.domains.families.owner_notices import OwnerNotices
from freshly.domains.families.permissions import Permission, may
from freshly.domains.families.repository import (
    FamilyListReader,
    FamilyRepository,
    InvitationRepository,
)
from freshly.domains.families.schemas import FamilyCreate, FamilyRead, Kicked, Left, MembershipRead
from freshly.domains.users.activity import ActivityLog
from freshly.domains.users.models import ActivityKind
from freshly.domains.users.schemas import MemberRead


@dataclass
class FamilyListing:
    """The list of the caller's families, cached: the app reads it on most screens."""

    access: CurrentAccess
    db: CurrentDatabase

    async def page(self) -> CachedBody:
        user, families = self.access.owner(None), self.access.family_tags

        async def load() -> CachedBody:
            return PageRows(await FamilyListReader(self.db, self.access).families(), None).to_body()

        key = f"families/{user.tag}/{','.join(families)}"
        return await self.db.cache.read(key, FAMILIES.of_each((user.tag, *families)), load)


@dataclass
class FamilyService:
    access: CurrentAccess
    families: Injected[FamilyRepository]
    invitations: Injected[InvitationRepository]
    closing: Injected[FamilyClosing]
    closed: Injected[ClosedFamilyRepository]
    proof: Injected[Proof]
    notices: Injected[OwnerNotices]
    log: Injected[ActivityLog]

    async def read(self, family_id: int) -> FamilyRead:
        return await self.families.read(family_id)

    async def create(self, new: FamilyCreate) -> FamilyRead:
        family = await self.families.save_with_code(Family(**new.model_dump(), invite_code=""))
        await self.families.save_member(
            Membership(family_id=family.id, user_id=self.access.user_id, role=Role.OWNER)
        )
        return _read(family, count=1)

    async def members(self, family_id: int) -> Sequence[MembershipRead]:
        if not self.access.may(Permission.SEE_MEMBERS, family_id):
            raise NotAFamilyMember
        members = await self.families.members(family_id)
        return [self._read_member(member) for member in members if member.is_visible]

    async def profile(self, family_id: int, user_id: int) -> MemberRead:
        member = await self.member_of_owned_family(family_id, user_id)
        return MemberRead.of(member.user, self.access.user_id)

    async def member_of_owned_family(self, family_id: int, user_id: int) -> Membership:
        """Return a member of a family that the caller owns. Raise NotAllowed or MemberNotFound."""
        if not self.access.owns(family_id):
            raise NotAllowed
        return await self._member(family_id, user_id)

    async def has_member(self, family_id: int, user_id: int) -> bool:
        return await self.families.member(family_id, user_id) is not None

    async def lowest_owner(self, family_ids: Sequence[int]) -> dict[int, int]:
        return await self.families.lowest_owner(family_ids)

    async def regenerate_code(self, family_id: int) -> FamilyRead:
        if not self.access.may(Permission.INVITE, family_id):
            raise NotAllowed
        family = await self.families.lock(family_id)
        if family is None:
            raise NotAllowed
        await self.families.save_with_code(family)
        await self._record(ActivityKind.INVITE_REGENERATED, family_id)
        return await self.families.read(family_id)

    async def delete(self, family_id: int) -> None:
        """Delete the family with proof. Without proof, close it for seven days."""
        if not self.access.owns(family_id):
            raise NotAllowed
        family = await self.families.lock(family_id)
        if family is None or not may(await self._my_role(family_id), Permission.DELETE_FAMILY):
            raise NotAllowed
        if await self.proof.is_given():
            await self.families.delete(family_id)
            await self._record(ActivityKind.FAMILY_DELETED, family_id)
        else:
            await self.closing.close(family)
            await self._record(ActivityKind.FAMILY_CLOSED, family_id)

    async def remove_member(self, family_id: int, user_id: int) -> None:
        """Remove a member. Users outside the family get the same answer for everybody."""
        if not self.access.belongs_to(family_id):
            raise NotAMember if user_id == self.access.user_id else NotAllowed
        await self.families.lock(family_id)
        membership = await self.families.member(family_id, user_id)
        if membership is None:
            raise NotAMember
        await self._remove(membership)

    async def remove_membership(self, id: int) -> Left | Kicked:
        membership = await self._lock_membership(id)
        await self._remove(membership)
        return Left() if membership.user_id == self.access.user_id else Kicked()

    async def change_role(self, family_id: int, user_id: int, role: Role) -> MembershipRead:
        if not self.access.may(Permission.CHANGE_ROLES, family_id):
            raise NotAllowed
        await self.families.lock(family_id)
        my_role = await self._my_role(family_id)
        if not may(my_role, Permission.CHANGE_ROLES):
            raise NotAllowed
        membership = await self._member(family_id, user_id)
        if membership.role == role:
            return self._read_member(membership)
        changes_owners = Role.OWNER in (membership.role, role)
        if changes_owners and not may(my_role, Permission.CHANGE_OWNERS):
            raise NotAllowed
        await self._set_role(membership, role)
        return self._read_member(membership)

    async def change_role_of(self, id: int, family_id: int | None, role: str) -> None:
        membership = await self._lock_membership(id)
        if family_id is not None and family_id != membership.family_id:
            raise MembershipNotFound
        if not may(await self._my_role(membership.family_id), Permission.CHANGE_OWNERS):
            raise NotAllowed
        if role not in list(Role):
            raise InvalidRole
        await self._set_role(membership, Role(role))

    async def leave_all(self) -> None:
        """Prepare all families of the caller for the deletion of the account.

        A family without other members is deleted. In a family without another owner, the oldest
        admin becomes the owner, or else the oldest member. A closed account counts only if there
        are no others. Repeating it is safe, and needed for families that the user joined since.
        """
        await self.closed.delete_of_last_member(self.access.user_id)
        for family_id in await self.families.ids_of(self.access.user_id):
            await self.families.lock(family_id)
            members = await self.families.members(family_id)
            others = [member for member in members if member.user_id != self.access.user_id]
            if not others:
                await self.families.delete(family_id)
            else:
                successor = max(
                    others, key=lambda one: (one.is_visible, Role(one.role).rank, -one.id)
                )
                if successor.role != Role.OWNER:
                    await self._promote(successor)
            if others:
                await self._end_invitations(family_id)

    async def _promote(self, successor: Membership) -> None:
        """Make the member the owner, because the caller leaves."""
        successor.role = Role.OWNER
        await self.families.save_member(successor)
        await self._record_for_member(ActivityKind.ROLE_GIVEN, successor, detail=successor.role)
        await self.notices.owner_added(successor, leaving_user_id=self.access.user_id)

    async def _end_invitations(self, family_id: int) -> None:
        """End what a former member may still know: the invite code and all open invitations.

        The caller holds the family's lock.
        """
        await self.invitations.delete_all(family_id)
        family = await self.families.lock(family_id)
        if family is not None:
            await self.families.save_with_code(family)

    async def _remove(self, membership: Membership) -> None:
        leaving = membership.user_id == self.access.user_id
        if not leaving:
            my_role = await self._my_role(membership.family_id)
            if not may(my_role, Permission.REMOVE_MEMBERS):
                raise NotAllowed
            if membership.role == Role.OWNER and not may(my_role, Permission.CHANGE_OWNERS):
                raise NotAllowed
        await self._check_other_owner(membership)
        await self.families.remove_member(membership)
        await self.notices.role_changed(membership, membership.role, None)
        await self._end_invitations(membership.family_id)
        if leaving:
            await self._record(ActivityKind.FAMILY_LEFT, membership.family_id)
            return
        other = membership.user_id
        await self._record(ActivityKind.MEMBER_REMOVED, membership.family_id, other_user_id=other)
        await self._record_for_member(ActivityKind.REMOVED_FROM_FAMILY, membership)

    async def _set_role(self, membership: Membership, role: Role) -> None:
        if role is not Role.OWNER:
            await self._check_other_owner(membership)
        if membership.role == role:
            return
        former, membership.role = membership.role, role
        await self.families.save_member(membership)
        if not may(role, Permission.INVITE):
            await self.invitations.delete_all(membership.family_id, by_user_id=membership.user_id)
        await self.notices.role_changed(membership, former, role)
        if membership.user_id == self.access.user_id:
            await self._record(ActivityKind.ROLE_CHANGED, membership.family_id, detail=role)
            return
        other = membership.user_id
        await self._record(
            ActivityKind.ROLE_CHANGED, membership.family_id, other_user_id=other, detail=role
        )
        await self._record_for_member(ActivityKind.ROLE_GIVEN, membership, detail=role)

    async def _record(self, kind: ActivityKind, family_id: int, **facts: Any) -> None:
        await self.log.record(kind, self.access.user_id, family_id=family_id, **facts)

    async def _record_for_member(
        self, kind: ActivityKind, member: Membership, **facts: Any
    ) -> None:
        """Record for a member what the caller changed."""
        by, family_id = self.access.user_id, member.family_id
        await self.log.record_for_other(kind, member.user_id, by, family_id=family_id, **facts)

    async def _check_other_owner(self, membership: Membership) -> None:
        """Raise LastOwner if no other owner would remain.

        The caller holds the family's lock, so two owners cannot leave at the same time.
        """
        if membership.role == Role.OWNER and await self.families.owners(membership.family_id) == 1:
            raise LastOwner

    async def _my_role(self, family_id: int) -> Role | None:
        """Read the role under the family's lock. The role of the Access may be outdated."""
        membership = await self.families.member(family_id, self.access.user_id)
        return Role(membership.role) if membership else None

    async def _member(self, family_id: int, user_id: int) -> Membership:
        member = await self.families.member(family_id, user_id)
        if member is None:
            raise MemberNotFound
        return member

    def _read_member(self, membership: Membership) -> MembershipRead:
        return MembershipRead.of(membership, self.access.user_id)

    async def _lock_membership(self, id: int) -> Membership:
        """Lock the family of a membership and return the membership.

        Raise NotAllowed for memberships that are missing or in families of other users, so that
        outsiders do not learn which exist.
        """
        before = await self.families.membership(id)
        if before is None or not self.access.belongs_to(before.family_id):
            raise NotAllowed
        await self.families.lock(before.family_id)
        current = await self.families.member(before.family_id, before.user_id)
        if current is None:
            raise MembershipNotFound
        return current


def _read(family: Family, count: int) -> FamilyRead:
    return FamilyRead(
        id=family.id,
        display_name=family.display_name,
        invite_code=family.invite_code,
        invite_code_expires_at=family.invite_code_expires_at,
        count=count,
    )
