"""Codes of six digits that are sent by email."""

import asyncio
import re
from datetime import timedelta

import pytest
from pydantic import SecretStr
from sqlalchemy import select, update

from freshly.chassis.data.functions import now
from freshly.domains.auth.models import AccountCode
from freshly.domains.users.models import User
from tests.conftest import Jobs, client_of, running, settings_for, until
from tests.support.api import PASSWORD, Kitchen
from tests.support.fake_services import free_port, smtp_server

NEW_PASSWORD = "another good password"


@pytest.fixture
async def client_and_inbox(database_url, tmp_path):
    """A client of an app that sends email to a real mail server, and that server's inbox."""
    with smtp_server() as inbox:
        settings = settings_for(
            database_url,
            tmp_path,
            mail_server="127.0.0.1",
            mail_port=inbox.port,
            mail_starttls=False,
            mail_from="kitchen@example.com",
            app_env="production",
            allowed_hosts=("test",),
            jobs="inside",
        )
        async with running(settings) as app, client_of(app) as client:
            client.app = app
            yield client, inbox


def code_in(email):
    return re.search(r"\b\d{6}\b", email.get_content())[0]


async def request_code(client, inbox, path, email):
    response = await client.post(path, json={"email": email})
    assert response.status_code == 200, response.text
    return code_in(await inbox.next_email())


async def expire_codes(client):
    async with client.app.resources.db.write() as session:
        past = (await session.execute(select(now()))).scalar_one() - timedelta(minutes=1)
        await session.execute(update(AccountCode).values(expires_at=past))


async def wait_for_email_jobs(client):
    async def are_done():
        return {row.state for row in await Jobs(client.app).rows("auth.send_code")} == {"done"}

    await until(are_done)


async def test_the_code_from_an_email_confirms_the_address(client_and_inbox):
    client, inbox = client_and_inbox
    alice = await Kitchen(client).person("Alice")

    sent = await client.post("/auth/send-code", json={"email": alice.user["email"].upper()})
    email = await inbox.next_email()
    body = {"email": alice.user["email"], "code": code_in(email)}
    verified = await client.post("/auth/verify-code", json=body)

    assert email["To"] == alice.user["email"]
    assert "kitchen@example.com" in email["From"]
    assert 100_000 <= int(body["code"]) <= 999_999
    assert body["code"] not in sent.text
    assert verified.status_code == 200
    assert verified.json()["is_verified"] is True
    async with client.app.resources.db.read() as session:
        assert await session.scalar(select(User.is_verified)) is True
    second = await client.post("/auth/verify-code", json=body)
    assert (second.status_code, second.json()["detail"]) == (400, "No active verification code.")


async def test_a_code_can_be_requested_with_a_query_parameter(client_and_inbox):
    client, inbox = client_and_inbox
    alice = await Kitchen(client).person("Alice")

    sent = await client.post("/auth/send-code", params={"email": alice.user["email"]})

    assert sent.status_code == 200
    assert code_in(await inbox.next_email())
    assert (await client.post("/auth/send-code")).status_code == 422


@pytest.mark.parametrize(
    ("ask_at", "use_at"),
    [
        ("/auth/send-code", "/auth/verify-code"),
        ("/auth/forgot-password", "/auth/forgot-password/verify"),
    ],
)
async def test_known_and_unknown_addresses_get_the_same_responses(client_and_inbox, ask_at, use_at):
    client, inbox = client_and_inbox
    alice = await Kitchen(client).person("Alice")
    outcomes = {}
    for email in (alice.user["email"], "nobody@example.com"):
        responses = [await client.post(use_at, json={"email": email, "code": "000000"})]
        responses.append(await client.post(ask_at, json={"email": email}))
        if not outcomes:
            await inbox.next_email()  # wait for the email before its code expires
        responses += [
            await client.post(use_at, json={"email": email, "code": "000000"}) for _ in range(6)
        ]
        await expire_codes(client)
        responses.append(await client.post(use_at, json={"email": email, "code": "000000"}))
        outcomes[email] = [
            (response.status_code, response.json().get("detail", response.json()))
            for response in responses
        ]

    first, second = outcomes.values()
    assert first == second
    assert [status for status, _ in first] == [400, 200, 400, 400, 400, 400, 400, 429, 400]
    await wait_for_email_jobs(client)
    assert inbox.emails == []


async def test_a_repeated_request_sends_the_same_code_until_five_wrong_attempts(client_and_inbox):
    client, inbox = client_and_inbox
    email = (await Kitchen(client).person("Alice")).user["email"]

    code = await request_code(client, inbox, "/auth/forgot-password", email)
    assert await request_code(client, inbox, "/auth/forgot-password", email) == code
    for _ in range(5):
        wrong = await client.post(
            "/auth/forgot-password/verify", json={"email": email, "code": "000000"}
        )
        assert (wrong.status_code, wrong.json()["detail"]) == (400, "Invalid code.")
    body = {"email": email, "code": code}
    sixth = await client.post("/auth/forgot-password/verify", json=body)
    assert (sixth.status_code, sixth.json()["detail"]) == (
        429,
        "Too many attempts. Request a new code.",
    )

    fresh = await request_code(client, inbox, "/auth/forgot-password", email)
    allowed = await client.post(
        "/auth/forgot-password/verify", json={"email": email, "code": fresh}
    )
    assert allowed.status_code == 200


async def test_simultaneous_attempts_are_all_counted(client_and_inbox):
    client, inbox = client_and_inbox
    email = (await Kitchen(client).person("Alice")).user["email"]
    await request_code(client, inbox, "/auth/send-code", email)

    body = {"email": email, "code": "000000"}
    responses = await asyncio.gather(
        *(client.post("/auth/verify-code", json=body) for _ in range(12))
    )

    assert sorted(response.status_code for response in responses) == [400] * 5 + [429] * 7


