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
    own = {"family_id": Home.family["id"]}
    Home.flour = await kitchen.ingredient(Home.alice, "test flour", **FLOUR, **own)
    Home.unit_ids = await kitchen.unit_ids(Home.alice)

    async def create_list(person=None, **fields):
        body = {"scope": "family", "family_id": Home.family["id"], **fields}
        return await (person or Home.alice).post_ok("/grocery-lists", body)

    async def item(grocery_list, **fields):
        body = {"ingredient_id": Home.flour["id"], **fields}
        return await Home.alice.post_ok(f"/grocery-lists/{grocery_list['id']}/items", body)

    Home.list, Home.item = staticmethod(create_list), staticmethod(item)
    return Home


async def test_lists_are_in_the_order_of_their_creation_and_can_be_filtered_by_status(home):
    first, second = await home.list(title="First"), await home.list(status="finalized")
    path = f"/grocery-lists/family/{home.family['id']}"

    listed = await home.bob.get(path)

    assert listed.headers["cache-control"] == "no-store"
    assert [shopping_list["id"] for shopping_list in listed.json()] == [first["id"], second["id"]]
    assert (first["status"], first["title"], first["items"]) == ("draft", "First", [])
    assert [
        shopping_list["id"] for shopping_list in await home.bob.read(path, status="finalized")
    ] == [second["id"]]
    assert await home.bob.read(path, status="nonsense", unknown="ignored") == []
    assert await home.alice.read("/grocery-lists/me") == []


async def test_lists_are_returned_in_pages_if_the_client_asks_for_a_limit(home):
    ids = [(await home.list())["id"] for _ in range(5)]
    path, paged_ids = f"/grocery-lists/family/{home.family['id']}?limit=2", []

    while path:
        page = await home.alice.get(path)
        paged_ids += [shopping_list["id"] for shopping_list in page.json()]
        assert len(page.json()) <= 2
        path = page.links["next"]["url"] if "next" in page.links else None

    assert paged_ids == ids
    refused = await home.alice.get(f"/grocery-lists/family/{home.family['id']}?cursor=bad&limit=2")
    assert refused.status_code == 422


async def test_a_familys_list_names_its_creator_as_owner_only_to_the_creator(home):
    created = await home.list(home.bob)

    assert created["owner_user_id"] == home.bob.id
    seen_by_alice = await home.alice.read(f"/grocery-lists/{created['id']}")
    assert seen_by_alice["owner_user_id"] == home.alice.id  # the family's owner
    assert seen_by_alice["created_by_user_id"] == home.bob.id


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
async def test_an_invalid_list_is_refused(home, body, status):
    assert (await home.alice.post("/grocery-lists", body)).status_code == status
    assert await home.alice.read("/grocery-lists/me") == []


async def test_a_list_update_changes_only_the_sent_fields(home):
    created = await home.list(title="Before")
    path = f"/grocery-lists/{created['id']}"

    changed = (await home.bob.patch(path, {"status": "purchased"})).json()

    assert (changed["title"], changed["status"]) == ("Before", "purchased")
    assert (await home.bob.patch(path, {"status": "eaten"})).status_code == 422
    assert (await home.bob.patch(path, {"meal_plan_id": 4711})).status_code == 404
    assert (await home.bob.delete(path)).status_code == 204
    assert (await home.bob.get(path)).json()["detail"] == "List not found"


async def test_lines_can_be_added_changed_checked_and_removed(home):
    shopping_list = await home.list()
    item = await home.item(shopping_list, quantity="1.5", unit_id=home.unit_ids["kg"], note="fine")
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
    checked = (await home.bob.post(f"{path}/check")).json()
    assert checked["checked"] is True
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
async def test_an_invalid_line_is_refused(home, body, status):
    shopping_list = await home.list()
    whole = {"ingredient_id": home.flour["id"], **body}
    item = await home.item(shopping_list)

    assert (
        await home.alice.post(f"/grocery-lists/{shopping_list['id']}/items", whole)
    ).status_code == status
    if "ingredient_id" not in body:
        path = f"/grocery-lists/items/{item['id']}"
        assert (await home.alice.patch(path, body)).status_code == status
    assert len((await home.alice.read(f"/grocery-lists/{shopping_list['id']}"))["items"]) == 1


async def test_checked_lines_can_be_removed_together(home):
    shopping_list = await home.list()
    unchecked, checked = (
        await home.item(shopping_list),
        await home.item(shopping_list, checked=True),
    )

    response = await home.bob.delete(f"/grocery-lists/{shopping_list['id']}/items/checked")

    assert response.json()["items_removed"] == 1
    remaining = (await home.bob.read(f"/grocery-lists/{shopping_list['id']}"))["items"]
    assert [item["id"] for item in remaining] == [unchecked["id"]] != [checked["id"]]


