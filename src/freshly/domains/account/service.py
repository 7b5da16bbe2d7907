from dataclasses import dataclass
from datetime import timedelta

from freshly.chassis.dependencies import Injected
from freshly.chassis.jobs import JobQueue, JobRead
from freshly.domains.account.jobs import Export, RemoveFiles
from freshly.domains.account.repository import Remains
from freshly.domains.auth.codes import CodeService
from freshly.domains.auth.jobs import SendNotice
from freshly.domains.families.service import FamilyService
from freshly.domains.ingredients.service import AddedIngredients
from freshly.domains.users.activity import ActivityLog
from freshly.domains.users.models import ActivityKind, Outcome
from freshly.domains.users.schemas import normalized
from freshly.domains.users.service import UserService

# A link to upload by holds for ten minutes, and a picture that is being drawn arrives when it is
# done: what comes after the person is gone is removed too.
LAST_UPLOADS = timedelta(hours=1)


@dataclass
class AccountService:
    families: Injected[FamilyService]
    users: Injected[UserService]
    codes: Injected[CodeService]
    remains: Injected[Remains]
    ingredients: Injected[AddedIngredients]
    log: Injected[ActivityLog]
    jobs: Injected[JobQueue]

    async def export(self) -> JobRead:
        """Has everything of the caller collected; asked for twice, it is done once."""
        user_id = self.users.caller.user_id
        await self.log.record(ActivityKind.EXPORT, user_id, outcome=Outcome.ASKED)
        job = await self.jobs.enqueue(Export(), user_id=user_id, key=f"export:{user_id}")
        return JobRead.model_validate(job)

    async def delete(self) -> None:
        """The person and every row of theirs; families stay owned.

        The foreign keys take most along; files go once this is committed.
        """
        await self.families.leave_all()
        user = await self.users.locked_me()
        await self.families.leave_all()  # one that was founded or joined meanwhile
        added = await self.ingredients.ids_of(user.id)
        await self.remains.drop_personal_plans(user.id)
        await self.codes.forget(normalized(user.email))
        await self.users.delete_me()
        await self.ingredients.delete_unused(added, user.id)
        await self.log.record_deletion()
        if user.is_verified:
            await self.jobs.enqueue(SendNotice(address=user.email, about="account_deleted"))
        for delay in (None, LAST_UPLOADS):
            await self.jobs.enqueue(RemoveFiles(user_id=user.id), delay=delay)
