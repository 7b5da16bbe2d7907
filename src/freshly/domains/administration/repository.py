from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, Select, delete, func, or_, select

from freshly.chassis.data.functions import now, unicode_lower
from freshly.chassis.data.pagination import PageQuery, PageRows, paginate
from freshly.chassis.data.transactions import DbSession
from freshly.domains.administration.errors import AccountNotFound
from freshly.domains.administration.models import AdministratorAct, SignUpInvitation
from freshly.domains.administration.schemas import AccountQuery, ActQuery
from freshly.domains.auth.models import AuthSession
from freshly.domains.users.models import User, UserStatus

ACTS_KEPT_FOR = timedelta(days=365)
ROWS_PER_COMMIT = 1000
# Named one by one: administrators see no column that is added later, unless it is added here.
SEEN = (
    *(User.id, User.email, User.name, User.status, User.tier, User.is_verified),
    *(User.is_administrator, User.created_at, User.delete_after),
)


@dataclass
class AccountRepository:
    """Accounts as administrators see them. Its callers check that right."""

    session: DbSession

    async def page(self, query: AccountQuery) -> PageRows[Row[Any]]:
        return await paginate(
            self.session, _matching(query), (User.id,), query, columns=True, newest_first=True
        )

    async def read(self, id: int) -> Row[Any]:
        """Return the account. Raise AccountNotFound."""
        found = await self.session.execute(_accounts().where(User.id == id))
        row: Row[Any] | None = found.one_or_none()
        if row is None:
            raise AccountNotFound
        return row

    async def active_administrators(self, *, lock: bool = False) -> Sequence[int]:
        """Return the ids of active administrators, locked in ascending order if asked to."""
        statement = (
            select(User.id)
            .where(User.is_administrator.is_(True), User.status == UserStatus.ACTIVE)
            .order_by(User.id)
        )
        ids = await self.session.scalars(statement.with_for_update() if lock else statement)
        return ids.all()


def _accounts() -> Select[Any]:
    last_seen = (
        select(func.max(func.coalesce(AuthSession.last_used_at, AuthSession.created_at)))
        .where(AuthSession.user_id == User.id)
        .scalar_subquery()
    )
    columns: list[Any] = [*SEEN, last_seen.label("last_seen_at")]
    return select(*columns)


def _matching(query: AccountQuery) -> Select[Any]:
    statement = _accounts()
    if query.search:
        part = query.search.lower()
        found = [
            unicode_lower(column).contains(part, autoescape=True)
            for column in (User.email, User.name)
        ]
        statement = statement.where(or_(*found))
    if query.status is not None:
        statement = statement.where(User.status == query.status)
    if query.tier is not None:
        statement = statement.where(User.tier == query.tier)
    if query.administrators:
        statement = statement.where(User.is_administrator.is_(True))
    return statement


@dataclass
class ActRepository:
    session: DbSession

    async def add(self, act: AdministratorAct) -> None:
        self.session.add(act)
        await self.session.flush()

    async def page(self, query: ActQuery) -> PageRows[AdministratorAct]:
        acts = select(AdministratorAct)
        if query.account_id is not None:
            acts = acts.where(AdministratorAct.account_id == query.account_id)
        keys = (AdministratorAct.id,)
        return await paginate(self.session, acts, keys, query, newest_first=True)

    async def purge(self) -> bool:
        """Delete one batch of old acts. Return True if there may be more."""
        at = (await self.session.execute(select(now()))).scalar_one()
        batch = (
            select(AdministratorAct.id)
            .where(AdministratorAct.created_at < at - ACTS_KEPT_FOR)
            .limit(ROWS_PER_COMMIT)
        )
        deleted = await self.session.scalars(
            delete(AdministratorAct)
            .where(AdministratorAct.id.in_(batch.scalar_subquery()))
            .returning(AdministratorAct.id),
            execution_options={"synchronize_session": False},
        )
        return len(deleted.all()) == ROWS_PER_COMMIT


@dataclass
class SignUpInvitationRepository:
    """Invitations to create an account. Its callers check the administrator, or the token."""

    session: DbSession

    async def now(self) -> datetime:
        return (await self.session.execute(select(now()))).scalar_one()

    async def add(self, invitation: SignUpInvitation) -> SignUpInvitation:
        self.session.add(invitation)
        await self.session.flush()
        return invitation

    async def get(self, id: str, *, lock: bool = False) -> SignUpInvitation | None:
        """Return the invitation if it has not expired."""
        statement = _open().where(SignUpInvitation.id == id)
        if lock:
            statement = statement.with_for_update().execution_options(populate_existing=True)
        return await self.session.scalar(statement)

    async def page(self, query: PageQuery) -> PageRows[SignUpInvitation]:
        keys = (SignUpInvitation.created_at, SignUpInvitation.id)
        listed = _open().where(SignUpInvitation.is_set_up.is_(False))
        return await paginate(self.session, listed, keys, query, newest_first=True)

    async def set_up(self) -> SignUpInvitation | None:
        """Return the set-up link that lasts longest."""
        found = _open().where(SignUpInvitation.is_set_up.is_(True))
        return await self.session.scalar(
            found.order_by(SignUpInvitation.expires_at.desc()).limit(1)
        )

    async def delete(self, invitation: SignUpInvitation) -> None:
        await self.session.delete(invitation)
        await self.session.flush()

    async def delete_set_up(self) -> None:
        await self.session.execute(
            delete(SignUpInvitation)
            .where(SignUpInvitation.is_set_up.is_(True))
            .execution_options(synchronize_session=False)
        )

    async def purge_expired(self) -> None:
        await self.session.execute(
            delete(SignUpInvitation)
            .where(SignUpInvitation.expires_at <= now())
            .execution_options(synchronize_session=False)
        )


def _open() -> Select[SignUpInvitation]:
    return select(SignUpInvitation).where(SignUpInvitation.expires_at > now())
