from dataclasses import dataclass
from datetime import timedelta

from freshly.chassis.dependencies import Injected
from freshly.chassis.jobs import JobQueue, JobRead
from freshly.domains.account.jobs import DeleteClosedAccount, Export, RemoveFiles
from freshly.domains.account.repository import PersonalPlanRepository
from freshly.domains.auth.closing import DELETED_AFTER, AccountClosing
from freshly.domains.auth.codes import CodeService
from freshly.domains.auth.jobs import SendNotice
from freshly.domains.auth.proof import Proof
from freshly.domains.families.service import FamilyService
from freshly.domains.users.activity import ActivityLog
from freshly.domains.users.models import ActivityKind, Outcome
from freshly.domains.users.service import UserService

# Upload links are valid for ten minutes, and a generated picture may be stored even later. A second
# job deletes files that arrive after the account is deleted.
LATE_UPLOADS_DELAY = timedelta(hours=1)


@dataclass
class AccountService:
    families: Injected[FamilyService]
    users: Injected[UserService]
    codes: Injected[CodeService]
    personal_plans: Injected[PersonalPlanRepository]
    log: Injected[ActivityLog]
    jobs: Injected[JobQueue]
    proof: Injected[Proof]
    closing: Injected[AccountClosing]

    async def export(self) -> JobRead:
        """Enqueue an export of the caller's data. If one is waiting already, return its job.

        Raise ReauthenticationRequired.
        """
        await self.proof.require()
        user_id = self.users.caller.user_id
        await self.log.record(ActivityKind.EXPORT, user_id, outcome=Outcome.ASKED)
        job = await self.jobs.enqueue(Export(), user_id=user_id, key=f"export:{user_id}")
        return JobRead.model_validate(job)

    async def delete(self) -> None:
        """Delete the caller's account with proof. Without proof, close it for seven days."""
        if await self.proof.is_given():
            await self.delete_for_good()
            return
        user = await self.users.locked_me()
        await self.closing.close(user)
        # Without a key: the job of an earlier closing may still wait, and would run too soon.
        await self.jobs.enqueue(DeleteClosedAccount(user_id=user.id), delay=DELETED_AFTER)

    async def delete_if_due(self) -> None:
        """Delete the account if it was closed seven days ago and not opened again."""
        if await self.closing.is_due(self.users.caller.user_id):
            await self.delete_for_good()

    async def delete_for_good(self) -> None:
        """Delete the caller's account and all rows of the caller. Lock the user.

        Each family keeps an owner. Foreign keys delete most rows; jobs delete the files after the
        commit.
        """
        await self.families.leave_all()
        user = await self.users.locked_me()
        await self.families.leave_all()  # again: families created or joined before the lock
        await self.personal_plans.delete_of(user.id)
        await self.codes.forget(user.email, user.id)
        await self.users.delete_me()
        await self.log.record_deletion()
        if user.is_verified:
            await self.jobs.enqueue(SendNotice(address=user.email, about="account_deleted"))
        for delay in (None, LATE_UPLOADS_DELAY):
            await self.jobs.enqueue(RemoveFiles(user_id=user.id), delay=delay)
