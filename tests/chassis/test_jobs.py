"""Work for later: asked for with a commit, done once, tried again, parked, shown."""

import asyncio
from datetime import UTC, datetime, time, timedelta
from typing import ClassVar
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import select, update

from freshly.chassis.errors import Conflict
from freshly.chassis.jobs import GiveUp, Job, JobQueue, Priority, Schedule, daily, every
from freshly.chassis.jobs.operating import CannotBeDone, cancel, retry
from freshly.chassis.jobs.purging import PurgeJobs
from freshly.chassis.jobs.rows import JobRow, ScheduleRow, WorkerRow
from freshly.chassis.jobs.runner import pause_before
from freshly.chassis.logging import correlation_id
from freshly.domains.families.service import FamilyService
from tests.conftest import running, settings_for

A_MONTH = timedelta(days=31)


class Note(Job):
    kind: ClassVar[str] = "test.note"

    text: str = ""


class Urgent(Note):
    kind: ClassVar[str] = "test.urgent"
    priority: ClassVar[Priority] = Priority.URGENT


class Hasty(Note):
    kind: ClassVar[str] = "test.hasty"
    time_limit: ClassVar[timedelta] = timedelta(milliseconds=50)
    tries: ClassVar[int] = 1


@pytest.fixture
def noted(jobs):
    """What was done, in order; a handler that only notes."""
    done = []

    async def note(job, _run):
        done.append(job.text)

    jobs.extra = {Note: note, Urgent: note, Hasty: note}
    return done


async def test_a_person_follows_what_they_asked_for(jobs, kitchen):
    alice, mallory = await kitchen.person("Alice"), await kitchen.person("Mallory")
    seen = []

    async def export(_job, run):
        await run.progress(0.5)
        seen.append(await alice.read(f"/jobs/{id}"))
        async with run.finishing(result_url="/files/exports/alice.zip"):
            pass

    jobs.extra = {Note: export}
    id = await jobs.enqueue(Note(), user_id=alice.id)
    before = await alice.read(f"/jobs/{id}")
    await jobs.run_due()
    after = await alice.read(f"/jobs/{id}")

    assert set(after) == {
        *("id", "kind", "state", "progress", "result_url", "error", "created_at", "updated_at"),
    }
    assert [(one["state"], one["progress"]) for one in (before, *seen, after)] == [
        ("queued", 0),
        ("running", 0.5),
        ("done", 1),
    ]
    assert after["result_url"] == "/files/exports/alice.zip"
    foreign, missing = await mallory.get(f"/jobs/{id}"), await mallory.get("/jobs/nothing")
    assert (foreign.status_code, foreign.json()["code"]) == (404, "job_not_found")
    assert {**foreign.json(), "correlation_id": 0} == {**missing.json(), "correlation_id": 0}
    assert (await mallory.read("/jobs"))["items"] == []


async def test_the_list_is_pages_newest_first_by_state_and_knows_no_other_parameter(
    jobs, noted, kitchen
):
    alice = await kitchen.person("Alice")
    ids = [await jobs.enqueue(Note(text=str(n)), user_id=alice.id) for n in range(3)]
    await jobs.run_due()
    ids.append(await jobs.enqueue(Note(), user_id=alice.id))

    first = await alice.read("/jobs", limit=3)
    second = await alice.read("/jobs", limit=3, cursor=first["next_cursor"])

    listed = [one["id"] for one in (*first["items"], *second["items"])]
    assert listed == sorted(ids, reverse=True)
    assert second["next_cursor"] is None
    assert [one["id"] for one in (await alice.read("/jobs", state="queued"))["items"]] == ids[3:]
    assert (await alice.get("/jobs", params={"kind": "x"})).status_code == 422
    assert (await alice.get("/jobs", params={"cursor": "x"})).json()["code"] == "bad_cursor"
    assert noted == ["0", "1", "2"]


async def test_a_transaction_that_is_rolled_back_leaves_no_job(jobs, noted, units):
    with pytest.raises(ZeroDivisionError):
        async with units.writing() as session:
            await JobQueue(session).enqueue(Note(text="never"))
            _ = 1 / 0

    await jobs.run_due()

    assert noted == []
    assert await jobs.rows("test.note") == []


