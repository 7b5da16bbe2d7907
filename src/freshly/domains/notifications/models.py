from datetime import date, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, ForeignKey, Index, String, Text, and_, false, func, not_
from sqlalchemy.orm import Mapped, mapped_column

from freshly.chassis.data.base import Created
from freshly.chassis.data.types import Instant, named_enum
from freshly.domains.families.access import CLOSED_FAMILY_IDS, Access, Guarded


class NotificationType(StrEnum):
    MEAL_SHARE_REQUEST = "meal_share_request"
    MEAL_SHARE_ACCEPTED = "meal_share_accepted"
    MEAL_SHARE_DECLINED = "meal_share_declined"
    FAMILY_INVITE = "family_invite"
    FAMILY_MEMBER_JOINED = "family_member_joined"
    SYSTEM = "system"


class Digest(StrEnum):
    """The way a user gets the morning digest of food to use soon."""

    NONE = "none"
    NOTIFICATION = "notification"
    EMAIL = "email"
    BOTH = "both"

    @property
    def by_mail(self) -> bool:
        return self in (Digest.EMAIL, Digest.BOTH)

    @property
    def in_app(self) -> bool:
        return self in (Digest.NOTIFICATION, Digest.BOTH)


def _related(column: str, *, index: bool = False) -> Any:
    return mapped_column(ForeignKey(column, ondelete="CASCADE"), default=None, index=index)


class Notification(Created, Guarded):
    __tablename__ = "notifications"

    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    type: Mapped[NotificationType] = mapped_column(
        named_enum(NotificationType, "notification_type")
    )
    title: Mapped[str] = mapped_column(String(255))
    message: Mapped[str] = mapped_column(Text)
    related_meal_id: Mapped[int | None] = _related("meals.id")
    # The name at the time of the event. The user may not be allowed to read the meal any more.
    related_meal_name: Mapped[str | None] = mapped_column(String(255), default=None)
    related_user_id: Mapped[int | None] = _related("users.id")
    related_family_id: Mapped[int | None] = _related("families.id")
    related_share_request_id: Mapped[int | None] = _related("meal_share_requests.id", index=True)
    is_read: Mapped[bool] = mapped_column(index=True, default=False)
    read_at: Mapped[datetime | None] = mapped_column(Instant(), default=None)

    __table_args__: Any = (
        Index("idx_notif_user_created", "user_id", "created_at"),
        Index("idx_notif_user_read_created", "user_id", "is_read", "created_at"),
        Index("ix_notifications_created_at", "created_at"),
    )

    @classmethod
    def visible_to(cls, access: Access) -> ColumnElement[bool]:
        gone = func.coalesce(cls.is_of_closed_family(), false())
        return and_(cls.user_id == access.user_id, not_(gone))

    @classmethod
    def is_of_closed_family(cls) -> ColumnElement[bool]:
        return cls.related_family_id.in_(CLOSED_FAMILY_IDS)


class NoticeChoices(Guarded):
    """The choices of a user about notifications. Without a row the defaults apply."""

    __tablename__ = "notice_choices"

    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), unique=True)
    digest: Mapped[str] = mapped_column(String(16), default=Digest.NOTIFICATION)
    digest_on: Mapped[date | None] = mapped_column(default=None)  # day of the last digest

    @classmethod
    def visible_to(cls, access: Access) -> ColumnElement[bool]:
        return cls.user_id == access.user_id
