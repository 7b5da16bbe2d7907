from datetime import datetime
from enum import StrEnum

from sqlalchemy import Float, ForeignKey, Index, String, Text, false, func
from sqlalchemy.orm import Mapped, mapped_column

from freshly.chassis.cache.invalidation import InvalidatesFor
from freshly.chassis.data.base import Base, Created, Updated
from freshly.chassis.data.types import Instant
from freshly.chassis.security.caller import IDENTITY
from freshly.chassis.security.client_info import LONGEST_ADDRESS, LONGEST_USER_AGENT


class User(Created, Updated, Base):
    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    email: Mapped[str] = mapped_column(Text, unique=True, index=True)
    hashed_password: Mapped[str] = mapped_column(Text)
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
    password_reset_code: Mapped[str | None] = mapped_column(String(6), index=True, default=None)
    password_reset_expires_at: Mapped[datetime | None] = mapped_column(Instant(), default=None)
    password_reset_attempts: Mapped[int] = mapped_column(default=0)
    is_verified: Mapped[bool] = mapped_column(server_default=false(), default=False)
    verification_code: Mapped[str | None] = mapped_column(String(6), index=True, default=None)
    verification_expires_at: Mapped[datetime | None] = mapped_column(Instant(), default=None)

    __cache_tags__ = (InvalidatesFor(IDENTITY, person="id"),)
    # An id is never given again: folders, links and logs go by it.
    __table_args__ = (Index("ix_users_created_at", "created_at"), {"sqlite_autoincrement": True})

    @property
    def display_name(self) -> str:
        return self.name or self.email


# Addresses are kept as they are written today, in lower case; older rows may not be.
Index("ix_users_email_lower", func.lower(User.email))


class ActivityKind(StrEnum):
    """What can happen to an account."""

    SIGN_IN = "sign_in"
    SIGN_OUT = "sign_out"
    REFRESH = "refresh"  # only refused ones are noted: somebody had a copy of the token
    SESSION_REVOKED = "session_revoked"
    PASSWORD_RESET = "password_reset"  # noqa: S105 - the name of a kind
    EMAIL_CHANGE = "email_change"
    FAMILY_JOINED = "family_joined"
    FAMILY_LEFT = "family_left"
    FAMILY_DELETED = "family_deleted"
    INVITE_REGENERATED = "invite_regenerated"
    ROLE_CHANGED = "role_changed"  # by me
    ROLE_GIVEN = "role_given"  # to me
    MEMBER_REMOVED = "member_removed"  # by me
    REMOVED_FROM_FAMILY = "removed_from_family"  # me
    EXPORT = "export"
    ACCOUNT_DELETED = "account_deleted"


class Outcome(StrEnum):
    ASKED = "asked"
    DONE = "done"
    REFUSED = "refused"


class Activity(Created, Base):
    """Something that happened to an account. Rows are added, and never changed.

    The database refuses anything else (triggers of the migration `account`): a row goes with its
    person, or when it is old, and forgets another person who is gone. The one row that is
    nobody's says that an account was deleted, and not whose.
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
    family_id: Mapped[int | None] = mapped_column(default=None)  # which may be gone since
    detail: Mapped[str | None] = mapped_column(String(64), default=None)  # a role, a provider, ...
    address: Mapped[str | None] = mapped_column(String(LONGEST_ADDRESS), default=None)
    user_agent: Mapped[str | None] = mapped_column(String(LONGEST_USER_AGENT), default=None)
    session_id: Mapped[str | None] = mapped_column(String(32), default=None)
    __table_args__ = (Index("ix_activities_created_at", "created_at"),)
