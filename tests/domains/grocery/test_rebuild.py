"""A rebuild turns a planned week into a shopping list and explains each line."""

import asyncio

import pytest

FAR = "2030-01-07"  # a Monday
FLOUR = {"canonical_unit_type": "weight", "canonical_unit": "g", "density_g_per_ml": 0.53}
MILK = {"canonical_unit_type": "volume", "canonical_unit": "ml"}


@pytest.fixture
async def home(kitchen):
    class Home:
        pass

    Home.alice = await kitchen.person("Alice")
    Home.family = await kitchen.family(Home.alice)
    for name, facts in (("test flour", FLOUR), ("test milk", MILK), ("test spice", {})):
        await kitchen.ingredient(Home.alice, name, family_id=Home.family["id"], **facts)
    Home.plan = await kitchen.plan(Home.alice, Home.family, title="Our week", week_start=FAR)

    async def meal(*ingredients, **fields):
        return await kitchen.meal(Home.alice, ingredients, familyId=Home.family["id"], **fields)

    async def stock(name, quantity, unit, **fields):
        return await kitchen.stock(
            Home.alice, name, quantity, unit, family_id=Home.family["id"], **fields
        )

    async def plan(day, slot, *meals, **fields):
        return await kitchen.planned(Home.alice, Home.plan, day, slot, *meals, **fields)

    async def rebuild():
        path = f"/grocery-lists/rebuild-from-meal-plan/{Home.plan['id']}"
        return await Home.alice.post_ok(path, status=200)

    async def explain(list_id):
        return await Home.alice.read(f"/grocery-lists/{list_id}/explanation")

    Home.meal, Home.stock, Home.planned = map(staticmethod, (meal, stock, plan))
    Home.rebuild, Home.explain = staticmethod(rebuild), staticmethod(explain)
    return Home


def lines(result):
    return {
        item["ingredient_name"]: (
            float(item["quantity"]) if item["quantity"] else None,
            item["unit_code"],
            item["note"],
        )
        for item in result["grocery_list"]["items"]
    }


async def test_the_worked_example_of_the_contract_gives_its_result(home):
    await home.stock("test flour", 500, "g")
    pancakes = await home.meal(("test flour", "2 cups"), servings=1)
    await home.planned(2, "dinner", pancakes, servings=2)

    result = await home.rebuild()

    assert lines(result) == {"test flour": (8.8, "g", None)}
    assert result["items_count"] == 1
    assert result["grocery_list"]["title"] == "Our week"
    assert result["grocery_list"]["meal_plan_id"] == home.plan["id"]


@pytest.mark.parametrize(
    ("meal_servings", "slot_servings", "portions", "grams"),
    [(4, 4, None, 100), (4, 2, None, 50), (2, 6, None, 300), (4, None, None, 100), (4, 4, 3, 300),
     (0, 4, None, 100), (4, 2, 3, 150), (3, 1, None, 33.3)],
)  # fmt: skip
async def test_amounts_follow_servings_and_portions(
    home, meal_servings, slot_servings, portions, grams
):
    meal = await home.meal(("test flour", "100 g"), servings=meal_servings)
    body = {"meals": [{"meal_id": meal["id"], "portions": portions}], "servings": slot_servings}
    await home.alice.put(f"/meal-plans/{home.plan['id']}/slots/0/lunch", body)

    result = await home.rebuild()

    assert lines(result) == {"test flour": (grams, "g", None)}


async def test_stock_counts_until_it_expires_and_the_soonest_to_expire_is_used_first(home):
    meal = await home.meal(("test milk", "400 ml"), servings=1)
    for day in (0, 2, 4):
        await home.planned(day, "breakfast", meal)
    until_monday = await home.stock("test milk", 1, "l", expires_at="2030-01-07")
    until_friday = await home.stock("test milk", 500, "ml", expires_at="2030-01-11")
    without_date = await home.stock("test milk", 100, "ml")
    await home.stock("test milk", 5, "l", expires_at="2020-01-01")

    result = await home.rebuild()

    assert lines(result) == {"test milk": (200, "ml", None)}
    (line,) = (await home.explain(result["grocery_list"]["id"]))["lines"]
    assert [(need["on"], float(need["quantity"])) for need in line["needed"]] == [
        ("2030-01-07", 400),
        ("2030-01-09", 400),
        ("2030-01-11", 400),
    ]
    assert {
        reservation["pantry_item_id"]: float(reservation["quantity"])
        for reservation in line["covered"]
    } == {
        until_monday["id"]: 400,
        until_friday["id"]: 500,
        without_date["id"]: 100,
    }
    assert (float(line["to_buy"]), line["unit"]) == (200, "ml")
    assert line["needed"][0]["meal_name"] == "Pancakes"


