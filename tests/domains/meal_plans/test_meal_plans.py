import asyncio

import pytest

KEYS = {
    "id",
    "family_id",
    "title",
    "week_start",
    "week_end",
    "created_by_user_id",
    "created_at",
}


@pytest.fixture
async def people(kitchen):
    class People:
        pass

    for name in ("owner", "member", "stranger"):
        setattr(People, name, await kitchen.person(name))
    People.family = await kitchen.family(People.owner, People.member)
    return People


async def test_a_familys_plan_is_read_by_all_and_changed_by_who_manages(people, kitchen):
    plan = await kitchen.plan(people.member, people.family, title="Ours", week_end="2030-01-13")
    path = f"/meal-plans/{plan['id']}"

    assert plan.keys() == KEYS
    assert await people.owner.read(path) == plan
    assert await people.owner.read(f"/meal-plans/family/{people.family['id']}") == [plan]
    assert await people.member.read("/meal-plans/me") == [plan]
    refused = await people.member.patch(path, {"title": "Mine"})
    assert (refused.status_code, refused.json()["detail"]) == (403, "Insufficient permissions")
    changed = (await people.owner.patch(path, {"title": "Yours"})).json()
    assert changed == {**plan, "title": "Yours"}
    own = await people.member.patch(f"/meal-plans/me/{plan['id']}", {"title": "Mine"})
    assert own.json()["title"] == "Mine"
    assert (await people.member.delete(path)).status_code == 403
    assert (await people.owner.delete(path)).status_code == 204
    assert (await people.owner.get(path)).json()["detail"] == "Meal plan not found"


async def test_a_personal_plan_is_nobody_elses(people):
    body = {"week_start": "2030-01-07", "family_id": people.family["id"]}
    plan = await people.member.post_ok("/meal-plans/me", body)

    assert (plan["family_id"], plan["created_by_user_id"]) == (None, people.member.id)
    for person in (people.owner, people.stranger):
        for method, path in (
            ("GET", f"/meal-plans/{plan['id']}"),
            ("GET", f"/meal-plans/{plan['id']}/slots"),
            ("PATCH", f"/meal-plans/me/{plan['id']}"),
            ("PATCH", f"/meal-plans/{plan['id']}"),
            ("DELETE", f"/meal-plans/me/{plan['id']}"),
            ("DELETE", f"/meal-plans/{plan['id']}"),
        ):
            json = {} if method == "PATCH" else None
            assert (await person.request(method, path, json=json)).status_code == 404
    missing = await people.owner.patch(f"/meal-plans/me/{plan['id']}", {})
    assert missing.json()["detail"] == "Meal not found or unauthorized"
    assert (await people.member.patch(f"/meal-plans/{plan['id']}", {"title": "x"})).is_success
    assert (await people.member.delete(f"/meal-plans/me/{plan['id']}")).status_code == 204


async def test_outsiders_neither_see_nor_make_a_familys_plans(people, kitchen):
    plan = await kitchen.plan(people.owner, people.family)
    new = {"family_id": people.family["id"], "week_start": "2030-01-07"}

    refused = await people.stranger.post("/meal-plans", new)

    assert (refused.status_code, refused.json()["detail"]) == (403, "Not a member of this family")
    family_path = f"/meal-plans/family/{people.family['id']}"
    assert (await people.stranger.get(family_path)).status_code == 403
    assert (await people.stranger.get(f"/meal-plans/{plan['id']}")).status_code == 404
    rebuild = f"/grocery-lists/rebuild-from-meal-plan/{plan['id']}"
    assert (await people.stranger.post(rebuild)).status_code == 404


async def test_an_unchanged_list_costs_no_body(people, kitchen):
    await kitchen.plan(people.owner)
    first = await people.owner.get("/meal-plans/me")

    again = await people.owner.get(
        "/meal-plans/me", headers={"If-None-Match": first.headers["etag"]}
    )

    assert first.headers["cache-control"] == "private, max-age=300, must-revalidate"
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    "change",
    [
        {"week_end": "2030-01-06"},
        {"week_start": "soon"},
        {"week_start": "9999-12-31"},
        {"title": "x" * 201},
        {"title": "a\0b"},
    ],
    ids=str,
)
async def test_a_week_that_cannot_be_is_refused(people, kitchen, change):
    new = {"family_id": people.family["id"], "week_start": "2030-01-07", **change}
    assert (await people.owner.post("/meal-plans", new)).status_code == 422
    assert (await people.owner.post("/meal-plans/me", new)).status_code == 422
    assert await people.owner.read("/meal-plans/me") == []

    plan = await kitchen.plan(people.owner, people.family)

    assert (await people.owner.patch(f"/meal-plans/{plan['id']}", change)).status_code == 422
    assert await people.owner.read(f"/meal-plans/{plan['id']}") == plan