async def test_a_code_in_arabic_digits_is_wrong(client_and_inbox):
    client, inbox = client_and_inbox
    email = (await Kitchen(client).person("Alice")).user["email"]
    await request_code(client, inbox, "/auth/send-code", email)

    response = await client.post("/auth/verify-code", json={"email": email, "code": "١٢٣٤٥٦"})

    assert (response.status_code, response.json()["detail"]) == (400, "Invalid verification code.")


async def test_an_expired_code_is_refused_as_expired(client_and_inbox):
    client, inbox = client_and_inbox
    email = (await Kitchen(client).person("Alice")).user["email"]
    code = await request_code(client, inbox, "/auth/forgot-password", email)
    await expire_codes(client)

    response = await client.post(
        "/auth/forgot-password/verify", json={"email": email, "code": code}
    )

    assert (response.status_code, response.json()["detail"]) == (
        400,
        "Code expired. Request a new one.",
    )


async def test_a_password_reset_ends_all_sessions_and_its_token_works_once(client_and_inbox):
    client, inbox = client_and_inbox
    kitchen = Kitchen(client)
    alice = await kitchen.person("Alice")
    email = alice.user["email"]
    code = await request_code(client, inbox, "/auth/forgot-password", email)
    body = {"email": email, "code": code}
    token = (await client.post("/auth/forgot-password/verify", json=body)).json()["reset_token"]

    short = {"reset_token": token, "new_password": "short"}
    refused = await client.post("/auth/reset-password", json=short)
    assert (refused.status_code, refused.json()["detail"]) == (
        400,
        "Password must be at least 8 characters.",
    )
    change = {"reset_token": token, "new_password": NEW_PASSWORD}
    assert (await client.post("/auth/reset-password", json=change)).status_code == 200

    second = await client.post("/auth/reset-password", json=change)
    assert (second.status_code, second.json()["detail"]) == (400, "Invalid or expired token.")
    assert (await alice.get("/users/me")).status_code == 401
    refresh = {"refresh_token": alice.tokens["refresh_token"]}
    assert (await client.post("/auth/refresh", json=refresh)).status_code == 401
    old_password = await client.post("/auth/login", json={"email": email, "password": PASSWORD})
    assert old_password.status_code == 401
    tokens = await kitchen.sign_in(email, NEW_PASSWORD)
    headers = {"Authorization": f"Bearer {tokens['access_token']}"}
    activities = (await client.get("/users/me/activity", headers=headers)).json()["items"]
    kinds = [(activity["kind"], activity["outcome"]) for activity in activities[:3]]
    assert kinds == [("sign_in", "done"), ("sign_in", "refused"), ("password_reset", "done")]


async def test_only_a_reset_token_resets_a_password_and_it_is_good_for_nothing_else(
    client_and_inbox,
):
    client, inbox = client_and_inbox
    alice = await Kitchen(client).person("Alice")
    code = await request_code(client, inbox, "/auth/forgot-password", alice.user["email"])
    body = {"email": alice.user["email"], "code": code}
    token = (await client.post("/auth/forgot-password/verify", json=body)).json()["reset_token"]

    for other in alice.tokens["access_token"], alice.tokens["refresh_token"]:
        change = {"reset_token": other, "new_password": NEW_PASSWORD}
        refused = await client.post("/auth/reset-password", json=change)
        assert (refused.status_code, refused.json()["detail"]) == (403, "Invalid token scope.")
    for garbage in "", "a.b.c", token[:-3] + "abc":
        change = {"reset_token": garbage, "new_password": NEW_PASSWORD}
        assert (await client.post("/auth/reset-password", json=change)).status_code == 400
    bearer = {"Authorization": f"Bearer {token}"}
    assert (await client.get("/users/me", headers=bearer)).status_code == 401
    assert (await client.post("/auth/refresh", json={"refresh_token": token})).status_code == 401
    await alice.delete("/users/me")
    change = {"reset_token": token, "new_password": NEW_PASSWORD}
    assert (await client.post("/auth/reset-password", json=change)).status_code == 404


async def test_without_a_mail_server_the_code_is_in_the_outbox_folder_and_in_the_log(
    client, kitchen, jobs, tmp_path, capsys
):
    alice = await kitchen.person("Alice")

    await client.post("/auth/send-code", json={"email": alice.user["email"]})
    await jobs.run_due()

    (email,) = (tmp_path / "outbox").glob("*.eml")
    code = re.search(r"\b\d{6}\b", email.read_text())[0]
    assert code in capsys.readouterr().err
    body = {"email": alice.user["email"], "code": code}
    assert (await client.post("/auth/verify-code", json=body)).status_code == 200


@pytest.mark.parametrize("server", [None, "127.0.0.1"])
async def test_in_production_no_code_is_logged_and_a_failed_email_is_retried(
    database_url, tmp_path, server, capsys
):
    settings = settings_for(
        database_url,
        tmp_path,
        app_env="production",
        allowed_hosts=("test",),
        mail_server=server,
        mail_port=free_port(),
        mail_password=SecretStr("x"),
        mail_username="x",
    )
    async with running(settings) as app, client_of(app) as client:
        alice = await Kitchen(client).person("Alice")
        response = await client.post("/auth/send-code", json={"email": alice.user["email"]})
        await Jobs(app).run_due()
        (job,) = await Jobs(app).rows("auth.send_code")
        async with app.resources.db.read() as session:
            code = await session.scalar(select(AccountCode.seed))

    log = capsys.readouterr().err
    assert response.status_code == 200
    assert "MailFailed" in log
    assert (job.state, job.attempts) == ("queued", 1)
    assert code not in log + str(job.payload)
    assert not (tmp_path / "outbox").exists()