async def test_the_urgent_goes_first_then_who_came_first(jobs, noted):
    for text in ("a", "b"):
        await jobs.enqueue(Note(text=text))
    await jobs.enqueue(Note(text="later"), priority=Priority.LATER)
    await jobs.enqueue(Urgent(text="urgent"))

    await jobs.run_due(at_once=1)

    assert noted == ["urgent", "a", "b", "later"]


async def test_a_delay_is_waited_for(jobs, noted):
    await jobs.enqueue(Note(text="tomorrow"), delay=timedelta(days=1))

    await jobs.run_due()
    assert noted == []
    await jobs.hasten()
    await jobs.run_due()
    assert noted == ["tomorrow"]


async def test_the_same_key_is_one_job_while_it_waits_and_another_one_afterwards(jobs, noted):
    first = await jobs.enqueue(Note(text="1"), key="plan:1", delay=timedelta(hours=1))
    same = await jobs.enqueue(Note(text="2"), key="plan:1")
    other = await jobs.enqueue(Note(text="3"), key="plan:2")
    await jobs.run_due()  # the second was for now

    assert same == first
    assert other != first
    assert sorted(noted) == ["1", "3"]
    assert await jobs.enqueue(Note(), key="plan:1") != first


async def test_many_who_ask_at_once_for_the_same_get_one_job(jobs):
    ids = await asyncio.gather(*(jobs.enqueue(Note(), key="plan:1") for _ in range(10)))

    assert len(set(ids)) == 1
    assert len(await jobs.rows("test.note")) == 1


async def test_what_is_asked_for_while_it_runs_is_done_once_more(jobs):
    runs = []

    async def recompute(_job, _run):
        runs.append(await jobs.enqueue(Note(), key="plan:1") if not runs else None)

    jobs.extra = {Note: recompute}
    id = await jobs.enqueue(Note(), key="plan:1")
    await jobs.run_due()

    assert runs == [id, None]
    assert [(row.state, row.taken) for row in await jobs.rows("test.note")] == [("done", 2)]


async def test_what_fails_is_tried_again_later_and_parked_after_five_tries(jobs, kitchen):
    alice = await kitchen.person("Alice")

    async def fail(_job, _run):
        raise RuntimeError("secret provider text")

    jobs.extra = {Note: fail}
    id = await jobs.enqueue(Note(text="poison"), user_id=alice.id)
    states = []
    for _ in range(6):
        await jobs.run_due()
        row = await jobs.row(id)
        states.append((row.state, row.attempts, row.run_after > row.updated_at))
        await jobs.hasten()

    assert states == [*(("queued", n, True) for n in range(1, 5)), *[("failed", 5, False)] * 2]
    told = await alice.read(f"/jobs/{id}")
    assert (told["state"], told["error"]) == ("failed", "Something went wrong on our side.")
    assert (await jobs.row(id)).payload == {"text": "poison"}


def test_the_pauses_grow_and_are_never_the_same_for_all():
    pauses = [[pause_before(n, Note).total_seconds() for _ in range(50)] for n in range(1, 9)]

    assert [min(some) < max(some) for some in pauses] == [True] * 8
    for n, some in enumerate(pauses):
        usual = min(5 * 4**n, 3600)
        assert all(usual * 0.5 <= pause <= usual * 1.5 for pause in some)


async def test_a_refusal_tells_the_person_why(jobs, kitchen):
    alice = await kitchen.person("Alice")

    class AlreadyThere(Conflict):
        code, detail = "already_there", "There is one already."

    async def refuse(job, _run):
        raise GiveUp("The picture is broken.") if job.text == "give up" else AlreadyThere

    jobs.extra = {Note: refuse}
    hopeless = await jobs.enqueue(Note(text="give up"), user_id=alice.id)
    refused = await jobs.enqueue(Note(), user_id=alice.id)
    await jobs.run_due()

    told = [await alice.read(f"/jobs/{id}") for id in (hopeless, refused)]
    assert [(one["state"], one["error"]) for one in told] == [
        ("failed", "The picture is broken."),
        ("queued", "There is one already."),
    ]


