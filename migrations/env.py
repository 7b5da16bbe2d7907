"""Run the migrations on PostgreSQL or SQLite. `freshly migrate` passes a connection."""

import asyncio

from alembic import context
from sqlalchemy import Connection

from freshly.chassis.data.engine import create_engine
from freshly.settings import load
from freshly.wiring.tables import all_tables

metadata = all_tables()
# On PostgreSQL a migration that waits longer for a lock fails, because it blocks all requests.
LOCK_TIMEOUT = "4s"
ONE_AT_A_TIME = 7_277_436  # any number that no other advisory lock has


def run(connection: Connection) -> None:
    on_sqlite = connection.dialect.name == "sqlite"
    if on_sqlite:
        _let_tables_be_copied(connection)
    context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
    with context.begin_transaction():
        if not on_sqlite:
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({ONE_AT_A_TIME})")
        context.run_migrations()


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
    async with engine.connect() as connection:
        await connection.run_sync(run)
        await connection.commit()
    await engine.dispose()


def print_sql() -> None:
    context.configure(
        dialect_name=context.config.attributes["dialect"],
        target_metadata=metadata,
        literal_binds=True,
        render_as_batch=True,
    )
    with context.begin_transaction():
        context.run_migrations()


if context.is_offline_mode():
    print_sql()
elif given := context.config.attributes.get("connection"):
    run(given)
else:
    asyncio.run(run_alone())
