from datetime import datetime

from sqlalchemy import Float, Index, String, Text, false, func
from sqlalchemy.orm import Mapped, mapped_column

from freshly.chassis.columns import Instant
from freshly.chassis.database import Base, Created, Updated
from freshly.chassis.identity import IDENTITY
from freshly.chassis.stale import Shows


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

    __stale__ = (Shows(IDENTITY, person="id"),)
    __table_args__ = (Index("ix_users_created_at", "created_at"),)

    @property
    def display_name(self) -> str:
        return self.name or self.email


# Addresses are kept as they are written today, in lower case; older rows may not be.
Index("ix_users_email_lower", func.lower(User.email))
