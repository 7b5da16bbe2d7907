"""Engines: a pool of connections for sessions, and one for single reads."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import Any
from uuid import uuid4
from weakref import WeakSet

from pydantic_core import from_json
from sqlalchemy import event
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg
from sqlalchemy.engine import URL
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from freshly.chassis.data import sqlite
from freshly.chassis.data.read_pool import (
    MAX_AGE_SECONDS,
    MAX_IDLE_SECONDS,
    PostgresReadPool,
    ReadPool,
    SqliteReadPool,
)
from freshly.chassis.resilience.awake_timeout import AwakeTimeout
from freshly.settings import connect_options

# A statement that waits longer for a lock is a 503. With the wait for a slot, that is within 5 s.
LOCK_TIMEOUT_SECONDS = 3
CONNECT_TIMEOUT_SECONDS = 1.5
MAX_CONCURRENT_CONNECTS = 8  # of each engine
# PostgreSQL ends a slow statement. If its message never arrives, asyncpg gives up so much later.
COMMAND_TIMEOUT_MARGIN_SECONDS = 5
# A read takes one short statement and a session takes several, so sessions get the larger pool.
READ_SHARE = 0.4
ENGINE_OPTIONS: dict[str, Any] = {
    "json_deserializer": from_json,  # twice as fast as the standard library's
    "hide_parameters": True,  # errors are logged, and parameters are what users wrote
}
LAST_USED = "last_used"  # in `info` of a connection, by `monotonic`

SERVER_SETTINGS = {
    "application_name": "freshly",
    "lock_timeout": f"{LOCK_TIMEOUT_SECONDS}s",
    "idle_in_transaction_session_timeout": "60s",
}
# A pooler such as PgBouncer gives each transaction another connection of PostgreSQL, so there
# nothing may be prepared or set on a connection.
POOLER_OPTIONS: dict[str, Any] = {"statement_cache_size": 0}
SQLALCHEMY_POOLER_OPTIONS: dict[str, Any] = {
    "prepared_statement_cache_size": 0,
    "prepared_statement_name_func": lambda: f"freshly_{uuid4().hex}",
}


@dataclass(frozen=True)
class Capacity:
    """How many connections each pool may hold."""

    reads: int
    sessions: int

    @classmethod
    def of(cls, total: int) -> "Capacity":
        reads = max(1, int(total * READ_SHARE))
        return cls(reads, max(1, total - reads))


class Engine(AsyncEngine):
    """SQLAlchemy's engine for sessions, and beside it a pool for single reads."""

    def __init__(
        self,
        engine: AsyncEngine,
        capacity: Capacity,
        reads: ReadPool,
        connector: "Connector | None" = None,
    ) -> None:
        super().__init__(engine.sync_engine)
        self.capacity = capacity
        self.reads = reads
        self.connector = connector  # None on SQLite

    async def dispose(self, close: bool = True) -> None:
        """Close the connections of both pools. The next use opens new ones."""
        await self.reads.close()
        await super().dispose(close)


def create_engine(
    url: URL,
    *,
    pool_size: int = 5,
    max_overflow: int = 5,
    past_pooler: bool = True,
    statement_timeout: int | None = None,
) -> Engine:
    """Return an engine with at most `pool_size` + `max_overflow` connections, but at least two.

    Two fifths of them are for reads. The others are for sessions, and up to `pool_size` of those
    stay open. `statement_timeout` is in seconds. `past_pooler=False` says that the URL is a
    pooler's.
    """
    capacity = Capacity.of(pool_size + max_overflow)
    kept_open = min(pool_size, capacity.sessions)
    pool = {"pool_size": kept_open, "max_overflow": capacity.sessions - kept_open}
    if url.get_backend_name() == "sqlite":
        return _sqlite_engine(url, capacity, pool)
    settings = _connection_settings(url, statement_timeout, past_pooler=past_pooler)
    bare = url.set(query={})  # the settings have its options
    return _postgres_engine(bare, capacity, pool, settings, past_pooler=past_pooler)


def _sqlite_engine(url: URL, capacity: Capacity, pool: Mapping[str, int]) -> Engine:
    connect = partial(sqlite.connect, lock_timeout_seconds=LOCK_TIMEOUT_SECONDS)
    engine = create_async_engine(
        url, connect_args={"async_creator_fn": connect}, **ENGINE_OPTIONS, **pool
    )
    sqlite.begin_transactions(engine, LOCK_TIMEOUT_SECONDS)
    arguments, options = engine.dialect.create_connect_args(url)
    reads = SqliteReadPool(engine.dialect, partial(connect, *arguments, **options))
    return Engine(engine, capacity, reads)


