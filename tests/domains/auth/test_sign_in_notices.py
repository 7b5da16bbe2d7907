"""Emails about new devices, and equal times for known and unknown accounts."""

import time

import bcrypt
import pytest
from sqlalchemy import update

from freshly.domains.auth import service
from freshly.domains.users.models import User
from tests.support.api import PASSWORD

RECOMMENDED_STEP = service.REFUSAL_STEP
PHONE = {
    "User-Agent": "Freshly/2 https://evil.example/click (iPhone)\tor <b>visit www.evil.example"
}


@pytest.fixture
async def alice(kitchen, db):
    """A user with a confirmed address, who has signed in once."""
    alice = await kitchen.person("Alice")
    async with db.write() as session:
        await session.execute(update(User).values(is_verified=True))
    return alice


async def sign_in(client, person, **headers):
    credentials = {"email": person.user["email"], "password": PASSWORD}
    response = await client.post("/auth/login", json=credentials, headers=headers)
    assert response.status_code == 200


async def test_a_user_gets_an_email_about_a_new_device_once(alice, client, jobs, emails):
    await sign_in(client, alice)
    await jobs.run_due()
    assert emails == []

    for _ in range(2):
        await sign_in(client, alice, **PHONE)
    await jobs.run_due()

    (email,) = emails
    assert (email.to, email.subject) == (
        alice.user["email"], "New sign-in to your Freshly account")  # fmt: skip
    assert "Freshly" in email.text
    assert "127.0.0.1" in email.text


async def test_the_email_contains_no_link_that_a_client_chose(alice, client, jobs, emails):
    await sign_in(client, alice, **PHONE)
    await jobs.run_due()

    text = emails[-1].text
    for sign in ("://", "evil.example", "<b>", "\t"):
        assert sign not in text


async def test_an_unconfirmed_address_gets_no_email_about_a_new_device(
    kitchen, client, jobs, emails
):
    bob = await kitchen.person("Bob")

    await sign_in(client, bob, **PHONE)
    await jobs.run_due()

    assert emails == []


@pytest.mark.parametrize("stored", ["argon2", "bcrypt", "placeholder", "unknown"])
async def test_a_refused_sign_in_takes_the_same_time_for_every_kind_of_account(
    alice, client, db, stored, monkeypatch
):
    monkeypatch.setattr(service, "REFUSAL_STEP", RECOMMENDED_STEP)  # other tests do with less
    if stored in ("bcrypt", "placeholder"):
        old = bcrypt.hashpw(b"x" * 8, bcrypt.gensalt(8)).decode()
        async with db.write() as session:
            hashed = old if stored == "bcrypt" else "oauth"
            await session.execute(update(User).values(hashed_password=hashed))
    email = "nobody@example.com" if stored == "unknown" else alice.user["email"]

    started = time.monotonic()
    refused = await client.post("/auth/login", json={"email": email, "password": "wrong horse"})
    seconds = time.monotonic() - started

    assert refused.status_code == 401
    assert 0.5 <= seconds < 0.9
