from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Self

from sqlalchemy import ColumnElement, FromClause, and_, bindparam, delete, func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from freshly.chassis.data.functions import now
from freshly.chassis.data.pagination import PageQuery, PageRows, paginate
from freshly.chassis.data.queries import Columns, CompiledQuery
from freshly.chassis.data.transactions import Database, DbSession, fetch_within
from freshly.chassis.security.client_info import network_of
from freshly.domains.auth.models import (
    AccountCode,
    AccountLink,
    AuthSession,
    CodePurpose,
    EmailCode,
    LinkPurpose,
    OAuthAccount,
    RefreshToken,
)
from freshly.domains.users.models import User

KEPT_FOR = timedelta(days=7)  # after the expiry
ROWS_PER_COMMIT = 1000
MAX_ADDRESSES = 1000  # of a user's sign-ins
users, auth_sessions = User.__table__.c, AuthSession.__table__.c


@dataclass(frozen=True)
class AccountStatus:
    """The tier and status of a user, their families, and whether the session is active."""

    tier: str
    status: str
    is_administrator: bool
    signed_in: bool
    families: tuple[tuple[int, str], ...]  # family id and role

    @classmethod
    def from_rows(cls, rows: Columns) -> Self | None:
        """Return the status from the rows of a user, a row per family. None without a row."""
        if not rows:
            return None
        tiers, statuses, administrators, signed_in, family_ids, roles = rows.columns.values()
        families = tuple(pair for pair in zip(family_ids, roles, strict=True) if pair[0])
        return cls(tiers[0], statuses[0], bool(administrators[0]), bool(signed_in[0]), families)


class AccountStatusReader:
    """Reads the status of an account in one compiled query.

    Each request runs it unless the status is cached. The families domain is above this one, so
    the caller passes its table, with `user_id`, `family_id`, `role` and an ascending `id`.
    """

    def __init__(self, memberships: FromClause) -> None:
        columns = memberships.c
        self._query = CompiledQuery(
            select(
                users.tier,
                users.status,
                users.is_administrator,
                (auth_sessions.id.is_not(None) & auth_sessions.revoked_at.is_(None)).label(
                    "signed_in"
                ),
                columns.family_id,
                columns.role,
            )
            .select_from(User.__table__)
            .outerjoin(
                AuthSession.__table__,
                and_(
                    auth_sessions.user_id == users.id, auth_sessions.id == bindparam("session_id")
                ),
            )
            .outerjoin(memberships, columns.user_id == users.id)
            .where(users.id == bindparam("user_id"))
            .order_by(columns.id)
        )

    async def of(self, user_id: int, session_id: str, db: Database) -> AccountStatus | None:
        """Return None if there is no such user."""
        return AccountStatus.from_rows(
            await db.fetch(self._query, user_id=user_id, session_id=session_id)
        )

    async def in_session(self, user_id: int, session: AsyncSession) -> AccountStatus | None:
        """Return the status without an active session, read in an open transaction."""
        return AccountStatus.from_rows(
            await fetch_within(session, self._query, user_id=user_id, session_id="")
        )


