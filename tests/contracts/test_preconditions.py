"""Every resource has an ETag, and every write to it can require one with If-Match."""

import asyncio
import json
import sqlite3
import time
from contextlib import closing
from urllib.parse import parse_qs, urlsplit

import pytest
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError
from starlette.routing import compile_path

from freshly.app import _routes
from freshly.chassis.data.engine import create_engine
from freshly.chassis.data.transactions import Database
from freshly.chassis.security.signed_urls import SignedUrls, UrlSigner
from freshly.chassis.web.preconditions import Route
from freshly.domains.chat.service import PICTURE_LINK_LIFETIME
from freshly.domains.meals.service import MealService
from tests.conftest import client_of, running, settings_for
from tests.support.api import MEAL
from tests.support.role_world import World, build, make_administrator

ROUTES = [route for route in _routes() if isinstance(route, Route)]
SYSTEM = {"/", "/favicon.ico", "/health", "/ready", "/metrics", "/docs", "/docs/assets/{name}"}
NO_ETAG = {
    "/files/{bucket}/{path:path}": "a file never changes; a new picture gets a new name",
    "/users/me/exports/{name}": "an export never changes, and no client may keep it",
    "/auth/link": "a page that no client may keep",
    "/auth/sign-up": "a page that no client may keep",
    "/invitations": "public, and read once",
}
# Writes without a resource that a client could read at their own path or above it.
WITHOUT_RESOURCE = {
    "PUT /files/{bucket}/{path:path}": "a signed link allows one write of one file",
    "PATCH /memberships/{id}/role": "older path; /families/{family_id}/members honours If-Match",
    "DELETE /memberships/{id}": "older path, as above",
    "POST /families/join": "a user who joins has not read the family",
    "POST /meal-share-requests/{id}/respond": "an offer is answered once; the second time is 400",
    "DELETE /meal-share-requests/{id}": "an offer is withdrawn once, while it is pending",
    "POST /grocery-lists/add-from-recipe": "the body names the list, or the call creates it",
    "POST /grocery-lists/rebuild-from-meal-plan/{plan_id}": "writes to the plan's list; the list's "
    "own path honours If-Match",
    "POST /notifications/mark-all-read": "all notifications, in any state",
    "DELETE /notifications/read/all": "all notifications, in any state",
    "DELETE /notifications/all": "all notifications, in any state",
}
# POSTs that create something, return a result, or sign in.
CREATING = {
    *("/families", "/ingredients", "/pantry-items", "/pantry-items/me", "/recipes", "/meals/me"),
    *("/meal-plans", "/meal-plans/me", "/grocery-lists", "/meal-share-requests"),
    *("/chat", "/chat/stream", "/chat/conversations", "/chat/legacy", "/chat/generate-image"),
    *("/chat/scan-grocery", "/chat/scan-grocery-proxy", "/grocery-lists/ingredients/normalize"),
    *("/storage/avatar/proxy", "/storage/avatar/signed_url", "/users/me/export"),
}


def name_of(route):
    return f"{route.method} {route.path}"


WRITES = {name_of(route): route for route in ROUTES if route.resource is not None}
READS = {
    route.path: route
    for route in ROUTES
    if route.method == "GET" and route.path not in SYSTEM | NO_ETAG.keys()
}
# Writes whose response has the ETag that the resource has afterwards.
SENDING_ETAG = {name for name, r in WRITES.items() if r.shows_resource or r.returns_resource}
SENDING_ETAG -= {"POST /grocery-lists/{id}/items"}  # sends the ETag of the new item instead
# Requests in place of those that would change nothing.
CHANGED_REQUESTS = {
    "PUT /meal-plans/{id}/slots/{day}/{slot}": {"json": {"meals": [], "notes": "Out"}}
}
CHANGES_NOTHING = {
    *("PATCH /notifications/{id}/unread", "POST /meals/{id}/attach-family"),
    *("POST /admin/accounts/{id}/restore", "POST /admin/accounts/{id}/sign-out"),
}
COLLECTION_PATHS = {
    route.path: place
    for route in ROUTES
    if route.status_code == 201
    and (place := route.path.removesuffix("/me").replace("/{id}/items", "/items"))
    and f"{place}/{{id}}" in READS
}


def request_of(world, write):
    """Return the request of the world, with a unique name if it names something."""
    options = CHANGED_REQUESTS.get(name_of(write)) or world.request(write.method, write.path)
    return json.loads(json.dumps(options).replace('"New"', json.dumps(f"By {name_of(write)}")))


def test_every_write_has_a_resource_or_a_reason_for_having_none():
    others = {
        name_of(route)
        for route in ROUTES
        if route.method not in ("GET", "HEAD")
        and route.resource is None
        and "/auth/" not in route.path
    }

    assert len(WRITES) > 40
    assert {name for name in others if name.removeprefix("POST ") not in CREATING} == set(
        WITHOUT_RESOURCE
    )
    for name in WRITES.keys() - SENDING_ETAG:
        route = WRITES[name]
        returned = route.response_model
        assert route.method == "DELETE" or returned is None or "POST" in name, name


