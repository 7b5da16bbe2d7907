import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, delete, func, or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import contains_eager, joinedload

from freshly.chassis.data.constraints import violated_constraint
from freshly.chassis.data.functions import now
from freshly.chassis.data.pagination import PageQuery, PageRows, paginate
from freshly.chassis.data.queries import CompiledQuery, struct_for
from freshly.chassis.data.transactions import CurrentDatabase, DbSession
from freshly.domains.families.access import MY_FAMILY_IDS, CurrentAccess
from freshly.domains.families.errors import NoFreeInviteCode, NotAFamilyMember
from freshly.domains.families.models import Family, Invitation, Membership, Role
from freshly.domains.families.schemas import FamilyRead
from freshly.domains.users.models import User, UserStatus

CODE_LIFETIME = timedelta(days=1)
SHORT_CODE_ATTEMPTS, CODE_ATTEMPTS = 20, 25
CODE_DIGITS, LONG_CODE_DIGITS = 6, 9  # the long ones when too many short ones are taken
RENEWED_PER_COMMIT = 200
families = Family.__table__.c
memberships = Membership.__table__.c
ROWS = select(
    families.id,
    families.display_name,
    families.invite_code,
    families.invite_code_expires_at,
    select(func.count())
    .select_from(Membership.__table__.join(User.__table__))
    .where(memberships.family_id == families.id, User.__table__.c.status != UserStatus.CLOSED)
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
        """Lock the family. Each change of members or roles waits here for its turn.

        Return None if it was deleted or closed.
        """
        return await self.session.scalar(
            select(Family)
            .where(Family.id == family_id, Family.delete_after.is_(None))
            .with_for_update()
        )

    async def by_code(self, code: str) -> Family | None:
        """Lock and return the family with this code, unless the code has expired."""
        return await self.session.scalar(
            select(Family)
            .where(
                Family.invite_code == code,
                Family.invite_code_expires_at > now(),
                # A worker of an older release may have renewed the code of a closed family.
                Family.delete_after.is_(None),
            )
            .with_for_update()
        )

    async def save_with_code(self, family: Family) -> Family:
        """Insert or update the family with a new, unique invite code."""
        return await CodeRenewal(self.session).save(family)

    async def now(self) -> datetime:
        return (await self.session.execute(select(now()))).scalar_one()

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
        """Return the membership. Return None while the user's account is closed."""
        return await self.session.scalar(
            select(Membership)
            .where(Membership.family_id == family_id, Membership.user_id == user_id)
            .join(Membership.user)
            .where(User.status != UserStatus.CLOSED)
            .options(contains_eager(Membership.user))
            .execution_options(populate_existing=True)
        )

    async def membership(self, id: int) -> Membership | None:
        return await self.session.get(Membership, id)

    async def ids_of(self, user_id: int) -> Sequence[int]:
        """Return the ids in ascending order, so that callers lock families in the same order."""
        ids = select(Membership.family_id).where(Membership.user_id == user_id)
        return (await self.session.scalars(ids.order_by(Membership.family_id))).all()

    async def owners(self, family_id: int) -> int:
        """Return the number of owners, without closed accounts."""
        return (
            await self.session.execute(
                select(func.count())
                .select_from(Membership)
                .join(Membership.user)
                .where(
                    Membership.family_id == family_id,
                    Membership.role == Role.OWNER,
                    User.status != UserStatus.CLOSED,
                )
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


@dataclass
class CodeRenewal:
    """Gives families new invite codes. The job that uses it acts for no user."""

    session: DbSession

    async def save(self, family: Family) -> Family:
        """Insert or update the family with a new, unique invite code."""
        at = (await self.session.execute(select(now()))).scalar_one()
        for attempt in range(CODE_ATTEMPTS):
            digits = CODE_DIGITS if attempt < SHORT_CODE_ATTEMPTS else LONG_CODE_DIGITS
            try:
                async with self.session.begin_nested():  # flushes earlier changes first
                    family.invite_code = f"{secrets.randbelow(10**digits):0{digits}d}"
                    family.invite_code_expires_at = at + CODE_LIFETIME
                    self.session.add(family)
                    await self.session.flush()
            except IntegrityError as error:
                if violated_constraint(error) != "ix_families_invite_code":
                    raise
                continue
            return family
        raise NoFreeInviteCode

    async def renew_expired(self) -> bool:
        """Renew one batch of expired codes. Return True if there may be more."""
        expired = await self.session.scalars(
            select(Family)
            .where(
                or_(
                    Family.invite_code_expires_at.is_(None), Family.invite_code_expires_at <= now()
                ),
                Family.delete_after.is_(None),
            )
            .order_by(Family.id)
            .limit(RENEWED_PER_COMMIT)
            .with_for_update(skip_locked=True)
        )
        renewed = [await self.save(family) for family in expired.all()]
        return len(renewed) == RENEWED_PER_COMMIT


@dataclass
class InvitationRepository:
    """Invitations. Its callers check the role of the user, or the secret of the invitation."""

    session: DbSession

    async def save(self, invitation: Invitation) -> Invitation:
        self.session.add(invitation)
        await self.session.flush()
        return invitation

    async def page(self, family_id: int, query: PageQuery) -> PageRows[Invitation]:
        return await paginate(self.session, _open(family_id), (Invitation.id,), query)

    async def count(self, family_id: int) -> int:
        open_ones = select(func.count()).select_from(_open(family_id).subquery())
        return (await self.session.execute(open_ones)).scalar_one()

    async def get(self, family_id: int, id: int) -> Invitation | None:
        return await self.session.scalar(_open(family_id).where(Invitation.id == id))

    async def by_token(self, token_hash: str) -> Invitation | None:
        return await self._valid(Invitation.token_hash == token_hash)

    async def by_code(self, code_hash: str) -> Invitation | None:
        return await self._valid(
            Invitation.code_hash == code_hash, Invitation.code_expires_at > now()
        )

    async def lock(self, id: int) -> Invitation | None:
        """Lock the invitation. Return None if it was used up or ended meanwhile."""
        return await self.session.scalar(
            select(Invitation)
            .where(Invitation.id == id)
            .with_for_update()
            .execution_options(populate_existing=True)
        )

    async def delete(self, invitation: Invitation) -> None:
        await self.session.delete(invitation)
        await self.session.flush()

    async def family_name(self, invitation: Invitation) -> str:
        name = select(Family.display_name).where(Family.id == invitation.family_id)
        return (await self.session.execute(name)).scalar_one()

    async def delete_all(self, family_id: int, by_user_id: int | None = None) -> None:
        """Delete the invitations of the family, or only those that one user made."""
        mine = delete(Invitation).where(Invitation.family_id == family_id)
        if by_user_id is not None:
            mine = mine.where(Invitation.created_by_user_id == by_user_id)
        await self.session.execute(mine)

    async def purge_expired(self) -> None:
        await self.session.execute(delete(Invitation).where(Invitation.expires_at <= now()))

    async def _valid(self, *conditions: ColumnElement[bool]) -> Invitation | None:
        valid = select(Invitation).where(*conditions, Invitation.expires_at > now())
        return await self.session.scalar(valid)


def _open(family_id: int) -> Select[Invitation]:
    return select(Invitation).where(
        Invitation.family_id == family_id, Invitation.expires_at > now()
    )