async def test_an_ingredient_without_an_amount_keeps_its_text(home):
    meal = await home.meal(
        ("test spice", "to taste"), ("test flour", "100 g"), ("Salt of ours", "")
    )
    await home.planned(0, "dinner", meal)
    await home.stock("test flour", 1, "kg")

    result = await home.rebuild()

    assert lines(result) == {
        "test spice": (None, None, "to taste"),
        "salt of ours": (None, None, None),
    }
    explained = await home.explain(result["grocery_list"]["id"])
    assert {line["ingredient_name"]: line["text"] for line in explained["unquantified"]} == {
        "test spice": "to taste",
        "salt of ours": "",
    }
    (covered,) = explained["lines"]
    assert (covered["item_id"], covered["to_buy"]) == (None, "0")
    assert covered["ingredient_name"] == "test flour"


async def test_a_food_in_two_units_that_cannot_be_compared_gets_two_lines(home):
    meal = await home.meal(("test flour", "100 g"), ("test flour", "2 bunches"))
    await home.planned(0, "dinner", meal)

    result = await home.rebuild()

    shown = [(i["quantity"], i["unit_code"]) for i in result["grocery_list"]["items"]]
    assert sorted((float(q), unit) for q, unit in shown) == [(2, "bunch"), (100, "g")]


async def test_rebuilding_twice_changes_nothing(home):
    meal = await home.meal(("test flour", "1 kg"), ("test spice", "a bit"))
    await home.planned(1, "lunch", meal)
    await home.stock("test flour", 250, "g")

    def items_without_ids(result):
        return [
            {key: value for key, value in item.items() if key != "id"}
            for item in result["grocery_list"]["items"]
        ]

    first, second = await home.rebuild(), await home.rebuild()

    assert items_without_ids(first) == items_without_ids(second)
    assert first["grocery_list"]["id"] == second["grocery_list"]["id"]
    list_id = first["grocery_list"]["id"]
    synced = await home.alice.post_ok(f"/grocery-lists/{list_id}/sync-pantry", status=200)
    assert (synced["items_removed"], synced["items_updated"]) == (0, 0)
    explained = await home.explain(list_id)
    assert [float(line["to_buy"]) for line in explained["lines"]] == [750]


async def test_a_rebuild_keeps_what_users_did_on_the_list(home, kitchen):
    meal = await home.meal(("test flour", "1 kg"), ("test milk", "1 l"), ("test spice", "3 tsp"))
    await home.planned(1, "lunch", meal)
    first = (await home.rebuild())["grocery_list"]
    by_name = {item["ingredient_name"]: item for item in first["items"]}
    unit_ids = await kitchen.unit_ids(home.alice)
    added_by_hand = {"ingredient_id": by_name["test milk"]["ingredient_id"], "quantity": 300}
    await home.alice.post_ok(
        f"/grocery-lists/{first['id']}/items", {**added_by_hand, "unit_id": unit_ids["ml"]}
    )
    flour, spice = by_name["test flour"], by_name["test spice"]
    await home.alice.post_ok(f"/grocery-lists/items/{flour['id']}/mark-purchased", status=200)
    await home.alice.post_ok(f"/grocery-lists/items/{spice['id']}/check", status=200)

    again = await home.rebuild()

    items = again["grocery_list"]["items"]
    assert {(i["ingredient_name"], float(i["quantity"]), i["unit_code"], i["checked"],
             i["is_purchased"], i["is_manual"]) for i in items} == {
        ("test flour", 1, "kg", True, True, False),  # purchased, so it is in the pantry
        ("test milk", 300, "ml", False, False, True),
        ("test milk", 700, "ml", False, False, False),
        ("test spice", 3, "tsp", True, False, False),  # still checked
    }  # fmt: skip


