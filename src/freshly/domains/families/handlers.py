from freshly.chassis.jobs import JobContext
from freshly.chassis.ports.email import Email, Mailer
from freshly.chassis.security.codes import CodeSigner
from freshly.domains.auth.links import url
from freshly.domains.families import emails
from freshly.domains.families.closed_repository import ClosedFamilyRepository
from freshly.domains.families.jobs import DeleteClosedFamily, RenewInviteCodes, SendFamilyNotice
from freshly.domains.families.repository import CodeRenewal, InvitationRepository
from freshly.settings import Settings


async def send_notice(job: SendFamilyNotice, context: JobContext) -> None:
    mailer: Mailer = context.resources.mailer
    await context.ensure_lease()
    await mailer.send(_notice(job, context.resources.settings).with_message_id(context.id))


def _notice(job: SendFamilyNotice, settings: Settings) -> Email:
    match job.about:
        case "family_closed":
            assert job.link_id is not None
            token = CodeSigner(settings.secret_key.get_secret_value()).token(job.link_id)
            return emails.family_closed(job.address, job.family_name, url(settings, token))
        case "family_restored":
            return emails.family_restored(job.address, job.family_name)
        case "owner_added":
            return emails.owner_added(job.address, job.family_name, job.person or "")
        case "owner_made":
            return emails.owner_made(job.address, job.family_name)
        case "owner_no_more":
            return emails.owner_no_more(job.address, job.family_name)


async def delete_closed(job: DeleteClosedFamily, context: JobContext) -> None:
    async with context.write() as session:
        await ClosedFamilyRepository(session).delete_if_due(job.family_id)


async def renew_invite_codes(_job: RenewInviteCodes, context: JobContext) -> None:
    async with context.write() as session:
        await InvitationRepository(session).purge_expired()
    more = True
    while more:
        async with context.write() as session:
            more = await CodeRenewal(session).renew_expired()
