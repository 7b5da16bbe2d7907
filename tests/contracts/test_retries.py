"""Retries where they are delicate: by nobody known, of long work, after a server has died."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest
from httpx2 import AsyncClient, TransportError
from sqlalchemy import func, select, text, update

from freshly.chassis.data.functions import now
from freshly.chassis.data.idempotency_keys import IdempotencyRecord, IdempotencyRecords
from tests.conftest import client_of, running, settings_for
from tests.contracts.test_idempotency import AGAIN, RICE, keyed
from tests.support.api import PASSWORD, Kitchen, Person
from tests.support.fake_services import TIMEOUT_SECONDS, free_port, model_server, serving
from tests.support.pictures import picture

STARTS_WITHIN = 60  # seconds
ACCOUNT = {"email": "new@example.com", "password": PASSWORD, "name": "New"}


@pytest.fixture
async def model():
    async with model_server() as server:
        yield server


@pytest.fixture
def settings(database_url, tmp_path, model):
    sizes = {"database_pool_size": 10, "database_max_overflow": 15, "database_pool_timeout": 30}
    return settings_for(database_url, tmp_path, openai_base_url=model.url, **sizes)


@pytest.fixture
async def alice(kitchen):
    return await kitchen.person("Alice")


async def kept(db):
    async with db.read() as session:
        return (await session.scalars(select(IdempotencyRecord))).all()


async def kept_one(db):
    [row] = await kept(db)
    return row.status is not None


async def becomes_true(ask):
    until = time.monotonic() + TIMEOUT_SECONDS
    while not await ask():
        assert time.monotonic() < until
        await asyncio.sleep(0.02)


async def test_who_registers_again_is_given_the_account_that_was_made(client):
    answers = await asyncio.gather(
        *(client.post("/auth/register", json=ACCOUNT, headers=keyed("a")) for _ in range(5))
    )
    later = await client.post("/auth/register", json=ACCOUNT, headers=keyed("b"))

    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    assert later.status_code == 400


async def test_who_signs_in_again_is_given_the_same_tokens(client, kitchen, db):
    alice = await kitchen.person("Alice")
    account = {"email": alice.user["email"], "password": PASSWORD}

    first, second = [
        await client.post("/auth/login", json=account, headers=keyed("a")) for _ in range(2)
    ]
    refresh = {"refresh_token": first.json()["refresh_token"]}
    pairs = [await client.post("/auth/refresh", json=refresh, headers=keyed("a")) for _ in range(2)]

    assert (first.status_code, second.content) == (200, first.content)
    assert (pairs[0].status_code, pairs[1].content) == (200, pairs[0].content)
    assert second.headers[AGAIN] == pairs[1].headers[AGAIN] == "true"
    async with db.read() as session:
        sign_ins = await session.scalar(select(func.count()).select_from(text("sign_ins")))
    assert sign_ins == 2  # the one that the test began with, and this


async def test_somebody_elses_key_reveals_nothing(client, kitchen):
    alice, bob = await kitchen.person("Alice"), await kitchen.person("Bob")
    her, his = [{"email": one.user["email"], "password": PASSWORD} for one in (alice, bob)]
    guess = {**her, "password": "a wrong password"}
    first = await client.post("/auth/login", json=her, headers=keyed("a"))
    assert first.status_code == 200

    for other in (his, guess):
        refused = await client.post("/auth/login", json=other, headers=keyed("a"))
        assert (refused.status_code, refused.json()["code"]) == (422, "idempotency_key_reused")
        assert "token" not in refused.text
    # Without a body the bearer is the secret.
    bearers = [{"Authorization": f"Bearer {name}"} for name in ("one", "two")]
    for bearer in bearers:
        answer = await client.post("/auth/login/oauth", headers=keyed("a", **bearer))
        assert (answer.status_code, AGAIN in answer.headers) == (503, False)


async def test_the_database_holds_no_token_and_no_password_in_clear(client, kitchen, db):
    alice = await kitchen.person("Alice")
    account = {"email": alice.user["email"], "password": PASSWORD}
    signed_in = await client.post("/auth/login", json=account, headers=keyed("secret-key"))
    link = await alice.post("/storage/avatar/signed_url", headers=keyed("secret-key"))
    tokens = signed_in.json()

    rows = await kept(db)

    assert len(rows) == 2
    secrets = [tokens["access_token"], tokens["refresh_token"], PASSWORD, alice.user["email"]]
    secrets += ["secret-key", "token", link.text[:40]]
    for row in rows:
        stored = repr((row.id, row.fingerprint, row.sealed, row.holder))
        assert row.sealed
        assert [secret for secret in secrets if secret in stored] == []


async def test_after_a_day_a_key_is_free_again(alice, db):
    first = await alice.post("/pantry-items/me", RICE, headers=keyed("a"))
    async with db.write() as session:
        [row] = (await session.scalars(select(IdempotencyRecord))).all()
        at = (await session.execute(select(now()))).scalar_one()
        assert 86390 < (row.expires_at - at).total_seconds() <= 86400
        await session.execute(update(IdempotencyRecord).values(expires_at=at))

    again = await alice.post("/pantry-items/me", {**RICE, "quantity": 3}, headers=keyed("a"))

    assert (again.status_code, AGAIN in again.headers) == (201, False)
    assert again.json()["id"] != first.json()["id"]
    await alice.post("/pantry-items/me", RICE, headers=keyed("b"))
    async with db.write() as session:
        assert await IdempotencyRecords(session).purge() == 0
        where = IdempotencyRecord.status.is_not(None)
        await session.execute(update(IdempotencyRecord).where(where).values(expires_at=now()))
        assert await IdempotencyRecords(session).purge() == 2
    assert await kept(db) == []


async def test_with_an_account_its_answers_go(alice, db):
    await alice.post("/pantry-items/me", RICE, headers=keyed("a"))

    assert (await alice.delete("/users/me")).status_code == 204

    assert await kept(db) == []


async def test_a_form_is_the_same_under_another_boundary(alice):
    async def upload(content):
        files = {"file": ("me.png", content)}
        return await alice.post("/storage/avatar/proxy", files=files, headers=keyed("a"))

    first, second = await upload(picture()), await upload(picture())
    other = await upload(picture(colour="green"))

    assert (first.status_code, second.content) == (201, first.content)
    assert first.request.headers["content-type"] != second.request.headers["content-type"]
    assert (second.headers[AGAIN], other.json()["code"]) == ("true", "idempotency_key_reused")


async def test_the_model_is_asked_once_for_fifty_sends(alice, model):
    model.says("Hello!")
    body = {"message": "Hi"}

    answers = await asyncio.gather(
        *(alice.post("/chat", body, headers=keyed("a")) for _ in range(50))
    )

    assert {answer.status_code for answer in answers} == {200}, answers[0].text
    assert len({answer.content for answer in answers}) == 1
    assert len(model.requests) == 1
    assert len(await alice.read("/chat/conversations")) == 1


async def test_a_model_that_failed_is_asked_again(alice, model):
    model.says(400, 400, "Hello!")  # the second is to the same, asked for with fewer options

    answers = [await alice.post("/chat", {"message": "Hi"}, headers=keyed("a")) for _ in range(3)]

    assert answers[0].status_code >= 500
    assert [answer.status_code for answer in answers[1:]] == [200, 200]
    assert [AGAIN in answer.headers for answer in answers] == [False, False, True]
    assert len(await alice.read("/chat/conversations")) == 1


async def test_a_claim_whose_holder_died_is_waited_for_and_then_taken_over(
    alice, model, db, monkeypatch
):
    monkeypatch.setattr("freshly.chassis.web.idempotency.MAX_WAIT", 0.2)
    body = {"message": "Hi"}
    await alice.post("/chat", body, headers=keyed("a"))
    async with db.write() as session:
        await session.execute(
            update(IdempotencyRecord).values(status=None, sealed=None, holder="dead")
        )

    waiting = await alice.post("/chat", body, headers=keyed("a"))
    other = await alice.post("/chat", {"message": "Ho"}, headers=keyed("a"))
    async with db.write() as session:
        await session.execute(update(IdempotencyRecord).values(expires_at=now()))
    done = await alice.post("/chat", body, headers=keyed("a"))

    assert (waiting.status_code, waiting.json()["code"]) == (409, "still_at_work")
    assert int(waiting.headers["retry-after"]) > 0
    assert other.json()["code"] == "idempotency_key_reused"
    assert (done.status_code, len(model.requests)) == (200, 2)


async def test_a_stream_is_told_again_as_it_was(alice, model):
    model.says(["Good ", "evening"])

    first, second = [
        await alice.post("/chat/stream", {"message": "Hi"}, headers=keyed("a")) for _ in range(2)
    ]

    assert "event: done" in first.text
    assert second.text == first.text
    assert second.headers["content-type"] == first.headers["content-type"]
    assert (AGAIN in first.headers, second.headers[AGAIN]) == (False, "true")
    assert len(model.requests) == 1


async def test_a_stream_that_failed_is_asked_for_anew(alice, model):
    model.says([ConnectionResetError], ["Good evening"])

    first, second = [
        await alice.post("/chat/stream", {"message": "Hi"}, headers=keyed("a")) for _ in range(2)
    ]

    assert "event: error" in first.text
    assert "event: done" in second.text
    assert AGAIN not in second.headers


async def test_who_left_a_stream_is_told_what_there_was(app, model, db):
    model.says(["Good ", 30, "evening"])
    async with serving(app) as url, AsyncClient(base_url=url, timeout=TIMEOUT_SECONDS) as remote:
        alice = await Kitchen(remote).person("Alice")
        headers = {**alice.headers, **keyed("a")}
        asked = remote.stream("POST", "/chat/stream", json={"message": "Hi"}, headers=headers)
        async with asked as answer:
            async for line in answer.aiter_lines():
                if "Good" in line:
                    break
        await becomes_true(lambda: kept_one(db))
        await becomes_true(lambda: alice.read("/chat/conversations"))

        again = await alice.post("/chat/stream", {"message": "Hi"}, headers=keyed("a"))

        assert "Good" in again.text
        assert "event: done" not in again.text
        assert len(await alice.read("/chat/conversations")) == 1
    assert len(model.requests) == 1


async def test_two_processes_do_one_work(settings, alice):
    """Apps that share nothing but the database."""
    async with running(settings) as second, client_of(second) as elsewhere:
        there = Person(elsewhere, alice.user, alice.tokens)
        for path, body in (("/pantry-items/me", RICE), ("/chat", {"message": "Hi"})):
            answers = await asyncio.gather(
                *(one.post(path, body, headers=keyed("a")) for one in (alice, there) * 10)
            )
            assert {answer.status_code < 300 for answer in answers} == {True}
            assert len({answer.content for answer in answers}) == 1
            assert sum(AGAIN in answer.headers for answer in answers) == 19

    assert len(await alice.read("/pantry-items/me")) == 1
    assert len(await alice.read("/chat/conversations")) == 1


DYING = """
import os, signal, sys
from pathlib import Path
import uvicorn
from pydantic import SecretStr
from freshly.app import create_app
from tests.conftest import settings_for

