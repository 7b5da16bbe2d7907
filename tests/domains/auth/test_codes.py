"""Six digits by mail."""

import asyncio
import re
from datetime import timedelta

import pytest
from pydantic import SecretStr
from sqlalchemy import select, update

from freshly.chassis.data.functions import now
from freshly.domains.auth.models import EmailCode
from freshly.domains.users.models import User
from tests.conftest import Jobs, client_of, running, settings_for, until
from tests.support.api import PASSWORD, Kitchen
from tests.support.fake_services import free_port, letterbox

NEW_PASSWORD = "another good password"


@pytest.fixture
async def mailed(database_url, tmp_path):
    """A client of an app that sends its mail to a real server, and that server."""
    with letterbox() as box:
        settings = settings_for(
            database_url,
            tmp_path,
            mail_server="127.0.0.1",
            mail_port=box.port,
            mail_starttls=False,
            mail_from="kitchen@example.com",
            app_env="production",
            allowed_hosts=("test",),
            jobs="inside",
        )
        async with running(settings) as app, client_of(app) as client:
            client.app = app
            yield client, box


def code_in(email):
    return re.search(r"\b\d{6}\b", email.get_content())[0]


async def ask(client, box, path, email):
    response = await client.post(path, json={"email": email})
    assert response.status_code == 200, response.text
    return code_in(await box.email())


async def expire(client):
    async with client.app.resources.db.write() as session:
        past = (await session.execute(select(now()))).scalar_one() - timedelta(minutes=1)
        await session.execute(update(EmailCode).values(expires_at=past))


async def all_is_done(client):
    async def is_over():
        return {row.state for row in await Jobs(client.app).rows("auth.send_code")} == {"done"}

    await until(is_over)


async def test_an_address_is_confirmed_by_the_code_that_came_by_mail(mailed):
    client, box = mailed
    alice = await Kitchen(client).person("Alice")

    sent = await client.post("/auth/send-code", json={"email": alice.user["email"].upper()})
    email = await box.email()
    given = {"email": alice.user["email"], "code": code_in(email)}
    verified = await client.post("/auth/verify-code", json=given)

    assert email["To"] == alice.user["email"]
    assert "kitchen@example.com" in email["From"]
    assert 100_000 <= int(given["code"]) <= 999_999
    assert given["code"] not in sent.text
    assert verified.status_code == 200
    assert verified.json()["is_verified"] is True
    async with client.app.resources.db.read() as session:
        assert await session.scalar(select(User.is_verified)) is True
    again = await client.post("/auth/verify-code", json=given)
    assert (again.status_code, again.json()["detail"]) == (400, "No active verification code.")


async def test_a_code_is_asked_for_by_query_too(mailed):
    client, box = mailed
    alice = await Kitchen(client).person("Alice")

    sent = await client.post("/auth/send-code", params={"email": alice.user["email"]})

    assert sent.status_code == 200
    assert code_in(await box.email())
    assert (await client.post("/auth/send-code")).status_code == 422


@pytest.mark.parametrize(
    ("ask_at", "use_at"),
    [
        ("/auth/send-code", "/auth/verify-code"),
        ("/auth/forgot-password", "/auth/forgot-password/verify"),
    ],
)
async def test_known_and_unknown_addresses_get_the_same_answers(mailed, ask_at, use_at):
    client, box = mailed
    alice = await Kitchen(client).person("Alice")
    told = {}
    for email in (alice.user["email"], "nobody@example.com"):
        answers = [await client.post(use_at, json={"email": email, "code": "000000"})]
        answers.append(await client.post(ask_at, json={"email": email}))
        if not told:
            await box.email()  # before the code is expired below
        answers += [
            await client.post(use_at, json={"email": email, "code": "000000"}) for _ in range(6)
        ]
        await expire(client)
        answers.append(await client.post(use_at, json={"email": email, "code": "000000"}))
        told[email] = [(a.status_code, a.json().get("detail", a.json())) for a in answers]

    first, second = told.values()
    assert first == second
    assert [status for status, _ in first] == [400, 200, 400, 400, 400, 400, 400, 429, 400]
    await all_is_done(client)
    assert box.emails == []


async def test_within_its_time_a_code_stays_and_five_wrong_tries_end_it(mailed):
    client, box = mailed
    email = (await Kitchen(client).person("Alice")).user["email"]

    code = await ask(client, box, "/auth/forgot-password", email)
    assert await ask(client, box, "/auth/forgot-password", email) == code
    for _ in range(5):
        wrong = await client.post(
            "/auth/forgot-password/verify", json={"email": email, "code": "000000"}
        )
        assert (wrong.status_code, wrong.json()["detail"]) == (400, "Invalid code.")
    given = {"email": email, "code": code}
    late = await client.post("/auth/forgot-password/verify", json=given)
    assert (late.status_code, late.json()["detail"]) == (
        429,
        "Too many attempts. Request a new code.",
    )

    fresh = await ask(client, box, "/auth/forgot-password", email)
    allowed = await client.post(
        "/auth/forgot-password/verify", json={"email": email, "code": fresh}
    )
    assert allowed.status_code == 200


