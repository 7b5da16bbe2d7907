from freshly.chassis.jobs import JobContext
from freshly.domains.families.jobs import RenewInviteCodes
from freshly.domains.families.repository import CodeRenewal, InvitationRepository


async def renew_invite_codes(_job: RenewInviteCodes, context: JobContext) -> None:
    async with context.write() as session:
        await InvitationRepository(session).purge_expired()
    more = True
    while more:
        async with context.write() as session:
            more = await CodeRenewal(session).renew_expired()
