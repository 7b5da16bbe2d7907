from datetime import datetime
from enum import StrEnum

from sqlalchemy import ForeignKey, Index, String, false
from sqlalchemy.orm import Mapped, mapped_column

from freshly.chassis.data.base import Base, Created
from freshly.chassis.data.types import Instant
from freshly.chassis.security.client_info import MAX_ADDRESS_LENGTH


class SignUpInvitation(Created, Base):
    """A link with which one person creates one account. It is deleted when it is used.

    Its token is the id with an HMAC (`CodeSigner`), so a copy of the table is no invitation.
    """

    __tablename__ = "sign_up_invitations"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    expires_at: Mapped[datetime] = mapped_column(Instant(), index=True)
    # Only this address may use it. Null means any address.
    email: Mapped[str | None] = mapped_column(String(320), default=None)
    makes_administrator: Mapped[bool] = mapped_column(server_default=false(), default=False)
    # True for the link of the first administrator, which ends when there is one.
    is_set_up: Mapped[bool] = mapped_column(server_default=false(), default=False)
    # Null for an invitation by a command.
    created_by_user_id: Mapped[int | None] = mapped_column(
        ForeignKey("users.id", ondelete="SET NULL"), index=True, default=None
    )


class ActKind(StrEnum):
    """A kind of act of an administrator, or of the operator by a command."""

    SUSPEND = "suspend"
    RESTORE = "restore"
    SIGN_OUT = "sign_out"
    SET_TIER = "set_tier"
    MAKE_ADMINISTRATOR = "make_administrator"
    REMOVE_ADMINISTRATOR = "remove_administrator"
    INVITE = "invite"
    END_INVITATION = "end_invitation"


class AdministratorAct(Created, Base):
    """A record of one act. Rows are inserted, never changed, and deleted after a year.

    `administrator_id` and `account_id` become null when the account is deleted.
    """

    __tablename__ = "administrator_acts"

    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    kind: Mapped[ActKind] = mapped_column(String(32))
    correlation_id: Mapped[str] = mapped_column(String(64))
    by_command: Mapped[bool] = mapped_column()
    administrator_id: Mapped[int | None] = mapped_column(
        ForeignKey("users.id", ondelete="SET NULL"), index=True, default=None
    )
    account_id: Mapped[int | None] = mapped_column(
        ForeignKey("users.id", ondelete="SET NULL"), index=True, default=None
    )
    detail: Mapped[str | None] = mapped_column(String(64), default=None)  # such as a tier
    address: Mapped[str | None] = mapped_column(String(MAX_ADDRESS_LENGTH), default=None)
    session_id: Mapped[str | None] = mapped_column(String(32), default=None)

    __table_args__ = (Index("ix_administrator_acts_created_at", "created_at"),)
