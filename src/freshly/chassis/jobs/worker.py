"""Runs jobs: in the server, or in a process of its own (`freshly worker`)."""

import asyncio
import os
import random
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import datetime, timedelta
from time import monotonic
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

from pydantic import ValidationError
from sqlalchemy.exc import SQLAlchemyError

from freshly.chassis.data.admission import lane
from freshly.chassis.errors import AppError
from freshly.chassis.jobs import leases
from freshly.chassis.jobs.context import JobContext, LeaseLost, finish
from freshly.chassis.jobs.definitions import Handlers, Job, JobState, PermanentFailure
from freshly.chassis.jobs.models import JobRow
from freshly.chassis.jobs.queue import clock
from freshly.chassis.jobs.schedules import Schedule, ask_for_due, note_new
from freshly.chassis.observability.logging import correlation_id, get_logger
from freshly.chassis.observability.metrics import job_runs
from freshly.chassis.resources import Resources

logger = get_logger(__name__)

HEARTBEATS_PER_TIMEOUT = 4  # of the heart within the silence that counts as death
LONGEST_PAUSE = timedelta(hours=1)
AWAY = (SQLAlchemyError, OSError, AppError)  # the database cannot be asked now
SORRY = "Something went wrong on our side."
TOO_SLOW = "It took too long."


