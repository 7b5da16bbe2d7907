"""Checks of the database: connection, rights, schema, accounts and jobs."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.engine import URL

from freshly.chassis.data.engine import Engine, create_engine
from freshly.chassis.data.transactions import Database
from freshly.chassis.jobs.admin import queue_statistics
from freshly.commands.doctor.results import CheckFailed, Unwise
from freshly.commands.errors import CommandFailed
from freshly.commands.migrate import addresses_alike
from freshly.commands.schema import newest_revision, read_schema
from freshly.settings import Settings
from freshly.wiring.tables import all_tables

MAX_LAG_SECONDS = 60  # that a due job may wait for a worker
CLOCKS_DIFFER_SECONDS, CLOCKS_ARE_WRONG_SECONDS = 5, 60
NEEDED_RIGHTS = "SELECT, INSERT, UPDATE, DELETE"
MISSING_RIGHTS = text(
    "SELECT c.relname FROM pg_class c WHERE c.relnamespace = current_schema()::regnamespace"
    " AND c.relname = ANY(:tables) AND NOT (has_table_privilege(c.oid, 'SELECT')"
    " AND has_table_privilege(c.oid, 'INSERT') AND has_table_privilege(c.oid, 'UPDATE')"
    " AND has_table_privilege(c.oid, 'DELETE')) ORDER BY 1"
)
MAY_CREATE = text(
    "SELECT current_user, current_schema(), has_schema_privilege(current_schema(), 'CREATE')"
)


@asynccontextmanager
async def _engine(url: URL, *, past_pooler: bool = True) -> AsyncIterator[Engine]:
    engine = create_engine(url, past_pooler=past_pooler)
    try:
        yield engine
    finally:
        await engine.dispose()


async def connection(settings: Settings) -> str:
    """Check the connection that requests use, and the clock of PostgreSQL."""
    past_pooler = settings.database_url_pooler is None
    url = settings.pooled_database
    async with _engine(url, past_pooler=past_pooler) as engine, engine.connect() as opened:
        if url.get_backend_name() == "sqlite":
            await opened.execute(text("SELECT 1"))
            return url.render_as_string()
        there = await opened.scalar(text("SELECT clock_timestamp()"))
        version = await opened.scalar(text("SHOW server_version"))
    apart = abs((datetime.now(UTC) - there).total_seconds())
    if apart > CLOCKS_ARE_WRONG_SECONDS:
        raise CheckFailed(f"its clock and ours are {apart:.0f} s apart; set both by NTP")
    if apart > CLOCKS_DIFFER_SECONDS:
        raise Unwise(f"its clock and ours are {apart:.0f} s apart; set both by NTP")
    return f"{url.render_as_string()}, PostgreSQL {version}"


async def rights(settings: Settings) -> str:
    if settings.database.get_backend_name() == "sqlite":
        return _file_rights(Path(settings.database.database or ""))
    async with _engine(settings.database) as engine, engine.connect() as opened:
        user, schema, may_create = (await opened.execute(MAY_CREATE)).one()
        tables = [table.name for table in all_tables().sorted_tables]
        lacking = (await opened.scalars(MISSING_RIGHTS, {"tables": tables})).all()
    if lacking:
        raise CheckFailed(
            f"{user} may not read and write {', '.join(lacking)}; run"
            f" `GRANT {NEEDED_RIGHTS} ON ALL TABLES IN SCHEMA {schema} TO {user}`"
        )
    if not may_create:
        raise Unwise(
            f"{user} may not create tables in {schema}, so migrations need another role"
            f" or `GRANT CREATE ON SCHEMA {schema} TO {user}`"
        )
    return f"{user} may read, write and migrate"


def _file_rights(path: Path) -> str:
    for one in (path, path.parent):
        if one.exists() and not os.access(one, os.W_OK):
            raise CheckFailed(f"{one} is not writable")
    return f"{path} is writable"


async def schema(settings: Settings) -> str:
    async with _engine(settings.database) as engine:
        found = await read_schema(engine)
    try:
        found.refuse_if_too_new()
    except CommandFailed as error:
        raise CheckFailed(str(error)) from error
    if found.is_newer:
        return f"at {found.revision}, of a newer release; this one serves on it, too"
    if found.is_older:
        raise CheckFailed(
            f"schema is at {found.revision or '(none)'}, expected {newest_revision()};"
            " run `freshly migrate`"
        )
    return f"at {found.revision}, the newest revision"


async def accounts(settings: Settings) -> str:
    alike = await addresses_alike(settings)
    if not alike:
        return "all addresses are different"
    return f"differ only in capitals, so each signs in by its exact spelling: {', '.join(alike)}"


async def jobs(settings: Settings) -> str:
    async with _engine(settings.database) as engine, Database(engine).read() as session:
        queue = await queue_statistics(session, settings.heartbeat_timeout)
    queued, failed = queue.count("queued"), queue.count("failed")
    if not queue.workers and settings.jobs == "worker":
        raise CheckFailed(f"{queued} queued, but no worker is running; start `freshly worker`")
    if queue.lag_seconds > MAX_LAG_SECONDS:
        if not queue.workers:
            raise CheckFailed(f"{queued} queued, but no worker is running; start the server")
        raise CheckFailed(
            f"the oldest due job has waited {queue.lag_seconds:.0f} s; start more workers"
        )
    summary = f"workers: {queue.workers}, queued: {queued}, failed: {failed}"
    if failed:
        raise Unwise(f"{summary}; see `freshly jobs list --state failed`")
    return summary
