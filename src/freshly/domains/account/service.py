from dataclasses import dataclass

from freshly.chassis.injection import Injected
from freshly.domains.account.repository import Remains
from freshly.domains.auth.repository import CodeRepository
from freshly.domains.families.service import FamilyService
from freshly.domains.ingredients.repository import OwnAdditions
from freshly.domains.users.activity import ActivityLog
from freshly.domains.users.schemas import normalized
from freshly.domains.users.service import UserService


@dataclass
class AccountService:
    families: Injected[FamilyService]
    users: Injected[UserService]
    codes: Injected[CodeRepository]
    remains: Injected[Remains]
    additions: Injected[OwnAdditions]
    log: Injected[ActivityLog]

    async def delete(self) -> int:
        """The person and every row of theirs; families stay owned.

        The foreign keys take most along. Returns whose files are to be removed, once this is done.
        """
        await self.families.leave_all()
        user = await self.users.locked_me()
        await self.families.leave_all()  # one that was founded or joined meanwhile
        added = await self.additions.of(user.id)
        await self.remains.drop_personal_plans(user.id)
        await self.codes.forget(normalized(user.email))
        await self.users.delete_me()
        await self.additions.drop_unused(added, user.id)
        await self.log.note_deletion()
        return user.id
