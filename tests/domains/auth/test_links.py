"""Codes and links in emails: how they are stored, and what a link does."""

import re
from datetime import timedelta

import pytest
from sqlalchemy import select, text, update

from freshly.chassis.data.functions import now
from freshly.domains.auth.models import AccountLink
from freshly.domains.users.models import User
from tests.support.api import PASSWORD

NEW_PASSWORD = "another good password"


def token_in(email):
    return re.search(r"token=([0-9a-f]{64})\b", email.text)[1]


@pytest.fixture
async def alice(kitchen):
    return await kitchen.person("Alice")


@pytest.fixture
def ask(client, jobs, emails):
    """Return a function that asks for a code and returns the email."""

    async def send(path, person):
        response = await client.post(path, json={"email": person.user["email"]})
        assert response.status_code == 200, response.text
        await jobs.run_due()
        return emails[-1]

    return send


async def test_neither_the_code_nor_the_link_is_stored(alice, ask, db):
    email = await ask("/auth/forgot-password", alice)
    code, token = re.search(r"\b\d{6}\b", email.text)[0], token_in(email)

    async with db.read() as session:
        tables = ("account_codes", "account_links", "email_codes", "jobs")
        rows = [
            str(row)
            for table in tables
            for row in await session.execute(text(f"SELECT * FROM {table}"))  # noqa: S608
        ]

    assert len(rows) >= 3
    assert not any(code in row or token in row for row in rows)


async def test_a_link_confirms_the_address_after_a_click_on_its_page(alice, ask, client, db):
    token = token_in(await ask("/auth/send-code", alice))

    page = await client.get("/auth/link", params={"token": token})
    async with db.read() as session:
        before = await session.scalar(select(User.is_verified))
    done = await client.post("/auth/link", data={"token": token})
    async with db.read() as session:
        after = await session.scalar(select(User.is_verified))

    assert (page.status_code, done.status_code) == (200, 200)
    assert page.headers["Cache-Control"] == "no-store"
    assert "<form" in page.text
    assert (before, after) == (False, True)
    again = await client.post("/auth/link", data={"token": token})
    assert (again.status_code, again.json()["code"]) == (400, "invalid_link")


async def test_a_link_resets_the_password_and_then_works_no_more(alice, ask, client, kitchen):
    token = token_in(await ask("/auth/forgot-password", alice))
    form = {"token": token, "new_password": NEW_PASSWORD}

    short = await client.post("/auth/link", data={**form, "new_password": "short"})
    done = await client.post("/auth/link", data=form)
    again = await client.post("/auth/link", data={**form, "new_password": "a third good one"})

    assert (short.status_code, short.json()["code"]) == (400, "password_too_short")
    assert (done.status_code, again.status_code) == (200, 400)
    assert (await alice.get("/users/me")).status_code == 401
    await kitchen.sign_in(alice.user["email"], NEW_PASSWORD)


async def test_the_link_works_when_strangers_have_used_up_the_attempts_of_the_code(
    alice, ask, client
):
    token = token_in(await ask("/auth/forgot-password", alice))
    body = {"email": alice.user["email"], "code": "000000"}
    tries = [(await client.post("/auth/forgot-password/verify", json=body)) for _ in range(6)]
    assert tries[-1].status_code == 429

    allowed = await client.post("/auth/forgot-password/verify", json={**body, "code": token})

    assert allowed.status_code == 200
    change = {"reset_token": allowed.json()["reset_token"], "new_password": NEW_PASSWORD}
    assert (await client.post("/auth/reset-password", json=change)).status_code == 200


@pytest.mark.parametrize("status", ["closed", "suspended"])
@pytest.mark.parametrize("path", ["/auth/send-code", "/auth/forgot-password"])
async def test_an_account_that_is_not_active_does_not_act_by_its_link(
    alice, ask, client, db, path, status
):
    form = {"token": token_in(await ask(path, alice)), "new_password": NEW_PASSWORD}
    async with db.write() as session:
        await session.execute(update(User).values(status=status))

    refused = await client.post("/auth/link", data=form)

    assert (refused.status_code, refused.json()["code"]) == (400, "invalid_link")
    async with db.write() as session:
        assert await session.scalar(select(User.is_verified)) is False
        await session.execute(update(User).values(status="active"))
    assert (await client.post("/auth/link", data=form)).status_code == 200


@pytest.mark.parametrize("token", ["", "x", "0" * 64, "g" * 64])
async def test_a_forged_link_is_refused(client, token):
    refused = await client.get("/auth/link", params={"token": token})

    assert (refused.status_code, refused.json()["code"]) == (400, "invalid_link")


async def test_a_link_expires_after_a_day(alice, ask, client, db):
    token = token_in(await ask("/auth/forgot-password", alice))
    async with db.write() as session:
        at = (await session.execute(select(now()))).scalar_one()
        link = await session.scalar(select(AccountLink))
        assert timedelta(hours=23) < link.expires_at - at <= timedelta(days=1)
        await session.execute(update(AccountLink).values(expires_at=at - timedelta(seconds=1)))

    form = {"token": token, "new_password": PASSWORD}
    assert (await client.post("/auth/link", data=form)).status_code == 400


async def test_a_link_does_not_depend_on_the_host_of_the_request(alice, client, jobs, emails):
    body = {"email": alice.user["email"]}
    await client.post("/auth/forgot-password", json=body, headers={"Host": "127.0.0.1:9"})
    await jobs.run_due()

    assert "http://localhost:8000/auth/link?token=" in emails[-1].text
