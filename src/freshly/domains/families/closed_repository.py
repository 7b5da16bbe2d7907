"""The rows of closed families."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, delete, exists, insert, literal, select, update
from sqlalchemy.orm import aliased

from freshly.chassis.cache.invalidation import invalidate_rows
from freshly.chassis.data.deletion import LostReference, lost_references
from freshly.chassis.data.functions import now
from freshly.chassis.data.transactions import DbSession
from freshly.domains.families.models import (
    ClosedMembership,
    ClosedReference,
    Family,
    Invitation,
    Membership,
)
from freshly.domains.families.repository import CodeRenewal
from freshly.domains.users.models import User

UNSYNCED = {"synchronize_session": False}


@dataclass
class ClosedFamilyRepository:
    """Families between their deletion and the end of the time in which it can be undone.

    A closed family has no members and no invitations, and no row that outlives it refers to it. So
    it looks deleted to all users, and its rows still exist.
    """

    session: DbSession

    async def close(self, family: Family, delete_after: datetime) -> None:
        """Make the locked family look deleted. Remember what its deletion would lose."""
        is_family = Family.id == family.id
        await self.session.run_sync(invalidate_rows, Family, is_family)
        for lost in lost_references(Family, is_family):
            await self._detach(family.id, lost)
        mine = Membership.family_id == family.id
        columns = [Membership.family_id, Membership.user_id, Membership.id]
        rows = select(*columns, Membership.role, Membership.joined_at).where(mine)
        names = ["family_id", "user_id", "membership_id", "role", "joined_at"]
        await self.session.execute(insert(ClosedMembership).from_select(names, rows))
        await self.session.execute(delete(Membership).where(mine), execution_options=UNSYNCED)
        await self.session.execute(delete(Invitation).where(Invitation.family_id == family.id))
        # No user can type this code, and another family may get the digits.
        family.invite_code, family.invite_code_expires_at = f"closed-{family.id}", None
        family.delete_after = delete_after
        await self.session.flush()

    async def restore(self, family: Family, closed_at: datetime) -> None:
        """Give the locked family its members and references back, and a new invite code.

        A closed family counts for its members' quotas, so they have room for it. A reference that a
        user has set again meanwhile stays as it is. A row that was changed since the closing gets
        none back: what was written while the family looked deleted was not meant for it.
        """
        mine = ClosedMembership.family_id == family.id
        columns = [ClosedMembership.membership_id, ClosedMembership.family_id]
        more = [ClosedMembership.user_id, ClosedMembership.role, ClosedMembership.joined_at]
        rows = select(*columns, *more).where(mine)
        names = ["id", "family_id", "user_id", "role", "joined_at"]
        await self.session.execute(insert(Membership).from_select(names, rows))
        await self.session.execute(delete(ClosedMembership).where(mine))
        for lost in lost_references(Family, Family.id == family.id):
            await self._attach(family.id, lost, closed_at)
        of_family = ClosedReference.family_id == family.id
        await self.session.execute(delete(ClosedReference).where(of_family))
        family.delete_after = None
        await CodeRenewal(self.session).save(family)
        await self.session.run_sync(invalidate_rows, Family, Family.id == family.id)

    async def lock(self, family_id: int) -> Family | None:
        """Lock the family. Return None if it is not closed."""
        return await self.session.scalar(
            select(Family)
            .where(Family.id == family_id, Family.delete_after.is_not(None))
            .with_for_update()
        )

    async def delete_if_due(self, family_id: int) -> None:
        """Delete the family if its time is over and it was not opened again."""
        due = (Family.id == family_id, Family.delete_after <= now())
        await self.session.execute(delete(Family).where(*due))

    async def delete_of_last_member(self, user_id: int) -> None:
        """Delete the closed families that have no other former member, who could undo it."""
        others = aliased(ClosedMembership)
        alone = (
            select(ClosedMembership.family_id)
            .where(ClosedMembership.user_id == user_id)
            .where(
                ~exists().where(
                    others.family_id == ClosedMembership.family_id, others.user_id != user_id
                )
            )
        )
        ids = (await self.session.scalars(alone)).all()
        await self.session.execute(delete(Family).where(Family.id.in_(ids)))

    async def addresses(self, family_id: int) -> Sequence[str]:
        """Return the email addresses of all members of the restored family."""
        addresses = await self.session.scalars(
            select(User.email)
            .join(Membership, Membership.user_id == User.id)
            .where(Membership.family_id == family_id)
            .order_by(Membership.id)
        )
        return addresses.all()

    async def _detach(self, family_id: int, lost: LostReference) -> None:
        [key] = lost.model.__mapper__.primary_key
        table, column = lost.model.__tablename__, lost.column
        rows = select(literal(family_id), literal(table), literal(column.key), key, column)
        names = ["family_id", "table_name", "column_name", "row_id", "value"]
        await self.session.execute(
            insert(ClosedReference).from_select(names, rows.where(lost.rows))
        )
        await self._set(family_id, lost, None)

    async def _attach(self, family_id: int, lost: LostReference, closed_at: datetime) -> None:
        [key] = lost.model.__mapper__.primary_key
        value = _remembered(family_id, lost, ClosedReference.value)
        of_row = value.where(ClosedReference.row_id == key).scalar_subquery()
        unchanged = [lost.column.is_(None)]
        if hasattr(lost.model, "updated_at"):
            unchanged.append(lost.model.updated_at <= closed_at)
        await self._set(family_id, lost, of_row, *unchanged)

    async def _set(
        self, family_id: int, lost: LostReference, value: Any, *where: ColumnElement[bool]
    ) -> None:
        """Set the column in the remembered rows. They count as unchanged."""
        [key] = lost.model.__mapper__.primary_key
        values = {lost.column.key: value}
        if hasattr(lost.model, "updated_at"):
            values["updated_at"] = lost.model.updated_at
        rows = _remembered(family_id, lost, ClosedReference.row_id)
        await self.session.execute(
            update(lost.model).where(key.in_(rows), *where).values(values),
            execution_options=UNSYNCED,
        )


def _remembered(family_id: int, lost: LostReference, column: Any) -> Select[Any]:
    return select(column).where(
        ClosedReference.family_id == family_id,
        ClosedReference.table_name == lost.model.__tablename__,
        ClosedReference.column_name == lost.column.key,
    )
