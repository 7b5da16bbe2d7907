"""Connections for single reads, outside of sessions and transactions.

SQLAlchemy's pool needs a greenlet switch for each checkout, which costs more than a short query.
asyncpg's pool starts a task for each release and arms a timer: with it a read of 50 rows took 1.2
times the CPU. So connections that are not in use are kept in a list. It needs no limit and no queue
of its own, because admission control has slots for as many reads as there may be connections.
"""

import sqlite3
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from time import monotonic
from types import SimpleNamespace
from typing import Any, Protocol

from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import OperationalError

from freshly.chassis.data.queries import Columns, CompiledQuery
from freshly.chassis.data.sqlite import InlineConnection

MAX_IDLE_SECONDS = 10  # a connection that was unused for longer may have died without a word
MAX_AGE_SECONDS = 1800


class ReadPool(Protocol):
    """Runs queries, each on a connection that no other query uses meanwhile."""

    async def run(self, query: CompiledQuery, parameters: Mapping[str, Any]) -> Columns:
        """Run one query. Raises OperationalError, or OSError if there is no connection."""

    async def close(self) -> None:
        """Close all connections. The next query opens a new one."""


@dataclass(slots=True)
class _Connection:
    driver: Any  # asyncpg's
    opened_at: float
    used_at: float


class PostgresReadPool:
    """Connections of asyncpg. Queries take the one that was used last, so the others grow old."""

    def __init__(
        self,
        dialect: PGDialect_asyncpg,
        connect: Callable[..., Awaitable[Any]],
        options: Mapping[str, Any],
    ) -> None:
        self._dialect: Any = dialect
        self._connect = connect
        self._options = options
        self._idle: deque[_Connection] = deque()  # the one that was used last is at the right

    async def run(self, query: CompiledQuery, parameters: Mapping[str, Any]) -> Columns:
        idle = self._idle
        connection = _take_usable(idle) or await self._open()
        try:
            columns = await query.run(connection.driver, self._dialect, parameters)
        except BaseException:
            # After a cancellation the result may still arrive; after an error the connection may be
            # dead. A new one costs little.
            connection.driver.terminate()
            raise
        connection.used_at = monotonic()
        if idle is self._idle:
            idle.append(connection)
        else:  # `close` was called meanwhile
            connection.driver.terminate()
        return columns

    async def close(self) -> None:
        idle, self._idle = self._idle, deque()
        for connection in idle:
            connection.driver.terminate()

    async def _open(self) -> _Connection:
        try:
            driver = await self._connect(**self._options)
            try:
                await self._set_codecs(driver)
            except BaseException:
                driver.terminate()
                raise
        except Exception as error:
            if not hasattr(error, "sqlstate"):  # PostgreSQL has not refused: no network, or a bug
                raise
            raise OperationalError(None, None, error, connection_invalidated=True) from error
        return _Connection(driver, opened_at=monotonic(), used_at=monotonic())

    async def _set_codecs(self, driver: Any) -> None:
        """Decode JSON as SQLAlchemy's own connections do."""
        adapted = SimpleNamespace(_connection=driver)
        await self._dialect.setup_asyncpg_json_codec(adapted)
        await self._dialect.setup_asyncpg_jsonb_codec(adapted)


def _take_usable(idle: deque[_Connection]) -> _Connection | None:
    """Return the connection that was used last. Close those that are too old or idle for long."""
    now = monotonic()
    while idle and now - idle[0].used_at > MAX_IDLE_SECONDS:
        idle.popleft().driver.terminate()
    while idle:
        connection = idle.pop()
        if now - connection.opened_at < MAX_AGE_SECONDS and not connection.driver.is_closed():
            return connection
        connection.driver.terminate()
    return None


class SqliteReadPool:
    """A single connection is enough: queries run in the event loop, one at a time."""

    def __init__(self, dialect: Dialect, connect: Callable[[], InlineConnection]) -> None:
        self._dialect = dialect
        self._connect = connect
        self._connection: InlineConnection | None = None

    async def run(self, query: CompiledQuery, parameters: Mapping[str, Any]) -> Columns:
        connection = self._connection or await self._open()
        try:
            return await query.run(connection, self._dialect, parameters)
        except OperationalError:
            await self.close()
            raise

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def _open(self) -> InlineConnection:
        connection = self._connect()
        try:
            await connection
        except sqlite3.Error as error:
            raise OperationalError(None, None, error, connection_invalidated=True) from error
        self._connection = connection
        return connection