@dataclass
class AuthSessionRepository:
    """Sessions and their refresh tokens. Not scoped by Access: verified tokens name their ids."""

    session: DbSession

    async def now(self) -> datetime:
        """Return the time of the database, which is the same for all processes."""
        return (await self.session.execute(select(now()))).scalar_one()

    async def begin(self, auth_session: AuthSession, token: RefreshToken) -> None:
        self.session.add(auth_session)
        await self.session.flush()
        self.session.add(token)
        await self.session.flush()

    async def get(self, id: str, *, lock: bool = False) -> AuthSession | None:
        statement = select(AuthSession).where(AuthSession.id == id)
        return await self.session.scalar(statement.with_for_update() if lock else statement)

    async def token(self, id: str) -> RefreshToken | None:
        return await self.session.get(RefreshToken, id)

    async def add(self, token: RefreshToken) -> None:
        self.session.add(token)
        await self.session.flush()

    async def save(self) -> None:
        await self.session.flush()

    async def revoke(self, id: str) -> None:
        await self.session.execute(
            update(AuthSession)
            .where(AuthSession.id == id, AuthSession.revoked_at.is_(None))
            .values(revoked_at=now())
        )

    async def end(self, id: str, user_id: int) -> bool:
        """Revoke an active session of this user. Return False if the user has none with this id."""
        ended: Any = await self.session.execute(
            update(AuthSession)
            .where(AuthSession.id == id, *_active(user_id))
            .values(revoked_at=now())
            .execution_options(synchronize_session=False)
        )
        return bool(ended.rowcount)

    async def page(self, user_id: int, query: PageQuery) -> PageRows[AuthSession]:
        active = select(AuthSession).where(*_active(user_id))
        keys = (AuthSession.created_at, AuthSession.id)
        return await paginate(self.session, active, keys, query, newest_first=True)

    async def revoke_oldest(self, user_id: int, *, keep: int) -> None:
        """Revoke active sessions of a user, except the `keep` that were used last."""
        used_at = func.coalesce(AuthSession.last_used_at, AuthSession.created_at)
        surplus = (
            select(AuthSession.id)
            .where(*_active(user_id))
            .order_by(used_at.desc(), AuthSession.id)
            .offset(keep)
        )
        ids = (await self.session.scalars(surplus)).all()
        if ids:
            await self.session.execute(
                update(AuthSession)
                .where(AuthSession.user_id == user_id, AuthSession.id.in_(ids))
                .values(revoked_at=now())
                .execution_options(synchronize_session=False)
            )

    async def is_known_network(self, user_id: int, network: str) -> bool:
        """Return whether the user has signed in from this network lately."""
        addresses = await self.session.scalars(
            select(AuthSession.address)
            .where(AuthSession.user_id == user_id, AuthSession.address.is_not(None))
            .distinct()
            .limit(MAX_ADDRESSES)
        )
        return network in map(network_of, addresses)

    async def is_known_device(self, user_id: int, network: str, user_agent: str | None) -> bool:
        """Return whether this program has signed the user in from this network before.

        Return True for the user's first sign-in too.
        """
        devices = await self.session.execute(
            select(AuthSession.address, AuthSession.user_agent)
            .where(AuthSession.user_id == user_id)
            .distinct()
            .limit(MAX_ADDRESSES)
        )
        known = {(network_of(address), agent) for address, agent in devices}
        return not known or (network, user_agent) in known

    async def revoke_all(self, user_id: int, *, keep: str = "") -> None:
        """Revoke all sessions of a user but the one with the id `keep`."""
        await self.session.execute(
            update(AuthSession)
            .where(
                AuthSession.user_id == user_id,
                AuthSession.id != keep,
                AuthSession.revoked_at.is_(None),
            )
            .values(revoked_at=now())
        )


def _active(user_id: int) -> tuple[ColumnElement[bool], ...]:
    return (
        AuthSession.user_id == user_id,
        AuthSession.revoked_at.is_(None),
        AuthSession.expires_at > now(),
    )


@dataclass
class CodeRepository:
    """Codes by subject and purpose."""

    session: DbSession

    async def now(self) -> datetime:
        return (await self.session.execute(select(now()))).scalar_one()

    async def of(self, subject: str, purpose: CodePurpose) -> AccountCode | None:
        """Return the code, locked, so that concurrent attempts are all counted."""
        return await self.session.scalar(
            select(AccountCode)
            .where(AccountCode.subject == subject, AccountCode.purpose == purpose)
            .with_for_update()
        )

    async def save(self, code: AccountCode) -> AccountCode:
        """Insert or update a code. Return the other one if another request inserted first."""
        try:
            async with self.session.begin_nested():
                self.session.add(code)
                await self.session.flush()
        except IntegrityError:
            first = await self.of(code.subject, CodePurpose(code.purpose))
            if first is None:
                raise
            return first
        return code

    async def delete(self, code: AccountCode) -> None:
        await self.session.delete(code)
        await self.session.flush()

    async def forget(self, subject: str, purpose: CodePurpose | None = None) -> None:
        """Delete the codes of a subject: all of them, or those for one purpose."""
        codes = delete(AccountCode).where(AccountCode.subject == subject)
        await self.session.execute(
            codes if purpose is None else codes.where(AccountCode.purpose == purpose)
        )
        await self.session.execute(delete(EmailCode).where(EmailCode.address == subject))


