"""An account works only while its status is active."""

import pytest
from anyio import to_thread
from sqlalchemy import update

from freshly.commands import accounts
from freshly.domains.users.models import User
from tests.support.api import PASSWORD


@pytest.fixture
async def alice(kitchen):
    return await kitchen.person("Alice")


@pytest.fixture
def run(settings):
    """Return a function that runs `freshly admin` in another thread, with its own event loop."""

    async def change(action, *addresses):
        return await to_thread.run_sync(accounts.change, settings, action, addresses)

    return change


async def statuses(client, person):
    credentials = {"email": person.user["email"], "password": PASSWORD}
    token = {"refresh_token": person.tokens["refresh_token"]}
    return [
        (await person.get("/users/me")).status_code,
        (await client.post("/auth/refresh", json=token)).status_code,
        (await client.post("/auth/login", json=credentials)).status_code,
    ]


async def test_an_account_that_an_adopted_database_suspended_is_refused(alice, client, db):
    async with db.write() as session:
        await session.execute(update(User).values(status="suspended"))

    assert await statuses(client, alice) == [401, 401, 401]
    credentials = {"email": alice.user["email"], "password": PASSWORD}
    right = await client.post("/auth/login", json=credentials)
    wrong = await client.post("/auth/login", json={**credentials, "password": "a wrong one"})
    assert (right.json()["code"], wrong.json()["code"]) == (
        "account_suspended", "invalid_credentials")  # fmt: skip


async def test_the_operator_suspends_and_restores_an_account(alice, client, run, jobs, capsys):
    assert (await alice.get("/users/me")).status_code == 200

    assert await run("suspend", alice.user["email"].upper()) == 0
    await jobs.run_due()  # in the server, which has cached the caller
    suspended = await statuses(client, alice)
    assert await run("restore", alice.user["email"]) == 0

    assert suspended == [401, 401, 401]
    assert await statuses(client, alice) == [401, 401, 200]
    assert capsys.readouterr().out.splitlines() == [
        f"{alice.user['email']}: suspended",
        f"{alice.user['email']}: active",
    ]


async def test_the_operator_signs_an_account_out(alice, client, run, jobs):
    await alice.get("/users/me")

    assert await run("sign-out", alice.user["email"]) == 0
    await jobs.run_due()

    assert await statuses(client, alice) == [401, 401, 200]


async def test_an_unknown_address_is_named(run, capsys, app):
    del app
    assert await run("suspend", "nobody@example.com") == 1
    assert "no account has the address nobody@example.com" in capsys.readouterr().err
