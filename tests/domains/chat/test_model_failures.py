"""Faults of the model: requests end soon, store nothing, and hide the provider's texts."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from tests.conftest import client_of, running, settings_for, until
from tests.support.api import Kitchen
from tests.support.fake_services import TIMEOUT_SECONDS
from tests.support.faulty_llm import (
    PROVIDER_TEXT,
    TEN_MEGABYTES,
    deaf_port,
    event,
    faulty_model,
    floods,
    floods_in_pieces,
    floods_with_an_error,
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
    async with faulty_model() as server:
        yield server


@pytest.fixture
def settings(database_url, tmp_path, model):
    return settings_for(database_url, tmp_path, openai_base_url=model.url, **SHORT)


async def problem_and_response(person, path):
    """Return the problem from the body or the stream of a response, and the response."""
    response = await person.post(path, BODIES[path])
    if path == "/chat/stream" and response.status_code == 200:
        last = response.text.strip().split("\n\n")[-1]
        assert "event: error" in last, response.text
        return json.loads(last.partition("data: ")[2])["problem"], response
    return response.json(), response


async def gather_with_slow_model(model, waiting_calls, calls):
    """Run calls at once. The model answers when only `waiting_calls` of them are unfinished."""
    may_answer = asyncio.Event()
    model.behaviour = streams(may_answer, "Here I am.")
    tasks = [asyncio.create_task(call) for call in calls]
    await until(lambda: sum(not call.done() for call in tasks) <= waiting_calls)
    may_answer.set()
    return await asyncio.gather(*tasks)


UNREACHABLE, UNUSABLE = (503, "model_unavailable"), (502, "model_answer_unusable")
NO_TEXT = {"choices": [{"index": 0, "message": {"role": "assistant", "content": [PROVIDER_TEXT]}}]}
FAULTS = {
    "silent": (silent, UNREACHABLE),
    "one byte at a time": (trickles, UNREACHABLE),
    "resets": (resets, UNREACHABLE),
    "floods": (floods, UNUSABLE),
    "floods with an error": (floods_with_an_error, UNUSABLE),
    "compressed bomb": (packed_bomb(), UNUSABLE),
    "truncated JSON": (
        whole(b'{"choices": [{"message": {"content": "' + PROVIDER_TEXT.encode()),
        UNUSABLE,
    ),
    "deeply nested JSON": (whole(b"[" * 500_000), UNUSABLE),
    "no choices": (whole({"message": PROVIDER_TEXT, "choices": []}), UNUSABLE),
    "strange choices": (whole({"choices": PROVIDER_TEXT}), UNUSABLE),
    "strange content": (whole(NO_TEXT), UNUSABLE),
    "an HTML page": (whole(f"<html>{PROVIDER_TEXT}</html>".encode(), "text/html"), UNUSABLE),
    "an error as an answer": (whole({"error": {"message": PROVIDER_TEXT}}), UNUSABLE),
    "an error as an event": (
        streams(f"data: {json.dumps({'error': {'message': PROVIDER_TEXT}})}\n\n".encode()),
        UNUSABLE,
    ),
    "truncated event": (streams(b'data: {"choices": [{"delta": \n\n'), UNUSABLE),
    "wrong key": (refuses(401), UNUSABLE),
    "a redirect": (refuses(307, f"location: http://127.0.0.1:9/{PROVIDER_TEXT[:12]}"), UNUSABLE),
    "server error": (refuses(500), UNUSABLE),
    "busy": (refuses(429), (503, "model_busy")),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_each_fault_of_the_model_is_a_problem_and_nothing_is_stored(
    alice, model, tmp_path, fault
):
    model.behaviour, (status, code) = FAULTS[fault]

    async with asyncio.timeout(TIMEOUT_SECONDS):
        outcomes = await asyncio.gather(*(problem_and_response(alice, path) for path in BODIES))

    for problem, response in outcomes:
        assert (problem["status"], problem["code"]) == (status, code), response.text
        for secret in ("sk-live", "org-acme", "10.1.2.3", "Traceback", "127.0.0.1"):
            assert secret not in response.text
    assert await alice.read("/chat/conversations") == []
    assert [path for path in (tmp_path / "files").rglob("*") if path.is_file()] == []
    assert (await alice.read("/chat/usage"))["person"]["used"] == 0
    await model.wait_until_idle()
    assert model.sent < len(BODIES) * TEN_MEGABYTES


async def test_a_stream_that_falls_silent_ends_with_a_problem_and_its_part_is_stored(alice, model):
    model.behaviour = silent_within

    problem, response = await problem_and_response(alice, "/chat/stream")

    assert (problem["status"], "Half" in response.text) == (503, True)
    (summary,) = await alice.read("/chat/conversations")
    conversation = await alice.read(f"/chat/conversations/{summary['id']}")
    assert conversation["messages"][-1]["content"] == "Half"
    assert conversation["messages"][-1]["interrupted"] is True
    await model.wait_until_idle()


async def test_an_answer_without_end_is_cut_off(alice, model):
    model.behaviour = floods_in_pieces

    outcomes = await asyncio.gather(*(problem_and_response(alice, path) for path in BODIES))

    assert {(problem["status"], problem["code"]) for problem, _ in outcomes} == {UNUSABLE}
    (summary,) = await alice.read("/chat/conversations")  # only the stream stores one
    conversation = await alice.read(f"/chat/conversations/{summary['id']}")
    message = conversation["messages"][-1]
    assert (set(message["content"]), message["interrupted"]) == ({"x"}, True)
    assert len(message["content"]) <= 16 * 1000
    await model.wait_until_idle()
    assert model.sent < 2 * TEN_MEGABYTES  # one call is for a picture, which may be larger


async def test_characters_that_no_database_stores_are_removed_from_an_answer(alice, model):
    broken = b'data: {"choices": [{"delta": {"content": "To\\u0000mato \\ud83d"}}]}\n\n'
    model.behaviour = streams(broken, event(" soup"))

    answer = await alice.post_ok("/chat", {"message": "Hello"}, status=200)

    assert answer["reply"] == "Tomato ? soup"
    messages = f"/chat/conversations/{answer['conversation_id']}/messages"
    assert (await alice.read(messages))[-1]["content"] == "Tomato ? soup"


async def test_a_model_that_accepts_no_connection_is_503_in_time(database_url, tmp_path):
    with deaf_port() as port:
        url = f"http://127.0.0.1:{port}/v1"
        settings = settings_for(database_url, tmp_path, openai_base_url=url, **SHORT)
        async with running(settings) as app, client_of(app) as client:
            alice = await Kitchen(client).person()
            async with asyncio.timeout(TIMEOUT_SECONDS):
                response = await alice.post("/chat", {"message": "Hello"})
            assert (response.status_code, response.json()["code"]) == UNREACHABLE


@pytest.mark.parametrize(
    "fault",
    [resets, refuses(500), refuses(503), refuses(429), refuses(429, "Retry-After: 0")],
    ids=["reset", "500", "503", "429", "429 with Retry-After"],
)
async def test_a_temporary_fault_of_the_model_is_retried_at_most_twice(alice, model, fault):
    model.script = [fault, fault, streams("Hello!")]
    assert (await alice.post_ok("/chat", {"message": "Hi"}, status=200))["reply"] == "Hello!"

    model.script = [fault, fault, fault, streams("too late")]
    assert (await alice.post("/chat", {"message": "Hi"})).status_code in (502, 503)
    assert len(model.requests) == 6


@pytest.mark.parametrize("fault", [silent, refuses(401), floods], ids=["silent", "401", "floods"])
async def test_a_lasting_fault_of_the_model_is_not_retried(alice, model, fault):
    model.behaviour = fault

    await alice.post("/chat", {"message": "Hi"})

    assert len(model.requests) == 1


def in_200_seconds():
    return format_datetime(datetime.now(UTC) + timedelta(seconds=200), usegmt=True)


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("120", (120, 120)),
        (in_200_seconds, (100, 200)),
        ("86400", (300, 300)),  # after a day, no client would try again
        ("1e400", (5, 5)),
        ("soon", (5, 5)),
    ],
    ids=["seconds", "date", "one day", "infinity", "text"],
)
async def test_the_retry_after_of_a_busy_model_is_passed_on_within_bounds(
    alice, model, sent, expected
):
    model.behaviour = refuses(429, f"Retry-After: {sent() if callable(sent) else sent}")

    response = await alice.post("/chat", {"message": "Hi"})

    assert (response.status_code, response.json()["code"]) == (503, "model_busy")
    shortest, longest = expected
    assert shortest <= int(response.headers["Retry-After"]) <= longest


async def test_an_open_circuit_breaker_refuses_calls_and_later_lets_one_call_try(app, alice, model):
    guard, now = app.resources.llm.call_limiter, [1000.0]
    for breaker in guard.breakers.values():
        breaker.clock = lambda: now[0]
    model.behaviour = refuses(500)
    for _ in range(5):
        assert (await alice.post("/chat", {"message": "Hi"})).status_code == 502
    calls_before = len(model.requests)

    for path in ("/chat/stream", "/chat/legacy", "/grocery-lists/ingredients/normalize"):
        response = await alice.post(path, BODIES[path])
        assert (response.status_code, response.json()["code"]) == UNREACHABLE
        assert response.headers["Retry-After"] == "30"
    assert len(model.requests) == calls_before
    # The model for images has a circuit breaker of its own.
    assert (await alice.post("/chat/generate-image", {"prompt": "Soup"})).status_code == 502
    assert len(model.requests) > calls_before

    now[0] += 31
    model.requests.clear()
    calls = [alice.post("/chat", {"message": "Hi"}) for _ in range(5)]
    responses = await gather_with_slow_model(model, 1, calls)
    assert sorted(response.status_code for response in responses) == [200, 503, 503, 503, 503]
    assert len(model.requests) == 1
    assert (await alice.post("/chat", {"message": "Hi"})).status_code == 200


async def test_a_failed_trial_opens_the_circuit_breaker_again(app, alice, model):
    breaker, now = app.resources.llm.call_limiter.breakers["text"], [0.0]
    breaker.clock = lambda: now[0]
    model.behaviour = refuses(500)
    for _ in range(5):
        await alice.post("/chat", {"message": "Hi"})
    now[0] += 30

    assert (await alice.post("/chat", {"message": "Hi"})).status_code == 502
    assert (await alice.post("/chat", {"message": "Hi"})).status_code == 503
    now[0] += 30
    model.behaviour = says("I am back.")
    assert (await alice.post("/chat", {"message": "Hi"})).status_code == 200


async def test_a_busy_model_or_a_bad_request_does_not_open_the_circuit_breaker(alice, model):
    for fault, status in ((refuses(429, "Retry-After: 99"), 503), (refuses(400), 502)):
        model.behaviour = fault
        for _ in range(6):
            assert (await alice.post("/chat", {"message": "Hi"})).status_code == status
    model.behaviour = says("Hello!")

    assert (await alice.post("/chat", {"message": "Hi"})).status_code == 200


async def test_calls_above_the_limit_of_simultaneous_calls_are_503(database_url, tmp_path, model):
    limits = {**SHORT, "openai_max_calls": 2, "openai_first_byte_timeout": TIMEOUT_SECONDS}
    limits["openai_timeout"] = TIMEOUT_SECONDS
    settings = settings_for(database_url, tmp_path, openai_base_url=model.url, **limits)
    async with running(settings) as app, client_of(app) as client:
        alice = await Kitchen(client).person()
        paths = ("/chat", "/chat/legacy") * 2
        responses = await gather_with_slow_model(
            model, 2, [alice.post(path, BODIES[path]) for path in paths]
        )
        next_response = await alice.post("/chat", {"message": "Hi"})

    assert sorted(response.status_code for response in responses) == [200, 200, 503, 503]
    for response in responses:
        if response.status_code == 503:
            assert response.json()["code"] == "model_busy"
            assert int(response.headers["Retry-After"]) >= 1
    assert next_response.status_code == 200


async def test_stream_options_are_not_sent_again_to_a_server_that_refuses_them(alice, model):
    async def refuse_stream_options(request, out):
        has_options = "stream_options" in request
        await (refuses(400) if has_options else streams("Hello!"))(request, out)

    model.behaviour = refuse_stream_options
    for _ in range(2):
        assert (await alice.post_ok("/chat", {"message": "Hi"}, status=200))["reply"] == "Hello!"

    assert ["stream_options" in request for request in model.requests] == [True, False, False]


async def test_the_metrics_count_the_outcomes_of_model_calls(alice, model, client):
    model.script = [streams("Hello!"), refuses(401)]
    await alice.post("/chat/legacy", {"prompt": "Hi"})
    await alice.post("/chat/legacy", {"prompt": "Hi"})

    metrics = (await client.get("/metrics")).text

    for outcome in ("answered", "unusable"):
        assert f'freshly_model_calls_total{{kind="text",outcome="{outcome}"}}' in metrics
    assert "freshly_model_in_flight 0.0" in metrics
    assert 'freshly_model_breaker{kind="text"} 0.0' in metrics
