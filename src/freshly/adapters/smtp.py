"""Sends email by SMTP. Writes it to a folder on a local installation without a mail server."""

from email.message import EmailMessage
from email.utils import formataddr, formatdate, make_msgid
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiosmtplib
from anyio import to_thread

from freshly.chassis.observability.logging import get_logger
from freshly.chassis.observability.metrics import emails
from freshly.chassis.observability.tracing import tracing
from freshly.chassis.ports.email import Email, Mailer, MailFailed
from freshly.settings import Settings

logger = get_logger(__name__)

TIMEOUT_SECONDS = 15  # for the whole conversation with the server


def create_mailer(settings: Settings) -> Mailer:
    if settings.mail_server:
        return CountedMailer(SmtpMailer(settings))
    if settings.app_env == "local":
        return CountedMailer(FileMailer(settings, settings.data_dir / "outbox"))
    return CountedMailer(NoMailer())


class CountedMailer:
    """Counts the emails that another mailer sends, and those that it cannot send."""

    def __init__(self, mailer: Mailer) -> None:
        self._mailer = mailer

    async def send(self, email: Email) -> None:
        """Send the email. Raises MailFailed."""
        try:
            with tracing.call("email", network__protocol__name="smtp"):
                await self._mailer.send(email)
        except MailFailed:
            emails.labels("failed").inc()
            raise
        emails.labels("sent").inc()


def _to_message(email: Email, settings: Settings) -> EmailMessage:
    sender = settings.mail_sender
    message = EmailMessage()
    message["From"] = formataddr((settings.mail_from_name, sender))
    message["To"] = email.to
    message["Subject"] = email.subject
    message["Date"] = formatdate(localtime=False)
    domain = sender.rpartition("@")[2] or "localhost"
    message["Message-ID"] = (
        f"<{email.message_id}@{domain}>" if email.message_id else make_msgid(domain=domain)
    )
    message.set_content(email.text)
    return message


def smtp_options(settings: Settings) -> dict[str, Any]:
    """Return what aiosmtplib is told for a connection to the mail server."""
    password = settings.mail_password
    return {
        "hostname": settings.mail_server,
        "port": settings.mail_port,
        "username": settings.mail_username,
        "password": password.get_secret_value() if password else None,
        "use_tls": settings.mail_ssl_tls,
        "start_tls": settings.mail_starttls and not settings.mail_ssl_tls,
        "timeout": TIMEOUT_SECONDS,
    }


class SmtpMailer:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._send = partial(aiosmtplib.send, **smtp_options(settings))

    async def send(self, email: Email) -> None:
        """Send the email. Raises MailFailed."""
        try:
            await self._send(_to_message(email, self._settings))
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            raise MailFailed(f"{type(error).__name__}: {error}") from error


class FileMailer:
    """Writes emails as files and to the log, for first steps without a mail server."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self._settings, self._folder = settings, folder

    async def send(self, email: Email) -> None:
        """Write the email to the folder. Raises MailFailed."""
        path = self._folder / f"{email.message_id or uuid4().hex}.eml"
        try:
            await to_thread.run_sync(self._write, path, _to_message(email, self._settings))
        except OSError as error:
            raise MailFailed(f"{path}: {error.strerror}") from error
        logger.warning(
            "email written to a file, because MAIL_SERVER is not set",
            path=str(path),
            text=email.text,
        )

    def _write(self, path: Path, message: EmailMessage) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600)  # private before the code is in it
        path.write_bytes(bytes(message))


class NoMailer:
    """Sends nothing, because no mail server is set."""

    async def send(self, email: Email) -> None:
        """Raise MailFailed."""
        raise MailFailed(f"MAIL_SERVER is not set, so this email was not sent: {email.subject}")
