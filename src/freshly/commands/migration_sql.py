"""`freshly migrate --dry-run`: prints the SQL that would migrate a database."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from alembic import command
from sqlalchemy import event
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from freshly.chassis.data.engine import create_engine
from freshly.commands.migrate import goes_back, known, run_alembic
from freshly.commands.schema import (
    EXISTING_APP_REVISION,
    Schema,
    configuration,
    has_existing_app_tables,
    newest_revision,
    read_schema,
)
from freshly.settings import Settings, driven

# SQLite makes the tables with other names itself.
COPIED = "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT GLOB 'sqlite_*'"


def print_sql(settings: Settings, revision: str = "head") -> None:
    """Print the SQL that takes this database to the revision. The database is not changed.

    Raises CommandFailed like `migrate`.
    """
    wanted = known(revision)
    schema = asyncio.run(_schema(settings))
    schema.refuse_if_too_new()
    if schema.is_newer or schema.revision == wanted:
        print(f"-- Nothing is missing: the schema is at {schema.revision}.")  # noqa: T201
        return
    if settings.database.get_backend_name() == "sqlite":
        _print_on_copy(settings, schema, wanted)
    else:
        _print_offline(settings, schema, wanted)
    if wanted == newest_revision():
        print("-- Then missing units, foods and diet tags are added.")  # noqa: T201


async def _schema(settings: Settings) -> Schema:
    """Return the schema. A database that cannot be reached counts as an empty one."""
    if settings.database.get_backend_name() == "sqlite" and not _file(settings).exists():
        return Schema(None)
    engine = create_engine(settings.database)
    try:
        schema = await read_schema(engine)
        if schema.revision is None and await _is_existing_app(engine):
            return Schema(EXISTING_APP_REVISION)
    except (SQLAlchemyError, OSError):
        print("-- The database cannot be reached. This is the SQL for an empty one.")  # noqa: T201
        return Schema(None)
    else:
        return schema
    finally:
        await engine.dispose()


async def _is_existing_app(engine: AsyncEngine) -> bool:
    async with engine.connect() as connection:
        return await connection.run_sync(has_existing_app_tables)


def _file(settings: Settings) -> Path:
    return Path(settings.database.database or "")


def _print_offline(settings: Settings, schema: Schema, wanted: str) -> None:
    config = configuration()
    config.attributes["dialect"] = settings.database.get_backend_name()
    move = command.downgrade if goes_back(schema.revision, wanted) else command.upgrade
    move(config, f"{schema.revision}:{wanted}" if schema.revision else wanted, sql=True)


def _print_on_copy(settings: Settings, schema: Schema, wanted: str) -> None:
    """Migrate an empty copy of the database's tables, and print the statements.

    SQLite changes a table by copying it, so the migrations need a real table to look at.
    """
    with TemporaryDirectory() as folder:
        copy = Path(folder) / "copy.db"
        if schema.revision is not None:
            _copy_tables(_file(settings), copy, schema.revision)
        asyncio.run(_print_migrations(copy, schema, wanted))


def _copy_tables(source: Path, target: Path, revision: str) -> None:
    original = sqlite3.connect(f"{source.resolve().as_uri()}?mode=ro", uri=True)
    with closing(original), closing(sqlite3.connect(target)) as made:
        for (statement,) in original.execute(COPIED):
            made.execute(statement)
        made.execute("INSERT INTO alembic_version VALUES (?)", (revision,))
        made.commit()


async def _print_migrations(path: Path, schema: Schema, wanted: str) -> None:
    engine = create_engine(driven(f"sqlite:///{path}"))

    @event.listens_for(engine.sync_engine, "before_cursor_execute")
    def _print(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if not statement.startswith(("PRAGMA", "SELECT", "BEGIN")):
            print(f"{statement.strip()};\n")  # noqa: T201

    move = command.downgrade if goes_back(schema.revision, wanted) else command.upgrade
    async with engine.connect() as connection:
        await connection.run_sync(run_alembic, move, wanted)
    await engine.dispose()
