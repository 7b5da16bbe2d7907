from freshly.chassis.jobs import Run
from freshly.domains.usage.jobs import PurgeUsage
from freshly.domains.usage.repository import purge_usage


async def purge(_job: PurgeUsage, run: Run) -> None:
    async with run.writing() as session:
        await purge_usage(session)
