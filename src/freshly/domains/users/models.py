from datetime import datetime
from enum import StrEnum

from sqlalchemy import Float, ForeignKey, Index, String, Text, false, func
from sqlalchemy.orm import Mapped, mapped_column

from freshly.chassis.cache.invalidation import InvalidatesFor
from freshly.chassis.data.base import Base, Created, Updated
from freshly.chassis.data.types import Instant
from freshly.chassis.security.caller import IDENTITY
from freshly.chassis.security.client_info import MAX_ADDRESS_LENGTH, MAX_USER_AGENT_LENGTH


class UserStatus(StrEnum):
    """The statuses that Freshly sets. An account signs in only while it is active."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    CLOSED = "closed"  # by its user, and deleted at `delete_after`


class User(Created, Updated, Base):
    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    email: Mapped[str] = mapped_column(Text, unique=True, index=True)
    hashed_password: Mapped[str] = mapped_column(Text)
    # A new address, until its code comes back together with proof that it is the user.
    pending_email: Mapped[str | None] = mapped_column(Text, default=None)
    name: Mapped[str | None] = mapped_column(Text, default=None)
    phone_number: Mapped[str | None] = mapped_column(Text, default=None)
    location: Mapped[str | None] = mapped_column(String(255), default=None)
    avatar_path: Mapped[str | None] = mapped_column(String, default=None)
    status: Mapped[str] = mapped_column(
        String(50), index=True, server_default="active", default="active"
    )
    tier: Mapped[str] = mapped_column(String(32), index=True, server_default="free", default="free")
    gender: Mapped[str | None] = mapped_column(String(32), default=None)
    age: Mapped[int | None] = mapped_column(default=None)
    weight: Mapped[float | None] = mapped_column(Float(53), default=None)
    height: Mapped[float | None] = mapped_column(Float(53), default=None)
    calories: Mapped[float | None] = mapped_column(Float(53), default=None)
    # True if members of the user's families see the profile fields of `SHARED_FIELDS`.
    shares_profile: Mapped[bool] = mapped_column(server_default=false(), default=False)
    password_reset_code: Mapped[str | None] = mapped_column(String(6), index=True, default=None)
    password_reset_expires_at: Mapped[datetime | None] = mapped_column(Instant(), default=None)
    password_reset_attempts: Mapped[int] = mapped_column(default=0)
    delete_after: Mapped[datetime | None] = mapped_column(Instant(), default=None)
    # An administrator manages accounts. It gives no right to any household's rows.
    is_administrator: Mapped[bool] = mapped_column(server_default=false(), default=False)
    is_verified: Mapped[bool] = mapped_column(server_default=false(), default=False)
    verification_code: Mapped[str | None] = mapped_column(String(6), index=True, default=None)
    verification_expires_at: Mapped[datetime | None] = mapped_column(Instant(), default=None)

    __cache_tags__ = (InvalidatesFor(IDENTITY, person="id"),)
    __table_args__ = (Index("ix_users_created_at", "created_at"),)

    @property
    def display_name(self) -> str:
        return self.name or self.email


# New addresses are stored in lower case. Adopted rows may have other spellings.
Index("ix_users_email_lower", func.lower(User.email))


class ActivityKind(StrEnum):
    """A kind of event on an account."""

    SIGN_IN = "sign_in"
    SIGN_OUT = "sign_out"
    REFRESH = "refresh"  # recorded only if refused: a copy of the token was used
    SESSION_REVOKED = "session_revoked"
    PASSWORD_RESET = "password_reset"  # noqa: S105 - the name of a kind
    PASSWORD_CHANGE = "password_change"  # noqa: S105 - the name of a kind
    EMAIL_CHANGE = "email_change"
    REAUTHENTICATION = "reauthentication"  # recorded only if refused
    FAMILY_JOINED = "family_joined"
    FAMILY_LEFT = "family_left"
    FAMILY_CLOSED = "family_closed"  # deleted without proof, which can be undone for seven days
    FAMILY_RESTORED = "family_restored"
    FAMILY_DELETED = "family_deleted"
    INVITE_REGENERATED = "invite_regenerated"
    INVITATION_CREATED = "invitation_created"
    ROLE_CHANGED = "role_changed"  # by this user
    ROLE_GIVEN = "role_given"  # to this user
    MEMBER_REMOVED = "member_removed"  # by this user
    REMOVED_FROM_FAMILY = "removed_from_family"  # this user was removed
    SUSPENDED = "suspended"  # by the operator, as the next three
    RESTORED = "restored"
    SIGNED_OUT = "signed_out"
    TIER_CHANGED = "tier_changed"
    EXPORT = "export"
    ACCOUNT_CLOSED = "account_closed"
    ACCOUNT_DELETED = "account_deleted"


class Outcome(StrEnum):
    ASKED = "asked"
    DONE = "done"
    REFUSED = "refused"


class Activity(Created, Base):
    """An event in the history of an account. Rows are inserted and never changed.

    Triggers of the migration `account` refuse other changes. A row is deleted with its user or
    after a year, and `other_user_id` becomes null when that user is deleted. A row without a user
    records that an account was deleted, but not which one.
    """

    __tablename__ = "activities"

    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    user_id: Mapped[int | None] = mapped_column(
        ForeignKey("users.id", ondelete="CASCADE"), index=True
    )
    kind: Mapped[ActivityKind] = mapped_column(String(32))
    correlation_id: Mapped[str] = mapped_column(String(64))
    outcome: Mapped[Outcome] = mapped_column(String(16), default=Outcome.DONE)
    other_user_id: Mapped[int | None] = mapped_column(
        ForeignKey("users.id", ondelete="SET NULL"), index=True, default=None
    )
    # Without a foreign key, because the row outlives its family.
    family_id: Mapped[int | None] = mapped_column(default=None)
    detail: Mapped[str | None] = mapped_column(String(64), default=None)  # a role, a provider, ...
    address: Mapped[str | None] = mapped_column(String(MAX_ADDRESS_LENGTH), default=None)
    user_agent: Mapped[str | None] = mapped_column(String(MAX_USER_AGENT_LENGTH), default=None)
    session_id: Mapped[str | None] = mapped_column(String(32), default=None)
    __table_args__ = (Index("ix_activities_created_at", "created_at"),)
