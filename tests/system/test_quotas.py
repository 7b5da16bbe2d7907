"""Quotas: how much one user and one family may store."""

import asyncio

import pytest

from freshly.settings import BadSettings
from freshly.wiring.quotas import DEFAULTS, quotas
from tests.conftest import client_of, running, settings_for
from tests.support.api import MEAL, Kitchen
from tests.support.fake_services import model_server
from tests.support.pictures import in_base64, picture

LIMITS = {
    "pantry_items": 3,
    "foods": 2,
    "meals": 3,
    "recipes": 2,
    "meal_plans": 2,
    "planned_meals": 4,
    "grocery_lists": 2,
    "grocery_items": 3,
    "offers": 1,
    "conversations": 2,
    "messages": 6,
    "texts": 20_000,
    "files": 30_000,
    "stored_responses": 5_000,
    "families": 2,
    "members": 2,
}


@pytest.fixture
async def model():
    async with model_server() as server:
        yield server


@pytest.fixture
def settings(database_url, tmp_path, model):
    return settings_for(
        database_url,
        tmp_path,
        quotas=LIMITS,
        openai_base_url=model.url,
        database_pool_size=5,
        database_max_overflow=20,
    )


def assert_refused(response, quota):
    assert response.status_code == 403, response.text
    problem = response.json()
    assert (problem["code"], problem["quota"]) == ("quota_exceeded", quota)
    assert problem["limit"] == LIMITS[quota]
    assert "Please delete what you no longer need." in problem["detail"]


async def used(person, quota, family=None):
    usage = await person.read("/users/me/usage")
    rows = usage["person"]
    if family is not None:
        [rows] = [one["quotas"] for one in usage["families"] if one["family_id"] == family["id"]]
    [row] = [row for row in rows if row["quota"] == quota]
    assert row["limit"] == LIMITS.get(quota, row["limit"])
    return row["used"]


async def test_a_pantry_is_refused_further_items_until_one_is_deleted(kitchen):
    alice, bob = await kitchen.person("Alice"), await kitchen.person("Bob")
    items = [
        await alice.post_ok("/pantry-items", {"ingredient_name": "milk"})
        for _ in range(LIMITS["pantry_items"])
    ]

    assert_refused(await alice.post("/pantry-items", {"ingredient_name": "milk"}), "pantry_items")

    assert await used(alice, "pantry_items") == LIMITS["pantry_items"]
    assert (await bob.post("/pantry-items", {"ingredient_name": "milk"})).status_code == 201
    assert (await alice.delete(f"/pantry-items/{items[0]['id']}")).status_code == 204
    assert (await alice.post("/pantry-items", {"ingredient_name": "milk"})).status_code == 201


async def test_the_pantry_of_a_family_counts_for_the_family_alone(kitchen):
    alice, bob = await kitchen.person("Alice"), await kitchen.person("Bob")
    family = await kitchen.family(alice, bob)
    body = {"ingredient_name": "milk", "scope": "family", "family_id": family["id"]}
    for person in (alice, bob, alice):
        await person.post_ok("/pantry-items", body)

    assert_refused(await bob.post("/pantry-items", body), "pantry_items")

    assert await used(bob, "pantry_items", family) == LIMITS["pantry_items"]
    assert await used(bob, "pantry_items") == 0
    assert (await bob.post("/pantry-items", {"ingredient_name": "milk"})).status_code == 201


async def test_a_quota_is_exact_under_simultaneous_requests(kitchen):
    alice = await kitchen.person()

    responses = await asyncio.gather(
        *(alice.post("/pantry-items", {"ingredient_name": "milk"}) for _ in range(12))
    )

    statuses = sorted(response.status_code for response in responses)
    assert statuses == [201] * LIMITS["pantry_items"] + [403] * (12 - LIMITS["pantry_items"])
    assert await used(alice, "pantry_items") == LIMITS["pantry_items"]


