"""Brings a database to the schema of this release: an empty one, an older one, or the old app's."""

import asyncio
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
from freshly.settings import Settings

EXISTING_APP = "8a2eb98e9047"  # the revision of the app that Freshly takes over from
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
    """To that revision; then units and foods are seeded. Returns the revisions before and after."""
    engine = create_engine(settings.database)
    try:
        before = await current_revision(engine)
        if before is None and await _is_the_existing_apps(engine):
            async with engine.connect() as connection:
                await connection.run_sync(_stamp)
                await connection.commit()
            before = EXISTING_APP
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
    command.stamp(config, EXISTING_APP)


async def _is_the_existing_apps(engine: AsyncEngine) -> bool:
    """Its tables are there, but nothing says which revision they are at."""
    async with engine.connect() as connection:
        tables = await connection.run_sync(lambda sync: set(inspect(sync).get_table_names()))
    return {"users", "meals", "pantry_items", "grocery_lists"} <= tables


def print_sql(settings: Settings) -> None:
    """The SQL that this database still needs; it is left alone."""
    config = configuration()
    if settings.database.get_backend_name() == "sqlite":
        # SQLite changes a table by copying it, for which there must be one to look at.
        asyncio.run(_print_as_run_in_memory())
        return
    config.attributes["dialect"] = settings.database.get_backend_name()
    at = asyncio.run(_revision_of(settings))
    command.upgrade(config, f"{at}:head" if at else "head", sql=True)
    print("-- Then units, foods and diet tags that are not there yet are added.")  # noqa: T201


async def _revision_of(settings: Settings) -> str | None:
    engine = create_engine(settings.database)
    try:
        found = await current_revision(engine)
        return EXISTING_APP if not found and await _is_the_existing_apps(engine) else found
    except (SQLAlchemyError, OSError):
        print("-- The database cannot be reached: this is everything, from empty.")  # noqa: T201
        return None
    finally:
        await engine.dispose()


async def _print_as_run_in_memory() -> None:
    engine = create_async_engine("sqlite+aiosqlite://")

    @event.listens_for(engine.sync_engine, "before_cursor_execute")
    def _print(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if not statement.startswith(("PRAGMA", "SELECT")):
            print(f"{statement.strip()};\n")  # noqa: T201

    async with engine.connect() as connection:
        await connection.run_sync(_upgrade, "head")
    await engine.dispose()
