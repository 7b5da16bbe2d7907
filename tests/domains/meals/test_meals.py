import pytest
from sqlalchemy import update

from freshly.domains.meals.models import Meal
from tests.support.api import MEAL

CAMEL = {
    "id", "createdByUserId", "familyId", "name", "image", "calories", "prepTime", "cookTime",
    "totalTime", "mealType", "cuisine", "tags", "macros", "difficulty", "servings",
    "dietCompatibility", "goalFit", "ingredients", "instructions", "cookingTools", "notes",
    "isFavorite",
}  # fmt: skip
SNAKE = {
    "created_by_user_id", "family_id", "prep_time", "cook_time", "total_time", "meal_type",
    "diet_compatibility", "goal_fit", "cooking_tools", "is_favorite", "created_at", "updated_at",
}  # fmt: skip


@pytest.fixture
async def alice(kitchen):
    return await kitchen.person("Alice")


async def test_a_meal_is_accepted_in_snake_case_and_returned_in_camel_case(alice):
    snake = {
        "name": "Soup", "image": "", "calories": 1, "prep_time": 1, "cook_time": 2,
        "total_time": 3, "meal_type": "Lunch", "cuisine": "", "tags": ["a"],
        "macros": {"protein": 1, "fats": 2, "carbs": 3}, "difficulty": "Hard", "servings": 4,
        "diet_compatibility": [], "goal_fit": [], "instructions": [], "cooking_tools": [],
        "is_favorite": True,
        "ingredients": [
            {"name": "leek", "amount": 2, "unit": "pcs", "in_pantry": True},
            {"name": "oil", "amount": 1.50},
            {"name": "salt", "amount": "to taste", "inPantry": False},
            {"name": "water", "amount": "1 l", "unit": "l"},
        ],
    }  # fmt: skip

    meal = await alice.post_ok("/meals/me", snake)

    assert meal.keys() == CAMEL
    assert (meal["prepTime"], meal["mealType"], meal["isFavorite"]) == (1, "Lunch", True)
    assert (meal["notes"], meal["familyId"], meal["createdByUserId"]) == ("", None, alice.id)
    assert meal["ingredients"] == [
        {"name": "leek", "amount": "2 pcs", "inPantry": True},
        {"name": "oil", "amount": "1.5", "inPantry": False},
        {"name": "salt", "amount": "to taste", "inPantry": False},
        {"name": "water", "amount": "1 l", "inPantry": False},
    ]


async def test_the_list_of_meals_has_both_spellings_and_no_passwords(alice, kitchen):
    created = await kitchen.meal(alice, [("rice", "1 cup")])

    listed = await alice.get("/meals/me")

    (meal,) = listed.json()
    assert meal.keys() == CAMEL | SNAKE | {"createdAt", "updatedAt"}
    assert {key: meal[key] for key in CAMEL - {"ingredients"}} == {
        key: created[key] for key in CAMEL - {"ingredients"}
    }
    assert meal["ingredients"] == [
        {"name": "rice", "amount": "1 cup", "inPantry": False, "in_pantry": False}
    ]
    assert meal["meal_type"] == meal["mealType"] == "Dinner"
    assert (await alice.get(f"/meals/{created['id']}")).json() == meal
    assert "password" not in listed.text


RICE = {"name": "rice", "amount": "1 cup"}
NULLS = dict.fromkeys(
    ("tags", "macros", "diet_compatibility", "goal_fit", "cooking_tools")
)  # the columns that may be null


