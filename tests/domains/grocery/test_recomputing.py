"""The list of a planned week is recomputed when the pantry or the plan changes."""

import pytest

from freshly.chassis.observability.metrics import registry

FAR, LONG_AGO = "2030-01-07", "2020-01-06"  # Mondays
FLOUR = {"canonical_unit_type": "weight", "canonical_unit": "g"}


@pytest.fixture
async def home(kitchen):
    """A family with a plan for a meal of one kilogram of flour, and with its list."""

    class Home:
        pass

    Home.alice, Home.bob = await kitchen.person("Alice"), await kitchen.person("Bob")
    Home.family = await kitchen.family(Home.alice, Home.bob)
    for name in ("test flour", "test sugar"):
        for owner in ({}, {"family_id": Home.family["id"]}):
            await kitchen.ingredient(Home.alice, name, **FLOUR, **owner)
    Home.dish = await kitchen.meal(Home.alice, [("test flour", "1 kg")], familyId=Home.family["id"])
    Home.plan, Home.list = await plan_with_list(kitchen, Home)
    return Home


async def plan_with_list(kitchen, home, person=None, family=True, week_start=FAR):
    person = person or home.alice
    plan = await kitchen.plan(person, home.family if family else None, week_start=week_start)
    await kitchen.planned(person, plan, 0, "dinner", home.dish)
    path = f"/grocery-lists/rebuild-from-meal-plan/{plan['id']}"
    return plan, (await person.post_ok(path, status=200))["grocery_list"]


def sent_statements():
    return registry.get_sample_value("freshly_sql_statements_total")


async def settled(jobs):
    """Run the recompute job now, without the delay that gathers several changes."""
    await jobs.hasten()
    await jobs.run_due()
    assert [row.error for row in await jobs.rows("grocery.recompute") if row.error] == []


async def lines(home, list_id=None):
    shopping_list = await home.alice.read(f"/grocery-lists/{list_id or home.list['id']}")
    return {item["ingredient_name"]: float(item["quantity"]) for item in shopping_list["items"]}


async def test_adding_changing_and_removing_an_item_changes_the_list(home, kitchen, jobs):
    in_family = {"family_id": home.family["id"]}
    item = await kitchen.stock(home.bob, "test flour", 400, "g", **in_family)
    await settled(jobs)
    assert await lines(home) == {"test flour": 600}

    await home.bob.patch(f"/pantry-items/{item['id']}", {"quantity": 900})
    await settled(jobs)
    assert await lines(home) == {"test flour": 100}

    await home.bob.patch(f"/pantry-items/{item['id']}", {"quantity": 1, "unit": "kg"})
    await settled(jobs)
    assert await lines(home) == {}

    assert (await home.bob.delete(f"/pantry-items/{item['id']}")).status_code == 204
    await settled(jobs)
    assert await lines(home) == {"test flour": 1}


async def test_several_changes_at_once_recompute_the_list_once(home, kitchen, jobs):
    in_family = {"family_id": home.family["id"]}
    for _ in range(5):
        await kitchen.stock(home.alice, "test flour", 100, "g", **in_family)

    (job,) = await jobs.rows("grocery.recompute")
    await jobs.run_due()
    assert (await jobs.row(job.id)).state == "queued"  # the job waits for more changes
    await settled(jobs)

    assert (await jobs.row(job.id)).state == "done"
    assert await lines(home) == {"test flour": 500}


async def test_a_recomputed_line_keeps_its_id_and_stays_checked_until_more_is_needed(
    home, kitchen, jobs
):
    """A user in the shop keeps seeing the same lines."""
    (before,) = home.list["items"]
    await home.alice.post_ok(f"/grocery-lists/items/{before['id']}/check", status=200)
    in_family = {"family_id": home.family["id"]}
    item = await kitchen.stock(home.bob, "test flour", 400, "g", **in_family)
    await settled(jobs)

    (after,) = (await home.alice.read(f"/grocery-lists/{home.list['id']}"))["items"]
    assert (after["id"], float(after["quantity"])) == (before["id"], 600)
    assert after["checked"]

    await home.bob.delete(f"/pantry-items/{item['id']}")
    await settled(jobs)
    (more,) = (await home.alice.read(f"/grocery-lists/{home.list['id']}"))["items"]
    assert (more["id"], float(more["quantity"]), more["checked"]) == (before["id"], 1, False)


