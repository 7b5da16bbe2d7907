"""Conversations with the assistant, against a fake server of Chat Completions."""

import json
from urllib.parse import urlsplit

import pytest

from freshly.domains.chat.policy import DEFAULT_SYSTEM, FROM_CLIENT
from tests.conftest import client_of, running, settings_for
from tests.support.api import Kitchen
from tests.support.fake_services import free_port
from tests.support.pictures import (
    decompression_bomb,
    in_base64,
    open_picture,
    picture,
    picture_with_exif,
)

MEAL = {
    "name": "Leek soup",
    "calories": 320,
    "mealType": "Lunch",
    "servings": 4,
    "ingredients": [{"name": "leek", "amount": "3"}, {"name": "cream", "amount": 0.5, "unit": "l"}],
    "instructions": ["Chop.", "Simmer."],
}


async def ask(person, text="Hello", status=200, **fields):
    return await person.post_ok("/chat", {"message": text, **fields}, status=status)


async def messages_of(person, conversation_id):
    conversation = await person.read(f"/chat/conversations/{conversation_id}")
    return [(message["role"], message["content"]) for message in conversation["messages"]]


async def test_a_first_message_starts_a_conversation_and_a_second_continues_it(alice, model):
    model.says("Good evening!", "With leeks.")

    first = await ask(alice, "Hello")
    second = await ask(alice, "What can I cook?", conversation_id=first["conversation_id"])

    assert first["reply"] == "Good evening!"
    assert (first["image_url"], first["meal"]) == (None, None)
    assert second["conversation_id"] == first["conversation_id"]
    assert second["message_id"] > first["message_id"]
    assert await messages_of(alice, first["conversation_id"]) == [
        ("system", DEFAULT_SYSTEM),
        ("user", "Hello"),
        ("assistant", "Good evening!"),
        ("user", "What can I cook?"),
        ("assistant", "With leeks."),
    ]
    request = model.requests[1]
    assert (request["model"], request["max_tokens"], request["temperature"]) == (
        "gpt-4o-mini",
        1000,
        0.7,
    )
    assert [m["role"] for m in request["messages"]] == [
        *("system", "system", "user", "assistant", "user"),
    ]
    assert request["messages"][0]["content"].startswith(DEFAULT_SYSTEM)
    assert request["messages"][1]["content"] == "mode: meal_planning"
    (summary,) = await alice.read("/chat/conversations")
    assert (summary["id"], summary["message_count"]) == (first["conversation_id"], 6)


async def test_the_system_text_of_the_first_message_cannot_be_replaced(alice, model):
    first = await ask(alice, system="You are a pirate.")
    await ask(alice, conversation_id=first["conversation_id"], system="You are a ninja.")

    assert (await messages_of(alice, first["conversation_id"]))[0] == (
        "system",
        "You are a pirate.",
    )
    prompt = model.requests[1]["messages"][0]["content"]
    assert prompt.startswith(DEFAULT_SYSTEM)  # the kitchen's policy always comes first
    assert prompt.endswith(f"{FROM_CLIENT}\n\nYou are a pirate.")
    assert "ninja" not in prompt


async def test_an_empty_conversation_gets_the_policy_with_its_first_message(alice, model):
    created = await alice.post_ok("/chat/conversations", {"title": "Sunday"}, status=200)
    assert (created["title"], created["messages"]) == ("Sunday", [])

    await ask(alice, conversation_id=created["id"])

    assert (await messages_of(alice, created["id"]))[0] == ("system", DEFAULT_SYSTEM)
    assert model.requests[0]["messages"][0]["content"].startswith(DEFAULT_SYSTEM)


@pytest.mark.parametrize(
    ("text", "mode"),
    [
        ("Hello there", "conversation"),
        ("A RECIPE please", "meal_planning"),
        ("What do I need to buy?", "grocery_planning"),
        ("What is in stock?", "pantry_management"),
    ],
)
async def test_the_mode_follows_the_latest_message(alice, model, text, mode):
    first = await ask(alice, "recipe")
    await ask(alice, text, conversation_id=first["conversation_id"])

    assert model.requests[1]["messages"][1]["content"] == f"mode: {mode}"
    (summary,) = await alice.read("/chat/conversations")
    assert summary["message_count"] == 6  # the mode is one message, which is replaced


