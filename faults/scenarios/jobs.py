"""Scenarios in which workers crash or freeze during a job, or a job always fails."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from importlib.util import find_spec
from time import monotonic
from typing import TYPE_CHECKING

from bench.servers import ROOT
from faults.environment import SETTINGS, Environment, production
from faults.report import Report
from faults.scenarios import CannotRun, scenario
from freshly.chassis.data.engine import create_engine
from freshly.chassis.data.transactions import Database
from freshly.settings import driven

if TYPE_CHECKING:
    from freshly.chassis.jobs import Job

JOBS = 1000
SHORT_JOB, LONG_JOB = 0.3, 5.0  # seconds
KILL_INTERVAL = 2.0  # seconds between two kills
WORKERS = 3
ATTEMPTS = 5
DONE_WITHIN = 180.0  # seconds
# Seconds after which no worker is killed. On a slow machine a worker would never finish a job.
KILLED_FOR = 60.0
BATCH = 50  # jobs enqueued in one transaction
WAITING = "SELECT count(*) FROM jobs WHERE kind = $1 AND state IN ('queued', 'running')"
STATES = "SELECT state, count(*) FROM jobs WHERE kind = $1 GROUP BY state"


def _require_jobs() -> None:
    if find_spec("freshly.chassis.jobs") is None:
        raise CannotRun("this release has no jobs")


@asynccontextmanager
async def _production_with_marks(report: Report) -> AsyncIterator[Environment]:
    """Start production with a table `marks`. Its servers leave all jobs to the workers."""
    _require_jobs()
    async with production(report, settings={"JOBS": "worker"}, users=4, rate=10) as environment:
        assert environment.database is not None
        async with environment.database.as_operator() as operator:
            await operator.execute("CREATE TABLE marks (number int)")
            await operator.execute("GRANT ALL ON marks TO freshly")
        yield environment


class Workers:
    """Several processes of `freshly worker`."""

    def __init__(self, environment: Environment, number: int) -> None:
        assert environment.database is not None
        assert environment.redis is not None
        self._log = (environment.folder / "workers.log").open("ab")
        self._settings = {
            **{name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ},
            **SETTINGS,
            "DATA_DIR": str(environment.folder / "data"),
            "DATABASE_URL": environment.database.url(),
            "REDIS_URL": environment.redis.url,
            "JOBS": "worker",
            "PYTHONPATH": str(ROOT),
        }
        self.running = [self._start() for _ in range(number)]

    def _start(self) -> "subprocess.Popen[bytes]":
        command = (sys.executable, "-m", "faults.worker")
        return subprocess.Popen(  # noqa: S603
            command, cwd=ROOT, env=self._settings, stdout=self._log, stderr=self._log
        )

    def kill(self, place: int) -> None:
        """Kill a worker with -9, and start another in its place."""
        self.running[place].kill()
        self.running[place].wait()
        self.running[place] = self._start()

    def stop(self) -> None:
        for process in self.running:
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait()
        self._log.close()


@asynccontextmanager
async def _workers(environment: Environment, number: int) -> AsyncIterator[Workers]:
    workers = Workers(environment, number)
    try:
        yield workers
    finally:
        workers.stop()


async def _enqueue(
    environment: Environment, jobs: "Sequence[Job]", user_id: int | None = None
) -> None:
    """Enqueue the jobs, fifty per transaction."""
    from freshly.chassis.jobs import JobQueue  # noqa: PLC0415

    assert environment.database is not None
    engine = create_engine(driven(environment.database.url()))
    db = Database(engine)
    for first in range(0, len(jobs), BATCH):
        async with db.write() as session:
            for job in jobs[first : first + BATCH]:
                await JobQueue(session).enqueue(job, user_id=user_id)
    await engine.dispose()


async def _wait_until_done(environment: Environment, kind: str, number: int) -> float:
    """Return the seconds until this many jobs are done; infinity after DONE_WITHIN."""
    assert environment.database is not None
    began = monotonic()
    async with environment.database.as_operator() as operator:
        while monotonic() - began < DONE_WITHIN:
            states = {row["state"]: row["count"] for row in await operator.fetch(STATES, kind)}
            if states.get("done") == number:
                return monotonic() - began
            await asyncio.sleep(0.2)
    return float("inf")


async def _check_marks(environment: Environment, expected: int, kind: str) -> None:
    """Expect that each job has inserted one mark, or is still in the queue."""
    assert environment.database is not None
    async with environment.database.as_operator() as operator:
        waiting = await operator.fetchval(WAITING, kind)
        marked = await operator.fetchval("SELECT count(DISTINCT number) FROM marks")
        lost = expected - marked - waiting
        twice = await operator.fetchval("SELECT count(*) - count(DISTINCT number) FROM marks")
    environment.report.expect("jobs lost", lost, f"of {expected}", at_most=0)
    environment.report.expect("effects seen twice", twice, at_most=0)
    if lost or twice:
        environment.report.lost_writes = f"{lost} jobs lost, {twice} done twice"


@scenario("1,000 jobs, one of three workers in turn killed with -9 every 2 s")
async def workers_killed(report: Report) -> None:
    async with _production_with_marks(report) as environment:
        from faults.worker import Mark  # noqa: PLC0415

        await _enqueue(environment, [Mark(number=n, seconds=SHORT_JOB) for n in range(JOBS)])
        kills = 0
        async with (
            environment.under_load(calm=0, after=0),
            _workers(environment, WORKERS) as workers,
        ):
            with report.fault():
                waiting = asyncio.create_task(_wait_until_done(environment, Mark.kind, JOBS))
                deadline = monotonic() + KILLED_FOR
                while not waiting.done():
                    await asyncio.wait([waiting], timeout=KILL_INTERVAL)
                    if not waiting.done() and monotonic() < deadline:
                        await asyncio.to_thread(workers.kill, kills % WORKERS)
                        kills += 1
        report.expect("all done after", waiting.result(), "s", at_most=DONE_WITHIN)
        report.expect("workers killed", kills, at_least=WORKERS)
        await _check_marks(environment, JOBS, Mark.kind)
        await environment.check_promises(failures=0)


@scenario("a worker stopped (SIGSTOP) during a job, which others take over, and continued")
async def worker_paused(report: Report) -> None:
    async with _production_with_marks(report) as environment:
        from faults.worker import Mark  # noqa: PLC0415

        number = 20
        async with environment.under_load(calm=0, after=0), _workers(environment, 1) as first:
            await _enqueue(environment, [Mark(number=n, seconds=LONG_JOB) for n in range(number)])
            await _wait_until_one_runs(environment)
            with report.fault():
                first.running[0].send_signal(signal.SIGSTOP)
                async with _workers(environment, 2):
                    took = await _wait_until_done(environment, Mark.kind, number)
                    first.running[0].send_signal(signal.SIGCONT)
                    await asyncio.sleep(2 * LONG_JOB)
        report.expect("all done after", took, "s", at_most=DONE_WITHIN)
        await _check_marks(environment, number, Mark.kind)
        await environment.check_promises(failures=0)


async def _wait_until_one_runs(environment: Environment) -> None:
    assert environment.database is not None
    async with environment.database.as_operator() as operator, asyncio.timeout(DONE_WITHIN):
        count = "SELECT count(*) FROM jobs WHERE state = 'running'"
        while not await operator.fetchval(count):  # noqa: ASYNC110 - another process changes it
            await asyncio.sleep(0.1)


@scenario("a job that always fails, among others that succeed")
async def job_poisoned(report: Report) -> None:
    async with _production_with_marks(report) as environment:
        from faults.worker import Mark, Poison  # noqa: PLC0415

        assert environment.database is not None
        async with environment.under_load(calm=0, after=0), _workers(environment, 1):
            await _enqueue(
                environment, [Poison(), *(Mark(number=n, seconds=0) for n in range(100))]
            )
            took = await _wait_until_done(environment, Mark.kind, 100)
            state, attempts = "", 0
            deadline = monotonic() + DONE_WITHIN
            async with environment.database.as_operator() as operator:
                while state != "failed" and monotonic() < deadline:
                    state, attempts = await operator.fetchrow(
                        "SELECT state, attempts FROM jobs WHERE kind = $1", Poison.kind
                    )
                    await asyncio.sleep(0.1)
        report.expect("the others done after", took, "s", at_most=DONE_WITHIN)
        report.expect("marked failed", state == "failed", at_least=1, detail=state)
        report.expect("attempts", attempts, at_least=ATTEMPTS, at_most=ATTEMPTS)
        await _check_marks(environment, 100, Mark.kind)
        await environment.check_promises(failures=0)
