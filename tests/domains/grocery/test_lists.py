import asyncio

import pytest

ITEM_KEYS = {
    "id",
    "grocery_list_id",
    "ingredient_id",
    "ingredient_name",
    "quantity",
    "unit_id",
    "unit_code",
    "checked",
    "note",
    "is_purchased",
    "is_manual",
    "canonical_quantity_needed",
    "canonical_unit",
    "source_meal_plan_id",
}
FLOUR = {"canonical_unit_type": "weight", "canonical_unit": "g", "density_g_per_ml": 0.53}


@pytest.fixture
async def home(kitchen):
    class Home:
        pass

    Home.alice, Home.bob = await kitchen.person("Alice"), await kitchen.person("Bob")
    Home.family = await kitchen.family(Home.alice, Home.bob)
    Home.flour = await kitchen.ingredient(Home.alice, "test flour", **FLOUR)
    Home.db = await kitchen.unit_ids(Home.alice)

    async def shopping(person=None, **fields):
        body = {"scope": "family", "family_id": Home.family["id"], **fields}
        return await (person or Home.alice).post_ok("/grocery-lists", body)

    async def item(grocery_list, **fields):
        body = {"ingredient_id": Home.flour["id"], **fields}
        return await Home.alice.post_ok(f"/grocery-lists/{grocery_list['id']}/items", body)

    Home.list, Home.item = staticmethod(shopping), staticmethod(item)
    return Home


async def test_lists_come_in_the_order_they_were_made_and_by_status(home):
    first, second = await home.list(title="First"), await home.list(status="finalized")
    path = f"/grocery-lists/family/{home.family['id']}"

    listed = await home.bob.get(path)

    assert listed.headers["cache-control"] == "no-store"
    assert [found["id"] for found in listed.json()] == [first["id"], second["id"]]
    assert (first["status"], first["title"], first["items"]) == ("draft", "First", [])
    assert [f["id"] for f in await home.bob.read(path, status="finalized")] == [second["id"]]
    assert await home.bob.read(path, status="nonsense", unknown="ignored") == []
    assert await home.alice.read("/grocery-lists/me") == []


async def test_long_lists_of_lists_come_in_pages_if_asked(home):
    made = [(await home.list())["id"] for _ in range(5)]
    path, found = f"/grocery-lists/family/{home.family['id']}?limit=2", []

    while path:
        page = await home.alice.get(path)
        found += [each["id"] for each in page.json()]
        assert len(page.json()) <= 2
        path = page.links["next"]["url"] if "next" in page.links else None

    assert found == made
    bad = await home.alice.get(f"/grocery-lists/family/{home.family['id']}?cursor=bad&limit=2")
    assert bad.status_code == 422


async def test_the_owner_of_a_familys_list_is_its_creator_to_the_creator(home):
    made = await home.list(home.bob)

    assert made["owner_user_id"] == home.bob.id
    seen = await home.alice.read(f"/grocery-lists/{made['id']}")
    assert seen["owner_user_id"] == home.alice.id  # the family's owner
    assert seen["created_by_user_id"] == home.bob.id


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"scope": "family"}, 422),
        ({"scope": "personal", "family_id": 1}, 422),
        ({}, 422),
        ({"scope": "family", "family_id": 4711}, 403),
        ({"scope": "family", "family_id": 2**40}, 404),
        ({"scope": "personal", "title": "x" * 201}, 422),
        ({"scope": "personal", "status": "eaten"}, 422),
        ({"scope": "personal", "meal_plan_id": 4711}, 404),
        ({"scope": "personal", "title": "a\0b"}, 422),
    ],
    ids=str,
)
async def test_a_list_that_cannot_be_is_refused(home, body, status):
    assert (await home.alice.post("/grocery-lists", body)).status_code == status
    assert await home.alice.read("/grocery-lists/me") == []


async def test_a_list_changes_only_what_is_sent(home):
    made = await home.list(title="Before")
    path = f"/grocery-lists/{made['id']}"

    changed = (await home.bob.patch(path, {"status": "purchased"})).json()

    assert (changed["title"], changed["status"]) == ("Before", "purchased")
    assert (await home.bob.patch(path, {"status": "eaten"})).status_code == 422
    assert (await home.bob.patch(path, {"meal_plan_id": 4711})).status_code == 404
    assert (await home.bob.delete(path)).status_code == 204
    assert (await home.bob.get(path)).json()["detail"] == "List not found"


