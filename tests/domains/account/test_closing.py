"""An account that is deleted without proof is closed for seven days first."""

import re
from datetime import timedelta

import pytest
from sqlalchemy import select, update

from freshly.chassis.data.functions import now
from freshly.domains.users.models import User
from tests.support.api import PASSWORD, Person


@pytest.fixture
async def closed(kitchen, age_sign_ins):
    """Alice, who deleted her account with nothing but an access token."""
    alice = await kitchen.person("Alice")
    await age_sign_ins()
    assert (await alice.delete("/users/me")).status_code == 204
    return alice


async def sign_in(client, person):
    credentials = {"email": person.user["email"], "password": PASSWORD}
    return await client.post("/auth/login", json=credentials)


async def user_ids(db):
    async with db.read() as session:
        return (await session.scalars(select(User.id))).all()


async def test_a_closed_account_is_signed_out_and_not_yet_deleted(closed, client, db, jobs):
    await jobs.run_due()
    refused = await sign_in(client, closed)

    assert (await closed.get("/users/me")).status_code == 401
    assert (refused.status_code, refused.json()["code"]) == (401, "account_closed")
    token = {"refresh_token": closed.tokens["refresh_token"]}
    assert (await client.post("/auth/refresh", json=token)).status_code == 401
    async with db.read() as session:
        user = (await session.scalars(select(User))).one()
        left = user.delete_after - (await session.execute(select(now()))).scalar_one()
    assert timedelta(days=6) < left <= timedelta(days=7)


async def test_the_link_in_the_email_opens_the_account_again(closed, client, jobs, emails, db):
    await jobs.run_due()
    form = {"token": re.search(r"token=([0-9a-f]{64})\b", emails[-1].text)[1]}

    page = await client.get("/auth/link", params=form)
    restored = await client.post("/auth/link", data=form)

    assert (page.status_code, restored.status_code) == (200, 200)
    assert (await sign_in(client, closed)).status_code == 200
    assert (await client.post("/auth/link", data=form)).status_code == 400
    await jobs.hasten()
    await jobs.run_due()
    assert await user_ids(db) == [closed.id]


async def test_an_account_that_is_closed_again_has_a_later_job_of_its_own(
    closed, client, kitchen, jobs, emails, age_sign_ins
):
    """The job of the first closing runs before the seven days of the second are over."""
    await jobs.run_due()
    form = {"token": re.search(r"token=([0-9a-f]{64})\b", emails[-1].text)[1]}
    assert (await client.post("/auth/link", data=form)).status_code == 200
    again = Person(client, closed.user, await kitchen.sign_in(closed.user["email"]))
    await age_sign_ins()
    assert (await again.delete("/users/me")).status_code == 204

    waiting = [job.state for job in await jobs.rows("account.delete_closed")]
    assert waiting == ["queued", "queued"]


async def test_a_closed_account_is_deleted_after_seven_days(closed, kitchen, jobs, db):
    [job] = await jobs.rows("account.delete_closed")
    assert timedelta(days=6) < job.run_after - job.created_at <= timedelta(days=7, seconds=5)
    async with db.write() as session:
        at = (await session.execute(select(now()))).scalar_one()
        await session.execute(update(User).values(delete_after=at))

    await jobs.hasten()
    await jobs.run_due()

    assert await user_ids(db) == []
    assert (await kitchen.person("Bob")).id > closed.id


async def test_the_job_deletes_nothing_before_its_time(closed, jobs, db):
    await jobs.hasten()
    await jobs.run_due()

    assert await user_ids(db) == [closed.id]


async def test_a_closed_account_is_not_shown_to_its_family(kitchen, age_sign_ins):
    olga, alice = await kitchen.person("Olga"), await kitchen.person("Alice")
    family = await kitchen.family(olga, alice)
    meal = await kitchen.meal(olga)
    members = f"/families/{family['id']}/members"
    assert len(await olga.read(members)) == 2
    await age_sign_ins()

    assert (await alice.delete("/users/me")).status_code == 204

    assert [member["user_id"] for member in await olga.read(members)] == [olga.id]
    assert (await olga.get(f"{members}/{alice.id}/profile")).status_code == 404
    offer = {"mealId": meal["id"], "recipientUserId": alice.id}
    assert (await olga.post("/meal-share-requests", offer)).status_code == 404


async def test_proof_makes_the_deletion_final_at_once(kitchen, age_sign_ins, db):
    alice = await kitchen.person("Alice")
    await age_sign_ins()
    proof = await alice.post_ok("/auth/reauthenticate", {"password": PASSWORD}, status=200)

    deleted = await alice.delete("/users/me", headers={"X-Reauth": proof["reauth_token"]})

    assert deleted.status_code == 204
    assert await user_ids(db) == []
