"""Where a person is signed in, and how they sign a device out."""

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
    """The same person on another device."""
    given = {"email": person.user["email"], "password": PASSWORD}
    answer = await person.client.post("/auth/login", json=given, headers=headers)
    assert answer.status_code == 200
    return Person(person.client, person.user, answer.json())


async def sessions_of(person):
    return (await person.read("/auth/sessions"))["items"]


async def test_a_person_sees_each_device_the_latest_first(alice):
    phone = await sign_in(alice, **PHONE)

    latest, first = await sessions_of(phone)

    assert (latest["current"], first["current"]) == (True, False)
    assert latest["user_agent"] == PHONE["User-Agent"]
    assert latest["address"] == "127.0.0.1"
    assert latest["created_at"] <= latest["last_used_at"] < latest["expires_at"]
    assert [one["current"] for one in await sessions_of(alice)] == [False, True]


async def test_a_device_that_renews_its_tokens_is_the_one_that_is_used(alice, client):
    [before] = await sessions_of(alice)

    token = {"refresh_token": alice.tokens["refresh_token"]}
    assert (await client.post("/auth/refresh", json=token)).status_code == 200

    [after] = await sessions_of(alice)
    assert after["last_used_at"] > before["last_used_at"]
    assert after["created_at"] == before["created_at"]


async def test_a_device_that_is_signed_out_is_out_at_its_next_request(alice, client):
    phone = await sign_in(alice)
    assert (await phone.get("/users/me")).status_code == 200
    [there] = [one for one in await sessions_of(alice) if not one["current"]]

    revoked = await alice.delete(f"/auth/sessions/{there['id']}")

    assert (revoked.status_code, revoked.content) == (204, b"")
    assert (await phone.get("/users/me")).json()["code"] == "token_revoked"
    token = {"refresh_token": phone.tokens["refresh_token"]}
    assert (await client.post("/auth/refresh", json=token)).status_code == 401
    assert [one["current"] for one in await sessions_of(alice)] == [True]


async def test_what_is_out_is_out_in_every_process(settings, redis_url):
    shared = settings.model_copy(update={"cache": "auto", "redis_url": SecretStr(redis_url)})
    async with (
        running(shared) as one,
        running(shared) as other,
        client_of(one) as here,
        client_of(other) as there,
    ):
        account = {"email": "alice@example.com", "password": PASSWORD}
        user = (await here.post("/auth/register", json=account)).json()
        alice = Person(here, user, (await here.post("/auth/login", json=account)).json())
        phone = Person(there, user, (await there.post("/auth/login", json=account)).json())
        for _ in range(2):  # the second answer is a kept one
            assert (await phone.get("/users/me")).status_code == 200

        [found] = [one for one in await sessions_of(alice) if not one["current"]]
        await alice.delete(f"/auth/sessions/{found['id']}")

        assert (await phone.get("/users/me")).status_code == 401


async def test_one_may_sign_out_the_device_in_ones_hand(alice):
    [own] = await sessions_of(alice)

    assert (await alice.delete(f"/auth/sessions/{own['id']}")).status_code == 204

    assert (await alice.get("/auth/me")).status_code == 401


async def test_anothers_session_and_none_at_all_answer_alike(alice, kitchen):
    bob = await kitchen.person("Bob")
    [foreign] = await sessions_of(bob)

    answers = [
        await alice.delete(f"/auth/sessions/{given}")
        for given in (foreign["id"], "0" * 32, "no-such-session", "%00", "x" * 200)
    ]

    assert {answer.status_code for answer in answers} == {404}
    assert (await bob.get("/auth/me")).status_code == 200
    known, unknown = (answer.json() for answer in answers[:2])
    known.pop("correlation_id"), unknown.pop("correlation_id")
    assert known == unknown


async def test_a_session_that_has_ended_is_neither_listed_nor_revoked_again(alice, db):
    phone = await sign_in(alice)
    [gone] = [one["id"] for one in await sessions_of(alice) if not one["current"]]
    await phone.post("/auth/logout")
    old = await sign_in(alice)
    [expired] = [one["id"] for one in await sessions_of(old) if one["current"]]
    async with db.write() as session:
        await session.execute(
            update(AuthSession)
            .where(AuthSession.id == expired)
            .values(expires_at=AuthSession.created_at)
        )

    assert [one["current"] for one in await sessions_of(alice)] == [True]
    for given in (gone, expired):
        assert (await alice.delete(f"/auth/sessions/{given}")).status_code == 404


async def test_many_sessions_come_in_pages(alice):
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
