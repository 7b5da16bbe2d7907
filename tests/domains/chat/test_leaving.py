"""Whoever leaves takes the question along: the model is not kept at work for nobody."""

import asyncio

import pytest
from httpx2 import AsyncClient

from tests.conftest import settings_for
from tests.domains.chat.test_moods import BODIES
from tests.support.api import Kitchen
from tests.support.fake_services import PATIENCE, serving
from tests.support.faulty_llm import moody_model, refuses, says, silent, silent_within


@pytest.fixture
async def model():
    async with moody_model(silent) as server:
        yield server


@pytest.fixture
def settings(database_url, tmp_path, model):
    return settings_for(database_url, tmp_path, openai_base_url=model.url, openai_retries=0)


@pytest.fixture
async def alice(app):
    """By a real server, where leaving is seen."""
    async with serving(app) as url, AsyncClient(base_url=url, timeout=PATIENCE) as client:
        yield await Kitchen(client).person("Alice")


async def leaves(alice, model, path):
    """Asks, hangs up when the model has heard it, and sees that the model is hung up on too."""
    model.was_asked.clear()
    model.was_left.clear()
    asking = asyncio.create_task(alice.post(path, BODIES[path]))
    async with asyncio.timeout(PATIENCE):
        await model.was_asked.wait()
    asking.cancel()
    async with asyncio.timeout(1):
        await model.was_left.wait()


async def used(alice):
    return (await alice.read("/chat/usage"))["person"]["used"]


@pytest.mark.parametrize("path", BODIES)
async def test_the_model_is_stopped_within_a_second_and_nothing_is_kept(
    alice, model, path, tmp_path
):
    await leaves(alice, model, path)

    await model.is_left_alone()
    # Charged is the question, which the model has heard, and nothing for an answer.
    async with asyncio.timeout(PATIENCE):
        while await used(alice) >= 5000 or not await used(alice):
            pass
    assert await alice.read("/chat/conversations") == []
    async with asyncio.timeout(PATIENCE):
        while [one for one in (tmp_path / "files").rglob("*") if one.is_file()]:
            await alice.read("/chat/usage")  # lets it work
    if path != "/chat/stream":  # which had begun to answer
        numbers = (await alice.client.get("/metrics")).text
        assert f'route="{path}",status="499"' in numbers


async def test_what_came_before_is_charged_too(alice, model):
    model.mood = silent_within
    await leaves(alice, model, "/chat/legacy")

    await model.is_left_alone()
    async with asyncio.timeout(PATIENCE):
        while await used(alice) > 200:
            pass
    assert await used(alice) > 0


async def test_who_leaves_during_the_trial_leaves_it_to_the_next(app, alice, model):
    breaker, now = app.resources.llm.guard.breakers["text"], [0.0]
    breaker.clock = lambda: now[0]
    model.mood = refuses(500)
    for _ in range(5):
        await alice.post("/chat", {"message": "Hi"})
    assert breaker.state == "open"
    now[0] += 30

    model.mood = silent
    await leaves(alice, model, "/chat")
    await model.is_left_alone()

    model.mood = says("I am back.")
    assert (await alice.post("/chat", {"message": "Hi"})).status_code == 200
    assert breaker.state == "closed"