async def test_each_kind_of_row_has_a_quota(kitchen):
    alice, bob = await kitchen.person("Alice"), await kitchen.person("Bob")
    family = await kitchen.family(alice, bob)
    meals = iter([await alice.post_ok("/meals/me", MEAL) for _ in range(2)])
    food = iter("abcdefgh")
    calls = {
        "meals": lambda: alice.post("/meals/me", MEAL),
        "recipes": lambda: alice.post("/recipes", {"family_id": family["id"], "title": "Soup"}),
        "meal_plans": lambda: alice.post("/meal-plans/me", {"week_start": "2030-01-07"}),
        "grocery_lists": lambda: alice.post("/grocery-lists", {"scope": "personal"}),
        "foods": lambda: alice.post("/ingredients", {"name": f"Gooseberry {next(food)}"}),
        "conversations": lambda: alice.post("/chat/conversations", {}),
        "families": lambda: alice.post("/families", {"display_name": "Another"}),
        "offers": lambda: alice.post(
            "/meal-share-requests", {"mealId": next(meals)["id"], "recipientUserId": bob.id}
        ),
    }

    for quota, call in calls.items():
        for _ in range(LIMITS[quota] + 1):
            response = await call()
            if response.status_code >= 300:
                break
        assert_refused(response, quota)
        holder = family if quota == "recipes" else None
        assert await used(alice, quota, holder) == LIMITS[quota]


async def test_lines_of_all_lists_and_meals_of_all_plans_count_together(kitchen):
    alice = await kitchen.person()
    meals = [await alice.post_ok("/meals/me", MEAL) for _ in range(3)]
    lists = [await alice.post_ok("/grocery-lists", {"scope": "personal"}) for _ in range(2)]
    plans = [
        await alice.post_ok("/meal-plans/me", {"week_start": f"2030-01-{day}"})
        for day in ("07", 14)
    ]

    async def add_line(to):
        return await alice.post(f"/grocery-lists/{to['id']}/items", {"ingredient_id": 1})

    async def plan_meals(plan, number):
        slot = {"meals": [{"meal_id": meal["id"]} for meal in meals[:number]]}
        return await alice.put(f"/meal-plans/{plan['id']}/slots/0/dinner", slot)

    lines = [(await add_line(to)).status_code for to in (lists[0], lists[1], lists[0])]
    planned = [(await plan_meals(plan, 2)).status_code for plan in plans]

    assert lines == [201] * 3
    assert planned == [200] * 2
    assert_refused(await add_line(lists[1]), "grocery_items")
    assert_refused(await plan_meals(plans[0], 3), "planned_meals")
    assert (await plan_meals(plans[0], 2)).status_code == 200


async def test_a_family_has_room_for_so_many_members(kitchen):
    alice, bob, carol = [await kitchen.person(name) for name in ("Alice", "Bob", "Carol")]
    family = await kitchen.family(alice, bob)
    code = (await alice.read(f"/families/{family['id']}"))["invite_code"]

    assert_refused(await carol.post("/families/join", {"invite_code": code}), "members")


async def test_long_texts_count_in_bytes_and_may_always_shrink(kitchen):
    alice = await kitchen.person()
    long = {**MEAL, "notes": "é" * 9_000}  # 18,000 bytes
    meal = await alice.post_ok("/meals/me", long)

    assert_refused(await alice.post("/meals/me", long), "texts")
    grown = await alice.put(f"/meals/{meal['id']}", {"notes": "é" * 12_000})
    assert_refused(grown, "texts")

    assert (await alice.put(f"/meals/{meal['id']}", {"servings": 3})).status_code == 200
    assert (await alice.put(f"/meals/{meal['id']}", {"notes": "short"})).status_code == 200
    assert 0 < await used(alice, "texts") < 1_000