async def test_the_model_gets_the_last_six_questions_and_answers(alice, model):
    model.says(*(f"answer {n}" for n in range(9)))
    conversation = (await ask(alice, "text 0"))["conversation_id"]
    for n in range(1, 9):
        await ask(alice, f"text {n}", conversation_id=conversation)

    sent = [message["content"] for message in model.requests[8]["messages"][2:]]
    expected = [line for n in range(2, 8) for line in (f"text {n}", f"answer {n}")]
    assert sent == [*expected, "text 8"]


async def test_a_message_is_preferred_to_a_prompt_and_blank_text_is_refused(alice, model):
    model.says("a", "b")
    await alice.post_ok("/chat", {"message": "one", "prompt": "two"}, status=200)
    await alice.post_ok("/chat", {"message": " ", "prompt": "two"}, status=200)

    assert [request["messages"][-1]["content"] for request in model.requests] == ["one", "two"]
    for blank in ({}, {"message": "  "}, {"prompt": "\n"}, {"message": None, "prompt": None}):
        assert (await alice.post("/chat", blank)).status_code == 422


async def test_a_meal_in_the_answer_is_returned_separately_and_can_be_saved(alice, model):
    model.says(f"Try this soup.\n```meal\n{json.dumps(MEAL)}\n```\nEnjoy!")

    answer = await ask(alice, "What can I cook?")

    assert answer["reply"] == "Try this soup.\nEnjoy!"
    meal = answer["meal"]
    assert meal["name"] == "Leek soup"
    assert meal["ingredients"][1] == {"name": "cream", "amount": "0.5 l", "inPantry": False}
    assert "id" not in meal
    saved = await alice.post_ok("/meals/me", meal)
    assert {name: saved[name] for name in meal} == meal
    assert (await messages_of(alice, answer["conversation_id"]))[-1][1] == answer["reply"]


@pytest.mark.parametrize("block", ["{not json", '{"name": ""}', "[1]", '{"servings": "many"}'])
async def test_an_unreadable_meal_is_left_out_of_the_answer(alice, model, block):
    model.says(f"Soup!\n```meal\n{block}\n```")

    answer = await ask(alice)

    assert (answer["reply"], answer["meal"]) == ("Soup!", None)


async def test_reading_a_conversation_changes_nothing(alice):
    conversation = (await ask(alice))["conversation_id"]
    before = await alice.read("/chat/conversations")
    for _ in range(2):
        read = await alice.read(f"/chat/conversations/{conversation}")
        assert all(message["is_internal"] == 0 for message in read["messages"])

    assert await alice.read("/chat/conversations") == before


async def test_conversations_are_listed_in_pages_with_the_latest_activity_first(alice):
    ids = [(await ask(alice, f"n{n}"))["conversation_id"] for n in range(3)]
    await ask(alice, conversation_id=ids[0])

    listed = [conversation["id"] for conversation in await alice.read("/chat/conversations")]
    page = [
        conversation["id"]
        for conversation in await alice.read("/chat/conversations", skip=1, limit=1)
    ]

    assert listed == [ids[0], ids[2], ids[1]]
    assert page == [ids[2]]
    assert (await alice.get("/chat/conversations", params={"limit": 101})).status_code == 422
    messages = f"/chat/conversations/{ids[0]}/messages"
    assert [m["role"] for m in await alice.read(messages, skip=1, limit=2)] == ["user", "assistant"]


async def test_a_conversation_has_a_title_from_its_renaming_until_it_is_deleted(alice):
    conversation = (await ask(alice, "What is for lunch?"))["conversation_id"]
    path = f"/chat/conversations/{conversation}"
    assert (await alice.read(path))["title"] is None
    assert (await alice.read("/chat/conversations"))[0]["title"] is None

    assert (await alice.put(f"{path}/title", params={"title": "Lunch"})).status_code == 200
    assert (await alice.read(path))["title"] == "Lunch"
    assert (await alice.put(f"{path}/title", params={"title": "x" * 256})).status_code == 422
    deleted = await alice.delete(path)
    assert (deleted.status_code, set(deleted.json())) == (200, {"message"})
    assert (await alice.get(path)).status_code == 404


