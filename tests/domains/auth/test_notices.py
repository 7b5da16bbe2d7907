"""Letters about what happened to an account."""

import re

import pytest
from sqlalchemy import update

from freshly.domains.users.models import User
from tests.support.api import PASSWORD


async def reset(client, jobs, emails, email):
    await client.post("/auth/forgot-password", json={"email": email})
    await jobs.run_due()
    code = re.search(r"\d{6}", emails[-1].text)[0]
    allowed = await client.post("/auth/forgot-password/verify", json={"email": email, "code": code})
    body = {"reset_token": allowed.json()["reset_token"], "new_password": f"{PASSWORD}!"}
    return await client.post("/auth/reset-password", json=body)


async def test_a_changed_password_is_told_to_its_owner(client, kitchen, jobs, emails):
    alice = await kitchen.person("Alice")
    done = await reset(client, jobs, emails, alice.user["email"])
    assert done.status_code == 200, done.text
    emails.clear()
    await jobs.run_due()

    (email,) = emails
    assert (email.to, email.subject) == (
        alice.user["email"], "Your Freshly password was changed")  # fmt: skip
    assert PASSWORD not in email.text
    (row,) = await jobs.rows("auth.send_notice")
    assert (row.payload, row.user_id) == ({}, None)


@pytest.mark.parametrize(("verified", "told"), [(True, 1), (False, 0)])
async def test_the_last_letter_goes_to_a_confirmed_address_only(
    kitchen, jobs, emails, db, verified, told
):
    alice = await kitchen.person("Alice")
    async with db.write() as session:
        await session.execute(update(User).where(User.id == alice.id).values(is_verified=verified))
    emails.clear()

    assert (await alice.delete("/users/me")).status_code == 204
    await jobs.run_due()

    gone = [one for one in emails if one.subject == "Your Freshly account is deleted"]
    assert [one.to for one in gone] == [alice.user["email"]] * told
