"""Workers as processes that die, sleep and come back: nothing is lost, nothing is seen twice."""

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

PATIENCE = 60  # seconds; a bound against hanging, not a measurement
REPOSITORY = Path(__file__).parents[3]


class Worker:
    def __init__(self, process):
        self.process, self.pid = process, process.pid
        self.said = b""

    async def says(self, word):
        async with asyncio.timeout(PATIENCE):
            while word not in self.said:
                read = await self.process.stdout.readline()
                assert read, self.said
                self.said += read

    def signal(self, number):
        self.process.send_signal(number)

    async def ended(self, number):
        self.signal(number)
        async with asyncio.timeout(PATIENCE):
            rest, _ = await self.process.communicate()
        self.said += rest
        return self.process.returncode


class Bench:
    """Starts workers, and shows what they have done."""

    def __init__(self, db, settings):
        self.db, self.settings, self.started = db, settings, []

    async def worker(self, *arguments, **environment):
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.support.worker", *arguments),
            cwd=REPOSITORY,
            env={
                **kept,
                "DATABASE_URL": self.settings.database_url.get_secret_value(),
                "DATA_DIR": str(self.settings.data_dir),
                **environment,
            },
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        worker = Worker(process)
        self.started.append(worker)
        await worker.says(b"ready")
        return worker

    async def enqueue(self, count, **fields):
        async with self.db.write() as session:
            for number in range(count):
                await JobQueue(session).enqueue(Mark(number=number, **fields))

    async def marks(self):
        async with self.db.read() as session:
            return Counter(await session.scalars(text("SELECT number FROM marks")))

    async def rows(self):
        async with self.db.read() as session:
            return (await session.scalars(select(JobRow).order_by(JobRow.id))).all()

    async def workers(self):
        async with self.db.read() as session:
            return (await session.scalars(select(WorkerRow.id))).all()

    async def are_done(self):
        return {row.state for row in await self.rows()} == {"done"}


@pytest.fixture
async def bench(app, settings):
    db = app.resources.db
    async with db.write() as session:
        await session.execute(text("CREATE TABLE marks (number INTEGER)"))
    made = Bench(db, settings)
    yield made
    for worker in made.started:
        if worker.process.returncode is None:
            worker.signal(signal.SIGCONT)
            await worker.ended(signal.SIGKILL)


@asynccontextmanager
async def killing(bench, workers):
    """One after the other, and another one in its place."""

    async def kill():
        turn = 0
        while True:
            await asyncio.sleep(0.7)
            await workers[turn % len(workers)].ended(signal.SIGKILL)
            workers[turn % len(workers)] = await bench.worker()
            turn += 1

    task = asyncio.create_task(kill())
    yield
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled(), task.exception()


async def test_workers_that_are_killed_lose_no_job_and_do_none_twice(bench):
    workers = [await bench.worker() for _ in range(2)]
    await bench.enqueue(60, seconds=0.2)
    async with killing(bench, workers):
        await until(bench.are_done)

    rows = await bench.rows()
    assert await bench.marks() == Counter(range(60))
    assert {row.attempts for row in rows} == {0}  # to be killed is no try
    assert sum(row.crashes for row in rows) >= 1


async def test_a_paused_worker_that_wakes_up_does_nothing_a_second_time(bench):
    sleeper = await bench.worker()
    await bench.enqueue(1, seconds=1)
    await sleeper.says(b"began 0")
    sleeper.signal(signal.SIGSTOP)
    other = await bench.worker()
    await other.says(b"began 0")
    await until(bench.are_done)

    sleeper.signal(signal.SIGCONT)
    await sleeper.says(b'"outcome"')
    (row,) = await bench.rows()

    assert await bench.marks() == Counter([0])
    assert (row.state, row.lease, row.attempts) == ("done", 2, 0)


async def test_a_worker_that_is_told_to_stop_finishes_what_it_has_begun(bench):
    worker = await bench.worker()
    await bench.enqueue(1, seconds=1)
    await worker.says(b"began 0")

    assert await worker.ended(signal.SIGTERM) == 0
    assert await bench.marks() == Counter([0])
    assert await bench.workers() == []


async def test_what_takes_longer_than_it_may_is_given_back_at_once(bench):
    worker = await bench.worker(GRACE="0.1")
    await bench.enqueue(1, seconds=50)
    await worker.says(b"began 0")

    assert await worker.ended(signal.SIGTERM) == 0
    (row,) = await bench.rows()
    assert (row.state, row.attempts, row.worker_id) == ("queued", 0, None)
    assert b"Traceback" not in worker.said


async def test_a_schedule_fires_once_over_several_workers(bench):
    for _ in range(3):
        await bench.worker("tick")

    async def came_round_twice():
        return len(await bench.rows()) >= 2

    await until(came_round_twice)
    await until(bench.are_done)

    rows = await bench.rows()
    apart = [(later.created_at - row.created_at).total_seconds() for row, later in pairwise(rows)]
    assert min(apart) > 0.5
    assert await bench.marks() == Counter({-1: len(rows)})
