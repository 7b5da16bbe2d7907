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


async def export(_job: Export, run: JobContext) -> None:
    assert run.user_id is not None
    files = _files(run)
    with TemporaryDirectory(prefix="freshly-export-") as folder:
        zipped = Path(folder) / "export.zip"
        await Exporter(PersonalRowReader(run.db), files).write(run.user_id, zipped)
        await run.ensure_lease()
        path = await files.keep_export(run.user_id, zipped)
    try:
        async with run.complete(_link(run, path)) as session:
            log = await run.service(ActivityLog, session)
            await log.record(ActivityKind.EXPORT, run.user_id)
    except LeaseLost:
        # The link was not stored. After any other error it may be: the commit may have succeeded
        # although its result was lost. Then the purge deletes the file after its lifetime.
        await files.delete_export(path)
        raise


async def delete_closed(job: DeleteClosedAccount, run: JobContext) -> None:
    async with run.write() as session:
        try:
            account = await run.service(AccountService, session, user_id=job.user_id)
        except Unauthenticated:  # the account was deleted meanwhile
            return
        await account.delete_if_due()


async def remove_files(job: RemoveFiles, run: JobContext) -> None:
    await _files(run).remove_all(job.user_id)


async def purge_accounts(_job: PurgeAccounts, run: JobContext) -> None:
    await _files(run).drop_exports(time.time())
    more_to_purge = True
    while more_to_purge:
        async with run.write() as session:
            more_to_purge = await purge(session)


def _files(run: JobContext) -> PersonalFiles:
    return PersonalFiles(run.resources.objects, run.resources.settings)


def _link(run: JobContext, path: str) -> str:
    """Return the URL of an export, which needs a sign-in. Relative if `public_url` is not set."""
    settings: Settings = run.resources.settings
    return f"{(settings.public_url or '').rstrip('/')}/users/me/exports/{path.rpartition('/')[2]}"
