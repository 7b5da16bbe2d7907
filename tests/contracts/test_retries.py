"""Retries in difficult cases: anonymous requests, long work, streams, killed servers."""

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
from tests.contracts.test_idempotency import REPLAYED, RICE, keyed
from tests.support.api import PASSWORD, Kitchen, Person
from tests.support.fake_services import TIMEOUT_SECONDS, free_port, model_server, serving
from tests.support.pictures import picture

START_TIMEOUT = 60  # seconds
ACCOUNT = {"email": "new@example.com", "password": PASSWORD, "name": "New"}


@pytest.fixture
async def model():
    async with model_server() as server:
        yield server


@pytest.fixture
def settings(database_url, tmp_path, model):
    sizes = {"database_pool_size": 10, "database_max_overflow": 15}
    return settings_for(database_url, tmp_path, openai_base_url=model.url, **sizes)


@pytest.fixture
async def alice(kitchen):
    return await kitchen.person("Alice")


async def stored_records(db):
    async with db.read() as session:
        return (await session.scalars(select(IdempotencyRecord))).all()


async def the_record_has_a_response(db):
    [row] = await stored_records(db)
    return row.status is not None


async def becomes_true(condition):
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not await condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


async def test_a_repeated_registration_returns_the_account_that_was_created(client):
    responses = await asyncio.gather(
        *(client.post("/auth/register", json=ACCOUNT, headers=keyed("a")) for _ in range(5))
    )
    later = await client.post("/auth/register", json=ACCOUNT, headers=keyed("b"))

    assert {response.status_code for response in responses} == {200}
    assert len({response.content for response in responses}) == 1
    assert later.status_code == 400


async def test_a_repeated_sign_in_returns_the_same_tokens(client, kitchen, db):
    alice = await kitchen.person("Alice")
    account = {"email": alice.user["email"], "password": PASSWORD}

    first, second = [
        await client.post("/auth/login", json=account, headers=keyed("a")) for _ in range(2)
    ]
    refresh = {"refresh_token": first.json()["refresh_token"]}
    pairs = [await client.post("/auth/refresh", json=refresh, headers=keyed("a")) for _ in range(2)]

    assert (first.status_code, second.content) == (200, first.content)
    assert (pairs[0].status_code, pairs[1].content) == (200, pairs[0].content)
    assert second.headers[REPLAYED] == pairs[1].headers[REPLAYED] == "true"
    async with db.read() as session:
        sign_ins = await session.scalar(select(func.count()).select_from(text("sign_ins")))
    assert sign_ins == 2  # the sign-in of `kitchen.person`, and this one


async def test_another_users_key_reveals_nothing(client, kitchen):
    alice, bob = await kitchen.person("Alice"), await kitchen.person("Bob")
    hers, other_account = [
        {"email": user.user["email"], "password": PASSWORD} for user in (alice, bob)
    ]
    guess = {**hers, "password": "a wrong password"}
    first = await client.post("/auth/login", json=hers, headers=keyed("a"))
    assert first.status_code == 200

    for other in (other_account, guess):
        refused = await client.post("/auth/login", json=other, headers=keyed("a"))
        assert (refused.status_code, refused.json()["code"]) == (422, "idempotency_key_reused")
        assert "token" not in refused.text
    # If a request has no body, its bearer token is the secret.
    bearers = [{"Authorization": f"Bearer {name}"} for name in ("first", "second")]
    for bearer in bearers:
        response = await client.post("/auth/login/oauth", headers=keyed("a", **bearer))
        assert (response.status_code, REPLAYED in response.headers) == (503, False)


async def test_stored_responses_contain_no_token_or_password_in_plain_text(client, kitchen, db):
    alice = await kitchen.person("Alice")
    account = {"email": alice.user["email"], "password": PASSWORD}
    signed_in = await client.post("/auth/login", json=account, headers=keyed("secret-key"))
    link = await alice.post("/storage/avatar/signed_url", headers=keyed("secret-key"))
    tokens = signed_in.json()

    rows = await stored_records(db)

    assert len(rows) == 2
    secrets = [tokens["access_token"], tokens["refresh_token"], PASSWORD, alice.user["email"]]
    secrets += ["secret-key", "token", link.text[:40]]
    for row in rows:
        stored = repr((row.id, row.fingerprint, row.sealed, row.holder))
        assert row.sealed
        assert [secret for secret in secrets if secret in stored] == []