def _postgres_engine(
    url: URL,
    capacity: Capacity,
    pool: Mapping[str, int],
    settings: Mapping[str, Any],
    *,
    past_pooler: bool,
) -> Engine:
    connector = Connector(url, settings)
    only_sqlalchemys = {} if past_pooler else SQLALCHEMY_POOLER_OPTIONS
    engine = create_async_engine(
        url,
        connect_args={"async_creator_fn": connector.connect, **settings, **only_sqlalchemys},
        **ENGINE_OPTIONS,
        pool_recycle=MAX_AGE_SECONDS,
        **pool,
    )
    _ping_after_idle(engine)
    dialect = engine.dialect
    assert isinstance(dialect, PGDialect_asyncpg), dialect
    reads = PostgresReadPool(dialect, connector.connect, connector.options)
    return Engine(engine, capacity, reads, connector)


def _connection_settings(
    url: URL, statement_timeout: int | None, *, past_pooler: bool
) -> dict[str, Any]:
    """Return what asyncpg is told for each connection, besides where PostgreSQL is."""
    settings = {**connect_options(url), **POOLER_OPTIONS}
    if past_pooler:
        limit = {"statement_timeout": f"{statement_timeout}s"} if statement_timeout else {}
        named = {name: url.query[name] for name in SERVER_SETTINGS if name in url.query}
        server_settings = {**SERVER_SETTINGS, **limit, **named}
        settings = {**connect_options(url), "server_settings": server_settings}
    if statement_timeout:
        settings["command_timeout"] = statement_timeout + COMMAND_TIMEOUT_MARGIN_SECONDS
    return settings


class Connector:
    """Opens connections to PostgreSQL, a few at a time, and can terminate all of them.

    Fifty that are opened at once slow each other down until all of them are late. A caller waits
    for its turn for as long as the callers ahead of it get their connections. If one of those times
    out, it gives up too: a silent database is not tried by each caller in turn.
    """

    def __init__(self, url: URL, settings: Mapping[str, Any]) -> None:
        """`settings` are asyncpg's options besides those in the URL."""
        _, options = url.get_dialect()().create_connect_args(url)
        for name in SQLALCHEMY_POOLER_OPTIONS:
            options.pop(name, None)
        self.options = {**options, **settings}
        self._timeout_seconds = settings.get("timeout", CONNECT_TIMEOUT_SECONDS)
        self._turns = asyncio.Semaphore(MAX_CONCURRENT_CONNECTS)
        self._timeouts = 0
        self._connections: WeakSet[Any] = WeakSet()

    async def connect(self, *args: Any, **options: Any) -> Any:
        """Return a connection of asyncpg. Raises TimeoutError, ConnectionError or asyncpg's errors.

        SQLAlchemy and asyncpg's pool call it in place of `asyncpg.connect`.
        """
        timeouts = self._timeouts
        async with self._turns:
            if self._timeouts > timeouts:
                raise TimeoutError
            try:
                async with AwakeTimeout(self._timeout_seconds):
                    connection = await _connect(*args, **options)
            except TimeoutError:
                self._timeouts += 1
                raise
        self._connections.add(connection)
        return connection

    async def probe(self, timeout_seconds: float) -> None:
        """Open a connection and close it. Raises TimeoutError if PostgreSQL says nothing in time.

        It does not wait for a turn. A refusal by PostgreSQL is an answer, too.
        """
        import asyncpg  # type: ignore[import-untyped] # noqa: PLC0415 - SQLite does without it

        with suppress(asyncpg.PostgresError):
            async with AwakeTimeout(timeout_seconds):
                connection = await _connect(**self.options)
                await connection.close()

    def terminate_all(self) -> None:
        """Close all connections without a word to PostgreSQL. Their statements fail at once."""
        for connection in list(self._connections):
            connection.terminate()
        self._connections.clear()


async def _connect(*args: Any, **options: Any) -> Any:
    """Connect. Any other error of the network, such as an unknown host, is a ConnectionError."""
    import asyncpg  # noqa: PLC0415 - SQLite does without it

    try:
        return await asyncpg.connect(*args, **options)
    except (ConnectionError, TimeoutError):
        raise
    except OSError as error:
        raise ConnectionError(str(error)) from error


def _ping_after_idle(engine: AsyncEngine) -> None:
    """Replace a session's connection that died before the session uses it.

    asyncpg knows at once when the server has closed a connection. Only one that was unused for a
    while may have died without a word, so only that one is pinged. SQLAlchemy's `pool_pre_ping`
    pings at each checkout, which costs a round trip.
    """

    @event.listens_for(engine.sync_engine, "checkin")
    def _on_checkin(_connection: Any, record: Any) -> None:
        record.info[LAST_USED] = monotonic()

    @event.listens_for(engine.sync_engine, "checkout")
    def _on_checkout(connection: Any, record: Any, _proxy: Any) -> None:
        last_used = record.info.get(LAST_USED)
        if last_used is None:
            return
        if connection.driver_connection.is_closed():
            raise InvalidatePoolError
        if monotonic() - last_used > MAX_IDLE_SECONDS:
            try:
                engine.dialect.do_ping(connection)
            except Exception as error:
                raise InvalidatePoolError from error
