"""`freshly jobs`: lists, retries and cancels background jobs."""

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from rich.console import Console
from rich.table import Table

from freshly.chassis.data.engine import create_engine
from freshly.chassis.data.transactions import Database
from freshly.chassis.jobs.admin import (
    JobActionRefused,
    cancel,
    list_jobs,
    queue_statistics,
    retry,
)
from freshly.chassis.jobs.definitions import JobState
from freshly.settings import Settings
from freshly.wiring.tables import all_tables

ACTIONS = {"retry": retry, "cancel": cancel}
COLUMNS = ("id", "kind", "state", "attempts", "since (UTC)", "user", "error")


@asynccontextmanager
async def _open_database(settings: Settings) -> AsyncIterator[Database]:
    all_tables()
    engine = create_engine(settings.database)
    try:
        yield Database(engine)
    finally:
        await engine.dispose()


def show(settings: Settings, states: Sequence[str], kind: str | None, limit: int) -> int:
    """Print up to `limit` jobs and the statistics of the queue. Return the exit status."""
    asyncio.run(_show(settings, [JobState(state) for state in states], kind, limit))
    return 0


async def _show(
    settings: Settings, states: Sequence[JobState], kind: str | None, limit: int
) -> None:
    async with _open_database(settings) as db, db.read() as session:
        rows = await list_jobs(session, states, kind, limit)
        queue = await queue_statistics(session, settings.heartbeat_timeout)
    table = Table(*COLUMNS)
    for row in rows:
        since = f"{row.finished_at or row.run_after:%Y-%m-%d %H:%M:%S}"
        user = "" if row.user_id is None else str(row.user_id)
        attempts, error = str(row.attempts), row.error or ""
        table.add_row(row.id, row.kind, row.state, attempts, since, user, error)
    console = Console()
    console.print(table)
    counts = ", ".join(f"{queue.count(state)} {state}" for state in ("queued", "running", "failed"))
    console.print(
        f"{counts}; workers: {queue.workers}; longest wait of a due job: {queue.lag_seconds:.0f} s"
    )


def change(settings: Settings, action: str, ids: Sequence[str]) -> int:
    """Retry or cancel jobs, each in its own transaction, and print those that were refused.

    Returns the exit status, which is 1 if any was refused.
    """
    reasons = asyncio.run(_change(settings, action, ids))
    for reason in reasons:
        print(f"freshly: {reason}", file=sys.stderr)  # noqa: T201
    return 1 if reasons else 0


async def _change(settings: Settings, action: str, ids: Sequence[str]) -> list[str]:
    reasons = []
    async with _open_database(settings) as db:
        for job_id in ids:
            try:
                async with db.write() as session:
                    await ACTIONS[action](session, job_id)
            except JobActionRefused as error:
                reasons.append(str(error))
    return reasons
