"""SQLite without a thread for every connection.

The driver runs each statement in a thread of the connection's own. A statement of a household
takes SQLite some ten microseconds, the way to the thread and back several times that, and a
request makes it twenty times. So statements run where they are called, except what may take long:
the commit of a change, which waits for the disk, and the wait for another process that writes.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Generator
from functools import partial
from time import monotonic
from typing import Any, TypeVar

import aiosqlite
from sqlalchemy import Connection, event
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.util import await_only

Result = TypeVar("Result")
SHORT_WAIT = 20  # milliseconds that SQLite itself waits, for what is over in a moment
PAUSE = 0.01  # seconds between two tries to become the one that writes


class _AtOnce:
    """In place of the queue to the thread: SQLAlchemy puts some work there directly."""

    @staticmethod
    def put_nowait(work: tuple[asyncio.Future[Any], Callable[[], Any]]) -> None:
        future, function = work
        try:
            future.set_result(function())
        except Exception as error:  # noqa: BLE001 - it is the caller's
            future.set_exception(error)


class InlineConnection(aiosqlite.Connection):
    """aiosqlite's connection, its statements run in the caller's thread."""

    _changes = 0

    def __init__(self, connector: Callable[[], sqlite3.Connection]) -> None:
        super().__init__(connector, iter_chunk_size=64)
        self._tx = _AtOnce()  # type: ignore[assignment]  # all that is asked of it is to put

    def __await__(self) -> Generator[Any, None, aiosqlite.Connection]:
        return self._connect().__await__()

    async def _connect(self) -> aiosqlite.Connection:
        if self._connection is None:
            self._connection = self._connector()
        return self

    async def _execute(self, fn: Callable[..., Result], *args: Any, **options: Any) -> Result:
        if self._connection is None:
            raise ValueError("Connection closed")
        return fn(*args, **options)

    async def fetch(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """As asyncpg's connections have it."""
        return self._conn.execute(sql, values).fetchall()

    def is_closed(self) -> bool:
        return self._connection is None

    async def commit(self) -> None:
        finish = self._conn.commit
        if self._conn.total_changes == self._changes:
            finish()
            return
        await asyncio.to_thread(finish)
        self._changes = self._conn.total_changes

    def stop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    async def close(self) -> None:
        self.stop()


def connect(path: str, **options: Any) -> InlineConnection:
    """For SQLAlchemy, in place of the driver's own."""
    options["check_same_thread"] = False  # commits happen in a thread
    return InlineConnection(partial(sqlite3.connect, path, **options))


def teach(engine: AsyncEngine, lock_wait: float) -> None:
    """What a connection is told when it is made, and how a transaction begins."""

    @event.listens_for(engine.sync_engine, "connect")
    def _on_connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves, below
        connection.create_function("unicode_lower", 1, lambda text: text and text.lower())
        cursor = connection.cursor()
        for pragma in (
            f"busy_timeout={int(lock_wait * 1000)}",  # changing the journal mode may have to wait
            "journal_mode=WAL",
            "synchronous=NORMAL",
            f"busy_timeout={SHORT_WAIT}",
            "foreign_keys=ON",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def _on_begin(connection: Connection) -> None:
        # A deferred BEGIN that reads and then writes fails with "database is locked" as soon
        # as somebody else wrote in between; a writer therefore says so at once, and waits.
        options = connection.get_execution_options()
        if options.get("reads", False):
            return  # each statement sees what is committed then, as on PostgreSQL
        if not options.get("writes", False):
            connection.exec_driver_sql("BEGIN")
            return
        until = monotonic() + lock_wait
        while True:
            try:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            except Exception as error:
                if "database is locked" not in str(error) or monotonic() > until:
                    raise
            else:
                return
            await_only(asyncio.sleep(PAUSE))
