"""Workers that die, or sleep, in the middle of their work."""

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
EACH = 0.3  # seconds that one takes
EVERY = 2.0  # seconds between two kills
WORKERS = 3
TRIES = 5
DONE_WITHIN = 180.0
KILLED_FOR = 60.0  # seconds; on a slow machine no worker lives long enough to do anything
LONG = 5.0
WAITING = "SELECT count(*) FROM jobs WHERE kind = $1 AND state IN ('queued', 'running')"
STATES = "SELECT state, count(*) FROM jobs WHERE kind = $1 GROUP BY state"


def _needs_jobs() -> None:
    if find_spec("freshly.chassis.jobs") is None:
        raise CannotRun("there are no jobs in this release")


@asynccontextmanager
async def _kitchen(report: Report) -> AsyncIterator[Environment]:
    """Its servers leave the jobs to the workers."""
    _needs_jobs()
    async with production(report, settings={"JOBS": "worker"}, people=4, rate=10) as environment:
        assert environment.database is not None
        async with environment.database.as_operator() as operator:
            await operator.execute("CREATE TABLE marks (number int)")
            await operator.execute("GRANT ALL ON marks TO freshly")
        yield environment


class Workers:
    """`freshly worker`, so many processes of it."""

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
        told = {"env": self._settings, "stdout": self._log, "stderr": self._log}
        return subprocess.Popen(command, cwd=ROOT, **told)  # noqa: S603

    def kill(self, place: int) -> None:
        """With -9; another one takes its place."""
        self.running[place].kill()
        self.running[place].wait()
        self.running[place] = self._start()

    def end(self) -> None:
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
        workers.end()


async def _enqueue(
    environment: Environment, jobs: "Sequence[Job]", user_id: int | None = None
) -> None:
    """Fifty in a transaction, as a service would."""
    from freshly.chassis.jobs import JobQueue  # noqa: PLC0415

    assert environment.database is not None
    engine = create_engine(driven(environment.database.url()))
    db = Database(engine)
    for first in range(0, len(jobs), 50):
        async with db.write() as session:
            for job in jobs[first : first + 50]:
                await JobQueue(session).enqueue(job, user_id=user_id)
    await engine.dispose()


async def _done(environment: Environment, kind: str, number: int) -> float:
    """Seconds until so many are done, or for ever."""
    assert environment.database is not None
    began = monotonic()
    async with environment.database.as_operator() as operator:
        while monotonic() - began < DONE_WITHIN:
            states = {row["state"]: row["count"] for row in await operator.fetch(STATES, kind)}
            if states.get("done") == number:
                return monotonic() - began
            await asyncio.sleep(0.2)
    return float("inf")


async def _marks(environment: Environment, expected: int, kind: str) -> None:
    """Each job has left one mark, or still waits for its turn."""
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
    async with _kitchen(report) as environment:
        from faults.worker import Mark  # noqa: PLC0415

        await _enqueue(environment, [Mark(number=n, seconds=EACH) for n in range(JOBS)])
        kills = 0
        async with environment.busy(calm=0, after=0), _workers(environment, WORKERS) as workers:
            with report.fault():
                waiting = asyncio.create_task(_done(environment, Mark.kind, JOBS))
                until = monotonic() + KILLED_FOR
                while not waiting.done():
                    await asyncio.wait([waiting], timeout=EVERY)
                    if not waiting.done() and monotonic() < until:
                        await asyncio.to_thread(workers.kill, kills % WORKERS)
                        kills += 1
        report.expect("all done after", waiting.result(), "s", at_most=DONE_WITHIN)
        report.expect("workers killed", kills, at_least=WORKERS)
        await _marks(environment, JOBS, Mark.kind)
        await environment.judge(failures=0)


@scenario("a worker stopped (SIGSTOP) at its work, which others take over, and continued")
async def worker_paused(report: Report) -> None:
    async with _kitchen(report) as environment:
        from faults.worker import Mark  # noqa: PLC0415

        number = 20
        async with environment.busy(calm=0, after=0), _workers(environment, 1) as first:
            await _enqueue(environment, [Mark(number=n, seconds=LONG) for n in range(number)])
            await _running(environment)
            with report.fault():
                first.running[0].send_signal(signal.SIGSTOP)
                async with _workers(environment, 2):
                    took = await _done(environment, Mark.kind, number)
                    first.running[0].send_signal(signal.SIGCONT)
                    await asyncio.sleep(2 * LONG)
        report.expect("all done after", took, "s", at_most=DONE_WITHIN)
        await _marks(environment, number, Mark.kind)
        await environment.judge(failures=0)


async def _running(environment: Environment) -> None:
    assert environment.database is not None
    async with environment.database.as_operator() as operator, asyncio.timeout(DONE_WITHIN):
        count = "SELECT count(*) FROM jobs WHERE state = 'running'"
        while not await operator.fetchval(count):  # noqa: ASYNC110 - of another process
            await asyncio.sleep(0.1)


@scenario("a job that never works, among others that do")
async def job_poisoned(report: Report) -> None:
    async with _kitchen(report) as environment:
        from faults.worker import Mark, Poison  # noqa: PLC0415

        assert environment.database is not None
        async with environment.busy(calm=0, after=0), _workers(environment, 1):
            await _enqueue(
                environment, [Poison(), *(Mark(number=n, seconds=0) for n in range(100))]
            )
            took = await _done(environment, Mark.kind, 100)
            state, attempts = "", 0
            until = monotonic() + DONE_WITHIN
            async with environment.database.as_operator() as operator:
                while state != "failed" and monotonic() < until:
                    state, attempts = await operator.fetchrow(
                        "SELECT state, attempts FROM jobs WHERE kind = $1", Poison.kind
                    )
                    await asyncio.sleep(0.1)
        report.expect("the others done after", took, "s", at_most=DONE_WITHIN)
        report.expect("parked", state == "failed", at_least=1, detail=state)
        report.expect("tries", attempts, at_least=TRIES, at_most=TRIES)
        await _marks(environment, 100, Mark.kind)
        await environment.judge(failures=0)
