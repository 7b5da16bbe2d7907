"""The worker: claims due jobs and runs them, in the server or in a process of its own."""

import asyncio
import dataclasses
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

from freshly.chassis.errors import AppError
from freshly.chassis.jobs import leases
from freshly.chassis.jobs.context import JobContext, LeaseLost, mark_done
from freshly.chassis.jobs.definitions import Handlers, Job, JobState, PermanentFailure
from freshly.chassis.jobs.models import JobRow
from freshly.chassis.jobs.queue import database_time
from freshly.chassis.jobs.schedules import Schedule, enqueue_due, register_schedules
from freshly.chassis.observability.logging import correlation_id, error_text, get_logger
from freshly.chassis.observability.metrics import job_runs
from freshly.chassis.observability.tracing import tracing
from freshly.chassis.resources import Resources

logger = get_logger(__name__)

HEARTBEATS_PER_TIMEOUT = 4
MAX_BACKOFF = timedelta(hours=1)
SAVE_RETRY_SECONDS = 1
# Raised while the database is unavailable. AppError is what admission control raises.
DATABASE_ERRORS = (SQLAlchemyError, OSError, AppError)
UNEXPECTED_ERROR = "Sorry, something went wrong on our side. Please try again later."
TIMED_OUT = "Stopped at the time limit of {seconds:g} seconds. Please try again later."


