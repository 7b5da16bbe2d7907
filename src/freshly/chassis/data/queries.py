"""What is asked of the database so often that the way there must be short.

SQLAlchemy writes the statement, once, and says how each type comes and goes. Then it is put to the
driver itself: the way through SQLAlchemy's execution takes longer than the database does. So does
the way to its pool and back, which is why connections stay at hand for a while.
"""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any, TypeVar

from msgspec import Struct, defstruct
from pydantic import BaseModel
from sqlalchemy import Dialect, Engine, Enum, Select, event
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import PoolProxiedConnection, QueuePool
from sqlalchemy.types import TypeEngine
from sqlalchemy.util import greenlet_spawn

from freshly.chassis.data.engine import IDLE, USED
from freshly.chassis.data.types import ColumnFromDriver, Instant
from freshly.chassis.observability.metrics import statements

Convert = Callable[[Any], Any]
Record = TypeVar("Record", bound=Struct)
STAYS = 10  # seconds


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


class _Loan:
    """A connection that is out of its pool for a while."""

    __slots__ = ("connection", "driver", "pool", "since", "used")

    def __init__(self, pool: QueuePool, connection: PoolProxiedConnection) -> None:
        self.pool, self.connection = pool, connection
        self.driver: Any = connection.driver_connection
        self.since = self.used = monotonic()

    @property
    def is_over(self) -> bool:
        return monotonic() - self.since > STAYS or self.driver.is_closed()

    def end(self) -> None:
        """Within a greenlet. The pool is told when it was used, not when it came back."""
        facts = self.connection.info
        facts[USED], facts[IDLE] = self.used, True
        self.connection.close()

    def discard(self) -> None:
        """The pool is gone, and would not close what comes back to it. Within a greenlet."""
        self.connection.detach()
        self.connection.close()


class ReadPool:
    """Puts questions, each on its own, outside of any transaction.

    To take a connection from SQLAlchemy's pool and to give it back needs a greenlet, and takes
    several times as long as a short statement. So those that were taken stay at hand: besides those
    in the pool as many as it keeps open, at most. The first question after ten seconds gives one
    back, and the pool looks after it again (whether it lives, and how old it is).
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._pool, self._dialect = _pool_of(engine.sync_engine), engine.sync_engine.dialect
        self._at_hand: list[_Loan] = []
        event.listen(engine.sync_engine, "engine_disposed", self._close)

    @property
    def connections(self) -> int:
        """That the pool keeps open."""
        return self._pool.size()

    @property
    def at_hand(self) -> int:
        """Connections that nobody uses, and nobody but a question gets."""
        return len(self._at_hand)

    async def run(self, question: CompiledQuery, asked: Mapping[str, Any]) -> Found:
        loan = await self._take()
        try:
            found = await question.run(loan.driver, self._dialect, asked)
        except Exception as error:
            await greenlet_spawn(loan.connection.invalidate, error)
            raise
        except BaseException:  # whoever asked has gone: what comes now is nobody's answer
            loan.connection.invalidate()
            raise
        loan.used = monotonic()
        await self._put_back(loan)
        return found

    async def make_room(self) -> None:
        """Ends a loan, for somebody who needs a connection of the pool."""
        if self._at_hand:
            await greenlet_spawn(self._at_hand.pop(0).end)

    async def _take(self) -> _Loan:
        """The one that was used last, so that those grow old that are not needed."""
        while self._at_hand:
            loan = self._at_hand.pop()
            if not loan.is_over:
                return loan
            await greenlet_spawn(loan.end)
        try:
            pool = self._pool
            return _Loan(pool, await greenlet_spawn(pool.connect))
        except self._dialect.loaded_dbapi.Error as error:
            raise OperationalError(None, None, error, connection_invalidated=True) from error

    async def _put_back(self, loan: _Loan) -> None:
        if len(self._at_hand) < self._pool.size() and loan.pool is self._pool:
            self._at_hand.append(loan)
        else:
            await greenlet_spawn(loan.end if loan.pool is self._pool else loan.discard)

    def _close(self, engine: Engine) -> None:
        """The pool is gone, and there is a new one."""
        self._pool = _pool_of(engine)
        while self._at_hand:
            self._at_hand.pop().discard()


def _pool_of(engine: Engine) -> QueuePool:
    assert isinstance(engine.pool, QueuePool), engine.pool
    return engine.pool


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
