"""What is asked of the database so often that the way there must be short.

SQLAlchemy writes the statement, once, and says how each type comes and goes. Then it is put to the
driver itself: the way through SQLAlchemy's execution takes longer than the database does.
"""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Dialect, Select
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import PoolProxiedConnection
from sqlalchemy.types import TypeEngine
from sqlalchemy.util import await_only

from freshly.chassis.numbers import statements

Convert = Callable[[Any], Any]
Found = list[dict[str, Any]]


@dataclass(frozen=True)
class _Form:
    """A statement as one kind of database takes it."""

    sql: str
    parameters: Sequence[tuple[str, Convert]]
    constants: Mapping[str, Any]
    names: tuple[str, ...]
    converted: Sequence[tuple[int, Convert]]  # the columns that a driver gives in another form

    @classmethod
    def of(cls, statement: Select[Any], dialect: Dialect) -> "_Form":
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
        """Converted column by column, which takes half of what it takes value by value."""
        if rows and self.converted:
            columns: list[Any] = list(zip(*rows, strict=True))
            for place, convert in self.converted:
                columns[place] = map(convert, columns[place])
            rows = list(zip(*columns, strict=True))
        names = self.names
        return [dict(zip(names, row, strict=True)) for row in rows]


class Question:
    """A statement with parameters. What it finds are dicts by the names of its columns."""

    def __init__(self, statement: Select[Any]) -> None:
        self.statement = statement
        self._forms: dict[str, _Form] = {}

    def put(
        self, connection: PoolProxiedConnection, dialect: Dialect, asked: Mapping[str, Any]
    ) -> Found:
        """Within SQLAlchemy's greenlet; on its own, outside of any transaction."""
        form = self._forms.get(dialect.name)
        if form is None:
            form = self._forms[dialect.name] = _Form.of(self.statement, dialect)
        values = form.values(asked)
        driver: Any = connection.driver_connection
        statements.inc()
        try:
            rows = await_only(driver.fetch(form.sql, *values))
        except Exception as error:
            connection.invalidate(error)
            refused = isinstance(error, sqlite3.Error) or hasattr(error, "sqlstate")
            raise OperationalError(
                form.sql, None, error, connection_invalidated=not refused or driver.is_closed()
            ) from error
        except BaseException:  # whoever asked has gone: what comes now is nobody's answer
            connection.invalidate()
            raise
        return form.found(rows)


def _reader(kind: TypeEngine[Any], dialect: Dialect) -> Convert | None:
    return kind.dialect_impl(dialect).result_processor(dialect, None)


def _writer(kind: TypeEngine[Any], dialect: Dialect) -> Convert:
    return kind.dialect_impl(dialect).bind_processor(dialect) or _as_it_is


def _as_it_is(value: Any) -> Any:
    return value
