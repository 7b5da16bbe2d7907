"""Readiness: what a server needs to serve requests, asked at most twice a second."""

import asyncio
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Literal

from anyio import to_thread
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from freshly.chassis.data.schema_state import Revisions, SchemaState
from freshly.chassis.jobs.admin import count_workers
from freshly.chassis.observability.logging import error_text, get_logger
from freshly.chassis.resources import Resources

logger = get_logger(__name__)

TIMEOUT_SECONDS = 2
# No limit counts calls of /ready, so the database is asked at most twice a second.
FRESH_SECONDS = 0.5
LOW_DISK_BYTES = 500 * 2**20
FULL_DISK_BYTES = 20 * 2**20  # SQLite needs some for its log, and a picture takes up to 10 MB
UNDEFINED_TABLE = "42P01"  # SQLSTATE
Disk = Literal["ok", "low", "full", "unused", "unknown"]


@dataclass(frozen=True)
class Report:
    """The findings of a look. `workers` have a recent heartbeat; None means that it is not known.

    Only the database and its schema decide if the server is ready. A full disk, a Redis that is
    away, or no worker stops some of the work. A balancer that takes the server away for that would
    stop all of it.
    """

    database: Literal["connected", "disconnected"] = "disconnected"
    schema: SchemaState | None = None
    disk: Disk = "unknown"
    workers: int | None = None
    reason: str | None = None  # for the log

    @property
    def is_ready(self) -> bool:
        return self.database == "connected" and self.schema in ("current", "newer")


class Readiness:
    """Looks at the database, its schema, the workers and the disk. Requests share a look."""

    def __init__(self, revisions: Revisions) -> None:
        self._revisions = revisions
        self._report = Report()
        self._looked_at = -FRESH_SECONDS
        self._look: asyncio.Task[Report] | None = None

    async def check(self, resources: Resources) -> Report:
        if self._report.is_ready and monotonic() - self._looked_at < FRESH_SECONDS:
            return self._report
        if self._look is None or self._look.done():
            self._look = asyncio.create_task(self._look_around(resources))
        return await asyncio.shield(self._look)

    async def _look_around(self, resources: Resources) -> Report:
        report = await self._ask(resources)
        if report.reason != self._report.reason:
            if report.reason:
                logger.error("not ready", reason=report.reason)
            else:
                logger.warning("ready again")
        self._report, self._looked_at = report, monotonic()
        return report

    async def _ask(self, resources: Resources) -> Report:
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                disk = await disk_state(resources.settings.folders_written)
                return await self._ask_database(resources, disk)
        except Exception as error:  # noqa: BLE001 - any error means "not ready"
            return Report(reason=f"{type(error).__name__}: {error_text(error)}")

    async def _ask_database(self, resources: Resources, disk: Disk) -> Report:
        async with resources.db.for_group("ready").read() as session:
            try:
                query = text("SELECT version_num FROM alembic_version")
                current: str | None = await session.scalar(query)
            except DBAPIError as error:
                if not _is_undefined_table(error):
                    raise
                current = None
            schema = self._revisions.state_of(current)
            if schema in ("missing", "outdated"):
                reason = f"the schema is {schema} ({current}); run `freshly migrate`"
                return Report("connected", schema, disk, reason=reason)
            workers = await count_workers(session, resources.settings.heartbeat_timeout)
            return Report("connected", schema, disk, workers)


def _is_undefined_table(error: DBAPIError) -> bool:
    sqlstate = getattr(error.orig, "sqlstate", None)
    return sqlstate == UNDEFINED_TABLE or "no such table" in str(error.orig)


async def disk_state(folders: Iterable[Path]) -> Disk:
    """Return the state of the fullest disk. A network disk may hang, so a thread asks."""
    free = await to_thread.run_sync(free_bytes, folders, abandon_on_cancel=True)
    if free is None:
        return "unused"
    if free < FULL_DISK_BYTES:
        return "full"
    return "low" if free < LOW_DISK_BYTES else "ok"


def free_bytes(folders: Iterable[Path]) -> int | None:
    """Return the free space of the fullest of the disks, or None without a folder."""
    spaces = [os.statvfs(folder) for folder in folders if folder.exists()]
    return min((space.f_bavail * space.f_frsize for space in spaces), default=None)