async def test_lines_are_added_changed_ticked_off_and_dropped(home):
    made = await home.list()
    item = await home.item(made, quantity="1.5", unit_id=home.db["kg"], note="fine")
    path = f"/grocery-lists/items/{item['id']}"

    assert item.keys() == ITEM_KEYS
    assert (item["quantity"], item["unit_code"], item["ingredient_name"]) == (
        "1.500",
        "kg",
        "test flour",
    )
    assert (item["is_manual"], item["checked"], item["canonical_unit"]) == (True, False, None)
    changed = (await home.bob.patch(path, {"quantity": 2, "note": None})).json()
    assert (changed["quantity"], changed["note"], changed["unit_code"]) == ("2.000", None, "kg")
    ticked = (await home.bob.post(f"{path}/check")).json()
    assert ticked["checked"] is True
    assert (await home.bob.post(f"{path}/check")).json()["checked"] is False
    assert (await home.bob.delete(path)).status_code == 204
    assert (await home.bob.delete(path)).json()["detail"] == "Item not found"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"ingredient_id": 999_999}, 404),
        ({"ingredient_id": 2**40}, 404),
        ({"unit_id": 999_999}, 404),
        ({"quantity": -1}, 422),
        ({"quantity": 10**7}, 422),
        ({"quantity": "NaN"}, 422),
        ({"quantity": "1e400"}, 422),
        ({"note": "a\0b"}, 422),
        ({"note": "x" * 20_001}, 422),
    ],
    ids=str,
)
async def test_a_line_that_cannot_be_is_refused(home, body, status):
    made = await home.list()
    whole = {"ingredient_id": home.flour["id"], **body}
    item = await home.item(made)

    assert (
        await home.alice.post(f"/grocery-lists/{made['id']}/items", whole)
    ).status_code == status
    if "ingredient_id" not in body:
        path = f"/grocery-lists/items/{item['id']}"
        assert (await home.alice.patch(path, body)).status_code == status
    assert len((await home.alice.read(f"/grocery-lists/{made['id']}"))["items"]) == 1


async def test_what_is_ticked_off_is_cleared(home):
    made = await home.list()
    keep, tick = await home.item(made), await home.item(made, checked=True)

    cleared = await home.bob.delete(f"/grocery-lists/{made['id']}/items/checked")

    assert cleared.json()["items_removed"] == 1
    left = (await home.bob.read(f"/grocery-lists/{made['id']}"))["items"]
    assert [item["id"] for item in left] == [keep["id"]] != [tick["id"]]


@pytest.mark.parametrize("method", ["POST", "DELETE"])
async def test_a_line_can_be_dropped_by_its_list(home, method):
    made, other = await home.list(), await home.list()
    item = await home.item(made)
    choice = {"item_id": item["id"]}

    elsewhere = f"/grocery-lists/{other['id']}/remove-item"
    assert (await home.bob.request(method, elsewhere, json=choice)).status_code == 404
    here = f"/grocery-lists/{made['id']}/remove-item"
    assert (await home.bob.request(method, here, json=choice)).status_code == 204


async def familys_pantry(home):
    return await home.alice.read(f"/pantry-items/family/{home.family['id']}")


async def test_what_is_bought_goes_to_the_familys_pantry_once(home):
    made = await home.list()
    item = await home.item(made, quantity=2, unit_id=home.db["cup"])
    path = f"/grocery-lists/items/{item['id']}/mark-purchased"

    first = await home.bob.post_ok(path, status=200)
    again = await home.bob.post_ok(path, status=200)

    assert (first["grocery_item"]["is_purchased"], first["grocery_item"]["checked"]) == (True, True)
    assert (first["pantry_quantity_added"], first["pantry_unit"]) == ("254.400", "g")
    assert again["pantry_quantity_added"] is None
    (row,) = await familys_pantry(home)
    assert (row["quantity"], row["unit"], row["canonical_quantity"]) == ("2.000", "cup", "254.400")
    assert (row["ingredient_name"], row["scope"]) == ("test flour", "family")


async def test_what_is_bought_is_added_in_the_units_of_the_kitchen(home, kitchen):
    await kitchen.stock(home.alice, "test flour", 1, "lb", family_id=home.family["id"])
    made = await home.list()
    item = await home.item(made, quantity="546.408", unit_id=home.db["g"])

    await home.bob.post_ok(f"/grocery-lists/items/{item['id']}/purchased", status=200)

    (row,) = await familys_pantry(home)
    assert (row["quantity"], row["unit"], row["canonical_quantity"]) == ("2.205", "lb", "1000.000")


async def test_fresh_food_is_not_added_to_spoilt_food(home, kitchen):
    old = await kitchen.stock(
        home.alice, "test flour", 1, "kg", family_id=home.family["id"], expires_at="2020-01-01"
    )
    made = await home.list()
    item = await home.item(made, quantity=1, unit_id=home.db["kg"])

    await home.bob.post_ok(f"/grocery-lists/items/{item['id']}/mark-purchased", status=200)

    rows = {row["id"]: row for row in await familys_pantry(home)}
    assert rows.pop(old["id"]) == old
    assert [row["canonical_quantity"] for row in rows.values()] == ["1000.000"]


async def test_buying_what_has_no_amount_loses_nothing(home, kitchen):
    some = await kitchen.stock(home.alice, "test flour", 1, "kg", family_id=home.family["id"])
    made = await home.list()
    item = await home.item(made, note="a bit")

    bought = await home.bob.post_ok(f"/grocery-lists/items/{item['id']}/mark-purchased", status=200)

    assert bought["pantry_quantity_added"] is None
    assert [row["quantity"] for row in await familys_pantry(home)] == [some["quantity"]]


