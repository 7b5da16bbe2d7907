"""Answers as server-sent events, over a real connection that a client may close."""

import asyncio
import json

import pytest
from httpx2 import AsyncClient

from tests.support.api import Kitchen
from tests.support.fake_services import TIMEOUT_SECONDS, serving

PAUSE = 0.02


@pytest.fixture
async def remote(app):
    """A client of the app on a real server, which sees when a client disconnects."""
    async with serving(app) as url, AsyncClient(base_url=url, timeout=TIMEOUT_SECONDS) as client:
        yield client


@pytest.fixture
async def alice(remote):
    return await Kitchen(remote).person("Alice")


def events(text):
    parsed = []
    for block in text.strip().split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
        if "event" in lines:
            parsed.append((lines["event"], json.loads(lines["data"])))
    return parsed


async def stream(person, text="Hello", **fields):
    response = await person.post("/chat/stream", {"message": text, **fields})
    assert response.status_code == 200, response.text
    assert response.headers["content-type"].startswith("text/event-stream")
    return events(response.text)


async def last_message(person, conversation_id):
    conversation = await person.read(f"/chat/conversations/{conversation_id}")
    return conversation["messages"][-1]


async def test_the_stored_message_is_the_streamed_text(alice, model):
    model.says(["Good ", "evening", "!\n", "How ", "are you?"])

    streamed = await stream(alice)

    assert [name for name, _ in streamed[:-1]] == ["delta"] * (len(streamed) - 1)
    text = "".join(data["text"] for name, data in streamed if name == "delta")
    name, done = streamed[-1]
    assert (name, done["interrupted"]) == ("done", False)
    message = await last_message(alice, done["conversation_id"])
    assert message["id"] == done["message_id"]
    assert message["content"] == text == "Good evening!\nHow are you?"
    assert message["interrupted"] is False
    # A second question continues the conversation.
    second = await stream(alice, conversation_id=done["conversation_id"])
    assert second[-1][1]["conversation_id"] == done["conversation_id"]


async def test_a_meal_in_the_answer_is_an_event_and_not_part_of_the_text(alice, model):
    meal_json = json.dumps({"name": "Leek soup", "mealType": "Lunch"})
    model.says(["Soup!\n``", "`me", 'al\n{"na', meal_json[4:], "\n`", "``\n", "Enjoy."])

    streamed = await stream(alice)

    text = "".join(data["text"] for name, data in streamed if name == "delta")
    assert text == "Soup!\nEnjoy."
    ((_, meal),) = [event for event in streamed if event[0] == "meal"]
    assert (meal["name"], meal["mealType"]) == ("Leek soup", "Lunch")
    message = await last_message(alice, streamed[-1][1]["conversation_id"])
    assert message["content"] == text


async def test_a_disconnect_stops_the_model_within_a_second_and_the_part_is_stored(alice, model):
    model.says(["One ", "two ", *[PAUSE, "more "] * 1000])
    body = {"message": "Tell me a long story"}

    async with alice.client.stream(
        "POST", "/chat/stream", json=body, headers=alice.headers
    ) as response:
        received = ""
        async for piece in response.aiter_text():
            received += piece
            if "two" in received:
                break
    async with asyncio.timeout(1):
        await model.aborted.wait()

    async with asyncio.timeout(TIMEOUT_SECONDS):
        while not (listed := await alice.read("/chat/conversations")):
            pass
    message = await last_message(alice, listed[0]["id"])
    assert message["interrupted"] is True
    assert message["content"].startswith("One two")


async def test_a_disconnect_before_the_first_word_stores_nothing(alice, model):
    model.says([5, "late"])
    body = {"message": "Hello"}

    request = asyncio.create_task(
        alice.client.post("/chat/stream", json=body, headers=alice.headers)
    )
    async with asyncio.timeout(TIMEOUT_SECONDS):
        await model.request_received.wait()
    request.cancel()
    async with asyncio.timeout(1):
        await model.aborted.wait()

    assert await alice.read("/chat/conversations") == []


async def test_a_model_that_breaks_off_is_an_error_event_and_the_part_is_stored(alice, model):
    model.says(["Half an ", "answer", PAUSE, ConnectionResetError])

    streamed = await stream(alice)

    name, data = streamed[-1]
    assert name == "error"
    assert data["problem"]["status"] in (502, 503)
    assert "provider" not in str(data)
    (summary,) = await alice.read("/chat/conversations")
    message = await last_message(alice, summary["id"])
    assert (message["content"], message["interrupted"]) == ("Half an answer", True)


@pytest.mark.parametrize(
    ("line", "status"),
    [(500, 502), (429, 503), ([], 502)],
    ids=["500", "429", "empty stream"],
)
async def test_a_model_that_refuses_is_an_error_event_and_nothing_is_stored(
    alice, model, line, status
):
    model.says(line, line, line)

    ((name, data),) = await stream(alice)

    assert (name, data["problem"]["status"]) == ("error", status)
    assert data["problem"]["correlation_id"]
    assert "secret provider text" not in str(data)
    assert await alice.read("/chat/conversations") == []


async def test_a_conversation_that_is_deleted_during_its_stream_is_an_error_event(alice, model):
    model.says("Hello!", ["One ", *[PAUSE, "more "] * 30])
    first = await alice.post_ok("/chat", {"message": "Hi"}, status=200)
    model.request_received.clear()
    path = f"/chat/conversations/{first['conversation_id']}"

    streamed = asyncio.create_task(stream(alice, conversation_id=first["conversation_id"]))
    await model.request_received.wait()
    assert (await alice.delete(path)).status_code == 200

    name, data = (await streamed)[-1]
    assert (name, data["problem"]["status"]) == ("error", 404)
    assert await alice.read("/chat/conversations") == []


async def test_a_shutdown_ends_the_stream_and_the_part_is_stored(alice, app, model):
    model.says(["Leek ", TIMEOUT_SECONDS, "soup"])
    app.resources.shutdown.stream_seconds = 0.1
    streaming = asyncio.create_task(stream(alice))
    await model.request_received.wait()

    app.resources.shutdown.requested.set()
    streamed = await streaming

    assert [name for name, _ in streamed] == ["delta", "error"]
    problem = streamed[-1][1]["problem"]
    assert (problem["status"], problem["code"]) == (503, "restarting")
    (summary,) = await alice.read("/chat/conversations")
    message = await last_message(alice, summary["id"])
    assert (message["content"], message["interrupted"]) == ("Leek", True)


async def test_a_shutdown_lets_a_short_answer_finish(alice, app, model):
    model.says(["Leek ", 0.3, "soup"])
    streaming = asyncio.create_task(stream(alice))
    await model.request_received.wait()

    app.resources.shutdown.requested.set()
    streamed = await streaming

    assert streamed[-1][0] == "done"
