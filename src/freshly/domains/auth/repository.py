from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Self

from sqlalchemy import ColumnElement, FromClause, and_, bindparam, delete, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from freshly.chassis.data.functions import now
from freshly.chassis.data.pagination import PageQuery, PageRows, paginate
from freshly.chassis.data.queries import CompiledQuery, Found
from freshly.chassis.data.transactions import Database, DbSession, fetch_within
from freshly.domains.auth.models import (
    AuthSession,
    CodePurpose,
    EmailCode,
    OAuthAccount,
    RefreshToken,
)
from freshly.domains.users.models import User

KEPT = timedelta(days=7)  # after it has expired
AT_ONCE = 1000  # rows of one commit
users, sign_ins = User.__table__.c, AuthSession.__table__.c


@dataclass(frozen=True)
class AccountStatus:
    """A person's tier, whether a sign-in of theirs stands, and their families with the roles."""

    tier: str
    signed_in: bool
    families: tuple[tuple[int, str], ...]

    @classmethod
    def told(cls, found: Found) -> Self | None:
        """By the rows of a person, one for each family; None without a person."""
        if not found:
            return None
        tiers, signed_in, families, roles = found.columns.values()
        by_family = zip(families, roles, strict=True)
        return cls(tiers[0], bool(signed_in[0]), tuple(one for one in by_family if one[0]))


class StandingRepository:
    """Asked at every request that finds nobody in the cache, so it is one statement, built once.

    Families are a domain above this one, so their table (`user_id`, `family_id`, `role`, and an
    `id` that grows) is given to it.
    """

    def __init__(self, memberships: FromClause) -> None:
        of = memberships.c
        self._question = CompiledQuery(
            select(
                users.tier,
                (sign_ins.id.is_not(None) & sign_ins.revoked_at.is_(None)).label("signed_in"),
                of.family_id,
                of.role,
            )
            .select_from(User.__table__)
            .outerjoin(
                AuthSession.__table__,
                and_(sign_ins.user_id == users.id, sign_ins.id == bindparam("sign_in_id")),
            )
            .outerjoin(memberships, of.user_id == users.id)
            .where(users.id == bindparam("user_id"))
            .order_by(of.id)
        )

    async def of(self, user_id: int, sign_in_id: str, db: Database) -> AccountStatus | None:
        """None without such a person."""
        return AccountStatus.told(
            await db.fetch(self._question, user_id=user_id, sign_in_id=sign_in_id)
        )

    async def in_session(self, user_id: int, session: AsyncSession) -> AccountStatus | None:
        """Without a sign-in, in a unit of work that is open already."""
        return AccountStatus.told(
            await fetch_within(session, self._question, user_id=user_id, sign_in_id="")
        )


@dataclass
class SignInRepository:
    """Sign-ins and their refresh tokens, by the claims of a verified token."""

    session: DbSession

    async def now(self) -> datetime:
        """The database's clock decides, as it does for every process."""
        return (await self.session.execute(select(now()))).scalar_one()

    async def begin(self, sign_in: AuthSession, token: RefreshToken) -> None:
        self.session.add(sign_in)
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
        """Whether it is a standing one of this person, which it is no more."""
        done: Any = await self.session.execute(
            update(AuthSession)
            .where(AuthSession.id == id, *_standing(user_id))
            .values(revoked_at=now())
            .execution_options(synchronize_session=False)
        )
        return bool(done.rowcount)

    async def page(self, user_id: int, query: PageQuery) -> PageRows[AuthSession]:
        found = select(AuthSession).where(*_standing(user_id))
        keys = (AuthSession.created_at, AuthSession.id)
        return await paginate(self.session, found, keys, query, newest_first=True)

    async def revoke_all(self, user_id: int) -> None:
        await self.session.execute(
            update(AuthSession)
            .where(AuthSession.user_id == user_id, AuthSession.revoked_at.is_(None))
            .values(revoked_at=now())
        )


def _standing(user_id: int) -> tuple[ColumnElement[bool], ...]:
    return (
        AuthSession.user_id == user_id,
        AuthSession.revoked_at.is_(None),
        AuthSession.expires_at > now(),
    )


@dataclass
class CodeRepository:
    """Codes by the address they were asked for at."""

    session: DbSession

    async def now(self) -> datetime:
        return (await self.session.execute(select(now()))).scalar_one()

    async def of(self, address: str, purpose: CodePurpose) -> EmailCode | None:
        """Locked: tries take turns, so that none is lost."""
        return await self.session.scalar(
            select(EmailCode)
            .where(EmailCode.address == address, EmailCode.purpose == purpose)
            .with_for_update()
        )

    async def save(self, code: EmailCode) -> EmailCode:
        """The one that is kept: another request may have been first."""
        try:
            async with self.session.begin_nested():
                self.session.add(code)
                await self.session.flush()
        except IntegrityError:
            first = await self.of(code.address, CodePurpose(code.purpose))
            if first is None:
                raise
            return first
        return code

    async def delete(self, code: EmailCode) -> None:
        await self.session.delete(code)
        await self.session.flush()

    async def forget(self, address: str) -> None:
        """Delete all codes of an address."""
        await self.session.execute(delete(EmailCode).where(EmailCode.address == address))


@dataclass
class ExpiredRepository:
    """What is of no use any more, and is kept a little longer for the answers that it gives."""

    session: DbSession

    async def purge(self) -> bool:
        """Some rows of each kind; whether there may be more."""
        at = (await self.session.execute(select(now()))).scalar_one()
        old_codes = EmailCode.expires_at < at - timedelta(days=1)
        await self.session.execute(delete(EmailCode).where(old_codes))
        # Tokens go with their sign-in; those of one that lives on, once they can be used no more.
        some = select(AuthSession.id).where(AuthSession.expires_at < at - KEPT).limit(AT_ONCE)
        sign_ins = await self.session.scalars(
            delete(AuthSession)
            .where(AuthSession.id.in_(some.scalar_subquery()))
            .returning(AuthSession.id)
        )
        some = select(RefreshToken.id).where(RefreshToken.expires_at < at - KEPT).limit(AT_ONCE)
        tokens = await self.session.scalars(
            delete(RefreshToken)
            .where(RefreshToken.id.in_(some.scalar_subquery()))
            .returning(RefreshToken.id)
        )
        return AT_ONCE in (len(sign_ins.all()), len(tokens.all()))


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

    async def save(self, account: OAuthAccount) -> OAuthAccount:
        self.session.add(account)
        await self.session.flush()
        return account
