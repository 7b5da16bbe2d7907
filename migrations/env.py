"""Run the migrations on PostgreSQL or SQLite. `freshly migrate` passes a connection."""

import asyncio
from collections.abc import Collection
from typing import Any

from alembic import context
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, text

from freshly.chassis.data.engine import create_engine
from freshly.commands.migration_lock import migration_lock
from freshly.commands.schema import serves_since
from freshly.settings import load
from freshly.wiring.tables import all_tables

metadata = all_tables()
# A migration that waits for a lock blocks all requests that come after it. So it waits this long
# at most, less than a client waits for its response, and `freshly migrate` tries again later.
LOCK_TIMEOUT = "4s"


def run(connection: Connection) -> None:
    if connection.dialect.name == "sqlite":
        _let_tables_be_copied(connection)
    else:
        connection.exec_driver_sql(f"SET lock_timeout = '{LOCK_TIMEOUT}'")
        # Building an index takes as long as it takes. The time limit of requests is not for it.
        connection.exec_driver_sql("SET statement_timeout = 0")
        connection.commit()
    configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()


def configure(**options: Any) -> None:
    context.configure(
        target_metadata=metadata,
        render_as_batch=True,
        # What is done stays done when a later migration has to be tried again.
        transaction_per_migration=True,
        on_version_apply=_tell_older_releases,
        **options,
    )


def _tell_older_releases(ctx: MigrationContext, heads: Collection[str], **_facts: Any) -> None:
    """Write which releases may serve, in the transaction of the migration."""
    if heads and (oldest := serves_since(*heads)):
        ctx.impl.execute(text("DELETE FROM serves_since"))
        ctx.impl.execute(text(f"INSERT INTO serves_since (revision) VALUES ('{oldest}')"))  # noqa: S608


def _let_tables_be_copied(connection: Connection) -> None:
    """Switch off what would delete rows when a copy replaces a table.

    SQLite ignores this within a transaction. SQLAlchemy begins one before each statement, so this
    talks to the driver, and checks that SQLite obeyed. Raise RuntimeError if it did not.
    """
    connection.rollback()
    cursor = connection.connection.cursor()
    cursor.execute("PRAGMA foreign_keys=OFF")
    # Do not check triggers that refer to the table while it is missing.
    cursor.execute("PRAGMA legacy_alter_table=ON")
    cursor.execute("PRAGMA foreign_keys")
    [(is_on,)] = cursor.fetchall()
    cursor.close()
    if is_on:
        raise RuntimeError("SQLite would delete rows that refer to a copied table")


async def run_alone() -> None:
    """Run the migrations for the `alembic` command, which passes no connection."""
    engine = create_engine(load().database).execution_options(writes=True)
    async with migration_lock(engine), engine.connect() as connection:
        await connection.run_sync(run)
        await connection.commit()
    await engine.dispose()


def print_sql() -> None:
    configure(dialect_name=context.config.attributes["dialect"], literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()


if context.is_offline_mode():
    print_sql()
elif given := context.config.attributes.get("connection"):
    run(given)
else:
    asyncio.run(run_alone())
