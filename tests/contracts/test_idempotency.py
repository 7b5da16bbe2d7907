"""Who sends a POST again under its key is given the first answer again."""

import asyncio

import pytest
from sqlalchemy import select, text

from freshly.chassis.data.idempotency_keys import IdempotencyRecord
from freshly.chassis.data.transactions import DbSession
from freshly.chassis.errors import Unavailable
from freshly.chassis.web.preconditions import Route
from freshly.chassis.web.schemas import Ok
from tests.conftest import settings_for
from tests.support.api import MEAL, PASSWORD

RICE = {"ingredient_name": "Rice", "quantity": 2, "unit": "kg"}
AGAIN = "idempotency-replayed"


@pytest.fixture
def settings(database_url, tmp_path):
    """Fifty at once are patient, however slow the machine."""
    sizes = {"database_pool_size": 10, "database_max_overflow": 15}
    return settings_for(database_url, tmp_path, database_pool_timeout=30, **sizes)


def keyed(key, **headers):
    return {"Idempotency-Key": key, **headers}


@pytest.fixture
async def alice(kitchen):
    return await kitchen.person("Alice")


async def test_the_second_send_of_a_key_is_given_the_first_answer(alice):
    first = await alice.post("/pantry-items/me", RICE, headers=keyed("a"))
    second = await alice.post("/api/v1/pantry-items/me", RICE, headers=keyed("a"))
    other = await alice.post("/pantry-items/me", RICE, headers=keyed("b"))

    assert (first.status_code, second.status_code) == (201, 201)
    assert second.content == first.content
    assert (AGAIN in first.headers, second.headers[AGAIN]) == (False, "true")
    for name in ("etag", "content-type"):
        assert second.headers[name] == first.headers[name]
    assert second.headers["x-correlation-id"] != first.headers["x-correlation-id"]
    assert other.json()["id"] != first.json()["id"]
    assert len(await alice.read("/pantry-items/me")) == 2


async def test_fifty_at_once_make_one_row_and_get_one_answer(alice):
    answers = await asyncio.gather(
        *(alice.post("/pantry-items/me", RICE, headers=keyed("a")) for _ in range(50))
    )

    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    assert sum(AGAIN in answer.headers for answer in answers) == 49
    assert len(await alice.read("/pantry-items/me")) == 1


async def test_another_request_under_a_used_key_is_refused(alice):
    first = await alice.post("/pantry-items/me", RICE, headers=keyed("a"))
    list_id = (await alice.post_ok("/grocery-lists", {"scope": "personal"}))["id"]
    other_list = (await alice.post_ok("/grocery-lists", {"scope": "personal"}))["id"]
    await alice.post(f"/grocery-lists/{list_id}/sync-pantry", headers=keyed("b"))

    body = await alice.post("/pantry-items/me", {**RICE, "quantity": 3}, headers=keyed("a"))
    query = await alice.post("/pantry-items/me?x=1", RICE, headers=keyed("a"))
    path = await alice.post(f"/grocery-lists/{other_list}/sync-pantry", headers=keyed("b"))

    for refused in (body, query, path):
        assert (refused.status_code, refused.json()["code"]) == (422, "idempotency_key_reused")
    assert [item["id"] for item in await alice.read("/pantry-items/me")] == [first.json()["id"]]


async def test_keys_are_each_persons_and_each_routes_own(alice, kitchen):
    bob = await kitchen.person("Bob")

    made = [
        await alice.post("/pantry-items/me", RICE, headers=keyed("a")),
        await bob.post("/pantry-items/me", RICE, headers=keyed("a")),
        await alice.post("/pantry-items", RICE, headers=keyed("a")),
    ]

    assert [answer.status_code for answer in made] == [201] * 3
    assert not any(AGAIN in answer.headers for answer in made)
    assert len(await alice.read("/pantry-items/me")) == 2
    assert len(await bob.read("/pantry-items/me")) == 1


@pytest.mark.parametrize("key", ["", "x" * 256, "with blank", "with\ttab", "K\xfcche"])
async def test_a_key_that_is_none_is_refused(alice, key):
    headers = {"Idempotency-Key": key.encode("latin-1")}

    refused = await alice.post("/pantry-items/me", RICE, headers=headers)

    assert (refused.status_code, refused.json()["code"]) == (422, "bad_idempotency_key")
    assert await alice.read("/pantry-items/me") == []


async def test_refusals_that_would_be_repeated_are_kept_too(alice, kitchen):
    bob = await kitchen.person("Bob")
    meal = await kitchen.meal(bob)
    calls = [
        ("/pantry-items/me", {"quantity": -1}, 422),
        ("/grocery-lists/rebuild-from-meal-plan/99999", {}, 404),
        (f"/meals/{meal['id']}/attach-family", {"familyId": 99999}, 403),
        ("/pantry-items/me", {**RICE, "family_id": 99999}, 400),
        ("/ingredients", {"name": "Egg"}, 409),
    ]
    for number, (path, body, status) in enumerate(calls):
        first = await alice.post(path, body, headers=keyed(str(number)))
        second = await alice.post(path, body, headers=keyed(str(number)))
        assert second.content == first.content, first.text
        assert (AGAIN in first.headers, AGAIN in second.headers) == (False, True), path
        assert second.headers["content-type"] == "application/problem+json"
        assert first.status_code == status, first.text
        other = await alice.post(path, {**body, "x": 1}, headers=keyed(str(number)))
        assert other.json()["code"] == "idempotency_key_reused"


async def test_a_refused_request_has_left_nothing_but_its_answer(alice, db):
    new = {**MEAL, "familyId": 99999}

    refused = await alice.post("/meals/me", new, headers=keyed("a"))

    assert refused.status_code in (403, 404)
    assert await alice.read("/meals/me") == []
    async with db.read() as session:
        kept = (await session.scalars(select(IdempotencyRecord))).one()
    assert (kept.status, kept.user_id) == (refused.status_code, alice.id)


async def test_what_may_go_better_next_time_is_not_kept(client, alice):
    account = {"email": alice.user["email"], "password": "wrong" + PASSWORD}
    for _ in range(2):
        refused = await client.post("/auth/login", json=account, headers=keyed("a"))
        assert (refused.status_code, AGAIN in refused.headers) == (401, False)
    stranger = {"Authorization": "Bearer null", **keyed("b")}
    assert (await client.post("/pantry-items/me", json=RICE, headers=stranger)).status_code == 401
    assert (await alice.post("/pantry-items/me", RICE, headers=keyed("b"))).status_code == 201
    unreadable = keyed("c", **{"Content-Type": "application/json"})
    broken = await alice.request("POST", "/pantry-items", content=b"{", headers=unreadable)
    assert broken.status_code == 422
    assert (await alice.post("/pantry-items", RICE, headers=keyed("c"))).status_code == 201


async def test_a_first_try_that_broke_leaves_nothing_behind(app, client, alice):
    tries = []

    async def rename(session: DbSession) -> Ok:
        await session.execute(text("UPDATE users SET name = name || '!'"))
        tries.append(1)
        if len(tries) == 1:
            raise RuntimeError("a bug")
        if len(tries) == 2:
            raise Unavailable
        return Ok()

    app.app.router.add_api_route("/rename", rename, methods=["POST"], route_class_override=Route)

    answers = [await client.post("/rename", headers=keyed("a")) for _ in range(4)]

    assert [answer.status_code for answer in answers] == [500, 503, 200, 200]
    assert [AGAIN in answer.headers for answer in answers] == [False, False, False, True]
    assert len(tries) == 3
    assert (await alice.read("/users/me"))["name"] == "Alice!"
