from datetime import datetime
from enum import StrEnum

from sqlalchemy import ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from freshly.chassis.cache.invalidation import InvalidatesFor
from freshly.chassis.data.base import Base, Created
from freshly.chassis.data.quotas import CountsTowards
from freshly.chassis.data.types import Instant
from freshly.chassis.security.caller import IDENTITY
from freshly.chassis.security.client_info import MAX_ADDRESS_LENGTH, MAX_USER_AGENT_LENGTH


class AuthSession(Created, Base):
    """A sign-in on a device. Revoking it makes all its tokens invalid."""

    __tablename__ = "sign_ins"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    expires_at: Mapped[datetime] = mapped_column(Instant(), index=True)
    revoked_at: Mapped[datetime | None] = mapped_column(Instant(), default=None)
    # The time of the last refresh. Null before the first one.
    last_used_at: Mapped[datetime | None] = mapped_column(Instant(), default=None)
    address: Mapped[str | None] = mapped_column(String(MAX_ADDRESS_LENGTH), default=None)
    user_agent: Mapped[str | None] = mapped_column(String(MAX_USER_AGENT_LENGTH), default=None)

    __cache_tags__ = (InvalidatesFor(IDENTITY, person="user_id"),)
    __quotas__ = (CountsTowards("sessions", person="user_id", unless="revoked_at"),)


class RefreshToken(Base):
    """An issued refresh token. Only its hash is stored, but the row can be signed again."""

    __tablename__ = "refresh_tokens"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)  # the token's jti
    sign_in_id: Mapped[str] = mapped_column(
        ForeignKey("sign_ins.id", ondelete="CASCADE"), index=True
    )
    token_hash: Mapped[str] = mapped_column(String(64))  # SHA-256, hex
    issued_at: Mapped[datetime] = mapped_column(Instant())
    expires_at: Mapped[datetime] = mapped_column(Instant())
    used_at: Mapped[datetime | None] = mapped_column(Instant(), default=None)
    successor_id: Mapped[str | None] = mapped_column(String(32), default=None)


class CodePurpose(StrEnum):
    VERIFY = "verify"
    RESET = "reset"
    EMAIL_CHANGE = "email_change"
    REAUTHENTICATE = "reauthenticate"


class AccountCode(Base):
    """A code of six digits, which is the HMAC of the seed (`CodeSigner`).

    The subject is an email address, or "user:7" for a code of a signed-in user. Codes of unknown
    addresses are stored, too, so that responses do not reveal who has an account.
    """

    __tablename__ = "account_codes"

    subject: Mapped[str] = mapped_column(String(320), primary_key=True)
    purpose: Mapped[str] = mapped_column(String(16), primary_key=True)
    seed: Mapped[str] = mapped_column(String(32))
    expires_at: Mapped[datetime] = mapped_column(Instant(), index=True)
    tries: Mapped[int] = mapped_column(default=0)
    # Counted apart, from networks of the user, so that a stranger cannot use up the attempts.
    known_tries: Mapped[int] = mapped_column(default=0)


class EmailCode(Base):
    """A code in plain text, as the previous release stores it. This release never reads it.

    The table stays for one release, because servers of both releases run during an update.
    """

    __tablename__ = "email_codes"

    address: Mapped[str] = mapped_column(String(320), primary_key=True)
    purpose: Mapped[str] = mapped_column(String(16), primary_key=True)
    code: Mapped[str] = mapped_column(String(6))
    expires_at: Mapped[datetime] = mapped_column(Instant(), index=True)
    tries: Mapped[int] = mapped_column(default=0)


class LinkPurpose(StrEnum):
    VERIFY = "verify"
    RESET = "reset"
    UNDO_EMAIL_CHANGE = "undo_email_change"
    RESTORE_ACCOUNT = "restore_account"
    RESTORE_FAMILY = "restore_family"


class AccountLink(Created, Base):
    """A link in an email. Its token is the id with an HMAC (`CodeSigner`), and works once."""

    __tablename__ = "account_links"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    purpose: Mapped[str] = mapped_column(String(32))
    expires_at: Mapped[datetime] = mapped_column(Instant(), index=True)
    # The email address to restore, for a link that undoes a change of it.
    address: Mapped[str | None] = mapped_column(String(320), default=None)
    # The closed family, for a link that opens it again. Families are above this domain, and their
    # ids are never reused, so there is no foreign key.
    family_id: Mapped[int | None] = mapped_column(default=None)


class OAuthAccount(Created, Base):
    __tablename__ = "oauth_accounts"

    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    email: Mapped[str] = mapped_column(String(255))
    username: Mapped[str] = mapped_column(String(255))
    provider: Mapped[str] = mapped_column(String(32))
    supabase_user_id: Mapped[str] = mapped_column(String(128))

    __table_args__ = (
        UniqueConstraint("supabase_user_id", name="uq_oauth_accounts_supabase_user_id"),
    )