async def test_tries_at_once_are_all_counted(mailed):
    client, box = mailed
    email = (await Kitchen(client).person("Alice")).user["email"]
    await ask(client, box, "/auth/send-code", email)

    given = {"email": email, "code": "000000"}
    answers = await asyncio.gather(
        *(client.post("/auth/verify-code", json=given) for _ in range(12))
    )

    assert sorted(a.status_code for a in answers) == [400] * 5 + [429] * 7


async def test_a_code_of_other_letters_is_a_wrong_one(mailed):
    client, box = mailed
    email = (await Kitchen(client).person("Alice")).user["email"]
    await ask(client, box, "/auth/send-code", email)

    answer = await client.post("/auth/verify-code", json={"email": email, "code": "١٢٣٤٥٦"})

    assert (answer.status_code, answer.json()["detail"]) == (400, "Invalid verification code.")


async def test_an_expired_code_says_so(mailed):
    client, box = mailed
    email = (await Kitchen(client).person("Alice")).user["email"]
    code = await ask(client, box, "/auth/forgot-password", email)
    await expire(client)

    late = await client.post("/auth/forgot-password/verify", json={"email": email, "code": code})

    assert (late.status_code, late.json()["detail"]) == (400, "Code expired. Request a new one.")


async def test_a_new_password_ends_every_sign_in_and_its_token_works_once(mailed):
    client, box = mailed
    kitchen = Kitchen(client)
    alice = await kitchen.person("Alice")
    email = alice.user["email"]
    code = await ask(client, box, "/auth/forgot-password", email)
    given = {"email": email, "code": code}
    token = (await client.post("/auth/forgot-password/verify", json=given)).json()["reset_token"]

    short = {"reset_token": token, "new_password": "short"}
    refused = await client.post("/auth/reset-password", json=short)
    assert (refused.status_code, refused.json()["detail"]) == (
        400,
        "Password must be at least 8 characters.",
    )
    change = {"reset_token": token, "new_password": NEW_PASSWORD}
    assert (await client.post("/auth/reset-password", json=change)).status_code == 200

    again = await client.post("/auth/reset-password", json=change)
    assert (again.status_code, again.json()["detail"]) == (400, "Invalid or expired token.")
    assert (await alice.get("/users/me")).status_code == 401
    refresh = {"refresh_token": alice.tokens["refresh_token"]}
    assert (await client.post("/auth/refresh", json=refresh)).status_code == 401
    old = await client.post("/auth/login", json={"email": email, "password": PASSWORD})
    assert old.status_code == 401
    tokens = await kitchen.sign_in(email, NEW_PASSWORD)
    headers = {"Authorization": f"Bearer {tokens['access_token']}"}
    told = (await client.get("/users/me/activity", headers=headers)).json()["items"]
    kinds = [(one["kind"], one["outcome"]) for one in told[:3]]
    assert kinds == [("sign_in", "done"), ("sign_in", "refused"), ("password_reset", "done")]


async def test_no_other_token_resets_a_password_and_a_reset_token_opens_nothing(mailed):
    client, box = mailed
    alice = await Kitchen(client).person("Alice")
    code = await ask(client, box, "/auth/forgot-password", alice.user["email"])
    given = {"email": alice.user["email"], "code": code}
    token = (await client.post("/auth/forgot-password/verify", json=given)).json()["reset_token"]

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


async def test_without_a_mail_server_a_newcomer_finds_the_code_in_the_outbox(
    client, kitchen, jobs, tmp_path, capsys
):
    alice = await kitchen.person("Alice")

    await client.post("/auth/send-code", json={"email": alice.user["email"]})
    await jobs.run_due()

    (email,) = (tmp_path / "outbox").glob("*.eml")
    code = re.search(r"\b\d{6}\b", email.read_text())[0]
    assert code in capsys.readouterr().err
    given = {"email": alice.user["email"], "code": code}
    assert (await client.post("/auth/verify-code", json=given)).status_code == 200


@pytest.mark.parametrize("server", [None, "127.0.0.1"])
async def test_in_production_no_code_is_logged_and_refused_mail_is_tried_again(
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
        answer = await client.post("/auth/send-code", json={"email": alice.user["email"]})
        await Jobs(app).run_due()
        (email,) = await Jobs(app).rows("auth.send_code")
        async with app.resources.db.read() as session:
            code = await session.scalar(select(EmailCode.code))

    said = capsys.readouterr().err
    assert answer.status_code == 200
    assert "MailFailed" in said
    assert (email.state, email.attempts) == ("queued", 1)
    assert code not in said + str(email.payload)
    assert not (tmp_path / "outbox").exists()
