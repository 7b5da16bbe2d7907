"""Somebody who has no business here, on every route that takes an id."""

import pytest

from freshly.app import create_app
from tests.conftest import settings_for
from tests.kitchen import MEAL
from tests.test_guards import routes_of

# Everybody's, by design.
PUBLIC_THINGS = {"/ingredients/{id}", "/units/{id}", "/files/{bucket}/{path:path}"}
# What a stranger's request needs besides, so that it is refused for whose row it is.
BODIES = {
    "role": {"role": "member"},
    "slots": {"meals": []},
    "attach-family": {"familyId": 1},
    "remove-item": {"item_id": 1},
    "items": {"ingredient_id": 1},
    "meals": MEAL,
}
METHODS = {"GET", "POST", "PUT", "PATCH", "DELETE"}


def routes_with_ids(tmp_path):
    app = create_app(settings_for("sqlite://", tmp_path))
    found = sorted(
        (route.path, method)
        for route in routes_of(app)
        for method in route.methods & METHODS
        if "{" in route.path and route.path not in PUBLIC_THINGS
    )
    assert len(found) > 40
    return found


@pytest.fixture
async def house(kitchen):
    """One of everything, all of it Alice's."""
    alice = await kitchen.person("Alice")
    bob = await kitchen.person("Bob")
    family = await kitchen.family(alice, bob)
    meal = await kitchen.meal(alice, [("egg", "2"), ("salt", "to taste")], familyId=family["id"])
    plan = await kitchen.plan(alice, family)
    await kitchen.planned(alice, plan, 0, "dinner", meal)
    item = await kitchen.stock(alice, "Secret Sauce", 1, "l", family_id=family["id"])
    path = f"/grocery-lists/rebuild-from-meal-plan/{plan['id']}"
    shopping = (await alice.made(path, status=200))["grocery_list"]
    members = await alice.read(f"/families/{family['id']}/members")
    ids = {
        "families": family["id"],
        "memberships": members[0]["id"],
        "meals": meal["id"],
        "meal-plans": plan["id"],
        "pantry-items": item["id"],
        "grocery-lists": shopping["id"],
        "items": shopping["items"][0]["id"],
        "user": bob.id,
        "chat": await conversation_of(alice),
    }
    return alice, ids


async def conversation_of(person):
    return (await person.made("/chat/conversations", {"title": "Secret"}, status=200))["id"]


def filled(path, ids):
    """The path with the ids of what is Alice's."""
    parts = path.strip("/").split("/")
    what = parts[0]
    for place, part in enumerate(parts):
        if part == "{family_id}":
            parts[place] = str(ids["families"])
        elif part == "{user_id}":
            parts[place] = str(ids["user"])
        elif part == "{plan_id}":
            parts[place] = str(ids["meal-plans"])
        elif part == "{day}":
            parts[place] = "0"
        elif part == "{slot}":
            parts[place] = "dinner"
        elif part == "{id}":
            parts[place] = str(ids["items" if parts[place - 1] == "items" else what])
    assert "{" not in "/".join(parts), path
    return "/" + "/".join(parts)


def body_for(path, method):
    if method not in ("POST", "PUT", "PATCH"):
        return {"item_id": 1} if path.endswith("remove-item") else None
    known = [body for end, body in BODIES.items() if f"/{end}" in path]
    return known[0] if known else {}


async def snapshot(alice, ids):
    return [
        await alice.read(path)
        for path in (
            f"/families/{ids['families']}",
            f"/families/{ids['families']}/members",
            f"/pantry-items/family/{ids['families']}",
            f"/grocery-lists/{ids['grocery-lists']}",
            f"/meal-plans/{ids['meal-plans']}/slots",
            f"/meals/{ids['meals']}",
        )
    ]


async def test_a_stranger_is_refused_everywhere_and_changes_nothing(house, kitchen, tmp_path):
    alice, ids = house
    mallory = await kitchen.person("Mallory")
    before = await snapshot(alice, ids)
    let_in = []

    for path, method in routes_with_ids(tmp_path):
        query = {"title": "x"} if path.endswith("/title") else None
        body = body_for(path, method)
        answer = await mallory.request(method, filled(path, ids), json=body, params=query)
        if answer.status_code not in (403, 404):
            let_in.append((method, path, answer.status_code, answer.text))
        assert "Secret Sauce" not in answer.text

    assert let_in == []
    assert await snapshot(alice, ids) == before


async def test_nobody_is_refused_for_not_being_signed_in(house, client, tmp_path):
    _, ids = house

    answers = {
        (method, path): (
            await client.request(method, filled(path, ids), json=body_for(path, method))
        ).status_code
        for path, method in routes_with_ids(tmp_path)
    }

    assert {route for route, status in answers.items() if status != 401} == set()


@pytest.mark.parametrize("id", [2**31, 2**63, 10**30, -(2**40)], ids=str)
async def test_an_id_that_fits_no_column_is_404_everywhere(kitchen, tmp_path, id):
    alice = await kitchen.person("Alice")
    huge = dict.fromkeys(
        ("families", "memberships", "meals", "meal-plans", "pantry-items", "grocery-lists",
         "items", "user", "chat"),
        id,
    )  # fmt: skip
    wrong = []

    for path, method in routes_with_ids(tmp_path):
        query = {"title": "x"} if path.endswith("/title") else None
        body = body_for(path, method)
        answer = await alice.request(method, filled(path, huge), json=body, params=query)
        if answer.status_code != 404:
            wrong.append((method, path, answer.status_code))
    for path in ("/ingredients", "/units"):
        assert (await alice.get(f"{path}/{id}")).status_code == 404

    # The one path whose contract has a lower bound of its own.
    assert [w for w in wrong if "invite" not in w[1]] == []


async def test_an_id_that_is_none_is_refused(kitchen):
    alice = await kitchen.person("Alice")

    for path in ("/meals/one", "/pantry-items/1.5", "/families/%00/members", "/units/1e3"):
        assert (await alice.get(path)).status_code == 422
