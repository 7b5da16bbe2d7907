from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from freshly.chassis.cache.body import CachedBody
from freshly.chassis.data.events import EventBus
from freshly.chassis.data.pagination import PageRows
from freshly.chassis.data.transactions import CurrentDatabase
from freshly.chassis.dependencies import Injected
from freshly.domains.families.access import CurrentAccess
from freshly.domains.families.errors import (
    InvalidInviteCode,
    InvalidRole,
    LastOwner,
    MemberNotFound,
    MembershipNotFound,
    NotAFamilyMember,
    NotAllowed,
    NotAMember,
)
from freshly.domains.families.events import MemberJoined
from freshly.domains.families.models import FAMILIES, Family, Membership, Role
from freshly.domains.families.repository import FamilyListReader, FamilyRepository
from freshly.domains.families.schemas import FamilyCreate, FamilyRead, Kicked, Left
from freshly.domains.users.activity import ActivityLog
from freshly.domains.users.models import ActivityKind


@dataclass
class FamilyListing:
    """The families I am in: what the app asks for wherever one looks."""

    access: CurrentAccess
    db: CurrentDatabase

    async def page(self) -> CachedBody:
        user, families = self.access.owner(None), self.access.family_tags

        async def load() -> CachedBody:
            return PageRows(await FamilyListReader(self.db, self.access).mine(), None).to_body()

        key = f"families/{user.tag}/{','.join(families)}"
        return await self.db.cache.read(key, FAMILIES.of_each((user.tag, *families)), load)


