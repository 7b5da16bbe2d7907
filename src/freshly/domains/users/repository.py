from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import delete, func, select
from sqlalchemy.exc import IntegrityError

from freshly.chassis.data.constraints import violated_constraint
from freshly.chassis.data.functions import now
from freshly.chassis.data.pagination import PageQuery, PageRows, paginate
from freshly.chassis.data.transactions import DbSession
from freshly.domains.users.errors import EmailTaken, UserNotFound
from freshly.domains.users.models import Activity, User
from freshly.domains.users.schemas import normalized

ROWS_PER_COMMIT = 1000
MOST_ALIKE = 20


@dataclass
class UserRepository:
    """Users. Not scoped by Access, because sign-in reads them before authentication."""

    session: DbSession

    async def get(self, id: int, *, lock: bool = False) -> User:
        statement = select(User).where(User.id == id)
        if lock:  # the row may have changed since this session read it
            statement = statement.with_for_update().execution_options(populate_existing=True)
        row = await self.session.scalar(statement)
        if row is None:
            raise UserNotFound
        return row

    async def find(self, id: int) -> User | None:
        return await self.session.get(User, id)

    async def by_email(self, email: str) -> User | None:
        """Return the user with this address in any case.

        If two adopted accounts differ only in case, the exact spelling wins.
        """
        exact_first = (User.email == email).desc()
        return await self.session.scalar(
            select(User)
            .where(func.lower(User.email) == normalized(email))
            .order_by(exact_first, User.id)
            .limit(1)
        )

    async def alike(self) -> Sequence[str]:
        """Return the addresses of accounts that differ from another's only in capitals."""
        small = func.lower(User.email)
        twice = select(small).group_by(small).having(func.count() > 1)
        addresses = await self.session.scalars(
            select(User.email).where(small.in_(twice)).order_by(small, User.id).limit(MOST_ALIKE)
        )
        return addresses.all()

    async def save(self, user: User) -> User:
        try:
            async with self.session.begin_nested():
                self.session.add(user)
                await self.session.flush()
        except IntegrityError as error:
            if violated_constraint(error) == "ix_users_email":
                raise EmailTaken from error
            raise
        return user

    async def delete(self, user: User) -> None:
        await self.session.delete(user)
        await self.session.flush()


@dataclass
class ActivityRepository:
    session: DbSession

    async def add(self, activity: Activity) -> None:
        self.session.add(activity)
        await self.session.flush()

    async def add_or_discard(self, activity: Activity, *, keep: bool) -> None:
        """Insert a row, and undo that unless `keep`. Both take the same time.

        Nothing is stored if the user was deleted in the meantime.
        """
        with suppress(IntegrityError):
            async with self.session.begin_nested() as savepoint:
                await self.add(activity)
                if not keep:
                    await savepoint.rollback()

    async def page(self, user_id: int, query: PageQuery) -> PageRows[Activity]:
        own = select(Activity).where(Activity.user_id == user_id)
        return await paginate(self.session, own, (Activity.id,), query, newest_first=True)

    async def purge(self, older_than: timedelta) -> bool:
        """Delete one batch of old rows. Return True if there may be more."""
        before = (await self.session.execute(select(now()))).scalar_one() - older_than
        batch = select(Activity.id).where(Activity.created_at < before).limit(ROWS_PER_COMMIT)
        deleted = await self.session.scalars(
            delete(Activity).where(Activity.id.in_(batch.scalar_subquery())).returning(Activity.id),
            execution_options={"synchronize_session": False},
        )
        return len(deleted.all()) == ROWS_PER_COMMIT
