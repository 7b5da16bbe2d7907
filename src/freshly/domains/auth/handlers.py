from collections.abc import Callable, Mapping

from freshly.chassis.jobs import JobContext
from freshly.chassis.ports.email import Email, Mailer
from freshly.domains.auth import emails
from freshly.domains.auth.codes import CodeEmails
from freshly.domains.auth.jobs import PurgeExpired, SendCode, SendNotice
from freshly.domains.auth.repository import ExpiredRepository

NOTICES: Mapping[str, Callable[[str], Email]] = {
    "password_changed": emails.password_changed,
    "account_deleted": emails.account_deleted,
}


async def send_code(job: SendCode, run: JobContext) -> None:
    """Send nothing if the address has no account or no valid code."""
    async with run.write() as session:
        email = await (await run.service(CodeEmails, session)).of(job.address, job.purpose)
    if email is not None:
        mailer: Mailer = run.resources.mailer
        await run.ensure_lease()
        await mailer.send(email.with_message_id(run.id))


async def send_notice(job: SendNotice, run: JobContext) -> None:
    mailer: Mailer = run.resources.mailer
    await run.ensure_lease()
    await mailer.send(NOTICES[job.about](job.address).with_message_id(run.id))


async def purge_expired(_job: PurgeExpired, run: JobContext) -> None:
    more = True
    while more:
        async with run.write() as session:
            more = await ExpiredRepository(session).purge()