@pytest.mark.parametrize(
    ("stored", "shown"),
    [
        (NULLS, {"tags": [], "macros": {"protein": 0, "fats": 0, "carbs": 0}, "goalFit": []}),
        (
            {"macros": {"protein": 3, "carbs": 1}},
            {"macros": {"protein": 3, "fats": 0, "carbs": 1}},
        ),
        ({"ingredients": [RICE]}, {"ingredients": [{**RICE, "inPantry": False}]}),
        (
            {"ingredients": [{**RICE, "in_pantry": True}]},
            {"ingredients": [{**RICE, "inPantry": True}]},
        ),
        (  # only `in_pantry` is read; other keys are ignored
            {"ingredients": [{**RICE, "inPantry": True, "unit": "cup"}]},
            {"ingredients": [{**RICE, "inPantry": False}]},
        ),
        ({"ingredients": []}, {"ingredients": []}),
        ({"tags": ['"quoted", "in_pantry": true', "\n\u2028 \\ é 🥕"]}, {}),
    ],
    ids=[
        "nulls",
        "macros without fats",
        "ingredient without in_pantry",
        "ingredient in the pantry",
        "ingredient with other keys",
        "no ingredients",
        "special characters",
    ],
)
async def test_the_list_and_a_single_meal_show_stored_values_alike(
    alice, kitchen, db, stored, shown
):
    other, meal = await kitchen.meal(alice), await kitchen.meal(alice)
    async with db.write() as session:
        await session.execute(update(Meal).where(Meal.id == meal["id"]).values(**stored))

    single = await alice.read(f"/meals/{meal['id']}")
    listed = await alice.read("/meals/me")

    assert listed == [await alice.read(f"/meals/{other['id']}"), single]
    for ingredient in single["ingredients"]:
        assert ingredient.pop("in_pantry") is ingredient["inPantry"]
    assert {name: single[name] for name in shown} == shown


async def test_an_unchanged_list_is_304_without_a_body(alice, kitchen):
    await kitchen.meal(alice)
    first = await alice.get("/meals/me")
    tag = first.headers["etag"]

    assert len(tag) == 32
    assert first.headers["cache-control"] == "private, max-age=300, must-revalidate"
    for sent in (tag, f'"{tag}"', f'W/"{tag}"', f'"other", "{tag}"'):
        again = await alice.get("/meals/me", headers={"If-None-Match": sent})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == tag
        assert again.headers["cache-control"] == first.headers["cache-control"]
    await kitchen.meal(alice)
    changed = await alice.get("/meals/me", headers={"If-None-Match": tag})
    assert (changed.status_code, len(changed.json())) == (200, 2)


@pytest.mark.parametrize(("method", "path"), [("PATCH", "/meals/me/{}"), ("PUT", "/meals/{}")])
async def test_a_meal_update_keeps_the_fields_that_are_not_sent(alice, kitchen, method, path):
    family = await kitchen.family(alice)
    meal = await kitchen.meal(alice, [("rice", "1 cup")], familyId=family["id"])

    changed = await alice.request(method, path.format(meal["id"]), json={"prep_time": 99})

    assert changed.status_code == 200
    assert {key: changed.json()[key] for key in CAMEL - {"ingredients"}} == {
        **{key: meal[key] for key in CAMEL - {"ingredients"}}, "prepTime": 99
    }  # fmt: skip
    whole = {**MEAL, "name": "Whole"}
    replaced = (await alice.request(method, path.format(meal["id"]), json=whole)).json()
    assert (replaced["name"], replaced["familyId"], replaced["ingredients"]) == (
        "Whole",
        family["id"],
        [],
    )
    detached = await alice.request(method, path.format(meal["id"]), json={"familyId": None})
    assert detached.json()["familyId"] is None


async def test_only_its_creator_changes_or_deletes_a_meal(alice, kitchen):
    bob, mallory = await kitchen.person("Bob"), await kitchen.person("Mallory")
    family = await kitchen.family(alice, bob)
    meal = await kitchen.meal(alice, familyId=family["id"])
    own_path, path = f"/meals/me/{meal['id']}", f"/meals/{meal['id']}"

    async def status(person, method, route):
        return (await person.request(method, route, json={"name": "x"})).status_code

    assert await status(bob, "GET", path) == 200
    assert await status(bob, "PUT", path) == await status(bob, "DELETE", path) == 403
    assert await status(mallory, "GET", path) == 404
    assert await status(mallory, "PUT", path) == await status(mallory, "DELETE", path) == 404
    for person in (bob, mallory):
        assert (
            await status(person, "PATCH", own_path)
            == await status(person, "DELETE", own_path)
            == 404
        )
    refused = await bob.patch(own_path, {"name": "x"})
    assert refused.json()["detail"] == "Meal not found or unauthorized"
    assert await status(alice, "DELETE", own_path) == 204
    assert await status(alice, "GET", path) == 404


