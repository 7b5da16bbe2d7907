"""Upserts, and the names of violated constraints."""

from sqlalchemy import Index, Table, UniqueConstraint
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from freshly.chassis.data.base import Base


def insert_into(
    connection: AsyncConnection, model: type[Base]
) -> postgresql.Insert | sqlite.Insert:
    """Return an INSERT with ON CONFLICT, which both databases write alike."""
    insert = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    return insert(model)


def violated_constraint(error: IntegrityError) -> str | None:
    """Return the name of the violated constraint, or None if the database does not tell.

    PostgreSQL tells the name. SQLite tells the columns of a unique constraint, the name of a CHECK
    and of an index of an expression, and nothing of a foreign key.
    """
    cause = getattr(error.orig, "__cause__", None)
    name = getattr(cause, "constraint_name", None)
    if name:
        return str(name)
    kind, _, subject = str(error.orig).partition(" constraint failed: ")
    if kind == "CHECK":
        return subject
    if kind != "UNIQUE":
        return None
    if subject.startswith("index '"):  # a unique index of an expression
        return subject.removeprefix("index '").removesuffix("'")
    columns = {column.partition(".")[2] for column in subject.split(", ")}
    table: Table = Base.metadata.tables[subject.partition(".")[0]]
    unique: list[Index | UniqueConstraint] = [*table.indexes]
    unique += [one for one in table.constraints if isinstance(one, UniqueConstraint)]
    for constraint in unique:
        if {column.name for column in constraint.columns} == columns:
            return str(constraint.name)
    return None
