from freshly.chassis.jobs import JobContext
from freshly.chassis.web.clock import today_in
from freshly.domains.grocery.jobs import Recompute
from freshly.domains.grocery.planned_repository import PlannedListRepository
from freshly.domains.grocery.service import RebuildService


async def recompute(job: Recompute, context: JobContext) -> None:
    """Recompute each list in its own transaction, so that a client waits for one list at most."""
    today = today_in(context.resources.settings)
    async with context.read() as session:
        lists = PlannedListRepository(session)
        plan_ids = await lists.plan_ids(today, family_id=job.family_id, person_id=job.person_id)
        person_id = job.person_id
        if job.family_id is not None:
            person_id = await lists.first_member(job.family_id)
    if person_id is None:  # the family is closed
        return
    for plan_id in plan_ids:
        async with context.write() as session:
            service = await context.service(RebuildService, session, user_id=person_id)
            await service.recompute(plan_id)
