"""Mail by SMTP, or into a folder where no server is set."""

from email.message import EmailMessage
from email.utils import formataddr, formatdate, make_msgid
from functools import partial
from pathlib import Path
from uuid import uuid4

import aiosmtplib
from anyio import to_thread

from freshly.chassis.observability.logging import get_logger
from freshly.chassis.ports.email import Email, Mailer, MailFailed
from freshly.settings import Settings

logger = get_logger(__name__)

TIMEOUT = 15  # seconds for the whole conversation with the server
NOBODY = "freshly@localhost"


def mailer_for(settings: Settings) -> Mailer:
    if settings.mail_server:
        return SmtpMailer(settings)
    if settings.app_env == "local":
        return FileMailer(settings, settings.data_dir / "outbox")
    return NoMailer()


def _written(email: Email, settings: Settings) -> EmailMessage:
    sender = settings.mail_from or settings.mail_username or NOBODY
    message = EmailMessage()
    message["From"] = formataddr((settings.mail_from_name, sender))
    message["To"] = email.to
    message["Subject"] = email.subject
    message["Date"] = formatdate(localtime=False)
    domain = sender.rpartition("@")[2] or "localhost"
    number = f"<{email.message_id}@{domain}>" if email.message_id else make_msgid(domain=domain)
    message["Message-ID"] = number
    message.set_content(email.text)
    return message


class SmtpMailer:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        password = settings.mail_password
        self._send = partial(
            aiosmtplib.send,
            hostname=settings.mail_server,
            port=settings.mail_port,
            username=settings.mail_username,
            password=password.get_secret_value() if password else None,
            use_tls=settings.mail_ssl_tls,
            start_tls=settings.mail_starttls and not settings.mail_ssl_tls,
            timeout=TIMEOUT,
        )

    async def send(self, email: Email) -> None:
        try:
            await self._send(_written(email, self._settings))
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            raise MailFailed(f"{type(error).__name__}: {error}") from error


class FileMailer:
    """Letters as files, and in the log: for the first steps on one's own machine."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self._settings, self._folder = settings, folder

    async def send(self, email: Email) -> None:
        path = self._folder / f"{email.message_id or uuid4().hex}.eml"
        try:
            await to_thread.run_sync(self._write, path, _written(email, self._settings))
        except OSError as error:
            raise MailFailed(f"{path}: {error.strerror}") from error
        logger.warning("no MAIL_SERVER is set: letter kept", path=str(path), text=email.text)

    def _write(self, path: Path, message: EmailMessage) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(message))
        path.chmod(0o600)


class NoMailer:
    async def send(self, email: Email) -> None:
        raise MailFailed(f"no MAIL_SERVER is set, so nothing goes out: {email.subject}")