class Worker:
    """Claims jobs and runs up to `concurrency` of them at once, until it is asked to stop.

    `heartbeat_timeout`: other workers reclaim the jobs of a worker without a heartbeat for so long.
    `dedicated`: this is a `freshly worker`, not a server that also runs jobs.
    `yields_to_dedicated`: claim nothing while a dedicated worker is alive.
    `shutdown_grace`: time for running jobs to finish when the worker is asked to stop.
    `poll_interval`: wait between two looks for jobs that other processes enqueued.
    """

    def __init__(
        self,
        resources: Resources,
        handlers: Handlers,
        schedules: Sequence[Schedule] = (),
        *,
        concurrency: int = 4,
        heartbeat_timeout: timedelta = timedelta(seconds=15),
        dedicated: bool = False,
        yields_to_dedicated: bool = False,
        shutdown_grace: timedelta = timedelta(seconds=20),
        poll_interval: timedelta = timedelta(seconds=0.5),
    ) -> None:
        # Jobs are one route group, so they leave connections to requests.
        self.db = resources.db.for_group("jobs")
        self.resources = dataclasses.replace(resources, db=self.db)
        self.zone = ZoneInfo(resources.settings.timezone)
        self.jobs = {job.kind: (job, handler) for job, handler in handlers.items()}
        for kind in self.jobs:  # a counter that begins at its first failure hides it
            job_runs.labels(kind, "failed")
        self.schedules = schedules
        self.concurrency = concurrency
        self.heartbeat_timeout = heartbeat_timeout
        self.dedicated = dedicated
        self.yields_to_dedicated = yields_to_dedicated
        self.shutdown_grace = shutdown_grace
        self.poll_interval = poll_interval
        self.id = uuid4().hex
        self.name = f"{socket.gethostname()}:{os.getpid()}"
        self._registered = False
        # True from sending a claim until its response arrives. If the connection breaks in between,
        # the database may list jobs for this worker that it does not know of.
        self._claim_unconfirmed = False
        self._tasks: dict[asyncio.Task[None], tuple[str, int]] = {}

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the worker in the background for as long as the context is open."""
        stop = asyncio.Event()
        work = asyncio.create_task(self.run(stop))
        try:
            yield
        finally:
            stop.set()
            await work

    async def run(self, stop: asyncio.Event) -> None:
        """Run jobs until `stop` is set, then shut down within `shutdown_grace`."""
        heartbeats = asyncio.create_task(self._send_heartbeats(stop))
        stop_requested = asyncio.create_task(stop.wait())
        try:
            while not stop.is_set():
                self.db.enqueued.clear()
                if self._registered:
                    with self._logging_errors("start due jobs"):
                        await self._start_due_jobs()
                await self._wait_for_work(stop_requested)
        finally:
            await heartbeats
            with self._logging_errors("shut down"):
                await self.shut_down()

    async def run_until_idle(self) -> None:
        """Run all jobs that are due and the jobs that they enqueue, then shut down."""
        await self.heartbeat()
        while await self._start_due_jobs() or self._tasks:
            if self._tasks:
                await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        await self.shut_down()

    async def heartbeat(self) -> None:
        """Record that this worker is alive, and reclaim the jobs of workers that are not."""
        async with self.db.write() as session:
            await leases.heartbeat(session, self.id, self.name, dedicated=self.dedicated)
            reclaimed = await leases.reclaim_orphans(session, self.heartbeat_timeout)
            if not self._registered:
                await register_schedules(session, self.schedules, self.zone)
        for job_id in reclaimed:
            logger.warning("job reclaimed from a dead worker", job=job_id)

    async def shut_down(self) -> None:
        """Give running jobs time to finish, cancel the rest, and release their leases."""
        deadline = monotonic() + self.shutdown_grace.total_seconds()
        while self._tasks and monotonic() < deadline:
            timeout = min(self._heartbeat_seconds, deadline - monotonic())
            await asyncio.wait(self._tasks, timeout=timeout)
            with self._logging_errors("send a heartbeat"):
                await self.heartbeat()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        async with self.db.write() as session:
            await leases.release_all(session, self.id)

    @property
    def _heartbeat_seconds(self) -> float:
        return self.heartbeat_timeout.total_seconds() / HEARTBEATS_PER_TIMEOUT

    @contextmanager
    def _logging_errors(self, action: str) -> Iterator[None]:
        """Log errors instead of raising them, because the caller tries again later.

        Raises only LeaseLost.
        """
        try:
            yield
        except LeaseLost:
            raise
        except DATABASE_ERRORS as error:
            reason = f"{type(error).__name__}: {error_text(error)}"
            logger.warning("worker cannot use the database", action=action, error=reason)
        except Exception:  # a bug in one step must not stop the other jobs
            logger.exception("worker failed", action=action)

    async def _send_heartbeats(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            with self._logging_errors("send a heartbeat"):
                await self.heartbeat()
                self._registered = True
                await self._cancel_lost_runs()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._heartbeat_seconds):
                    await stop.wait()

    async def _cancel_lost_runs(self) -> None:
        """Cancel runs whose job was cancelled, or reclaimed while this process was paused."""
        running = dict(self._tasks)
        if not running:
            return
        async with self.db.read() as session:
            valid = await leases.leases_of(session, self.id)
        for task, lease in running.items():
            if lease not in valid:
                task.cancel()

    async def _wait_for_work(self, stop_requested: asyncio.Task[Any]) -> None:
        """Wait until this process enqueues a job, a run ends, a poll is due or a stop is asked."""
        enqueued = asyncio.create_task(self.db.enqueued.wait())
        # Random, so that workers that started together do not poll together.
        jitter = random.uniform(0.8, 1.2)  # noqa: S311 - not a secret
        await asyncio.wait(
            (stop_requested, enqueued, *self._tasks),
            timeout=self.poll_interval.total_seconds() * jitter,
            return_when=asyncio.FIRST_COMPLETED,
        )
        enqueued.cancel()

    async def _start_due_jobs(self) -> int:
        """Claim due jobs as far as `concurrency` allows, start them, and return their number."""
        if self._claim_unconfirmed:
            async with self.db.write() as session:
                await leases.release_unknown(session, self.id, self._tasks.values())
            self._claim_unconfirmed = False
        free = self.concurrency - len(self._tasks)
        async with self.db.read() as session:
            due = await leases.find_due_work(session, self.jobs)
        if self.yields_to_dedicated and due.has_dedicated_worker:
            return 0
        if due.schedules:
            async with self.db.write() as session:
                await enqueue_due(session, self.schedules, self.zone)
        if free <= 0 or not (due.jobs or due.schedules):
            return 0
        self._claim_unconfirmed = True
        async with self.db.write() as session:
            rows = await leases.claim(session, self.id, self.jobs, free)
        self._claim_unconfirmed = False
        for row in rows:
            task = asyncio.create_task(self._run_job(row))
            self._tasks[task] = (row.id, row.lease)
            task.add_done_callback(self._remove_task)
        return len(rows)

    def _remove_task(self, task: asyncio.Task[None]) -> None:
        del self._tasks[task]
        if not task.cancelled() and (error := task.exception()):
            logger.error("run of a job ended unexpectedly", exc_info=error)

    async def _run_job(self, row: JobRow) -> None:
        """Run a claimed job's handler, then save, count and log the outcome."""
        correlation_id.set(row.correlation_id)
        with tracing.job(row.kind, row.traceparent):
            await self._run_handler(row)

    async def _run_handler(self, row: JobRow) -> None:
        job_type, handler = self.jobs[row.kind]
        context = JobContext(row.id, row.user_id, row.lease, self.resources)
        started, outcome = monotonic(), "stopped"
        time_limit = job_type.time_limit.total_seconds()
        timeout = asyncio.timeout(time_limit)
        try:
            async with timeout:
                await handler(job_type.model_validate(row.payload), context)
            if not context.is_finished:
                await self._save(context, mark_done)
            outcome = "done"
        except LeaseLost:
            outcome = "lease_lost"
        except Exception as error:  # noqa: BLE001 - every error is stored with the job
            timed_out = timeout.expired()
            text = TIMED_OUT.format(seconds=time_limit) if timed_out else text_for_user(error)
            outcome = await self._save_failure(context, job_type, text, error)
        finally:
            job_runs.labels(row.kind, outcome).inc()
            tracing.describe_job(outcome)
            seconds = round(monotonic() - started, 3)
            logger.info("job", job=row.id, kind=row.kind, outcome=outcome, seconds=seconds)

    async def _save_failure(
        self, context: JobContext, job: type[Job], text: str, error: Exception
    ) -> str:
        """Queue the job again after a backoff. Return the outcome.

        After the last attempt, mark it failed. If it was enqueued again while it ran, start it
        afresh instead.
        """
        is_permanent = isinstance(error, (PermanentFailure, ValidationError))

        def change(row: JobRow, at: datetime) -> None:
            row.attempts += 1
            row.error, row.worker_id = text, None
            if not is_permanent and row.attempts < job.max_attempts:
                row.state, row.rerun = JobState.QUEUED, False  # the next attempt re-reads all rows
                row.run_after = at + backoff_after(row.attempts, job)
            elif row.rerun:  # perhaps the cause was removed before it was enqueued again
                row.state, row.rerun, row.attempts = JobState.QUEUED, False, 0
            else:
                row.state, row.finished_at = JobState.FAILED, at

        try:
            state = await self._save(context, change)
        except LeaseLost:
            return "lease_lost"
        is_final = state == JobState.FAILED
        log = logger.error if is_final else logger.warning
        log("job failed", job=context.id, kind=job.kind, final=is_final, exc_info=error)
        return "failed" if is_final else "retried"

    async def _save(
        self, context: JobContext, change: Callable[[JobRow, datetime], None]
    ) -> JobState:
        """Change the job's row, and retry until the database accepts it. Return the new state.

        Otherwise the job would count as running for as long as this worker is alive. Raise
        LeaseLost if the lease is no longer valid.
        """
        while True:
            with self._logging_errors("save the outcome of a job"):
                async with self.db.write() as session:
                    row = await context.locked_row(session)
                    change(row, await database_time(session))
                    await session.flush()
                return JobState(row.state)
            await asyncio.sleep(SAVE_RETRY_SECONDS)


def backoff_after(attempts: int, job: type[Job]) -> timedelta:
    """Return the wait before the next attempt.

    It starts at `job.backoff` and grows four times with each failed attempt, up to MAX_BACKOFF. A
    random factor of 0.5 to 1.5 keeps jobs that failed together from retrying together.
    """
    backoff: timedelta = min(job.backoff * 4 ** (attempts - 1), MAX_BACKOFF)
    return backoff * random.uniform(0.5, 1.5)  # noqa: S311 - not a secret


def text_for_user(error: Exception) -> str:
    """Return a text for the user. Texts of libraries and providers are never shown."""
    if isinstance(error, PermanentFailure):
        return str(error) or UNEXPECTED_ERROR
    return error.text if isinstance(error, AppError) else UNEXPECTED_ERROR