async def test_a_key_can_be_used_again_after_a_day(alice, db):
    first = await alice.post("/pantry-items/me", RICE, headers=keyed("a"))
    async with db.write() as session:
        [row] = (await session.scalars(select(IdempotencyRecord))).all()
        at = (await session.execute(select(now()))).scalar_one()
        assert 86390 < (row.expires_at - at).total_seconds() <= 86400
        await session.execute(update(IdempotencyRecord).values(expires_at=at))

    again = await alice.post("/pantry-items/me", {**RICE, "quantity": 3}, headers=keyed("a"))

    assert (again.status_code, REPLAYED in again.headers) == (201, False)
    assert again.json()["id"] != first.json()["id"]
    await alice.post("/pantry-items/me", RICE, headers=keyed("b"))
    async with db.write() as session:
        assert await IdempotencyRecords(session).purge() == 0
        where = IdempotencyRecord.status.is_not(None)
        await session.execute(update(IdempotencyRecord).where(where).values(expires_at=now()))
        assert await IdempotencyRecords(session).purge() == 2
    assert await stored_records(db) == []


async def test_deleting_an_account_deletes_its_stored_responses(alice, db):
    await alice.post("/pantry-items/me", RICE, headers=keyed("a"))

    assert (await alice.delete("/users/me")).status_code == 204

    assert await stored_records(db) == []


async def test_a_repeated_upload_may_use_another_multipart_boundary(alice):
    async def upload(content):
        files = {"file": ("me.png", content)}
        return await alice.post("/storage/avatar/proxy", files=files, headers=keyed("a"))

    first, second = await upload(picture()), await upload(picture())
    other = await upload(picture(colour="green"))

    assert (first.status_code, second.content) == (201, first.content)
    assert first.request.headers["content-type"] != second.request.headers["content-type"]
    assert (second.headers[REPLAYED], other.json()["code"]) == ("true", "idempotency_key_reused")


async def test_fifty_requests_with_one_key_call_the_model_once(alice, model):
    model.says("Hello!")
    body = {"message": "Hi"}

    responses = await asyncio.gather(
        *(alice.post("/chat", body, headers=keyed("a")) for _ in range(50))
    )

    assert {response.status_code for response in responses} == {200}, responses[0].text
    assert len({response.content for response in responses}) == 1
    assert len(model.requests) == 1
    assert len(await alice.read("/chat/conversations")) == 1


async def test_a_retry_after_a_failed_model_call_calls_the_model_again(alice, model):
    # The first chat calls the model twice, the second time with fewer options.
    model.says(400, 400, "Hello!")

    responses = [await alice.post("/chat", {"message": "Hi"}, headers=keyed("a")) for _ in range(3)]

    assert responses[0].status_code >= 500
    assert [response.status_code for response in responses[1:]] == [200, 200]
    assert [REPLAYED in response.headers for response in responses] == [False, False, True]
    assert len(await alice.read("/chat/conversations")) == 1


