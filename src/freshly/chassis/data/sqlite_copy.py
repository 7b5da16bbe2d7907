"""Changes of SQLite tables that ALTER TABLE does not know, for migrations.

Alembic's batch mode rebuilds a table from what it can reflect, which is not all of it. This edits
the text of CREATE TABLE, so that all the rest of the table stays as it is.
"""

from collections.abc import Callable, Mapping

from sqlalchemy import Connection, text

TABLES = text(
    "SELECT name, sql FROM sqlite_master t WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    " AND (SELECT group_concat(name || type) FROM pragma_table_info(t.name) WHERE pk > 0)"
    " = 'idINTEGER'"
)
ATTACHED = text(
    "SELECT sql FROM sqlite_master WHERE tbl_name = :table AND type IN ('index', 'trigger')"
    " AND sql IS NOT NULL"
)
CREATE = text("SELECT sql FROM sqlite_master WHERE type = 'table' AND name = :table")


def tables_with_own_ids(connection: Connection) -> Mapping[str, str]:
    """Return CREATE TABLE of each table whose primary key is an integer `id`."""
    return {row.name: row.sql for row in connection.execute(TABLES)}


def copy_table(connection: Connection, table: str, edit: Callable[[str], str]) -> None:
    """Replace a table by a copy whose CREATE TABLE `edit` has changed. Keep rows and indexes.

    The edit must not change the columns. Foreign keys must be off, as in `migrations/env.py`.
    Raise ValueError if the edit changes nothing.
    """
    before = connection.execute(CREATE, {"table": table}).scalar_one()
    attached = connection.execute(ATTACHED, {"table": table}).scalars().all()
    after = edit(before)
    if after == before:
        raise ValueError(f"CREATE TABLE {table} is not as expected: {before}")
    copy = f"copied_{table}"
    _, columns = after.split("(", 1)
    for statement in (
        f"CREATE TABLE {copy} ({columns}",
        f"INSERT INTO {copy} SELECT * FROM {table}",  # noqa: S608 - a table of ours
        f"DROP TABLE {table}",
        f"ALTER TABLE {copy} RENAME TO {table}",
        *attached,
    ):
        connection.exec_driver_sql(statement)
