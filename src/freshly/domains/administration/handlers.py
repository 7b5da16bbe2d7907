from freshly.chassis.jobs import JobContext
from freshly.domains.administration.jobs import PurgeAdministration
from freshly.domains.administration.repository import ActRepository, SignUpInvitationRepository


async def purge(_job: PurgeAdministration, context: JobContext) -> None:
    more = True
    while more:
        async with context.write() as session:
            await SignUpInvitationRepository(session).purge_expired()
            more = await ActRepository(session).purge()