@pytest.mark.parametrize("method", ["POST", "DELETE"])
async def test_a_line_can_be_removed_through_its_own_list_only(home, method):
    shopping_list, other_list = await home.list(), await home.list()
    item = await home.item(shopping_list)
    choice = {"item_id": item["id"]}

    elsewhere = f"/grocery-lists/{other_list['id']}/remove-item"
    assert (await home.bob.request(method, elsewhere, json=choice)).status_code == 404
    here = f"/grocery-lists/{shopping_list['id']}/remove-item"
    assert (await home.bob.request(method, here, json=choice)).status_code == 204


async def test_a_line_is_removed_by_the_path_that_the_app_sends(home):
    shopping_list, other_list = await home.list(), await home.list()
    item = await home.item(shopping_list)

    elsewhere = f"/grocery-lists/{other_list['id']}/remove-item/{item['id']}"
    assert (await home.bob.delete(elsewhere)).status_code == 404
    here = f"/grocery-lists/{shopping_list['id']}/remove-item/{item['id']}"
    assert (await home.bob.delete(here)).status_code == 204
    assert (await home.bob.read(f"/grocery-lists/{shopping_list['id']}"))["items"] == []


async def familys_pantry(home):
    return await home.alice.read(f"/pantry-items/family/{home.family['id']}")


async def test_a_purchased_line_goes_to_the_familys_pantry_once(home):
    shopping_list = await home.list()
    item = await home.item(shopping_list, quantity=2, unit_id=home.unit_ids["cup"])
    path = f"/grocery-lists/items/{item['id']}/mark-purchased"

    first = await home.bob.post_ok(path, status=200)
    again = await home.bob.post_ok(path, status=200)

    assert (first["grocery_item"]["is_purchased"], first["grocery_item"]["checked"]) == (True, True)
    assert (first["pantry_quantity_added"], first["pantry_unit"]) == ("254.400", "g")
    assert again["pantry_quantity_added"] is None
    (row,) = await familys_pantry(home)
    assert (row["quantity"], row["unit"], row["canonical_quantity"]) == ("2.000", "cup", "254.400")
    assert (row["ingredient_name"], row["scope"]) == ("test flour", "family")


async def test_a_purchase_is_added_in_the_unit_of_the_pantry_item(home, kitchen):
    await kitchen.stock(home.alice, "test flour", 1, "lb", family_id=home.family["id"])
    shopping_list = await home.list()
    item = await home.item(shopping_list, quantity="546.408", unit_id=home.unit_ids["g"])

    await home.bob.post_ok(f"/grocery-lists/items/{item['id']}/purchased", status=200)

    (row,) = await familys_pantry(home)
    assert (row["quantity"], row["unit"], row["canonical_quantity"]) == ("2.205", "lb", "1000.000")


async def test_fresh_food_is_not_added_to_expired_food(home, kitchen):
    expired = await kitchen.stock(
        home.alice, "test flour", 1, "kg", family_id=home.family["id"], expires_at="2020-01-01"
    )
    shopping_list = await home.list()
    item = await home.item(shopping_list, quantity=1, unit_id=home.unit_ids["kg"])

    await home.bob.post_ok(f"/grocery-lists/items/{item['id']}/mark-purchased", status=200)

    rows = {row["id"]: row for row in await familys_pantry(home)}
    assert rows.pop(expired["id"]) == expired
    assert [row["canonical_quantity"] for row in rows.values()] == ["1000.000"]


async def test_a_purchase_without_an_amount_leaves_the_pantry_as_it_is(home, kitchen):
    stocked = await kitchen.stock(home.alice, "test flour", 1, "kg", family_id=home.family["id"])
    shopping_list = await home.list()
    item = await home.item(shopping_list, note="a bit")

    bought = await home.bob.post_ok(f"/grocery-lists/items/{item['id']}/mark-purchased", status=200)

    assert bought["pantry_quantity_added"] is None
    assert [row["quantity"] for row in await familys_pantry(home)] == [stocked["quantity"]]


async def test_simultaneous_purchases_add_up_exactly(home, kitchen):
    await kitchen.stock(home.alice, "test flour", 1, "g", family_id=home.family["id"])
    shopping_list = await home.list()
    items = [
        await home.item(shopping_list, quantity=1, unit_id=home.unit_ids["g"]) for _ in range(10)
    ]
    paths = [f"/grocery-lists/items/{item['id']}/mark-purchased" for item in items]

    responses = await asyncio.gather(*(home.bob.post(path) for path in paths * 2))

    assert {response.status_code for response in responses} == {200}
    (row,) = await familys_pantry(home)
    assert (row["quantity"], row["canonical_quantity"]) == ("11.000", "11.000")


