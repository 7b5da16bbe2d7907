from freshly.chassis.jobs import JobContext
from freshly.domains.usage.jobs import PurgeUsage
from freshly.domains.usage.repository import purge_usage


async def purge(_job: PurgeUsage, context: JobContext) -> None:
    async with context.write() as session:
        await purge_usage(session)
