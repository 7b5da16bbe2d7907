"""Emails about changes of an account."""

import re

import pytest
from sqlalchemy import update

from freshly.domains.users.models import User
from tests.support.api import PASSWORD


async def reset_password(client, jobs, emails, email):
    await client.post("/auth/forgot-password", json={"email": email})
    await jobs.run_due()
    code = re.search(r"\d{6}", emails[-1].text)[0]
    allowed = await client.post("/auth/forgot-password/verify", json={"email": email, "code": code})
    body = {"reset_token": allowed.json()["reset_token"], "new_password": f"{PASSWORD}!"}
    return await client.post("/auth/reset-password", json=body)


async def test_a_user_gets_an_email_about_a_changed_password(client, kitchen, jobs, emails):
    alice = await kitchen.person("Alice")
    response = await reset_password(client, jobs, emails, alice.user["email"])
    assert response.status_code == 200, response.text
    emails.clear()
    await jobs.run_due()

    (email,) = emails
    assert (email.to, email.subject) == (
        alice.user["email"], "Your Freshly password was changed")  # fmt: skip
    assert PASSWORD not in email.text
    (job,) = await jobs.rows("auth.send_notice")
    assert (job.payload, job.user_id) == ({}, None)


@pytest.mark.parametrize(("verified", "expected"), [(True, 1), (False, 0)])
async def test_the_email_about_a_deleted_account_goes_only_to_a_confirmed_address(
    kitchen, jobs, emails, db, verified, expected
):
    alice = await kitchen.person("Alice")
    async with db.write() as session:
        await session.execute(update(User).where(User.id == alice.id).values(is_verified=verified))
    emails.clear()

    assert (await alice.delete("/users/me")).status_code == 204
    await jobs.run_due()

    notices = [email for email in emails if email.subject == "Your Freshly account is deleted"]
    assert [email.to for email in notices] == [alice.user["email"]] * expected
