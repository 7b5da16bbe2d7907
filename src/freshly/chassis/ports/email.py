"""Letters, and the port to whoever carries them."""

from dataclasses import dataclass, replace
from typing import Protocol, Self


@dataclass(frozen=True)
class Email:
    to: str
    subject: str
    text: str
    message_id: str | None = None  # the same for each try to send it, so that twice is seen as once

    def with_message_id(self, number: str) -> Self:
        return replace(self, message_id=number)


class MailFailed(Exception):
    """The letter did not go out; says why, for the log."""


class Mailer(Protocol):
    async def send(self, email: Email) -> None:
        """Raises MailFailed."""
