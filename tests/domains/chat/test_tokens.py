"""How many tokens of the assistant a person and a family may use in a day."""

import asyncio
from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from tests.conftest import client_of, running, settings_for
from tests.domains.chat.test_moods import BODIES
from tests.support.api import Kitchen
from tests.support.faulty_llm import moody_model, refuses, says, streams, whole
from tests.support.pictures import in_base64, picture

NOON = datetime(2030, 1, 7, 12, tzinfo=UTC).timestamp()
HALF_A_DAY = 12 * 3600
PERSON, FAMILY = 10_000, 12_000


@pytest.fixture
async def model():
    async with moody_model() as server:
        yield server


@pytest.fixture
def settings(database_url, tmp_path, model):
    return settings_for(
        database_url,
        tmp_path,
        openai_base_url=model.url,
        openai_retries=0,
        chat_tokens_per_person=PERSON,
        chat_tokens_per_family=FAMILY,
    )


@pytest.fixture
def now(app):
    """The clock of the limits, as the only thing in a list."""
    at = [NOON]
    app.resources.limiter.clock = lambda: at[0]
    return at


@pytest.fixture
async def family(kitchen, alice):
    return await kitchen.family(alice)


async def used(person):
    read = await person.read("/chat/usage")
    return read["person"]["used"], [family["used"] for family in read["families"]]


async def ask(person, text="Hi"):
    return await person.post("/chat/legacy", {"prompt": text})


async def test_what_was_used_is_told_with_the_limit_and_its_end(alice, family, model, now):
    model.mood = says("Hello!", tokens=321)
    assert (await ask(alice)).status_code == 200

    assert await alice.read("/chat/usage") == {
        "person": {"used": 321, "limit": PERSON, "resets_at": "2030-01-08T00:00:00Z"},
        "families": [
            {
                "used": 321,
                "limit": FAMILY,
                "resets_at": "2030-01-08T00:00:00Z",
                "family_id": family["id"],
                "display_name": "The Family",
                "charged": True,
            }
        ],
    }
    now[0] += HALF_A_DAY
    assert await used(alice) == (0, [0])
    assert (await alice.read("/chat/usage"))["person"]["resets_at"] == "2030-01-09T00:00:00Z"


@pytest.mark.parametrize("path", BODIES)
async def test_each_call_of_the_model_counts(alice, model, path):
    model.mood = says('{"items": [], "normalized_name": "tomato", "confidence": 1}', tokens=100)
    if path == "/chat/generate-image":
        drawn = [{"url": "https://pictures.example.com/1"}]
        model.mood = whole({"data": drawn, "usage": {"total_tokens": 100}})
    assert (await alice.post(path, BODIES[path])).status_code == 200

    assert (await used(alice))[0] == 100


async def test_a_scan_that_is_asked_for_twice_counts_twice(alice, model):
    model.script = [says("no JSON", tokens=100), says('{"items": []}', tokens=50)]
    files = {"file": ("scan.png", picture())}
    assert (await alice.post("/chat/scan-grocery-proxy", files=files)).status_code == 200

    assert (await used(alice))[0] == 150


async def test_where_the_server_counts_nothing_it_is_estimated(alice, model):
    model.mood = streams("Leeks ", "and ", "cream.")
    assert (await ask(alice, "x" * 300)).status_code == 200
    text = (await used(alice))[0]
    assert 100 < text < 200  # three bytes a token; the question, the policy, the answer

    model.mood = says('{"items": []}')
    scan = {"image_data": in_base64(picture())}
    assert (await alice.post("/chat/scan-grocery", scan)).status_code == 200
    seen = (await used(alice))[0] - text
    assert seen > 1200


@pytest.mark.parametrize("counted", [-5, 0, 10**12, True, "many", 1.5, None, [1]])
async def test_a_server_that_miscounts_is_not_believed(alice, model, counted):
    model.mood = says("Hello!")
    await ask(alice)
    estimated = (await used(alice))[0]

    model.mood = streams("Hello!", tokens=counted)
    assert (await ask(alice)).status_code == 200

    assert (await used(alice))[0] == 2 * estimated


@pytest.mark.usefixtures("family")
async def test_who_has_used_the_day_is_refused_until_midnight(alice, model, now):
    model.mood = says("Hello!", tokens=PERSON)
    assert (await ask(alice)).status_code == 200
    asked = len(model.asked)

    for path, body in BODIES.items():
        answer = await alice.post(path, body)
        assert answer.status_code == 429, path
        problem = answer.json()
        assert problem["code"] == "rate_limit_exceeded"
        assert problem["error"] == {
            "error": "Rate limit exceeded",
            "route_group": "chat-tokens",
            "tier": "free",
            "limit": PERSON,
            "window": 86400,
            "policy_type": "daily",
            "retry_after": HALF_A_DAY,
        }
        assert int(answer.headers["Retry-After"]) == HALF_A_DAY
    assert len(model.asked) == asked
    assert await used(alice) == (PERSON, [PERSON])  # refused is not charged

    now[0] += HALF_A_DAY
    assert (await ask(alice)).status_code == 200


