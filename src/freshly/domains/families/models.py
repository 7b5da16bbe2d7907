from datetime import datetime
from enum import StrEnum

from sqlalchemy import CheckConstraint, ForeignKey, String, Text, UniqueConstraint, func
from sqlalchemy.orm import Mapped, mapped_column, relationship

from freshly.chassis.cache.invalidation import CacheTopic, InvalidatesFor
from freshly.chassis.data.base import Base, Created
from freshly.chassis.data.functions import now
from freshly.chassis.data.quotas import CountsTowards
from freshly.chassis.security.caller import IDENTITY
from freshly.domains.users.models import User, UserStatus

FAMILIES = CacheTopic("families")


class Role(StrEnum):
    OWNER = "owner"
    ADMIN = "admin"
    MEMBER = "member"

    @property
    def rank(self) -> int:
        return [Role.MEMBER, Role.ADMIN, Role.OWNER].index(self)


class Family(Created, Base):
    __tablename__ = "families"

    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    display_name: Mapped[str] = mapped_column(Text)
    invite_code: Mapped[str] = mapped_column(Text, unique=True, index=True)
    # Null means expired, as in rows of the existing app and of older releases.
    invite_code_expires_at: Mapped[datetime | None] = mapped_column(default=None)
    # Set while the family is closed: deleted for its members, who can still undo it until then.
    delete_after: Mapped[datetime | None] = mapped_column(default=None, index=True)

    __cache_tags__ = (InvalidatesFor(FAMILIES, family="id"),)


class Membership(Base):
    __tablename__ = "family_memberships"

    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    family_id: Mapped[int] = mapped_column(
        ForeignKey("families.id", ondelete="CASCADE"), index=True
    )
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    role: Mapped[str] = mapped_column(Text)
    joined_at: Mapped[datetime] = mapped_column(
        init=False, insert_default=now(), server_default=func.now()
    )
    user: Mapped[User] = relationship(init=False, lazy="raise", viewonly=True)

    @property
    def is_visible(self) -> bool:
        """Return False while the member's account is closed. `user` must be loaded."""
        return self.user.status != UserStatus.CLOSED

    __cache_tags__ = (
        InvalidatesFor(IDENTITY, person="user_id"),
        InvalidatesFor(FAMILIES, family="family_id", person="user_id"),
    )
    __quotas__ = (
        CountsTowards("families", person="user_id"),
        CountsTowards("members", family="family_id"),
    )
    __table_args__ = (
        UniqueConstraint("family_id", "user_id", name="uq_membership_family_user"),
        CheckConstraint("role IN ('owner', 'admin', 'member')", name="ck_memberships_role"),
    )


class ClosedMembership(Base):
    """A membership of a closed family, which becomes a Membership again if that is undone."""

    __tablename__ = "closed_memberships"

    family_id: Mapped[int] = mapped_column(
        ForeignKey("families.id", ondelete="CASCADE"), primary_key=True
    )
    user_id: Mapped[int] = mapped_column(
        ForeignKey("users.id", ondelete="CASCADE"), primary_key=True, index=True
    )
    membership_id: Mapped[int] = mapped_column(unique=True)
    role: Mapped[str] = mapped_column(Text)
    joined_at: Mapped[datetime] = mapped_column()

    # Otherwise a user could store without limit: found a family, fill it, close it and begin again.
    __quotas__ = (CountsTowards("families", person="user_id"),)


class ClosedReference(Base):
    """A reference to a closed family or to its rows, from a row that outlives the family.

    The referring row has null meanwhile, as after a deletion.
    """

    __tablename__ = "closed_references"

    family_id: Mapped[int] = mapped_column(
        ForeignKey("families.id", ondelete="CASCADE"), primary_key=True
    )
    table_name: Mapped[str] = mapped_column(String(64), primary_key=True)
    column_name: Mapped[str] = mapped_column(String(64), primary_key=True)
    row_id: Mapped[int] = mapped_column(primary_key=True)
    value: Mapped[int] = mapped_column()


class Invitation(Created, Base):
    """An open invitation to a family. It is deleted when it is used up or ended.

    Only keyed hashes of its link's token and of its short code are stored.
    """

    __tablename__ = "family_invitations"

    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    family_id: Mapped[int] = mapped_column(
        ForeignKey("families.id", ondelete="CASCADE"), index=True
    )
    created_by_user_id: Mapped[int] = mapped_column(
        ForeignKey("users.id", ondelete="CASCADE"), index=True
    )
    role: Mapped[str] = mapped_column(Text)
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    code_hash: Mapped[str] = mapped_column(String(64), unique=True)
    code_expires_at: Mapped[datetime] = mapped_column()
    expires_at: Mapped[datetime] = mapped_column(index=True)
    uses_left: Mapped[int] = mapped_column()

    __table_args__ = (
        CheckConstraint("role IN ('admin', 'member')", name="ck_family_invitations_role"),
    )
