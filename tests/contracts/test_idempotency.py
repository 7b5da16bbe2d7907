"""A repeated POST with the same Idempotency-Key gets the first response again."""

import asyncio

import pytest
from sqlalchemy import func, select, text

from freshly.chassis.data.idempotency_keys import IdempotencyRecord
from freshly.chassis.data.transactions import DbSession
from freshly.chassis.errors import Unavailable
from freshly.chassis.web.preconditions import Route
from freshly.chassis.web.schemas import Ok
from tests.conftest import settings_for
from tests.support.api import MEAL, PASSWORD

RICE = {"ingredient_name": "Rice", "quantity": 2, "unit": "kg"}
REPLAYED = "idempotency-replayed"


@pytest.fixture
def settings(database_url, tmp_path):
    """Fifty requests at once wait long enough for a connection, even on a slow machine."""
    sizes = {"database_pool_size": 10, "database_max_overflow": 15}
    return settings_for(database_url, tmp_path, **sizes)


def keyed(key, **headers):
    return {"Idempotency-Key": key, **headers}


@pytest.fixture
async def alice(kitchen):
    return await kitchen.person("Alice")


async def test_a_second_request_with_a_key_gets_the_first_response(alice):
    first = await alice.post("/pantry-items/me", RICE, headers=keyed("a"))
    second = await alice.post("/api/v1/pantry-items/me", RICE, headers=keyed("a"))
    other = await alice.post("/pantry-items/me", RICE, headers=keyed("b"))

    assert (first.status_code, second.status_code) == (201, 201)
    assert second.content == first.content
    assert (REPLAYED in first.headers, second.headers[REPLAYED]) == (False, "true")
    for name in ("etag", "content-type"):
        assert second.headers[name] == first.headers[name]
    assert second.headers["x-correlation-id"] != first.headers["x-correlation-id"]
    assert other.json()["id"] != first.json()["id"]
    assert len(await alice.read("/pantry-items/me")) == 2


async def test_fifty_requests_at_once_create_one_row_and_get_one_response(alice):
    responses = await asyncio.gather(
        *(alice.post("/pantry-items/me", RICE, headers=keyed("a")) for _ in range(50))
    )

    assert {response.status_code for response in responses} == {201}
    assert len({response.content for response in responses}) == 1
    assert sum(REPLAYED in response.headers for response in responses) == 49
    assert len(await alice.read("/pantry-items/me")) == 1


async def test_a_different_request_with_a_used_key_is_refused(alice):
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


async def test_keys_belong_to_one_user_and_one_route(alice, kitchen):
    bob = await kitchen.person("Bob")

    responses = [
        await alice.post("/pantry-items/me", RICE, headers=keyed("a")),
        await bob.post("/pantry-items/me", RICE, headers=keyed("a")),
        await alice.post("/pantry-items", RICE, headers=keyed("a")),
    ]

    assert [response.status_code for response in responses] == [201] * 3
    assert not any(REPLAYED in response.headers for response in responses)
    assert len(await alice.read("/pantry-items/me")) == 2
    assert len(await bob.read("/pantry-items/me")) == 1


@pytest.mark.parametrize("key", ["", "x" * 256, "with blank", "with\ttab", "K\xfcche"])
async def test_a_malformed_key_is_refused(alice, key):
    headers = {"Idempotency-Key": key.encode("latin-1")}

    refused = await alice.post("/pantry-items/me", RICE, headers=headers)

    assert (refused.status_code, refused.json()["code"]) == (422, "bad_idempotency_key")
    assert await alice.read("/pantry-items/me") == []


async def test_refusals_that_a_retry_would_repeat_are_stored_too(alice, kitchen):
    bob = await kitchen.person("Bob")
    meal = await kitchen.meal(bob)
    await kitchen.ingredient(alice, "Egg")
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
        assert (REPLAYED in first.headers, REPLAYED in second.headers) == (False, True), path
        assert second.headers["content-type"] == "application/problem+json"
        assert first.status_code == status, first.text
        other = await alice.post(path, {**body, "x": 1}, headers=keyed(str(number)))
        assert other.json()["code"] == "idempotency_key_reused"


async def test_a_refused_request_stores_only_its_response(alice, db):
    new = {**MEAL, "familyId": 99999}

    refused = await alice.post("/meals/me", new, headers=keyed("a"))

    assert refused.status_code in (403, 404)
    assert await alice.read("/meals/me") == []
    async with db.read() as session:
        record = (await session.scalars(select(IdempotencyRecord))).one()
    assert (record.status, record.user_id) == (refused.status_code, alice.id)


async def test_failures_that_a_retry_may_fix_are_not_stored(client, alice):
    account = {"email": alice.user["email"], "password": "wrong" + PASSWORD}
    for _ in range(2):
        refused = await client.post("/auth/login", json=account, headers=keyed("a"))
        assert (refused.status_code, REPLAYED in refused.headers) == (401, False)
    unauthenticated = {"Authorization": "Bearer null", **keyed("b")}
    assert (
        await client.post("/pantry-items/me", json=RICE, headers=unauthenticated)
    ).status_code == 401
    assert (await alice.post("/pantry-items/me", RICE, headers=keyed("b"))).status_code == 201
    json_headers = keyed("c", **{"Content-Type": "application/json"})
    broken = await alice.request("POST", "/pantry-items", content=b"{", headers=json_headers)
    assert broken.status_code == 422
    assert (await alice.post("/pantry-items", RICE, headers=keyed("c"))).status_code == 201


async def test_a_failed_first_attempt_leaves_nothing_behind(app, client, alice):
    attempts = []

    async def rename(session: DbSession) -> Ok:
        await session.execute(text("UPDATE users SET name = name || '!'"))
        attempts.append(1)
        if len(attempts) == 1:
            raise RuntimeError("a bug")
        if len(attempts) == 2:
            raise Unavailable
        return Ok()

    app.app.router.add_api_route("/rename", rename, methods=["POST"], route_class_override=Route)

    responses = [await client.post("/rename", headers=keyed("a")) for _ in range(4)]

    assert [response.status_code for response in responses] == [500, 503, 200, 200]
    assert [REPLAYED in response.headers for response in responses] == [False, False, False, True]
    assert len(attempts) == 3
    assert (await alice.read("/users/me"))["name"] == "Alice!"


async def test_a_response_of_more_than_256_kb_is_not_stored_but_its_work_is_done_once(alice, db):
    created = await alice.post_ok("/grocery-lists", {"scope": "personal", "title": "Notes"})
    path = f"/grocery-lists/{created['id']}"
    food = await alice.post_ok("/ingredients", {"name": "odd food"})
    for _ in range(15):
        item = {"ingredient_id": food["id"], "note": "x" * 20_000}
        await alice.post_ok(f"{path}/items", item)

    first = await alice.post(f"{path}/sync-pantry", headers=keyed("large"))
    second = await alice.post(f"{path}/sync-pantry", headers=keyed("large"))

    assert (first.status_code, len(first.content) > 256 * 1024) == (200, True)
    assert (second.status_code, second.json()["code"]) == (409, "response_not_stored")
    assert f"Please read {path} to see" in second.json()["detail"]
    async with db.read() as session:
        largest = await session.scalar(select(func.max(func.length(IdempotencyRecord.sealed))))
    assert largest < 10_000
