import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import joinedload

from freshly.chassis.data.constraints import violated_constraint
from freshly.chassis.data.queries import CompiledQuery, struct_for
from freshly.chassis.data.transactions import CurrentDatabase, DbSession
from freshly.domains.families.access import MY_FAMILY_IDS, CurrentAccess
from freshly.domains.families.errors import NotAFamilyMember
from freshly.domains.families.models import Family, Membership, Role
from freshly.domains.families.schemas import FamilyRead

CODES = 10**6
CODE_ATTEMPTS = 20
families = Family.__table__.c
memberships = Membership.__table__.c
ROWS = select(
    families.id,
    families.display_name,
    families.invite_code,
    select(func.count())
    .select_from(Membership.__table__)
    .where(memberships.family_id == families.id)
    .scalar_subquery()
    .label("count"),
)
FAMILY = struct_for(FamilyRead)
MY_FAMILIES = CompiledQuery(ROWS.where(families.id.in_(MY_FAMILY_IDS)).order_by(families.id))


@dataclass
class FamilyListReader:
    """Reads the caller's families as structs with the fields of FamilyRead."""

    db: CurrentDatabase
    access: CurrentAccess

    async def families(self) -> Sequence[Any]:
        rows = await self.db.fetch(MY_FAMILIES, user_id=self.access.user_id)
        return rows.as_structs(FAMILY)


@dataclass
class FamilyRepository:
    """Families and their members. Reads check that the caller is a member."""

    session: DbSession
    access: CurrentAccess

    async def read(self, family_id: int) -> FamilyRead:
        if not self.access.belongs_to(family_id):
            raise NotAFamilyMember
        row = (await self.session.execute(ROWS.where(families.id == family_id))).one_or_none()
        if row is None:
            raise NotAFamilyMember
        return FamilyRead.model_validate(row)

    async def lock(self, family_id: int) -> Family | None:
        """Lock the family. Each change of members or roles waits here for its turn."""
        return await self.session.scalar(
            select(Family).where(Family.id == family_id).with_for_update()
        )

    async def by_code(self, code: str) -> Family | None:
        return await self.session.scalar(
            select(Family).where(Family.invite_code == code).with_for_update()
        )

    async def save_with_code(self, family: Family) -> Family:
        """Insert or update the family with a new, unique invite code of six digits."""
        for _ in range(CODE_ATTEMPTS):
            try:
                async with self.session.begin_nested():  # flushes earlier changes first
                    family.invite_code = f"{secrets.randbelow(CODES):06d}"
                    self.session.add(family)
                    await self.session.flush()
            except IntegrityError as error:
                if violated_constraint(error) != "ix_families_invite_code":
                    raise
                continue
            return family
        raise RuntimeError("no free invite code was found")

    async def delete(self, family_id: int) -> None:
        await self.session.execute(delete(Family).where(Family.id == family_id))

    async def members(self, family_id: int) -> Sequence[Membership]:
        members = await self.session.scalars(
            select(Membership)
            .where(Membership.family_id == family_id)
            .options(joinedload(Membership.user, innerjoin=True))
            .order_by(Membership.id)
            .execution_options(populate_existing=True)
        )
        return members.all()

    async def member(self, family_id: int, user_id: int) -> Membership | None:
        return await self.session.scalar(
            select(Membership)
            .where(Membership.family_id == family_id, Membership.user_id == user_id)
            .options(joinedload(Membership.user, innerjoin=True))
            .execution_options(populate_existing=True)
        )

    async def membership(self, id: int) -> Membership | None:
        return await self.session.get(Membership, id)

    async def ids_of(self, user_id: int) -> Sequence[int]:
        """Return the ids in ascending order, so that callers lock families in the same order."""
        ids = select(Membership.family_id).where(Membership.user_id == user_id)
        return (await self.session.scalars(ids.order_by(Membership.family_id))).all()

    async def owners(self, family_id: int) -> int:
        return (
            await self.session.execute(
                select(func.count())
                .select_from(Membership)
                .where(Membership.family_id == family_id, Membership.role == Role.OWNER)
            )
        ).scalar_one()

    async def lowest_owner(self, family_ids: Sequence[int]) -> dict[int, int]:
        """Return for each family the user id of the owner with the lowest membership id."""
        rows = await self.session.execute(
            select(Membership.family_id, Membership.user_id)
            .where(Membership.family_id.in_(family_ids), Membership.role == Role.OWNER)
            .order_by(Membership.id.desc())
        )
        return {row.family_id: row.user_id for row in rows}

    async def save_member(self, membership: Membership) -> Membership:
        self.session.add(membership)
        await self.session.flush()
        return membership

    async def remove_member(self, membership: Membership) -> None:
        await self.session.delete(membership)
        await self.session.flush()
