"""No user changes or deletes what rows of another household refer to."""

import itertools
from datetime import date
from decimal import Decimal

import pytest
from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError

from freshly.domains.families.access import Guarded
from freshly.domains.grocery.models import GroceryListItem, GroceryNeed, GroceryReservation
from freshly.domains.ingredients.models import Ingredient
from freshly.domains.pantry.models import PantryItem
from freshly.domains.recipes.models import RecipeIngredient
from freshly.wiring.tables import all_tables
from tests.contracts.test_guards import SOURCE

OF_LISTS = {
    GroceryListItem: {},
    GroceryNeed: {"meal_id": None, "meal_name": "Soup", "needed_on": date(2030, 1, 7)},
    GroceryReservation: {"pantry_item_id": None, "quantity": Decimal(1), "unit": "g"},
}
REFERRING = (PantryItem, *OF_LISTS, RecipeIngredient)
OWNERS = ("family", "personal")
# Recipes have no personal rows.
CASES = [
    case
    for case in itertools.product(REFERRING, OWNERS, (True, False))
    if case[:2] != (RecipeIngredient, "personal")
]


def owned_by(family):
    """Return the field of a request that names the owner of a new food."""
    return {"family_id": family["id"]} if family else {}


async def refer(model, victim, family, ingredient_id, db):
    """Insert a row of the victim, or of the victim's family, that refers to the ingredient."""
    values = {"ingredient_id": ingredient_id}
    if model is PantryItem:
        family_id, person = (family["id"], None) if family else (None, victim.id)
        values |= {"family_id": family_id, "owner_user_id": person}
    elif model is RecipeIngredient:
        recipe = await victim.post_ok("/recipes", {"family_id": family["id"], "title": "Soup"})
        values["recipe_id"] = recipe["id"]
    else:
        scope = {"scope": "family", "family_id": family["id"]} if family else {"scope": "personal"}
        grocery_list = await victim.post_ok("/grocery-lists", scope)
        values |= {"grocery_list_id": grocery_list["id"], **OF_LISTS[model]}
    async with db.write() as session:
        await session.execute(insert(model).values(**values))


async def referred(model, db):
    async with db.read() as session:
        return (await session.scalars(select(model.ingredient_id))).all()


def test_every_table_that_refers_to_ingredients_is_attacked_here():
    all_tables()
    referring = {
        mapper.class_
        for mapper in Guarded.registry.mappers
        for column in mapper.columns
        for key in column.foreign_keys
        if issubclass(mapper.class_, Guarded) and mapper.class_ is not Ingredient
        if key.target_fullname == "ingredients.id"
    }

    assert referring == set(REFERRING)


@pytest.mark.parametrize("has_family", [True, False])
@pytest.mark.parametrize("owner", OWNERS)
async def test_a_row_of_others_is_403_and_a_missing_row_404(kitchen, owner, has_family):
    stranger, victim = await kitchen.person("Sam"), await kitchen.person("Victor")
    if has_family:
        await kitchen.family(stranger)
    family = await kitchen.family(victim) if owner == "family" else None
    item = await kitchen.stock(victim, "Kimchi", **owned_by(family))

    answers = [await stranger.get(f"/pantry-items/{one}") for one in (item["id"], 999_999)]

    assert [answer.status_code for answer in answers] == [403, 404]


def test_no_query_negates_visibility_which_is_null_for_rows_of_others():
    negated = [
        path.name
        for path in SOURCE.rglob("*.py")
        if any(text in path.read_text() for text in ("not_(model.visible", "~model.visible"))
    ]

    assert negated == []


@pytest.mark.parametrize(
    ("model", "owner", "has_family"),
    CASES,
    ids=lambda case: getattr(case, "__tablename__", None) or str(case),
)
async def test_a_stranger_sees_and_changes_no_food_of_another_household(
    kitchen, db, model, owner, has_family
):
    attacker, victim = await kitchen.person("Mallory"), await kitchen.person("Victor")
    if has_family:
        await kitchen.family(attacker)
    family = await kitchen.family(victim) if owner == "family" else None
    own = await kitchen.ingredient(attacker, "Kimchi")
    kimchi = await kitchen.ingredient(victim, "Kimchi", **owned_by(family))
    await refer(model, victim, family, kimchi["id"], db)
    path, before = f"/ingredients/{kimchi['id']}", await victim.read(f"/ingredients/{kimchi['id']}")

    answers = [
        await attacker.get(path),
        await attacker.patch(path, {"name": "Oats"}),
        await attacker.delete(path),
        await attacker.post(f"{path}/merge", {"into_id": own["id"]}),
        await attacker.post(f"/ingredients/{own['id']}/merge", {"into_id": kimchi["id"]}),
        await attacker.post("/pantry-items", {"ingredient_id": kimchi["id"]}),
    ]
    renamed = await attacker.patch(f"/ingredients/{own['id']}", {"name": "Oats of mine"})
    deleted = await attacker.delete(f"/ingredients/{own['id']}")

    assert {answer.status_code for answer in answers} == {404}
    assert {answer.json()["code"] for answer in answers} == {"ingredient_not_found"}
    assert (renamed.status_code, deleted.status_code) == (200, 204)
    assert await referred(model, db) == [kimchi["id"]]
    assert await victim.read(path) == before
    assert [row for row in await attacker.read("/ingredients") if row["name"] == "Kimchi"] == []


@pytest.mark.parametrize("model", REFERRING, ids=lambda model: model.__tablename__)
async def test_the_database_refuses_to_delete_an_ingredient_in_use(kitchen, db, model):
    alice = await kitchen.person("Alice")
    family = await kitchen.family(alice)
    kimchi = await kitchen.ingredient(alice, "Kimchi", **owned_by(family))
    await refer(model, alice, family, kimchi["id"], db)

    with pytest.raises(IntegrityError):
        async with db.write() as session:
            await session.delete(await session.get(Ingredient, kimchi["id"]))

    assert await referred(model, db) == [kimchi["id"]]
