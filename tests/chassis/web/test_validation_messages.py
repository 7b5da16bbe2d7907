"""The sentences in the 422 responses of routes that users call."""

import shutil

import pytest

from tests.conftest import client_of, running, settings_for
from tests.support.api import MEAL, Kitchen

ACCOUNT = {"email": "bea@example.com", "password": "correct horse"}
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
async def alice(sqlite_template, tmp_path_factory):
    """A signed-in user. No test of this module changes anything."""
    folder = tmp_path_factory.mktemp("messages")
    shutil.copy(sqlite_template, folder / "freshly.db")
    settings = settings_for(f"sqlite:///{folder / 'freshly.db'}", folder)
    async with running(settings) as app, client_of(app) as client:
        yield await Kitchen(client).person()


def register(**fields):
    return "POST", "/auth/register", {"json": {**ACCOUNT, **fields}}


def preferences(**fields):
    return "POST", "/preferences/me", {"json": fields}


def pantry(**fields):
    return "POST", "/pantry-items", {"json": {"ingredient_name": "Peas", **fields}}


def grocery_list(**fields):
    return "POST", "/grocery-lists", {"json": {"scope": "personal", **fields}}


def from_meal(**fields):
    return "POST", "/grocery-lists/add-from-recipe", {"json": {"recipe_id": 1, **fields}}


def meal(**fields):
    return "POST", "/meals/me", {"json": {**MEAL, **fields}}


def plan(**fields):
    return "POST", "/meal-plans/me", {"json": {"week_start": "2030-01-07", **fields}}


def ingredient(**fields):
    return "POST", "/ingredients", {"json": {"name": "Peas", **fields}}


def image(**fields):
    return "POST", "/chat/generate-image", {"json": {"prompt": "Soup", **fields}}


def get(path, **query):
    return "GET", path, {"params": query}


def raw(path, text):
    return "POST", path, {"content": text, "headers": JSON}


EMAIL = "Email must be an email address, such as anna@example.com."
WHOLE = "must be a whole number."
DATE = "must be a date, such as 2026-01-31."

