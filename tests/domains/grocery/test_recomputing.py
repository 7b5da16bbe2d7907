"""Lists of a planned week follow what is in the kitchen and what is planned, by themselves."""

import pytest

from freshly.chassis.observability.metrics import registry

FAR, LONG_AGO = "2030-01-07", "2020-01-06"  # Mondays
FLOUR = {"canonical_unit_type": "weight", "canonical_unit": "g"}


@pytest.fixture
async def home(kitchen):
    """A family that plans a dish of a kilogram of flour, and has a list for it."""

    class Home:
        pass

    Home.alice, Home.bob = await kitchen.person("Alice"), await kitchen.person("Bob")
    Home.family = await kitchen.family(Home.alice, Home.bob)
    for name in ("test flour", "test sugar"):
        await kitchen.ingredient(Home.alice, name, **FLOUR)
    Home.dish = await kitchen.meal(Home.alice, [("test flour", "1 kg")], familyId=Home.family["id"])
    Home.plan, Home.list = await planned(kitchen, Home)
    return Home


async def planned(kitchen, home, person=None, family=True, week_start=FAR):
    person = person or home.alice
    plan = await kitchen.plan(person, home.family if family else None, week_start=week_start)
    await kitchen.planned(person, plan, 0, "dinner", home.dish)
    path = f"/grocery-lists/rebuild-from-meal-plan/{plan['id']}"
    return plan, (await person.post_ok(path, status=200))["grocery_list"]


def sent():
    return registry.get_sample_value("freshly_sql_statements_total")


async def settled(jobs):
    """The pause that gathers many changes is over, and the work done."""
    await jobs.hasten()
    await jobs.run_due()
    assert [row.error for row in await jobs.rows("grocery.recompute") if row.error] == []


async def lines(home, list_id=None):
    found = await home.alice.read(f"/grocery-lists/{list_id or home.list['id']}")
    return {item["ingredient_name"]: float(item["quantity"]) for item in found["items"]}


async def test_what_comes_into_the_kitchen_and_goes_changes_the_list(home, kitchen, jobs):
    mine = {"family_id": home.family["id"]}
    item = await kitchen.stock(home.bob, "test flour", 400, "g", **mine)
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


async def test_a_burst_of_changes_is_one_run(home, kitchen, jobs):
    mine = {"family_id": home.family["id"]}
    for _ in range(5):
        await kitchen.stock(home.alice, "test flour", 100, "g", **mine)

    (only,) = await jobs.rows("grocery.recompute")
    await jobs.run_due()
    assert (await jobs.row(only.id)).state == "queued"  # it waits until the burst is over
    await settled(jobs)

    assert (await jobs.row(only.id)).state == "done"
    assert await lines(home) == {"test flour": 500}


async def test_somebody_in_the_shop_keeps_their_lines(home, kitchen, jobs):
    """The ids that their app has, and what they have ticked, as long as it is enough."""
    (before,) = home.list["items"]
    await home.alice.post_ok(f"/grocery-lists/items/{before['id']}/check", status=200)
    mine = {"family_id": home.family["id"]}
    item = await kitchen.stock(home.bob, "test flour", 400, "g", **mine)
    await settled(jobs)

    (after,) = (await home.alice.read(f"/grocery-lists/{home.list['id']}"))["items"]
    assert (after["id"], float(after["quantity"])) == (before["id"], 600)
    assert after["checked"]

    await home.bob.delete(f"/pantry-items/{item['id']}")
    await settled(jobs)
    (more,) = (await home.alice.read(f"/grocery-lists/{home.list['id']}"))["items"]
    assert (more["id"], float(more["quantity"]), more["checked"]) == (before["id"], 1, False)


async def test_a_list_that_stays_as_it_is_keeps_its_etag(home, jobs):
    (line,) = home.list["items"]
    await home.alice.post(f"/grocery-lists/items/{line['id']}/mark-purchased")
    path = f"/grocery-lists/{home.list['id']}"
    before = await home.alice.get(path)
    assert len(await jobs.rows("grocery.recompute")) == 1

    await settled(jobs)

    assert (await home.alice.get(path)).headers["ETag"] == before.headers["ETag"]


async def test_what_no_list_needs_asks_for_no_work(home, kitchen, jobs):
    mine = {"family_id": home.family["id"]}
    other = await kitchen.stock(home.alice, "test sugar", 1, "kg", **mine)
    await home.alice.delete(f"/pantry-items/{other['id']}")
    await kitchen.stock(home.alice, "test flour", 1, "kg")  # her own, and she has no list
    flour = await kitchen.stock(home.alice, "test flour", 1, "kg", **mine)
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
    mine = {"family_id": home.family["id"]}
    item = await kitchen.stock(home.alice, "test flour", 400, "g", **mine)
    await settled(jobs)

    await home.alice.patch(f"/pantry-items/{item['id']}", {"ingredient_name": "test sugar"})
    await settled(jobs)

    assert await lines(home) == {"test flour": 1}


async def test_a_week_that_is_over_is_left_alone(home, kitchen, jobs):
    _, old = await planned(kitchen, home, week_start=LONG_AGO)
    await kitchen.stock(home.alice, "test flour", 400, "g", family_id=home.family["id"])
    await settled(jobs)

    assert await lines(home, old["id"]) == {"test flour": 1}
    assert await lines(home) == {"test flour": 600}


