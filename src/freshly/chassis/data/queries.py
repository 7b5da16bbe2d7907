"""Precompiled queries for what is read most.

SQLAlchemy writes the SQL of a query once and knows how each type comes and goes. The query then
goes to the driver directly, because SQLAlchemy's execution takes longer than the database does.
"""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from msgspec import Struct, defstruct
from pydantic import BaseModel
from sqlalchemy import Dialect, Enum, Select
from sqlalchemy.exc import OperationalError
from sqlalchemy.types import TypeEngine

from freshly.chassis.data.types import ColumnFromDriver, Instant
from freshly.chassis.observability.metrics import count_statement
from freshly.chassis.observability.tracing import tracing

Convert = Callable[[Any], Any]
Record = TypeVar("Record", bound=Struct)


class Columns:
    """The rows of a result, stored column by column under the names of the query.

    Converting a whole column takes half the time of converting value by value. Enums are their
    values.
    """

    def __init__(self, columns: Mapping[str, Sequence[Any]]) -> None:
        self.columns = columns

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(next(iter(self.columns.values())))

    def first(self, number: int) -> "Columns":
        """Return the first rows only."""
        return Columns({name: column[:number] for name, column in self.columns.items()})

    def as_structs(self, kind: type[Record]) -> list[Record]:
        """Return a struct for each row. The fields of the struct are columns."""
        return list(map(kind, *[self.columns[name] for name in kind.__struct_fields__]))


def struct_for(schema: type[BaseModel]) -> type[Struct]:
    """Return a struct with the fields of the schema, to be written as the same JSON.

    It validates nothing, because its values come from typed columns. Validating thousands of values
    takes as long as reading them, and writing dicts as JSON takes ten times as long as structs.
    """
    return defstruct(schema.__name__, list(schema.model_fields), gc=False)


@dataclass(frozen=True)
class DialectSql:
    """The SQL of a query for one kind of database."""

    sql: str
    parameters: Sequence[tuple[str, Convert]]
    constants: Mapping[str, Any]
    names: tuple[str, ...]
    converters: Sequence[
        tuple[int, ColumnFromDriver]
    ]  # by position, where the driver's form differs

    @classmethod
    def of(cls, statement: Select[Any], dialect: Dialect) -> "DialectSql":
        compiled: Any = statement.compile(dialect=dialect)
        binds = [compiled.binds[name] for name in compiled.positiontup]
        columns = list(statement.selected_columns)
        readers = [_reader(column.type, dialect) for column in columns]
        return cls(
            str(compiled),
            [(bind.key, _writer(bind.type, dialect)) for bind in binds],
            {bind.key: bind.value for bind in binds if not bind.required},
            tuple(column.key or "" for column in columns),
            [(place, reader) for place, reader in enumerate(readers) if reader is not None],
        )

    def values(self, parameters: Mapping[str, Any]) -> list[Any]:
        """Return the values of the SQL's placeholders, in order."""
        known = {**self.constants, **parameters}
        return [write(known[name]) for name, write in self.parameters]

    def columns(self, rows: Sequence[Sequence[Any]]) -> Columns:
        columns: list[Sequence[Any]] = list(zip(*rows, strict=True)) or [()] * len(self.names)
        for place, convert in self.converters:
            columns[place] = convert(columns[place])
        return Columns(dict(zip(self.names, columns, strict=True)))


class CompiledQuery:
    """A query with parameters, whose columns have names of their own."""

    def __init__(self, statement: Select[Any]) -> None:
        self.statement = statement
        self._by_dialect: dict[str, DialectSql] = {}

    def sql_for(self, dialect: Dialect) -> DialectSql:
        """Return the SQL for this kind of database, compiled at the first call."""
        sql = self._by_dialect.get(dialect.name)
        if sql is None:
            sql = self._by_dialect[dialect.name] = DialectSql.of(self.statement, dialect)
        return sql

    async def run(self, driver: Any, dialect: Dialect, parameters: Mapping[str, Any]) -> Columns:
        """Run the query on a driver's connection, in the transaction that is open there.

        Raises OperationalError if the database refuses or the connection breaks.
        """
        query = self.sql_for(dialect)
        values = query.values(parameters)
        count_statement()
        try:
            with tracing.statement(query.sql, dialect.name):
                rows = await driver.fetch(query.sql, *values)
        except Exception as error:
            refused = isinstance(error, sqlite3.Error) or hasattr(error, "sqlstate")
            is_broken = isinstance(error, OSError) or driver.is_closed()  # TimeoutError is OSError
            if not (refused or is_broken):
                raise
            raise OperationalError(
                query.sql, None, error, connection_invalidated=is_broken
            ) from error
        return query.columns(rows)


def _reader(kind: TypeEngine[Any], dialect: Dialect) -> ColumnFromDriver | None:
    stored = kind.dialect_impl(dialect)
    if isinstance(stored, Instant) and (convert_column := stored.whole_column_processor(dialect)):
        return convert_column
    convert = None if isinstance(stored, Enum) else stored.result_processor(dialect, None)
    return None if convert is None else lambda values: list(map(convert, values))


def _writer(kind: TypeEngine[Any], dialect: Dialect) -> Convert:
    return kind.dialect_impl(dialect).bind_processor(dialect) or _unchanged


def _unchanged(value: Any) -> Any:
    return value
