import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freshly.domains.ingredients.catalogue import foods, name_index
from freshly.domains.ingredients.names import cleaned, name_key, singular
from freshly.domains.ingredients.seeding import seed
from freshly.domains.ingredients.units import UNITS, find_unit

ALLERGENS = {
    "gluten", "wheat", "crustaceans", "eggs", "fish", "peanuts", "soy", "milk", "tree_nuts",
    "celery", "mustard", "sesame", "sulphites", "lupin", "molluscs",
}  # fmt: skip
FACT_KEYS = {"measures", "aliases", "shelf_life", "allergens", "nutrition", "source"}


@pytest.fixture
async def alice(kitchen):
    return await kitchen.person("Alice")


async def test_a_new_installation_has_the_catalogue(alice):
    listed = await alice.read("/ingredients")

    assert len(listed) == len(foods())
    assert [row["name"] for row in listed] == sorted(row["name"] for row in listed)
    egg = next(row for row in listed if row["name"] == "egg")
    assert (egg["canonical_unit_type"], egg["canonical_unit"]) == ("count", "count")
    assert egg["avg_weight_per_unit_g"] == pytest.approx(50, abs=10)
    details = await alice.read(f"/ingredients/{egg['id']}")
    assert details.keys() == egg.keys() | FACT_KEYS
    assert details["allergens"] == ["eggs"]
    assert details["shelf_life"]["fridge"] > 7
    assert "ei" in details["aliases"]["de"]
    assert details["source"]


async def test_a_new_installation_has_every_unit(alice):
    listed = await alice.read("/units")

    codes = {unit["code"] for unit in listed}
    assert codes == {unit.code for unit in UNITS} | {"pcs", "L"}
    assert {"g", "kg", "ml", "l", "cup", "tbsp", "tsp", "oz", "lb", "count"} <= codes
    assert await alice.read(f"/units/{listed[0]['id']}") == listed[0]
    assert (await alice.get("/units/999999")).status_code == 404
    assert (await alice.post("/units", {"code": "x"})).status_code == 405


async def test_seeding_again_changes_nothing(alice, db):
    before = await alice.read("/ingredients")

    async with db.write() as session:
        assert await seed(session) == 0

    assert await alice.read("/ingredients") == before


async def test_a_user_adds_changes_and_deletes_their_own_food(alice, kitchen):
    bob = await kitchen.person("Bob")
    ingredient = await kitchen.ingredient(alice, " Moon Dust ", density_g_per_ml=0.5)
    path = f"/ingredients/{ingredient['id']}"

    assert (ingredient["name"], ingredient["scope"]) == ("Moon Dust", "personal")
    duplicate = await alice.post("/ingredients", {"name": "moon dust"})
    assert (duplicate.status_code, duplicate.json()["detail"]) == (
        409,
        "An ingredient with this name already exists. Please choose another name.",
    )
    changed = (await alice.patch(path, {"category": "space"})).json()
    assert changed == {**ingredient, "category": "space"}
    assert (await kitchen.ingredient(bob, "moon dust"))["id"] != ingredient["id"]
    assert (await alice.delete(path)).status_code == 204
    assert (await alice.get(path)).status_code == 404


async def test_a_food_of_the_catalogue_cannot_be_changed_or_deleted(alice):
    egg = next(row for row in await alice.read("/ingredients") if row["name"] == "egg")

    path = f"/ingredients/{egg['id']}"
    answers = [
        await alice.patch(path, {"category": "x"}),
        await alice.delete(path),
        await alice.post(f"{path}/merge", {"into_id": egg["id"] + 1}),
    ]
    assert {answer.status_code for answer in answers} == {403}
    assert {answer.json()["code"] for answer in answers} == {"catalogue_is_read_only"}


async def test_simultaneous_new_ingredients_of_one_name_create_one(alice):
    responses = await asyncio.gather(
        *(alice.post("/ingredients", {"name": "Moon Dust"}) for _ in range(5))
    )

    assert sorted(response.status_code for response in responses) == [201, 409, 409, 409, 409]


@pytest.mark.parametrize(
    "ingredient",
    [
        {"name": "x"},
        {"name": "x" * 121},
        {"name": "a\0b"},
        {"name": "xx", "density_g_per_ml": -1},
        {"name": "xx", "density_g_per_ml": "Infinity"},
        {"name": "xx", "canonical_unit_type": "length"},
        {"name": "xx", "canonical_unit": "u" * 17},
        {"name": "xx", "pieces_per_package": 2**31},
    ],
    ids=lambda fields: str(fields)[:40],
)
async def test_an_invalid_ingredient_is_refused(alice, ingredient):
    assert (await alice.post("/ingredients", ingredient)).status_code == 422


