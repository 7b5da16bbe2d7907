"""`freshly jobs`: lists, retries and cancels background jobs."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from freshly.chassis.data.engine import create_engine
from freshly.chassis.data.transactions import Database
from freshly.chassis.jobs.admin import (
    JobActionRefused,
    QueueStatistics,
    cancel,
    list_jobs,
    queue_statistics,
    retry,
)
from freshly.chassis.jobs.definitions import JobState
from freshly.chassis.jobs.models import JobRow
from freshly.settings import Settings
from freshly.wiring.tables import all_tables

ACTIONS = {"retry": retry, "cancel": cancel}
ID_WIDTH = 32  # characters of an id, which is never cut
PIPE_WIDTH = 400  # characters of a line in a pipe, where nothing is cut
COLUMNS = ("id", "kind", "state", "attempts", "since (UTC)", "user", "error")


@asynccontextmanager
async def _open_database(settings: Settings) -> AsyncIterator[Database]:
    all_tables()
    engine = create_engine(settings.database)
    try:
        yield Database(engine)
    finally:
        await engine.dispose()


def show(
    settings: Settings, states: Sequence[str], kind: str | None, limit: int, *, in_json: bool
) -> int:
    """Print up to `limit` jobs and the statistics of the queue. Return the exit status."""
    wanted = [JobState(state) for state in states]
    rows, queue = asyncio.run(_read(settings, wanted, kind, limit))
    if in_json:
        print(json.dumps({"jobs": [_as_json(row) for row in rows], **_counts(queue)}))  # noqa: T201
    else:
        _show(rows, queue)
    return 0


async def _read(
    settings: Settings, states: Sequence[JobState], kind: str | None, limit: int
) -> tuple[Sequence[JobRow], QueueStatistics]:
    async with _open_database(settings) as db, db.read() as session:
        rows = await list_jobs(session, states, kind, limit)
        return rows, await queue_statistics(session, settings.heartbeat_timeout)


def _as_json(row: JobRow) -> dict[str, Any]:
    finished = row.finished_at.isoformat() if row.finished_at else None
    return {
        "id": row.id,
        "kind": row.kind,
        "state": row.state,
        "attempts": row.attempts,
        "run_after": row.run_after.isoformat(),
        "finished_at": finished,
        "user_id": row.user_id,
        "error": row.error,
    }


def _counts(queue: QueueStatistics) -> dict[str, Any]:
    counts = {state: queue.count(state) for state in ("queued", "running", "failed")}
    return {**counts, "workers": queue.workers, "lag_seconds": queue.lag_seconds}


def _show(rows: Sequence[JobRow], queue: QueueStatistics) -> None:
    table = Table(*COLUMNS)
    for name in COLUMNS[:3]:  # what an operator copies
        table.columns[COLUMNS.index(name)].no_wrap = True
    for row in rows:
        since = f"{row.finished_at or row.run_after:%Y-%m-%d %H:%M:%S}"
        user = "" if row.user_id is None else str(row.user_id)
        attempts, error = str(row.attempts), row.error or ""
        table.add_row(row.id, row.kind, row.state, attempts, since, user, Text(error))
    console = Console()
    if not console.is_terminal:
        console = Console(width=PIPE_WIDTH)
    table.columns[0].min_width = ID_WIDTH
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
