"""What is asked of the database so often that the way there must be short.

SQLAlchemy writes the statement, once, and says how each type comes and goes. Then it is put to the
driver itself: the way through SQLAlchemy's execution takes longer than the database does. So does
the way to its pool and back, which is why connections stay at hand for a while.
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
from freshly.chassis.observability.metrics import statements

Convert = Callable[[Any], Any]
Record = TypeVar("Record", bound=Struct)


class Found:
    """Rows, kept column by column, as whoever asked named them.

    What is done to a column takes half of what it takes value by value. Enums are their values.
    """

    def __init__(self, columns: Mapping[str, Sequence[Any]]) -> None:
        self.columns = columns

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def first(self, number: int) -> "Found":
        return Found({name: column[:number] for name, column in self.columns.items()})

    def as_structs(self, kind: type[Record]) -> list[Record]:
        """One for each row; its fields are columns."""
        return list(map(kind, *[self.columns[name] for name in kind.__struct_fields__]))


def struct_for(schema: type[BaseModel]) -> type[Struct]:
    """What is written as JSON as that schema is, from values that need no looking at.

    To validate thousands of values that come from typed columns takes as long as to read them, and
    to write them from dicts ten times as long as from these.
    """
    return defstruct(schema.__name__, list(schema.model_fields), gc=False)


@dataclass(frozen=True)
class DialectSql:
    """A statement as one kind of database takes it."""

    sql: str
    parameters: Sequence[tuple[str, Convert]]
    constants: Mapping[str, Any]
    names: tuple[str, ...]
    converted: Sequence[tuple[int, ColumnFromDriver]]  # columns that a driver gives in another form

    @classmethod
    def of(cls, statement: Select[Any], dialect: Dialect) -> "DialectSql":
        compiled: Any = statement.compile(dialect=dialect)
        taken = [compiled.binds[name] for name in compiled.positiontup]
        columns = list(statement.selected_columns)
        readers = [_reader(column.type, dialect) for column in columns]
        return cls(
            str(compiled),
            [(one.key, _writer(one.type, dialect)) for one in taken],
            {one.key: one.value for one in taken if not one.required},
            tuple(column.key or "" for column in columns),
            [(place, reader) for place, reader in enumerate(readers) if reader is not None],
        )

    def values(self, asked: Mapping[str, Any]) -> list[Any]:
        given = {**self.constants, **asked}
        return [write(given[name]) for name, write in self.parameters]

    def found(self, rows: Sequence[Sequence[Any]]) -> Found:
        columns: list[Sequence[Any]] = list(zip(*rows, strict=True)) or [()] * len(self.names)
        for place, convert in self.converted:
            columns[place] = convert(columns[place])
        return Found(dict(zip(self.names, columns, strict=True)))


class CompiledQuery:
    """A statement with parameters, whose columns have names of their own."""

    def __init__(self, statement: Select[Any]) -> None:
        self.statement = statement
        self._forms: dict[str, DialectSql] = {}

    async def run(self, driver: Any, dialect: Dialect, asked: Mapping[str, Any]) -> Found:
        """To a driver's connection, in whatever transaction that is. Raises OperationalError."""
        form = self._forms.get(dialect.name)
        if form is None:
            form = self._forms[dialect.name] = DialectSql.of(self.statement, dialect)
        values = form.values(asked)
        statements.inc()
        try:
            rows = await driver.fetch(form.sql, *values)
        except Exception as error:
            refused = isinstance(error, sqlite3.Error) or hasattr(error, "sqlstate")
            is_broken = isinstance(error, OSError) or driver.is_closed()  # a TimeoutError is one
            if not (refused or is_broken):
                raise
            raise OperationalError(
                form.sql, None, error, connection_invalidated=is_broken
            ) from error
        return form.found(rows)


def _reader(kind: TypeEngine[Any], dialect: Dialect) -> ColumnFromDriver | None:
    stored = kind.dialect_impl(dialect)
    if isinstance(stored, Instant) and (at_once := stored.whole_column_processor(dialect)):
        return at_once
    convert = None if isinstance(stored, Enum) else stored.result_processor(dialect, None)
    return None if convert is None else lambda values: list(map(convert, values))


def _writer(kind: TypeEngine[Any], dialect: Dialect) -> Convert:
    return kind.dialect_impl(dialect).bind_processor(dialect) or _as_it_is


def _as_it_is(value: Any) -> Any:
    return value