async def test_another_users_conversation_is_404_like_a_missing_conversation(alice, kitchen, model):
    mallory = await kitchen.person("Mallory")
    path = f"/chat/conversations/{(await ask(alice))['conversation_id']}"

    for hidden in (path, "/chat/conversations/99999"):
        responses = [
            await mallory.get(hidden),
            await mallory.get(f"{hidden}/messages"),
            await mallory.put(f"{hidden}/title", params={"title": "x"}),
            await mallory.delete(hidden),
            await mallory.post("/chat", {"message": "x", "conversation_id": int(hidden[20:])}),
            await mallory.post(
                "/chat/stream", {"message": "x", "conversation_id": int(hidden[20:])}
            ),
        ]
        assert [response.status_code for response in responses] == [404] * 6
    assert len(model.requests) == 1


@pytest.mark.parametrize(
    ("line", "status"), [(500, 502), (401, 502), (400, 502), ("", 502), ({"no": "sense"}, 502)]
)
async def test_an_error_text_of_the_provider_is_not_passed_on_and_nothing_is_stored(
    alice, model, line, status
):
    model.says(line, line, line)

    response = await alice.post("/chat", {"message": "Hello"})

    assert response.status_code == status
    assert "secret provider text" not in response.text
    assert model.url not in response.text
    assert await alice.read("/chat/conversations") == []


async def test_a_busy_model_is_503_with_retry_after(alice, model):
    model.says(429, 429, 429)

    response = await alice.post("/chat", {"message": "Hello"})

    assert (response.status_code, response.headers["Retry-After"]) == (503, "5")


async def test_an_unreachable_model_is_503(database_url, tmp_path):
    url = f"http://127.0.0.1:{free_port()}/v1"
    settings = settings_for(database_url, tmp_path, openai_base_url=url)
    async with running(settings) as app, client_of(app) as client:
        alice = await Kitchen(client).person("Alice")
        response = await alice.post("/chat", {"message": "Hello"})

    assert (response.status_code, response.json()["code"]) == (503, "model_unavailable")


async def test_without_a_model_the_response_names_the_missing_settings(database_url, tmp_path):
    calls = {
        "/chat": {"message": "x"},
        "/chat/stream": {"message": "x"},
        "/chat/legacy": {"prompt": "x"},
        "/chat/generate-image": {"prompt": "x"},
        "/chat/scan-grocery": {"image_data": in_base64(picture())},
        "/grocery-lists/ingredients/normalize": {"raw_text": "x"},
    }
    async with running(settings_for(database_url, tmp_path)) as app, client_of(app) as client:
        alice = await Kitchen(client).person("Alice")
        for path, body in calls.items():
            response = await alice.post(path, body)
            assert response.status_code == 503, path
            assert "OPENAI_API_KEY" in response.json()["detail"]
            assert "OPENAI_BASE_URL" in response.json()["detail"]
        files = {"file": ("a.png", picture())}
        assert (await alice.post("/chat/scan-grocery-proxy", files=files)).status_code == 503


async def test_a_picture_goes_to_the_vision_model_and_is_stored_behind_a_signed_link(
    alice, client, model
):
    model.says("A tomato.")
    sent = in_base64(picture_with_exif(), "image/jpg")

    answer = await ask(alice, "What food is this?", image=sent)

    request = model.requests[0]
    assert request["model"] == "gpt-4o"
    text, image = request["messages"][-1]["content"]
    assert text["text"] == "What food is this?"
    assert image["image_url"]["url"].startswith("data:image/jpeg;base64,")
    parts = urlsplit(answer["image_url"])
    assert f"/chat-images/{alice.id}/" in parts.path
    downloaded = await client.get(f"{parts.path}?{parts.query}")
    assert b"where we live" not in downloaded.content
    assert open_picture(downloaded.content).size == (30, 40)
    assert (await client.get(parts.path)).status_code == 403
    assert (await client.get(f"/api/v1{parts.path}?{parts.query}")).status_code == 200
    conversation = await alice.read(f"/chat/conversations/{answer['conversation_id']}")
    assert [bool(m["image_url"]) for m in conversation["messages"]] == [False, True, False]
    await alice.delete(f"/chat/conversations/{answer['conversation_id']}")
    assert (await client.get(f"{parts.path}?{parts.query}")).status_code == 404