async def test_a_question_whose_answer_has_no_room_does_not_reach_the_model(kitchen, model):
    alice = await kitchen.person()
    first = await alice.post_ok("/chat", {"message": "Hello"}, status=200)
    again = {"message": "Hello", "conversation_id": first["conversation_id"]}
    await alice.post("/chat", again)
    calls = len(model.requests)

    assert_refused(await alice.post("/chat", again), "messages")

    assert len(model.requests) == calls


async def test_pictures_count_in_bytes(kitchen):
    alice = await kitchen.person()
    question = {"message": "What food is this?", "image": in_base64(picture(size=(300, 300)))}

    statuses = []
    for _ in range(4):
        response = await alice.post("/chat", question)
        statuses.append(response.status_code)
        await alice.delete(f"/chat/conversations/{response.json().get('conversation_id', 0)}")

    assert statuses == [200] * 4  # pictures of deleted conversations do not count
    assert await used(alice, "files") == 0


async def test_responses_stored_for_retries_count_and_are_refused_before_the_work(kitchen):
    alice = await kitchen.person()

    async def create(number):
        headers = {"Idempotency-Key": f"key-{number}"}
        text = {"title": f"{number}" + "t" * 190}
        response = await alice.post("/chat/conversations", text, headers=headers)
        await alice.delete(f"/chat/conversations/{response.json().get('id', 0)}")
        return response

    responses = [await create(number) for number in range(20)]

    assert responses[0].status_code == 200
    assert_refused(responses[-1], "stored_responses")
    repeated = await alice.post(
        "/chat/conversations", {"title": "0" + "t" * 190}, headers={"Idempotency-Key": "key-0"}
    )
    assert repeated.headers["Idempotency-Replayed"] == "true"
    assert await used(alice, "stored_responses") <= LIMITS["stored_responses"] + 1_000


async def test_a_refusal_is_stored_for_its_idempotency_key(kitchen):
    alice = await kitchen.person()
    for _ in range(LIMITS["pantry_items"]):
        await alice.post_ok("/pantry-items", {"ingredient_name": "milk"})

    answers = [
        await alice.post(
            "/pantry-items", {"ingredient_name": "milk"}, headers={"Idempotency-Key": "one"}
        )
        for _ in range(2)
    ]

    assert_refused(answers[0], "pantry_items")
    assert answers[0].json() == answers[1].json()
    assert answers[1].headers["Idempotency-Replayed"] == "true"


async def test_the_usage_names_every_quota_with_its_limit(kitchen):
    alice = await kitchen.person()
    family = await kitchen.family(alice)

    usage = await alice.read("/users/me/usage")

    [of_family] = usage["families"]
    assert of_family["family_id"] == family["id"]
    named = {row["quota"] for row in [*usage["person"], *of_family["quotas"]]}
    assert named == {quota.name for quota in DEFAULTS}
    assert {row["quota"] for row in usage["person"] if row["unit"] == "bytes"} == {
        "texts",
        "files",
        "stored_responses",
    }
    assert await used(alice, "sessions") == 1
    assert await used(alice, "families") == 1
    assert await used(alice, "members", family) == 1


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
async def test_without_a_limit_rows_are_counted_and_not_refused(database_url, tmp_path):
    settings = settings_for(database_url, tmp_path, quotas={"families": 0})
    async with running(settings) as app, client_of(app) as client:
        alice = await Kitchen(client).person()
        for _ in range(3):
            await alice.post_ok("/families", {"display_name": "Another"}, status=200)
        usage = await alice.read("/users/me/usage")

    [families] = [row for row in usage["person"] if row["quota"] == "families"]
    assert families == {"quota": "families", "used": 3, "limit": None, "unit": "rows"}


def test_an_unknown_quota_stops_the_start(tmp_path):
    settings = settings_for("sqlite://", tmp_path, quotas={"cats": 1})

    with pytest.raises(BadSettings, match="QUOTAS: cats is not one of pantry_items"):
        quotas(settings)
