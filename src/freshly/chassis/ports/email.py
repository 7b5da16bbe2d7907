"""Letters, and the port to whoever carries them."""

from dataclasses import dataclass, replace
from typing import Protocol, Self


@dataclass(frozen=True)
class Letter:
    to: str
    subject: str
    text: str
    number: str | None = None  # the same for each try to send it, so that twice is seen as once

    def numbered(self, number: str) -> Self:
        return replace(self, number=number)


class MailFailed(Exception):
    """The letter did not go out; says why, for the log."""


class Mailer(Protocol):
    async def send(self, letter: Letter) -> None:
        """Raises MailFailed."""
