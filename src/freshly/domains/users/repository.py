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

AT_ONCE = 1000  # rows of one commit


@dataclass
class UserRepository:
    """People. No Access: they are looked up before anybody is known to be anybody."""

    session: DbSession

    async def get(self, id: int, *, lock: bool = False) -> User:
        statement = select(User).where(User.id == id)
        row = await self.session.scalar(statement.with_for_update() if lock else statement)
        if row is None:
            raise UserNotFound
        return row

    async def by_email(self, email: str) -> User | None:
        """Whatever the case; of two adopted accounts that differ in case, the exact one."""
        exact_first = (User.email == email).desc()
        return await self.session.scalar(
            select(User)
            .where(func.lower(User.email) == normalized(email))
            .order_by(exact_first, User.id)
            .limit(1)
        )

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

    async def add_alike(self, activity: Activity, *, keep: bool) -> None:
        """What is not kept takes the same time; nor is what belongs to somebody just gone."""
        with suppress(IntegrityError):
            async with self.session.begin_nested() as savepoint:
                await self.add(activity)
                if not keep:
                    await savepoint.rollback()

    async def page(self, user_id: int, query: PageQuery) -> PageRows[Activity]:
        own = select(Activity).where(Activity.user_id == user_id)
        return await paginate(self.session, own, (Activity.id,), query, newest_first=True)

    async def purge(self, older_than: timedelta) -> bool:
        """Some rows; whether there may be more."""
        at = (await self.session.execute(select(now()))).scalar_one()
        some = select(Activity.id).where(Activity.created_at < at - older_than).limit(AT_ONCE)
        gone = await self.session.scalars(
            delete(Activity).where(Activity.id.in_(some.scalar_subquery())).returning(Activity.id),
            execution_options={"synchronize_session": False},
        )
        return len(gone.all()) == AT_ONCE
