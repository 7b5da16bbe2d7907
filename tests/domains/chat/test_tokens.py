"""The daily limits of a user and of a family on the model's tokens."""

import asyncio
from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from freshly.domains.chat.policy import SCOPE
from tests.conftest import client_of, running, settings_for
from tests.domains.chat.test_model_failures import BODIES
from tests.support.api import Kitchen
from tests.support.faulty_llm import faulty_model, refuses, says, streams, whole
from tests.support.pictures import in_base64, picture

NOON = datetime(2030, 1, 7, 12, tzinfo=UTC).timestamp()
HALF_A_DAY = 12 * 3600
USER_LIMIT, FAMILY_LIMIT = 10_000, 12_000


@pytest.fixture
async def model():
    async with faulty_model() as server:
        yield server


@pytest.fixture
def settings(database_url, tmp_path, model):
    return settings_for(
        database_url,
        tmp_path,
        openai_base_url=model.url,
        openai_retries=0,
        chat_tokens_per_person=USER_LIMIT,
        chat_tokens_per_family=FAMILY_LIMIT,
    )


@pytest.fixture
def now(app):
    """The time of the limits' clock: a list with one timestamp, which a test may change."""
    timestamps = [NOON]
    app.resources.limiter.clock = lambda: timestamps[0]
    return timestamps


@pytest.fixture
async def family(kitchen, alice):
    return await kitchen.family(alice)


async def used_tokens(person):
    usage = await person.read("/chat/usage")
    return usage["person"]["used"], [family["used"] for family in usage["families"]]


async def ask(person, text="Hi"):
    return await person.post("/chat/legacy", {"prompt": text})


async def test_the_usage_shows_used_tokens_the_limits_and_when_they_reset(
    alice, family, model, now
):
    model.behaviour = says("Hello!", tokens=321)
    assert (await ask(alice)).status_code == 200

    assert await alice.read("/chat/usage") == {
        "person": {"used": 321, "limit": USER_LIMIT, "resets_at": "2030-01-08T00:00:00Z"},
        "families": [
            {
                "used": 321,
                "limit": FAMILY_LIMIT,
                "resets_at": "2030-01-08T00:00:00Z",
                "family_id": family["id"],
                "display_name": "The Family",
                "charged": True,
            }
        ],
    }
    now[0] += HALF_A_DAY
    assert await used_tokens(alice) == (0, [0])
    assert (await alice.read("/chat/usage"))["person"]["resets_at"] == "2030-01-09T00:00:00Z"


@pytest.mark.parametrize("path", BODIES)
async def test_each_route_that_calls_the_model_counts_tokens(alice, model, path):
    model.behaviour = says(
        '{"items": [], "normalized_name": "tomato", "confidence": 1}', tokens=100
    )
    if path == "/chat/generate-image":
        images = [{"url": "https://pictures.example.com/1"}]
        model.behaviour = whole({"data": images, "usage": {"total_tokens": 100}})
    assert (await alice.post(path, BODIES[path])).status_code == 200

    assert (await used_tokens(alice))[0] == 100


async def test_a_scan_that_calls_the_model_twice_counts_both_calls(alice, model):
    model.script = [says("no JSON", tokens=100), says('{"items": []}', tokens=50)]
    files = {"file": ("scan.png", picture())}
    assert (await alice.post("/chat/scan-grocery-proxy", files=files)).status_code == 200

    assert (await used_tokens(alice))[0] == 150


async def test_tokens_are_estimated_if_the_model_does_not_report_them(alice, model):
    model.behaviour = streams("Leeks ", "and ", "cream.")
    assert (await ask(alice, "x" * 300)).status_code == 200
    text_tokens = (await used_tokens(alice))[0]
    assert 100 < text_tokens < 300  # question, policy and answer, three bytes per token

    model.behaviour = says('{"items": []}')
    scan = {"image_data": in_base64(picture())}
    assert (await alice.post("/chat/scan-grocery", scan)).status_code == 200
    scan_tokens = (await used_tokens(alice))[0] - text_tokens
    assert scan_tokens > 1200


