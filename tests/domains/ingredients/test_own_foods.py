"""Foods of a household: who sees them, whose facts count, and how they are changed."""

import asyncio
import itertools

import pytest

from tests.support.sql_statements import Statements

GRAMS = {"canonical_unit_type": "weight", "canonical_unit": "g"}
LIST = "/grocery-lists/rebuild-from-meal-plan"


@pytest.fixture
async def alice(kitchen):
    return await kitchen.person("Alice")


async def names(person):
    return {row["name"] for row in await person.read("/ingredients")}


async def catalogue_food(person, name):
    return next(row for row in await person.read("/ingredients") if row["name"] == name)


async def test_a_typed_name_belongs_to_the_household_of_its_row(kitchen, alice):
    bob, stranger = await kitchen.person("Bob"), await kitchen.person("Sam")
    family = await kitchen.family(alice, bob)

    await kitchen.stock(alice, "Pills of Anna")
    shared = await kitchen.stock(alice, "Gochujang paste", family_id=family["id"])

    new = {"Pills of Anna", "Gochujang paste"}
    assert await names(alice) & new == new
    assert await names(bob) & new == {"Gochujang paste"}
    assert await names(stranger) & new == set()
    food = await bob.read(f"/ingredients/{shared['ingredient_id']}")
    assert (food["scope"], food["family_id"]) == ("family", family["id"])
    await bob.delete(f"/families/{family['id']}/members/{bob.id}")
    assert await names(bob) & new == set()


async def test_the_same_name_is_a_row_for_each_household_and_one_within_it(kitchen, alice):
    bob = await kitchen.person("Bob")
    family = await kitchen.family(alice, bob)
    own = {"family_id": family["id"]}

    hers = [await kitchen.stock(alice, name) for name in ("Kimchi", "KIMCHI", " kimchi ")]
    shared = [await kitchen.stock(one, "kimchi", **own) for one in (alice, bob)]

    assert len({row["ingredient_id"] for row in hers}) == 1
    assert len({row["ingredient_id"] for row in shared}) == 1
    assert hers[0]["ingredient_id"] != shared[0]["ingredient_id"]


async def test_a_food_chosen_by_id_for_another_household_becomes_its_food(kitchen, alice):
    bob = await kitchen.person("Bob")
    family = await kitchen.family(alice, bob)
    hers = await kitchen.ingredient(alice, "Skyr", **GRAMS, density_g_per_ml=1.1)

    item = {"ingredient_id": hers["id"], "quantity": 2, "unit": "cup", "family_id": family["id"]}
    shared = await alice.post_ok("/pantry-items", item)

    assert shared["ingredient_id"] != hers["id"]
    assert shared["canonical_unit"] == "g"
    assert (await bob.read(f"/ingredients/{shared['ingredient_id']}"))["name"] == "Skyr"
    assert (await bob.get(f"/ingredients/{hers['id']}")).status_code == 404


async def test_facts_of_one_household_do_not_change_the_amounts_of_another(kitchen, alice):
    mallory = await kitchen.person("Mallory")
    wrong = {"avg_weight_per_unit_g": 19_000, "density_g_per_ml": 2.9}
    for name in ("Tomatoes", "tomato", "Skyr"):
        await kitchen.ingredient(mallory, name, **GRAMS, **wrong)

    tomatoes = await kitchen.stock(alice, "Tomatoes", 2, "pcs")
    tomato = await kitchen.stock(alice, "tomato", 2, "pcs")
    skyr = await kitchen.stock(alice, "Skyr", 1, "cup")

    assert tomatoes["canonical_quantity"] == tomato["canonical_quantity"]
    assert float(tomatoes["canonical_quantity"]) < 400
    assert skyr["canonical_unit"] != "g"


async def test_a_household_corrects_a_food_of_the_catalogue_for_itself(kitchen, alice):
    bob = await kitchen.person("Bob")
    before = await kitchen.stock(alice, "tomato", 2, "pcs")

    own = await kitchen.ingredient(alice, "Tomato", avg_weight_per_unit_g=500, category="Garden")

    food = await catalogue_food(alice, "tomato")
    assert (own["food_id"], own["canonical_unit"]) == (food["id"], food["canonical_unit"])
    item = (await alice.patch(f"/pantry-items/{before['id']}", {"quantity": 3})).json()
    assert (item["ingredient_id"], float(item["canonical_quantity"])) == (own["id"], 1500)
    # Other names of the food and needs of meals are measured with the correction, too.
    assert float((await kitchen.stock(alice, "Tomatoes", 2, "pcs"))["canonical_quantity"]) == 1000
    plan = await kitchen.plan(alice)
    meal = await kitchen.meal(alice, [("tomatoes", "6")])
    await kitchen.planned(alice, plan, 0, "dinner", meal)
    rebuilt = await alice.post_ok(f"{LIST}/{plan['id']}", status=200)
    [line] = rebuilt["grocery_list"]["items"]
    assert float(line["canonical_quantity_needed"]) == 6 * 500 - 1500 - 1000
    assert float((await kitchen.stock(bob, "tomato", 2, "pcs"))["canonical_quantity"]) < 400


