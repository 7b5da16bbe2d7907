from dataclasses import dataclass

from freshly.chassis.data.events import EventBus
from freshly.chassis.data.transactions import DbSession
from freshly.chassis.dependencies import Injected
from freshly.chassis.security.caller import CurrentCaller
from freshly.chassis.web.rate_limiting import CallLimits
from freshly.chassis.web.schemas import assign, changes
from freshly.domains.users.activity import ActivityLog
from freshly.domains.users.errors import EmailTaken
from freshly.domains.users.events import EmailChangeRequested
from freshly.domains.users.models import ActivityKind, Outcome, User
from freshly.domains.users.repository import UserRepository
from freshly.domains.users.schemas import UserUpdate

SET_BY_SERVER = {"status", "tier"}
EMAIL_CHANGES = "email-change"  # limited by user, and by the new address


@dataclass
class UserDirectory:
    """Users by id or email address, for the domains above, which check who may ask."""

    session: DbSession

    async def get(self, id: int, *, lock: bool = False) -> User:
        """Return the user, locked if asked to. Raise UserNotFound."""
        return await self._users.get(id, lock=lock)

    async def by_id(self, id: int) -> User | None:
        """Return the user, or None if the account was deleted."""
        return await self._users.find(id)

    async def by_email(self, email: str) -> User | None:
        """Return the user with this address in any case. The exact spelling wins."""
        return await self._users.by_email(email)

    async def save(self, user: User) -> User:
        """Insert or update a user. Raise EmailTaken."""
        return await self._users.save(user)

    @property
    def _users(self) -> UserRepository:
        return UserRepository(self.session)


@dataclass
class UserService:
    caller: CurrentCaller
    users: Injected[UserRepository]
    events: Injected[EventBus]
    limits: Injected[CallLimits]
    log: Injected[ActivityLog]

    async def me(self) -> User:
        return await self.users.get(self.caller.user_id)

    async def update_me(self, update: UserUpdate) -> User:
        user = await self.users.get(self.caller.user_id, lock=True)
        values = {
            field: value
            for field, value in changes(update).items()
            if value != "" and field not in SET_BY_SERVER
        }
        if (email := values.pop("email", None)) is not None:
            await self._request_email(user, email)
        assign(user, values)
        return await self.users.save(user)

    async def locked_me(self) -> User:
        return await self.users.get(self.caller.user_id, lock=True)

    async def delete_me(self) -> None:
        await self.users.delete(await self.locked_me())

    async def _request_email(self, user: User, email: str) -> None:
        """Keep a new address pending. The user's own address cancels the change."""
        other = await self.users.by_email(email)
        if other is not None and other.id != user.id:
            raise EmailTaken
        if user.email == email:
            user.pending_email = None
            return
        if user.pending_email == email:  # the app sends the whole profile again
            return
        # By address too, so that an account floods no other mailbox.
        await self.limits.count(EMAIL_CHANGES, {f"user:{user.id}": 1, email: 1})
        user.pending_email = email
        await self.users.save(user)
        await self.log.record(ActivityKind.EMAIL_CHANGE, user.id, outcome=Outcome.ASKED)
        await self.events.publish(EmailChangeRequested(user.id, user.email, email))