# The request, the type of its only error, and the sentence about it.
CASES = [
    # Missing and unknown fields.
    (("POST", "/families", {"json": {}}), "missing", "Display name is required."),
    (("POST", "/families", {}), "missing", "The request body is required."),
    (
        meal(ingredients=[{"name": "Peas"}]),
        "missing",
        "Ingredient 1: amount is required.",
    ),
    (
        ("PUT", "/chat/conversations/1/title", {}),
        "missing",
        'The query parameter "title" is required.',
    ),
    (
        ("POST", "/storage/avatar/proxy", {"data": {"note": "no file"}}),
        "missing",
        "File is required.",
    ),
    (
        get("/jobs", colour="red"),
        "extra_forbidden",
        'The query parameter "colour" is not known here. Please remove it.',
    ),
    # Bodies that are not a JSON object.
    (
        raw("/families", "{oops"),
        "json_invalid",
        "The request body is not valid JSON. Please check it near character 2.",
    ),
    (raw("/families", "[]"), "model_attributes_type", "The request body must be a JSON object."),
    (meal(macros=[]), "model_attributes_type", "Macros must be a JSON object."),
    # Text.
    (register(password=12345678), "string_type", "Password must be text."),
    (register(password="short"), "too_short", "Password must have at least 8 characters."),
    (register(password="x" * 73), "too_long", "Password must have at most 72 characters."),
    (
        raw("/families", '{"display_name": "\\ud800"}'),
        "string_unicode",
        "Display name has characters that are not valid Unicode. Please remove them.",
    ),
    (
        ("POST", "/families", {"json": {"display_name": "a\0b"}}),
        "nul_character",
        "Display name has a NUL character. Please remove it.",
    ),
    (
        ("POST", "/families", {"json": {"display_name": "a\nb"}}),
        "not_one_line",
        "Display name must be one line, without control characters. Please remove them.",
    ),
    (
        ("PATCH", "/users/me", {"json": {"avatar_path": "javascript:alert(1)"}}),
        "picture_address",
        "Avatar path must be an address that begins with https://.",
    ),
    (image(prompt=""), "too_short", "Prompt must not be empty."),
    (
        get("/recipes", q="x" * 201),
        "string_too_long",
        'The query parameter "q" must have at most 200 characters.',
    ),
    (
        get("/recipes", q="a\0b"),
        "string_pattern_mismatch",
        'The query parameter "q" has characters that are not allowed here. Please remove them.',
    ),
    (
        ("POST", "/auth/login/oauth", {"headers": {"Authorization": "x" * 10_001}}),
        "string_too_long",
        'The header "authorization" must have at most 10,000 characters.',
    ),
    (register(email="bea"), "value_error", EMAIL),
    (register(email="b@@secret.example"), "value_error", EMAIL),
    # Choices.
    (preferences(gender="robot"), "literal_error", "Gender must be male or female."),
    (
        preferences(goal="fly"),
        "literal_error",
        "Goal must be one of lose_weight, get_leaner, balanced, muscle_gain or gain_weight.",
    ),
    (
        grocery_list(status="lost"),
        "enum",
        "Status must be one of draft, finalized or purchased.",
    ),
    (preferences(is_athlete="maybe"), "bool_parsing", "Athlete must be true or false."),
    (preferences(is_athlete=[]), "bool_type", "Athlete must be true or false."),
    (
        get("/notifications", unreadOnly="maybe"),
        "bool_parsing",
        'The query parameter "unreadOnly" must be true or false.',
    ),
    # Lists.
    (meal(tags="quick"), "list_type", "Tags must be a list."),
    (meal(tags=["x"] * 201), "too_long", "Tags must have at most 200 items."),
    (meal(cookingTools=["pan", 1]), "string_type", "Cooking tool 2 must be text."),
    (
        preferences(food_allergies=["nuts", "x" * 256]),
        "too_long",
        "Food allergy 2 must have at most 255 characters.",
    ),
    (
        preferences(disliked_ingredient_ids=["peas"]),
        "int_parsing",
        f"Disliked ingredient ID 1 {WHOLE}",
    ),
    # Whole numbers.
    (meal(prepTime="soon"), "int_parsing", f"Preparation time {WHOLE}"),
    (meal(prep_time=None, prepTime=None), "int_type", f"Preparation time {WHOLE}"),
    (meal(servings=1.5), "int_from_float", f"Servings {WHOLE}"),
    (
        meal(servings="9" * 5000),
        "int_parsing_size",
        "Servings must be a whole number with fewer digits.",
    ),
    (
        raw("/grocery-lists/add-from-recipe", '{"recipe_id": Infinity, "list_id": 1}'),
        "finite_number",
        "Recipe ID must be a number, not infinity or NaN.",
    ),
    (preferences(age=12), "greater_than_equal", "Age must be at least 13."),
    (meal(calories=2**31), "less_than_equal", "Calories must be at most 2,147,483,647."),
    (get("/meals/one"), "int_parsing", f'The path parameter "id" {WHOLE}'),
    (
        get("/jobs", limit=0),
        "greater_than_equal",
        'The query parameter "limit" must be at least 1.',
    ),
    (
        get("/pantry-items/me", limit="all"),
        "int_parsing",
        f'The query parameter "limit" {WHOLE}',
    ),
    # Other numbers.
    (preferences(height_cm="tall"), "float_parsing", "Height in cm must be a number."),
    (preferences(weight_kg=[]), "float_type", "Weight in kg must be a number."),
    (preferences(weight_kg=301), "less_than_equal", "Weight in kg must be at most 300."),
    (
        ingredient(density_g_per_ml=2e6),
        "less_than_equal",
        "Density in g per ml must be at most 3.",
    ),
    (
        raw("/preferences/me", '{"weight_kg": NaN}'),
        "finite_number",
        "Weight in kg must be a number, not infinity or NaN.",
    ),
    (
        ("PATCH", "/users/me", {"json": {"weight": 0}}),
        "greater_than",
        "Weight must be more than 0.",
    ),
    (pantry(quantity="some"), "decimal_parsing", "Quantity must be a number."),
    (pantry(quantity=[]), "decimal_type", "Quantity must be a number."),
    (pantry(quantity=-1), "greater_than_equal", "Quantity must be at least 0."),
    (pantry(quantity=10**7), "less_than", "Quantity must be less than 10,000,000."),
    (
        pantry(quantity="9999999.9999"),
        "quantity_too_large",
        "Quantity must be less than 10,000,000.",
    ),
    (
        from_meal(list_id=1, servings_multiplier="1.1234567"),
        "decimal_max_places",
        "Servings multiplier must have at most 6 digits after the decimal point.",
    ),
    # Dates.
    (pantry(expires_at="soon"), "date_from_datetime_parsing", f"Expires at {DATE}"),
    (pantry(expires_at=[]), "date_type", f"Expires at {DATE}"),
    (
        pantry(expires_at="2030-01-01T12:00:00"),
        "date_from_datetime_inexact",
        "Expires at must be a date without a time, such as 2026-01-31.",
    ),
    (
        plan(week_start="1800-01-01"),
        "greater_than_equal",
        "Week start must be on or after 1900-01-01.",
    ),
    (
        plan(week_start="9999-01-01"),
        "less_than_equal",
        "Week start must be on or before 9000-01-01.",
    ),
    # Files.
    (
        ("POST", "/storage/avatar/proxy", {"files": {"file": (None, "text")}}),
        "value_error",
        "File must be a file.",
    ),
    # Freshly's own rules, most of them about several fields.
    (
        ("POST", "/families", {"json": {"display_name": " "}}),
        "value_error",
        "Display name must not be blank.",
    ),
    (
        pantry(scope="family"),
        "value_error",
        "A family item needs a family. Please choose one.",
    ),
    (
        pantry(scope="personal", family_id=1),
        "value_error",
        "A personal item has no family. Please leave the family out.",
    ),
    (
        pantry(ingredient_name=" "),
        "value_error",
        "Please name an ingredient or choose one.",
    ),
    (
        grocery_list(scope="family"),
        "value_error",
        "A family list needs a family. Please choose one.",
    ),
    (
        grocery_list(family_id=1),
        "value_error",
        "A personal list has no family. Please leave the family out.",
    ),
    (from_meal(), "value_error", "Please choose a list, or a scope for a new list."),
    (("POST", "/chat", {"json": {}}), "value_error", "Please write a message."),
    (
        register(preference={"is_athlete": True}),
        "value_error",
        "Training level is required for an athlete.",
    ),
    (
        preferences(training_level="light"),
        "value_error",
        "Training level is for athletes only. Please leave it out.",
    ),
    (
        preferences(calorie_min=2, calorie_max=1),
        "value_error",
        "Calorie minimum must not be above calorie maximum.",
    ),
    (
        preferences(calorie_min=9000),
        "value_error",
        "Calorie target must not be below calorie minimum.",
    ),
    (
        preferences(calorie_max=1),
        "value_error",
        "Calorie target must not be above calorie maximum.",
    ),
]


