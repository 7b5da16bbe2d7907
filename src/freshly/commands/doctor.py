"""`freshly doctor`: checks the settings of an installation and the services that they point to."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pydantic import SecretStr
from redis.asyncio import Redis
from rich.console import Console
from rich.table import Table
from sqlalchemy import text

from freshly.adapters.object_storage import create_object_store
from freshly.chassis.data.engine import create_engine
from freshly.chassis.data.transactions import Database
from freshly.chassis.jobs.admin import queue_statistics
from freshly.commands.migrate import addresses_alike
from freshly.commands.schema import newest_revision, read_schema
from freshly.settings import WEAKEST_SECRET, Settings

CHECK_TIMEOUT_SECONDS = 5
OTHER_USERS = 0o077  # permissions of the group and of all others
MAX_LAG_SECONDS = 60  # that a due job may wait for a worker
Check = Callable[[Settings], Awaitable[str]]


class CheckFailed(Exception):
    """A problem that the operator must fix. The text says how."""


@dataclass(frozen=True)
class Result:
    subject: str
    ok: bool
    text: str


def examine(settings: Settings) -> int:
    """Print a table of all checks. Return the exit status, which is 1 if a check failed."""
    results = asyncio.run(_run_checks(settings))
    table = Table("", "check", "result", title=f"Freshly, {settings.app_env}", expand=False)
    for result in results:
        table.add_row("ok" if result.ok else "BAD", result.subject, result.text)
    Console().print(table)
    return 0 if all(result.ok for result in results) else 1


async def _run_checks(settings: Settings) -> list[Result]:
    checks: dict[str, Check] = {
        "data folder": _data_folder,
        "secrets": _secrets,
        "proxies": _proxies,
        "database": _database,
        "schema": _schema,
        "addresses": _addresses,
        "jobs": _jobs,
        "redis": _redis,
        "files": _files,
        "mail": _mail,
        "oauth": _oauth,
        "model": _model,
    }
    return [await _run_check(subject, check, settings) for subject, check in checks.items()]


async def _run_check(subject: str, check: Check, settings: Settings) -> Result:
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_SECONDS):
            return Result(subject, True, await check(settings))
    except TimeoutError:
        return Result(subject, False, f"no response within {CHECK_TIMEOUT_SECONDS} s")
    except Exception as error:  # noqa: BLE001 - every error is a result of the check
        reason = str(getattr(error, "orig", None) or error) or type(error).__name__
        return Result(subject, False, reason.splitlines()[0])


async def _data_folder(settings: Settings) -> str:
    folder = settings.data_dir.resolve()
    if not os.access(folder, os.W_OK):
        raise CheckFailed(f"{folder} is not writable")
    for path in _private_paths(settings):
        if path.exists() and path.stat().st_mode & OTHER_USERS:
            raise CheckFailed(
                f"other users of this machine may read {path}; run `chmod -R go= {path}`"
            )
    return f"{folder}, closed to other users"


def _private_paths(settings: Settings) -> list[Path]:
    """Return the data folder, and the database and the files that are elsewhere."""
    folder = settings.data_dir.resolve()
    elsewhere = []
    if settings.database.get_backend_name() == "sqlite" and settings.database.database:
        elsewhere.append(Path(settings.database.database).resolve())
    url = urlsplit(settings.storage_url.get_secret_value() if settings.storage_url else "")
    if url.scheme == "file":
        elsewhere.append(Path(unquote(url.path)).resolve())
    return [folder, *(path for path in elsewhere if not path.is_relative_to(folder))]


async def _secrets(settings: Settings) -> str:
    secrets: dict[str, SecretStr] = {
        "JWT_SECRET": settings.jwt_secret,
        "SECRET_KEY": settings.secret_key,
    }
    for name, secret in secrets.items():
        if len(secret.get_secret_value()) < WEAKEST_SECRET:
            raise CheckFailed(f"{name} is shorter than {WEAKEST_SECRET} characters")
    return "long enough"


async def _proxies(settings: Settings) -> str:
    proxies = ", ".join(settings.trusted_proxies)
    if not settings.is_local and "*" in settings.trusted_proxies:
        raise CheckFailed("TRUSTED_PROXIES: * lets each client choose its address; name the proxy")
    if (settings.public_url or "").startswith("https:") and not proxies:
        raise CheckFailed("PUBLIC_URL has https, so a proxy serves it; name it in TRUSTED_PROXIES")
    metrics = "with METRICS_TOKEN" if settings.metrics_token else "from this machine only"
    return f"{proxies or 'none (TRUSTED_PROXIES)'}; metrics: {metrics}"


async def _database(settings: Settings) -> str:
    engine = create_engine(settings.pooled_database)
    try:
        async with engine.connect() as connection:
            await connection.execute(text("SELECT 1"))
    finally:
        await engine.dispose()
    return settings.pooled_database.render_as_string()


async def _schema(settings: Settings) -> str:
    engine = create_engine(settings.database)
    try:
        schema = await read_schema(engine)
    finally:
        await engine.dispose()
    schema.refuse_if_too_new()
    if schema.is_newer:
        return f"at {schema.revision}, of a newer release; this one serves on it, too"
    if schema.is_older:
        raise CheckFailed(
            f"schema is at {schema.revision or '(none)'}, expected {newest_revision()};"
            " run `freshly migrate`"
        )
    return f"at {schema.revision}, the newest revision"


async def _addresses(settings: Settings) -> str:
    alike = await addresses_alike(settings)
    if not alike:
        return "all different"
    return f"differ only in capitals, so each signs in by its exact spelling: {', '.join(alike)}"


async def _jobs(settings: Settings) -> str:
    engine = create_engine(settings.database)
    try:
        async with Database(engine).read() as session:
            queue = await queue_statistics(session)
    finally:
        await engine.dispose()
    queued, failed = queue.count("queued"), queue.count("failed")
    if queue.lag_seconds > MAX_LAG_SECONDS:
        if not queue.workers:
            command = "`freshly worker`" if settings.jobs == "worker" else "the server"
            raise CheckFailed(f"{queued} queued, but no worker is running; start {command}")
        raise CheckFailed(
            f"the oldest due job has waited {queue.lag_seconds:.0f} s; start more workers"
        )
    summary = f"workers: {queue.workers}, queued: {queued}, failed: {failed}"
    return f"{summary}; see `freshly jobs list --state failed`" if failed else summary


async def _redis(settings: Settings) -> str:
    if settings.redis_url is None:
        return "not set; a single process does not need it"
    _check_redis_is_protected(settings, settings.redis_url.get_secret_value())
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


async def _files(settings: Settings) -> str:
    store = create_object_store(settings)
    content = b"written by freshly doctor"
    await store.put("doctor", "probe", content)
    try:
        if await store.get("doctor", "probe") != content:
            raise CheckFailed("a file that was just written reads back differently")
    finally:
        await store.delete("doctor", ["probe"])
    return f"{'S3' if settings.storage_url else 'local folder'}, readable and writable"


async def _mail(settings: Settings) -> str:
    if settings.mail_server is None:
        if settings.app_env == "local":
            return "not set; emails are written to the log and to the data folder"
        return "not set; no email can be sent (MAIL_SERVER)"
    _, writer = await asyncio.open_connection(settings.mail_server, settings.mail_port)
    writer.close()
    return f"{settings.mail_server}:{settings.mail_port} accepts connections"


async def _oauth(settings: Settings) -> str:
    return settings.supabase_url or "not set; no sign-in with Google or Apple (SUPABASE_URL)"


async def _model(settings: Settings) -> str:
    if settings.openai_api_key is None and settings.openai_base_url is None:
        return "not set; no assistant (OPENAI_API_KEY, OPENAI_BASE_URL)"
    limits = (
        settings.chat_tokens_per_person,
        settings.chat_tokens_unconfirmed,
        settings.chat_tokens_per_family,
        settings.chat_tokens_installation,
    )
    per_user, unconfirmed, per_family, in_all = (
        f"{limit} tokens" if limit else "no limit" for limit in limits
    )
    return (
        f"{settings.openai_base_url or 'set'}; timeouts: {settings.openai_connect_timeout:g} s to"
        f" connect, {settings.openai_first_byte_timeout:g} s for the first byte,"
        f" {settings.openai_timeout:g} s in all; {settings.openai_max_calls} calls at once;"
        f" daily limits: {per_user} for a user ({unconfirmed} before the address is confirmed),"
        f" {per_family} for a family, {in_all} for all"
    )
