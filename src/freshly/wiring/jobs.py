"""Who does which job, and what comes round by the clock; the one list of both."""

from datetime import time, timedelta

from freshly.chassis.jobs import Handlers, Schedule, daily, every
from freshly.chassis.jobs.retention import PurgeAnswers, PurgeJobs, purge_answers, purge_jobs
from freshly.chassis.jobs.worker import Worker
from freshly.chassis.resources import Resources
from freshly.domains.account.handlers import export, purge_accounts, remove_files
from freshly.domains.account.jobs import Export, PurgeAccounts, RemoveFiles, WarmUp
from freshly.domains.account.warming import warm_up
from freshly.domains.auth.handlers import purge_expired, send_code, send_notice
from freshly.domains.auth.jobs import PurgeExpired, SendCode, SendNotice
from freshly.domains.grocery.handlers import recompute
from freshly.domains.grocery.jobs import Recompute
from freshly.domains.notifications.handlers import (
    digest_for_all,
    mail_what_expires,
    tell_what_expires,
)
from freshly.domains.notifications.jobs import DigestForAll, MailWhatExpires, TellWhatExpires
from freshly.domains.pantry.handlers import draw_picture, remove_picture, sweep_pictures
from freshly.domains.pantry.jobs import DrawPicture, RemovePicture, SweepPictures
from freshly.domains.storage.handlers import make_small_avatar
from freshly.domains.storage.jobs import MakeSmallAvatar
from freshly.domains.usage.handlers import purge as purge_usage
from freshly.domains.usage.jobs import PurgeUsage

HANDLERS: Handlers = {
    SendCode: send_code,
    SendNotice: send_notice,
    PurgeExpired: purge_expired,
    PurgeJobs: purge_jobs,
    PurgeAnswers: purge_answers,
    PurgeUsage: purge_usage,
    Export: export,
    Recompute: recompute,
    DrawPicture: draw_picture,
    RemovePicture: remove_picture,
    SweepPictures: sweep_pictures,
    DigestForAll: digest_for_all,
    TellWhatExpires: tell_what_expires,
    MailWhatExpires: mail_what_expires,
    RemoveFiles: remove_files,
    PurgeAccounts: purge_accounts,
    WarmUp: warm_up,
    MakeSmallAvatar: make_small_avatar,
}
SCHEDULES = (
    Schedule(PurgeExpired(), every(timedelta(hours=1))),
    Schedule(PurgeJobs(), every(timedelta(hours=1))),
    Schedule(PurgeAnswers(), every(timedelta(hours=1))),
    Schedule(PurgeUsage(), every(timedelta(days=1))),
    Schedule(DigestForAll(), daily(time(7))),
    Schedule(SweepPictures(), daily(time(4))),
    Schedule(PurgeAccounts(), every(timedelta(hours=1))),
    Schedule(WarmUp(), every(timedelta(minutes=5))),
)
# In a server: requests had their time to finish before; and it knows what it enqueues itself.
SERVERS = {"grace": 4, "poll": 1}  # seconds


def worker(resources: Resources, *, dedicated: bool) -> Worker:
    """`dedicated` is `freshly worker`; otherwise it runs inside the server."""
    settings = resources.settings
    stands_by = settings.jobs == "auto" and not dedicated
    return Worker(
        resources,
        HANDLERS,
        SCHEDULES,
        at_once=settings.jobs_at_once,
        silence=timedelta(seconds=settings.jobs_worker_silence),
        dedicated=dedicated,
        stands_by=stands_by,
        **({} if dedicated else SERVERS),
    )
