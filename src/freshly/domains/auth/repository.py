from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import and_, select, update

from freshly.chassis.columns import now
from freshly.chassis.database import DbSession
from freshly.domains.auth.models import RefreshToken, SignIn
from freshly.domains.users.models import User


@dataclass
class SignInRepository:
    """Sign-ins and their refresh tokens, by the claims of a verified token."""

    session: DbSession

    async def now(self) -> datetime:
        """The database's clock decides, as it does for every process."""
        return (await self.session.execute(select(now()))).scalar_one()

    async def begin(self, sign_in: SignIn, token: RefreshToken) -> None:
        self.session.add(sign_in)
        await self.session.flush()
        self.session.add(token)
        await self.session.flush()

    async def get(self, id: str, *, lock: bool = False) -> SignIn | None:
        statement = select(SignIn).where(SignIn.id == id)
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
            update(SignIn)
            .where(SignIn.id == id, SignIn.revoked_at.is_(None))
            .values(revoked_at=now())
        )

    async def standing(self, user_id: int, sign_in_id: str) -> tuple[str, bool] | None:
        """The person's tier, and whether this sign-in of theirs stands; None without a person."""
        theirs = and_(SignIn.user_id == User.id, SignIn.id == sign_in_id)
        row = (
            await self.session.execute(
                select(User.tier, SignIn.id, SignIn.revoked_at)
                .outerjoin(SignIn, theirs)
                .where(User.id == user_id)
            )
        ).one_or_none()
        return (row[0], row[1] is not None and row[2] is None) if row else None
