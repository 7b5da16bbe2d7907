import pytest

PATH = "/preferences/me"


@pytest.fixture
async def alice(kitchen):
    return await kitchen.person("Alice")


async def test_preferences_begin_with_defaults_and_can_be_deleted(alice):
    defaults = await alice.read(PATH)

    assert (defaults["goal"], defaults["calorie_target"], defaults["is_athlete"]) == (
        "balanced",
        2000,
        False,
    )
    assert defaults["user_id"] == alice.id
    assert (await alice.delete(PATH)).status_code == 204
    missing = await alice.get(PATH)
    assert (missing.status_code, missing.json()["detail"]) == (404, "Preferences not set")
    assert (await alice.patch(PATH, {"age": 30})).status_code == 404
    assert (await alice.delete(PATH)).status_code == 404
    assert (await alice.post_ok(PATH, {"age": 30}))["age"] == 30


async def test_a_post_keeps_omitted_nullable_fields_and_resets_the_other_fields(alice):
    await alice.post_ok(
        PATH,
        {
            "age": 40,
            "diet_type": "vegan",
            "protein_grams": 80.5,
            "diet_codes": ["keto"],
            "food_allergies": ["nuts"],
            "goal": "muscle-gain",
            "target_calories": 2500,
            "athlete_mode": True,
            "training_level": "casual",
        },
    )

    kept = await alice.post_ok(PATH, {"gender": "female", "age": None})

    assert (kept["age"], kept["diet_type"], kept["protein_grams"]) == (40, "vegan", 80.5)
    assert (kept["diet_codes"], kept["food_allergies"]) == ([], [])
    assert (kept["goal"], kept["calorie_target"]) == ("balanced", 2000)
    assert (kept["is_athlete"], kept["training_level"]) == (False, None)


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        ("lose-weight", "lose_weight"),
        ("leaner", "get_leaner"),
        ("muscle-gain", "muscle_gain"),
        ("weight-gain", "gain_weight"),
        ("gain_weight", "gain_weight"),
    ],
)
async def test_each_spelling_of_a_goal_is_stored_in_one_form(alice, sent, stored):
    assert (await alice.post_ok(PATH, {"goal": sent}))["goal"] == stored
    assert (await alice.patch(PATH, {"goal": sent})).json()["goal"] == stored


@pytest.mark.parametrize(
    "invalid",
    [
        {"is_athlete": True},
        {"training_level": "light"},
        {"calorie_min": 2500},
        {"calorie_max": 1500},
        {"calorie_min": 2000, "calorie_max": 1900},
        {"age": 12},
        {"height_cm": 99},
        {"weight_kg": 301},
        {"diet_type": "carnivore"},
        {"calorie_target": -1},
    ],
    ids=str,
)
async def test_a_post_of_invalid_preferences_is_refused(alice, invalid):
    assert (await alice.post(PATH, invalid)).status_code == 422


async def test_a_patch_changes_only_sent_fields_and_sets_none_to_null(alice):
    await alice.post_ok(PATH, {"age": 40, "food_allergies": ["nuts"]})

    changed = (await alice.patch(PATH, {"calorie_target": 1800, "age": None})).json()

    assert (changed["age"], changed["calorie_target"]) == (40, 1800)
    assert changed["food_allergies"] == ["nuts"]


async def test_only_an_athlete_has_a_training_level(alice):
    not_athlete = await alice.patch(PATH, {"training_level": "light"})
    assert (not_athlete.status_code, not_athlete.json()["training_level"]) == (200, None)
    assert (await alice.patch(PATH, {"is_athlete": True})).status_code == 422
    both = {"is_athlete": False, "training_level": "light"}
    assert (await alice.patch(PATH, both)).status_code == 422

    athlete = await alice.patch(PATH, {"is_athlete": True, "training_level": "intense"})
    assert athlete.json()["training_level"] == "intense"
    lighter = await alice.patch(PATH, {"training_level": "light"})
    assert lighter.json()["training_level"] == "light"
    former_athlete = await alice.patch(PATH, {"is_athlete": False})
    assert (former_athlete.json()["is_athlete"], former_athlete.json()["training_level"]) == (
        False,
        None,
    )


async def test_a_patch_cannot_move_the_calorie_target_out_of_its_range(alice):
    await alice.post_ok(PATH, {"calorie_min": 1800, "calorie_max": 2200})

    for invalid in ({"calorie_target": 2300}, {"calorie_min": 2100}, {"calorie_max": 1900}):
        assert (await alice.patch(PATH, invalid)).status_code == 422
    assert (await alice.read(PATH))["calorie_target"] == 2000


async def test_preferences_name_only_foods_that_the_user_sees(alice, kitchen):
    mallory = await kitchen.person("Mallory")
    family = await kitchen.family(mallory, alice)
    [catalogued] = await alice.read("/ingredients", limit=1)
    secret = await kitchen.ingredient(mallory, "Secret sauce")
    shared = await kitchen.ingredient(mallory, "Family sauce", family_id=family["id"])
    visible = [catalogued["id"], shared["id"]]
    await alice.post_ok(PATH, {"allergen_ingredient_ids": visible, "diet_codes": ["vegan"]})
    before = await alice.read(PATH)

    refused = [
        await alice.patch(PATH, {"disliked_ingredient_ids": [secret["id"]], "age": 30}),
        await alice.patch(PATH, {"allergen_ingredient_ids": [*visible, 999_999]}),
        await alice.patch(PATH, {"disliked_ingredient_ids": [-1]}),
        await alice.post(PATH, {"allergen_ingredient_ids": [secret["id"]]}),
    ]
    account = {"email": "eve@example.com", "password": "correct horse battery"}
    account["preference"] = {"allergen_ingredient_ids": [shared["id"]]}
    refused.append(await kitchen.client.post("/auth/register", json=account))

    assert {(one.status_code, one.json()["code"]) for one in refused} == {
        (404, "preference_food_not_found")
    }
    assert await alice.read(PATH) == before
    account["preference"]["allergen_ingredient_ids"] = [catalogued["id"]]
    assert (await kitchen.client.post("/auth/register", json=account)).status_code == 200
    # Foods that the user cannot see any more may stay, because clients send the whole list back.
    await alice.delete(f"/families/{family['id']}/members/{alice.id}")
    swapped = {"disliked_ingredient_ids": visible, "allergen_ingredient_ids": []}
    assert (await alice.patch(PATH, swapped)).status_code == 200
