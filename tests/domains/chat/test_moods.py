"""A model that misbehaves: nobody waits for long, nothing of it is kept, and none of its words are
read by anybody."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from tests.conftest import client_of, running, settings_for, until
from tests.support.api import Kitchen
from tests.support.fake_services import PATIENCE
from tests.support.faulty_llm import (
    NASTY,
    TEN_MEGABYTES,
    deaf_port,
    event,
    floods,
    floods_in_pieces,
    floods_with_an_error,
    moody_model,
    packed_bomb,
    refuses,
    resets,
    says,
    silent,
    silent_within,
    streams,
    trickles,
    whole,
)
from tests.support.pictures import in_base64, picture

SHORT = {
    "openai_first_byte_timeout": 2.5,
    "openai_timeout": 5,
    "openai_queue_timeout": 0.05,
}
BODIES = {
    "/chat": {"message": "food?", "image": in_base64(picture())},
    "/chat/stream": {"message": "Hello"},
    "/chat/legacy": {"prompt": "Hello"},
    "/chat/generate-image": {"prompt": "Soup"},
    "/chat/scan-grocery": {"image_data": in_base64(picture())},
    "/grocery-lists/ingredients/normalize": {"raw_text": "2 lb tomatoes"},
}


@pytest.fixture
async def model():
    async with moody_model() as server:
        yield server


@pytest.fixture
def settings(database_url, tmp_path, model):
    return settings_for(database_url, tmp_path, openai_base_url=model.url, **SHORT)


async def refused(person, path):
    """The problem that a call meets, also where it is told in a stream; and all that was said."""
    answer = await person.post(path, BODIES[path])
    if path == "/chat/stream" and answer.status_code == 200:
        last = answer.text.strip().split("\n\n")[-1]
        assert "event: error" in last, answer.text
        return json.loads(last.partition("data: ")[2])["problem"], answer
    return answer.json(), answer


async def while_it_thinks(model, thinking, calls):
    """What several calls at once are told when the model answers as soon as so many are left."""
    enough = asyncio.Event()
    model.mood = streams(enough, "Here I am.")
    waiting = [asyncio.create_task(call) for call in calls]
    await until(lambda: sum(not call.done() for call in waiting) <= thinking)
    enough.set()
    return await asyncio.gather(*waiting)


UNREACHABLE, UNUSABLE = (503, "model_unavailable"), (502, "model_answer_unusable")
NO_TEXT = {"choices": [{"index": 0, "message": {"role": "assistant", "content": [NASTY]}}]}
MOODS = {
    "silent": (silent, UNREACHABLE),
    "a byte at a time": (trickles, UNREACHABLE),
    "resets": (resets, UNREACHABLE),
    "floods": (floods, UNUSABLE),
    "floods with an error": (floods_with_an_error, UNUSABLE),
    "packed bomb": (packed_bomb(), UNUSABLE),
    "half a JSON": (whole(b'{"choices": [{"message": {"content": "' + NASTY.encode()), UNUSABLE),
    "deep JSON": (whole(b"[" * 500_000), UNUSABLE),
    "no choices": (whole({"message": NASTY, "choices": []}), UNUSABLE),
    "strange choices": (whole({"choices": NASTY}), UNUSABLE),
    "strange content": (whole(NO_TEXT), UNUSABLE),
    "a page": (whole(f"<html>{NASTY}</html>".encode(), "text/html"), UNUSABLE),
    "an error as an answer": (whole({"error": {"message": NASTY}}), UNUSABLE),
    "an error as an event": (
        streams(f"data: {json.dumps({'error': {'message': NASTY}})}\n\n".encode()),
        UNUSABLE,
    ),
    "half an event": (streams(b'data: {"choices": [{"delta": \n\n'), UNUSABLE),
    "not its key": (refuses(401), UNUSABLE),
    "a redirect": (refuses(307, f"location: http://127.0.0.1:9/{NASTY[:12]}"), UNUSABLE),
    "broken": (refuses(500), UNUSABLE),
    "busy": (refuses(429), (503, "model_busy")),
}


@pytest.mark.parametrize("mood", MOODS)
async def test_each_mood_is_a_plain_problem_that_leaves_nothing_behind(
    alice, model, tmp_path, mood
):
    model.mood, (status, code) = MOODS[mood]

    async with asyncio.timeout(PATIENCE):
        told = await asyncio.gather(*(refused(alice, path) for path in BODIES))

    for problem, answer in told:
        assert (problem["status"], problem["code"]) == (status, code), answer.text
        for secret in ("sk-live", "org-acme", "10.1.2.3", "Traceback", "127.0.0.1"):
            assert secret not in answer.text
    assert await alice.read("/chat/conversations") == []
    assert [path for path in (tmp_path / "files").rglob("*") if path.is_file()] == []
    assert (await alice.read("/chat/usage"))["person"]["used"] == 0
    await model.is_left_alone()
    assert model.sent < len(BODIES) * TEN_MEGABYTES


async def test_a_stream_that_falls_silent_keeps_what_was_said_and_tells_no_more(alice, model):
    model.mood = silent_within

    problem, answer = await refused(alice, "/chat/stream")

    assert (problem["status"], "Half" in answer.text) == (503, True)
    (listed,) = await alice.read("/chat/conversations")
    read = await alice.read(f"/chat/conversations/{listed['id']}")
    assert read["messages"][-1]["content"] == "Half"
    assert read["messages"][-1]["interrupted"] is True
    await model.is_left_alone()


async def test_a_model_that_does_not_stop_is_stopped(alice, model):
    model.mood = floods_in_pieces

    told = await asyncio.gather(*(refused(alice, path) for path in BODIES))

    assert {(problem["status"], problem["code"]) for problem, _ in told} == {UNUSABLE}
    (listed,) = await alice.read("/chat/conversations")  # of the stream, as far as it was read
    read = await alice.read(f"/chat/conversations/{listed['id']}")
    kept = read["messages"][-1]
    assert (set(kept["content"]), kept["interrupted"]) == ({"x"}, True)
    assert len(kept["content"]) <= 16 * 1000
    await model.is_left_alone()
    assert model.sent < 2 * TEN_MEGABYTES  # one is a picture, of which more is read


async def test_what_no_database_keeps_is_taken_out_of_an_answer(alice, model):
    broken = b'data: {"choices": [{"delta": {"content": "To\\u0000mato \\ud83d"}}]}\n\n'
    model.mood = streams(broken, event(" soup"))

    answer = await alice.post_ok("/chat", {"message": "Hello"}, status=200)

    assert answer["reply"] == "Tomato ? soup"
    messages = f"/chat/conversations/{answer['conversation_id']}/messages"
    assert (await alice.read(messages))[-1]["content"] == "Tomato ? soup"


async def test_a_wall_in_place_of_a_model_is_503_in_time(database_url, tmp_path):
    with deaf_port() as port:
        url = f"http://127.0.0.1:{port}/v1"
        settings = settings_for(database_url, tmp_path, openai_base_url=url, **SHORT)
        async with running(settings) as app, client_of(app) as client:
            alice = await Kitchen(client).person()
            async with asyncio.timeout(PATIENCE):
                answer = await alice.post("/chat", {"message": "Hello"})
            assert (answer.status_code, answer.json()["code"]) == UNREACHABLE


@pytest.mark.parametrize(
    "passing", [resets, refuses(500), refuses(503), refuses(429), refuses(429, "Retry-After: 0")]
)
async def test_what_passes_is_tried_again_twice_at_most(alice, model, passing):
    model.script = [passing, passing, streams("Hello!")]
    assert (await alice.post_ok("/chat", {"message": "Hi"}, status=200))["reply"] == "Hello!"

    model.script = [passing, passing, passing, streams("too late")]
    assert (await alice.post("/chat", {"message": "Hi"})).status_code in (502, 503)
    assert len(model.asked) == 6


@pytest.mark.parametrize("mood", [silent, refuses(401), floods])
async def test_what_would_not_help_is_not_tried_again(alice, model, mood):
    model.mood = mood

    await alice.post("/chat", {"message": "Hi"})

    assert len(model.asked) == 1


def in_seconds():
    return format_datetime(datetime.now(UTC) + timedelta(seconds=200), usegmt=True)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("120", (120, 120)),
        (in_seconds, (100, 200)),
        ("86400", (300, 300)),  # whoever is told a day asks nobody again
        ("1e400", (5, 5)),
        ("soon", (5, 5)),
    ],
)
async def test_a_busy_models_time_to_wait_is_passed_on_within_reason(alice, model, asked, told):
    model.mood = refuses(429, f"Retry-After: {asked() if callable(asked) else asked}")

    answer = await alice.post("/chat", {"message": "Hi"})

    assert (answer.status_code, answer.json()["code"]) == (503, "model_busy")
    shortest, longest = told
    assert shortest <= int(answer.headers["Retry-After"]) <= longest


async def test_a_model_that_stopped_answering_is_left_alone_and_then_tried_by_one(
    app, alice, model
):
    guard, now = app.resources.llm.guard, [1000.0]
    for breaker in guard.breakers.values():
        breaker.clock = lambda: now[0]
    model.mood = refuses(500)
    for _ in range(5):
        assert (await alice.post("/chat", {"message": "Hi"})).status_code == 502
    asked = len(model.asked)

    for path in ("/chat/stream", "/chat/legacy", "/grocery-lists/ingredients/normalize"):
        answer = await alice.post(path, BODIES[path])
        assert (answer.status_code, answer.json()["code"]) == UNREACHABLE
        assert answer.headers["Retry-After"] == "30"
    assert len(model.asked) == asked
    # What draws and what sees are other models.
    assert (await alice.post("/chat/generate-image", {"prompt": "Soup"})).status_code == 502
    assert len(model.asked) > asked

    now[0] += 31
    model.asked.clear()
    calls = [alice.post("/chat", {"message": "Hi"}) for _ in range(5)]
    told = await while_it_thinks(model, 1, calls)
    assert sorted(answer.status_code for answer in told) == [200, 503, 503, 503, 503]
    assert len(model.asked) == 1
    assert (await alice.post("/chat", {"message": "Hi"})).status_code == 200


async def test_a_trial_that_fails_leaves_it_alone_anew(app, alice, model):
    breaker, now = app.resources.llm.guard.breakers["text"], [0.0]
    breaker.clock = lambda: now[0]
    model.mood = refuses(500)
    for _ in range(5):
        await alice.post("/chat", {"message": "Hi"})
    now[0] += 30

    assert (await alice.post("/chat", {"message": "Hi"})).status_code == 502
    assert (await alice.post("/chat", {"message": "Hi"})).status_code == 503
    now[0] += 30
    model.mood = says("I am back.")
    assert (await alice.post("/chat", {"message": "Hi"})).status_code == 200


async def test_a_busy_model_or_a_bad_answer_closes_it_to_nobody(alice, model):
    for mood, status in ((refuses(429, "Retry-After: 99"), 503), (refuses(400), 502)):
        model.mood = mood
        for _ in range(6):
            assert (await alice.post("/chat", {"message": "Hi"})).status_code == status
    model.mood = says("Hello!")

    assert (await alice.post("/chat", {"message": "Hi"})).status_code == 200


async def test_only_so_many_calls_are_under_way_at_once(database_url, tmp_path, model):
    few = {**SHORT, "openai_max_calls": 2, "openai_first_byte_timeout": PATIENCE}
    few["openai_timeout"] = PATIENCE
    settings = settings_for(database_url, tmp_path, openai_base_url=model.url, **few)
    async with running(settings) as app, client_of(app) as client:
        alice = await Kitchen(client).person()
        paths = ("/chat", "/chat/legacy") * 2
        told = await while_it_thinks(model, 2, [alice.post(path, BODIES[path]) for path in paths])
        again = await alice.post("/chat", {"message": "Hi"})

    assert sorted(answer.status_code for answer in told) == [200, 200, 503, 503]
    for answer in told:
        if answer.status_code == 503:
            assert answer.json()["code"] == "model_busy"
            assert int(answer.headers["Retry-After"]) >= 1
    assert again.status_code == 200


async def test_a_server_that_refuses_to_count_streams_is_not_asked_to_again(alice, model):
    async def strict(request, out):
        unknown = "stream_options" in request
        await (refuses(400) if unknown else streams("Hello!"))(request, out)

    model.mood = strict
    for _ in range(2):
        assert (await alice.post_ok("/chat", {"message": "Hi"}, status=200))["reply"] == "Hello!"

    assert ["stream_options" in asked for asked in model.asked] == [True, False, False]


async def test_what_became_of_calls_is_in_the_metrics(alice, model, client):
    model.script = [streams("Hello!"), refuses(401)]
    await alice.post("/chat/legacy", {"prompt": "Hi"})
    await alice.post("/chat/legacy", {"prompt": "Hi"})

    numbers = (await client.get("/metrics")).text

    for outcome in ("answered", "unusable"):
        assert f'freshly_model_calls_total{{kind="text",outcome="{outcome}"}}' in numbers
    assert "freshly_model_in_flight 0.0" in numbers
    assert 'freshly_model_breaker{kind="text"} 0.0' in numbers
