"""Every field that a client sends arrives in its column.

The requests are generated from the schemas, so a field that is added to a schema is tested here
without another line, and a service that drops it fails.
"""

from dataclasses import dataclass, field
from typing import Any

import pytest
from sqlalchemy import inspect, select

from freshly.domains.auth.schemas import Register
from freshly.domains.chat.models import ChatConversation
from freshly.domains.chat.schemas import ConversationCreate
from freshly.domains.families.models import Family
from freshly.domains.families.schemas import FamilyCreate
from freshly.domains.grocery.models import GroceryList, GroceryListItem
from freshly.domains.grocery.schemas import (
    GroceryListCreate,
    GroceryListUpdate,
    ItemCreate,
    ItemUpdate,
)
from freshly.domains.ingredients.models import Ingredient
from freshly.domains.ingredients.schemas import IngredientCreate, IngredientUpdate
from freshly.domains.meal_plans.models import MealPlan, MealSlot, SlotMeal
from freshly.domains.meal_plans.schemas import (
    MealPlanCreate,
    MealPlanUpdate,
    PersonalMealPlanCreate,
    PlannedMeal,
    SlotWrite,
)
from freshly.domains.meals.models import Meal
from freshly.domains.meals.schemas import MealCreate, MealUpdate
from freshly.domains.notifications.models import NoticeChoices
from freshly.domains.notifications.schemas import NoticeChoicesUpdate
from freshly.domains.pantry.models import PantryItem
from freshly.domains.pantry.schemas import PantryItemCreate, PantryItemUpdate
from freshly.domains.preferences.models import UserPreference
from freshly.domains.preferences.schemas import PreferenceCreate, PreferenceUpdate
from freshly.domains.recipes.models import Recipe
from freshly.domains.recipes.schemas import RecipeCreate, RecipeUpdate
from freshly.domains.sharing.models import MealShareRequest
from freshly.domains.sharing.schemas import ShareCreate
from freshly.domains.users.models import User
from freshly.domains.users.schemas import UserUpdate

FACTS = {
    "density_g_per_ml": 0.5,
    "shelf_life": {"pantry": 90, "fridge": 100, "freezer": None},
    "measures": {},
}
CALORIES = {"calorie_min": 1500, "calorie_target": 1800, "calorie_max": 2500}


@dataclass(frozen=True)
class Case:
    """A request, the schema of its body, and the model of the row that it writes."""

    request: str  # method and path, with names of ids in braces
    schema: Any
    model: Any
    given: dict[str, Any] = field(default_factory=dict)  # values that cannot be generated
    not_stored: frozenset[str] = frozenset()  # fields that this row does not keep

    @property
    def name(self):
        return f"{self.schema.__name__} to {self.model.__name__}"


CREATING = (
    Case(
        "POST /auth/register",
        Register,
        User,
        {"invitation": None},
        frozenset({"password", "preference", "invitation"}),
    ),
    Case("POST /preferences/me", PreferenceCreate, UserPreference, CALORIES),
    Case("POST /families", FamilyCreate, Family),
    Case(
        "POST /ingredients",
        IngredientCreate,
        Ingredient,
        FACTS,
        frozenset({"measures"}),
    ),
    Case(
        "POST /pantry-items",
        PantryItemCreate,
        PantryItem,
        {"scope": "family"},
        frozenset({"scope", "ingredient_name"}),
    ),
    Case("POST /recipes", RecipeCreate, Recipe),
    Case("POST /meals/me", MealCreate, Meal),
    Case("POST /meal-plans", MealPlanCreate, MealPlan),
    Case("POST /meal-plans/me", PersonalMealPlanCreate, MealPlan),
    Case(
        "PUT /meal-plans/{meal_plan_id}/slots/2/lunch",
        SlotWrite,
        MealSlot,
        {"meals": []},
        not_stored=frozenset({"meals"}),
    ),
    Case(
        "POST /grocery-lists",
        GroceryListCreate,
        GroceryList,
        {"scope": "family"},
        frozenset({"scope"}),
    ),
    Case("POST /grocery-lists/{list_id}/items", ItemCreate, GroceryListItem),
    Case("POST /meal-share-requests", ShareCreate, MealShareRequest),
    Case("POST /chat/conversations", ConversationCreate, ChatConversation),
)
UPDATING = (
    # A new address waits in `pending_email` until its code comes back.
    Case("PATCH /users/me", UserUpdate, User, not_stored=frozenset({"status", "tier", "email"})),
    Case("PATCH /preferences/me", PreferenceUpdate, UserPreference, CALORIES),
    Case(
        "PATCH /ingredients/{ingredient_id}",
        IngredientUpdate,
        Ingredient,
        # Another name would leave the old one in a new row.
        {**FACTS, "name": "BLACK RICE"},
        frozenset({"measures"}),
    ),
    Case(
        "PATCH /pantry-items/{pantry_item_id}",
        PantryItemUpdate,
        PantryItem,
        not_stored=frozenset({"ingredient_name"}),
    ),
    Case("PATCH /recipes/{recipe_id}", RecipeUpdate, Recipe),
    Case("PUT /meals/{meal_id}", MealUpdate, Meal),
    Case("PATCH /meals/me/{meal_id}", MealUpdate, Meal),
    Case("PATCH /meal-plans/{meal_plan_id}", MealPlanUpdate, MealPlan),
    Case("PATCH /grocery-lists/{list_id}", GroceryListUpdate, GroceryList),
    Case("PATCH /grocery-lists/items/{item_id}", ItemUpdate, GroceryListItem),
    Case("PATCH /notifications/choices", NoticeChoicesUpdate, NoticeChoices, {"digest": "none"}),
)


