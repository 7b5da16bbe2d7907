"""What keeps jobs in order: the operator, the clock, the workers, retention, numbers."""

import asyncio
from datetime import UTC, datetime, time, timedelta
from functools import partial
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import select, update

from freshly.chassis.jobs import Job, JobQueue, Schedule, daily, every
from freshly.chassis.jobs.admin import CannotBeDone, cancel, retry
from freshly.chassis.jobs.models import JobRow, ScheduleRow, WorkerRow
from freshly.chassis.jobs.retention import PurgeJobs
from freshly.wiring.jobs import HANDLERS, SCHEDULES
from tests.chassis.jobs.test_jobs import A_MONTH, Note, noted
from tests.conftest import Jobs, running, settings_for, until

__all__ = ["noted"]


async def test_cancelling_ends_what_waits_and_stops_what_runs(jobs, db):
    started, ended = asyncio.Event(), []

    async def long(_job, _run):
        started.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            ended.append("stopped")
            raise

    jobs.extra = {Note: long}
    runs, waits = await jobs.enqueue(Note()), await jobs.enqueue(Note(), delay=A_MONTH)
    async with jobs.worker(silence=timedelta(milliseconds=400)).running():
        await started.wait()
        for job in (runs, waits):
            async with db.write() as session:
                await cancel(session, job)
        await until(lambda: ended)

    assert [(await jobs.row(job)).state for job in (runs, waits)] == ["cancelled", "cancelled"]
    with pytest.raises(CannotBeDone, match="is cancelled"):
        async with db.write() as session:
            await cancel(session, waits)


async def test_the_operator_has_what_failed_tried_again(jobs, noted, db):
    job = await jobs.enqueue(Note(text="mended"), key="one")
    async with db.write() as session:
        await session.execute(update(JobRow).values(state="failed", attempts=5))
    async with db.write() as session:
        await retry(session, job)
    with pytest.raises(CannotBeDone, match="is queued"):
        async with db.write() as session:
            await retry(session, job)
    await jobs.run_due()

    assert noted == ["mended"]
    assert ((await jobs.row(job)).state, (await jobs.row(job)).attempts) == ("done", 0)


async def test_what_another_job_does_already_is_not_tried_again(jobs, db):
    first = await jobs.enqueue(Note(), key="one")
    async with db.write() as session:
        await cancel(session, first)
    await jobs.enqueue(Note(), key="one")

    with pytest.raises(CannotBeDone, match="another job does the same"):
        async with db.write() as session:
            await retry(session, first)


async def test_finished_jobs_are_forgotten_after_a_while_and_the_unfinished_are_not(
    jobs, noted, db
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
    assert noted == []


async def test_a_schedule_is_asked_for_once_by_many_workers_however_late(jobs, noted, db):
    schedules = (Schedule(Note(text="tick"), every(timedelta(hours=1))),)
    await jobs.run_due(schedules=schedules)
    assert noted == []  # its first time is yet to come
    async with db.write() as session:
        rows = await session.scalars(select(ScheduleRow).where(ScheduleRow.kind == Note.kind))
        (row,) = rows.all()
        row.next_at -= timedelta(hours=5)

    await asyncio.gather(*(jobs.run_due(schedules=schedules) for _ in range(3)))

    assert noted == ["tick"]
    assert [row.state for row in await jobs.rows("test.note")] == ["done"]


def test_daily_means_the_clock_on_the_wall():
    berlin = ZoneInfo("Europe/Berlin")
    at_seven = daily(time(7))
    # The night to the 29th of March 2026 is an hour shorter there.
    saturday = datetime(2026, 3, 28, 12, tzinfo=UTC)

    sunday = at_seven(saturday, berlin)

    assert sunday == datetime(2026, 3, 29, 5, tzinfo=UTC)
    assert at_seven(sunday, berlin) == datetime(2026, 3, 30, 5, tzinfo=UTC)
    assert at_seven(datetime(2026, 3, 27, 5, 59, tzinfo=UTC), berlin) == datetime(
        2026, 3, 27, 6, tzinfo=UTC
    )


async def is_done(app, job):
    return (await Jobs(app).row(job)).state == "done"


async def test_inside_the_server_a_job_runs_as_soon_as_it_is_committed(database_url, tmp_path):
    async with running(settings_for(database_url, tmp_path, jobs="auto")) as app:
        db = app.resources.db
        async with db.write() as session:
            job = (await JobQueue(session).enqueue(PurgeJobs())).id
        await until(partial(is_done, app, job))
    async with (
        running(settings_for(database_url, tmp_path)) as app,
        app.resources.db.read() as session,
    ):
        assert (await session.scalars(select(WorkerRow))).all() == []  # it has said goodbye


async def test_a_server_leaves_jobs_to_workers_as_long_as_one_lives(jobs, noted, db):
    await jobs.enqueue(Note(text="for the worker"))
    async with db.write() as session:
        session.add(WorkerRow(id="w", name="elsewhere:1", dedicated=True))
    await jobs.run_due(stands_by=True)
    assert noted == []

    async with db.write() as session:
        (row,) = (await session.scalars(select(WorkerRow))).all()
        row.beat_at -= timedelta(minutes=1)
    await jobs.run_due(stands_by=True)
    assert noted == ["for the worker"]


async def test_numbers_tell_how_much_waits_and_for_how_long(jobs, client, db):
    await jobs.enqueue(Note())
    async with db.write() as session:
        row = (await session.scalars(select(JobRow))).one()
        row.run_after -= timedelta(minutes=2)

    numbers = (await client.get("/metrics")).text

    assert 'freshly_jobs{kind="test.note",state="queued"} 1.0' in numbers
    (lag,) = (line for line in numbers.splitlines() if line.startswith("freshly_jobs_lag_seconds "))
    assert 120 <= float(lag.split()[1]) < 180


def test_everything_that_is_asked_for_has_somebody_who_does_it():
    def records(base):
        for one in base.__subclasses__():
            yield from (one, *records(one))

    ours = {one for one in records(Job) if one.__module__.startswith("freshly.")}
    assert ours == set(HANDLERS)
    assert {type(schedule.job) for schedule in SCHEDULES} <= ours
    assert len({one.kind for one in ours}) == len(ours)
