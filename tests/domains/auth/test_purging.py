"""The purge deletes what expired long ago, and nothing else."""

from datetime import timedelta

from sqlalchemy import func, select

from freshly.chassis.jobs.models import ScheduleRow
from freshly.domains.auth.jobs import PurgeExpired
from freshly.domains.auth.models import AccountCode, AuthSession, RefreshToken

LONG_AGO = timedelta(days=40)


async def row_counts(db):
    async with db.read() as session:
        return [
            await session.scalar(select(func.count()).select_from(table))
            for table in (AccountCode, AuthSession, RefreshToken)
        ]


async def expire_long_ago(db, table, *conditions):
    async with db.write() as session:
        for row in await session.scalars(select(table).where(*conditions)):
            row.expires_at -= LONG_AGO


async def test_the_purge_deletes_only_codes_sessions_and_tokens_that_expired_long_ago(
    client, kitchen, jobs, db
):
    alice, bob = await kitchen.person("Alice"), await kitchen.person("Bob")
    for person in (alice, bob):
        await client.post("/auth/send-code", json={"email": person.user["email"]})
        await client.post("/auth/refresh", json={"refresh_token": person.tokens["refresh_token"]})
    assert await row_counts(db) == [2, 2, 4]
    await expire_long_ago(db, AccountCode, AccountCode.subject == alice.user["email"])
    await expire_long_ago(db, AuthSession, AuthSession.user_id == alice.id)
    session_of_bob = select(AuthSession.id).where(AuthSession.user_id == bob.id).scalar_subquery()
    used = RefreshToken.used_at.is_not(None)
    await expire_long_ago(db, RefreshToken, used, RefreshToken.sign_in_id == session_of_bob)

    await jobs.enqueue(PurgeExpired())
    await jobs.run_due()

    assert await row_counts(db) == [1, 1, 1]
    assert (await bob.get("/auth/me")).status_code == 200
    assert (await alice.get("/auth/me")).status_code == 401


async def test_the_purge_runs_on_schedule(jobs, db):
    await jobs.run_due()
    async with db.write() as session:
        for row in await session.scalars(select(ScheduleRow)):
            row.next_at -= timedelta(hours=2)

    await jobs.run_due()

    finished = {row.kind for row in await jobs.rows() if row.state == "done"}
    assert {"auth.purge_expired", "jobs.purge"} <= finished