async def test_simultaneous_rebuilds_create_one_list(home):
    meal = await home.meal(("test flour", "1 kg"))
    await home.planned(1, "lunch", meal)

    results = await asyncio.gather(*(home.rebuild() for _ in range(5)))

    assert len({result["grocery_list"]["id"] for result in results}) == 1
    (shopping_list,) = await home.alice.read(f"/grocery-lists/family/{home.family['id']}")
    assert len(shopping_list["items"]) == 1


async def test_a_personal_plan_counts_only_the_personal_pantry(home, kitchen):
    plan = await kitchen.plan(home.alice)
    meal = await home.meal(("test flour", "1 kg"))
    await kitchen.planned(home.alice, plan, 0, "dinner", meal)
    await home.stock("test flour", 900, "g")  # the family's
    await kitchen.stock(home.alice, "test flour", 100, "g")

    path = f"/grocery-lists/rebuild-from-meal-plan/{plan['id']}"
    result = await home.alice.post_ok(path, status=200)

    assert lines(result) == {"test flour": (900, "g", None)}
    assert result["grocery_list"]["scope"] == "personal"
    assert result["grocery_list"]["title"] == "Meal Plan"


async def test_an_amount_that_is_too_large_is_kept_as_text(home):
    meal = await home.meal(("test flour", "9000000 kg"), ("test milk", "9999 l"), servings=1)
    await home.planned(0, "dinner", meal, servings=1000)

    result = await home.rebuild()

    assert lines(result)["test flour"] == (None, None, "9000000 kg")


async def test_deleting_a_plan_keeps_its_list(home):
    meal = await home.meal(("test flour", "1 kg"))
    await home.planned(1, "lunch", meal)
    created = (await home.rebuild())["grocery_list"]

    assert (await home.alice.delete(f"/meal-plans/{home.plan['id']}")).status_code == 204

    kept = await home.alice.read(f"/grocery-lists/{created['id']}")
    assert (kept["meal_plan_id"], len(kept["items"])) == (None, 1)


async def test_an_unknown_plan_is_404_and_named_in_the_error(home):
    missing = await home.alice.post("/grocery-lists/rebuild-from-meal-plan/4711")

    assert (missing.status_code, missing.json()["detail"]) == (404, "MealPlan 4711 not found")


async def test_a_list_can_be_rebuilt_by_its_own_id(home):
    meal = await home.meal(("test flour", "1 kg"))
    await home.planned(1, "lunch", meal)
    created = (await home.rebuild())["grocery_list"]

    path = f"/grocery-lists/{created['id']}/rebuild-from-meal-plan"
    again = await home.alice.post_ok(path, status=200)

    assert again["grocery_list"]["id"] == created["id"]
    assert (again["items_rebuilt"], again["items_count"]) == (1, 1)
    with_plan_id = await home.alice.post_ok(path, {"meal_plan_id": home.plan["id"]}, status=200)
    assert with_plan_id["grocery_list"]["id"] == created["id"]
    without_plan = await home.alice.post_ok("/grocery-lists", {"scope": "personal"})
    missing = await home.alice.post(f"/grocery-lists/{without_plan['id']}/rebuild-from-meal-plan")
    assert missing.status_code == 404


async def test_rebuilding_a_list_never_rebuilds_another_list(home, kitchen):
    meal = await home.meal(("test flour", "1 kg"))
    await home.planned(1, "lunch", meal)
    created = (await home.rebuild())["grocery_list"]
    other_plan = await kitchen.plan(home.alice)
    without_plan = await home.alice.post_ok("/grocery-lists", {"scope": "personal"})
    stranger = await kitchen.person("Stranger")
    foreign = await stranger.post_ok("/grocery-lists", {"scope": "personal"})
    choice = {"meal_plan_id": home.plan["id"]}

    async def status(list_id, body):
        path = f"/grocery-lists/{list_id}/rebuild-from-meal-plan"
        return (await home.alice.post(path, body)).status_code

    assert await status(99_999, choice) == 404
    assert await status(foreign["id"], choice) == 403
    assert await status(without_plan["id"], choice) == 409
    assert await status(created["id"], {"meal_plan_id": other_plan["id"]}) == 409
    second = await home.alice.post_ok(
        "/grocery-lists",
        {"scope": "family", "family_id": created["family_id"], "meal_plan_id": home.plan["id"]},
    )
    path = f"/grocery-lists/{second['id']}/rebuild-from-meal-plan"
    rebuilt = await home.alice.post_ok(path, choice, status=200)
    assert rebuilt["grocery_list"]["id"] == second["id"]
