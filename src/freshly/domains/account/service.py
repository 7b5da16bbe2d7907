from dataclasses import dataclass

from freshly.chassis.injection import Injected
from freshly.domains.families.service import FamilyService
from freshly.domains.users.service import UserService


@dataclass
class AccountService:
    families: Injected[FamilyService]
    users: Injected[UserService]

    async def delete(self) -> None:
        """The person and every row of theirs (the foreign keys cascade); families stay owned."""
        await self.families.leave_all()
        await self.users.delete_me()
