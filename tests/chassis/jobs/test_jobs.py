"""Jobs: enqueued in a transaction, run once, retried, marked failed, and shown to their user."""

import asyncio
from datetime import timedelta
from typing import ClassVar

import pytest
from sqlalchemy import delete, update

from freshly.chassis.errors import Conflict
from freshly.chassis.jobs import Job, JobQueue, PermanentFailure, Priority, leases
from freshly.chassis.jobs.models import JobRow
from freshly.chassis.jobs.worker import backoff_after
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
def handled(jobs):
    """The texts of handled jobs in order, from a handler that only records them."""
    texts = []

    async def record(job, _context):
        texts.append(job.text)

    jobs.extra = {Note: record, Urgent: record, Hasty: record}
    return texts


async def test_a_user_reads_state_and_progress_of_their_job_and_no_other_user_does(jobs, kitchen):
    alice, mallory = await kitchen.person("Alice"), await kitchen.person("Mallory")
    during = []

    async def export(_job, context):
        await context.progress(0.5)
        during.append(await alice.read(f"/jobs/{job}"))
        async with context.complete(result_url="/files/exports/alice.zip"):
            pass

    jobs.extra = {Note: export}
    job = await jobs.enqueue(Note(), user_id=alice.id)
    before = await alice.read(f"/jobs/{job}")
    await jobs.run_due()
    after = await alice.read(f"/jobs/{job}")

    assert set(after) == {
        *("id", "kind", "state", "progress", "result_url", "error", "created_at", "updated_at"),
    }
    assert [(shown["state"], shown["progress"]) for shown in (before, *during, after)] == [
        ("queued", 0),
        ("running", 0.5),
        ("done", 1),
    ]
    assert after["result_url"] == "/files/exports/alice.zip"
    foreign, missing = await mallory.get(f"/jobs/{job}"), await mallory.get("/jobs/nothing")
    assert (foreign.status_code, foreign.json()["code"]) == (404, "job_not_found")
    assert {**foreign.json(), "correlation_id": 0} == {**missing.json(), "correlation_id": 0}
    assert (await mallory.read("/jobs"))["items"] == []


async def test_the_list_of_jobs_is_paged_newest_first_and_filtered_only_by_state(
    jobs, handled, kitchen
):
    alice = await kitchen.person("Alice")
    ids = [await jobs.enqueue(Note(text=str(n)), user_id=alice.id) for n in range(3)]
    await jobs.run_due()
    ids.append(await jobs.enqueue(Note(), user_id=alice.id))

    first = await alice.read("/jobs", limit=3)
    second = await alice.read("/jobs", limit=3, cursor=first["next_cursor"])

    listed = [job["id"] for job in (*first["items"], *second["items"])]
    assert listed == sorted(ids, reverse=True)
    assert second["next_cursor"] is None
    assert [job["id"] for job in (await alice.read("/jobs", state="queued"))["items"]] == ids[3:]
    assert (await alice.get("/jobs", params={"kind": "x"})).status_code == 422
    assert (await alice.get("/jobs", params={"cursor": "x"})).json()["code"] == "bad_cursor"
    assert handled == ["0", "1", "2"]