async def test_many_purchases_at_once_add_up_exactly(home, kitchen):
    await kitchen.stock(home.alice, "test flour", 1, "g", family_id=home.family["id"])
    made = await home.list()
    items = [await home.item(made, quantity=1, unit_id=home.db["g"]) for _ in range(10)]
    paths = [f"/grocery-lists/items/{item['id']}/mark-purchased" for item in items]

    answers = await asyncio.gather(*(home.bob.post(path) for path in paths * 2))

    assert {answer.status_code for answer in answers} == {200}
    (row,) = await familys_pantry(home)
    assert (row["quantity"], row["canonical_quantity"]) == ("11.000", "11.000")


async def test_many_toggles_at_once_are_all_counted(home):
    item = await home.item(await home.list())
    path = f"/grocery-lists/items/{item['id']}/check"

    answers = await asyncio.gather(
        *(person.post(path) for person in (home.alice, home.bob) for _ in range(25))
    )

    assert {answer.status_code for answer in answers} == {200}
    assert sum(answer.json()["checked"] for answer in answers) == 25
    assert (await home.alice.post(path)).json()["checked"] is True


async def test_a_meals_ingredients_go_on_a_list_with_their_amounts_as_notes(home, kitchen):
    meal = await kitchen.meal(
        home.alice,
        [("test flour", "2 cups"), ("Test Flour", "a bit more"), ("Grandma's Mix", "1 Bag")],
        name="Cake",
    )
    wanted = {"recipe_id": meal["id"], "scope": "family", "family_id": home.family["id"]}

    added = await home.alice.post_ok("/grocery-lists/add-from-recipe", wanted, status=200)

    assert added["items_added"] == 2
    assert added["grocery_list"]["title"] == "Cake"
    assert added["grocery_list"]["created_by_user_id"] == home.alice.id
    assert [
        (m["ingredient_name"], m["note"], m["source"]) for m in added["missing_ingredients"]
    ] == [
        ("test flour", "2 cups, a bit more", "not_in_pantry"),
        ("grandma's mix", "1 Bag", "not_in_pantry"),
    ]
    again = {"meal_id": meal["id"], "list_id": added["grocery_list"]["id"]}
    more = {**again, "servings_multiplier": 2}
    assert (await home.alice.post_ok("/grocery-lists/add-from-recipe", again, status=200))[
        "items_added"
    ] == 0
    doubled = await home.alice.post_ok("/grocery-lists/add-from-recipe", more, status=200)
    assert [m["note"] for m in doubled["missing_ingredients"]] == [
        "2 cups, a bit more, 4 cup",
        "1 Bag, 2 package",
    ]


async def test_what_the_meal_says_is_in_the_pantry_is_not_put_on_the_list(home, kitchen):
    ingredients = [
        {"name": "test flour", "amount": 1, "unit": "kg", "in_pantry": True},
        {"name": "test milk", "amount": "1 l", "inPantry": False},
    ]
    meal = await kitchen.meal(home.alice, ingredients=ingredients)
    wanted = {"recipe_id": meal["id"], "scope": "personal", "title": "Mine"}

    added = await home.alice.post_ok("/grocery-lists/add-from-recipe", wanted, status=200)

    assert [m["ingredient_name"] for m in added["missing_ingredients"]] == ["test milk"]
    assert added["grocery_list"]["title"] == "Mine"


@pytest.mark.parametrize(
    ("wanted", "status"),
    [
        ({"scope": "personal"}, 400),  # of a meal that is Alice's alone
        ({}, 422),
        ({"scope": "family"}, 422),
        ({"list_id": 4711}, 400),
        ({"scope": "personal", "servings_multiplier": 0}, 422),
        ({"scope": "personal", "servings_multiplier": "NaN"}, 422),
    ],
    ids=str,
)
async def test_a_meal_one_may_not_see_is_not_put_on_a_list(home, kitchen, wanted, status):
    meal = await kitchen.meal(home.alice, [("test flour", "1 g")])

    refused = await home.bob.post(
        "/grocery-lists/add-from-recipe", {"recipe_id": meal["id"], **wanted}
    )

    assert refused.status_code == status
    if status == 400:
        assert refused.json()["detail"] == f"Meal {meal['id']} not found"
    assert await home.bob.read("/grocery-lists/me") == []


async def test_an_explanation_also_names_what_no_plan_asked_for(home):
    made = await home.list()
    line = await home.item(made, quantity=2, unit_id=home.db["kg"])
    bare = await home.item(made, note="some")

    explained = await home.bob.read(f"/grocery-lists/{made['id']}/explanation")

    (known,) = explained["lines"]
    assert (known["item_id"], known["needed"], known["covered"]) == (line["id"], [], [])
    assert (float(known["to_buy"]), known["unit"]) == (2, "kg")
    assert explained["unquantified"] == [
        {"item_id": bare["id"], "ingredient_name": "test flour", "text": "some"}
    ]
