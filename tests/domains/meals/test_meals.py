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


async def test_a_meal_is_taken_in_both_spellings_and_given_in_camel_case(alice):
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

    made = await alice.post_ok("/meals/me", snake)

    assert made.keys() == CAMEL
    assert (made["prepTime"], made["mealType"], made["isFavorite"]) == (1, "Lunch", True)
    assert (made["notes"], made["familyId"], made["createdByUserId"]) == ("", None, alice.id)
    assert made["ingredients"] == [
        {"name": "leek", "amount": "2 pcs", "inPantry": True},
        {"name": "oil", "amount": "1.5", "inPantry": False},
        {"name": "salt", "amount": "to taste", "inPantry": False},
        {"name": "water", "amount": "1 l", "inPantry": False},
    ]


async def test_the_list_has_both_spellings_and_nobodys_secrets(alice, kitchen):
    made = await kitchen.meal(alice, [("rice", "1 cup")])

    listed = await alice.get("/meals/me")

    (meal,) = listed.json()
    assert meal.keys() == CAMEL | SNAKE | {"createdAt", "updatedAt"}
    assert {key: meal[key] for key in CAMEL - {"ingredients"}} == {
        key: made[key] for key in CAMEL - {"ingredients"}
    }
    assert meal["ingredients"] == [
        {"name": "rice", "amount": "1 cup", "inPantry": False, "in_pantry": False}
    ]
    assert meal["meal_type"] == meal["mealType"] == "Dinner"
    assert (await alice.get(f"/meals/{made['id']}")).json() == meal
    assert "password" not in listed.text


RICE = {"name": "rice", "amount": "1 cup"}
NOTHING = dict.fromkeys(
    ("tags", "macros", "diet_compatibility", "goal_fit", "cooking_tools")
)  # what may be null


@pytest.mark.parametrize(
    ("stored", "shown"),
    [
        (NOTHING, {"tags": [], "macros": {"protein": 0, "fats": 0, "carbs": 0}, "goalFit": []}),
        (
            {"macros": {"protein": 3, "carbs": 1}},
            {"macros": {"protein": 3, "fats": 0, "carbs": 1}},
        ),
        ({"ingredients": [RICE]}, {"ingredients": [{**RICE, "inPantry": False}]}),
        (
            {"ingredients": [{**RICE, "in_pantry": True}]},
            {"ingredients": [{**RICE, "inPantry": True}]},
        ),
        (  # only the one spelling is stored; whatever else is there is not looked at
            {"ingredients": [{**RICE, "inPantry": True, "unit": "cup"}]},
            {"ingredients": [{**RICE, "inPantry": False}]},
        ),
        ({"ingredients": []}, {"ingredients": []}),
        ({"tags": ['"quoted", "in_pantry": true', "\n\u2028 \\ é 🥕"]}, {}),
    ],
)
async def test_the_list_shows_what_was_stored_as_one_meal_does(alice, kitchen, db, stored, shown):
    other, meal = await kitchen.meal(alice), await kitchen.meal(alice)
    async with db.write() as session:
        await session.execute(update(Meal).where(Meal.id == meal["id"]).values(**stored))

    one = await alice.read(f"/meals/{meal['id']}")
    listed = await alice.read("/meals/me")

    assert listed == [await alice.read(f"/meals/{other['id']}"), one]
    for ingredient in one["ingredients"]:
        assert ingredient.pop("in_pantry") is ingredient["inPantry"]
    assert {name: one[name] for name in shown} == shown


async def test_an_unchanged_list_costs_no_body(alice, kitchen):
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
async def test_a_change_keeps_what_is_not_sent(alice, kitchen, method, path):
    family = await kitchen.family(alice)
    made = await kitchen.meal(alice, [("rice", "1 cup")], familyId=family["id"])

    changed = await alice.request(method, path.format(made["id"]), json={"prep_time": 99})

    assert changed.status_code == 200
    assert {key: changed.json()[key] for key in CAMEL - {"ingredients"}} == {
        **{key: made[key] for key in CAMEL - {"ingredients"}}, "prepTime": 99
    }  # fmt: skip
    whole = {**MEAL, "name": "Whole"}
    replaced = (await alice.request(method, path.format(made["id"]), json=whole)).json()
    assert (replaced["name"], replaced["familyId"], replaced["ingredients"]) == (
        "Whole",
        family["id"],
        [],
    )
    detached = await alice.request(method, path.format(made["id"]), json={"familyId": None})
    assert detached.json()["familyId"] is None


async def test_only_ones_own_meals_are_ones_to_change(alice, kitchen):
    bob, mallory = await kitchen.person("Bob"), await kitchen.person("Mallory")
    family = await kitchen.family(alice, bob)
    made = await kitchen.meal(alice, familyId=family["id"])
    mine, any_ = f"/meals/me/{made['id']}", f"/meals/{made['id']}"

    async def status(person, method, path):
        return (await person.request(method, path, json={"name": "x"})).status_code

    assert await status(bob, "GET", any_) == 200
    assert await status(bob, "PUT", any_) == await status(bob, "DELETE", any_) == 403
    assert await status(mallory, "GET", any_) == 404
    assert await status(mallory, "PUT", any_) == await status(mallory, "DELETE", any_) == 404
    for person in (bob, mallory):
        assert await status(person, "PATCH", mine) == await status(person, "DELETE", mine) == 404
    refused = await bob.patch(mine, {"name": "x"})
    assert refused.json()["detail"] == "Meal not found or unauthorized"
    assert await status(alice, "DELETE", mine) == 204
    assert await status(alice, "GET", any_) == 404


async def test_a_meal_is_shown_only_to_families_one_belongs_to(alice, kitchen):
    mallory = await kitchen.person("Mallory")
    family, foreign = await kitchen.family(alice), await kitchen.family(mallory)
    made = await kitchen.meal(alice)
    path = f"/meals/{made['id']}/attach-family"

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
    patched = await alice.patch(f"/meals/me/{made['id']}", {"familyId": foreign["id"]})
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
async def test_what_cannot_be_a_meal_is_refused(alice, kitchen, change):
    assert (await alice.post("/meals/me", {**MEAL, **change})).status_code == 422
    assert await alice.read("/meals/me") == []
    if change != {"image": None}:
        made = await kitchen.meal(alice)
        assert (await alice.patch(f"/meals/me/{made['id']}", change)).status_code == 422


async def test_a_partial_meal_is_no_new_meal(alice):
    refused = await alice.post("/meals/me", {"name": "Soup"})

    assert refused.status_code == 422
    assert refused.json()["detail"].endswith(" is required. There are 13 more errors.")


async def test_many_meals_come_in_pages_if_asked(alice, kitchen):
    made = [(await kitchen.meal(alice))["id"] for _ in range(3)]

    page = await alice.get("/meals/me?limit=2")
    rest = await alice.get(page.links["next"]["url"])

    assert [meal["id"] for meal in page.json() + rest.json()] == made
    assert "next" not in rest.links
    assert (await alice.get("/meals/me?limit=0")).status_code == 422
