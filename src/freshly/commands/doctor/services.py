"""Checks of the services that the settings point to, each by using it."""

from urllib.parse import urlsplit

import aiosmtplib
import httpx2

from freshly.adapters.object_storage import create_object_store
from freshly.adapters.openai.client import OpenAIModel
from freshly.adapters.smtp import smtp_options
from freshly.chassis.ports.llm import GenerationOptions, LlmMessage
from freshly.commands.doctor.results import CheckFailed, Unwise
from freshly.commands.failures import text_of
from freshly.settings import Settings, is_loopback

PROBE = b"written by freshly doctor"
QUESTION, LONGEST_ANSWER = "Answer with the word yes.", 16  # tokens
TIMEOUT_SECONDS = 4


async def redis(settings: Settings) -> str:
    if settings.redis_url is None:
        if settings.workers > 1 or settings.jobs == "worker":
            raise Unwise(
                "not set; several processes cache nothing, and each counts rate limits by itself;"
                " set REDIS_URL"
            )
        return "not set; a single process does not need it"
    _check_redis_is_protected(settings, settings.redis_url.get_secret_value())
    from redis.asyncio import Redis  # noqa: PLC0415 - 10 MB that an installation without it saves

    client: Redis = Redis.from_url(settings.redis_url.get_secret_value())
    try:
        await client.ping()
    finally:
        await client.aclose()
    return "responds"


def _check_redis_is_protected(settings: Settings, url: str) -> None:
    """Raise CheckFailed for a Redis of another host that asks for no password."""
    parsed = urlsplit(url)
    is_here = parsed.scheme == "unix" or parsed.hostname in ("localhost", "127.0.0.1", "::1")
    if not (settings.is_local or is_here or parsed.password):
        raise CheckFailed(
            f"{parsed.hostname} asks for no password; who reaches it may read cached responses"
            " and reset rate limits; give REDIS_URL a password, and rediss:// for TLS"
        )


async def files(settings: Settings) -> str:
    store = create_object_store(settings)
    await store.put("doctor", "probe", PROBE)
    try:
        if await store.get("doctor", "probe") != PROBE:
            raise CheckFailed("a file that was just written reads back differently")
    finally:
        await store.delete("doctor", ["probe"])
    url = urlsplit(settings.storage_url.get_secret_value() if settings.storage_url else "")
    return f"{'S3' if url.scheme == 's3' else 'local folder'}, readable and writable"


async def mail(settings: Settings) -> str:
    """Sign in at the mail server and name the sender, as for an email, but send none."""
    if settings.mail_server is None:
        if settings.app_env == "local":
            return "not set; emails are written to the log and to the data folder"
        text = "not set; no email can be sent, so nobody can reset a password (MAIL_SERVER)"
        raise CheckFailed(text) if settings.app_env == "production" else Unwise(text)
    where = f"{settings.mail_server}:{settings.mail_port}"
    server = aiosmtplib.SMTP(**{**smtp_options(settings), "timeout": TIMEOUT_SECONDS})
    try:
        async with server:
            await server.mail(settings.mail_sender)
            await server.rset()
    except aiosmtplib.SMTPAuthenticationError as error:
        raise CheckFailed(
            f"{where} refuses MAIL_USERNAME and MAIL_PASSWORD: {error.message}"
        ) from error
    except aiosmtplib.SMTPSenderRefused as error:
        raise CheckFailed(
            f"{where} refuses the sender {settings.mail_sender} (MAIL_FROM): {error.message}"
        ) from error
    except (aiosmtplib.SMTPException, OSError) as error:
        raise CheckFailed(f"{where}: {text_of(error)}") from error
    is_encrypted = settings.mail_ssl_tls or settings.mail_starttls
    if not is_encrypted and not is_loopback(settings.mail_server):
        raise Unwise(f"{where} works, but without TLS; set MAIL_STARTTLS or MAIL_SSL_TLS")
    if settings.mail_sender.endswith("@localhost") and not settings.is_local:
        raise Unwise(f"{where} works, but the sender is {settings.mail_sender}; set MAIL_FROM")
    signed_in = f", signed in as {settings.mail_username}" if settings.mail_username else ""
    return f"{where}{', by TLS' if is_encrypted else ''}{signed_in}; sender {settings.mail_sender}"


async def oauth(settings: Settings) -> str:
    if settings.supabase_url is None:
        return "not set; no sign-in with Google or Apple (SUPABASE_URL)"
    if settings.supabase_jwt_secret is not None:
        return f"{settings.supabase_url}, with its secret"
    async with httpx2.AsyncClient(timeout=TIMEOUT_SECONDS) as client:
        response = await client.get(f"{settings.supabase_url.rstrip('/')}/auth/v1/jwks")
    if not response.is_success:
        raise CheckFailed(f"{settings.supabase_url} answers {response.status_code}, not its keys")
    return f"{settings.supabase_url} gives its keys"


async def model(settings: Settings) -> str:
    """Ask the model for a word, which costs a few tokens."""
    if settings.openai_api_key is None and settings.openai_base_url is None:
        return "not set; no assistant (OPENAI_API_KEY, OPENAI_BASE_URL)"
    llm, where = OpenAIModel(settings), settings.openai_base_url or "OpenAI"
    question = [LlmMessage("user", QUESTION)]
    try:
        async for _ in llm.stream(question, GenerationOptions(max_tokens=LONGEST_ANSWER)):
            pass
    except Exception as error:
        raise CheckFailed(
            f"{settings.openai_model} at {where}: {text_of(error.__cause__ or error)}"
        ) from error
    finally:
        await llm.close()
    return f"{settings.openai_model} at {where} answers; {_limits(settings)}"


def _limits(settings: Settings) -> str:
    per_user, unconfirmed, per_family, in_all = (
        f"{limit} tokens" if limit else "no limit"
        for limit in (
            settings.chat_tokens_per_person,
            settings.chat_tokens_unconfirmed,
            settings.chat_tokens_per_family,
            settings.chat_tokens_installation,
        )
    )
    return (
        f"timeouts: {settings.openai_connect_timeout:g} s to connect,"
        f" {settings.openai_first_byte_timeout:g} s for the first byte,"
        f" {settings.openai_timeout:g} s in all; {settings.openai_max_calls} calls at once;"
        f" daily limits: {per_user} for a user ({unconfirmed} before the address is confirmed),"
        f" {per_family} for a family, {in_all} for all"
    )
