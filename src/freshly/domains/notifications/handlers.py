from freshly.chassis.jobs import JobContext, JobQueue
from freshly.chassis.ports.email import Mailer
from freshly.chassis.web.clock import today_in
from freshly.domains.notifications import digest
from freshly.domains.notifications.jobs import DigestForAll, SendDigest, SendDigestEmail
from freshly.domains.notifications.models import Notification, NotificationType
from freshly.domains.notifications.repository import DigestRepository

USERS_PER_TRANSACTION = 100


async def digest_for_all(_job: DigestForAll, context: JobContext) -> None:
    day = today_in(context.resources.settings)
    last_user_id = 0
    while True:
        async with context.write() as session:
            user_ids = await DigestRepository(session).users_to_notify(
                day, after=last_user_id, limit=USERS_PER_TRANSACTION
            )
            jobs = JobQueue(session)
            for user_id in user_ids:
                await jobs.enqueue(
                    SendDigest(person_id=user_id, day=day), key=f"digest:{user_id}:{day}"
                )
        if len(user_ids) < USERS_PER_TRANSACTION:
            return
        last_user_id = user_ids[-1]


async def send_digest(job: SendDigest, context: JobContext) -> None:
    """Send the digest of a day, at most once and never on a later day.

    The notification and the note that the day is done are committed together.
    """
    if today_in(context.resources.settings) != job.day:
        return
    async with context.complete() as session:
        digests = DigestRepository(session)
        choice = await digests.start(job.person_id, job.day)
        if choice is None:
            return
        foods = await digests.expiring_foods(job.person_id, job.day)
        if foods and choice.in_app:
            await digests.add(
                Notification(
                    user_id=job.person_id,
                    type=NotificationType.SYSTEM,
                    title=digest.title(foods),
                    message=digest.message(foods, job.day),
                )
            )
        if foods and choice.by_mail:
            email = SendDigestEmail(person_id=job.person_id, day=job.day)
            await JobQueue(session).enqueue(email)


async def send_digest_email(job: SendDigestEmail, context: JobContext) -> None:
    """Send the email of a day, never on a later day and never to an unconfirmed address."""
    if today_in(context.resources.settings) != job.day:
        return
    async with context.read() as session:
        digests = DigestRepository(session)
        recipient = await digests.email_recipient(job.person_id)
        foods = await digests.expiring_foods(job.person_id, job.day)
    if recipient is None or not foods:
        return
    email = digest.email(recipient.email, recipient.name, foods, job.day)
    mailer: Mailer = context.resources.mailer
    await context.ensure_lease()
    await mailer.send(email.with_message_id(context.id))