url, folder, port, dies = sys.argv[1:]
app = create_app(settings_for(url, Path(folder)))

async def served(scope, receive, send):
    async def send_or_die(message):
        if dies == "yes" and scope.get("path") == "/pantry-items/me" and scope["method"] == "POST":
            os.kill(os.getpid(), signal.SIGKILL)  # committed, and nothing is sent
        await send(message)
    await app(scope, receive, send_or_die)

uvicorn.run(served, host="127.0.0.1", port=int(port), log_config=None, lifespan="on")
"""


@contextmanager
def server(settings, tmp_path, *, dies):
    """A real server; one that dies does so between the commit of a pantry item and its answer."""
    url, port = settings.database_url.get_secret_value(), free_port()
    command = [sys.executable, "-c", DYING, url, str(tmp_path), str(port), "yes" if dies else "no"]
    process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    try:
        yield f"http://127.0.0.1:{port}", process
    finally:
        process.kill()
        process.wait()


async def answering(client):
    until = time.monotonic() + STARTS_WITHIN
    while True:
        try:
            return await client.get("/ready")
        except TransportError:
            assert time.monotonic() < until
            await asyncio.sleep(0.1)


async def test_what_was_committed_by_a_server_that_then_died_is_not_done_twice(
    settings, alice, tmp_path
):
    with server(settings, tmp_path, dies=True) as (url, process):
        async with AsyncClient(base_url=url, timeout=TIMEOUT_SECONDS) as client:
            assert (await answering(client)).status_code == 200
            with pytest.raises(TransportError):
                await Person(client, alice.user, alice.tokens).post(
                    "/pantry-items/me", RICE, headers=keyed("a")
                )
        assert process.wait(TIMEOUT_SECONDS) == -signal.SIGKILL

    with server(settings, tmp_path, dies=False) as (url, _):
        async with AsyncClient(base_url=url, timeout=TIMEOUT_SECONDS) as client:
            assert (await answering(client)).status_code == 200
            again = await Person(client, alice.user, alice.tokens).post(
                "/pantry-items/me", RICE, headers=keyed("a")
            )

    assert (again.status_code, again.headers[AGAIN]) == (201, "true")
    assert [item["id"] for item in await alice.read("/pantry-items/me")] == [again.json()["id"]]
