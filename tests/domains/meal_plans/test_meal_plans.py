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
async def users(kitchen):
    class Users:
        pass

    for name in ("owner", "member", "stranger"):
        setattr(Users, name, await kitchen.person(name))
    Users.family = await kitchen.family(Users.owner, Users.member)
    return Users


async def test_all_members_read_a_familys_plan_but_only_its_owner_and_creator_change_it(
    users, kitchen
):
    plan = await kitchen.plan(users.member, users.family, title="Ours", week_end="2030-01-13")
    path = f"/meal-plans/{plan['id']}"

    assert plan.keys() == KEYS
    assert await users.owner.read(path) == plan
    assert await users.owner.read(f"/meal-plans/family/{users.family['id']}") == [plan]
    assert await users.member.read("/meal-plans/me") == [plan]
    refused = await users.member.patch(path, {"title": "Mine"})
    assert (refused.status_code, refused.json()["detail"]) == (403, "Insufficient permissions")
    changed = (await users.owner.patch(path, {"title": "Yours"})).json()
    assert changed == {**plan, "title": "Yours"}
    own = await users.member.patch(f"/meal-plans/me/{plan['id']}", {"title": "Mine"})
    assert own.json()["title"] == "Mine"
    assert (await users.member.delete(path)).status_code == 403
    assert (await users.owner.delete(path)).status_code == 204
    assert (await users.owner.get(path)).json()["detail"] == "Meal plan not found"


async def test_a_personal_plan_is_hidden_from_other_users(users):
    body = {"week_start": "2030-01-07", "family_id": users.family["id"]}
    plan = await users.member.post_ok("/meal-plans/me", body)

    assert (plan["family_id"], plan["created_by_user_id"]) == (None, users.member.id)
    for person in (users.owner, users.stranger):
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
    missing = await users.owner.patch(f"/meal-plans/me/{plan['id']}", {})
    assert missing.json()["detail"] == "Meal not found or unauthorized"
    assert (await users.member.patch(f"/meal-plans/{plan['id']}", {"title": "x"})).is_success
    assert (await users.member.delete(f"/meal-plans/me/{plan['id']}")).status_code == 204


async def test_outsiders_neither_see_nor_create_plans_of_a_family(users, kitchen):
    plan = await kitchen.plan(users.owner, users.family)
    new = {"family_id": users.family["id"], "week_start": "2030-01-07"}

    refused = await users.stranger.post("/meal-plans", new)

    assert (refused.status_code, refused.json()["detail"]) == (403, "Not a member of this family")
    family_path = f"/meal-plans/family/{users.family['id']}"
    assert (await users.stranger.get(family_path)).status_code == 403
    assert (await users.stranger.get(f"/meal-plans/{plan['id']}")).status_code == 404
    rebuild = f"/grocery-lists/rebuild-from-meal-plan/{plan['id']}"
    assert (await users.stranger.post(rebuild)).status_code == 404


async def test_an_unchanged_list_is_304_without_a_body(users, kitchen):
    await kitchen.plan(users.owner)
    first = await users.owner.get("/meal-plans/me")

    again = await users.owner.get(
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
async def test_an_invalid_week_is_refused(users, kitchen, change):
    new = {"family_id": users.family["id"], "week_start": "2030-01-07", **change}
    assert (await users.owner.post("/meal-plans", new)).status_code == 422
    assert (await users.owner.post("/meal-plans/me", new)).status_code == 422
    assert await users.owner.read("/meal-plans/me") == []

    plan = await kitchen.plan(users.owner, users.family)

    assert (await users.owner.patch(f"/meal-plans/{plan['id']}", change)).status_code == 422
    assert await users.owner.read(f"/meal-plans/{plan['id']}") == plan


async def test_meals_of_a_slot_are_planned_replaced_and_cleared(users, kitchen):
    plan = await kitchen.plan(users.owner, users.family)
    soup = await kitchen.meal(users.member, name="Soup", familyId=users.family["id"])
    cake = await kitchen.meal(users.owner, name="Cake")
    path = f"/meal-plans/{plan['id']}/slots"

    await kitchen.planned(users.member, plan, 6, "snack", soup)
    body = {"servings": 4, "notes": "guests", "meals": [{"meal_id": cake["id"], "portions": 2}]}
    dinner = (await users.owner.put(f"{path}/0/dinner", body)).json()
    await kitchen.planned(users.member, plan, 0, "breakfast", soup)

    assert dinner == {
        "day": 0,
        "slot": "dinner",
        "servings": 4,
        "notes": "guests",
        "meals": [{"meal_id": cake["id"], "name": "Cake", "portions": 2}],
    }
    listed = await users.member.read(path)
    assert [(slot["day"], slot["slot"]) for slot in listed] == [
        (0, "breakfast"),
        (0, "dinner"),
        (6, "snack"),
    ]
    # The cake is the owner's own meal, but the slot of that dinner has it already.
    both_meals = {"meals": [{"meal_id": cake["id"]}, {"meal_id": soup["id"]}]}
    assert (await users.member.put(f"{path}/0/dinner", both_meals)).status_code == 200
    assert (await users.member.put(f"{path}/1/dinner", both_meals)).status_code == 404
    assert (await users.member.delete(f"{path}/0/dinner")).status_code == 204
    assert (await users.member.delete(f"{path}/0/dinner")).status_code == 404
    assert len(await users.member.read(path)) == 2


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
        ("0/dinner", {"meals": [{"meal_id": n} for n in range(1, 22)]}, 422),
        ("0/dinner", {"meals": [{"meal_id": 1}, {"meal_id": 1}]}, 422),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_an_invalid_slot_is_refused_and_changes_nothing(users, kitchen, place, body, status):
    plan = await kitchen.plan(users.owner, users.family)
    path = f"/meal-plans/{plan['id']}/slots"
    await kitchen.planned(users.owner, plan, 0, "dinner", await kitchen.meal(users.owner))
    before = await users.owner.read(path)

    assert (await users.owner.put(f"{path}/{place}", body)).status_code == status
    assert await users.owner.read(path) == before


async def test_another_users_meal_cannot_be_planned(users, kitchen):
    plan = await kitchen.plan(users.owner, users.family)
    meal_of_stranger = await kitchen.meal(users.stranger)
    body = {"meals": [{"meal_id": meal_of_stranger["id"]}]}

    refused = await users.owner.put(f"/meal-plans/{plan['id']}/slots/0/dinner", body)

    assert (refused.status_code, refused.json()["code"]) == (404, "meal_not_found")


async def test_simultaneous_changes_of_a_slot_leave_one_slot(users, kitchen):
    plan = await kitchen.plan(users.owner, users.family)
    soup = await kitchen.meal(users.owner, familyId=users.family["id"])
    body = {"meals": [{"meal_id": soup["id"]}]}
    path = f"/meal-plans/{plan['id']}/slots/0/dinner"

    responses = await asyncio.gather(
        *(person.put(path, body) for person in (users.owner, users.member) for _ in range(5))
    )

    assert {response.status_code for response in responses} == {200}
    assert len(await users.owner.read(f"/meal-plans/{plan['id']}/slots")) == 1


async def test_a_deleted_meal_is_removed_from_its_plan(users, kitchen):
    plan = await kitchen.plan(users.owner, users.family)
    soup = await kitchen.meal(users.owner)
    await kitchen.planned(users.owner, plan, 0, "dinner", soup)

    await users.owner.delete(f"/meals/{soup['id']}")

    (slot,) = await users.owner.read(f"/meal-plans/{plan['id']}/slots")
    assert slot["meals"] == []
