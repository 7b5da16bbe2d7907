"""Answers to the same question are kept for a day, conversations are never; lists are cached."""

import asyncio
import json

import pytest

from freshly.chassis.cache import store
from tests.conftest import client_of
from tests.domains.chat.test_scans import GROCERIES, RECEIPT, scan
from tests.support.api import Kitchen
from tests.support.pictures import picture
from tests.support.sql_statements import Statements

PATH = "/grocery-lists/ingredients/normalize"
TOMATO = {"normalized_name": "tomato", "category": "Produce", "confidence": 0.9}


@pytest.fixture
async def ben(app):
    async with client_of(app) as client:
        yield await Kitchen(client).person("Ben", email="ben@example.com")


async def used(person):
    usage = await person.read("/chat/usage")
    return usage["person"]["used"]


async def normalize(person, text="2 lbs tomatoes"):
    return await person.post_ok(PATH, {"raw_text": text}, status=200)


async def test_the_same_line_is_asked_once_and_costs_no_tokens_again(alice, ben, model):
    model.says(json.dumps(TOMATO))

    first = await normalize(alice)
    spent = await used(alice)
    assert spent > 0
    assert [await normalize(alice), await normalize(ben)] == [first, first]

    assert len(model.requests) == 1
    assert (await used(alice), await used(ben)) == (spent, 0)


async def test_an_unusable_answer_is_not_kept(alice, model):
    model.says("no JSON", json.dumps(TOMATO))

    assert (await normalize(alice))["confidence"] == 0
    assert (await normalize(alice))["normalized_name"] == "tomato"


async def test_another_line_model_or_day_is_asked_again(app, alice, model, monkeypatch):
    model.says(*[json.dumps(TOMATO)] * 5)
    await normalize(alice)

    await normalize(alice, "2 lbs tomatoes ")
    settings = app.resources.settings
    app.replace(settings=settings.model_copy(update={"openai_model": "another"}))
    await normalize(alice)
    app.replace(settings=settings)
    await normalize(alice)
    assert len(model.requests) == 3
    day, now = 24 * 3600, store.monotonic
    monkeypatch.setattr(store, "monotonic", lambda: now() + day + 1)
    await normalize(alice)

    assert len(model.requests) == 4


async def test_a_scan_of_the_same_picture_is_kept_for_its_user_only(alice, ben, model):
    model.says(json.dumps(GROCERIES), json.dumps(RECEIPT), json.dumps(GROCERIES))

    first = await scan(alice)
    assert await scan(alice) == first
    assert len(model.requests) == 1
    receipt = await scan(alice, scan_type="receipt")
    assert receipt["store_name"] == "Corner Shop"
    assert await scan(alice, scan_type="receipt") == receipt
    assert await scan(ben) == first
    assert len(model.requests) == 3

    model.says(json.dumps({"items": []}))
    assert (await scan(alice, picture(colour="red")))["total_items"] == 0
    assert len(model.requests) == 4


async def test_the_same_message_in_a_conversation_is_asked_each_time(alice, model):
    model.says("One.", "Two.", "Three.", "Four.")

    replies = [
        (await alice.post_ok(path, body, status=200))["reply"]
        for path, body in (("/chat", {"message": "Hi"}), ("/chat/legacy", {"prompt": "Hi"}))
        for _ in range(2)
    ]

    assert replies == ["One.", "Two.", "Three.", "Four."]


async def test_the_list_of_conversations_is_cached_and_shows_each_change_at_once(alice, ben, model):
    model.says("Hello.", "Again.")
    first = await alice.post_ok("/chat", {"message": "Hi"}, status=200)
    path = f"/chat/conversations/{first['conversation_id']}"

    async def listed(**params):
        items = await alice.read("/chat/conversations", **params)
        return [(one["title"], one["message_count"]) for one in items]

    seen = await listed()
    with Statements() as statements:
        assert await listed() == seen
    assert statements.number == 0
    tag = (await alice.get("/chat/conversations")).headers["etag"]
    unchanged = await alice.get("/chat/conversations", headers={"If-None-Match": tag})
    assert unchanged.status_code == 304

    asked = {"message": "Hi", "conversation_id": first["conversation_id"]}
    await alice.post_ok("/chat", asked, status=200)
    [(title, count)] = await listed()
    assert count > seen[0][1]
    await alice.put(f"{path}/title", params={"title": "Sunday"})
    assert await listed() == [("Sunday", count)]
    await alice.post_ok("/chat/conversations", {"title": "Monday"}, status=200)
    assert await listed() == [("Monday", 0), ("Sunday", count)]
    assert await listed(skip=1) == [("Sunday", count)]
    await alice.delete(path)
    assert await asyncio.gather(listed(), listed(skip=1)) == [[("Monday", 0)], []]
    assert await ben.read("/chat/conversations") == []
    assert title is None or title != "Sunday"
