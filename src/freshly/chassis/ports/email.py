"""The port for sending email."""

from dataclasses import dataclass, replace
from typing import Protocol, Self


@dataclass(frozen=True)
class Email:
    """A plain text email.

    A retry sends the same `message_id`, so that mail programs show the email only once.
    """

    to: str
    subject: str
    text: str
    message_id: str | None = None

    def with_message_id(self, message_id: str) -> Self:
        return replace(self, message_id=message_id)


class MailFailed(Exception):
    """The email was not sent. The text gives the reason, for the log."""


class Mailer(Protocol):
    async def send(self, email: Email) -> None:
        """Send the email. Raises MailFailed."""
