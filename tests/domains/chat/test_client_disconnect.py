"""A client that disconnects cancels its call of the model."""

import asyncio

import pytest
from httpx2 import AsyncClient

from tests.conftest import settings_for
from tests.domains.chat.test_model_failures import BODIES
from tests.support.api import Kitchen
from tests.support.fake_services import TIMEOUT_SECONDS, serving
from tests.support.faulty_llm import faulty_model, refuses, says, silent, silent_within


@pytest.fixture
async def model():
    async with faulty_model(silent) as server:
        yield server


@pytest.fixture
def settings(database_url, tmp_path, model):
    return settings_for(database_url, tmp_path, openai_base_url=model.url, openai_retries=0)


@pytest.fixture
async def alice(app):
    """A user of a real server, which sees when a client disconnects."""
    async with serving(app) as url, AsyncClient(base_url=url, timeout=TIMEOUT_SECONDS) as client:
        yield await Kitchen(client).person("Alice")


async def disconnect(alice, model, path):
    """Send a request, disconnect when the model has it, and wait for the model's disconnect."""
    model.request_received.clear()
    model.disconnected.clear()
    request = asyncio.create_task(alice.post(path, BODIES[path]))
    async with asyncio.timeout(TIMEOUT_SECONDS):
        await model.request_received.wait()
    request.cancel()
    async with asyncio.timeout(1):
        await model.disconnected.wait()


async def used_tokens(alice):
    return (await alice.read("/chat/usage"))["person"]["used"]


@pytest.mark.parametrize("path", BODIES)
async def test_a_disconnect_stops_the_model_within_a_second_and_nothing_is_stored(
    alice, model, path, tmp_path
):
    await disconnect(alice, model, path)

    await model.wait_until_idle()
    # The question is charged, because the model got it. No answer is charged.
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while await used_tokens(alice) >= 5000 or not await used_tokens(alice):
            pass
    assert await alice.read("/chat/conversations") == []
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while [entry for entry in (tmp_path / "files").rglob("*") if entry.is_file()]:
            await alice.read("/chat/usage")  # lets the server work
    if path != "/chat/stream":  # its response had begun
        metrics = (await alice.client.get("/metrics")).text
        assert f'route="{path}",status="499"' in metrics


async def test_the_part_sent_before_a_disconnect_is_charged(alice, model):
    model.behaviour = silent_within
    await disconnect(alice, model, "/chat/legacy")

    await model.wait_until_idle()
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while await used_tokens(alice) > 200:
            pass
    assert await used_tokens(alice) > 0


async def test_after_a_disconnect_during_the_trial_the_next_request_is_the_trial(app, alice, model):
    breaker, now = app.resources.llm.call_limiter.breakers["text"], [0.0]
    breaker.clock = lambda: now[0]
    model.behaviour = refuses(500)
    for _ in range(5):
        await alice.post("/chat", {"message": "Hi"})
    assert breaker.state == "open"
    now[0] += 30

    model.behaviour = silent
    await disconnect(alice, model, "/chat")
    await model.wait_until_idle()

    model.behaviour = says("I am back.")
    assert (await alice.post("/chat", {"message": "Hi"})).status_code == 200
    assert breaker.state == "closed"