async def test_a_list_that_was_shopped_or_removed_is_left_alone(home, kitchen, jobs):
    await home.alice.patch(f"/grocery-lists/{home.list['id']}", {"status": "purchased"})
    _, other = await planned(kitchen, home)
    await kitchen.stock(home.alice, "test flour", 400, "g", family_id=home.family["id"])
    await home.alice.delete(f"/grocery-lists/{other['id']}")
    await settled(jobs)

    (left,) = await home.alice.read(f"/grocery-lists/family/{home.family['id']}")
    assert left["id"] == home.list["id"]
    assert await lines(home) == {"test flour": 1}


async def test_ones_own_list_follows_ones_own_kitchen(home, kitchen, jobs):
    _, own = await planned(kitchen, home, family=False)
    await kitchen.stock(home.alice, "test flour", 300, "g")
    await settled(jobs)

    assert await lines(home, own["id"]) == {"test flour": 700}
    assert await lines(home) == {"test flour": 1}


async def test_planning_otherwise_changes_the_list_of_the_plan(home, kitchen, jobs):
    await kitchen.planned(home.alice, home.plan, 3, "lunch", home.dish)
    await settled(jobs)
    assert await lines(home) == {"test flour": 2}

    for path in ("3/lunch", "0/dinner"):
        gone = await home.alice.delete(f"/meal-plans/{home.plan['id']}/slots/{path}")
        assert gone.status_code == 204
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


async def test_another_name_of_a_meal_asks_for_nothing(home, jobs):
    await home.alice.patch(f"/meals/me/{home.dish['id']}", {"name": "Pancakes"})
    assert await jobs.rows("grocery.recompute") == []


async def test_moving_a_week_changes_the_list(home, kitchen, jobs):
    mine = {"family_id": home.family["id"]}
    await kitchen.stock(home.bob, "test flour", 400, "g", expires_at="2030-01-10", **mine)
    await settled(jobs)
    assert await lines(home) == {"test flour": 600}

    moved = await home.alice.patch(f"/meal-plans/{home.plan['id']}", {"week_start": "2030-02-04"})
    assert moved.status_code == 200, moved.text
    await settled(jobs)
    assert await lines(home) == {"test flour": 1}


async def test_a_plan_without_a_list_gets_none(home, kitchen, jobs):
    plan = await kitchen.plan(home.alice, home.family, week_start="2030-02-04")
    await kitchen.planned(home.alice, plan, 0, "dinner", home.dish)
    await settled(jobs)

    (only,) = await home.alice.read(f"/grocery-lists/family/{home.family['id']}")
    assert only["id"] == home.list["id"]
    assert await jobs.rows("grocery.recompute") == []


async def test_who_changed_something_may_have_left_the_family_meanwhile(home, kitchen, jobs):
    await kitchen.stock(home.bob, "test flour", 400, "g", family_id=home.family["id"])
    left = await home.bob.delete(f"/families/{home.family['id']}/members/{home.bob.id}")
    assert left.status_code in (200, 204), left.text
    await settled(jobs)

    assert await lines(home) == {"test flour": 600}


async def test_asking_costs_a_write_one_statement_where_no_list_needs_the_food(home, kitchen):
    mine = {"family_id": home.family["id"]}
    other = await kitchen.stock(home.alice, "test sugar", 1, "kg", **mine)
    flour = await kitchen.stock(home.alice, "test flour", 1, "g", **mine)
    taken = {}
    for name, change in {
        "nothing": (other, {"category": "Baking"}),
        "a look": (other, {"quantity": 2}),
        "one more job": (flour, {"quantity": 2}),
    }.items():
        item, body = change
        await home.alice.patch(f"/pantry-items/{item['id']}", {"category": name})
        before = sent()
        await home.alice.patch(f"/pantry-items/{item['id']}", body)
        taken[name] = sent() - before

    assert taken["a look"] - taken["nothing"] == 1
    assert taken["one more job"] - taken["nothing"] <= 3


async def test_what_was_taken_off_the_list_stays_off_until_it_is_rebuilt(home, kitchen, jobs):
    (line,) = (await home.alice.read(f"/grocery-lists/{home.list['id']}"))["items"]
    await home.alice.post(f"/grocery-lists/items/{line['id']}/check")
    await home.alice.delete(f"/grocery-lists/{home.list['id']}/items/checked")

    await kitchen.stock(home.bob, "test flour", 1, "g", family_id=home.family["id"])
    await settled(jobs)
    assert await lines(home) == {}

    await home.alice.post_ok(f"/grocery-lists/rebuild-from-meal-plan/{home.plan['id']}", status=200)
    assert await lines(home) == {"test flour": 999}


async def test_a_line_that_somebody_changed_is_theirs(home, kitchen, jobs):
    (line,) = (await home.alice.read(f"/grocery-lists/{home.list['id']}"))["items"]
    change = {"quantity": 3, "note": "the good one"}
    await home.alice.patch(f"/grocery-lists/items/{line['id']}", change)

    await kitchen.stock(home.bob, "test flour", 1, "g", family_id=home.family["id"])
    await settled(jobs)

    (left,) = (await home.alice.read(f"/grocery-lists/{home.list['id']}"))["items"]
    assert (left["id"], float(left["quantity"]), left["note"]) == (line["id"], 3, "the good one")
