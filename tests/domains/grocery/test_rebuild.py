"""From a planned week to a shopping list, and why each line is on it."""

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
        await kitchen.ingredient(Home.alice, name, **facts)
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


async def test_the_worked_example_of_the_contract(home):
    await home.stock("test flour", 500, "g")
    pancakes = await home.meal(("test flour", "2 cups"), servings=1)
    await home.planned(2, "dinner", pancakes, servings=2)

    result = await home.rebuild()

    assert lines(result) == {"test flour": (8.8, "g", None)}
    assert result["items_count"] == 1
    assert result["grocery_list"]["title"] == "Our week"
    assert result["grocery_list"]["meal_plan_id"] == home.plan["id"]


@pytest.mark.parametrize(
    ("of_meal", "of_slot", "portions", "grams"),
    [(4, 4, None, 100), (4, 2, None, 50), (2, 6, None, 300), (4, None, None, 100), (4, 4, 3, 300),
     (0, 4, None, 100), (4, 2, 3, 150), (3, 1, None, 33.3)],
)  # fmt: skip
async def test_amounts_follow_the_servings(home, of_meal, of_slot, portions, grams):
    dish = await home.meal(("test flour", "100 g"), servings=of_meal)
    body = {"meals": [{"meal_id": dish["id"], "portions": portions}], "servings": of_slot}
    await home.alice.put(f"/meal-plans/{home.plan['id']}/slots/0/lunch", body)

    result = await home.rebuild()

    assert lines(result) == {"test flour": (grams, "g", None)}


async def test_stock_counts_on_the_days_it_is_good_soonest_first(home):
    dish = await home.meal(("test milk", "400 ml"), servings=1)
    for day in (0, 2, 4):
        await home.planned(day, "breakfast", dish)
    monday = await home.stock("test milk", 1, "l", expires_at="2030-01-07")
    week = await home.stock("test milk", 500, "ml", expires_at="2030-01-11")
    keeps = await home.stock("test milk", 100, "ml")
    await home.stock("test milk", 5, "l", expires_at="2020-01-01")

    result = await home.rebuild()

    assert lines(result) == {"test milk": (200, "ml", None)}
    (line,) = (await home.explain(result["grocery_list"]["id"]))["lines"]
    assert [(need["on"], float(need["quantity"])) for need in line["needed"]] == [
        ("2030-01-07", 400),
        ("2030-01-09", 400),
        ("2030-01-11", 400),
    ]
    assert {part["pantry_item_id"]: float(part["quantity"]) for part in line["covered"]} == {
        monday["id"]: 400,
        week["id"]: 500,
        keeps["id"]: 100,
    }
    assert (float(line["to_buy"]), line["unit"]) == (200, "ml")
    assert line["needed"][0]["meal_name"] == "Pancakes"


async def test_what_has_no_amount_stays_with_its_text(home):
    dish = await home.meal(
        ("test spice", "to taste"), ("test flour", "100 g"), ("Salt of ours", "")
    )
    await home.planned(0, "dinner", dish)
    await home.stock("test flour", 1, "kg")

    result = await home.rebuild()

    assert lines(result) == {
        "test spice": (None, None, "to taste"),
        "salt of ours": (None, None, None),
    }
    explained = await home.explain(result["grocery_list"]["id"])
    assert {u["ingredient_name"]: u["text"] for u in explained["unquantified"]} == {
        "test spice": "to taste",
        "salt of ours": "",
    }
    (covered,) = explained["lines"]
    assert (covered["item_id"], covered["to_buy"]) == (None, "0")
    assert covered["ingredient_name"] == "test flour"


async def test_one_food_in_units_that_do_not_compare_is_two_lines(home):
    dish = await home.meal(("test flour", "100 g"), ("test flour", "2 bunches"))
    await home.planned(0, "dinner", dish)

    result = await home.rebuild()

    shown = [(i["quantity"], i["unit_code"]) for i in result["grocery_list"]["items"]]
    assert sorted((float(q), unit) for q, unit in shown) == [(2, "bunch"), (100, "g")]


async def test_computing_twice_changes_nothing(home):
    dish = await home.meal(("test flour", "1 kg"), ("test spice", "a bit"))
    await home.planned(1, "lunch", dish)
    await home.stock("test flour", 250, "g")

    def told(result):
        return [
            {key: value for key, value in item.items() if key != "id"}
            for item in result["grocery_list"]["items"]
        ]

    first, second = await home.rebuild(), await home.rebuild()

    assert told(first) == told(second)
    assert first["grocery_list"]["id"] == second["grocery_list"]["id"]
    list_id = first["grocery_list"]["id"]
    synced = await home.alice.post_ok(f"/grocery-lists/{list_id}/sync-pantry", status=200)
    assert (synced["items_removed"], synced["items_updated"]) == (0, 0)
    explained = await home.explain(list_id)
    assert [float(line["to_buy"]) for line in explained["lines"]] == [750]


