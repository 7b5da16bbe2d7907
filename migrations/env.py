"""Runs the revisions, on PostgreSQL and SQLite alike; `freshly migrate` hands over a connection."""

import asyncio

from alembic import context
from sqlalchemy import Connection

from freshly.chassis.data.engine import create_engine
from freshly.settings import load
from freshly.wiring.tables import all_tables

metadata = all_tables()
# PostgreSQL only: a migration that cannot get a lock gives up instead of blocking everybody.
LOCK_TIMEOUT = "4s"
ONE_AT_A_TIME = 7_277_436  # any number that nothing else in this database locks


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
    """Changing a table means copying it and dropping the old one, which must take nothing along.

    Within a transaction SQLite takes no notice of this, and SQLAlchemy begins one with whatever it
    executes, so it is said to the driver itself; and whether it was heard is asked.
    """
    connection.rollback()
    cursor = connection.connection.cursor()
    cursor.execute("PRAGMA foreign_keys=OFF")
    # Nor may triggers that ask for that table be looked at while it is not there.
    cursor.execute("PRAGMA legacy_alter_table=ON")
    cursor.execute("PRAGMA foreign_keys")
    [(is_on,)] = cursor.fetchall()
    cursor.close()
    if is_on:
        raise RuntimeError("SQLite would delete what refers to a table that is copied")


async def run_alone() -> None:
    """For the `alembic` command, which brings no connection."""
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
