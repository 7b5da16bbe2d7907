"""Adopted accounts whose addresses differ only in capitals are two accounts."""

import re

import pytest
from sqlalchemy import update

from freshly.commands.migrate import addresses_alike
from freshly.domains.users.models import User

UPPER, LOWER = "Upper@example.com", "upper@example.com"


@pytest.fixture
async def both(kitchen, db):
    """Two accounts as the existing app stores them."""
    first = await kitchen.person("First", email="moved@example.com")
    second = await kitchen.person("Second", email=LOWER)
    async with db.write() as session:
        changed = update(User).where(User.id == second.id)
        await session.execute(changed.values(email=UPPER))
        changed = update(User).where(User.id == first.id)
        await session.execute(changed.values(email=LOWER))
    return first, second


async def user_id(client, tokens):
    headers = {"Authorization": f"Bearer {tokens['access_token']}"}
    return (await client.get("/users/me", headers=headers)).json()["id"]


async def test_each_account_signs_in_by_its_exact_spelling(both, kitchen, client):
    for person, address in zip(both, (LOWER, UPPER), strict=True):
        assert await user_id(client, await kitchen.sign_in(address)) == person.id


async def test_each_account_gets_its_own_reset_code(both, client, jobs, emails, kitchen):
    for address, password in ((UPPER, "a third password"), (LOWER, "a fourth password")):
        await client.post("/auth/forgot-password", json={"email": address})
        await jobs.run_due()
        # The notice of the password before may be sent after the code.
        [code] = [
            found[0]
            for email in emails
            if email.to == address and (found := re.search(r"\b\d{6}\b", email.text))
        ]
        allowed = await client.post(
            "/auth/forgot-password/verify", json={"email": address, "code": code}
        )
        body = {"reset_token": allowed.json()["reset_token"], "new_password": password}
        assert (await client.post("/auth/reset-password", json=body)).status_code == 200

    assert await user_id(client, await kitchen.sign_in(UPPER, "a third password")) == both[1].id
    assert await user_id(client, await kitchen.sign_in(LOWER, "a fourth password")) == both[0].id


async def test_a_third_account_with_the_same_letters_is_refused(both, client):
    del both
    account = {"email": "UPPER@EXAMPLE.COM", "password": "a good password"}

    assert (await client.post("/auth/register", json=account)).status_code == 400


async def test_the_operator_is_told_about_such_accounts(both, settings):
    del both
    assert await addresses_alike(settings) == [LOWER, UPPER]
