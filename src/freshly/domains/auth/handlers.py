from collections.abc import Callable, Mapping

from freshly.chassis.jobs import Run
from freshly.chassis.ports.email import Letter, Mailer
from freshly.domains.auth import emails as letters
from freshly.domains.auth.codes import CodeLetters
from freshly.domains.auth.jobs import PurgeExpired, SendCode, SendNotice
from freshly.domains.auth.repository import ExpiredRepository

NOTICES: Mapping[str, Callable[[str], Letter]] = {
    "password_changed": letters.password_changed,
    "account_deleted": letters.account_deleted,
}


async def send_code(job: SendCode, run: Run) -> None:
    """Nothing is sent where there is nobody, or no code that still holds."""
    async with run.reading() as session:
        letter = await (await run.service(CodeLetters, session)).of(job.address, job.purpose)
    if letter is not None:
        mailer: Mailer = run.parts["mailer"]
        await run.still_mine()
        await mailer.send(letter.numbered(run.id))


async def send_notice(job: SendNotice, run: Run) -> None:
    mailer: Mailer = run.parts["mailer"]
    await run.still_mine()
    await mailer.send(NOTICES[job.about](job.address).numbered(run.id))


async def purge_expired(_job: PurgeExpired, run: Run) -> None:
    more = True
    while more:
        async with run.writing() as session:
            more = await ExpiredRepository(session).purge()
