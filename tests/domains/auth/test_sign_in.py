import asyncio
import base64
import json
from datetime import UTC, datetime, timedelta

import bcrypt
import jwt
import pytest
from sqlalchemy import func, select, update

from freshly.chassis.security import passwords
from freshly.domains.auth.models import AuthSession, RefreshToken
from freshly.domains.preferences.models import UserPreference
from freshly.domains.users.models import User
from tests.conftest import SECRET
from tests.support.api import PASSWORD

RECOMMENDED = passwords.MEMORY_KIB, passwords.ITERATIONS  # other tests do with less
REFUSED = (None, "", "null", "garbage", "a.b.c", "x" * 5000)


def claims_of(token):
    payload = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))


async def refresh(client, token):
    return await client.post("/auth/refresh", json={"refresh_token": token})


async def status_of(client, access_token):
    headers = {"Authorization": f"Bearer {access_token}"}
    return (await client.get("/auth/me", headers=headers)).status_code


@pytest.fixture
async def alice(kitchen):
    return await kitchen.person("Alice")


@pytest.fixture
def age_used_tokens(db):
    """Return a function that makes used refresh tokens older."""

    async def age(seconds):
        async with db.write() as session:
            for row in await session.scalars(select(RefreshToken)):
                if row.used_at:
                    row.used_at -= timedelta(seconds=seconds)

    return age


async def test_sign_up_and_sign_in_ignore_the_case_of_the_address(kitchen, client):
    alice = await kitchen.person("Alice", email="Alice@Example.com")

    tokens = await kitchen.sign_in("aLICE@example.COM")

    assert alice.user["email"] == "alice@example.com"
    me = await client.get("/auth/me", headers={"Authorization": f"Bearer {tokens['access_token']}"})
    assert me.json() == {**alice.user, "pending_email": None}


async def test_a_registered_address_is_taken_in_every_case(alice, client):
    taken = {"email": alice.user["email"].upper(), "password": PASSWORD}

    refused = await client.post("/auth/register", json=taken)

    assert refused.status_code == 400
    assert refused.json()["detail"] == "Email already registered"


async def test_simultaneous_sign_ups_with_one_address_create_one_account(client, db):
    account = {"email": "twice@example.com", "password": PASSWORD}

    responses = await asyncio.gather(
        *(client.post("/auth/register", json=account) for _ in range(5))
    )

    assert sorted(response.status_code for response in responses) == [200, 400, 400, 400, 400]
    async with db.read() as session:
        assert (await session.scalar(select(func.count()).select_from(User))) == 1


@pytest.mark.parametrize("password", ["short", "x" * 73, "with\0nul-inside"])
async def test_a_bad_password_is_refused_at_sign_up(client, password):
    account = {"email": "a@example.com", "password": password}

    assert (await client.post("/auth/register", json=account)).status_code == 422


async def test_a_new_user_has_preferences(kitchen, db):
    athlete = {"is_athlete": True, "training_level": "light", "target_calories": 2500}
    alice = await kitchen.person("Alice")
    bob = await kitchen.person("Bob", preference={**athlete, "goal": "leaner", "age": 30})

    async with db.read() as session:
        rows = {row.user_id: row for row in await session.scalars(select(UserPreference))}

    assert (rows[alice.id].goal, rows[alice.id].calorie_target) == ("balanced", 2000)
    assert (rows[bob.id].goal, rows[bob.id].calorie_target) == ("get_leaner", 2500)
    assert (rows[bob.id].is_athlete, rows[bob.id].age) == (True, 30)


@pytest.mark.parametrize("password", ["wrong password", "", "x" * 500])
async def test_a_wrong_password_and_an_unknown_address_get_the_same_response(
    alice, client, password
):
    known = await client.post(
        "/auth/login", json={"email": alice.user["email"], "password": password}
    )
    unknown = await client.post(
        "/auth/login", json={"email": "nobody@example.com", "password": PASSWORD}
    )

    assert known.status_code == unknown.status_code == 401
    assert known.json()["detail"] == unknown.json()["detail"] == "Invalid credentials"


async def test_a_password_hash_of_the_existing_app_works_and_is_replaced_at_sign_in(kitchen, db):
    await kitchen.person("Alice")
    # The existing app cuts passwords at 72 characters, and bcrypt cuts them at 72 bytes.
    password = "é" * 40 + "and the rest is cut off"
    old = bcrypt.hashpw(password.encode()[:72], bcrypt.gensalt(4)).decode()
    async with db.write() as session:
        await session.execute(update(User).values(hashed_password=old, email="Old@Example.com"))

    await kitchen.sign_in("old@example.com", password)

    async with db.read() as session:
        assert (await session.scalar(select(User.hashed_password))).startswith("$argon2id$")
    await kitchen.sign_in("old@example.com", password)


async def test_a_password_hash_with_outdated_parameters_is_replaced_at_sign_in(
    alice, app, kitchen, monkeypatch, db
):
    async def stored():
        async with db.read() as session:
            return await session.scalar(select(User.hashed_password))

    monkeypatch.setattr(passwords, "MEMORY_KIB", RECOMMENDED[0])
    monkeypatch.setattr(passwords, "ITERATIONS", RECOMMENDED[1])
    app.replace(passwords=passwords.Passwords())
    before = await stored()

    await kitchen.sign_in(alice.user["email"])

    assert "$m=8,t=1,p=1$" in before
    assert (await stored()).startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    await kitchen.sign_in(alice.user["email"])


