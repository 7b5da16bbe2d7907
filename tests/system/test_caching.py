"""Service reads are cached, and a commit invalidates each entry that it changes."""

import asyncio
import json
from dataclasses import dataclass
from functools import partial

import pytest
from pydantic import TypeAdapter
from sqlalchemy import delete, event
from sqlalchemy.exc import OperationalError

from freshly.domains.account.jobs import WarmUp
from freshly.domains.families.repository import MY_FAMILIES
from freshly.domains.families.schemas import FamilyRead
from freshly.domains.grocery.schemas import GroceryListRead
from freshly.domains.meal_plans.schemas import MealPlanRead
from freshly.domains.meals.schemas import MealBoth
from freshly.domains.pantry.schemas import PantryItemRead
from freshly.domains.users.models import User
from tests.support.api import Person
from tests.support.sql_statements import Statements

HOT = {
    "/pantry-items/me": PantryItemRead,
    "/meals/me": MealBoth,
    "/grocery-lists/me": GroceryListRead,
    "/families": FamilyRead,
    "/meal-plans/me": MealPlanRead,
}


@dataclass
class Home:
    alice: Person
    bob: Person
    family: dict


@pytest.fixture
async def home(kitchen):
    alice, bob = await kitchen.person("Alice"), await kitchen.person("Bob")
    return Home(alice, bob, await kitchen.family(alice, bob))


@pytest.mark.parametrize("path", HOT)
async def test_a_cached_read_runs_no_sql_and_returns_the_same_bytes(home, path):
    first = await home.alice.get(path)
    with Statements() as sent:
        second = await home.alice.get(path)

    assert sent.number == 0
    assert (second.status_code, second.content) == (200, first.content)
    assert second.headers["ETag"] == first.headers["ETag"]


@pytest.fixture
async def full_home(home, kitchen):
    """Rows of every kind, with and without their optional fields."""
    alice, family = home.alice, {"family_id": home.family["id"]}
    await kitchen.stock(alice, "test rice", "1.5", "kg", expires_at="2030-01-01")
    await kitchen.stock(alice, "test äpple", 3, None)
    await kitchen.stock(alice, "test rice", 2, "kg", **family)
    await kitchen.meal(alice, [("rice", "1 cup")], familyId=family["family_id"], notes="“good”")
    await alice.post_ok("/meal-plans/me", {"week_start": "2030-01-07"})
    plan = {"week_start": "2030-01-07", "week_end": "2030-01-13", "title": "Our week", **family}
    await alice.post_ok("/meal-plans", plan)
    for scope in ({"scope": "personal", "title": "Market"}, {"scope": "family", **family}):
        created = await alice.post_ok("/grocery-lists", scope)
        items = f"/grocery-lists/{created['id']}/items"
        await alice.post_ok(items, {"ingredient_id": 1, "quantity": "0.25", "unit_id": 1})
        await alice.post_ok(items, {"ingredient_id": 2, "note": "ripe"})
    await alice.post_ok("/grocery-lists", {"scope": "personal"})
    return home


@pytest.mark.parametrize(
    ("path", "scope"),
    [
        *((path, "me") for path in HOT),
        *((path, "family") for path in ("/pantry-items/me", "/grocery-lists/me", "/meal-plans/me")),
    ],
)
async def test_a_list_has_exactly_the_members_of_its_schema(full_home, path, scope):
    of_family = f"{path.removesuffix('/me')}/family/{full_home.family['id']}"
    body = (await full_home.alice.get(path if scope == "me" else of_family)).content
    schema = TypeAdapter(list[HOT[path]])
    rows = schema.validate_json(body)

    assert rows
    # The members have the order and the format of the schema.
    read = partial(json.loads, object_pairs_hook=list)
    assert read(body) == read(schema.dump_json(rows, by_alias=True))


def failed(*, connection_invalidated):
    return OperationalError(
        "COMMIT", None, Exception(), connection_invalidated=connection_invalidated
    )


