"""The lock that lets one process at a time migrate and seed a database."""

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from time import monotonic

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from freshly.chassis.observability.logging import get_logger
from freshly.commands.errors import CommandFailed

logger = get_logger(__name__)

LOCK_NUMBER = 7_277_436  # any number that no other advisory lock has
LONGEST_WAIT = timedelta(minutes=15)
PAUSE_SECONDS = 0.1


def migration_lock(engine: AsyncEngine) -> AbstractAsyncContextManager[None]:
    """Hold the lock of the engine's database. It ends with the process, however that ends.

    Raises CommandFailed if another process holds it for longer than LONGEST_WAIT.
    """
    if engine.dialect.name == "postgresql":
        return _postgres_lock(engine)
    return _folder_lock(Path(engine.url.database or ".").resolve().parent)


@asynccontextmanager
async def _postgres_lock(engine: AsyncEngine) -> AsyncIterator[None]:
    """Hold an advisory lock until its transaction ends.

    A transaction that has a snapshot stops each CREATE INDEX CONCURRENTLY, also that of the process
    that holds the lock. So each attempt has a transaction of its own, and the last statement is one
    that needs no snapshot.
    """
    async with engine.connect() as connection:

        async def is_taken() -> bool:
            await connection.rollback()
            attempt = text(f"SELECT pg_try_advisory_xact_lock({LOCK_NUMBER})")
            is_ours = (await connection.execute(attempt)).scalar_one()
            # The transaction is idle while the migrations run on another connection.
            await connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
            return not is_ours

        await _wait_while(is_taken)
        yield


@asynccontextmanager
async def _folder_lock(folder: Path) -> AsyncIterator[None]:
    """Lock the folder of a SQLite database. SQLite's own locks are on the file in it."""
    descriptor = os.open(folder, os.O_RDONLY)

    async def is_taken() -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False

    try:
        await _wait_while(is_taken)
        yield
    finally:
        os.close(descriptor)


async def _wait_while(is_taken: Callable[[], Awaitable[bool]]) -> None:
    deadline = monotonic() + LONGEST_WAIT.total_seconds()
    while await is_taken():
        if monotonic() > deadline:
            minutes = LONGEST_WAIT // timedelta(minutes=1)
            raise CommandFailed(
                f"DATABASE_URL: another process has been migrating this database for {minutes}"
                " minutes; stop it, and start again"
            )
        await asyncio.sleep(PAUSE_SECONDS)