async def test_simultaneous_checks_of_a_line_all_count(home):
    item = await home.item(await home.list())
    path = f"/grocery-lists/items/{item['id']}/check"

    responses = await asyncio.gather(
        *(person.post(path) for person in (home.alice, home.bob) for _ in range(25))
    )

    assert {response.status_code for response in responses} == {200}
    assert sum(response.json()["checked"] for response in responses) == 25
    assert (await home.alice.post(path)).json()["checked"] is True


async def test_the_ingredients_of_a_meal_are_added_to_a_list_with_their_amounts_as_notes(
    home, kitchen
):
    meal = await kitchen.meal(
        home.alice,
        [("test flour", "2 cups"), ("Test Flour", "a bit more"), ("Grandma's Mix", "1 Bag")],
        name="Cake",
    )
    body = {"recipe_id": meal["id"], "scope": "family", "family_id": home.family["id"]}

    added = await home.alice.post_ok("/grocery-lists/add-from-recipe", body, status=200)

    assert added["items_added"] == 2
    assert added["grocery_list"]["title"] == "Cake"
    assert added["grocery_list"]["created_by_user_id"] == home.alice.id
    assert [
        (missing["ingredient_name"], missing["note"], missing["source"])
        for missing in added["missing_ingredients"]
    ] == [
        ("test flour", "2 cups, a bit more", "not_in_pantry"),
        ("grandma's mix", "1 Bag", "not_in_pantry"),
    ]
    same = {"meal_id": meal["id"], "list_id": added["grocery_list"]["id"]}
    doubled_servings = {**same, "servings_multiplier": 2}
    assert (await home.alice.post_ok("/grocery-lists/add-from-recipe", same, status=200))[
        "items_added"
    ] == 0
    doubled = await home.alice.post_ok(
        "/grocery-lists/add-from-recipe", doubled_servings, status=200
    )
    assert [missing["note"] for missing in doubled["missing_ingredients"]] == [
        "2 cups, a bit more, 4 cups",
        "1 Bag, 2 packages",
    ]


async def test_ingredients_that_the_meal_marks_as_in_the_pantry_are_not_added_to_the_list(
    home, kitchen
):
    ingredients = [
        {"name": "test flour", "amount": 1, "unit": "kg", "in_pantry": True},
        {"name": "test milk", "amount": "1 l", "inPantry": False},
    ]
    meal = await kitchen.meal(home.alice, ingredients=ingredients)
    body = {"recipe_id": meal["id"], "scope": "personal", "title": "Mine"}

    added = await home.alice.post_ok("/grocery-lists/add-from-recipe", body, status=200)

    assert [missing["ingredient_name"] for missing in added["missing_ingredients"]] == ["test milk"]
    assert added["grocery_list"]["title"] == "Mine"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"scope": "personal"}, 400),  # Bob cannot see Alice's meal
        ({}, 422),
        ({"scope": "family"}, 422),
        ({"list_id": 4711}, 400),
        ({"scope": "personal", "servings_multiplier": 0}, 422),
        ({"scope": "personal", "servings_multiplier": "NaN"}, 422),
    ],
    ids=str,
)
async def test_a_meal_that_the_user_cannot_see_is_not_added_to_a_list(home, kitchen, body, status):
    meal = await kitchen.meal(home.alice, [("test flour", "1 g")])

    refused = await home.bob.post(
        "/grocery-lists/add-from-recipe", {"recipe_id": meal["id"], **body}
    )

    assert refused.status_code == status
    if status == 400:
        assert refused.json()["detail"] == f"Meal {meal['id']} not found"
    assert await home.bob.read("/grocery-lists/me") == []


async def test_an_explanation_also_names_lines_that_no_plan_needs(home):
    shopping_list = await home.list()
    line = await home.item(shopping_list, quantity=2, unit_id=home.unit_ids["kg"])
    without_amount = await home.item(shopping_list, note="some")

    explained = await home.bob.read(f"/grocery-lists/{shopping_list['id']}/explanation")

    (explained_line,) = explained["lines"]
    assert (explained_line["item_id"], explained_line["needed"], explained_line["covered"]) == (
        line["id"],
        [],
        [],
    )
    assert (float(explained_line["to_buy"]), explained_line["unit"]) == (2, "kg")
    assert explained["unquantified"] == [
        {"item_id": without_amount["id"], "ingredient_name": "test flour", "text": "some"}
    ]
