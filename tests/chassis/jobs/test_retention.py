"""Operation of jobs: cancel and retry, schedules, retention, workers and metrics."""

import asyncio
from datetime import UTC, datetime, time, timedelta
from functools import partial
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import select, update

from freshly.chassis.jobs import Job, JobQueue, Schedule, daily, every
from freshly.chassis.jobs.admin import JobActionRefused, cancel, retry
from freshly.chassis.jobs.models import JobRow, ScheduleRow, WorkerRow
from freshly.chassis.jobs.retention import PurgeJobs
from freshly.wiring.jobs import HANDLERS, SCHEDULES
from tests.chassis.jobs.test_jobs import A_MONTH, Note, handled
from tests.conftest import Jobs, running, settings_for, until

__all__ = ["handled"]


async def test_cancelling_removes_queued_jobs_and_stops_running_ones(jobs, db):
    started, stopped = asyncio.Event(), []

    async def sleep(_job, _context):
        started.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            stopped.append(True)
            raise

    jobs.extra = {Note: sleep}
    running_job, queued_job = await jobs.enqueue(Note()), await jobs.enqueue(Note(), delay=A_MONTH)
    async with jobs.worker(heartbeat_timeout=timedelta(milliseconds=400)).running():
        await started.wait()
        for job in (running_job, queued_job):
            async with db.write() as session:
                await cancel(session, job)
        await until(lambda: stopped)

    assert [(await jobs.row(job)).state for job in (running_job, queued_job)] == [
        "cancelled",
        "cancelled",
    ]
    with pytest.raises(JobActionRefused, match="is cancelled"):
        async with db.write() as session:
            await cancel(session, queued_job)


async def test_an_operator_retries_a_failed_job(jobs, handled, db):
    job = await jobs.enqueue(Note(text="retried"), key="one")
    async with db.write() as session:
        await session.execute(update(JobRow).values(state="failed", attempts=5))
    async with db.write() as session:
        await retry(session, job)
    with pytest.raises(JobActionRefused, match="is queued"):
        async with db.write() as session:
            await retry(session, job)
    await jobs.run_due()

    assert handled == ["retried"]
    assert ((await jobs.row(job)).state, (await jobs.row(job)).attempts) == ("done", 0)


async def test_a_job_is_not_retried_while_another_with_its_key_is_unfinished(jobs, db):
    first = await jobs.enqueue(Note(), key="one")
    async with db.write() as session:
        await cancel(session, first)
    await jobs.enqueue(Note(), key="one")

    with pytest.raises(JobActionRefused, match="another job with the same key"):
        async with db.write() as session:
            await retry(session, first)


async def test_done_jobs_are_deleted_after_a_week_and_failed_ones_are_kept_longer(
    jobs, handled, db
):
    done, failed, fresh = [await jobs.enqueue(Note()) for _ in range(3)]
    async with db.write() as session:
        for job, state, age in (
            (done, "done", timedelta(days=8)),
            (failed, "failed", timedelta(days=8)),
            (fresh, "done", timedelta(days=6)),
        ):
            row = await session.get(JobRow, job)
            row.state, row.finished_at = state, row.created_at - age
    await jobs.enqueue(PurgeJobs())
    await jobs.run_due()

    assert [row.id for row in await jobs.rows("test.note")] == [failed, fresh]
    assert handled == []


async def test_a_missed_schedule_fires_once_however_many_workers_run(jobs, handled, db):
    schedules = (Schedule(Note(text="tick"), every(timedelta(hours=1))),)
    await jobs.run_due(schedules=schedules)
    assert handled == []  # a new schedule fires first at its next time
    async with db.write() as session:
        rows = await session.scalars(select(ScheduleRow).where(ScheduleRow.kind == Note.kind))
        (row,) = rows.all()
        row.next_at -= timedelta(hours=5)

    await asyncio.gather(*(jobs.run_due(schedules=schedules) for _ in range(3)))

    assert handled == ["tick"]
    assert [row.state for row in await jobs.rows("test.note")] == ["done"]


def test_a_daily_schedule_fires_at_local_time_when_the_clocks_change():
    berlin = ZoneInfo("Europe/Berlin")
    at_seven = daily(time(7))
    # Daylight saving time begins there on the 29th of March 2026.
    saturday = datetime(2026, 3, 28, 12, tzinfo=UTC)

    sunday = at_seven(saturday, berlin)

    assert sunday == datetime(2026, 3, 29, 5, tzinfo=UTC)
    assert at_seven(sunday, berlin) == datetime(2026, 3, 30, 5, tzinfo=UTC)
    assert at_seven(datetime(2026, 3, 27, 5, 59, tzinfo=UTC), berlin) == datetime(
        2026, 3, 27, 6, tzinfo=UTC
    )


async def is_done(app, job):
    return (await Jobs(app).row(job)).state == "done"


async def test_a_server_runs_a_job_that_it_enqueued_and_unregisters_when_it_stops(
    database_url, tmp_path
):
    async with running(settings_for(database_url, tmp_path, jobs="auto")) as app:
        db = app.resources.db
        async with db.write() as session:
            job = (await JobQueue(session).enqueue(PurgeJobs())).id
        await until(partial(is_done, app, job))
    async with (
        running(settings_for(database_url, tmp_path)) as app,
        app.resources.db.read() as session,
    ):
        assert (await session.scalars(select(WorkerRow))).all() == []  # the server deleted its row


async def test_a_server_runs_no_jobs_while_a_dedicated_worker_is_alive(jobs, handled, db):
    await jobs.enqueue(Note(text="for the worker"))
    async with db.write() as session:
        session.add(WorkerRow(id="w", name="elsewhere:1", dedicated=True))
    await jobs.run_due(yields_to_dedicated=True)
    assert handled == []

    async with db.write() as session:
        (row,) = (await session.scalars(select(WorkerRow))).all()
        row.beat_at -= timedelta(minutes=1)
    await jobs.run_due(yields_to_dedicated=True)
    assert handled == ["for the worker"]


async def test_metrics_show_queued_jobs_and_the_longest_wait(jobs, client, db):
    await jobs.enqueue(Note())
    async with db.write() as session:
        row = (await session.scalars(select(JobRow))).one()
        row.run_after -= timedelta(minutes=2)

    metrics = (await client.get("/metrics")).text

    assert 'freshly_jobs{kind="test.note",state="queued"} 1.0' in metrics
    (lag,) = (line for line in metrics.splitlines() if line.startswith("freshly_jobs_lag_seconds "))
    assert 120 <= float(lag.split()[1]) < 180


def test_each_kind_of_job_has_a_handler():
    def subclasses(base):
        for subclass in base.__subclasses__():
            yield from (subclass, *subclasses(subclass))

    ours = {job for job in subclasses(Job) if job.__module__.startswith("freshly.")}
    assert ours == set(HANDLERS)
    assert {type(schedule.job) for schedule in SCHEDULES} <= ours
    assert len({job.kind for job in ours}) == len(ours)