@pytest.mark.parametrize(
    ("error", "was_refused"),
    [
        (ConnectionResetError(), False),
        (failed(connection_invalidated=True), False),
        (failed(connection_invalidated=False), True),  # the database refused the commit
    ],
)
async def test_nothing_is_cached_while_the_outcome_of_a_commit_is_unknown(
    home, kitchen, db, error, was_refused
):
    item = await kitchen.stock(home.alice, "test rice", 1, "kg")
    await home.alice.read("/pantry-items/me")

    def fail(_connection):
        raise error

    event.listen(db.engine.sync_engine, "commit", fail)
    failed_change = await home.alice.patch(f"/pantry-items/{item['id']}", {"quantity": 2})
    event.remove(db.engine.sync_engine, "commit", fail)

    assert failed_change.status_code == (500 if was_refused else 503)
    await home.alice.read("/pantry-items/me")
    with Statements() as sent:
        await home.alice.read("/pantry-items/me")
    assert (sent.number == 0) is was_refused


async def test_the_etag_of_a_page_changes_when_another_page_follows(home, kitchen):
    for _ in range(2):
        await kitchen.stock(home.alice, "test rice", 1, "kg")
    first = await home.alice.get("/pantry-items/me?limit=2")
    await kitchen.stock(home.alice, "test rice", 1, "kg")
    again = await home.alice.get(
        "/pantry-items/me?limit=2", headers={"If-None-Match": first.headers["ETag"]}
    )

    assert "Link" not in first.headers
    assert (again.status_code, again.content) == (200, first.content)
    assert "Link" in again.headers


async def test_a_family_list_loaded_while_its_user_joins_does_not_stay_cached(home, kitchen, db):
    """The entry depends on the families that were known when the request began."""
    carol = await kitchen.person("Carol")
    assert await carol.read("/families") == []
    entered, joined = asyncio.Event(), asyncio.Event()
    fetch = db.fetch

    async def wait_for_the_join(query, **parameters):
        if query is MY_FAMILIES and not entered.is_set():
            entered.set()
            await joined.wait()
        return await fetch(query, **parameters)

    db.fetch = wait_for_the_join
    db.cache.__post_init__()  # empties the cache
    waiting = asyncio.create_task(carol.read("/families"))
    await entered.wait()
    code = {"invite_code": home.family["invite_code"]}
    assert (await carol.post("/families/join", code)).status_code == 200
    joined.set()
    assert len(await waiting) == 1
    left = await carol.delete(f"/families/{home.family['id']}/members/{carol.id}")
    assert left.status_code == 200, left.text

    assert await carol.read("/families") == []


async def test_a_client_with_the_current_etag_gets_304_without_a_body(home, kitchen):
    await kitchen.stock(home.alice, "test rice", 1, "kg")
    for path in HOT:
        first = await home.alice.get(path)
        tag = first.headers["ETag"]
        again = await home.alice.get(path, headers={"If-None-Match": tag})
        assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", tag), path


async def test_a_cached_response_is_compressed_if_the_client_accepts_gzip(home, kitchen):
    for n in range(20):
        await kitchen.stock(home.alice, f"test food {n}", 1, "kg")
    plain = await home.alice.get("/pantry-items/me", headers={"Accept-Encoding": "identity"})
    small = await home.alice.get("/pantry-items/me", headers={"Accept-Encoding": "gzip"})

    assert "Content-Encoding" not in plain.headers
    assert small.headers["Content-Encoding"] == "gzip"
    assert int(small.headers["Content-Length"]) < int(plain.headers["Content-Length"]) / 5
    assert small.json() == plain.json()
    assert "Accept-Encoding" in small.headers["Vary"]


async def test_each_write_to_a_pantry_is_visible_at_once(home, kitchen):
    alice, bob = home.alice, home.bob
    path = f"/pantry-items/family/{home.family['id']}"
    assert await bob.read(path) == []
    item = await kitchen.stock(alice, "test rice", 1, "kg", family_id=home.family["id"])
    assert [row["quantity"] for row in await bob.read(path)] == ["1.000"]
    await alice.patch(f"/pantry-items/{item['id']}", {"quantity": 3})
    assert [row["quantity"] for row in await bob.read(path)] == ["3.000"]
    await alice.delete(f"/pantry-items/{item['id']}")
    assert await bob.read(path) == []