@dataclass
class FamilyService:
    access: CurrentAccess
    families: Injected[FamilyRepository]
    events: Injected[EventBus]
    log: Injected[ActivityLog]

    async def read(self, family_id: int) -> FamilyRead:
        return await self.families.read(family_id)

    async def create(self, new: FamilyCreate) -> FamilyRead:
        family = await self.families.save_with_code(Family(**new.model_dump(), invite_code=""))
        await self.families.save_member(
            Membership(family_id=family.id, user_id=self.access.user_id, role=Role.OWNER)
        )
        return _read(family, count=1)

    async def join(self, invite_code: str) -> Membership:
        family = await self.families.by_code(invite_code.strip())
        if family is None:
            raise InvalidInviteCode
        user_id = self.access.user_id
        if await self.families.member(family.id, user_id) is None:
            await self.families.save_member(
                Membership(family_id=family.id, user_id=user_id, role=Role.MEMBER)
            )
            await self.log.record(ActivityKind.FAMILY_JOINED, user_id, family_id=family.id)
            await self.events.publish(MemberJoined(family_id=family.id, user_id=user_id))
        return await self._member(family.id, user_id)

    async def members(self, family_id: int) -> Sequence[Membership]:
        if not self.access.belongs_to(family_id):
            raise NotAFamilyMember
        return await self.families.members(family_id)

    async def member_of_mine(self, family_id: int, user_id: int) -> Membership:
        """A member of a family that the caller owns."""
        if not self.access.owns(family_id):
            raise NotAllowed
        found = await self.families.member(family_id, user_id)
        if found is None:
            raise MemberNotFound
        return found

    async def lowest_owner(self, family_ids: Sequence[int]) -> dict[int, int]:
        return await self.families.lowest_owner(family_ids)

    async def regenerate_code(self, family_id: int) -> FamilyRead:
        if not self.access.manages(family_id):
            raise NotAllowed
        family = await self.families.lock(family_id)
        if family is None:
            raise NotAllowed
        await self.families.save_with_code(family)
        await self._note(ActivityKind.INVITE_REGENERATED, family_id)
        return await self.families.read(family_id)

    async def delete(self, family_id: int) -> None:
        if not self.access.owns(family_id):
            raise NotAllowed
        await self.families.lock(family_id)
        await self.families.delete(family_id)
        await self._note(ActivityKind.FAMILY_DELETED, family_id)

    async def remove_member(self, family_id: int, user_id: int) -> None:
        await self.families.lock(family_id)
        membership = await self.families.member(family_id, user_id)
        if membership is None:
            raise NotAMember
        await self._remove(membership)

    async def remove_membership(self, id: int) -> Left | Kicked:
        membership = await self._locked_membership(id)
        await self._remove(membership)
        return Left() if membership.user_id == self.access.user_id else Kicked()

    async def change_role(self, family_id: int, user_id: int, role: Role) -> Membership:
        await self.families.lock(family_id)
        mine = await self._my_role(family_id)
        if not mine or not mine.manages():
            raise NotAllowed
        membership = await self._member(family_id, user_id)
        if membership.role == role:
            return membership
        if mine is not Role.OWNER and Role.OWNER in (membership.role, role):
            raise NotAllowed
        await self._set_role(membership, role)
        return membership

    async def change_role_of(self, id: int, family_id: int | None, wanted: str) -> None:
        membership = await self._locked_membership(id)
        if family_id is not None and family_id != membership.family_id:
            raise MembershipNotFound
        if await self._my_role(membership.family_id) is not Role.OWNER:
            raise NotAllowed
        if wanted not in list(Role):
            raise InvalidRole
        await self._set_role(membership, Role(wanted))

    async def leave_all(self) -> None:
        """Before an account goes: a family keeps an owner, and goes when nobody is left.

        Its longest-standing admin becomes the owner, else its longest-standing member. It can be
        done again, for families that were joined meanwhile.
        """
        for family_id in await self.families.ids_of(self.access.user_id):
            await self.families.lock(family_id)
            members = await self.families.members(family_id)
            others = [member for member in members if member.user_id != self.access.user_id]
            if not others:
                await self.families.delete(family_id)
            elif not any(member.role == Role.OWNER for member in others):
                heir = max(others, key=lambda member: (Role(member.role).rank, -member.id))
                heir.role = Role.OWNER
                await self.families.save_member(heir)
                await self._note_of(ActivityKind.ROLE_GIVEN, heir, detail=heir.role)

    async def _remove(self, membership: Membership) -> None:
        leaving = membership.user_id == self.access.user_id
        if not leaving:
            mine = await self._my_role(membership.family_id)
            if not mine or not mine.manages():
                raise NotAllowed
            if membership.role == Role.OWNER and mine is not Role.OWNER:
                raise NotAllowed
        await self._keep_an_owner(membership)
        await self.families.remove_member(membership)
        if leaving:
            await self._note(ActivityKind.FAMILY_LEFT, membership.family_id)
            return
        other = membership.user_id
        await self._note(ActivityKind.MEMBER_REMOVED, membership.family_id, other_user_id=other)
        await self._note_of(ActivityKind.REMOVED_FROM_FAMILY, membership)

    async def _set_role(self, membership: Membership, role: Role) -> None:
        if role is not Role.OWNER:
            await self._keep_an_owner(membership)
        if membership.role == role:
            return
        membership.role = role
        await self.families.save_member(membership)
        if membership.user_id == self.access.user_id:
            await self._note(ActivityKind.ROLE_CHANGED, membership.family_id, detail=role)
            return
        other = membership.user_id
        await self._note(
            ActivityKind.ROLE_CHANGED, membership.family_id, other_user_id=other, detail=role
        )
        await self._note_of(ActivityKind.ROLE_GIVEN, membership, detail=role)

    async def _note(self, kind: ActivityKind, family_id: int, **facts: Any) -> None:
        await self.log.record(kind, self.access.user_id, family_id=family_id, **facts)

    async def _note_of(self, kind: ActivityKind, member: Membership, **facts: Any) -> None:
        """What the caller did to somebody else."""
        by, family_id = self.access.user_id, member.family_id
        await self.log.record_for_other(kind, member.user_id, by, family_id=family_id, **facts)

    async def _keep_an_owner(self, membership: Membership) -> None:
        """The family is locked, so that two owners cannot both be the second last."""
        if membership.role == Role.OWNER and await self.families.owners(membership.family_id) == 1:
            raise LastOwner

    async def _my_role(self, family_id: int) -> Role | None:
        """Read under the family's lock: the role at the start of the request may be gone."""
        mine = await self.families.member(family_id, self.access.user_id)
        return Role(mine.role) if mine else None

    async def _member(self, family_id: int, user_id: int) -> Membership:
        found = await self.families.member(family_id, user_id)
        if found is None:
            raise MemberNotFound
        return found

    async def _locked_membership(self, id: int) -> Membership:
        seen = await self.families.membership(id)
        if seen is None:
            raise MembershipNotFound
        await self.families.lock(seen.family_id)
        current = await self.families.member(seen.family_id, seen.user_id)
        if current is None:
            raise MembershipNotFound
        return current


def _read(family: Family, count: int) -> FamilyRead:
    return FamilyRead(
        id=family.id,
        display_name=family.display_name,
        invite_code=family.invite_code,
        count=count,
    )