async def test_a_list_that_a_recompute_leaves_the_same_keeps_its_etag(home, jobs):
    (line,) = home.list["items"]
    await home.alice.post(f"/grocery-lists/items/{line['id']}/mark-purchased")
    path = f"/grocery-lists/{home.list['id']}"
    before = await home.alice.get(path)
    assert len(await jobs.rows("grocery.recompute")) == 1

    await settled(jobs)

    assert (await home.alice.get(path)).headers["ETag"] == before.headers["ETag"]


async def test_a_change_of_stock_that_no_list_needs_recomputes_nothing(home, kitchen, jobs):
    in_family = {"family_id": home.family["id"]}
    other = await kitchen.stock(home.alice, "test sugar", 1, "kg", **in_family)
    await home.alice.delete(f"/pantry-items/{other['id']}")
    await kitchen.stock(home.alice, "test flour", 1, "kg")  # her own; she has no personal list
    flour = await kitchen.stock(home.alice, "test flour", 1, "kg", **in_family)
    await settled(jobs)
    before = len(await jobs.rows("grocery.recompute"))
    await home.alice.patch(f"/pantry-items/{flour['id']}", {"category": "Baking"})

    assert before == len(await jobs.rows("grocery.recompute")) == 1


SAME_STOCK = (
    {"category": "Baking"},
    {"quantity": 400},
    {"quantity": "400.000", "unit": "g"},
    {"expires_at": "2030-03-01"},
    {"ingredient_name": "Test Flour"},
)
OTHER_STOCK = (
    {"quantity": 300},
    {"unit": "kg"},
    {"expires_at": "2030-01-01"},
    {"expires_at": None},
    {"ingredient_name": "test sugar"},
    {"category": "Baking", "quantity": 300},
)


@pytest.fixture
async def stocked(home, kitchen, jobs):
    """The path of an item that a list needs, with no work left to do."""
    fields = {"family_id": home.family["id"], "expires_at": "2030-03-01"}
    item = await kitchen.stock(home.alice, "test flour", 400, "g", **fields)
    await settled(jobs)
    return f"/pantry-items/{item['id']}"


async def recomputes(home, jobs, method, path, body):
    before = len(await jobs.rows("grocery.recompute"))
    response = await home.alice.request(method, path, json=body)
    assert response.status_code == 200, response.text
    return len(await jobs.rows("grocery.recompute")) - before


@pytest.mark.parametrize("change", SAME_STOCK, ids=str)
async def test_a_change_that_leaves_the_stock_the_same_recomputes_no_list(
    change, home, stocked, jobs
):
    assert await recomputes(home, jobs, "PATCH", stocked, change) == 0


@pytest.mark.parametrize("change", OTHER_STOCK, ids=str)
async def test_a_change_of_the_stock_recomputes_the_list_once(change, home, stocked, jobs):
    assert await recomputes(home, jobs, "PATCH", stocked, change) == 1


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"name": "Pancakes", "image": "x.jpg", "notes": "hot", "tags": ["quick"]}, 0),
        ({"ingredients": [{"name": "test flour", "amount": "1 kg"}], "servings": 1}, 0),
        ({"servings": 2}, 1),
        ({"ingredients": [{"name": "test flour", "amount": "2 kg"}]}, 1),
    ],
    ids=str,
)
async def test_only_ingredients_and_servings_of_a_meal_recompute_lists(
    change, expected, home, jobs
):
    assert await recomputes(home, jobs, "PUT", f"/meals/{home.dish['id']}", change) == expected


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"title": "Guests", "week_end": "2030-01-20", "week_start": FAR}, 0),
        ({"week_start": "2030-01-14"}, 1),
    ],
    ids=str,
)
async def test_only_the_start_of_a_planned_week_recomputes_its_list(change, expected, home, jobs):
    path = f"/meal-plans/{home.plan['id']}"

    assert await recomputes(home, jobs, "PATCH", path, change) == expected