@dataclass
class LinkRepository:
    session: DbSession

    async def now(self) -> datetime:
        return (await self.session.execute(select(now()))).scalar_one()

    async def add(self, link: AccountLink) -> None:
        self.session.add(link)
        await self.session.flush()

    async def get(self, id: str, *, lock: bool = False) -> AccountLink | None:
        statement = select(AccountLink).where(AccountLink.id == id)
        return await self.session.scalar(statement.with_for_update() if lock else statement)

    async def delete(self, user_id: int, purpose: LinkPurpose) -> None:
        """Delete the links of a user for this purpose."""
        await self.session.execute(
            delete(AccountLink)
            .where(AccountLink.user_id == user_id, AccountLink.purpose == purpose)
            .execution_options(synchronize_session=False)
        )

    async def delete_with_later(self, link: AccountLink) -> None:
        """Delete a link, and those of its user and purpose that were made after it."""
        is_later = (
            (AccountLink.user_id == link.user_id)
            & (AccountLink.purpose == link.purpose)
            & (AccountLink.created_at > link.created_at)
        )
        await self.session.execute(
            delete(AccountLink)
            .where((AccountLink.id == link.id) | is_later)
            .execution_options(synchronize_session=False)
        )

    async def delete_of_family(self, family_id: int) -> None:
        await self.session.execute(
            delete(AccountLink)
            .where(AccountLink.family_id == family_id)
            .execution_options(synchronize_session=False)
        )


@dataclass
class ExpiredRepository:
    """Expired rows. They are kept for some days, because errors depend on them."""

    session: DbSession

    async def purge(self) -> bool:
        """Delete one batch of each kind of rows. Return True if there may be more."""
        at = (await self.session.execute(select(now()))).scalar_one()
        for table in (AccountCode, EmailCode, AccountLink):
            old = table.expires_at < at - timedelta(days=1)
            await self.session.execute(delete(table).where(old))
        # Deleting a session deletes its tokens. Active sessions lose only expired tokens.
        batch = (
            select(AuthSession.id)
            .where(AuthSession.expires_at < at - KEPT_FOR)
            .limit(ROWS_PER_COMMIT)
        )
        sessions = await self.session.scalars(
            delete(AuthSession)
            .where(AuthSession.id.in_(batch.scalar_subquery()))
            .returning(AuthSession.id)
        )
        batch = (
            select(RefreshToken.id)
            .where(RefreshToken.expires_at < at - KEPT_FOR)
            .limit(ROWS_PER_COMMIT)
        )
        tokens = await self.session.scalars(
            delete(RefreshToken)
            .where(RefreshToken.id.in_(batch.scalar_subquery()))
            .returning(RefreshToken.id)
        )
        return ROWS_PER_COMMIT in (len(sessions.all()), len(tokens.all()))


@dataclass
class OAuthAccountRepository:
    session: DbSession

    async def by_subject(self, subject: str) -> OAuthAccount | None:
        return await self.session.scalar(
            select(OAuthAccount).where(OAuthAccount.supabase_user_id == subject)
        )

    async def of_user(self, user_id: int) -> OAuthAccount | None:
        return await self.session.scalar(
            select(OAuthAccount).where(OAuthAccount.user_id == user_id).order_by(OAuthAccount.id)
        )

    async def unlink(self, user_id: int) -> None:
        """Delete the user's sign-in with Google and Apple."""
        await self.session.execute(
            delete(OAuthAccount)
            .where(OAuthAccount.user_id == user_id)
            .execution_options(synchronize_session=False)
        )

    async def save(self, account: OAuthAccount) -> OAuthAccount:
        self.session.add(account)
        await self.session.flush()
        return account