async def test_a_key_whose_process_died_is_refused_until_its_claim_expires(
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


async def test_a_repeated_stream_is_replayed_unchanged(alice, model):
    model.says(["Good ", "evening"])

    first, second = [
        await alice.post("/chat/stream", {"message": "Hi"}, headers=keyed("a")) for _ in range(2)
    ]

    assert "event: done" in first.text
    assert second.text == first.text
    assert second.headers["content-type"] == first.headers["content-type"]
    assert (REPLAYED in first.headers, second.headers[REPLAYED]) == (False, "true")
    assert len(model.requests) == 1


async def test_a_failed_stream_is_generated_again(alice, model):
    model.says([ConnectionResetError], ["Good evening"])

    first, second = [
        await alice.post("/chat/stream", {"message": "Hi"}, headers=keyed("a")) for _ in range(2)
    ]

    assert "event: error" in first.text
    assert "event: done" in second.text
    assert REPLAYED not in second.headers


async def test_a_client_that_left_a_stream_gets_the_text_up_to_that_point(app, model, db):
    model.says(["Good ", 30, "evening"])
    async with serving(app) as url, AsyncClient(base_url=url, timeout=TIMEOUT_SECONDS) as remote:
        alice = await Kitchen(remote).person("Alice")
        headers = {**alice.headers, **keyed("a")}
        stream = remote.stream("POST", "/chat/stream", json={"message": "Hi"}, headers=headers)
        async with stream as response:
            async for line in response.aiter_lines():
                if "Good" in line:
                    break
        await becomes_true(lambda: the_record_has_a_response(db))
        await becomes_true(lambda: alice.read("/chat/conversations"))

        again = await alice.post("/chat/stream", {"message": "Hi"}, headers=keyed("a"))

        assert "Good" in again.text
        assert "event: done" not in again.text
        assert len(await alice.read("/chat/conversations")) == 1
    assert len(model.requests) == 1


async def test_requests_with_one_key_at_two_processes_are_done_once(settings, alice):
    """The two apps share only the database."""
    async with running(settings) as second, client_of(second) as elsewhere:
        there = Person(elsewhere, alice.user, alice.tokens)
        for path, body in (("/pantry-items/me", RICE), ("/chat", {"message": "Hi"})):
            responses = await asyncio.gather(
                *(user.post(path, body, headers=keyed("a")) for user in (alice, there) * 10)
            )
            assert {response.status_code < 300 for response in responses} == {True}
            assert len({response.content for response in responses}) == 1
            assert sum(REPLAYED in response.headers for response in responses) == 19

    assert len(await alice.read("/pantry-items/me")) == 1
    assert len(await alice.read("/chat/conversations")) == 1


KILLED_SERVER = """
import os, signal, sys
from pathlib import Path
import uvicorn
from pydantic import SecretStr
from freshly.app import create_app
from tests.conftest import settings_for

url, folder, port, dies = sys.argv[1:]
app = create_app(settings_for(url, Path(folder)))

async def served(scope, receive, send):
    async def send_or_kill(message):
        if dies == "yes" and scope.get("path") == "/pantry-items/me" and scope["method"] == "POST":
            os.kill(os.getpid(), signal.SIGKILL)  # committed, but no response is sent
        await send(message)
    await app(scope, receive, send_or_kill)

uvicorn.run(served, host="127.0.0.1", port=int(port), log_config=None, lifespan="on")
"""


@contextmanager
def server(settings, tmp_path, *, dies):
    """Run a real server. With `dies`, it kills itself after the commit of a pantry item."""
    url, port = settings.database_url.get_secret_value(), free_port()
    flag = "yes" if dies else "no"
    command = [sys.executable, "-c", KILLED_SERVER, url, str(tmp_path), str(port), flag]
    process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    try:
        yield f"http://127.0.0.1:{port}", process
    finally:
        process.kill()
        process.wait()


async def wait_until_ready(client):
    deadline = time.monotonic() + START_TIMEOUT
    while True:
        try:
            return await client.get("/ready")
        except TransportError:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.1)


async def test_a_write_committed_by_a_server_that_was_then_killed_is_not_repeated(
    settings, alice, tmp_path
):
    with server(settings, tmp_path, dies=True) as (url, process):
        async with AsyncClient(base_url=url, timeout=TIMEOUT_SECONDS) as client:
            assert (await wait_until_ready(client)).status_code == 200
            with pytest.raises(TransportError):
                await Person(client, alice.user, alice.tokens).post(
                    "/pantry-items/me", RICE, headers=keyed("a")
                )
        assert process.wait(TIMEOUT_SECONDS) == -signal.SIGKILL

    with server(settings, tmp_path, dies=False) as (url, _):
        async with AsyncClient(base_url=url, timeout=TIMEOUT_SECONDS) as client:
            assert (await wait_until_ready(client)).status_code == 200
            again = await Person(client, alice.user, alice.tokens).post(
                "/pantry-items/me", RICE, headers=keyed("a")
            )

    assert (again.status_code, again.headers[REPLAYED]) == (201, "true")
    assert [item["id"] for item in await alice.read("/pantry-items/me")] == [again.json()["id"]]