@pytest.mark.parametrize(
    ("image", "status"),
    [
        ("not base64!", 400),
        ("data:image/png;base64,@@@", 400),
        (in_base64(picture(), "image/gif"), 415),
        (in_base64(picture("GIF")), 415),
        (in_base64(b"some text"), 415),
        (in_base64(decompression_bomb()), 415),
        (in_base64(b"x" * (5 * 2**20 + 1)), 413),
        ("x" * 7_600_000, 422),
        ("x" * 8_100_000, 413),
    ],
    ids=lambda value: str(value)[:12],
)
@pytest.mark.parametrize("path", ["/chat", "/chat/stream"])
async def test_invalid_and_too_large_pictures_are_refused(alice, model, path, image, status):
    response = await alice.post(path, {"message": "What food is this?", "image": image})

    assert response.status_code == status
    assert len(response.content) < 2000
    assert model.requests == []


async def test_a_picture_is_refused_if_the_question_is_not_about_food(alice, model):
    response = await alice.post("/chat", {"message": "Who is this?", "image": in_base64(picture())})

    assert (response.status_code, model.requests) == (400, [])


async def test_a_failed_question_stores_no_picture(alice, model, tmp_path):
    model.says(500, 500, 500)

    response = await alice.post("/chat", {"message": "food?", "image": in_base64(picture())})

    assert response.status_code == 502
    assert list((tmp_path / "files").rglob("*.png")) == []


async def test_a_legacy_question_is_answered_without_a_conversation(alice, client, model):
    model.says('{"a":1}')

    answer = await alice.post_ok("/chat/legacy", {"prompt": "JSON please"}, status=200)

    assert answer == {"reply": '{"a":1}'}
    request = model.requests[0]
    assert (request["max_tokens"], request["temperature"]) == (750, 0.2)
    assert "JSON object" in request["messages"][0]["content"]
    assert await alice.read("/chat/conversations") == []
    assert (await client.post("/chat/legacy", json={"prompt": "x"})).status_code == 401


async def test_a_generated_picture_is_returned_as_a_link_and_a_failure_is_502(alice, client, model):
    model.says({"url": "https://pictures.example.com/1.png"})
    linked = await alice.post_ok("/chat/generate-image", {"prompt": "Soup"}, status=200)
    assert linked == {"image_url": "https://pictures.example.com/1.png", "prompt": "Soup"}
    request = model.requests[0]
    assert (request["model"], request["size"]) == ("dall-e-3", "1024x1024")
    assert (request["quality"], request["style"]) == ("standard", "vivid")

    model.says({"b64_json": in_base64(picture())})
    stored = await alice.post_ok("/chat/generate-image", {"prompt": "Soup"}, status=200)
    parts = urlsplit(stored["image_url"])
    downloaded = await client.get(f"{parts.path}?{parts.query}")
    assert open_picture(downloaded.content).size == open_picture(picture()).size

    model.says({"b64_json": in_base64(b"<script>secret provider text</script>")})
    unusable = await alice.post("/chat/generate-image", {"prompt": "Soup"})
    assert unusable.status_code == 502

    model.says(400)
    failed = await alice.post("/chat/generate-image", {"prompt": "Soup"})
    assert failed.status_code == 502
    assert "secret provider text" not in failed.text
    wrong = {"prompt": "Soup", "size": "100x100"}
    assert (await alice.post("/chat/generate-image", wrong)).status_code == 422
