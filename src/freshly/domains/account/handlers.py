import time
from pathlib import Path
from tempfile import TemporaryDirectory

from freshly.chassis.errors import Unauthenticated
from freshly.chassis.jobs import JobContext, LeaseLost
from freshly.domains.account.exporting import Exporter
from freshly.domains.account.files import PersonalFiles
from freshly.domains.account.jobs import DeleteClosedAccount, Export, PurgeAccounts, RemoveFiles
from freshly.domains.account.repository import PersonalRowReader
from freshly.domains.account.service import AccountService
from freshly.domains.users.activity import ActivityLog, purge
from freshly.domains.users.models import ActivityKind
from freshly.settings import Settings


async def export(_job: Export, context: JobContext) -> None:
    assert context.user_id is not None
    files = _files(context)
    with TemporaryDirectory(prefix="freshly-export-") as folder:
        zipped = Path(folder) / "export.zip"
        await Exporter(PersonalRowReader(context.db), files).write(context.user_id, zipped)
        await context.ensure_lease()
        path = await files.keep_export(context.user_id, zipped)
    try:
        async with context.complete(_link(context, path)) as session:
            log = await context.service(ActivityLog, session)
            await log.record(ActivityKind.EXPORT, context.user_id)
    except LeaseLost:
        # The link was not stored. After any other error it may be: the commit may have succeeded
        # although its result was lost. Then the purge deletes the file after its lifetime.
        await files.delete_export(path)
        raise


async def delete_closed(job: DeleteClosedAccount, context: JobContext) -> None:
    async with context.write() as session:
        try:
            account = await context.service(AccountService, session, user_id=job.user_id)
        except Unauthenticated:  # the account was deleted meanwhile
            return
        await account.delete_if_due()


async def remove_files(job: RemoveFiles, context: JobContext) -> None:
    await _files(context).remove_all(job.user_id)


async def purge_accounts(_job: PurgeAccounts, context: JobContext) -> None:
    await _files(context).drop_exports(time.time())
    more_to_purge = True
    while more_to_purge:
        async with context.write() as session:
            more_to_purge = await purge(session)


def _files(context: JobContext) -> PersonalFiles:
    return PersonalFiles(context.resources.objects, context.resources.settings)


def _link(context: JobContext, path: str) -> str:
    """Return the URL of an export, which needs a sign-in. Relative if `public_url` is not set."""
    settings: Settings = context.resources.settings
    return f"{settings.public_url or ''}/users/me/exports/{path.rpartition('/')[2]}"
