"""Letters, and the port to whoever carries them."""

from dataclasses import dataclass
from typing import Protocol

from freshly.chassis.logging import get_logger

logger = get_logger(__name__)


@dataclass(frozen=True)
class Letter:
    to: str
    subject: str
    text: str


class MailFailed(Exception):
    """The letter did not go out; says why, for the log."""


class Mailer(Protocol):
    async def send(self, letter: Letter) -> None:
        """Raises MailFailed."""


async def send_or_log(mailer: Mailer, letter: Letter) -> None:
    """For letters that nobody waits for: a failure is the operator's to see."""
    try:
        await mailer.send(letter)
    except MailFailed as error:
        logger.error("mail failed", subject=letter.subject, reason=str(error))  # noqa: TRY400