@pytest.mark.parametrize("reported", [-5, 0, 10**12, True, "many", 1.5, None, [1]])
async def test_an_invalid_number_of_tokens_from_the_model_is_replaced_by_an_estimate(
    alice, model, reported
):
    model.behaviour = says("Hello!")
    await ask(alice)
    estimated = (await used_tokens(alice))[0]

    model.behaviour = streams("Hello!", tokens=reported)
    assert (await ask(alice)).status_code == 200

    assert (await used_tokens(alice))[0] == 2 * estimated


@pytest.mark.usefixtures("family")
async def test_a_user_above_the_daily_limit_is_refused_until_midnight(alice, model, now):
    model.behaviour = says("Hello!", tokens=USER_LIMIT)
    assert (await ask(alice)).status_code == 200
    calls_before = len(model.requests)

    for path, body in BODIES.items():
        response = await alice.post(path, body)
        assert response.status_code == 429, path
        problem = response.json()
        assert problem["code"] == "rate_limit_exceeded"
        assert problem["error"] == {
            "error": "Rate limit exceeded",
            "route_group": "chat-tokens",
            "tier": "free",
            "limit": USER_LIMIT,
            "window": 86400,
            "policy_type": "daily",
            "retry_after": HALF_A_DAY,
        }
        assert int(response.headers["Retry-After"]) == HALF_A_DAY
    assert len(model.requests) == calls_before
    # Refused requests are not charged.
    assert await used_tokens(alice) == (USER_LIMIT, [USER_LIMIT])

    now[0] += HALF_A_DAY
    assert (await ask(alice)).status_code == 200


@pytest.mark.usefixtures("now")
async def test_a_refused_question_stores_no_picture(alice, model, tmp_path):
    model.behaviour = says("Hello!", tokens=USER_LIMIT)
    await ask(alice)

    assert (await alice.post("/chat", BODIES["/chat"])).status_code == 429
    assert [path for path in (tmp_path / "files").rglob("*") if path.is_file()] == []


@pytest.mark.usefixtures("now")
async def test_members_share_the_limit_of_their_family(kitchen, alice, model):
    bob, carol = await kitchen.person("Bob"), await kitchen.person("Carol")
    await kitchen.family(alice, bob)
    model.behaviour = says("Hello!", tokens=USER_LIMIT - 1000)
    assert (await ask(alice)).status_code == 200
    model.behaviour = says("Hello!", tokens=FAMILY_LIMIT - USER_LIMIT + 1000)
    assert (await ask(bob)).status_code == 200

    refused = await ask(bob)

    assert refused.status_code == 429
    assert refused.json()["error"]["route_group"] == "chat-tokens-family"
    assert await used_tokens(alice) == (USER_LIMIT - 1000, [FAMILY_LIMIT])
    assert await used_tokens(bob) == (FAMILY_LIMIT - USER_LIMIT + 1000, [FAMILY_LIMIT])
    assert (await ask(carol)).status_code == 200
    assert (await used_tokens(carol))[1] == []


async def test_a_user_in_two_families_is_charged_to_the_first(kitchen, alice, model):
    bob = await kitchen.person("Bob")
    first, second = await kitchen.family(alice), await kitchen.family(bob, alice)
    model.behaviour = says("Hello!", tokens=70)
    await ask(alice)

    families = (await alice.read("/chat/usage"))["families"]

    assert {family["family_id"]: (family["used"], family["charged"]) for family in families} == {
        first["id"]: (70, True),
        second["id"]: (0, False),
    }
    assert (await used_tokens(bob)) == (0, [0])


@pytest.mark.usefixtures("now")
async def test_the_limit_is_exact_under_simultaneous_questions(kitchen, alice, model):
    bob = await kitchen.person("Bob")
    await kitchen.family(alice, bob)
    # Until it is answered, a question reserves 750 tokens for its answer and about 60 for itself.
    model.behaviour = streams(0.5, "Hello!", tokens=750)

    responses = await asyncio.gather(*(ask(person) for person in (alice, bob) for _ in range(12)))

    answered = sum(response.status_code == 200 for response in responses)
    assert {response.status_code for response in responses} == {200, 429}
    assert len(model.requests) == answered
    assert FAMILY_LIMIT // 900 <= answered <= FAMILY_LIMIT // 750
    alice_used, family_used = await used_tokens(alice)
    bob_used, _ = await used_tokens(bob)
    assert family_used == [alice_used + bob_used] == [750 * answered]