async def test_what_people_did_on_the_list_stays(home, kitchen):
    dish = await home.meal(("test flour", "1 kg"), ("test milk", "1 l"), ("test spice", "3 tsp"))
    await home.planned(1, "lunch", dish)
    first = (await home.rebuild())["grocery_list"]
    by_name = {item["ingredient_name"]: item for item in first["items"]}
    db = await kitchen.unit_ids(home.alice)
    manual = {"ingredient_id": by_name["test milk"]["ingredient_id"], "quantity": 300}
    await home.alice.post_ok(f"/grocery-lists/{first['id']}/items", {**manual, "unit_id": db["ml"]})
    flour, spice = by_name["test flour"], by_name["test spice"]
    await home.alice.post_ok(f"/grocery-lists/items/{flour['id']}/mark-purchased", status=200)
    await home.alice.post_ok(f"/grocery-lists/items/{spice['id']}/check", status=200)

    again = await home.rebuild()

    items = again["grocery_list"]["items"]
    assert {(i["ingredient_name"], float(i["quantity"]), i["unit_code"], i["checked"],
             i["is_purchased"], i["is_manual"]) for i in items} == {
        ("test flour", 1, "kg", True, True, False),  # bought, and so in the kitchen
        ("test milk", 300, "ml", False, False, True),
        ("test milk", 700, "ml", False, False, False),
        ("test spice", 3, "tsp", True, False, False),  # still ticked off
    }  # fmt: skip


async def test_rebuilding_at_once_makes_one_list(home):
    dish = await home.meal(("test flour", "1 kg"))
    await home.planned(1, "lunch", dish)

    results = await asyncio.gather(*(home.rebuild() for _ in range(5)))

    assert len({result["grocery_list"]["id"] for result in results}) == 1
    (only,) = await home.alice.read(f"/grocery-lists/family/{home.family['id']}")
    assert len(only["items"]) == 1


async def test_a_plan_of_ones_own_counts_on_ones_own_kitchen(home, kitchen):
    plan = await kitchen.plan(home.alice)
    dish = await home.meal(("test flour", "1 kg"))
    await kitchen.planned(home.alice, plan, 0, "dinner", dish)
    await home.stock("test flour", 900, "g")  # the family's
    await kitchen.stock(home.alice, "test flour", 100, "g")

    path = f"/grocery-lists/rebuild-from-meal-plan/{plan['id']}"
    result = await home.alice.post_ok(path, status=200)

    assert lines(result) == {"test flour": (900, "g", None)}
    assert result["grocery_list"]["scope"] == "personal"
    assert result["grocery_list"]["title"] == "Meal Plan"


async def test_an_absurd_amount_is_kept_as_text(home):
    dish = await home.meal(("test flour", "9000000 kg"), ("test milk", "9999 l"), servings=1)
    await home.planned(0, "dinner", dish, servings=1000)

    result = await home.rebuild()

    assert lines(result)["test flour"] == (None, None, "9000000 kg")


async def test_dropping_the_plan_keeps_the_list(home):
    dish = await home.meal(("test flour", "1 kg"))
    await home.planned(1, "lunch", dish)
    made = (await home.rebuild())["grocery_list"]

    assert (await home.alice.delete(f"/meal-plans/{home.plan['id']}")).status_code == 204

    kept = await home.alice.read(f"/grocery-lists/{made['id']}")
    assert (kept["meal_plan_id"], len(kept["items"])) == (None, 1)


async def test_an_unknown_plan_is_404_by_name(home):
    missing = await home.alice.post("/grocery-lists/rebuild-from-meal-plan/4711")

    assert (missing.status_code, missing.json()["detail"]) == (404, "MealPlan 4711 not found")


async def test_the_list_itself_can_be_rebuilt(home):
    dish = await home.meal(("test flour", "1 kg"))
    await home.planned(1, "lunch", dish)
    made = (await home.rebuild())["grocery_list"]

    path = f"/grocery-lists/{made['id']}/rebuild-from-meal-plan"
    again = await home.alice.post_ok(path, status=200)

    assert again["grocery_list"]["id"] == made["id"]
    named = await home.alice.post_ok(path, {"meal_plan_id": home.plan["id"]}, status=200)
    assert named["grocery_list"]["id"] == made["id"]
    other = await home.alice.post_ok("/grocery-lists", {"scope": "personal"})
    without = await home.alice.post(f"/grocery-lists/{other['id']}/rebuild-from-meal-plan")
    assert without.status_code == 404
