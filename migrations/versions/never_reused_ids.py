"""Make SQLite never reuse the ids of deleted rows, in any table (AUTOINCREMENT)."""

from alembic import op

from freshly.chassis.data.sqlite_copy import copy_table, tables_with_own_ids

revision = "never_reused_ids"
down_revision = "uses"

KEYWORD = " AUTOINCREMENT"


def upgrade() -> None:
    _edit_tables(on=True)


def downgrade() -> None:
    _edit_tables(on=False)


def _edit_tables(*, on: bool) -> None:
    if op.get_context().dialect.name != "sqlite":
        return  # PostgreSQL's sequences never give an id twice
    connection = op.get_bind()
    for table, sql in tables_with_own_ids(connection).items():
        if table != "users" and (KEYWORD in sql) != on:  # `users` has it since `account`
            copy_table(connection, table, _with_keyword if on else _without_keyword)


def _with_keyword(sql: str) -> str:
    """Return CREATE TABLE with the keyword, after the key of the column or of the table."""
    table_key = "PRIMARY KEY (id"
    key = table_key if table_key in sql else "PRIMARY KEY"
    return sql.replace(key, key + KEYWORD, 1)


def _without_keyword(sql: str) -> str:
    return sql.replace(KEYWORD, "", 1)