async def test_measures_shelf_life_and_aisle_of_an_own_food_win_over_the_catalogue(kitchen, alice):
    bob = await kitchen.person("Bob")
    facts = {"measures": {"clove": 9}, "shelf_life": {"fridge": 99}, "category": "Aardvark"}
    own = await kitchen.ingredient(alice, "Garlic", **facts)
    await kitchen.stock(alice, "garlic", 10, "g")
    plan = await kitchen.plan(alice)
    meal = await kitchen.meal(alice, [("milk", "1 l"), ("garlic", "3 cloves")])
    await kitchen.planned(alice, plan, 0, "dinner", meal)
    rebuilt = await alice.post_ok(f"{LIST}/{plan['id']}", status=200)

    first = rebuilt["grocery_list"]["items"][0]
    assert (first["ingredient_name"], float(first["quantity"])) == ("garlic", 3 * 9 - 10)
    read = await alice.read(f"/ingredients/{own['id']}")
    food = await bob.read(f"/ingredients/{own['food_id']}")
    assert read["measures"] == {**food["measures"], "clove": 9}
    assert read["shelf_life"] == {"pantry": None, "fridge": 99, "freezer": None}
    assert food["measures"]["clove"] < 9
    changed = {"measures": {"head": 60}, "shelf_life": {"pantry": 5}}
    assert (await alice.patch(f"/ingredients/{own['id']}", changed)).status_code == 200
    read = await alice.read(f"/ingredients/{own['id']}")
    assert (read["measures"]["head"], read["measures"]["clove"]) == (60, food["measures"]["clove"])
    assert read["shelf_life"]["pantry"] == 5


@pytest.mark.parametrize(
    "facts",
    [
        {"measures": {"clove": 0}},
        {"measures": {"cup": 240}},
        {"shelf_life": {"pantry": 0}},
        {"density_g_per_ml": 0.04},
        {"density_g_per_ml": 3.01},
        {"avg_weight_per_unit_g": 20_000},
        {"avg_weight_per_unit_g": 0},
    ],
    ids=str,
)
async def test_facts_that_no_food_has_are_refused(alice, facts):
    assert (await alice.post("/ingredients", {"name": "Tomatoes", **facts})).status_code == 422


async def test_a_food_in_use_is_not_deleted_and_the_answer_tells_where(kitchen, alice):
    family = await kitchen.family(alice)
    own = {"family_id": family["id"]}
    kimchi = await kitchen.ingredient(alice, "Kimchi", **own)
    path = f"/ingredients/{kimchi['id']}"
    item = await kitchen.stock(alice, "Kimchi", **own)
    created = await alice.post_ok("/grocery-lists", {"scope": "family", **own})
    line = {"ingredient_id": kimchi["id"]}
    await alice.post_ok(f"/grocery-lists/{created['id']}/items", line)
    await alice.patch("/preferences/me", {"disliked_ingredient_ids": [kimchi["id"]]})
    stranger = await kitchen.person("Sam")
    preferences = {"allergen_ingredient_ids": [kimchi["id"]]}
    await former_member(stranger, family, alice, preferences)

    refused = await alice.delete(path)

    assert (refused.status_code, refused.json()["code"]) == (409, "ingredient_in_use")
    for place in ("the pantry", "a shopping list", "the preferences of a user"):
        assert place in refused.json()["detail"]
    await alice.delete(f"/pantry-items/{item['id']}")
    await alice.delete(f"/grocery-lists/{created['id']}")
    await alice.patch("/preferences/me", {"disliked_ingredient_ids": []})
    assert (await stranger.get(path)).status_code == 404
    assert (await alice.delete(path)).status_code == 204


async def former_member(person, family, owner, preferences):
    """Let a person join a family, set preferences, and leave."""
    await person.post_ok("/families/join", {"invite_code": family["invite_code"]}, 200)
    await person.post_ok("/preferences/me", preferences)
    left = await owner.delete(f"/families/{family['id']}/members/{person.id}")
    assert left.status_code in (200, 204), left.text


