from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, ForeignKey, Index, String, or_
from sqlalchemy.orm import Mapped, mapped_column

from freshly.chassis.data.base import Created, Updated
from freshly.chassis.data.quotas import CountsTowards
from freshly.chassis.data.types import Instant, Json, named_enum
from freshly.domains.families.access import Access, Guarded


class ShareStatus(StrEnum):
    PENDING = "pending"
    ACCEPTED = "accepted"
    DECLINED = "declined"


class MealShareRequest(Created, Updated, Guarded):
    __tablename__ = "meal_share_requests"

    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    meal_id: Mapped[int] = mapped_column(ForeignKey("meals.id", ondelete="CASCADE"), index=True)
    sender_user_id: Mapped[int] = mapped_column(
        ForeignKey("users.id", ondelete="CASCADE"), index=True
    )
    recipient_user_id: Mapped[int] = mapped_column(
        ForeignKey("users.id", ondelete="CASCADE"), index=True
    )
    # The meal as it was offered. Null if an older release stored the offer.
    offered_meal: Mapped[dict[str, Any] | None] = mapped_column(Json, default=None)
    family_id: Mapped[int | None] = mapped_column(
        ForeignKey("families.id", ondelete="SET NULL"), index=True, default=None
    )
    accepted_meal_id: Mapped[int | None] = mapped_column(
        ForeignKey("meals.id", ondelete="SET NULL"), default=None
    )
    status: Mapped[ShareStatus] = mapped_column(
        named_enum(ShareStatus, "meal_share_request_status"),
        index=True,
        default=ShareStatus.PENDING,
    )
    message: Mapped[str | None] = mapped_column(String(500), default=None)
    responded_at: Mapped[datetime | None] = mapped_column(Instant(), default=None)

    __quotas__ = (
        CountsTowards("offers", person="sender_user_id"),
        CountsTowards("texts", person="sender_user_id", bytes_of=("offered_meal",)),
    )
    __table_args__: Any = (
        Index("idx_msr_family_status_created", "family_id", "status", "created_at"),
        Index("idx_msr_recipient_status", "recipient_user_id", "status"),
        Index("idx_msr_sender_created", "sender_user_id", "created_at"),
        Index("ix_meal_share_requests_created_at", "created_at"),
    )

    @classmethod
    def visible_to(cls, access: Access) -> ColumnElement[bool]:
        return or_(cls.sender_user_id == access.user_id, cls.recipient_user_id == access.user_id)