@pytest.mark.parametrize(("call", "kind", "expected"), CASES)
async def test_an_invalid_field_is_named_in_a_sentence(alice, call, kind, expected):
    method, path, options = call

    response = await alice.request(method, path, **options)

    body = response.json()
    assert response.status_code == 422, response.text
    assert [(error["type"], error["msg"]) for error in body["errors"]] == [(kind, expected)]
    assert body["detail"] == body["message"] == body["error"] == expected


async def test_the_detail_has_three_sentences_and_counts_the_others(alice):
    few_errors = await alice.post("/auth/register", {"email": 1, "password": 2, "name": 3})
    many_errors = await alice.post("/meals/me", {"name": 1})

    assert few_errors.json()["detail"] == (
        "Email must be text. Password must be text. Name must be text."
    )
    assert many_errors.json()["detail"] == (
        "Name must be text. Image is required. Calories is required. There are 14 more errors."
    )
    assert len(many_errors.json()["errors"]) == 17


async def test_an_id_that_fits_no_column_is_named_beside_other_errors(alice):
    response = await alice.post("/meal-plans", {"family_id": 2**40, "week_start": "soon"})

    assert response.json()["detail"] == (
        "Family ID does not exist. Week start must be a date, such as 2026-01-31."
    )


async def test_the_place_and_type_of_an_error_stay_for_programs(alice):
    peas = {"name": "Peas", "amount": []}

    response = await alice.post("/meals/me", {**MEAL, "ingredients": [peas]})

    assert response.json()["errors"] == [
        {
            "loc": ["body", "ingredients", 0, "amount"],
            "msg": "Ingredient 1: amount must be text.",
            "type": "string_type",
        }
    ]


async def test_a_long_name_of_an_unknown_parameter_is_cut(alice):
    response = await alice.get("/jobs", params={"x" * 500: "1"})

    assert response.json()["detail"] == (
        f'The query parameter "{"x" * 64}" is not known here. Please remove it.'
    )
