"""Upserts, and the names of violated constraints."""

from sqlalchemy import Index, Table, UniqueConstraint
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import (
    AsyncConnection,
)

from freshly.chassis.data.base import Base


def insert_into(
    connection: AsyncConnection, model: type[Base]
) -> postgresql.Insert | sqlite.Insert:
    """An INSERT that knows ON CONFLICT, which both databases spell alike and SQL does not know."""
    insert = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    return insert(model)


def violated_constraint(error: IntegrityError) -> str | None:
    """The name of the constraint that was broken, or None where the database does not tell.

    PostgreSQL says its name. SQLite says the columns of a unique one, the name of a CHECK, and
    of a foreign key nothing.
    """
    cause = getattr(error.orig, "__cause__", None)
    name = getattr(cause, "constraint_name", None)
    if name:
        return str(name)
    kind, _, what = str(error.orig).partition(" constraint failed: ")
    if kind == "CHECK":
        return what
    if kind != "UNIQUE":
        return None
    columns = {column.partition(".")[2] for column in what.split(", ")}
    table: Table = Base.metadata.tables[what.partition(".")[0]]
    rules: list[Index | UniqueConstraint] = [*table.indexes]
    rules += [rule for rule in table.constraints if isinstance(rule, UniqueConstraint)]
    for rule in rules:
        if {column.name for column in rule.columns} == columns:
            return str(rule.name)
    return None