async def test_a_question_above_the_daily_limit_is_answered_on_an_unused_day(alice, now):
    assert (await ask(alice, "x" * 20_000)).status_code == 200
    await ask(alice)
    long_question = {"message": "y" * 20_000, "system": "z" * 20_000}

    refused = await alice.post("/chat", long_question)
    now[0] += HALF_A_DAY

    assert refused.status_code == 429
    assert (await alice.post("/chat", long_question)).status_code == 200


@pytest.mark.parametrize("path", ["/chat", "/chat/stream", "/chat/generate-image"])
async def test_a_failed_call_of_the_model_costs_no_tokens(alice, model, path):
    model.behaviour = refuses(400)
    await alice.post(path, BODIES[path])

    assert (await used_tokens(alice))[0] == 0


async def test_without_limits_no_question_is_refused_but_tokens_are_counted(
    database_url, tmp_path, model
):
    settings = settings_for(
        database_url,
        tmp_path,
        openai_base_url=model.url,
        chat_tokens_per_person=0,
        chat_tokens_per_family=0,
    )
    model.behaviour = says("Hello!", tokens=9_000_000)
    async with running(settings) as app, client_of(app) as client:
        alice = await Kitchen(client).person()
        for _ in range(3):
            assert (await ask(alice)).status_code == 200
        person = (await alice.read("/chat/usage"))["person"]

    assert (person["used"], person["limit"]) == (27_000_000, None)


@pytest.mark.usefixtures("family")
async def test_the_usage_of_a_deleted_user_is_deleted(alice, model, db):
    model.behaviour = says("Hello!", tokens=10)
    await ask(alice)
    assert (await alice.delete("/users/me")).status_code in (200, 204)

    async with db.read() as session:
        rows = await session.execute(text("SELECT count(*) FROM model_usage"))
        assert rows.scalar_one() == 0


@pytest.fixture
async def limited(database_url, tmp_path, model):
    """Clients of an installation with small limits for strangers and for all."""
    settings = settings_for(
        database_url,
        tmp_path,
        openai_base_url=model.url,
        chat_tokens_unconfirmed=5_000,
        chat_tokens_installation=8_000,
    )
    async with running(settings) as app, client_of(app) as client:
        client.db = app.resources.db
        yield client


async def confirm(client, person):
    async with client.db.write() as session:
        statement = text("UPDATE users SET is_verified = true WHERE id = :id")
        await session.execute(statement, {"id": person.id})


async def test_a_user_with_an_unconfirmed_address_has_a_small_allowance(limited, model):
    alice = await Kitchen(limited).person("Alice")
    model.behaviour = says("Hello!", tokens=5_000)
    assert (await alice.read("/chat/usage"))["person"]["limit"] == 5_000
    assert (await ask(alice)).status_code == 200

    refused = await ask(alice)
    await confirm(limited, alice)
    allowed = await ask(alice)

    assert refused.status_code == 429
    assert refused.json()["error"]["limit"] == 5_000
    assert allowed.status_code == 200
    assert (await alice.read("/chat/usage"))["person"]["limit"] == 300_000


async def test_all_users_together_stay_below_the_ceiling_of_the_installation(limited, model):
    alice, bob = await Kitchen(limited).person("Alice"), await Kitchen(limited).person("Bob")
    await Kitchen(limited).family(alice)
    model.behaviour = says("Hello!", tokens=4_999)
    assert (await ask(alice)).status_code == 200
    model.behaviour = says("Hello!", tokens=3_000)
    assert (await ask(bob)).status_code == 200

    refused = await ask(bob)

    assert refused.status_code == 429
    assert refused.json()["error"]["route_group"] == "chat-tokens-installation"
    assert int(refused.headers["Retry-After"]) > 0


async def test_the_policy_of_the_kitchen_comes_first_also_without_a_conversation(alice, model):
    coding = "You are a general purpose coding assistant."

    await alice.post("/chat/legacy", {"prompt": "Hi", "system": coding})

    assert model.requests[-1]["messages"][0]["content"] == f"{SCOPE}\n\n{coding}"