async def test_what_takes_too_long_is_ended(jobs):
    async def dawdle(_job, _run):
        await asyncio.sleep(60)

    jobs.extra = {Hasty: dawdle}
    id = await jobs.enqueue(Hasty())
    await jobs.run_due()

    row = await jobs.row(id)
    assert (row.state, row.error) == ("failed", "It took too long.")


async def test_a_record_that_this_release_cannot_read_is_parked_and_an_unknown_kind_waits(
    jobs, noted, units
):
    class FromTheFuture(Note):
        kind: ClassVar[str] = "test.future"

    unknown = await jobs.enqueue(FromTheFuture())
    broken = await jobs.enqueue(Note())
    async with units.writing() as session:
        await session.execute(
            update(JobRow).where(JobRow.id == broken).values(payload={"number": 1})
        )
    await jobs.run_due()

    assert [(await jobs.row(id)).state for id in (unknown, broken)] == ["queued", "failed"]
    assert noted == []


async def test_who_lost_a_job_commits_nothing(jobs, units, kitchen):
    alice = await kitchen.person("Alice")

    async def lose_it(_job, run):
        async with units.writing() as session:  # as a healer and another worker would
            await session.execute(update(JobRow).values(taken=JobRow.taken + 1))
        async with run.finishing() as session:
            service = await run.service(FamilyService, session)
            await service.leave_all()

    jobs.extra = {Note: lose_it}
    await kitchen.family(alice)
    id = await jobs.enqueue(Note(), user_id=alice.id)
    await jobs.run_due()

    assert len(await alice.read("/families")) == 1
    assert (await jobs.row(id)).state != "done"


async def test_effects_of_a_failed_last_unit_of_work_are_undone_with_it(jobs, kitchen):
    alice = await kitchen.person("Alice")

    async def half(_job, run):
        async with run.finishing() as session:
            await (await run.service(FamilyService, session)).leave_all()
            raise OSError

    jobs.extra = {Note: half}
    await kitchen.family(alice)
    id = await jobs.enqueue(Note(), user_id=alice.id)
    await jobs.run_due()

    assert len(await alice.read("/families")) == 1
    assert ((await jobs.row(id)).state, (await jobs.row(id)).attempts) == ("queued", 1)


async def test_a_job_acts_as_the_person_who_caused_it_and_in_their_name_only(jobs, kitchen):
    alice, bob = await kitchen.person("Alice"), await kitchen.person("Bob")
    await kitchen.family(alice)
    await kitchen.family(bob)

    async def leave(_job, run):
        async with run.finishing() as session:
            await (await run.service(FamilyService, session)).leave_all()

    jobs.extra = {Note: leave}
    await jobs.enqueue(Note(), user_id=alice.id)
    nobodys = await jobs.enqueue(Note())
    await jobs.run_due()

    assert await alice.read("/families") == []
    assert len(await bob.read("/families")) == 1
    assert (await jobs.row(nobodys)).error == "Not authenticated"


async def test_a_deleted_person_takes_their_jobs_along(jobs, noted, kitchen):
    alice = await kitchen.person("Alice")
    await jobs.enqueue(Note(text="of Alice"), user_id=alice.id)

    await alice.delete("/users/me")
    await jobs.run_due()

    assert noted == []
    assert await jobs.rows("test.note") == []


async def test_the_correlation_id_of_the_request_is_that_of_the_job(jobs):
    seen = []

    async def look(_job, _run):
        seen.append(correlation_id.get())

    jobs.extra = {Note: look}
    token = correlation_id.set("from-the-request")
    await jobs.enqueue(Note())
    correlation_id.reset(token)
    await jobs.run_due()

    assert seen == ["from-the-request"]


async def test_cancelling_ends_what_waits_and_stops_what_runs(jobs, units):
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
    async with jobs.runner(silence=timedelta(milliseconds=400)).running():
        await started.wait()
        for id in (runs, waits):
            async with units.writing() as session:
                await cancel(session, id)
        async with asyncio.timeout(10):
            while not ended:
                await asyncio.sleep(0.02)

    assert [(await jobs.row(id)).state for id in (runs, waits)] == ["cancelled", "cancelled"]
    with pytest.raises(CannotBeDone, match="is cancelled"):
        async with units.writing() as session:
            await cancel(session, waits)


