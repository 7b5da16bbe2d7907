"""SQLite in the event loop.

aiosqlite runs each statement in a thread of the connection. A household's statement takes SQLite
about ten microseconds, and the way to the thread and back takes several times that, twenty times in
a request. So statements run in the caller's thread. Only what may take long does not: the commit of
a change, which waits for the disk, runs in a thread, and a writer that waits for another process
sleeps between its attempts.
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
BUSY_TIMEOUT_MS = 20  # how long SQLite itself waits for a lock; it blocks the event loop
RETRY_PAUSE_SECONDS = 0.01  # between two attempts to begin a writing transaction


class _InlineQueue:
    """Stands in for aiosqlite's queue to its thread. SQLAlchemy puts some work there directly."""

    @staticmethod
    def put_nowait(work: tuple[asyncio.Future[Any], Callable[[], Any]]) -> None:
        future, function = work
        try:
            future.set_result(function())
        except Exception as error:  # noqa: BLE001 - the future's reader handles it
            future.set_exception(error)


class InlineConnection(aiosqlite.Connection):
    """A connection of aiosqlite whose statements run in the caller's thread.

    It overrides private methods of aiosqlite, whose version is therefore pinned.
    """

    _committed_changes = 0

    def __init__(self, connector: Callable[[], sqlite3.Connection]) -> None:
        super().__init__(connector, iter_chunk_size=64)
        self._tx = _InlineQueue()  # type: ignore[assignment]  # aiosqlite only puts into it

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
        """Return all rows, like the method of asyncpg's connections with this name."""
        return self._conn.execute(sql, values).fetchall()

    def is_closed(self) -> bool:
        return self._connection is None

    async def commit(self) -> None:
        commit = self._conn.commit
        if self._conn.total_changes == self._committed_changes:
            commit()
            return
        await asyncio.to_thread(commit)
        self._committed_changes = self._conn.total_changes

    def stop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    async def close(self) -> None:
        self.stop()


def connect(path: str, *, lock_timeout_seconds: float, **options: Any) -> InlineConnection:
    """Return a connection that opens when it is awaited."""
    open_ = partial(_open, path, lock_timeout_seconds=lock_timeout_seconds, **options)
    return InlineConnection(open_)


def _open(path: str, *, lock_timeout_seconds: float, **options: Any) -> sqlite3.Connection:
    options["check_same_thread"] = False  # commits happen in a thread
    options["isolation_level"] = None  # `begin_transactions` says BEGIN
    connection: sqlite3.Connection = sqlite3.connect(path, **options)
    connection.create_function("unicode_lower", 1, lambda text: text and text.lower())
    for pragma in (
        # Another process may hold a lock while the journal mode changes.
        f"busy_timeout={int(lock_timeout_seconds * 1000)}",
        "journal_mode=WAL",
        "synchronous=NORMAL",
        f"busy_timeout={BUSY_TIMEOUT_MS}",
        "foreign_keys=ON",
    ):
        connection.execute(f"PRAGMA {pragma}")
    return connection


def begin_transactions(engine: AsyncEngine, lock_timeout_seconds: float) -> None:
    """Begin each transaction of the engine as its execution options say.

    `reads`: none, each statement sees what is committed then, as on PostgreSQL. `writes`: BEGIN
    IMMEDIATE, because a deferred BEGIN that reads and then writes fails with "database is locked"
    as soon as another process has written in between. Otherwise a deferred BEGIN.
    """

    @event.listens_for(engine.sync_engine, "begin")
    def _on_begin(connection: Connection) -> None:
        options = connection.get_execution_options()
        if options.get("reads", False):
            return
        if not options.get("writes", False):
            connection.exec_driver_sql("BEGIN")
            return
        deadline = monotonic() + lock_timeout_seconds
        while True:
            try:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            except Exception as error:
                if "database is locked" not in str(error) or monotonic() > deadline:
                    raise
            else:
                return
            await_only(asyncio.sleep(RETRY_PAUSE_SECONDS))