async def test_a_job_is_not_enqueued_if_its_transaction_rolls_back(jobs, handled, db):
    async def enqueue_and_fail():
        async with db.write() as session:
            await JobQueue(session).enqueue(Note(text="never"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await enqueue_and_fail()
    await jobs.run_due()

    assert handled == []
    assert await jobs.rows("test.note") == []


async def test_urgent_jobs_run_first_then_the_oldest_first(jobs, handled):
    for text in ("a", "b"):
        await jobs.enqueue(Note(text=text))
    await jobs.enqueue(Note(text="later"), priority=Priority.LOW)
    await jobs.enqueue(Urgent(text="urgent"))

    await jobs.run_due(concurrency=1)

    assert handled == ["urgent", "a", "b", "later"]


async def test_a_delayed_job_does_not_run_before_its_time(jobs, handled):
    await jobs.enqueue(Note(text="tomorrow"), delay=timedelta(days=1))

    await jobs.run_due()
    assert handled == []
    await jobs.hasten()
    await jobs.run_due()
    assert handled == ["tomorrow"]


async def test_a_key_names_one_queued_job_and_is_free_again_when_the_job_is_done(jobs, handled):
    first = await jobs.enqueue(Note(text="1"), key="plan:1", delay=timedelta(hours=1))
    same = await jobs.enqueue(Note(text="2"), key="plan:1")
    other = await jobs.enqueue(Note(text="3"), key="plan:2")
    await jobs.run_due()  # the second call asked for the job to run now

    assert same == first
    assert other != first
    assert sorted(handled) == ["1", "3"]
    assert await jobs.enqueue(Note(), key="plan:1") != first


async def test_concurrent_enqueues_with_the_same_key_return_the_same_job(jobs):
    ids = await asyncio.gather(*(jobs.enqueue(Note(), key="plan:1") for _ in range(10)))

    assert len(set(ids)) == 1
    assert len(await jobs.rows("test.note")) == 1


async def test_a_job_that_is_enqueued_again_while_it_runs_runs_once_more(jobs):
    runs = []

    async def recompute(_job, _context):
        runs.append(await jobs.enqueue(Note(), key="plan:1") if not runs else None)

    jobs.extra = {Note: recompute}
    job = await jobs.enqueue(Note(), key="plan:1")
    await jobs.run_due()

    assert runs == [job, None]
    assert [(row.state, row.lease) for row in await jobs.rows("test.note")] == [("done", 2)]


async def test_a_failing_job_is_retried_later_and_marked_failed_after_five_attempts(jobs, kitchen):
    alice = await kitchen.person("Alice")

    async def fail(_job, _context):
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
    shown = await alice.read(f"/jobs/{job}")
    assert (shown["state"], shown["error"]) == (
        "failed",
        "Sorry, something went wrong on our side. Please try again later.",
    )
    assert (await jobs.row(job)).payload == {"text": "poison"}


def test_the_backoff_grows_fourfold_up_to_an_hour_and_varies_at_random():
    backoffs = [[backoff_after(n, Note).total_seconds() for _ in range(50)] for n in range(1, 9)]

    assert [min(sample) < max(sample) for sample in backoffs] == [True] * 8
    for n, sample in enumerate(backoffs):
        usual = min(5 * 4**n, 3600)
        assert all(usual * 0.5 <= backoff <= usual * 1.5 for backoff in sample)


async def test_a_user_reads_why_a_handler_refused_their_job(jobs, kitchen):
    alice = await kitchen.person("Alice")

    class AlreadyThere(Conflict):
        code, detail = "already_there", "There is one already."

    async def refuse(job, _context):
        raise PermanentFailure("The picture is broken.") if job.text == "give up" else AlreadyThere

    jobs.extra = {Note: refuse}
    permanent = await jobs.enqueue(Note(text="give up"), user_id=alice.id)
    retried = await jobs.enqueue(Note(), user_id=alice.id)
    await jobs.run_due()

    shown = [await alice.read(f"/jobs/{job}") for job in (permanent, retried)]
    assert [(job["state"], job["error"]) for job in shown] == [
        ("failed", "The picture is broken."),
        ("queued", "There is one already."),
    ]


async def test_a_job_is_stopped_at_its_time_limit(jobs):
    async def sleep(_job, _context):
        await asyncio.sleep(60)

    jobs.extra = {Hasty: sleep}
    job = await jobs.enqueue(Hasty())
    await jobs.run_due()

    row = await jobs.row(job)
    assert (row.state, row.error) == (
        "failed",
        "Stopped at the time limit of 0.05 seconds. Please try again later.",
    )


async def test_a_job_with_an_invalid_payload_fails_and_one_of_an_unknown_kind_stays_queued(
    jobs, handled, db
):
    class OfNewerRelease(Note):
        kind: ClassVar[str] = "test.future"

    unknown = await jobs.enqueue(OfNewerRelease())
    broken = await jobs.enqueue(Note())
    async with db.write() as session:
        await session.execute(
            update(JobRow).where(JobRow.id == broken).values(payload={"number": 1})
        )
    await jobs.run_due()

    assert [(await jobs.row(job)).state for job in (unknown, broken)] == ["queued", "failed"]
    assert handled == []


async def test_a_run_that_lost_its_lease_commits_nothing(jobs, db, kitchen):
    alice = await kitchen.person("Alice")

    async def lose_lease(_job, context):
        async with db.write() as session:  # as if another worker had reclaimed and claimed the job
            await session.execute(update(JobRow).values(lease=JobRow.lease + 1))
        async with context.complete() as session:
            service = await context.service(FamilyService, session)
            await service.leave_all()

    jobs.extra = {Note: lose_lease}
    await kitchen.family(alice)
    job = await jobs.enqueue(Note(), user_id=alice.id)
    await jobs.run_due()

    assert len(await alice.read("/families")) == 1
    assert (await jobs.row(job)).state != "done"


async def test_a_worker_ignores_that_a_running_job_was_deleted(jobs, db):
    async def delete_job(_job, context):
        async with db.write() as session:
            await session.execute(delete(JobRow).where(JobRow.id == context.id))

    jobs.extra = {Note: delete_job}
    await jobs.enqueue(Note())
    async with asyncio.timeout(20):
        await jobs.run_due()

    assert await jobs.rows() == []


async def test_a_failure_in_the_last_transaction_of_a_job_rolls_back_its_effects(jobs, kitchen):
    alice = await kitchen.person("Alice")

    async def leave_and_fail(_job, context):
        async with context.complete() as session:
            await (await context.service(FamilyService, session)).leave_all()
            raise OSError

    jobs.extra = {Note: leave_and_fail}
    await kitchen.family(alice)
    job = await jobs.enqueue(Note(), user_id=alice.id)
    await jobs.run_due()

    assert len(await alice.read("/families")) == 1
    assert ((await jobs.row(job)).state, (await jobs.row(job)).attempts) == ("queued", 1)


async def test_a_job_acts_only_as_the_user_who_caused_it(jobs, kitchen):
    alice, bob = await kitchen.person("Alice"), await kitchen.person("Bob")
    await kitchen.family(alice)
    await kitchen.family(bob)

    async def leave(_job, context):
        async with context.complete() as session:
            await (await context.service(FamilyService, session)).leave_all()

    jobs.extra = {Note: leave}
    await jobs.enqueue(Note(), user_id=alice.id)
    without_user = await jobs.enqueue(Note())
    await jobs.run_due()

    assert await alice.read("/families") == []
    assert len(await bob.read("/families")) == 1
    assert (await jobs.row(without_user)).error == "Not authenticated"


async def test_deleting_an_account_deletes_its_jobs(jobs, handled, kitchen):
    alice = await kitchen.person("Alice")
    await jobs.enqueue(Note(text="of Alice"), user_id=alice.id)

    await alice.delete("/users/me")
    await jobs.run_due()

    assert handled == []
    assert await jobs.rows("test.note") == []


async def test_a_job_has_the_correlation_id_of_the_request_that_enqueued_it(jobs):
    seen = []

    async def record(_job, _context):
        seen.append(correlation_id.get())

    jobs.extra = {Note: record}
    token = correlation_id.set("from-the-request")
    await jobs.enqueue(Note())
    correlation_id.reset(token)
    await jobs.run_due()

    assert seen == ["from-the-request"]


async def test_a_job_runs_although_the_response_to_its_claim_was_lost(jobs, handled, db):
    """The connection breaks after the commit of the claim and before its response."""
    await jobs.enqueue(Note(text="soup"))
    worker = jobs.worker()
    await worker.heartbeat()
    async with db.write() as session:
        await leases.claim(session, worker.id, worker.jobs, 1)

    worker._claim_unconfirmed = True  # noqa: SLF001 - as it is until the response arrives
    await worker.run_until_idle()

    assert handled == ["soup"]