def resource_path(write, path):
    """Return the path of the resource that a write to this path changes."""
    pattern, _, convertors = compile_path(write.path)
    values = pattern.match(path).groupdict()
    return write.resource.path.format(**{n: values[n] for n in convertors if n in values})


@pytest.fixture(scope="module")
def built(sqlite_template, tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    path = folder / "freshly.db"
    path.write_bytes(sqlite_template.read_bytes())

    async def create_world():
        settings = settings_for(f"sqlite:///{path}", folder)
        async with running(settings) as app, client_of(app) as client:
            world = await build(client)
            await make_administrator(app.resources.db, world.ids["owner"])
            headers = world.headers["owner"]
            invited = await client.post("/admin/invitations", json={}, headers=headers)
            world.ids["admin/invitations"] = invited.json()["id"]
            world.save(folder / "world.json")

    asyncio.run(create_world())
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return folder


@pytest.fixture
def settings(database_url, tmp_path):
    sizes = {"database_pool_size": 10, "database_max_overflow": 15}
    return settings_for(database_url, tmp_path, **sizes)


@pytest.fixture
async def fresh(built, tmp_path):
    """A copy of the world, and a client signed in as its owner, who owns one row of every kind."""
    world, path = World.load(built / "world.json"), tmp_path / "freshly.db"
    path.write_bytes((built / "freshly.db").read_bytes())
    settings = settings_for(f"sqlite:///{path}", tmp_path)
    async with running(settings) as app, client_of(app) as client:
        engine = create_engine(make_url(f"sqlite+aiosqlite:///{path}"))
        app.replace(db=Database(engine))
        client.headers.update(world.headers["owner"])
        world.ids["jobs"] = (await client.post("/users/me/export")).json()["id"]
        yield world, client
        await engine.dispose()


@pytest.mark.parametrize("path", sorted(READS))
async def test_every_resource_has_an_etag_and_is_not_sent_to_a_client_that_has_it(fresh, path):
    world, client = fresh
    url, options = world.path(path), world.request("GET", path)

    first = await client.get(url, **options)
    assert first.status_code == 200, first.text
    tag = first.headers["etag"]
    assert len(tag.strip('"')) == 32
    again = await client.get(url, **options, headers={"If-None-Match": f'"other", {tag}'})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    weak = await client.get(url, **options, headers={"If-None-Match": f"W/{tag}"})
    assert weak.status_code == 304
    other = await client.get(url, **options, headers={"If-None-Match": '"other"'})
    assert (other.status_code, other.content) == (200, first.content)


@pytest.mark.parametrize("operation", sorted(WRITES))
async def test_a_write_with_a_stale_etag_is_refused_and_with_the_current_one_done(fresh, operation):
    world, client = fresh
    write = WRITES[operation]
    path, options = world.path(write.path), request_of(world, write)
    resource = resource_path(write, path)
    before = await client.get(resource)
    tag = before.headers["etag"]

    async def send(etags):
        return await client.request(write.method, path, **options, headers={"If-Match": etags})

    for stale in ('"stale"', f"W/{tag}", f'"{tag}"x', ""):
        refused = await send(stale)
        assert refused.status_code == 412, (stale, refused.text)
        assert refused.json()["code"] == "precondition_failed"
        assert (await client.get(resource)).content == before.content

    done = await send(f'"stale", {tag}')
    assert done.status_code < 300, done.text
    after = await client.get(resource)
    if operation in SENDING_ETAG:
        assert done.headers["etag"] == after.headers["etag"]
    if write.method in ("PATCH", "PUT") and operation not in CHANGES_NOTHING:
        assert after.headers["etag"] != tag


@pytest.mark.parametrize("operation", sorted(WRITES))
async def test_a_write_with_a_star_as_etag_is_always_done(fresh, operation):
    world, client = fresh
    write = WRITES[operation]
    path, options = world.path(write.path), request_of(world, write)

    done = await client.request(write.method, path, **options, headers={"If-Match": "*"})

    assert done.status_code < 300, done.text


@pytest.mark.parametrize("path", sorted(COLLECTION_PATHS))
async def test_a_created_resource_comes_with_its_etag(fresh, path):
    world, client = fresh

    created = await client.post(world.path(path), **world.request("POST", path))

    assert created.status_code == 201, created.text
    read = await client.get(f"{COLLECTION_PATHS[path]}/{created.json()['id']}")
    assert created.headers["etag"] == read.headers["etag"]


async def test_only_one_of_eight_concurrent_writes_with_one_etag_is_done(client, db):
    """On both databases, each write locks its resource before it compares the ETag."""
    world = await build(client)
    await make_administrator(db, world.ids["owner"])
    client.headers.update(world.headers["owner"])
    changing = {
        name: write
        for name, write in WRITES.items()
        if name in SENDING_ETAG - CHANGES_NOTHING and write.method != "DELETE"
    }
    for name in sorted(changing):
        write = changing[name]
        path, options = world.path(write.path), request_of(world, write)
        tag = (await client.get(resource_path(write, path))).headers["etag"]
        requests = [
            client.request(write.method, path, **options, headers={"If-Match": tag})
            for _ in range(8)
        ]

        statuses = [response.status_code for response in await asyncio.gather(*requests)]

        assert sorted(statuses)[1:] == [412] * 7, (name, statuses)
        assert min(statuses) < 300, (name, statuses)


async def test_browsers_may_read_the_headers_that_clients_need(client):
    origin = {"Origin": "http://localhost:3000"}

    exposed = (await client.get("/health", headers=origin)).headers["access-control-expose-headers"]

    assert {"ETag", "Link", "Retry-After", "Idempotency-Replayed"} <= set(exposed.split(", "))


def test_a_signed_link_stays_the_same_within_an_hour():
    link, _ = SignedUrls("", UrlSigner("secret")).signed(
        "chat-images", "a.jpg", PICTURE_LINK_LIFETIME
    )

    expires = int(parse_qs(urlsplit(link).query)["expires"][0])
    assert expires % 3600 == 0
    assert 24 <= (expires - time.time()) / 3600 <= 25


async def create_list_item(kitchen):
    """Create a user with a shopping list of one item, and return the user and the item's path."""
    alice = await kitchen.person("Alice")
    rice = await kitchen.ingredient(alice, "Rice of ours")
    created = await alice.post_ok("/grocery-lists", {"scope": "personal"})
    units = await kitchen.unit_ids(alice)
    new_item = {"ingredient_id": rice["id"], "quantity": 2, "unit_id": units["kg"]}
    item = await alice.post_ok(f"/grocery-lists/{created['id']}/items", new_item)
    return alice, f"/grocery-lists/items/{item['id']}"


async def test_each_of_fifty_one_concurrent_toggles_takes_effect(kitchen):
    alice, item = await create_list_item(kitchen)

    toggled = await asyncio.gather(*(alice.post(f"{item}/check") for _ in range(51)))

    assert {response.status_code for response in toggled} == {200}
    assert sum(response.json()["checked"] for response in toggled) == 26
    assert (await alice.read(item))["checked"] is True


async def test_only_one_of_fifty_toggles_with_one_etag_is_done(kitchen):
    alice, item = await create_list_item(kitchen)
    read = await alice.get(item)
    headers = {"If-Match": read.headers["etag"]}

    toggled = await asyncio.gather(
        *(alice.post(f"{item}/check", headers=headers) for _ in range(50))
    )

    assert sorted(response.status_code for response in toggled) == [200] + [412] * 49
    assert (await alice.read(item))["checked"] is True


@pytest.mark.parametrize("with_etag", [True, False])
async def test_fifty_concurrent_purchases_fill_the_pantry_once(kitchen, with_etag):
    alice, item = await create_list_item(kitchen)
    read = await alice.get(item)
    headers = {"If-Match": read.headers["etag"]} if with_etag else {}

    bought = await asyncio.gather(
        *(alice.post(f"{item}/purchased", headers=headers) for _ in range(50))
    )

    done = sum(response.status_code == 200 for response in bought)
    assert done == (1 if with_etag else 50)
    [stock] = await alice.read("/pantry-items/me")
    assert float(stock["quantity"]) == 2.0


async def test_an_idempotency_key_and_an_etag_work_together(kitchen):
    alice, item = await create_list_item(kitchen)
    tag = (await alice.get(item)).headers["etag"]

    async def toggle(key, etag):
        headers = {"Idempotency-Key": key, "If-Match": etag}
        return await alice.post(f"{item}/check", headers=headers)

    first, repeated = await toggle("a", tag), await toggle("a", tag)
    stale = await toggle("b", tag)
    current = await toggle("b", first.headers["etag"])

    statuses = [response.status_code for response in (first, repeated, stale, current)]
    assert statuses == [200, 200, 412, 200]
    assert repeated.headers["etag"] == first.headers["etag"] != current.headers["etag"]
    assert (await alice.read(item))["checked"] is False


async def test_losing_the_database_while_the_new_etag_is_read_undoes_the_write(
    kitchen, monkeypatch
):
    alice = await kitchen.person("Alice")
    meal = await kitchen.meal(alice)
    tag = (await alice.get(f"/meals/{meal['id']}")).headers["ETag"]

    async def fail(*_):
        raise OperationalError("SELECT", None, ConnectionResetError(), connection_invalidated=True)

    monkeypatch.setattr(MealService, "get", fail)
    created = await alice.post("/meals/me", MEAL)
    changed = await alice.put(
        f"/meals/{meal['id']}", {**MEAL, "name": "Another"}, headers={"If-Match": tag}
    )
    monkeypatch.undo()

    for refused in (created, changed):
        assert refused.status_code == 503
        assert "Retry-After" in refused.headers
    assert [row["name"] for row in await alice.read("/meals/me")] == [meal["name"]]
