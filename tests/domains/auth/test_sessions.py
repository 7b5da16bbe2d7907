"""Users list their sessions and sign devices out."""

import pytest
from pydantic import SecretStr
from sqlalchemy import update

from freshly.domains.auth.models import AuthSession
from tests.conftest import client_of, running
from tests.support.api import PASSWORD, Person

PHONE = {"User-Agent": "Freshly/2.0 (phone)"}


@pytest.fixture
async def alice(kitchen):
    return await kitchen.person("Alice")


async def sign_in(person, **headers):
    """Sign the same user in on another device."""
    credentials = {"email": person.user["email"], "password": PASSWORD}
    response = await person.client.post("/auth/login", json=credentials, headers=headers)
    assert response.status_code == 200
    return Person(person.client, person.user, response.json())


async def sessions_of(person):
    return (await person.read("/auth/sessions"))["items"]


async def test_a_user_sees_their_sessions_newest_first(alice):
    phone = await sign_in(alice, **PHONE)

    latest, first = await sessions_of(phone)

    assert (latest["current"], first["current"]) == (True, False)
    assert latest["user_agent"] == PHONE["User-Agent"]
    assert latest["address"] == "127.0.0.1"
    assert latest["created_at"] <= latest["last_used_at"] < latest["expires_at"]
    assert [session["current"] for session in await sessions_of(alice)] == [False, True]


async def test_refreshing_the_tokens_updates_when_a_session_was_last_used(alice, client):
    [before] = await sessions_of(alice)

    token = {"refresh_token": alice.tokens["refresh_token"]}
    assert (await client.post("/auth/refresh", json=token)).status_code == 200

    [after] = await sessions_of(alice)
    assert after["last_used_at"] > before["last_used_at"]
    assert after["created_at"] == before["created_at"]


async def test_a_revoked_session_is_refused_at_its_next_request(alice, client):
    phone = await sign_in(alice)
    assert (await phone.get("/users/me")).status_code == 200
    [session_of_phone] = [session for session in await sessions_of(alice) if not session["current"]]

    revoked = await alice.delete(f"/auth/sessions/{session_of_phone['id']}")

    assert (revoked.status_code, revoked.content) == (204, b"")
    assert (await phone.get("/users/me")).json()["code"] == "token_revoked"
    token = {"refresh_token": phone.tokens["refresh_token"]}
    assert (await client.post("/auth/refresh", json=token)).status_code == 401
    assert [session["current"] for session in await sessions_of(alice)] == [True]


async def test_a_revoked_session_is_refused_in_every_process(settings, redis_url):
    shared = settings.model_copy(update={"cache": "auto", "redis_url": SecretStr(redis_url)})
    async with (
        running(shared) as first_app,
        running(shared) as second_app,
        client_of(first_app) as first_client,
        client_of(second_app) as second_client,
    ):
        account = {"email": "alice@example.com", "password": PASSWORD}
        user = (await first_client.post("/auth/register", json=account)).json()
        alice = Person(
            first_client, user, (await first_client.post("/auth/login", json=account)).json()
        )
        phone = Person(
            second_client, user, (await second_client.post("/auth/login", json=account)).json()
        )
        for _ in range(2):  # the second response comes from the cache
            assert (await phone.get("/users/me")).status_code == 200

        [session_of_phone] = [
            session for session in await sessions_of(alice) if not session["current"]
        ]
        await alice.delete(f"/auth/sessions/{session_of_phone['id']}")

        assert (await phone.get("/users/me")).status_code == 401


async def test_a_user_may_revoke_the_current_session(alice):
    [current] = await sessions_of(alice)

    assert (await alice.delete(f"/auth/sessions/{current['id']}")).status_code == 204

    assert (await alice.get("/auth/me")).status_code == 401


async def test_another_users_session_and_an_unknown_session_get_the_same_response(alice, kitchen):
    bob = await kitchen.person("Bob")
    [session_of_bob] = await sessions_of(bob)

    responses = [
        await alice.delete(f"/auth/sessions/{session_id}")
        for session_id in (session_of_bob["id"], "0" * 32, "no-such-session", "%00", "x" * 200)
    ]

    assert {response.status_code for response in responses} == {404}
    assert (await bob.get("/auth/me")).status_code == 200
    known, unknown = (response.json() for response in responses[:2])
    known.pop("correlation_id"), unknown.pop("correlation_id")
    assert known == unknown


async def test_a_session_that_has_ended_is_neither_listed_nor_revoked_again(alice, db):
    phone = await sign_in(alice)
    [signed_out_id] = [listed["id"] for listed in await sessions_of(alice) if not listed["current"]]
    await phone.post("/auth/logout")
    expiring = await sign_in(alice)
    [expired_id] = [listed["id"] for listed in await sessions_of(expiring) if listed["current"]]
    async with db.write() as session:
        await session.execute(
            update(AuthSession)
            .where(AuthSession.id == expired_id)
            .values(expires_at=AuthSession.created_at)
        )

    assert [listed["current"] for listed in await sessions_of(alice)] == [True]
    for session_id in (signed_out_id, expired_id):
        assert (await alice.delete(f"/auth/sessions/{session_id}")).status_code == 404


async def test_sessions_are_listed_in_pages(alice):
    for _ in range(4):
        await sign_in(alice)
    whole = await sessions_of(alice)

    first = await alice.read("/auth/sessions", limit=2)
    second = await alice.read("/auth/sessions", limit=2, cursor=first["next_cursor"])
    third = await alice.read("/auth/sessions", limit=2, cursor=second["next_cursor"])

    assert first["items"] + second["items"] + third["items"] == whole
    assert (len(whole), third["next_cursor"]) == (5, None)
    unknown = await alice.get("/auth/sessions", params={"offset": 1})
    assert unknown.status_code == 422
