"""Is the database there at all? Whoever waits for one that fell silent is told soon.

A database that is stopped says so, and one whose network swallows everything says nothing: what
was sent waits for minutes. A statement may well take a while, or wait for a lock; so when one does,
the database is asked by a connection of its own. If that gets no answer either, and nobody else has
had one meanwhile, all others are hung up on, and nobody waits any more until it answers.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from time import monotonic
from typing import Any

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

from freshly.chassis.data.engine import IDLE
from freshly.chassis.errors import Unavailable
from freshly.chassis.observability.logging import get_logger
from freshly.chassis.resilience.awake_timeout import AwakeTimeout

logger = get_logger(__name__)

OVERDUE = 0.5  # seconds that a unit of work may take before anybody asks
ANSWERS_WITHIN = 1.1
REST = 1.0  # seconds until it is asked again when it has answered
LOOK = 0.1
OURS_ONLY = ("prepared_statement_cache_size", "prepared_statement_name_func")


class DatabaseWatchdog:
    def __init__(self, engine: AsyncEngine | None = None) -> None:
        self._engine = engine
        self._db: dict[object, float] = {}  # when they began, the oldest first
        self._connections: set[Any] = set()  # the driver's, in use
        self._answered_at = 0.0  # when somebody last had what he wanted of it
        self.is_silent = False

    def check(self) -> None:
        if self.is_silent:
            raise Unavailable

    def begin(self) -> object:
        """Gives a unit of work's place among those that are watched, to be given to `end`."""
        self.check()
        unit = object()
        self._db[unit] = monotonic()
        return unit

    def end(self, unit: object) -> None:
        del self._db[unit]

    def answered(self) -> None:
        """Somebody has had what he wanted of the database."""
        self._answered_at = monotonic()

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        if self._engine is None or self._engine.dialect.name == "sqlite":
            yield
            return
        event.listen(self._engine.sync_engine, "checkout", self._on_checkout)
        event.listen(self._engine.sync_engine, "checkin", self._on_checkin)
        event.listen(self._engine.sync_engine, "invalidate", self._on_invalidate)
        beat = asyncio.create_task(self._beat(self._engine))
        try:
            yield
        finally:
            beat.cancel()
            with suppress(asyncio.CancelledError):
                await beat

    def _on_checkout(self, connection: Any, _record: Any, _proxy: Any) -> None:
        self._connections.add(connection.driver_connection)

    def _on_checkin(self, connection: Any, record: Any) -> None:
        if connection is not None:  # or it broke
            self._connections.discard(connection.driver_connection)
            if IDLE not in record.info:
                self.answered()

    def _on_invalidate(self, connection: Any, _record: Any, _error: Any) -> None:
        self._connections.discard(connection.driver_connection)

    async def _beat(self, engine: AsyncEngine) -> None:
        while True:
            await asyncio.sleep(LOOK)
            began = next(iter(self._db.values()), None)
            if self.is_silent or (began is not None and monotonic() - began > OVERDUE):
                await self._ask(engine)

    async def _ask(self, engine: AsyncEngine) -> None:
        asked_at = monotonic()
        try:
            await _connect(engine)
        except TimeoutError:
            if self.is_silent or self._answered_at < asked_at:
                if not self.is_silent:
                    logger.warning("the database is silent")
                self.is_silent = True
                self._terminate_connections()
                return
        except Exception as error:  # noqa: BLE001 - it does say something, and will to others
            logger.warning("the database is away", error=repr(error))
        if self.is_silent:
            logger.warning("the database is not silent any more")
        self.is_silent = False
        await asyncio.sleep(REST)

    def _terminate_connections(self) -> None:
        """Whoever waits for an answer is told that there will be none."""
        for connection in self._connections:
            connection.terminate()
        self._connections.clear()


async def _connect(engine: AsyncEngine) -> None:
    import asyncpg  # type: ignore[import-untyped] # noqa: PLC0415 - it has no types; SQLite needs none

    _, options = engine.dialect.create_connect_args(engine.url)
    for name in OURS_ONLY:
        options.pop(name, None)
    with suppress(asyncpg.PostgresError):  # a refusal is an answer
        async with AwakeTimeout(ANSWERS_WITHIN):
            connection = await asyncpg.connect(**options)
            await connection.close()
