from collections.abc import Callable, Mapping

from freshly.chassis.cache.invalidation import invalidated_tags
from freshly.chassis.data.events import EventBus
from freshly.chassis.jobs import JobContext
from freshly.chassis.ports.email import Email, Mailer
from freshly.chassis.security.caller import IDENTITY
from freshly.chassis.security.codes import CodeSigner
from freshly.domains.auth import emails
from freshly.domains.auth.codes import CodeEmails
from freshly.domains.auth.events import AccountStatusChanged
from freshly.domains.auth.jobs import (
    ForgetCaller,
    PurgeExpired,
    SendCode,
    SendNotice,
    SendSignInNotice,
)
from freshly.domains.auth.links import url
from freshly.domains.auth.repository import ExpiredRepository
from freshly.settings import Settings

NOTICES: Mapping[str, Callable[[str], Email]] = {
    "password_changed": emails.password_changed,
    "email_changed": emails.email_changed,
    "email_change_undone": emails.email_change_undone,
    "account_restored": emails.account_restored,
    "account_deleted": emails.account_deleted,
}
NOTICES_WITH_LINK: Mapping[str, Callable[[str, str], Email]] = {
    "email_change_requested": emails.email_change_requested,
    "account_closed": emails.account_closed,
}


async def send_code(job: SendCode, context: JobContext) -> None:
    """Send nothing if the address has no account or no valid code."""
    async with context.write() as session:
        email = await (await context.service(CodeEmails, session)).of(job)
    if email is not None:
        mailer: Mailer = context.resources.mailer
        await context.ensure_lease()
        await mailer.send(email.with_message_id(context.id))


async def send_notice(job: SendNotice, context: JobContext) -> None:
    mailer: Mailer = context.resources.mailer
    await context.ensure_lease()
    await mailer.send(_notice(job, context.resources.settings).with_message_id(context.id))


async def send_sign_in_notice(job: SendSignInNotice, context: JobContext) -> None:
    mailer: Mailer = context.resources.mailer
    await context.ensure_lease()
    email = emails.new_sign_in(job.address, job.device, job.network)
    await mailer.send(email.with_message_id(context.id))


def _notice(job: SendNotice, settings: Settings) -> Email:
    if job.link_id is None:
        return NOTICES[job.about](job.address)
    token = CodeSigner(settings.secret_key.get_secret_value()).token(job.link_id)
    return NOTICES_WITH_LINK[job.about](job.address, url(settings, token))


async def forget_caller(job: ForgetCaller, context: JobContext) -> None:
    async with context.write() as session:
        invalidated_tags(session.sync_session).add(IDENTITY.person(job.user_id))
        events = await context.service(EventBus, session)
        await events.publish(AccountStatusChanged(job.user_id))


async def purge_expired(_job: PurgeExpired, context: JobContext) -> None:
    more = True
    while more:
        async with context.write() as session:
            more = await ExpiredRepository(session).purge()
