"""Write the functions of a migration, and say in a sentence what it does.

Alembic writes most of it. This adds what it leaves out: PostgreSQL's enum types, and on SQLite what
is lost when a table is copied, which is how SQLite changes one.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from alembic.autogenerate import render_python_code, renderers
from alembic.autogenerate.api import AutogenContext
from alembic.operations import ops
from sqlalchemy import Column, Connection, Enum, Index, MetaData, Table, inspect
from sqlalchemy.dialects.postgresql.base import PGInspector

from tools.migration_values import render_item, type_text

# All that the text may use. Ruff removes what it does not use.
IMPORTS = """
from sqlalchemy.dialects import postgresql

from freshly.chassis.data import functions, types
"""
MAX_SUMMARY = 90  # characters
# What Alembic writes although it is the default.
NOISE = re.compile(r", (?:schema=None|autoincrement=False|unique=False)")
VERBS: dict[type[ops.MigrateOperation], str] = {
    ops.CreateTableOp: "create",
    ops.DropTableOp: "drop",
    ops.AddColumnOp: "add",
    ops.DropColumnOp: "drop",
    ops.AlterColumnOp: "change",
}
Labels = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Schemas:
    """The tables of the models, and the enum types with their labels before and after.

    SQLite has a CHECK constraint for an enum type, which SQLAlchemy takes care of.
    """

    metadata: MetaData
    enums_before: Labels
    enums_after: Labels


def read_schemas(connection: Connection, metadata: MetaData) -> Schemas:
    """Return what the text needs to know of the migrated database and of the models."""
    found = cast("PGInspector", inspect(connection)).get_enums()
    columns = [column for table in metadata.tables.values() for column in table.columns]
    return Schemas(
        metadata,
        {enum["name"]: enum["labels"] for enum in found},
        {str(c.type.name): c.type.enums for c in columns if isinstance(c.type, Enum)},
    )


def upgrade_text(operations: ops.UpgradeOps, schemas: Schemas) -> str:
    """Return the body of `upgrade`."""
    return _body(operations, schemas.metadata, schemas.enums_before, schemas.enums_after)


def downgrade_text(operations: ops.DowngradeOps, schemas: Schemas) -> str:
    """Return the body of `downgrade`."""
    return _body(operations, schemas.metadata, schemas.enums_after, schemas.enums_before)


def _body(
    operations: ops.UpgradeOps | ops.DowngradeOps, metadata: MetaData, before: Labels, after: Labels
) -> str:
    created, dropped = _enum_statements(operations, before, after)
    lines = _only_on("postgresql", created)
    for operation in operations.ops:
        lines += _with_what_copies_lose(operation, metadata)
    lines += _only_on("postgresql", dropped)
    return "\n".join(lines).strip()


def _enum_statements(
    operations: ops.OpContainer, before: Labels, after: Labels
) -> tuple[list[str], list[str]]:
    """Return statements for before and after the operations.

    Alembic creates an enum type with its table, but not with a column, and never drops one.
    """
    with_tables = {
        str(column.type.name)
        for operation in each_operation(operations)
        if isinstance(operation, ops.CreateTableOp)
        for column in operation.columns
        if isinstance(column, Column) and isinstance(column.type, Enum)
    }
    created = [
        _execute(f"CREATE TYPE {name} AS ENUM ({', '.join(map(_quoted, labels))})")
        for name, labels in after.items()
        if name not in before and name not in with_tables
    ]
    return created, [_execute(f"DROP TYPE {name}") for name in before if name not in after]


def _with_what_copies_lose(operation: ops.MigrateOperation, metadata: MetaData) -> list[str]:
    """A copy on SQLite has neither AUTOINCREMENT nor indexes of expressions."""
    lines = _python_of(operation)
    table = metadata.tables.get(getattr(operation, "table_name", ""))
    if table is None or not isinstance(operation, ops.ModifyTableOps) or not _copies(operation):
        return lines
    if table.dialect_options["sqlite"]["autoincrement"]:
        batch = f"batch_alter_table({table.name!r}"
        counting = f'{batch}, table_kwargs={{"sqlite_autoincrement": True}}'
        lines = [line.replace(batch, counting) for line in lines]
    lost = [index for index in _indexes_of_expressions(table) if not _names(operation, index)]
    drops = [line for index in lost for line in _python_of(ops.DropIndexOp.from_index(index))]
    creates = [line for index in lost for line in _python_of(ops.CreateIndexOp.from_index(index))]
    return [*_only_on("sqlite", drops), *lines, *_only_on("sqlite", creates)]


def _copies(operation: ops.ModifyTableOps) -> bool:
    """Return whether SQLite copies the table for this."""
    return not all(
        isinstance(one, ops.CreateIndexOp | ops.DropIndexOp)
        or (isinstance(one, ops.AddColumnOp) and one.column.server_default is None)
        for one in operation.ops
    )


def _indexes_of_expressions(table: Table) -> list[Index]:
    found = (i for i in table.indexes if not all(isinstance(e, Column) for e in i.expressions))
    return sorted(found, key=lambda index: str(index.name))


def _names(operation: ops.ModifyTableOps, index: Index) -> bool:
    """Return whether the operation itself creates or drops this index."""
    return any(getattr(one, "index_name", None) == index.name for one in operation.ops)


def _python_of(operation: ops.MigrateOperation) -> list[str]:
    text = render_python_code(
        ops.UpgradeOps([operation]), render_as_batch=True, render_item=render_item
    )
    lines = (NOISE.sub("", line) for line in text.splitlines())
    return [line for line in lines if line.strip() and not line.lstrip().startswith("#")]


def _only_on(database: str, lines: Sequence[str]) -> list[str]:
    if not lines:
        return []
    return [
        f'    if op.get_context().dialect.name == "{database}":',
        *(f"    {line}" for line in lines),
    ]


def _execute(statement: str) -> str:
    return f"    op.execute({statement!r})"


def _quoted(label: str) -> str:
    return "'" + label.replace("'", "''") + "'"


@renderers.dispatch_for(ops.DropColumnOp, replace=True)
def _drop_column(context: AutogenContext, operation: ops.DropColumnOp) -> str:
    """SQLite needs the type of an enum column, because a CHECK constraint goes with it."""
    del context  # tables are always in batch mode
    column = operation.to_column()
    enum = f", existing_type={type_text(column.type)}" if isinstance(column.type, Enum) else ""
    return f"batch_op.drop_column({column.name!r}{enum})"


def required_columns(operations: ops.UpgradeOps) -> list[str]:
    """Return the new columns that fail where the table already has rows."""
    return [
        f"{operation.table_name}.{operation.column.name}"
        for operation in each_operation(operations)
        if isinstance(operation, ops.AddColumnOp)
        and not operation.column.nullable
        and operation.column.server_default is None
    ]


def summary(operations: ops.UpgradeOps) -> str:
    """Return a sentence for the migration's docstring, such as "Add pantry_items.opened_on."."""
    every = list(each_operation(operations))
    tables = [table for one in every if (table := getattr(one, "table_name", None))]
    for text in (
        ", ".join(dict.fromkeys(_changes(every))),
        f"change {', '.join(dict.fromkeys(tables))}",
    ):
        if text and len(text) <= MAX_SUMMARY:
            return f"{text[0].upper()}{text[1:]}."
    return "Change many tables."


def _changes(operations: Iterable[ops.MigrateOperation]) -> Iterator[str]:
    for operation in operations:
        if verb := VERBS.get(type(operation)):
            column = getattr(operation, "column_name", None)
            if isinstance(operation, ops.AddColumnOp):
                column = operation.column.name
            yield f"{verb} {'.'.join(filter(None, (operation.table_name, column)))}"


def each_operation(container: ops.OpContainer) -> Iterator[ops.MigrateOperation]:
    """Give the operations, also those inside a table's."""
    for operation in container.ops:
        if isinstance(operation, ops.OpContainer):
            yield from each_operation(operation)
        else:
            yield operation