@pytest.mark.parametrize(
    ("change", "portions", "expected"),
    [({}, None, 0), ({"notes": "early"}, None, 0), ({"servings": 3}, None, 1), ({}, 2, 1)],
    ids=str,
)
async def test_a_slot_with_the_same_meals_and_servings_recomputes_no_list(
    change, portions, expected, home, jobs
):
    body = {"meals": [{"meal_id": home.dish["id"], "portions": portions}], **change}
    path = f"/meal-plans/{home.plan['id']}/slots/0/dinner"

    assert await recomputes(home, jobs, "PUT", path, body) == expected


async def test_renaming_an_item_counts_for_both_foods(home, kitchen, jobs):
    in_family = {"family_id": home.family["id"]}
    item = await kitchen.stock(home.alice, "test flour", 400, "g", **in_family)
    await settled(jobs)

    await home.alice.patch(f"/pantry-items/{item['id']}", {"ingredient_name": "test sugar"})
    await settled(jobs)

    assert await lines(home) == {"test flour": 1}


async def test_the_list_of_a_past_week_is_not_recomputed(home, kitchen, jobs):
    _, past_list = await plan_with_list(kitchen, home, week_start=LONG_AGO)
    await kitchen.stock(home.alice, "test flour", 400, "g", family_id=home.family["id"])
    await settled(jobs)

    assert await lines(home, past_list["id"]) == {"test flour": 1}
    assert await lines(home) == {"test flour": 600}


async def test_a_purchased_or_deleted_list_is_not_recomputed(home, kitchen, jobs):
    await home.alice.patch(f"/grocery-lists/{home.list['id']}", {"status": "purchased"})
    _, other = await plan_with_list(kitchen, home)
    await kitchen.stock(home.alice, "test flour", 400, "g", family_id=home.family["id"])
    await home.alice.delete(f"/grocery-lists/{other['id']}")
    await settled(jobs)

    (remaining,) = await home.alice.read(f"/grocery-lists/family/{home.family['id']}")
    assert remaining["id"] == home.list["id"]
    assert await lines(home) == {"test flour": 1}


async def test_a_personal_list_follows_the_personal_pantry(home, kitchen, jobs):
    _, personal_list = await plan_with_list(kitchen, home, family=False)
    await kitchen.stock(home.alice, "test flour", 300, "g")
    await settled(jobs)

    assert await lines(home, personal_list["id"]) == {"test flour": 700}
    assert await lines(home) == {"test flour": 1}


async def test_changing_a_plan_changes_its_list(home, kitchen, jobs):
    await kitchen.planned(home.alice, home.plan, 3, "lunch", home.dish)
    await settled(jobs)
    assert await lines(home) == {"test flour": 2}

    for path in ("3/lunch", "0/dinner"):
        deleted = await home.alice.delete(f"/meal-plans/{home.plan['id']}/slots/{path}")
        assert deleted.status_code == 204
    await settled(jobs)
    assert await lines(home) == {}


async def test_changing_a_planned_meal_changes_the_list(home, jobs):
    dish = f"/meals/me/{home.dish['id']}"
    await home.alice.patch(dish, {"ingredients": [{"name": "test sugar", "amount": "300 g"}]})
    await settled(jobs)
    assert await lines(home) == {"test sugar": 300}

    assert (await home.alice.delete(dish)).status_code == 204
    await settled(jobs)
    assert await lines(home) == {}


