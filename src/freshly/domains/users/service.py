from dataclasses import dataclass

from freshly.chassis.dependencies import Injected
from freshly.chassis.security.caller import CurrentCaller
from freshly.chassis.web.schemas import changes
from freshly.domains.users.activity import ActivityLog
from freshly.domains.users.errors import EmailTaken
from freshly.domains.users.models import ActivityKind, User
from freshly.domains.users.repository import UserRepository
from freshly.domains.users.schemas import UserUpdate

NEVER_ONES_OWN_CHOICE = {"status", "tier"}


@dataclass
class UserService:
    caller: CurrentCaller
    users: Injected[UserRepository]
    log: Injected[ActivityLog]

    async def me(self) -> User:
        return await self.users.get(self.caller.user_id)

    async def update_me(self, update: UserUpdate) -> User:
        user = await self.users.get(self.caller.user_id, lock=True)
        wanted = changes(update)
        for field in wanted.keys() - NEVER_ONES_OWN_CHOICE:
            if field == "email":
                await self._change_email(user, wanted[field])
            elif wanted[field] != "":
                setattr(user, field, wanted[field])
        return await self.users.save(user)

    async def locked_me(self) -> User:
        return await self.users.get(self.caller.user_id, lock=True)

    async def delete_me(self) -> None:
        await self.users.delete(await self.locked_me())

    async def _change_email(self, user: User, email: str) -> None:
        other = await self.users.by_email(email)
        if other is not None and other.id != user.id:
            raise EmailTaken
        if user.email != email:
            user.email, user.is_verified = email, False
            await self.log.record(ActivityKind.EMAIL_CHANGE, user.id)
