"""Work for later: asked for with a commit, done once, tried again, parked, shown."""

import asyncio
from datetime import timedelta
from typing import ClassVar

import pytest
from sqlalchemy import delete, update

from freshly.chassis.errors import Conflict
from freshly.chassis.jobs import Job, JobQueue, PermanentFailure, Priority, leases
from freshly.chassis.jobs.models import JobRow
from freshly.chassis.jobs.worker import pause_before
from freshly.chassis.observability.logging import correlation_id
from freshly.domains.families.service import FamilyService

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
    max_attempts: ClassVar[int] = 1


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
        seen.append(await alice.read(f"/jobs/{job}"))
        async with run.complete(result_url="/files/exports/alice.zip"):
            pass

    jobs.extra = {Note: export}
    job = await jobs.enqueue(Note(), user_id=alice.id)
    before = await alice.read(f"/jobs/{job}")
    await jobs.run_due()
    after = await alice.read(f"/jobs/{job}")

    assert set(after) == {
        *("id", "kind", "state", "progress", "result_url", "error", "created_at", "updated_at"),
    }
    assert [(one["state"], one["progress"]) for one in (before, *seen, after)] == [
        ("queued", 0),
        ("running", 0.5),
        ("done", 1),
    ]
    assert after["result_url"] == "/files/exports/alice.zip"
    foreign, missing = await mallory.get(f"/jobs/{job}"), await mallory.get("/jobs/nothing")
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


async def test_a_transaction_that_is_rolled_back_leaves_no_job(jobs, noted, db):
    async def change_of_mind():
        async with db.write() as session:
            await JobQueue(session).enqueue(Note(text="never"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await change_of_mind()
    await jobs.run_due()

    assert noted == []
    assert await jobs.rows("test.note") == []


async def test_the_urgent_goes_first_then_who_came_first(jobs, noted):
    for text in ("a", "b"):
        await jobs.enqueue(Note(text=text))
    await jobs.enqueue(Note(text="later"), priority=Priority.LOW)
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
    job = await jobs.enqueue(Note(), key="plan:1")
    await jobs.run_due()

    assert runs == [job, None]
    assert [(row.state, row.lease) for row in await jobs.rows("test.note")] == [("done", 2)]


async def test_what_fails_is_tried_again_later_and_parked_after_five_tries(jobs, kitchen):
    alice = await kitchen.person("Alice")

    async def fail(_job, _run):
        raise RuntimeError("secret provider text")

    jobs.extra = {Note: fail}
    job = await jobs.enqueue(Note(text="poison"), user_id=alice.id)
    states = []
    for _ in range(6):
        await jobs.run_due()
        row = await jobs.row(job)
        states.append((row.state, row.attempts, row.run_after > row.updated_at))
        await jobs.hasten()

    assert states == [*(("queued", n, True) for n in range(1, 5)), *[("failed", 5, False)] * 2]
    told = await alice.read(f"/jobs/{job}")
    assert (told["state"], told["error"]) == ("failed", "Something went wrong on our side.")
    assert (await jobs.row(job)).payload == {"text": "poison"}


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
        raise PermanentFailure("The picture is broken.") if job.text == "give up" else AlreadyThere

    jobs.extra = {Note: refuse}
    hopeless = await jobs.enqueue(Note(text="give up"), user_id=alice.id)
    refused = await jobs.enqueue(Note(), user_id=alice.id)
    await jobs.run_due()

    told = [await alice.read(f"/jobs/{job}") for job in (hopeless, refused)]
    assert [(one["state"], one["error"]) for one in told] == [
        ("failed", "The picture is broken."),
        ("queued", "There is one already."),
    ]


async def test_what_takes_too_long_is_ended(jobs):
    async def dawdle(_job, _run):
        await asyncio.sleep(60)

    jobs.extra = {Hasty: dawdle}
    job = await jobs.enqueue(Hasty())
    await jobs.run_due()

    row = await jobs.row(job)
    assert (row.state, row.error) == ("failed", "It took too long.")


async def test_a_record_that_this_release_cannot_read_is_parked_and_an_unknown_kind_waits(
    jobs, noted, db
):
    class FromTheFuture(Note):
        kind: ClassVar[str] = "test.future"

    unknown = await jobs.enqueue(FromTheFuture())
    broken = await jobs.enqueue(Note())
    async with db.write() as session:
        await session.execute(
            update(JobRow).where(JobRow.id == broken).values(payload={"number": 1})
        )
    await jobs.run_due()

    assert [(await jobs.row(job)).state for job in (unknown, broken)] == ["queued", "failed"]
    assert noted == []


async def test_who_lost_a_job_commits_nothing(jobs, db, kitchen):
    alice = await kitchen.person("Alice")

    async def lose_it(_job, run):
        async with db.write() as session:  # as a healer and another worker would
            await session.execute(update(JobRow).values(lease=JobRow.lease + 1))
        async with run.complete() as session:
            service = await run.service(FamilyService, session)
            await service.leave_all()

    jobs.extra = {Note: lose_it}
    await kitchen.family(alice)
    job = await jobs.enqueue(Note(), user_id=alice.id)
    await jobs.run_due()

    assert len(await alice.read("/families")) == 1
    assert (await jobs.row(job)).state != "done"


async def test_a_job_that_is_gone_when_it_is_done_is_let_go(jobs, db):
    async def vanish(_job, run):
        async with db.write() as session:
            await session.execute(delete(JobRow).where(JobRow.id == run.id))

    jobs.extra = {Note: vanish}
    await jobs.enqueue(Note())
    async with asyncio.timeout(20):
        await jobs.run_due()

    assert await jobs.rows() == []


async def test_effects_of_a_failed_last_unit_of_work_are_undone_with_it(jobs, kitchen):
    alice = await kitchen.person("Alice")

    async def half(_job, run):
        async with run.complete() as session:
            await (await run.service(FamilyService, session)).leave_all()
            raise OSError

    jobs.extra = {Note: half}
    await kitchen.family(alice)
    job = await jobs.enqueue(Note(), user_id=alice.id)
    await jobs.run_due()

    assert len(await alice.read("/families")) == 1
    assert ((await jobs.row(job)).state, (await jobs.row(job)).attempts) == ("queued", 1)


async def test_a_job_acts_as_the_person_who_caused_it_and_in_their_name_only(jobs, kitchen):
    alice, bob = await kitchen.person("Alice"), await kitchen.person("Bob")
    await kitchen.family(alice)
    await kitchen.family(bob)

    async def leave(_job, run):
        async with run.complete() as session:
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


async def test_a_job_whose_taking_was_committed_but_never_heard_of_is_done(jobs, noted, db):
    """The connection broke between the commit and its answer."""
    await jobs.enqueue(Note(text="soup"))
    worker = jobs.worker()
    await worker.join()
    async with db.write() as session:
        await leases.take(session, worker.id, worker.jobs, 1)

    worker._unsure = True  # noqa: SLF001 - as it is while an answer is out
    await worker.drain()

    assert noted == ["soup"]