async def test_each_write_to_a_shopping_list_is_visible_at_once(home, kitchen):
    alice, bob, family = home.alice, home.bob, home.family["id"]
    path = f"/grocery-lists/family/{family}"

    async def items():
        lists = await bob.read(path)
        return [(i["ingredient_name"], i["checked"], i["is_purchased"]) for i in lists[0]["items"]]

    assert await bob.read(path) == []
    created = await alice.post_ok("/grocery-lists", {"scope": "family", "family_id": family})
    assert await items() == []
    food = await kitchen.ingredient(alice, "test oats")
    own = f"/grocery-lists/{created['id']}"
    first = await alice.post_ok(f"{own}/items", {"ingredient_id": food["id"], "quantity": 2})
    second = await alice.post_ok(f"{own}/items", {"ingredient_id": food["id"], "quantity": 1})
    assert await items() == [("test oats", False, False)] * 2
    await alice.post(f"/grocery-lists/items/{first['id']}/check")
    assert await items() == [("test oats", True, False), ("test oats", False, False)]
    await alice.post(f"/grocery-lists/items/{second['id']}/mark-purchased")
    assert await items() == [("test oats", True, False), ("test oats", True, True)]
    assert len(await bob.read(f"/pantry-items/family/{family}")) == 1
    await alice.delete(f"{own}/items/checked")
    assert await items() == []
    await alice.patch(own, {"title": "Saturday"})
    assert [grocery_list["title"] for grocery_list in await bob.read(path)] == ["Saturday"]
    await alice.delete(own)
    assert await bob.read(path) == []


async def test_the_owner_of_a_family_list_is_shown_as_the_member_who_reads_it(home):
    family = home.family["id"]
    await home.bob.post_ok("/grocery-lists", {"scope": "family", "family_id": family})
    path = f"/grocery-lists/family/{family}"

    owners = [(await user.read(path))[0]["owner_user_id"] for user in (home.bob, home.alice)]
    assert owners == [home.bob.id, home.alice.id]
    await home.alice.patch(f"/families/{family}/members/{home.bob.id}/role", {"role": "owner"})
    await home.alice.delete(f"/families/{family}/members/{home.alice.id}")
    assert (await home.bob.read(path))[0]["owner_user_id"] == home.bob.id


async def test_each_write_to_a_meal_or_a_plan_is_visible_at_once(home, kitchen):
    meal = await kitchen.meal(home.alice, name="Pie")
    plan = await kitchen.plan(home.alice, home.family)
    assert [meal["name"] for meal in await home.alice.read("/meals/me")] == ["Pie"]
    assert len(await home.alice.read("/meal-plans/me")) == 1
    assert len(await home.bob.read(f"/meal-plans/family/{home.family['id']}")) == 1

    await home.alice.patch(f"/meals/me/{meal['id']}", {"name": "Cake"})
    assert [meal["name"] for meal in await home.alice.read("/meals/me")] == ["Cake"]
    await home.alice.delete(f"/meals/me/{meal['id']}")
    assert await home.alice.read("/meals/me") == []
    await home.alice.delete(f"/meal-plans/{plan['id']}")
    assert await home.alice.read("/meal-plans/me") == []
    assert await home.bob.read(f"/meal-plans/family/{home.family['id']}") == []


async def test_renaming_an_ingredient_shows_in_every_pantry_and_list(home, kitchen):
    alice, bob, family = home.alice, home.bob, home.family["id"]
    oats = await kitchen.ingredient(alice, "test oats", family_id=family)
    await alice.post_ok("/pantry-items", {"ingredient_id": oats["id"], "family_id": family})
    scope = {"scope": "family", "family_id": family}
    created = await alice.post_ok("/grocery-lists", scope)
    await alice.post_ok(f"/grocery-lists/{created['id']}/items", {"ingredient_id": oats["id"]})

    async def names():
        pantry = await bob.read(f"/pantry-items/family/{family}")
        [grocery_list] = await alice.read(f"/grocery-lists/family/{family}")
        return [item["ingredient_name"] for item in (*pantry, *grocery_list["items"])]

    assert await names() == ["test oats", "test oats"]
    renamed = await alice.patch(f"/ingredients/{oats['id']}", {"name": "test rolled oats"})
    assert renamed.status_code == 200, renamed.text
    assert await names() == ["test rolled oats", "test rolled oats"]
    assert (await alice.delete(f"/ingredients/{oats['id']}")).status_code == 409