async def test_tokens_have_the_documented_claims(alice):
    access = claims_of(alice.tokens["access_token"])
    refresh_ = claims_of(alice.tokens["refresh_token"])

    assert access["sub"] == refresh_["sub"] == str(alice.id)
    assert (access["type"], refresh_["type"]) == ("access", "refresh")
    assert access["jti"] != refresh_["jti"]
    assert (access["iss"], access["aud"]) == ("freshly", "freshly-app")
    assert access["exp"] - access["iat"] == 30 * 60
    assert refresh_["exp"] - refresh_["iat"] == 7 * 24 * 3600


async def test_access_and_refresh_tokens_cannot_be_used_for_each_other(alice, client):
    assert await status_of(client, alice.tokens["refresh_token"]) == 401

    refused = await refresh(client, alice.tokens["access_token"])

    assert (refused.status_code, refused.json()["detail"]) == (401, "Invalid token type")


@pytest.mark.parametrize(
    "change",
    [
        {"exp": 1},
        {"aud": "another app"},
        {"iss": "somebody else"},
        {"sub": "not a number"},
        {"sub": str(2**70)},
        {"type": "password_reset"},
        {"jti": None},
        {"sid": None},
    ],
    ids=str,
)
async def test_a_token_with_a_wrong_or_missing_claim_is_refused(alice, client, change):
    claims = {**claims_of(alice.tokens["access_token"]), **change}
    forged = jwt.encode(
        {k: v for k, v in claims.items() if v is not None}, SECRET.get_secret_value()
    )

    response = await client.get("/auth/me", headers={"Authorization": f"Bearer {forged}"})

    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"
    expired = "exp" in change
    assert response.json()["detail"] == ("Token expired" if expired else "Invalid token")
    assert response.headers.get("x-token-status") == ("expired" if expired else None)


async def test_a_token_with_a_wrong_or_missing_signature_is_refused(alice, client):
    forged = jwt.encode(claims_of(alice.tokens["access_token"]), "another secret " * 4)
    unsigned = jwt.encode(claims_of(alice.tokens["access_token"]), None, algorithm="none")

    assert await status_of(client, forged) == await status_of(client, unsigned) == 401


@pytest.mark.parametrize("header", [None, "Bearer null", "Bearer ", "Basic abc", "nonsense"])
async def test_a_request_without_a_valid_token_is_401(client, header):
    response = await client.get("/auth/me", headers={"Authorization": header} if header else {})

    assert response.status_code == 401
    assert response.json()["detail"] in ("Not authenticated", "Invalid token")


@pytest.mark.parametrize("token", REFUSED, ids=lambda token: str(token)[:10])
async def test_a_refresh_without_a_valid_token_is_401(client, token):
    assert (await refresh(client, token)).status_code == 401
    assert (await client.post("/auth/refresh", json={})).status_code == 401


async def test_a_refresh_returns_a_new_pair_of_working_tokens(alice, client):
    first = await refresh(client, alice.tokens["refresh_token"])

    second = await refresh(client, first.json()["refresh_token"])

    assert first.status_code == second.status_code == 200
    assert await status_of(client, second.json()["access_token"]) == 200
    # The refresh happens in the second of the sign-in, and still returns another token.
    assert first.json()["refresh_token"] != alice.tokens["refresh_token"]


async def test_simultaneous_refreshes_return_the_same_new_token(alice, client, db):
    responses = await asyncio.gather(
        *(refresh(client, alice.tokens["refresh_token"]) for _ in range(5))
    )

    assert {response.status_code for response in responses} == {200}
    assert len({response.json()["refresh_token"] for response in responses}) == 1
    async with db.read() as session:
        unused = select(func.count()).where(RefreshToken.used_at.is_(None))
        assert await session.scalar(unused) == 1


async def test_a_refresh_token_replayed_after_the_grace_period_ends_the_session(
    alice, client, age_used_tokens
):
    thief = (await refresh(client, alice.tokens["refresh_token"])).json()
    await age_used_tokens(seconds=11)

    replayed = await refresh(client, alice.tokens["refresh_token"])

    assert replayed.status_code == 401
    assert replayed.json()["detail"] == "Refresh token has been revoked"
    assert (await refresh(client, thief["refresh_token"])).status_code == 401
    assert await status_of(client, thief["access_token"]) == 401
    assert await status_of(client, alice.tokens["access_token"]) == 401


async def test_a_retry_within_the_grace_period_returns_the_current_refresh_token(alice, client):
    second = (await refresh(client, alice.tokens["refresh_token"])).json()
    third = (await refresh(client, second["refresh_token"])).json()

    retried = (await refresh(client, alice.tokens["refresh_token"])).json()

    assert retried["refresh_token"] == third["refresh_token"]


async def test_logout_ends_only_the_current_session(alice, kitchen, client):
    elsewhere = await kitchen.sign_in(alice.user["email"])

    assert (await alice.post("/auth/logout")).json() == {"message": "Successfully logged out"}

    refused = await alice.get("/auth/me")
    assert (refused.status_code, refused.json()["detail"]) == (401, "Token has been revoked")
    assert (await refresh(client, alice.tokens["refresh_token"])).status_code == 401
    assert await status_of(client, elsewhere["access_token"]) == 200


async def test_tokens_are_stored_as_hashes_only(alice, db):
    async with db.read() as session:
        row = (await session.scalars(select(RefreshToken))).one()
        auth_session = (await session.scalars(select(AuthSession))).one()

    assert alice.tokens["refresh_token"] not in (row.token_hash, row.id)
    assert len(row.token_hash) == 64
    assert auth_session.expires_at > datetime.now(UTC) + timedelta(days=6)
