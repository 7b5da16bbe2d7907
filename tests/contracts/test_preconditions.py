"""Every resource has an ETag, and every write on it can be meant for one state of it only."""

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
from tests.support.role_world import World, build

ROUTES = [route for route in _routes() if isinstance(route, Route)]
SYSTEM = {"/", "/health", "/ready", "/metrics", "/docs", "/docs/assets/{name}"}
NO_ETAG = {
    "/files/{bucket}/{path:path}": "a file never changes: another picture has another name",
}
# Writes that are about nothing that could be read at their own address, or above it.
ABOUT_NOTHING = {
    "PUT /files/{bucket}/{path:path}": "a signed link says what may be written, and once",
    "PATCH /memberships/{id}/role": "the old way; by /families/{family_id}/members it is honoured",
    "DELETE /memberships/{id}": "the old way, as above",
    "POST /families/join": "whoever joins has not read the family",
    "POST /meal-share-requests/{id}/respond": "an offer is answered once: 400 the second time",
    "DELETE /meal-share-requests/{id}": "an offer is taken back once, and only while it waits",
    "POST /grocery-lists/add-from-recipe": "the list is named in the body, or is made",
    "POST /grocery-lists/rebuild-from-meal-plan/{plan_id}": "about the plan's list; by the list's "
    "own address it is honoured",
    "POST /notifications/mark-all-read": "all of them, whatever they are",
    "DELETE /notifications/read/all": "all of them, whatever they are",
    "DELETE /notifications/all": "all of them, whatever they are",
}
# They make something, answer a question, or are about a sign-in.
MAKING = {
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
# The ETag that the resource has after the write comes with these answers.
TELLING = {name for name, r in WRITES.items() if r.shows_resource or r.returns_resource}
TELLING -= {"POST /grocery-lists/{id}/items"}  # it tells that of the line, which it has made
# What the world's requests would leave as it is is sent with something else.
OTHERWISE = {"PUT /meal-plans/{id}/slots/{day}/{slot}": {"json": {"meals": [], "notes": "Out"}}}
CHANGES_NOTHING = {"PATCH /notifications/{id}/unread", "POST /meals/{id}/attach-family"}
MADE = {
    route.path: place
    for route in ROUTES
    if route.status_code == 201
    and (place := route.path.removesuffix("/me").replace("/{id}/items", "/items"))
    and f"{place}/{{id}}" in READS
}


def request_of(world, write):
    """As the world sends it, with a name of its own where something is named."""
    sent = OTHERWISE.get(name_of(write)) or world.request(write.method, write.path)
    return json.loads(json.dumps(sent).replace('"New"', json.dumps(f"By {name_of(write)}")))


def test_every_write_is_about_a_resource_or_there_is_a_reason_why_not():
    others = {
        name_of(route)
        for route in ROUTES
        if route.method != "GET" and route.resource is None and "/auth/" not in route.path
    }

    assert len(WRITES) > 40
    assert {name for name in others if name.removeprefix("POST ") not in MAKING} == set(
        ABOUT_NOTHING
    )
    for name in WRITES.keys() - TELLING:
        route = WRITES[name]
        returned = route.response_model
        assert route.method == "DELETE" or returned is None or "POST" in name, name


def at(write, path):
    """Where the resource of a write stands that is sent to this path."""
    pattern, _, convertors = compile_path(write.path)
    found = pattern.match(path).groupdict()
    return write.resource.path.format(**{n: found[n] for n in convertors if n in found})


@pytest.fixture(scope="module")
def built(sqlite_template, tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    path = folder / "freshly.db"
    path.write_bytes(sqlite_template.read_bytes())

    async def make():
        settings = settings_for(f"sqlite:///{path}", folder)
        async with running(settings) as app, client_of(app) as client:
            (await build(client)).save(folder / "world.json")

    asyncio.run(make())
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return folder


@pytest.fixture
def settings(database_url, tmp_path):
    """Fifty at once are patient, however slow the machine."""
    sizes = {"database_pool_size": 10, "database_max_overflow": 15}
    return settings_for(database_url, tmp_path, database_pool_timeout=30, **sizes)


@pytest.fixture
async def fresh(built, tmp_path):
    """Somebody who owns one of everything, in a copy of the world of their own."""
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
async def test_whatever_can_be_read_has_an_etag_and_is_not_sent_twice(fresh, path):
    world, client = fresh
    where, options = world.path(path), world.request("GET", path)

    first = await client.get(where, **options)
    assert first.status_code == 200, first.text
    tag = first.headers["etag"]
    assert len(tag.strip('"')) == 32
    again = await client.get(where, **options, headers={"If-None-Match": f'"other", {tag}'})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    weak = await client.get(where, **options, headers={"If-None-Match": f"W/{tag}"})
    assert weak.status_code == 304
    other = await client.get(where, **options, headers={"If-None-Match": '"other"'})
    assert (other.status_code, other.content) == (200, first.content)


@pytest.mark.parametrize("operation", sorted(WRITES))
async def test_a_write_for_another_state_is_refused_and_for_this_one_done(fresh, operation):
    world, client = fresh
    write = WRITES[operation]
    path, options = world.path(write.path), request_of(world, write)
    resource = at(write, path)
    before = await client.get(resource)
    tag = before.headers["etag"]

    async def sent(wanted):
        return await client.request(write.method, path, **options, headers={"If-Match": wanted})

    for stale in ('"stale"', f"W/{tag}", f'"{tag}"x', ""):
        refused = await sent(stale)
        assert refused.status_code == 412, (stale, refused.text)
        assert refused.json()["code"] == "precondition_failed"
        assert (await client.get(resource)).content == before.content

    done = await sent(f'"stale", {tag}')
    assert done.status_code < 300, done.text
    after = await client.get(resource)
    if operation in TELLING:
        assert done.headers["etag"] == after.headers["etag"]
    if write.method in ("PATCH", "PUT") and operation not in CHANGES_NOTHING:
        assert after.headers["etag"] != tag


@pytest.mark.parametrize("operation", sorted(WRITES))
async def test_any_state_will_do_for_a_star_and_without_a_word(fresh, operation):
    world, client = fresh
    write = WRITES[operation]
    path, options = world.path(write.path), request_of(world, write)

    done = await client.request(write.method, path, **options, headers={"If-Match": "*"})

    assert done.status_code < 300, done.text


@pytest.mark.parametrize("path", sorted(MADE))
async def test_what_is_made_comes_with_its_etag(fresh, path):
    world, client = fresh

    made = await client.post(world.path(path), **world.request("POST", path))

    assert made.status_code == 201, made.text
    read = await client.get(f"{MADE[path]}/{made.json()['id']}")
    assert made.headers["etag"] == read.headers["etag"]


async def test_of_many_writes_for_one_state_one_is_done(client):
    """On both databases, each write at once with itself: the locks are where they must be."""
    world = await build(client)
    client.headers.update(world.headers["owner"])
    changing = {
        name: write
        for name, write in WRITES.items()
        if name in TELLING - CHANGES_NOTHING and write.method != "DELETE"
    }
    for name in sorted(changing):
        write = changing[name]
        path, options = world.path(write.path), request_of(world, write)
        tag = (await client.get(at(write, path))).headers["etag"]
        sends = [
            client.request(write.method, path, **options, headers={"If-Match": tag})
            for _ in range(8)
        ]

        statuses = [answer.status_code for answer in await asyncio.gather(*sends)]

        assert sorted(statuses)[1:] == [412] * 7, (name, statuses)
        assert min(statuses) < 300, (name, statuses)


async def test_a_browser_may_read_what_a_client_needs(client):
    origin = {"Origin": "http://localhost:3000"}

    exposed = (await client.get("/health", headers=origin)).headers["access-control-expose-headers"]

    assert {"ETag", "Link", "Retry-After", "Idempotency-Replayed"} <= set(exposed.split(", "))


def test_a_link_stays_the_same_within_an_hour():
    link, _ = SignedUrls("", UrlSigner("secret")).signed(
        "chat-images", "a.jpg", PICTURE_LINK_LIFETIME
    )

    expires = int(parse_qs(urlsplit(link).query)["expires"][0])
    assert expires % 3600 == 0
    assert 24 <= (expires - time.time()) / 3600 <= 25


async def shopping(kitchen):
    """Somebody with a list of one line."""
    alice = await kitchen.person("Alice")
    rice = await kitchen.ingredient(alice, "Rice of ours")
    made = await alice.post_ok("/grocery-lists", {"scope": "personal"})
    db = await kitchen.unit_ids(alice)
    line = {"ingredient_id": rice["id"], "quantity": 2, "unit_id": db["kg"]}
    item = await alice.post_ok(f"/grocery-lists/{made['id']}/items", line)
    return alice, f"/grocery-lists/items/{item['id']}"


async def test_fifty_toggles_at_once_add_up(kitchen):
    alice, item = await shopping(kitchen)

    toggled = await asyncio.gather(*(alice.post(f"{item}/check") for _ in range(51)))

    assert {answer.status_code for answer in toggled} == {200}
    assert sum(answer.json()["checked"] for answer in toggled) == 26
    assert (await alice.read(item))["checked"] is True


async def test_of_fifty_toggles_of_one_state_one_is_done(kitchen):
    alice, item = await shopping(kitchen)
    read = await alice.get(item)
    wanted = {"If-Match": read.headers["etag"]}

    toggled = await asyncio.gather(
        *(alice.post(f"{item}/check", headers=wanted) for _ in range(50))
    )

    assert sorted(answer.status_code for answer in toggled) == [200] + [412] * 49
    assert (await alice.read(item))["checked"] is True


@pytest.mark.parametrize("meant_for_one_state", [True, False])
async def test_fifty_purchases_at_once_fill_the_pantry_once(kitchen, meant_for_one_state):
    alice, item = await shopping(kitchen)
    read = await alice.get(item)
    wanted = {"If-Match": read.headers["etag"]} if meant_for_one_state else {}

    bought = await asyncio.gather(
        *(alice.post(f"{item}/purchased", headers=wanted) for _ in range(50))
    )

    done = sum(answer.status_code == 200 for answer in bought)
    assert done == (1 if meant_for_one_state else 50)
    [stock] = await alice.read("/pantry-items/me")
    assert float(stock["quantity"]) == 2.0


async def test_a_key_and_a_state_go_together(kitchen):
    alice, item = await shopping(kitchen)
    tag = (await alice.get(item)).headers["etag"]

    async def toggled(key, wanted):
        headers = {"Idempotency-Key": key, "If-Match": wanted}
        return await alice.post(f"{item}/check", headers=headers)

    first, again = await toggled("a", tag), await toggled("a", tag)
    stale = await toggled("b", tag)
    anew = await toggled("b", first.headers["etag"])

    assert [one.status_code for one in (first, again, stale, anew)] == [200, 200, 412, 200]
    assert again.headers["etag"] == first.headers["etag"] != anew.headers["etag"]
    assert (await alice.read(item))["checked"] is False


async def test_a_database_that_goes_while_the_tag_is_read_undoes_the_write(kitchen, monkeypatch):
    alice = await kitchen.person("Alice")
    meal = await kitchen.meal(alice)
    tag = (await alice.get(f"/meals/{meal['id']}")).headers["ETag"]

    async def fail(*_):
        raise OperationalError("SELECT", None, ConnectionResetError(), connection_invalidated=True)

    monkeypatch.setattr(MealService, "get", fail)
    made = await alice.post("/meals/me", MEAL)
    changed = await alice.put(
        f"/meals/{meal['id']}", {**MEAL, "name": "Another"}, headers={"If-Match": tag}
    )
    monkeypatch.undo()

    for refused in (made, changed):
        assert refused.status_code == 503
        assert "Retry-After" in refused.headers
    assert [one["name"] for one in await alice.read("/meals/me")] == [meal["name"]]