async def shopping_for(kitchen, person, *meal):
    """Plan a meal, build its list, and return the lines as name and amount."""
    plan = await kitchen.plan(person)
    await kitchen.planned(person, plan, 0, "dinner", await kitchen.meal(person, meal))
    rebuilt = await person.post_ok(f"{LIST}/{plan['id']}", status=200)
    items = rebuilt["grocery_list"]["items"]
    return [(item["ingredient_name"], float(item["quantity"])) for item in items]


async def test_a_renamed_food_is_still_found_by_its_old_name(kitchen, alice):
    item = await kitchen.stock(alice, "Gochujang paste", 500, "g")
    food = f"/ingredients/{item['ingredient_id']}"

    assert (await alice.patch(food, {"name": "Red chilli dip"})).status_code == 200

    [shown] = await alice.read("/pantry-items/me")
    assert shown["ingredient_name"] == "Red chilli dip"
    assert await shopping_for(kitchen, alice, ("gochujang paste", "600 g")) == [
        ("Red chilli dip", 100)
    ]


async def test_a_food_may_have_its_old_name_again_but_not_that_of_another_food(kitchen, alice):
    item = await kitchen.stock(alice, "Gochujang paste", 500, "g")
    await kitchen.ingredient(alice, "Kimchi")
    food = f"/ingredients/{item['ingredient_id']}"
    await alice.patch(food, {"name": "Red chilli dip"})
    await kitchen.stock(alice, "gochujang paste", 100, "g")

    again = await alice.patch(food, {"name": "Gochujang paste"})
    taken = await alice.patch(food, {"name": "KIMCHI"})

    assert (again.status_code, taken.status_code) == (200, 409)
    shown = {row["ingredient_name"] for row in await alice.read("/pantry-items/me")}
    assert shown == {"Gochujang paste"}


async def test_a_merged_food_keeps_stock_lists_and_recipes_together(kitchen, alice):
    dip = await kitchen.stock(alice, "Red chilli dip", 200, "g")
    paste = await kitchen.stock(alice, "Gochujang paste", 300, "g")
    created = await alice.post_ok("/grocery-lists", {"scope": "personal"})
    line = {"ingredient_id": dip["ingredient_id"], "quantity": 1}
    await alice.post_ok(f"/grocery-lists/{created['id']}/items", line)

    merged = await alice.post(
        f"/ingredients/{dip['ingredient_id']}/merge", {"into_id": paste["ingredient_id"]}
    )

    assert (merged.status_code, merged.json()["name"]) == (200, "Gochujang paste")
    pantry = await alice.read("/pantry-items/me")
    [grocery_list] = await alice.read("/grocery-lists/me")
    shown = {item["ingredient_name"] for item in [*pantry, *grocery_list["items"]]}
    assert shown == {"Gochujang paste"}
    needed = ("red chilli dip", "600 g")
    assert await shopping_for(kitchen, alice, needed) == [("Gochujang paste", 100)]
    # Merging back makes the other name the food.
    back = {"into_id": dip["ingredient_id"]}
    assert (await alice.post(f"/ingredients/{paste['ingredient_id']}/merge", back)).json()[
        "food_id"
    ] is None
    assert await shopping_for(kitchen, alice, ("gochujang paste", "600 g")) == [
        ("Red chilli dip", 100)
    ]


async def test_only_foods_of_one_household_are_merged_or_with_the_catalogue(kitchen, alice):
    family = await kitchen.family(alice)
    hers = await kitchen.ingredient(alice, "Kimchi")
    shared = await kitchen.ingredient(alice, "Kimchi", family_id=family["id"])
    path, egg = f"/ingredients/{hers['id']}/merge", await catalogue_food(alice, "egg")

    other = await alice.post(path, {"into_id": shared["id"]})
    itself = await alice.post(path, {"into_id": hers["id"]})
    missing = await alice.post(path, {"into_id": 999_999})
    catalogue = await alice.post(path, {"into_id": egg["id"]})

    codes = [answer.json()["code"] for answer in (other, itself, missing)]
    assert codes == ["ingredients_of_two_owners", "merged_into_itself", "ingredient_not_found"]
    assert [a.status_code for a in (other, itself, missing, catalogue)] == [409, 422, 404, 200]
    assert (await alice.read(f"/ingredients/{hers['id']}"))["food_id"] == egg["id"]


