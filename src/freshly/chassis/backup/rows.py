"""Rows of a database: all of one moment for a backup, and back into an empty database."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Table, bindparam, column, func, insert, inspect, select, table, text, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from freshly.chassis.backup.tables import Checksum, TableFormat
from freshly.chassis.data.types import Instant

BATCH_ROWS = 500
# Rows about processes that are running; another installation has others.
LEFT_OUT = frozenset({"job_workers"})
OWN_TABLES = frozenset({"alembic_version"})
NOTHING_LIVES_SECONDS = 15  # after which a worker without a heartbeat is dead


@asynccontextmanager
async def snapshot(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """Open a connection whose reads all see the moment of the first one. It stops no writer."""
    if engine.dialect.name == "sqlite":
        async with engine.connect() as connection:
            yield connection
        return
    options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    async with engine.execution_options(**options).connect() as connection:
        await connection.execute(text("SET LOCAL statement_timeout = 0"))
        yield connection


async def read_lines(connection: AsyncConnection, source: TableFormat) -> AsyncIterator[bytes]:
    """Give each row of the table as a line of JSON."""
    rows = await connection.stream(
        select(*source.table().columns), execution_options={"yield_per": BATCH_ROWS}
    )
    async for row in rows:
        yield source.line(row)


async def checksum(connection: AsyncConnection, source: TableFormat) -> Checksum:
    found = Checksum()
    async for line in read_lines(connection, source):
        found.add(line)
    return found


async def unknown_parts(connection: AsyncConnection, tables: Sequence[Table]) -> list[str]:
    """Return the tables and columns of the database that Freshly does not know."""
    known = {one.name: {column.name for column in one.columns} for one in tables}
    found = await connection.run_sync(_columns)
    unknown = sorted(found.keys() - known.keys() - OWN_TABLES - LEFT_OUT)
    for name, columns in sorted(found.items()):
        unknown += [f"{name}.{one}" for one in sorted(columns - known.get(name, columns))]
    return unknown


def _columns(connection: Any) -> dict[str, set[str]]:
    inspector = inspect(connection)
    return {
        name: {one["name"] for one in inspector.get_columns(name)}
        for name in inspector.get_table_names()
    }


async def last_ids(connection: AsyncConnection, tables: Iterable[TableFormat]) -> Mapping[str, int]:
    """Return the highest id that each table has ever given. An id is never given twice."""
    if connection.dialect.name == "sqlite":
        rows = await connection.execute(text("SELECT name, seq FROM sqlite_sequence WHERE seq > 0"))
        return {name: int(seq) for name, seq in rows}
    found = {}
    for one in tables:
        if sequence := await _sequence(connection, one):
            row = (
                await connection.execute(text(f"SELECT last_value, is_called FROM {sequence}"))  # noqa: S608 - a sequence of ours
            ).one()
            found[one.name] = row.last_value if row.is_called else row.last_value - 1
    return {name: last for name, last in found.items() if last}


async def _sequence(connection: AsyncConnection, one: TableFormat) -> str | None:
    if one.key != ("id",):
        return None
    sequence: str | None = await connection.scalar(
        text("SELECT pg_get_serial_sequence(:table, 'id')"), {"table": one.name}
    )
    return sequence


async def set_last_ids(
    connection: AsyncConnection, last: Mapping[str, int], tables: Iterable[TableFormat]
) -> None:
    for one in tables:
        if one.name not in last:
            continue
        values = {"table": one.name, "last": last[one.name]}
        if connection.dialect.name == "sqlite":
            await connection.execute(
                text("DELETE FROM sqlite_sequence WHERE name = :table"), values
            )
            await connection.execute(
                text("INSERT INTO sqlite_sequence (name, seq) VALUES (:table, :last)"), values
            )
        elif sequence := await _sequence(connection, one):
            await connection.execute(
                text("SELECT setval(CAST(:sequence AS regclass), :last)"),
                {"sequence": sequence, "last": last[one.name]},
            )


async def people(connection: AsyncConnection) -> int:
    """Return the number of accounts; 0 if the database has no tables."""
    tables = await connection.run_sync(lambda sync: set(inspect(sync).get_table_names()))
    if "users" not in tables:
        return 0
    return await connection.scalar(select(func.count()).select_from(table("users"))) or 0


async def is_served(connection: AsyncConnection, now: datetime) -> bool:
    """Return whether a server or a worker has told a moment ago that it uses the database."""
    tables = await connection.run_sync(lambda sync: set(inspect(sync).get_table_names()))
    if "job_workers" not in tables:
        return False
    beat = column("beat_at", Instant())
    last = await connection.scalar(select(func.max(beat)).select_from(table("job_workers", beat)))
    return last is not None and last > now - timedelta(seconds=NOTHING_LIVES_SECONDS)


async def empty(connection: AsyncConnection, tables: Sequence[TableFormat]) -> None:
    """Delete all rows, and lock the tables until the transaction ends."""
    names = [f'"{one.name}"' for one in tables]
    if connection.dialect.name == "sqlite":
        # Rows may refer to rows that come later, until the commit.
        await connection.execute(text("PRAGMA defer_foreign_keys=ON"))
    else:
        await connection.execute(text("SET LOCAL statement_timeout = 0"))
        await connection.execute(text(f"LOCK TABLE {', '.join(names)}"))
    for name in reversed(names):
        await connection.execute(text(f"DELETE FROM {name}"))  # noqa: S608 - a table of ours


async def fill(
    connection: AsyncConnection,
    target: TableFormat,
    rows: Sequence[dict[str, Any]],
    inward: list[dict[str, Any]],
) -> None:
    """Insert rows without their references to rows of the same table, which go to `inward`."""
    if target.inward:
        inward += [_references(target, row) for row in rows if _has_references(target, row)]
        rows = [row | dict.fromkeys(target.inward) for row in rows]
    await connection.execute(insert(target.table()), list(rows))


async def refer(
    connection: AsyncConnection, target: TableFormat, inward: Sequence[dict[str, Any]]
) -> None:
    """Set the references between rows of the same table, once all of them are there."""
    if not inward:
        return
    filled = target.table()
    same_row = [filled.c[name] == bindparam(f"key_{name}") for name in target.key]
    values: dict[str, Any] = {name: bindparam(f"to_{name}") for name in target.inward}
    await connection.execute(update(filled).where(*same_row).values(values), list(inward))


def _has_references(target: TableFormat, row: Mapping[str, Any]) -> bool:
    return any(row[name] is not None for name in target.inward)


def _references(target: TableFormat, row: Mapping[str, Any]) -> dict[str, Any]:
    return {f"key_{name}": row[name] for name in target.key} | {
        f"to_{name}": row[name] for name in target.inward
    }