class Worker:
    """Takes jobs and runs them, so many at once, until it is told to stop."""

    def __init__(
        self,
        resources: Resources,
        handlers: Handlers,
        schedules: Sequence[Schedule] = (),
        *,
        at_once: int = 4,
        silence: timedelta = timedelta(seconds=15),
        dedicated: bool = False,
        stands_by: bool = False,
        grace: float = 20,
        poll: float = 0.5,
    ) -> None:
        self.resources = resources
        self.db = resources.db
        self.zone = ZoneInfo(resources.settings.timezone)
        self.jobs = {job.kind: (job, handler) for job, handler in handlers.items()}
        self.schedules = schedules
        self.at_once = at_once
        self.silence = silence
        self.dedicated = dedicated
        self.stands_by = stands_by  # as long as a dedicated worker lives
        self.grace = grace  # seconds that running jobs have to finish when this is told to stop
        self.poll = poll  # seconds between two looks, where nothing says that there is work
        self.id = uuid4().hex
        self.name = f"{socket.gethostname()}:{os.getpid()}"
        self._joined = False
        self._unsure = False  # whether what was taken last is known here
        self._tasks: dict[asyncio.Task[None], tuple[str, int]] = {}

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Works beside whatever is done inside."""
        stop = asyncio.Event()
        work = asyncio.create_task(self.run(stop))
        try:
            yield
        finally:
            stop.set()
            await work

    async def run(self, stop: asyncio.Event) -> None:
        lane.set("jobs")  # leaves connections to requests, where there are any
        heart = asyncio.create_task(self._live(stop))
        asked_to_stop = asyncio.create_task(stop.wait())
        try:
            while not stop.is_set():
                self.db.enqueued.clear()
                if self._joined:
                    with self._patiently("look for jobs"):
                        await self._look()
                await self._wait(asked_to_stop)
        finally:
            await heart
            with self._patiently("leave"):
                await self.leave()

    @contextmanager
    def _patiently(self, what: str) -> Iterator[None]:
        """The database may be away; it is asked again."""
        try:
            yield
        except LeaseLost:
            raise
        except AWAY as error:
            logger.warning("jobs: no database", to=what, error=repr(error))
        except Exception:  # whatever it was, others' work goes on
            logger.exception("jobs: failed", to=what)

    async def _live(self, stop: asyncio.Event) -> None:
        """The heart: says that this worker lives, and looks after those that do not."""
        while not stop.is_set():
            with self._patiently("tell that the worker lives"):
                await self.join()
                self._joined = True
                await self._drop_lost()
            with suppress(TimeoutError):
                async with asyncio.timeout(self.silence.total_seconds() / HEARTBEATS_PER_TIMEOUT):
                    await stop.wait()

    async def join(self) -> None:
        async with self.db.write() as session:
            await leases.heartbeat(session, self.id, self.name, dedicated=self.dedicated)
            given_back = await leases.reclaim_orphans(session, self.silence)
            if not self._joined:
                await note_new(session, self.schedules, self.zone)
        for job in given_back:
            logger.warning("job taken from a dead worker", job=job)

    async def _drop_lost(self) -> None:
        """Ends the runs of jobs that were cancelled, or taken over while this process slept."""
        running = dict(self._tasks)
        if not running:
            return
        async with self.db.read() as session:
            mine = await leases.held_by(session, self.id)
        for task, held in running.items():
            if held not in mine:
                task.cancel()

    async def leave(self) -> None:
        """Running jobs have some time to finish; what remains is given back."""
        until = monotonic() + self.grace
        heartbeat = self.silence.total_seconds() / HEARTBEATS_PER_TIMEOUT
        while self._tasks and monotonic() < until:
            await asyncio.wait(self._tasks, timeout=min(heartbeat, until - monotonic()))
            with self._patiently("tell that the worker lives"):
                await self.join()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        async with self.db.write() as session:
            await leases.give_back(session, self.id)

    async def _wait(self, asked_to_stop: asyncio.Task[Any]) -> None:
        """Until there may be something to do."""
        enqueued = asyncio.create_task(self.db.enqueued.wait())
        pause = self.poll * random.uniform(0.8, 1.2)  # noqa: S311 - so that workers do not look in step
        await asyncio.wait(
            (asked_to_stop, enqueued, *self._tasks),
            timeout=pause,
            return_when=asyncio.FIRST_COMPLETED,
        )
        enqueued.cancel()

    async def _look(self) -> int:
        """Starts what is due and finds room; how many."""
        if self._unsure:
            async with self.db.write() as session:
                await leases.give_back_unknown(session, self.id, self._tasks.values())
            self._unsure = False
        room = self.at_once - len(self._tasks)
        async with self.db.read() as session:
            due = await leases.look(session, self.jobs)
        if self.stands_by and due.dedicated:
            return 0
        if due.schedules:
            async with self.db.write() as session:
                await ask_for_due(session, self.schedules, self.zone)
        if room <= 0 or not (due.jobs or due.schedules):
            return 0
        self._unsure = True
        async with self.db.write() as session:
            rows = await leases.take(session, self.id, self.jobs, room)
        self._unsure = False
        for row in rows:
            task = asyncio.create_task(self._attend(row))
            self._tasks[task] = (row.id, row.lease)
            task.add_done_callback(self._forget)
        return len(rows)

    def _forget(self, task: asyncio.Task[None]) -> None:
        del self._tasks[task]
        if not task.cancelled() and (error := task.exception()):
            logger.error("job lost from sight", exc_info=error)

    async def drain(self) -> None:
        """Everything that is due now, and what comes of it; then no more."""
        await self.join()
        while await self._look() or self._tasks:
            if self._tasks:
                await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        await self.leave()

    async def _attend(self, row: JobRow) -> None:
        """One job, from its being taken to whatever becomes of it."""
        correlation_id.set(row.correlation_id)
        job_type, handler = self.jobs[row.kind]
        run = JobContext(row.id, row.user_id, row.lease, self.resources)
        began, outcome = monotonic(), "stopped"
        limit = asyncio.timeout(job_type.time_limit.total_seconds())
        try:
            async with limit:
                await handler(job_type.model_validate(row.payload), run)
            if not run.is_over:
                await self._settle(run, finish)
            outcome = "done"
        except LeaseLost:
            outcome = "taken_over"
        except Exception as error:  # noqa: BLE001 - whatever it was, it is kept with the job
            reason = TOO_SLOW if limit.expired() else in_plain_words(error)
            outcome = await self._fail(run, job_type, reason, error)
        finally:
            job_runs.labels(row.kind, outcome).inc()
            seconds = round(monotonic() - began, 3)
            logger.info("job", job=row.id, kind=row.kind, outcome=outcome, seconds=seconds)

    async def _fail(self, run: JobContext, job: type[Job], reason: str, error: Exception) -> str:
        """To be tried again after a pause, or parked for the operator."""
        hopeless = isinstance(error, (PermanentFailure, ValidationError))
        parked = False

        def change(row: JobRow, at: datetime) -> None:
            nonlocal parked
            row.attempts += 1
            row.error, row.worker_id = reason, None
            parked = hopeless or row.attempts >= job.max_attempts
            if not parked:
                row.state, row.rerun = JobState.QUEUED, False  # it will read everything anew
                row.run_after = at + pause_before(row.attempts, job)
            elif row.rerun:  # by whoever asked meanwhile, and may have mended what was wrong
                row.state, row.rerun, row.attempts = JobState.QUEUED, False, 0
            else:
                row.state, row.finished_at = JobState.FAILED, at

        try:
            await self._settle(run, change)
        except LeaseLost:
            return "taken_over"
        tell = logger.error if parked else logger.warning
        tell("job failed", job=run.id, kind=job.kind, parked=parked, exc_info=error)
        return "parked" if parked else "failed"

    async def _settle(self, run: JobContext, change: Callable[[JobRow, datetime], None]) -> None:
        """Tried until it is written down: it would count as running as long as this lives."""
        while True:
            with self._patiently("write down what became of a job"):
                async with self.db.write() as session:
                    row = await run.locked_row(session)
                    change(row, await clock(session))
                    await session.flush()
                return
            await asyncio.sleep(1)


def pause_before(attempts: int, job: type[Job]) -> timedelta:
    """Four times as long each time, more or less by half, so that not all come back at once."""
    longer: timedelta = min(job.backoff * 4 ** (attempts - 1), LONGEST_PAUSE)
    return longer * random.uniform(0.5, 1.5)  # noqa: S311 - no secret


def in_plain_words(error: Exception) -> str:
    """For the person: never what a library or a provider says."""
    if isinstance(error, PermanentFailure):
        return str(error) or SORRY
    return error.text if isinstance(error, AppError) else SORRY