@pytest.mark.parametrize(
    "written",
    ["2 Fresh Gochujang paste (1 jar)", "gochujang pastes", "spicy korean gochujang paste"],
)
async def test_a_recipe_finds_the_households_own_food_by_a_similar_name(kitchen, alice, written):
    await kitchen.stock(alice, "Gochujang paste", 502, "g")

    assert await shopping_for(kitchen, alice, (written, "50 g")) == []
    assert written.lower() not in await names(alice)


async def test_a_chat_recipe_has_its_amounts_in_the_names(kitchen, alice):
    lines = await shopping_for(
        kitchen, alice, ("2 chicken breasts", "1"), ("3 cloves garlic", "1"), ("4 moon cakes", "1")
    )
    own = await shopping_for(
        kitchen, alice, ("chicken breast", "2"), ("garlic", "3 cloves"), ("moon cakes", "4")
    )

    assert sorted(lines) == sorted(own)
    assert "moon cakes" in await names(alice)


async def test_own_names_do_not_hide_foods_of_the_catalogue(kitchen, alice):
    await kitchen.stock(alice, "Large egg of ours", 3, "pcs")
    await kitchen.stock(alice, "egg", 6, "pcs")

    assert await shopping_for(kitchen, alice, ("2 eggs, beaten", "2")) == []


async def test_a_personal_list_is_compared_with_the_familys_own_foods(kitchen, alice):
    family = await kitchen.family(alice)
    await kitchen.stock(alice, "Gochujang paste", 500, "g", family_id=family["id"])
    created = await alice.post_ok("/grocery-lists", {"scope": "personal"})
    hers = await kitchen.ingredient(alice, "gochujang paste")
    unit_ids = await kitchen.unit_ids(alice)
    line = {"ingredient_id": hers["id"], "quantity": 400, "unit_id": unit_ids["g"]}
    await alice.post_ok(f"/grocery-lists/{created['id']}/items", line)

    synced = await alice.post_ok(f"/grocery-lists/{created['id']}/sync-pantry", status=200)

    assert synced["items_removed"] == 1


async def test_a_deleted_family_takes_its_foods_and_their_rows_along(kitchen, alice):
    family = await kitchen.family(alice)
    own = {"family_id": family["id"]}
    await kitchen.stock(alice, "Kimchi", 1, "kg", **own)
    plan = await kitchen.plan(alice, family)
    meal = await kitchen.meal(alice, [("Kimchi", "2 kg"), ("Natto", "1 pack")])
    await kitchen.planned(alice, plan, 0, "dinner", meal)
    await alice.post_ok(f"{LIST}/{plan['id']}", status=200)

    assert (await alice.delete(f"/families/{family['id']}")).status_code == 200

    assert await names(alice) & {"Kimchi", "natto"} == set()


async def test_the_new_foods_of_a_meal_take_one_statement_even_at_the_same_time(
    kitchen, alice, database_url
):
    created = [await alice.post_ok("/grocery-lists", {"scope": "personal"}) for _ in range(4)]
    numbers = []
    for words, shopping in zip((invented(1, "q"), invented(40, "x")), created, strict=False):
        meal = await kitchen.meal(alice, [(word, "1 g") for word in words])
        with Statements() as sent:
            added = await add_meal(alice, meal, shopping)
        assert added.json()["items_added"] == len(words)
        numbers.append(sent.number)

    words = invented(30, "z")
    meals = [
        await kitchen.meal(alice, [(word, "1 g") for word in ordered])
        for ordered in (words, reversed(words))
    ]
    responses = await asyncio.gather(
        *(add_meal(alice, meal, one) for meal, one in zip(meals * 2, created, strict=True))
    )

    if database_url.startswith("postgresql"):  # SQLAlchemy inserts row by row in SQLite
        assert numbers[1] <= numbers[0] + 3
    assert [one.status_code for one in responses] == [200] * 4
    names = [row["name"] for row in await alice.read("/ingredients")]
    assert sorted(name for name in names if name.endswith("zy")) == sorted(words)


def invented(number, letter):
    """Return names of foods that no catalogue has and that resemble no others."""
    pairs = itertools.product("bdfgkmpt", repeat=2)
    return [f"{letter}{one}o{two}u{letter}y" for one, two in itertools.islice(pairs, number)]


async def add_meal(person, meal, shopping_list):
    body = {"recipe_id": meal["id"], "list_id": shopping_list["id"]}
    return await person.post("/grocery-lists/add-from-recipe", body)
