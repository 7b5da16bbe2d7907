"""`freshly migrate`: brings a database to the schema of this release, or back to an older one.

The database may be empty, of an older release, or of the existing app that Freshly replaces.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from alembic import command
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from freshly.chassis.data.engine import Engine, create_engine
from freshly.chassis.data.transactions import Database
from freshly.chassis.observability.logging import get_logger
from freshly.commands.errors import CommandFailed
from freshly.commands.migration_lock import migration_lock
from freshly.commands.schema import (
    EXISTING_APP_REVISION,
    configuration,
    has_existing_app_tables,
    history,
    newest_revision,
    read_schema,
)
from freshly.domains.ingredients.seeding import seed
from freshly.domains.recipes.seeding import seed_diet_tags
from freshly.domains.users.repository import UserRepository
from freshly.settings import Settings
from freshly.wiring.tables import all_tables

logger = get_logger(__name__)

SHOWN_REVISIONS = 5
# The waits between two attempts at a migration that did not get its lock. With the waits for the
# lock they take about two minutes, longer than a request or a report holds a lock.
PAUSES_SECONDS = (0.5, 1, 2, 4, 8, 15, 15, 15, 15, 15)
# PostgreSQL's codes for a lock that did not come in time, and for a deadlock.
LOCK_ERRORS = {"55P03", "40P01"}


async def migrate(settings: Settings, revision: str = "head") -> tuple[str | None, str | None]:
    """Migrate to the revision, and seed the catalogue if it is the newest.

    Other processes that call this wait until it is done. Returns the revisions before and after.
    None means an empty database. The schema of a newer release stays as it is, if this release
    can serve on it. Raises CommandFailed if it cannot, if the revision is unknown, or if another
    transaction keeps its locks for too long.
    """
    all_tables()  # the order of inserted rows depends on tables that they refer to
    wanted = known(revision)
    engine = create_engine(settings.database)
    try:
        async with migration_lock(engine):
            schema = await read_schema(engine)
            schema.refuse_if_too_new()
            if schema.is_newer:
                _refuse_to_go_back(schema.revision, revision)
                return schema.revision, schema.revision
            before = schema.revision or await _adopted(engine)
            if before != wanted:
                move = command.downgrade if goes_back(before, wanted) else command.upgrade
                await _retry(lambda: _run(engine, move, wanted))
            if revision == "head":
                await _retry(lambda: _seed(engine))
            return before, wanted
    finally:
        await engine.dispose()


def known(revision: str) -> str:
    """Return the revision, or the newest one for "head". Raises CommandFailed if it is unknown."""
    if revision == "head":
        return newest_revision()
    if revision not in history():
        newest = ", ".join(history()[:SHOWN_REVISIONS])
        raise CommandFailed(
            f"--to: this release knows no revision {revision!r}; the newest are {newest}"
        )
    return revision


def _refuse_to_go_back(current: str | None, wanted: str) -> None:
    if wanted != "head":
        raise CommandFailed(
            f"--to: the schema is at {current}, of a newer release; only that release can go back"
        )
    logger.info("the schema is of a newer release, and this one serves on it", revision=current)


def goes_back(before: str | None, wanted: str) -> bool:
    """Return True if `wanted` is older than the revision `before`."""
    return before is not None and history().index(wanted) > history().index(before)


async def _adopted(engine: AsyncEngine) -> str | None:
    """Mark a database of the existing app as that. Return None if the database is empty."""
    async with engine.connect() as connection:
        if not await connection.run_sync(has_existing_app_tables):
            return None
    await _run(engine, command.stamp, EXISTING_APP_REVISION)
    return EXISTING_APP_REVISION


async def _run(engine: AsyncEngine, move: Callable[..., None], revision: str) -> None:
    """Run a command of Alembic on a connection of the engine."""
    async with engine.execution_options(writes=True).connect() as connection:
        await connection.run_sync(run_alembic, move, revision)
        await connection.commit()


def run_alembic(connection: Connection, move: Callable[..., None], revision: str) -> None:
    config = configuration()
    config.attributes["connection"] = connection
    move(config, revision)


async def _seed(engine: Engine) -> None:
    async with Database(engine).write() as session:
        await seed(session)
        await seed_diet_tags(session)


async def _retry(attempt: Callable[[], Awaitable[None]]) -> None:
    """Try again after each of PAUSES_SECONDS while other transactions hold the locks it needs.

    The migrations that were done before are committed. Raises CommandFailed in the end.
    """
    for number, pause in enumerate(PAUSES_SECONDS, start=1):
        try:
            return await attempt()
        except DBAPIError as error:
            if not _is_lock_error(error):
                raise
            logger.warning("a migration waits for a lock", attempt=number, pause_seconds=pause)
        await asyncio.sleep(pause)
    try:
        await attempt()
    except DBAPIError as error:
        if not _is_lock_error(error):
            raise
        raise CommandFailed(
            f"DATABASE_URL: other transactions kept locks that the migration needs, in"
            f" {len(PAUSES_SECONDS) + 1} attempts; end them, and start again"
            " (what was migrated before stays)"
        ) from error


def _is_lock_error(error: DBAPIError) -> bool:
    return getattr(error.orig, "sqlstate", None) in LOCK_ERRORS or "database is locked" in str(
        error
    )


async def addresses_alike(settings: Settings) -> Sequence[str]:
    """Return the addresses of accounts that differ from another's only in capitals."""
    all_tables()
    engine = create_engine(settings.database)
    try:
        async with Database(engine).read() as session:
            return await UserRepository(session).alike()
    finally:
        await engine.dispose()
