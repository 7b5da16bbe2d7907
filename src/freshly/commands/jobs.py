"""`freshly jobs`: what waits, what is parked, and what to do about it."""

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from rich.console import Console
from rich.table import Table

from freshly.chassis.data.engine import create_engine
from freshly.chassis.data.transactions import Database
from freshly.chassis.jobs.admin import CannotBeDone, cancel, listed, load_of, retry
from freshly.chassis.jobs.definitions import JobState
from freshly.settings import Settings
from freshly.wiring.tables import all_tables

ACTIONS = {"retry": retry, "cancel": cancel}
COLUMNS = ("id", "kind", "state", "tries", "since (UTC)", "person", "error")


@asynccontextmanager
async def _db(settings: Settings) -> AsyncIterator[Database]:
    all_tables()
    engine = create_engine(settings.database)
    try:
        yield Database(engine)
    finally:
        await engine.dispose()


def show(settings: Settings, states: Sequence[str], kind: str | None, most: int) -> int:
    asyncio.run(_show(settings, [JobState(state) for state in states], kind, most))
    return 0


async def _show(
    settings: Settings, states: Sequence[JobState], kind: str | None, most: int
) -> None:
    async with _db(settings) as db, db.read() as session:
        rows = await listed(session, states, kind, most)
        load = await load_of(session)
    table = Table(*COLUMNS)
    for row in rows:
        since = f"{row.finished_at or row.run_after:%Y-%m-%d %H:%M:%S}"
        person = "" if row.user_id is None else str(row.user_id)
        tries, error = str(row.attempts), row.error or ""
        table.add_row(row.id, row.kind, row.state, tries, since, person, error)
    console = Console()
    console.print(table)
    counts = ", ".join(f"{load.count(state)} {state}" for state in ("queued", "running", "failed"))
    console.print(f"{counts}; {load.workers} working; the oldest waits for {load.lag:.0f} s")


def change(settings: Settings, action: str, ids: Sequence[str]) -> int:
    """Each by itself; the exit status is 1 if one could not be done."""
    refused = asyncio.run(_change(settings, action, ids))
    for reason in refused:
        print(f"freshly: {reason}", file=sys.stderr)  # noqa: T201
    return 1 if refused else 0


async def _change(settings: Settings, action: str, ids: Sequence[str]) -> list[str]:
    refused = []
    async with _db(settings) as db:
        for job in ids:
            try:
                async with db.write() as session:
                    await ACTIONS[action](session, job)
            except CannotBeDone as error:
                refused.append(str(error))
    return refused
