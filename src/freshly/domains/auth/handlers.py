from freshly.chassis.jobs import Run
from freshly.chassis.mail import Mailer
from freshly.domains.auth.codes import CodeLetters
from freshly.domains.auth.jobs import PurgeExpired, SendCode
from freshly.domains.auth.repository import ExpiredRepository


async def send_code(job: SendCode, run: Run) -> None:
    """Nothing is sent where there is nobody, or no code that still holds."""
    async with run.reading() as session:
        letters = await run.service(CodeLetters, session)
        letter = await letters.of(job.address, job.purpose)
    if letter is not None:
        mailer: Mailer = run.parts["mailer"]
        await run.still_mine()
        await mailer.send(letter.numbered(run.id))


async def purge_expired(_job: PurgeExpired, run: Run) -> None:
    more = True
    while more:
        async with run.writing() as session:
            more = await ExpiredRepository(session).purge()
