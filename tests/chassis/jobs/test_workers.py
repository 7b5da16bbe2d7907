"""Worker processes that are killed, paused and continued: no job is lost or done twice."""

import asyncio
import os
import signal
import sys
from collections import Counter
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from sqlalchemy import select, text

from freshly.chassis.jobs import JobQueue
from freshly.chassis.jobs.models import JobRow, WorkerRow
from tests.conftest import until
from tests.support.worker import Mark

TIMEOUT_SECONDS = 60  # against hanging; nothing is measured by it
KILLS = 4
REPOSITORY = Path(__file__).parents[3]


class WorkerProcess:
    def __init__(self, process):
        self.process = process
        self.output = b""

    async def prints(self, text):
        """Wait until the process prints the text."""
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while text not in self.output:
                line = await self.process.stdout.readline()
                assert line, self.output
                self.output += line

    def signal(self, number):
        self.process.send_signal(number)

    async def end(self, number):
        """Send the signal, wait until the process has ended, and return its exit status."""
        self.signal(number)
        async with asyncio.timeout(TIMEOUT_SECONDS):
            rest, _ = await self.process.communicate()
        self.output += rest
        return self.process.returncode


class Workers:
    """Starts worker processes, and reads what they have done."""

    def __init__(self, db, settings):
        self.db, self.settings, self.started = db, settings, []

    async def start(self, *arguments, **environment):
        inherited = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.support.worker", *arguments),
            cwd=REPOSITORY,
            env={
                **inherited,
                "DATABASE_URL": self.settings.database_url.get_secret_value(),
                "DATA_DIR": str(self.settings.data_dir),
                **environment,
            },
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        worker = WorkerProcess(process)
        self.started.append(worker)
        await worker.prints(b"ready")
        return worker

    async def enqueue(self, count, **fields):
        async with self.db.write() as session:
            for number in range(count):
                await JobQueue(session).enqueue(Mark(number=number, **fields))

    async def marks(self):
        """Return how often each job was done, by its number."""
        async with self.db.read() as session:
            return Counter(await session.scalars(text("SELECT number FROM marks")))

    async def rows(self):
        async with self.db.read() as session:
            return (await session.scalars(select(JobRow).order_by(JobRow.id))).all()

    async def registered(self):
        async with self.db.read() as session:
            return (await session.scalars(select(WorkerRow.id))).all()

    async def are_done(self):
        return {row.state for row in await self.rows()} == {"done"}


@pytest.fixture
async def workers(app, settings):
    db = app.resources.db
    async with db.write() as session:
        await session.execute(text("CREATE TABLE marks (number INTEGER)"))
    pool = Workers(db, settings)
    yield pool
    for worker in pool.started:
        if worker.process.returncode is None:
            worker.signal(signal.SIGCONT)
            await worker.end(signal.SIGKILL)


@asynccontextmanager
async def killing(workers, victims):
    """Kill workers in turn while each has a job, and start a new worker in place of each."""

    async def kill():
        for turn in range(KILLS):
            place = turn % len(victims)
            await victims[place].prints(b"began")
            await victims[place].end(signal.SIGKILL)
            victims[place] = await workers.start()

    task = asyncio.create_task(kill())
    yield
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled() or task.exception() is None, task.exception()


async def test_no_job_is_lost_or_done_twice_when_workers_are_killed(workers):
    victims = [await workers.start() for _ in range(2)]
    await workers.enqueue(60, seconds=0.2)
    async with killing(workers, victims):
        await until(workers.are_done)

    rows = await workers.rows()
    assert await workers.marks() == Counter(range(60))
    assert {row.attempts for row in rows} == {0}  # a crash is not an attempt
    assert sum(row.crashes for row in rows) >= 1


async def test_a_paused_worker_does_not_repeat_a_job_that_another_has_taken_over(workers):
    paused = await workers.start()
    await workers.enqueue(1, seconds=4)  # so long that the signal comes in time
    await paused.prints(b"began 0")
    paused.signal(signal.SIGSTOP)
    other = await workers.start()
    await other.prints(b"began 0")
    await until(workers.are_done)

    paused.signal(signal.SIGCONT)
    await paused.prints(b'"outcome"')
    (row,) = await workers.rows()

    assert await workers.marks() == Counter([0])
    assert (row.state, row.lease, row.attempts) == ("done", 2, 0)


async def test_a_worker_finishes_its_running_job_on_sigterm(workers):
    worker = await workers.start()
    await workers.enqueue(1, seconds=1)
    await worker.prints(b"began 0")

    assert await worker.end(signal.SIGTERM) == 0
    assert await workers.marks() == Counter([0])
    assert await workers.registered() == []


async def test_a_job_that_outlasts_the_shutdown_grace_is_queued_again(workers):
    worker = await workers.start(GRACE_SECONDS="0.1")
    await workers.enqueue(1, seconds=50)
    await worker.prints(b"began 0")

    assert await worker.end(signal.SIGTERM) == 0
    (row,) = await workers.rows()
    assert (row.state, row.attempts, row.worker_id) == ("queued", 0, None)
    assert b"Traceback" not in worker.output


async def test_a_schedule_fires_once_for_several_workers(workers):
    for _ in range(3):
        await workers.start("tick")

    async def has_fired_twice():
        return len(await workers.rows()) >= 2

    await until(has_fired_twice)
    await until(workers.are_done)

    rows = await workers.rows()
    intervals = [
        (later.created_at - row.created_at).total_seconds() for row, later in pairwise(rows)
    ]
    assert min(intervals) > 0.5
    assert await workers.marks() == Counter({-1: len(rows)})