async def test_family_lists_show_each_joining_leaving_and_deletion_at_once(home, kitchen):
    carol = await kitchen.person("Carol")

    async def count():
        return [family["count"] for family in await home.alice.read("/families")]

    assert await count() == [2]
    code = {"invite_code": home.family["invite_code"]}
    await carol.post_ok("/families/join", code, status=200)
    assert await count() == [3]
    assert [family["id"] for family in await carol.read("/families")] == [home.family["id"]]
    await carol.delete(f"/families/{home.family['id']}/members/{carol.id}")
    assert await count() == [2]
    assert await carol.read("/families") == []
    await home.bob.delete("/users/me")
    assert await count() == [1]
    await home.alice.delete(f"/families/{home.family['id']}")
    assert await count() == []


async def test_a_removed_member_is_refused_at_the_next_request(home):
    path = f"/pantry-items/family/{home.family['id']}"
    assert await home.bob.read(path) == []
    await home.alice.delete(f"/families/{home.family['id']}/members/{home.bob.id}")
    assert (await home.bob.get(path)).status_code == 403
    assert await home.bob.read("/families") == []


async def test_signing_out_ends_one_session_and_no_other(home, kitchen):
    phone = home.alice
    tokens = await kitchen.sign_in(phone.user["email"])
    tablet = {"Authorization": f"Bearer {tokens['access_token']}"}
    for headers in (phone.headers, tablet):
        response = await kitchen.client.get("/families", headers=headers)
        assert response.status_code == 200

    await phone.post("/auth/logout")

    assert (await phone.get("/families")).status_code == 401
    assert (await kitchen.client.get("/families", headers=tablet)).status_code == 200


async def test_deleting_an_account_ends_its_sessions_and_shows_in_family_lists(home):
    family = home.family["id"]
    await home.bob.post_ok("/grocery-lists", {"scope": "family", "family_id": family})
    lists = f"/grocery-lists/family/{family}"
    assert (await home.alice.read(lists))[0]["created_by_user_id"] == home.bob.id
    assert (await home.bob.get("/meals/me")).status_code == 200

    assert (await home.bob.delete("/users/me")).status_code == 204

    assert (await home.bob.get("/meals/me")).status_code == 401
    assert (await home.alice.read(lists))[0]["created_by_user_id"] is None


async def test_a_bulk_delete_of_a_user_shows_in_other_users_family_lists(home, db):
    """The rows that the database deletes by cascade invalidate their tags too."""
    before = (await home.alice.read("/families"))[0]
    async with db.write() as session:
        await session.execute(delete(User).where(User.id == home.bob.id))
    after = (await home.alice.read("/families"))[0]

    assert (before["count"], after["count"]) == (2, 1)
    assert (await home.bob.get("/families")).status_code == 401


async def test_a_refused_write_invalidates_nothing(home):
    await home.alice.get("/pantry-items/me")
    refused = await home.alice.post("/pantry-items", {"ingredient_id": 10**6})
    assert refused.status_code == 404
    with Statements() as sent:
        await home.alice.get("/pantry-items/me")
    assert sent.number == 0


async def test_a_warm_up_job_caches_the_lists_of_recent_users(full_home, db, jobs):
    await jobs.enqueue(WarmUp())
    db.cache.__post_init__()  # as after a restart

    await jobs.run_due()
    with Statements() as sent:
        for path in HOT:
            assert (await full_home.alice.get(path)).status_code == 200

    assert sent.number == 1  # for the caller
    assert [row.state for row in await jobs.rows("account.warm_up")] == ["done"]