async def test_the_operator_has_what_failed_tried_again(jobs, noted, units):
    id = await jobs.enqueue(Note(text="mended"), key="one")
    async with units.writing() as session:
        await session.execute(update(JobRow).values(state="failed", attempts=5))
    async with units.writing() as session:
        await retry(session, id)
    with pytest.raises(CannotBeDone, match="is queued"):
        async with units.writing() as session:
            await retry(session, id)
    await jobs.run_due()

    assert noted == ["mended"]
    assert ((await jobs.row(id)).state, (await jobs.row(id)).attempts) == ("done", 0)


async def test_what_another_job_does_already_is_not_tried_again(jobs, units):
    first = await jobs.enqueue(Note(), key="one")
    async with units.writing() as session:
        await cancel(session, first)
    await jobs.enqueue(Note(), key="one")

    with pytest.raises(CannotBeDone, match="another job does the same"):
        async with units.writing() as session:
            await retry(session, first)


async def test_finished_jobs_are_forgotten_after_a_while_and_the_unfinished_are_not(
    jobs, noted, units
):
    done, failed, fresh = [await jobs.enqueue(Note()) for _ in range(3)]
    async with units.writing() as session:
        for id, state, age in (
            (done, "done", timedelta(days=8)),
            (failed, "failed", timedelta(days=8)),
            (fresh, "done", timedelta(days=6)),
        ):
            row = await session.get(JobRow, id)
            row.state, row.finished_at = state, row.created_at - age
    await jobs.enqueue(PurgeJobs())
    await jobs.run_due()

    assert [row.id for row in await jobs.rows("test.note")] == [failed, fresh]
    assert noted == []


async def test_a_schedule_is_asked_for_once_by_many_workers_however_late(jobs, noted, units):
    schedules = (Schedule(Note(text="tick"), every(timedelta(hours=1))),)
    await jobs.run_due(schedules=schedules)
    assert noted == []  # its first time is yet to come
    async with units.writing() as session:
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


async def test_inside_the_server_a_job_runs_as_soon_as_it_is_committed(database_url, tmp_path):
    async with running(settings_for(database_url, tmp_path, jobs="auto")) as app:
        units = app.state["units"]
        async with units.writing() as session:
            id = (await JobQueue(session).enqueue(PurgeJobs())).id
        async with asyncio.timeout(10):
            while True:
                async with units.reading() as session:
                    if await session.scalar(select(JobRow.state).where(JobRow.id == id)) == "done":
                        break
                await asyncio.sleep(0.01)
    async with running(settings_for(database_url, tmp_path)) as app:
        async with app.state["units"].reading() as session:
            assert (await session.scalars(select(WorkerRow))).all() == []  # it has said goodbye


async def test_a_server_leaves_jobs_to_workers_as_long_as_one_lives(jobs, noted, units):
    await jobs.enqueue(Note(text="for the worker"))
    async with units.writing() as session:
        session.add(WorkerRow(id="w", name="elsewhere:1", dedicated=True))
    await jobs.run_due(stands_by=True)
    assert noted == []

    async with units.writing() as session:
        (row,) = (await session.scalars(select(WorkerRow))).all()
        row.beat_at -= timedelta(minutes=1)
    await jobs.run_due(stands_by=True)
    assert noted == ["for the worker"]


async def test_numbers_tell_how_much_waits_and_for_how_long(jobs, client, units):
    await jobs.enqueue(Note())
    async with units.writing() as session:
        row = (await session.scalars(select(JobRow))).one()
        row.run_after -= timedelta(minutes=2)

    numbers = (await client.get("/metrics")).text

    assert 'freshly_jobs{kind="test.note",state="queued"} 1.0' in numbers
    (lag,) = (line for line in numbers.splitlines() if line.startswith("freshly_jobs_lag_seconds "))
    assert 120 <= float(lag.split()[1]) < 180


def test_everything_that_is_asked_for_has_somebody_who_does_it():
    from freshly.work import HANDLERS, SCHEDULES  # noqa: PLC0415

    def records(base):
        for one in base.__subclasses__():
            yield from (one, *records(one))

    ours = {one for one in records(Job) if one.__module__.startswith("freshly.")}
    assert ours == set(HANDLERS)
    assert {type(schedule.job) for schedule in SCHEDULES} <= ours
    assert len({one.kind for one in ours}) == len(ours)
