from freshly.chassis.jobs import JobContext, JobQueue
from freshly.chassis.ports.email import Mailer
from freshly.chassis.web.clock import today_in
from freshly.domains.notifications import digest
from freshly.domains.notifications.jobs import DigestForAll, MailWhatExpires, TellWhatExpires
from freshly.domains.notifications.models import Notification, NotificationType
from freshly.domains.notifications.repository import DigestRepository

AT_ONCE = 100  # people to a unit of work


async def digest_for_all(_job: DigestForAll, run: JobContext) -> None:
    day = today_in(run.resources.settings)
    last = 0
    while True:
        async with run.write() as session:
            people = await DigestRepository(session).people(day, after=last, limit=AT_ONCE)
            jobs = JobQueue(session)
            for person_id in people:
                await jobs.enqueue(
                    TellWhatExpires(person_id=person_id, day=day), key=f"digest:{person_id}:{day}"
                )
        if len(people) < AT_ONCE:
            return
        last = people[-1]


async def tell_what_expires(job: TellWhatExpires, run: JobContext) -> None:
    """At most once a day, and not a day late: that it was done is one commit with it."""
    if today_in(run.resources.settings) != job.day:
        return
    async with run.complete() as session:
        digests = DigestRepository(session)
        wanted = await digests.begin(job.person_id, job.day)
        if wanted is None:
            return
        found = await digests.to_use(job.person_id, job.day)
        if found and wanted.in_app:
            await digests.tell(
                Notification(
                    user_id=job.person_id,
                    type=NotificationType.SYSTEM,
                    title=digest.title(found),
                    message=digest.message(found, job.day),
                )
            )
        if found and wanted.by_mail:
            email = MailWhatExpires(person_id=job.person_id, day=job.day)
            await JobQueue(session).enqueue(email)


async def mail_what_expires(job: MailWhatExpires, run: JobContext) -> None:
    """Not a day late, and not to an address that was never confirmed."""
    if today_in(run.resources.settings) != job.day:
        return
    async with run.read() as session:
        digests = DigestRepository(session)
        person = await digests.addressee(job.person_id)
        found = await digests.to_use(job.person_id, job.day)
    if person is None or not found:
        return
    email = digest.email(person.email, person.display_name, found, job.day)
    mailer: Mailer = run.resources.mailer
    await run.ensure_lease()
    await mailer.send(email.with_message_id(run.id))
