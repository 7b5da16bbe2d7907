"""Examines an installation: what is set, what it leads to, and what is wrong with it."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from pydantic import SecretStr
from redis.asyncio import Redis
from rich.console import Console
from rich.table import Table
from sqlalchemy import text

from freshly.adapters.object_storage import store_for
from freshly.chassis.data.engine import create_engine
from freshly.chassis.data.transactions import Database
from freshly.chassis.jobs.admin import load_of
from freshly.commands.migrate import current_revision, newest_revision
from freshly.settings import WEAKEST_SECRET, Settings

WAITS = 5  # seconds for a server to answer
LONG_WAIT = 60  # seconds that a job may be due
Check = Callable[[Settings], Awaitable[str]]


class CheckFailed(Exception):
    """Something that has to be mended before this installation is well."""


@dataclass(frozen=True)
class Finding:
    what: str
    well: bool
    words: str


def examine(settings: Settings) -> int:
    """Prints a table; the exit status is 1 when something is wrong."""
    findings = asyncio.run(_findings(settings))
    table = Table("", "what", "how it is", title=f"Freshly, {settings.app_env}", expand=False)
    for finding in findings:
        table.add_row("ok" if finding.well else "BAD", finding.what, finding.words)
    Console().print(table)
    return 0 if all(finding.well for finding in findings) else 1


async def _findings(settings: Settings) -> list[Finding]:
    checks: dict[str, Check] = {
        "data folder": _data_folder,
        "secrets": _secrets,
        "database": _database,
        "schema": _schema,
        "jobs": _jobs,
        "redis": _redis,
        "files": _files,
        "mail": _mail,
        "oauth": _oauth,
        "model": _model,
    }
    return [await _finding(what, check, settings) for what, check in checks.items()]


async def _finding(what: str, check: Check, settings: Settings) -> Finding:
    try:
        async with asyncio.timeout(WAITS):
            return Finding(what, True, await check(settings))
    except TimeoutError:
        return Finding(what, False, f"no answer within {WAITS} s")
    except Exception as error:  # noqa: BLE001 - whatever is wrong is what was asked for
        words = str(getattr(error, "orig", None) or error) or type(error).__name__
        return Finding(what, False, words.splitlines()[0])


async def _data_folder(settings: Settings) -> str:
    folder = settings.data_dir.resolve()
    if not os.access(folder, os.W_OK):
        raise CheckFailed(f"{folder} cannot be written to")
    return str(folder)


async def _secrets(settings: Settings) -> str:
    secrets: dict[str, SecretStr] = {
        "JWT_SECRET": settings.jwt_secret,
        "SECRET_KEY": settings.secret_key,
    }
    for name, secret in secrets.items():
        if len(secret.get_secret_value()) < WEAKEST_SECRET:
            raise CheckFailed(f"{name} is shorter than {WEAKEST_SECRET} characters")
    return "strong"


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
        found, wanted = await current_revision(engine), newest_revision()
    finally:
        await engine.dispose()
    if found != wanted:
        raise CheckFailed(f"is at {found or 'nothing'}, wanted is {wanted}: run `freshly migrate`")
    return f"at {found}, the newest"


async def _jobs(settings: Settings) -> str:
    engine = create_engine(settings.database)
    try:
        async with Database(engine).read() as session:
            load = await load_of(session)
    finally:
        await engine.dispose()
    parked = load.count("failed")
    if not load.workers and load.lag > LONG_WAIT:
        start = "`freshly worker`" if settings.jobs == "worker" else "the server"
        raise CheckFailed(f"{load.count('queued')} wait and nobody works: start {start}")
    if load.lag > LONG_WAIT:
        raise CheckFailed(f"the oldest waits for {load.lag:.0f} s: start more workers")
    told = f"{load.workers} working, {load.count('queued')} waiting"
    return f"{told}, {parked} parked: `freshly jobs list --state failed`" if parked else told


async def _redis(settings: Settings) -> str:
    if settings.redis_url is None:
        return "not set: not needed by one process"
    client: Redis = Redis.from_url(settings.redis_url.get_secret_value())
    try:
        await client.ping()
    finally:
        await client.aclose()
    return "answers"


async def _files(settings: Settings) -> str:
    store = store_for(settings)
    await store.put("doctor", "probe", b"well")
    try:
        if await store.get("doctor", "probe") != b"well":
            raise CheckFailed("what was stored is not what is read")
    finally:
        await store.delete("doctor", ["probe"])
    return "S3, reads and writes" if settings.storage_url else "a folder, reads and writes"


async def _mail(settings: Settings) -> str:
    if settings.mail_server is None:
        where = "mails stay in the log and the data folder"
        return f"not set: {where if settings.app_env == 'local' else 'nothing can be sent'}"
    _, writer = await asyncio.open_connection(settings.mail_server, settings.mail_port)
    writer.close()
    return f"{settings.mail_server}:{settings.mail_port} answers"


async def _oauth(settings: Settings) -> str:
    return settings.supabase_url or "not set: no sign-in by Google or Apple (SUPABASE_URL)"


async def _model(settings: Settings) -> str:
    if settings.openai_api_key is None and settings.openai_base_url is None:
        return "not set: no assistant (OPENAI_API_KEY, OPENAI_BASE_URL)"
    waits = (settings.openai_connect_timeout, settings.openai_first_byte_timeout)
    tokens = (settings.chat_tokens_per_person, settings.chat_tokens_per_family)
    person, family = (f"{most} tokens" if most else "no limit" for most in tokens)
    return (
        f"{settings.openai_base_url or 'set'}; waits {', '.join(f'{one:g}' for one in waits)},"
        f" {settings.openai_timeout:g} s; {settings.openai_max_calls} calls at once;"
        f" a day {person} for a person, {family} for a family"
    )