async def test_a_user_can_attach_a_meal_only_to_their_own_family(alice, kitchen):
    mallory = await kitchen.person("Mallory")
    family, foreign = await kitchen.family(alice), await kitchen.family(mallory)
    meal = await kitchen.meal(alice)
    path = f"/meals/{meal['id']}/attach-family"

    attached = await alice.post(path, {"familyId": family["id"]})
    assert (attached.status_code, attached.json()["familyId"]) == (200, family["id"])
    assert (await alice.post(path, {"family_id": family["id"]})).status_code == 200
    for refused, status, code in (
        (await alice.post(path, {"familyId": foreign["id"]}), 403, "not_a_family_member"),
        (await mallory.post(path, {"familyId": foreign["id"]}), 403, "not_meals_owner"),
        (await alice.post("/meals/4711/attach-family", {"familyId": 1}), 404, "meal_not_found"),
        (
            await alice.post("/meals/me", {**MEAL, "familyId": foreign["id"]}),
            403,
            "not_a_family_member",
        ),
    ):
        assert (refused.status_code, refused.json().get("code")) == (status, code)
        assert refused.json()["error"] == {"error": refused.json()["detail"]}
    patched = await alice.patch(f"/meals/me/{meal['id']}", {"familyId": foreign["id"]})
    assert patched.status_code == 403


@pytest.mark.parametrize(
    "change",
    [
        {"name": "x" * 256},
        {"name": "a\0b"},
        {"cuisine": "x" * 121},
        {"calories": 2**31},
        {"calories": -1},
        {"mealType": "Brunch"},
        {"difficulty": "Extreme"},
        {"macros": {"protein": 1}},
        {"ingredients": [{"name": "rice"}]},
        {"ingredients": [{"name": "rice", "amount": "a\0b"}]},
        {"ingredients": [{"name": "rice", "amount": "1"}] * 201},
        {"tags": ["x" * 256]},
        {"servings": "four"},
        {"image": None},
    ],
    ids=lambda change: str(change)[:40],
)
async def test_an_invalid_meal_is_refused(alice, kitchen, change):
    assert (await alice.post("/meals/me", {**MEAL, **change})).status_code == 422
    assert await alice.read("/meals/me") == []
    if change != {"image": None}:
        meal = await kitchen.meal(alice)
        assert (await alice.patch(f"/meals/me/{meal['id']}", change)).status_code == 422


async def test_a_new_meal_without_required_fields_is_refused(alice):
    refused = await alice.post("/meals/me", {"name": "Soup"})

    assert refused.status_code == 422
    assert refused.json()["detail"].endswith(" is required. There are 13 more errors.")


async def test_meals_are_listed_in_pages_if_the_client_asks_for_a_limit(alice, kitchen):
    ids = [(await kitchen.meal(alice))["id"] for _ in range(3)]

    page = await alice.get("/meals/me?limit=2")
    rest = await alice.get(page.links["next"]["url"])

    assert [meal["id"] for meal in page.json() + rest.json()] == ids
    assert "next" not in rest.links
    assert (await alice.get("/meals/me?limit=0")).status_code == 422


async def test_a_page_of_meals_ends_after_8_mb(alice, kitchen):
    large = {"instructions": ["x" * 19_000] * 45}
    ids = [(await kitchen.meal(alice, **large))["id"] for _ in range(12)]

    first = await alice.get("/meals/me")
    second = await alice.get(first.links["next"]["url"])

    assert len(first.content) < 10_000_000
    assert [meal["id"] for meal in (*first.json(), *second.json())] == ids
    assert "next" not in second.links