def test_the_catalogue_is_large_and_its_facts_are_plausible():
    listed = foods()

    assert len(listed) >= 150
    assert len({food.name for food in listed}) == len(listed)
    for food in listed:
        assert food.name == food.name.lower().strip(), food.name
        assert food.source, food.name
        assert (food.kind, food.unit) in {
            ("weight", "g"), ("volume", "ml"), ("count", "count")
        }, food.name  # fmt: skip
        assert food.density is None or 0.03 <= food.density <= 1.6, food.name
        assert food.piece_weight is None or 0 < food.piece_weight <= 20_000, food.name
        assert any(food.shelf_life.values()), food.name
        assert set(food.allergens or ()) <= ALLERGENS, food.name
        assert food.kind != "count" or food.piece_weight, food.name
        for code, grams in food.measures.items():
            assert find_unit(code).code == code, food.name
            assert grams > 0, food.name


def test_the_nutrition_facts_of_the_catalogue_add_up():
    """Protein and carbohydrate have about 4 kcal per gram, fat has 9. Fibre has less."""
    alcoholic = {"red wine", "white wine", "vanilla extract"}
    for food in foods():
        nutrition = food.nutrition
        parts = [
            nutrition["protein_g"],
            nutrition["carbohydrate_g"],
            nutrition["fat_g"],
            nutrition["kcal"],
        ]
        if None in parts or food.name in alcoholic:
            continue
        protein, carbohydrate, fat, kcal = parts
        assert protein + carbohydrate + fat <= 101, food.name
        assert kcal <= 4 * protein + 4 * carbohydrate + 9 * fat + 40, food.name


def test_no_name_or_alias_means_two_foods():
    food_by_key = {}
    for food in foods():
        keys = {name_key(food.name)}
        keys |= {name_key(alias) for aliases in food.aliases.values() for alias in aliases}
        for key in keys:
            assert food_by_key.setdefault(key, food.name) == food.name, key


@pytest.mark.parametrize(
    ("text", "food"),
    [
        ("egg", "egg"),
        ("Eggs", "egg"),
        ("2 large eggs, beaten", "egg"),
        ("all-purpose flour", "flour"),
        ("Mehl", "flour"),
        ("organic eggs", "egg"),
        ("boneless, skinless chicken breasts", "chicken breast"),
        ("free-range chicken breast", "chicken breast"),
        ("roma tomatoes", "tomato"),
        ("Bananas", "banana"),
        ("Chickpeas", "canned chickpea"),
        ("spring onions", "spring onion"),
        ("extra virgin olive oil", "olive oil"),
        ("brocolli", "broccoli"),
        ("garlic cloves, minced", "garlic"),
        ("Zwiebeln", "onion"),
        ("pommes de terre", "potato"),
        ("aubergines", "eggplant"),
        ("huevos", "egg"),
        ("hemp milk", None),
        ("cashew butter", None),
        ("garlic powder", None),
        ("tomato seed oil", None),
        ("eggplant", "eggplant"),
        ("boiled eggplants", "eggplant"),
        ("flourless cake", None),
        ("egg substitute", None),
        ("vegan egg", None),
        ("xyzzy", None),
        ("", None),
        ("123", None),
    ],
)
def test_a_written_name_finds_the_food_that_it_means(text, food):
    result = name_index().find(text)

    assert result == food


@pytest.mark.parametrize(
    ("plural", "expected"),
    [
        ("tomatoes", "tomato"), ("berries", "berry"), ("radishes", "radish"), ("olives", "olive"),
        ("leaves", "leaf"), ("cookies", "cookie"), ("asparagus", "asparagus"), ("hummus", "hummus"),
        ("couscous", "couscous"), ("cloves", "clove"), ("boxes", "box"), ("glasses", "glass"),
        ("milks", "milk"), ("swiss", "swiss"), ("gas", "gas"),
    ],
)  # fmt: skip
def test_a_plural_is_turned_into_its_singular(plural, expected):
    assert singular(plural) == expected


@given(st.text(max_size=80))
def test_looking_up_any_name_never_raises(text):
    result = name_index().find(text)

    assert result is None or result in {food.name for food in foods()}
    assert name_key(name_key(text)) == name_key(text) or cleaned(text) is not None
