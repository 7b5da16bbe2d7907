"""Detects a database that accepts connections but says nothing.

PostgreSQL closes its connections when it stops. A network that swallows everything closes nothing,
and a client waits for minutes. But a statement may also take long by itself, or wait for a lock. So
when a request uses the database for long, the watchdog opens a connection of its own. If PostgreSQL
does not answer that either, nor any statement meanwhile, the watchdog terminates all connections.
Then requests fail at once until PostgreSQL answers again.
"""

import asyncio
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager, suppress
from time import monotonic
from typing import Any

from sqlalchemy import event

from freshly.chassis.data.engine import Connector, Engine
from freshly.chassis.observability.logging import get_logger

logger = get_logger(__name__)

# A request learns within 2 s that PostgreSQL is silent: overdue, the next look, and the probe.
OVERDUE_SECONDS = 0.5  # how long a request may use the database before the watchdog probes
LOOK_INTERVAL_SECONDS = 0.1
PROBE_TIMEOUT_SECONDS = 1.1
PAUSE_AFTER_ANSWER_SECONDS = 1.0


class DatabaseWatchdog:
    """Knows the uses of the database from `Database`. It watches PostgreSQL only."""

    def __init__(self, engine: Engine) -> None:
        self.is_silent = False
        self.in_use: dict[Hashable, float] = {}  # since when, by `monotonic`; the oldest first
        self._engine = engine
        self._answered_at = 0.0

    def answered(self, *_: Any) -> None:
        """Note that PostgreSQL has answered just now."""
        self._answered_at = monotonic()

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        connector = self._engine.connector
        if connector is None:
            yield
            return
        event.listen(self._engine.sync_engine, "after_cursor_execute", self.answered)
        watch = asyncio.create_task(self._watch(connector))
        try:
            yield
        finally:
            watch.cancel()
            with suppress(asyncio.CancelledError):
                await watch

    async def _watch(self, connector: Connector) -> None:
        while True:
            await asyncio.sleep(LOOK_INTERVAL_SECONDS)
            oldest = next(iter(self.in_use.values()), None)
            if self.is_silent or (oldest is not None and monotonic() - oldest > OVERDUE_SECONDS):
                await self._probe(connector)

    async def _probe(self, connector: Connector) -> None:
        started = monotonic()
        try:
            await connector.probe(PROBE_TIMEOUT_SECONDS)
        except TimeoutError:
            if self.is_silent or self._answered_at < started:
                if not self.is_silent:
                    logger.warning("the database is silent")
                self.is_silent = True
                connector.terminate_all()
                return
        except Exception as error:  # noqa: BLE001 - an error is an answer: requests get it too
            logger.warning("the database is away", error=repr(error))
        if self.is_silent:
            logger.warning("the database answers again")
        self.is_silent = False
        await asyncio.sleep(PAUSE_AFTER_ANSWER_SECONDS)
