"""Sessions end, and stored responses do not bring old tokens back."""

from datetime import timedelta

import pytest
from sqlalchemy import select, update

from freshly.chassis.data.functions import now
from freshly.chassis.data.idempotency_keys import IdempotencyRecord
from freshly.domains.auth import service
from freshly.domains.auth.models import AuthSession, RefreshToken
from tests.support.api import PASSWORD


@pytest.fixture
async def alice(kitchen):
    return await kitchen.person("Alice")


async def begin_days_ago(db, days):
    async with db.write() as session:
        at = (await session.execute(select(now()))).scalar_one()
        await session.execute(update(AuthSession).values(created_at=at - timedelta(days=days)))


async def refresh(client, tokens, **headers):
    body = {"refresh_token": tokens["refresh_token"]}
    return await client.post("/auth/refresh", json=body, headers=headers)


async def test_a_session_ends_90_days_after_its_sign_in(alice, client, db):
    await begin_days_ago(db, 89)
    renewed = await refresh(client, alice.tokens)
    async with db.read() as session:
        newest = select(RefreshToken.expires_at).where(RefreshToken.used_at.is_(None))
        longest = await session.scalar(newest)
        began = await session.scalar(select(AuthSession.created_at))
        ends = await session.scalar(select(AuthSession.expires_at))
    await begin_days_ago(db, 90)

    ended = await refresh(client, renewed.json())

    assert renewed.status_code == 200
    assert longest <= began + timedelta(days=90)
    assert ends <= began + timedelta(days=90)
    assert ended.status_code == 401


async def test_a_user_has_at_most_fifty_sessions(alice, kitchen, client, monkeypatch):
    assert service.MOST_SESSIONS == 50
    monkeypatch.setattr(service, "MOST_SESSIONS", 3)
    tokens = [await kitchen.sign_in(alice.user["email"]) for _ in range(3)]

    assert (await alice.get("/users/me")).status_code == 401
    for pair in tokens:
        headers = {"Authorization": f"Bearer {pair['access_token']}"}
        assert (await client.get("/users/me", headers=headers)).status_code == 200


@pytest.mark.parametrize("route", ["login", "refresh", "register"])
async def test_a_response_without_an_account_is_stored_for_a_minute(alice, client, db, route):
    email = alice.user["email"] if route == "login" else "new@example.com"
    body = {
        "refresh": {"refresh_token": alice.tokens["refresh_token"]},
        "login": {"email": email, "password": PASSWORD},
        "register": {"email": email, "password": PASSWORD},
    }[route]
    keyed = {"headers": {"Idempotency-Key": "a"}}

    first = await client.post(f"/auth/{route}", json=body, **keyed)
    second = await client.post(f"/auth/{route}", json=body, **keyed)

    assert first.status_code == second.status_code == 200
    assert first.content == second.content
    async with db.read() as session:
        at = (await session.execute(select(now()))).scalar_one()
        expires_at = await session.scalar(select(IdempotencyRecord.expires_at))
    assert timedelta(seconds=50) < expires_at - at <= timedelta(minutes=1)


async def test_a_replayed_refresh_token_is_detected_although_its_response_was_stored(
    alice, client, db
):
    keyed = {"Idempotency-Key": "a"}
    assert (await refresh(client, alice.tokens, **keyed)).status_code == 200
    async with db.write() as session:  # more than a minute later
        at = (await session.execute(select(now()))).scalar_one()
        await session.execute(update(RefreshToken).values(used_at=at - timedelta(seconds=61)))
        await session.execute(
            update(IdempotencyRecord).values(expires_at=at - timedelta(seconds=1))
        )

    replayed = await refresh(client, alice.tokens, **keyed)

    assert (replayed.status_code, replayed.json()["code"]) == (401, "refresh_token_revoked")
