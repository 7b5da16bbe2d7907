"""Handlers and schedules of all jobs, and the worker that runs them."""

from datetime import time, timedelta

from freshly.chassis.backup.jobs import MakeBackup, make_backup
from freshly.chassis.jobs import Handlers, Schedule, daily, every
from freshly.chassis.jobs.retention import (
    PurgeIdempotencyRecords,
    PurgeJobs,
    purge_idempotency_records,
    purge_jobs,
)
from freshly.chassis.jobs.worker import Worker
from freshly.chassis.resources import Resources
from freshly.domains.account.handlers import delete_closed, export, purge_accounts, remove_files
from freshly.domains.account.jobs import (
    DeleteClosedAccount,
    Export,
    PurgeAccounts,
    RemoveFiles,
    WarmUp,
)
from freshly.domains.account.warming import warm_up
from freshly.domains.administration.handlers import purge as purge_administration
from freshly.domains.administration.jobs import PurgeAdministration
from freshly.domains.auth.handlers import (
    forget_caller,
    purge_expired,
    send_code,
    send_notice,
    send_sign_in_notice,
)
from freshly.domains.auth.jobs import (
    ForgetCaller,
    PurgeExpired,
    SendCode,
    SendNotice,
    SendSignInNotice,
)
from freshly.domains.families.handlers import delete_closed as delete_closed_family
from freshly.domains.families.handlers import renew_invite_codes
from freshly.domains.families.handlers import send_notice as send_family_notice
from freshly.domains.families.jobs import DeleteClosedFamily, RenewInviteCodes, SendFamilyNotice
from freshly.domains.grocery.handlers import recompute
from freshly.domains.grocery.jobs import Recompute
from freshly.domains.notifications.handlers import (
    digest_for_all,
    send_digest,
    send_digest_email,
)
from freshly.domains.notifications.jobs import DigestForAll, SendDigest, SendDigestEmail
from freshly.domains.pantry.handlers import draw_picture, remove_picture, sweep_pictures
from freshly.domains.pantry.jobs import DrawPicture, RemovePicture, SweepPictures
from freshly.domains.storage.handlers import make_small_avatar
from freshly.domains.storage.jobs import MakeSmallAvatar
from freshly.domains.usage.handlers import purge as purge_usage
from freshly.domains.usage.jobs import PurgeUsage

HANDLERS: Handlers = {
    SendCode: send_code,
    SendNotice: send_notice,
    SendSignInNotice: send_sign_in_notice,
    ForgetCaller: forget_caller,
    PurgeExpired: purge_expired,
    PurgeAdministration: purge_administration,
    PurgeJobs: purge_jobs,
    PurgeIdempotencyRecords: purge_idempotency_records,
    PurgeUsage: purge_usage,
    RenewInviteCodes: renew_invite_codes,
    DeleteClosedFamily: delete_closed_family,
    SendFamilyNotice: send_family_notice,
    Export: export,
    Recompute: recompute,
    DrawPicture: draw_picture,
    RemovePicture: remove_picture,
    SweepPictures: sweep_pictures,
    DigestForAll: digest_for_all,
    SendDigest: send_digest,
    SendDigestEmail: send_digest_email,
    DeleteClosedAccount: delete_closed,
    RemoveFiles: remove_files,
    PurgeAccounts: purge_accounts,
    WarmUp: warm_up,
    MakeSmallAvatar: make_small_avatar,
    MakeBackup: make_backup,
}
SCHEDULES = (
    Schedule(PurgeExpired(), every(timedelta(hours=1))),
    Schedule(PurgeAdministration(), every(timedelta(days=1))),
    Schedule(PurgeJobs(), every(timedelta(hours=1))),
    Schedule(PurgeIdempotencyRecords(), every(timedelta(hours=1))),
    Schedule(RenewInviteCodes(), every(timedelta(minutes=15))),
    Schedule(PurgeUsage(), every(timedelta(days=1))),
    Schedule(DigestForAll(), daily(time(7))),
    Schedule(SweepPictures(), daily(time(4))),
    Schedule(PurgeAccounts(), every(timedelta(hours=1))),
    Schedule(MakeBackup(), daily(time(3, 30))),
    Schedule(WarmUp(), every(timedelta(minutes=5))),
)
# In a server the grace is short, because requests have had their time to finish before. It polls
# less often, because it learns at once of the jobs that its own requests enqueue.
IN_SERVER = {"shutdown_grace": timedelta(seconds=4), "poll_interval": timedelta(seconds=1)}


def worker(resources: Resources, *, dedicated: bool) -> Worker:
    """Return a worker: a dedicated one for `freshly worker`, or one that runs in the server."""
    settings = resources.settings
    return Worker(
        resources,
        HANDLERS,
        SCHEDULES,
        concurrency=settings.jobs_at_once,
        heartbeat_timeout=settings.heartbeat_timeout,
        dedicated=dedicated,
        yields_to_dedicated=settings.jobs == "auto" and not dedicated,
        **({} if dedicated else IN_SERVER),
    )