@pytest.mark.usefixtures("now")
async def test_refused_pictures_leave_no_file_behind(alice, model, tmp_path):
    model.mood = says("Hello!", tokens=PERSON)
    await ask(alice)

    assert (await alice.post("/chat", BODIES["/chat"])).status_code == 429
    assert [path for path in (tmp_path / "files").rglob("*") if path.is_file()] == []


@pytest.mark.usefixtures("now")
async def test_members_share_what_their_family_has(kitchen, alice, model):
    bob, carol = await kitchen.person("Bob"), await kitchen.person("Carol")
    await kitchen.family(alice, bob)
    model.mood = says("Hello!", tokens=PERSON - 1000)
    assert (await ask(alice)).status_code == 200
    model.mood = says("Hello!", tokens=FAMILY - PERSON + 1000)
    assert (await ask(bob)).status_code == 200

    refused = await ask(bob)

    assert refused.status_code == 429
    assert refused.json()["error"]["route_group"] == "chat-tokens-family"
    assert await used(alice) == (PERSON - 1000, [FAMILY])
    assert await used(bob) == (FAMILY - PERSON + 1000, [FAMILY])
    assert (await ask(carol)).status_code == 200
    assert (await used(carol))[1] == []


async def test_a_person_of_two_families_is_charged_in_the_first(kitchen, alice, model):
    bob = await kitchen.person("Bob")
    first, second = await kitchen.family(alice), await kitchen.family(bob, alice)
    model.mood = says("Hello!", tokens=70)
    await ask(alice)

    families = (await alice.read("/chat/usage"))["families"]

    assert {one["family_id"]: (one["used"], one["charged"]) for one in families} == {
        first["id"]: (70, True),
        second["id"]: (0, False),
    }
    assert (await used(bob)) == (0, [0])


@pytest.mark.usefixtures("now")
async def test_the_limit_is_exact_however_many_ask_at_once(kitchen, alice, model):
    bob = await kitchen.person("Bob")
    await kitchen.family(alice, bob)
    # A question takes 750 for its answer and some 60 for itself until it is answered.
    model.mood = streams(0.5, "Hello!", tokens=750)

    told = await asyncio.gather(*(ask(person) for person in (alice, bob) for _ in range(12)))

    answered = sum(answer.status_code == 200 for answer in told)
    assert {answer.status_code for answer in told} == {200, 429}
    assert len(model.asked) == answered
    assert FAMILY // 900 <= answered <= FAMILY // 750
    alices, families = await used(alice)
    bobs, _ = await used(bob)
    assert families == [alices + bobs] == [750 * answered]


async def test_a_question_larger_than_a_day_is_answered_on_a_fresh_one(alice, now):
    assert (await ask(alice, "x" * 20_000)).status_code == 200
    await ask(alice)
    long = {"message": "y" * 20_000, "system": "z" * 20_000}

    refused = await alice.post("/chat", long)
    now[0] += HALF_A_DAY

    assert refused.status_code == 429
    assert (await alice.post("/chat", long)).status_code == 200


@pytest.mark.parametrize("path", ["/chat", "/chat/stream", "/chat/generate-image"])
async def test_a_call_that_failed_costs_nothing(alice, model, path):
    model.mood = refuses(400)
    await alice.post(path, BODIES[path])

    assert (await used(alice))[0] == 0


async def test_no_limit_is_no_limit_and_counts_all_the_same(database_url, tmp_path, model):
    settings = settings_for(
        database_url,
        tmp_path,
        openai_base_url=model.url,
        chat_tokens_per_person=0,
        chat_tokens_per_family=0,
    )
    model.mood = says("Hello!", tokens=9_000_000)
    async with running(settings) as app, client_of(app) as client:
        alice = await Kitchen(client).person()
        for _ in range(3):
            assert (await ask(alice)).status_code == 200
        person = (await alice.read("/chat/usage"))["person"]

    assert (person["used"], person["limit"]) == (27_000_000, None)


@pytest.mark.usefixtures("family")
async def test_what_a_person_used_goes_with_them(alice, model, db):
    model.mood = says("Hello!", tokens=10)
    await ask(alice)
    assert (await alice.delete("/users/me")).status_code in (200, 204)

    async with db.read() as session:
        rows = await session.execute(text("SELECT count(*) FROM model_usage"))
        assert rows.scalar_one() == 0