@pytest.fixture
def database_kind():
    """The services are the same on both databases."""
    return "sqlite"


@pytest.fixture
async def ids(kitchen):
    """A row of each kind, and their ids by the names that schemas and paths use."""
    bob, alice = await kitchen.person("Bob"), await kitchen.person("Alice")
    family = await kitchen.family(alice, bob)
    rice = await kitchen.ingredient(alice, "Black rice", family_id=family["id"])
    plan = await kitchen.plan(alice, family)
    scope = {"scope": "family", "family_id": family["id"]}
    shopping = await alice.post_ok("/grocery-lists", scope)
    line = {"ingredient_id": rice["id"]}
    recipe = {"family_id": family["id"], "title": "Rice pudding"}
    return {
        "user": alice,
        "family_id": family["id"],
        "ingredient_id": rice["id"],
        "unit_id": (await kitchen.unit_ids(alice))["kg"],
        "meal_id": (await kitchen.meal(alice))["id"],
        "meal_plan_id": plan["id"],
        "recipient_user_id": bob.id,
        "list_id": shopping["id"],
        "item_id": (await alice.post_ok(f"/grocery-lists/{shopping['id']}/items", line))["id"],
        "recipe_id": (await alice.post_ok("/recipes", recipe))["id"],
        "pantry_item_id": (await alice.post_ok("/pantry-items", {**line, **scope}))["id"],
    }


@pytest.mark.parametrize("case", CREATING, ids=lambda case: case.name)
async def test_each_field_of_a_create_schema_arrives_in_its_column(case, ids, db):
    await send_and_compare(case, ids, db)


@pytest.mark.parametrize("case", UPDATING, ids=lambda case: f"{case.name}, {case.request}")
async def test_each_field_of_an_update_schema_arrives_in_its_column(case, ids, db):
    await send_and_compare(case, ids, db)


async def test_each_field_of_a_planned_meal_arrives_in_its_column(ids, db):
    planned = body_of(PlannedMeal, ids)
    path = f"/meal-plans/{ids['meal_plan_id']}/slots/2/lunch"

    response = await ids["user"].put(path, {"meals": [planned]})

    assert response.status_code == 200, response.text
    row = await newest(SlotMeal, db)
    assert {name: getattr(row, name) for name in PlannedMeal.model_fields} == planned


async def send_and_compare(case, ids, db):
    body = body_of(case.schema, {**ids, **case.given})
    method, path = case.request.split()

    response = await ids["user"].request(method, path.format(**ids), json=body)

    assert response.status_code in {200, 201}, response.text
    columns = {attribute.key for attribute in inspect(case.model).column_attrs}
    expected = case.schema.model_validate(body).model_dump(exclude=set(case.not_stored))
    assert expected.keys() <= columns
    row = await newest(case.model, db)
    assert {name: getattr(row, name) for name in expected} == expected


async def newest(model, db):
    async with db.read() as session:
        return await session.scalar(select(model).order_by(model.id.desc()).limit(1))


def body_of(schema, given):
    """A value for each field, which is not what the field has when it is left out."""
    document = schema.model_json_schema(by_alias=False)
    definitions = document.get("$defs", {})
    return {
        name: given[name] if name in given else value_of(name, found, definitions)
        for name, found in document["properties"].items()
    }


def value_of(name, schema, definitions):
    default = schema.get("default")
    if "anyOf" in schema:
        schema = next(one for one in schema["anyOf"] if one.get("type") != "null")
    if "$ref" in schema:
        schema = definitions[schema["$ref"].rpartition("/")[2]]
    if "enum" in schema:
        return next(value for value in reversed(schema["enum"]) if value != default)
    if schema["type"] == "array":
        return [value_of(name, schema["items"], definitions)]
    if schema["type"] == "object":
        inner = schema["properties"].items()
        return {name: value_of(name, found, definitions) for name, found in inner}
    return plain_value(name, schema, default)


def plain_value(name, schema, default):
    least = max(schema.get("minimum", 0), 0)
    shortest, longest = schema.get("minLength", 0), schema.get("maxLength", 100)
    text = f"a {name.replace('_', ' ')}".ljust(shortest, "x")[:longest].strip()
    return {
        "boolean": not default,
        "integer": least + 3,
        "number": least + 7.5,
        "string": {"date": "2031-02-03", "email": "carol@example.com"}.get(
            schema.get("format"), text
        ),
    }[schema["type"]]
