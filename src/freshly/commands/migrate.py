"""`freshly migrate`: brings a database to the schema of this release.

The database may be empty, of an older release, or of the existing app that Freshly replaces.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, event, inspect
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from freshly.chassis.data.engine import create_engine
from freshly.chassis.data.transactions import Database
from freshly.domains.ingredients.seeding import seed
from freshly.domains.recipes.seeding import seed_diet_tags
from freshly.domains.users.repository import UserRepository
from freshly.settings import Settings
from freshly.wiring.tables import all_tables

EXISTING_APP_REVISION = "8a2eb98e9047"  # where the existing app left its schema
MIGRATIONS = Path(__file__).parents[3] / "migrations"


def configuration() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    return config


def newest_revision() -> str | None:
    return ScriptDirectory.from_config(configuration()).get_current_head()


async def current_revision(engine: AsyncEngine) -> str | None:
    async with engine.connect() as connection:
        return await connection.run_sync(
            lambda sync: MigrationContext.configure(sync).get_current_revision()
        )


async def migrate(settings: Settings, revision: str = "head") -> tuple[str | None, str | None]:
    """Migrate to the revision, and seed the catalogue if it is the newest.

    Returns the revisions before and after. None means an empty database.
    """
    all_tables()  # the order of inserted rows depends on tables that they refer to
    engine = create_engine(settings.database)
    try:
        before = await current_revision(engine)
        if before is None and await _has_existing_app_tables(engine):
            async with engine.connect() as connection:
                await connection.run_sync(_stamp)
                await connection.commit()
            before = EXISTING_APP_REVISION
        after = newest_revision() if revision == "head" else revision
        if before != after:
            async with engine.execution_options(writes=True).connect() as connection:
                await connection.run_sync(_upgrade, revision)
                await connection.commit()
        if revision == "head":
            async with Database(engine).write() as session:
                await seed(session)
                await seed_diet_tags(session)
        return before, after
    finally:
        await engine.dispose()


def _upgrade(connection: Connection, revision: str) -> None:
    config = configuration()
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def _stamp(connection: Connection) -> None:
    config = configuration()
    config.attributes["connection"] = connection
    command.stamp(config, EXISTING_APP_REVISION)


async def _has_existing_app_tables(engine: AsyncEngine) -> bool:
    """Return whether the database has the tables of the existing app."""
    async with engine.connect() as connection:
        tables = await connection.run_sync(lambda sync: set(inspect(sync).get_table_names()))
    return {"users", "meals", "pantry_items", "grocery_lists"} <= tables


def print_sql(settings: Settings) -> None:
    """Print the SQL that would migrate this database, which is not changed."""
    config = configuration()
    if settings.database.get_backend_name() == "sqlite":
        # SQLite changes a table by copying it, so the migrations need a real table to look at.
        asyncio.run(_print_sql_of_new_sqlite())
        return
    config.attributes["dialect"] = settings.database.get_backend_name()
    current = asyncio.run(_revision_of(settings))
    command.upgrade(config, f"{current}:head" if current else "head", sql=True)
    print("-- Then missing units, foods and diet tags are added.")  # noqa: T201


async def _revision_of(settings: Settings) -> str | None:
    """Return the current revision. None if the database is empty or cannot be reached."""
    engine = create_engine(settings.database)
    try:
        current = await current_revision(engine)
        return (
            EXISTING_APP_REVISION
            if current is None and await _has_existing_app_tables(engine)
            else current
        )
    except (SQLAlchemyError, OSError):
        print("-- The database cannot be reached. This is the SQL for an empty one.")  # noqa: T201
        return None
    finally:
        await engine.dispose()


async def _print_sql_of_new_sqlite() -> None:
    """Migrate an empty database in memory, and print the statements."""
    engine = create_async_engine("sqlite+aiosqlite://")

    @event.listens_for(engine.sync_engine, "before_cursor_execute")
    def _print(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if not statement.startswith(("PRAGMA", "SELECT")):
            print(f"{statement.strip()};\n")  # noqa: T201

    async with engine.connect() as connection:
        await connection.run_sync(_upgrade, "head")
    await engine.dispose()


async def addresses_alike(settings: Settings) -> Sequence[str]:
    """Return the addresses of accounts that differ from another's only in capitals."""
    all_tables()
    engine = create_engine(settings.database)
    try:
        async with Database(engine).read() as session:
            return await UserRepository(session).alike()
    finally:
        await engine.dispose()
