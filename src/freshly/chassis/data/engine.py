"""Engines that know their database's manners."""

import asyncio
from time import monotonic
from typing import Any
from uuid import uuid4

from pydantic_core import from_json
from sqlalchemy import event
from sqlalchemy.engine import URL
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from freshly.chassis.data import sqlite
from freshly.chassis.resilience.awake_timeout import AwakeTimeout

LOCK_WAIT = 3  # seconds until a locked table is a 503; with the wait at the gate, 5
CONNECTS_WITHIN = 1.5  # seconds
CONNECT_AT_ONCE = 8  # for each engine
LATE = 5  # seconds that the end of a statement may be late
LONG_UNUSED = 10  # seconds after which a connection is asked whether it still lives
OLDEST = 1800  # seconds
USED = "used"  # when a connection last answered, by `monotonic`, in its `info`
IDLE = "idle"  # in its `info` when it comes back without having answered just now
DIRECT = {
    "application_name": "freshly",
    "lock_timeout": f"{LOCK_WAIT}s",
    "idle_in_transaction_session_timeout": "60s",
}
POOLED: dict[str, Any] = {
    "statement_cache_size": 0,
    "prepared_statement_cache_size": 0,
    "prepared_statement_name_func": lambda: f"freshly_{uuid4().hex}",
}


def create_engine(
    url: URL,
    *,
    pool_size: int = 5,
    max_overflow: int = 5,
    past_pooler: bool = True,
    statement_timeout: int | None = None,
) -> AsyncEngine:
    """An engine for that database; `statement_timeout` in seconds.

    A pooler such as PgBouncer hands each transaction to another connection, so behind one
    (`past_pooler=False`) nothing is set for, or prepared on, a connection.
    """
    sizes: dict[str, Any] = {"pool_size": pool_size, "max_overflow": max_overflow}
    sizes["json_deserializer"] = from_json  # twice as fast as the standard library's
    if url.get_backend_name() == "sqlite":
        creator = {"async_creator_fn": sqlite.connect}
        engine = create_async_engine(url, connect_args=creator, **sizes)
        sqlite.teach(engine, LOCK_WAIT)
        return engine
    options = POOLED
    if past_pooler:
        limit = {"statement_timeout": f"{statement_timeout}s"} if statement_timeout else {}
        options = {"server_settings": {**DIRECT, **limit}}
    if statement_timeout:  # the server ends it; who never hears of that gives up by himself
        options = {**options, "command_timeout": statement_timeout + LATE}
    options = {"async_creator_fn": ConnectLimiter().connect, **options}
    engine = create_async_engine(url, pool_recycle=OLDEST, connect_args=options, **sizes)
    _ask_before_use(engine)
    return engine


class ConnectLimiter:
    """The way to new connections, a few at a time.

    Fifty who connect at once slow each other down until all of them are late. Who waits for his
    turn goes on waiting for as long as the others get in, and gives up with the first of those
    ahead of him who has to: a database that is silent is not asked again by each in turn.
    """

    def __init__(self) -> None:
        self._turns = asyncio.Semaphore(CONNECT_AT_ONCE)
        self._given_up = 0  # how often

    async def connect(self, *args: Any, **options: Any) -> Any:
        given_up = self._given_up
        async with self._turns:
            if self._given_up > given_up:
                raise TimeoutError
            try:
                async with AwakeTimeout(CONNECTS_WITHIN):
                    return await _connect(*args, **options)
            except TimeoutError:
                self._given_up += 1
                raise


async def _connect(*args: Any, **options: Any) -> Any:
    """Whatever the network says, such as that there is no host of that name: it is not there."""
    import asyncpg  # type: ignore[import-untyped] # noqa: PLC0415 - it has no types; SQLite needs none

    try:
        return await asyncpg.connect(*args, **options)
    except (ConnectionError, TimeoutError):
        raise
    except OSError as error:
        raise ConnectionError(str(error)) from error


def _ask_before_use(engine: AsyncEngine) -> None:
    """A connection that died is replaced before anybody uses it.

    The driver knows at once when the server closed it. Whether it died without a word is asked
    only after a while of not using it: SQLAlchemy's own pre-ping asks every time, which costs a
    round trip, as much as a read of a row.
    """

    @event.listens_for(engine.sync_engine, "checkin")
    def _on_checkin(_connection: Any, record: Any) -> None:
        if IDLE not in record.info:
            record.info[USED] = monotonic()

    @event.listens_for(engine.sync_engine, "checkout")
    def _on_checkout(connection: Any, record: Any, _proxy: Any) -> None:
        record.info.pop(IDLE, None)
        used = record.info.get(USED)
        if used is None:
            return
        if connection.driver_connection.is_closed():
            raise InvalidatePoolError
        if monotonic() - used > LONG_UNUSED:
            try:
                engine.dialect.do_ping(connection)
            except Exception as error:
                raise InvalidatePoolError from error