async def test_meals_are_planned_replaced_and_cleared(people, kitchen):
    plan = await kitchen.plan(people.owner, people.family)
    soup = await kitchen.meal(people.member, name="Soup", familyId=people.family["id"])
    cake = await kitchen.meal(people.owner, name="Cake")
    path = f"/meal-plans/{plan['id']}/slots"

    await kitchen.planned(people.member, plan, 6, "snack", soup)
    body = {"servings": 4, "notes": "guests", "meals": [{"meal_id": cake["id"], "portions": 2}]}
    dinner = (await people.owner.put(f"{path}/0/dinner", body)).json()
    await kitchen.planned(people.member, plan, 0, "breakfast", soup)

    assert dinner == {
        "day": 0,
        "slot": "dinner",
        "servings": 4,
        "notes": "guests",
        "meals": [{"meal_id": cake["id"], "name": "Cake", "portions": 2}],
    }
    listed = await people.member.read(path)
    assert [(slot["day"], slot["slot"]) for slot in listed] == [
        (0, "breakfast"),
        (0, "dinner"),
        (6, "snack"),
    ]
    # Cake is the owner's alone, but it is in that slot already.
    kept = {"meals": [{"meal_id": cake["id"]}, {"meal_id": soup["id"]}]}
    assert (await people.member.put(f"{path}/0/dinner", kept)).status_code == 200
    assert (await people.member.put(f"{path}/1/dinner", kept)).status_code == 404
    assert (await people.member.delete(f"{path}/0/dinner")).status_code == 204
    assert (await people.member.delete(f"{path}/0/dinner")).status_code == 404
    assert len(await people.member.read(path)) == 2


@pytest.mark.parametrize(
    ("place", "body", "status"),
    [
        ("7/dinner", {"meals": []}, 422),
        ("-1/dinner", {"meals": []}, 422),
        ("0/brunch", {"meals": []}, 422),
        ("0/dinner", {}, 422),
        ("0/dinner", {"meals": [], "servings": 0}, 422),
        ("0/dinner", {"meals": [], "servings": 2**40}, 422),
        ("0/dinner", {"meals": [], "notes": "a\0b"}, 422),
        ("0/dinner", {"meals": [{"meal_id": 1, "portions": 0}]}, 422),
        ("0/dinner", {"meals": [{"meal_id": 4711}]}, 404),
        ("0/dinner", {"meals": [{"meal_id": 2**40}]}, 404),
        ("0/dinner", {"meals": [{"meal_id": 1}] * 51}, 422),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_what_cannot_be_planned_is_refused_and_the_slot_stays(
    people, kitchen, place, body, status
):
    plan = await kitchen.plan(people.owner, people.family)
    path = f"/meal-plans/{plan['id']}/slots"
    await kitchen.planned(people.owner, plan, 0, "dinner", await kitchen.meal(people.owner))
    before = await people.owner.read(path)

    assert (await people.owner.put(f"{path}/{place}", body)).status_code == status
    assert await people.owner.read(path) == before


async def test_a_foreign_meal_cannot_be_planned(people, kitchen):
    plan = await kitchen.plan(people.owner, people.family)
    foreign = await kitchen.meal(people.stranger)
    body = {"meals": [{"meal_id": foreign["id"]}]}

    refused = await people.owner.put(f"/meal-plans/{plan['id']}/slots/0/dinner", body)

    assert (refused.status_code, refused.json()["code"]) == (404, "meal_not_found")


async def test_planning_one_slot_at_once_leaves_one_slot(people, kitchen):
    plan = await kitchen.plan(people.owner, people.family)
    soup = await kitchen.meal(people.owner, familyId=people.family["id"])
    body = {"meals": [{"meal_id": soup["id"]}]}
    path = f"/meal-plans/{plan['id']}/slots/0/dinner"

    answers = await asyncio.gather(
        *(person.put(path, body) for person in (people.owner, people.member) for _ in range(5))
    )

    assert {answer.status_code for answer in answers} == {200}
    assert len(await people.owner.read(f"/meal-plans/{plan['id']}/slots")) == 1


async def test_a_dropped_meal_leaves_the_plan(people, kitchen):
    plan = await kitchen.plan(people.owner, people.family)
    soup = await kitchen.meal(people.owner)
    await kitchen.planned(people.owner, plan, 0, "dinner", soup)

    await people.owner.delete(f"/meals/{soup['id']}")

    (slot,) = await people.owner.read(f"/meal-plans/{plan['id']}/slots")
    assert slot["meals"] == []