async def test_renaming_a_meal_recomputes_nothing(home, jobs):
    await home.alice.patch(f"/meals/me/{home.dish['id']}", {"name": "Pancakes"})
    assert await jobs.rows("grocery.recompute") == []


async def test_moving_a_plan_to_another_week_changes_its_list(home, kitchen, jobs):
    in_family = {"family_id": home.family["id"]}
    await kitchen.stock(home.bob, "test flour", 400, "g", expires_at="2030-01-10", **in_family)
    await settled(jobs)
    assert await lines(home) == {"test flour": 600}

    moved = await home.alice.patch(f"/meal-plans/{home.plan['id']}", {"week_start": "2030-02-04"})
    assert moved.status_code == 200, moved.text
    await settled(jobs)
    assert await lines(home) == {"test flour": 1}


async def test_a_plan_without_a_list_stays_without_one(home, kitchen, jobs):
    plan = await kitchen.plan(home.alice, home.family, week_start="2030-02-04")
    await kitchen.planned(home.alice, plan, 0, "dinner", home.dish)
    await settled(jobs)

    (shopping_list,) = await home.alice.read(f"/grocery-lists/family/{home.family['id']}")
    assert shopping_list["id"] == home.list["id"]
    assert await jobs.rows("grocery.recompute") == []


async def test_a_list_is_recomputed_although_the_user_who_changed_the_stock_left_the_family(
    home, kitchen, jobs
):
    await kitchen.stock(home.bob, "test flour", 400, "g", family_id=home.family["id"])
    response = await home.bob.delete(f"/families/{home.family['id']}/members/{home.bob.id}")
    assert response.status_code in (200, 204), response.text
    await settled(jobs)

    assert await lines(home) == {"test flour": 600}


async def test_a_write_needs_one_more_statement_to_find_that_no_list_needs_the_food(home, kitchen):
    in_family = {"family_id": home.family["id"]}
    other = await kitchen.stock(home.alice, "test sugar", 1, "kg", **in_family)
    flour = await kitchen.stock(home.alice, "test flour", 1, "g", **in_family)
    statements = {}
    for name, change in {
        "same stock": (other, {"category": "Baking"}),
        "no list needs it": (other, {"quantity": 2}),
        "a list needs it": (flour, {"quantity": 2}),
    }.items():
        item, body = change
        await home.alice.patch(f"/pantry-items/{item['id']}", {"category": name})
        before = sent_statements()
        await home.alice.patch(f"/pantry-items/{item['id']}", body)
        statements[name] = sent_statements() - before

    assert statements["no list needs it"] - statements["same stock"] == 1
    assert statements["a list needs it"] - statements["same stock"] <= 3


async def test_a_line_that_a_user_removed_stays_off_the_list_until_a_rebuild(home, kitchen, jobs):
    (line,) = (await home.alice.read(f"/grocery-lists/{home.list['id']}"))["items"]
    await home.alice.post(f"/grocery-lists/items/{line['id']}/check")
    await home.alice.delete(f"/grocery-lists/{home.list['id']}/items/checked")

    await kitchen.stock(home.bob, "test flour", 1, "g", family_id=home.family["id"])
    await settled(jobs)
    assert await lines(home) == {}

    await home.alice.post_ok(f"/grocery-lists/rebuild-from-meal-plan/{home.plan['id']}", status=200)
    assert await lines(home) == {"test flour": 999}


async def test_a_line_that_a_user_changed_is_not_recomputed(home, kitchen, jobs):
    (line,) = (await home.alice.read(f"/grocery-lists/{home.list['id']}"))["items"]
    change = {"quantity": 3, "note": "the good one"}
    await home.alice.patch(f"/grocery-lists/items/{line['id']}", change)

    await kitchen.stock(home.bob, "test flour", 1, "g", family_id=home.family["id"])
    await settled(jobs)

    (after,) = (await home.alice.read(f"/grocery-lists/{home.list['id']}"))["items"]
    assert (after["id"], float(after["quantity"]), after["note"]) == (line["id"], 3, "the good one")
