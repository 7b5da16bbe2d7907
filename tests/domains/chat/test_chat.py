"""Conversations with the assistant, against a real server of Chat Completions."""

import json
from urllib.parse import urlsplit

import pytest

from freshly.domains.chat.policy import DEFAULT_SYSTEM
from tests.conftest import client_of, running, settings_for
from tests.support.api import Kitchen
from tests.support.fake_services import free_port
from tests.support.pictures import bomb, in_base64, opened, picture, with_exif

DISH = {
    "name": "Leek soup",
    "calories": 320,
    "mealType": "Lunch",
    "servings": 4,
    "ingredients": [{"name": "leek", "amount": "3"}, {"name": "cream", "amount": 0.5, "unit": "l"}],
    "instructions": ["Chop.", "Simmer."],
}


async def ask(person, text="Hello", status=200, **fields):
    return await person.post_ok("/chat", {"message": text, **fields}, status=status)


async def visible(person, conversation_id):
    read = await person.read(f"/chat/conversations/{conversation_id}")
    return [(message["role"], message["content"]) for message in read["messages"]]


async def test_a_first_word_opens_a_conversation_and_a_second_goes_on(alice, model):
    model.says("Good evening!", "With leeks.")

    first = await ask(alice, "Hello")
    second = await ask(alice, "What can I cook?", conversation_id=first["conversation_id"])

    assert first["reply"] == "Good evening!"
    assert (first["image_url"], first["meal"]) == (None, None)
    assert second["conversation_id"] == first["conversation_id"]
    assert second["message_id"] > first["message_id"]
    assert await visible(alice, first["conversation_id"]) == [
        ("system", DEFAULT_SYSTEM),
        ("user", "Hello"),
        ("assistant", "Good evening!"),
        ("user", "What can I cook?"),
        ("assistant", "With leeks."),
    ]
    sent = model.asked[1]
    assert (sent["model"], sent["max_tokens"], sent["temperature"]) == ("gpt-4o-mini", 1000, 0.7)
    assert [m["role"] for m in sent["messages"]] == [
        *("system", "system", "user", "assistant", "user"),
    ]
    assert sent["messages"][0]["content"].startswith(DEFAULT_SYSTEM)
    assert sent["messages"][1]["content"] == "mode: meal_planning"
    (summary,) = await alice.read("/chat/conversations")
    assert (summary["id"], summary["message_count"]) == (first["conversation_id"], 6)


async def test_the_first_system_text_is_locked(alice, model):
    first = await ask(alice, system="You are a pirate.")
    await ask(alice, conversation_id=first["conversation_id"], system="You are a ninja.")

    assert (await visible(alice, first["conversation_id"]))[0] == ("system", "You are a pirate.")
    assert model.asked[1]["messages"][0]["content"].startswith("You are a pirate.")


async def test_a_conversation_made_by_hand_has_the_policy_from_its_first_turn(alice, model):
    made = await alice.post_ok("/chat/conversations", {"title": "Sunday"}, status=200)
    assert (made["title"], made["messages"]) == ("Sunday", [])

    await ask(alice, conversation_id=made["id"])

    assert (await visible(alice, made["id"]))[0] == ("system", DEFAULT_SYSTEM)
    assert model.asked[0]["messages"][0]["content"].startswith(DEFAULT_SYSTEM)


@pytest.mark.parametrize(
    ("text", "mode"),
    [
        ("Hello there", "conversation"),
        ("A RECIPE please", "meal_planning"),
        ("What do I need to buy?", "grocery_planning"),
        ("What is in stock?", "pantry_management"),
    ],
)
async def test_the_mode_follows_what_was_said(alice, model, text, mode):
    first = await ask(alice, "recipe")
    await ask(alice, text, conversation_id=first["conversation_id"])

    assert model.asked[1]["messages"][1]["content"] == f"mode: {mode}"
    (summary,) = await alice.read("/chat/conversations")
    assert summary["message_count"] == 6  # one note, kept up to date


async def test_the_model_hears_the_last_six_of_each(alice, model):
    model.says(*(f"answer {n}" for n in range(9)))
    conversation = (await ask(alice, "text 0"))["conversation_id"]
    for n in range(1, 9):
        await ask(alice, f"text {n}", conversation_id=conversation)

    heard = [message["content"] for message in model.asked[8]["messages"][2:]]
    expected = [line for n in range(2, 8) for line in (f"text {n}", f"answer {n}")]
    assert heard == [*expected, "text 8"]


async def test_message_wins_over_prompt_and_blank_is_refused(alice, model):
    model.says("a", "b")
    await alice.post_ok("/chat", {"message": "one", "prompt": "two"}, status=200)
    await alice.post_ok("/chat", {"message": " ", "prompt": "two"}, status=200)

    assert [asked["messages"][-1]["content"] for asked in model.asked] == ["one", "two"]
    for blank in ({}, {"message": "  "}, {"prompt": "\n"}, {"message": None, "prompt": None}):
        assert (await alice.post("/chat", blank)).status_code == 422


async def test_a_dish_in_the_answer_comes_beside_it_and_can_be_kept(alice, model):
    model.says(f"Try this soup.\n```meal\n{json.dumps(DISH)}\n```\nEnjoy!")

    answer = await ask(alice, "What can I cook?")

    assert answer["reply"] == "Try this soup.\nEnjoy!"
    meal = answer["meal"]
    assert meal["name"] == "Leek soup"
    assert meal["ingredients"][1] == {"name": "cream", "amount": "0.5 l", "inPantry": False}
    assert "id" not in meal
    kept = await alice.post_ok("/meals/me", meal)
    assert {name: kept[name] for name in meal} == meal
    assert (await visible(alice, answer["conversation_id"]))[-1][1] == answer["reply"]


@pytest.mark.parametrize("block", ["{not json", '{"name": ""}', "[1]", '{"servings": "many"}'])
async def test_a_dish_that_cannot_be_read_is_left_out(alice, model, block):
    model.says(f"Soup!\n```meal\n{block}\n```")

    answer = await ask(alice)

    assert (answer["reply"], answer["meal"]) == ("Soup!", None)


async def test_reading_changes_nothing(alice):
    conversation = (await ask(alice))["conversation_id"]
    before = await alice.read("/chat/conversations")
    for _ in range(2):
        read = await alice.read(f"/chat/conversations/{conversation}")
        assert all(message["is_internal"] == 0 for message in read["messages"])

    assert await alice.read("/chat/conversations") == before


async def test_conversations_are_listed_newest_activity_first_a_page_at_a_time(alice):
    ids = [(await ask(alice, f"n{n}"))["conversation_id"] for n in range(3)]
    await ask(alice, conversation_id=ids[0])

    listed = [one["id"] for one in await alice.read("/chat/conversations")]
    page = [one["id"] for one in await alice.read("/chat/conversations", skip=1, limit=1)]

    assert listed == [ids[0], ids[2], ids[1]]
    assert page == [ids[2]]
    assert (await alice.get("/chat/conversations", params={"limit": 101})).status_code == 422
    messages = f"/chat/conversations/{ids[0]}/messages"
    assert [m["role"] for m in await alice.read(messages, skip=1, limit=2)] == ["user", "assistant"]


async def test_a_conversation_is_renamed_and_deleted(alice):
    conversation = (await ask(alice, "What is for lunch?"))["conversation_id"]
    path = f"/chat/conversations/{conversation}"
    assert (await alice.read(path))["title"] == "What is for lunch?"

    assert (await alice.put(f"{path}/title", params={"title": "Lunch"})).status_code == 200
    assert (await alice.read(path))["title"] == "Lunch"
    assert (await alice.put(f"{path}/title", params={"title": "x" * 256})).status_code == 422
    deleted = await alice.delete(path)
    assert (deleted.status_code, set(deleted.json())) == (200, {"message"})
    assert (await alice.get(path)).status_code == 404


async def test_a_foreign_conversation_is_as_good_as_none(alice, kitchen, model):
    mallory = await kitchen.person("Mallory")
    path = f"/chat/conversations/{(await ask(alice))['conversation_id']}"

    for absent in (path, "/chat/conversations/99999"):
        told = [
            await mallory.get(absent),
            await mallory.get(f"{absent}/messages"),
            await mallory.put(f"{absent}/title", params={"title": "x"}),
            await mallory.delete(absent),
            await mallory.post("/chat", {"message": "x", "conversation_id": int(absent[20:])}),
            await mallory.post(
                "/chat/stream", {"message": "x", "conversation_id": int(absent[20:])}
            ),
        ]
        assert [answer.status_code for answer in told] == [404] * 6
    assert len(model.asked) == 1


@pytest.mark.parametrize(
    ("line", "status"), [(500, 502), (401, 502), (400, 502), ("", 502), ({"no": "sense"}, 502)]
)
async def test_what_the_models_server_says_is_not_passed_on_and_nothing_is_kept(
    alice, model, line, status
):
    model.says(line, line, line)

    answer = await alice.post("/chat", {"message": "Hello"})

    assert answer.status_code == status
    assert "secret provider text" not in answer.text
    assert model.url not in answer.text
    assert await alice.read("/chat/conversations") == []


async def test_a_busy_model_is_503_with_a_time_to_wait(alice, model):
    model.says(429, 429, 429)

    answer = await alice.post("/chat", {"message": "Hello"})

    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")


async def test_a_model_that_is_away_is_503(database_url, tmp_path):
    url = f"http://127.0.0.1:{free_port()}/v1"
    settings = settings_for(database_url, tmp_path, openai_base_url=url)
    async with running(settings) as app, client_of(app) as client:
        alice = await Kitchen(client).person("Alice")
        answer = await alice.post("/chat", {"message": "Hello"})

    assert (answer.status_code, answer.json()["code"]) == (503, "model_unavailable")


async def test_without_a_model_the_answer_names_the_settings(database_url, tmp_path):
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
            answer = await alice.post(path, body)
            assert answer.status_code == 503, path
            assert "OPENAI_API_KEY" in answer.json()["detail"]
            assert "OPENAI_BASE_URL" in answer.json()["detail"]
        files = {"file": ("a.png", picture())}
        assert (await alice.post("/chat/scan-grocery-proxy", files=files)).status_code == 503


async def test_a_picture_goes_to_the_model_that_sees_and_is_kept_behind_a_signed_link(
    alice, client, model
):
    model.says("A tomato.")
    sent = in_base64(with_exif(), "image/jpg")

    answer = await ask(alice, "What food is this?", image=sent)

    asked = model.asked[0]
    assert asked["model"] == "gpt-4o"
    text, image = asked["messages"][-1]["content"]
    assert text["text"] == "What food is this?"
    assert image["image_url"]["url"].startswith("data:image/jpeg;base64,")
    parts = urlsplit(answer["image_url"])
    assert f"/chat-images/{alice.id}/" in parts.path
    seen = await client.get(f"{parts.path}?{parts.query}")
    assert b"where we live" not in seen.content
    assert opened(seen.content).size == (30, 40)
    assert (await client.get(parts.path)).status_code == 403
    assert (await client.get(f"/api/v1{parts.path}?{parts.query}")).status_code == 200
    read = await alice.read(f"/chat/conversations/{answer['conversation_id']}")
    assert [bool(m["image_url"]) for m in read["messages"]] == [False, True, False]
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
        (in_base64(bomb()), 415),
        (in_base64(b"x" * (5 * 2**20 + 1)), 413),
        ("x" * 7_600_000, 422),
        ("x" * 8_100_000, 413),
    ],
    ids=lambda value: str(value)[:12],
)
@pytest.mark.parametrize("path", ["/chat", "/chat/stream"])
async def test_pictures_that_are_none_or_too_large_are_refused(alice, model, path, image, status):
    answer = await alice.post(path, {"message": "What food is this?", "image": image})

    assert answer.status_code == status
    assert len(answer.content) < 2000
    assert model.asked == []


async def test_a_picture_is_for_questions_about_food(alice, model):
    answer = await alice.post("/chat", {"message": "Who is this?", "image": in_base64(picture())})

    assert (answer.status_code, model.asked) == (400, [])


async def test_a_failed_turn_leaves_no_picture_behind(alice, model, tmp_path):
    model.says(500, 500, 500)

    answer = await alice.post("/chat", {"message": "food?", "image": in_base64(picture())})

    assert answer.status_code == 502
    assert list((tmp_path / "files").rglob("*.png")) == []


async def test_one_question_without_a_conversation(alice, client, model):
    model.says('{"a":1}')

    answer = await alice.post_ok("/chat/legacy", {"prompt": "JSON please"}, status=200)

    assert answer == {"reply": '{"a":1}'}
    asked = model.asked[0]
    assert (asked["max_tokens"], asked["temperature"]) == (750, 0.2)
    assert "JSON object" in asked["messages"][0]["content"]
    assert await alice.read("/chat/conversations") == []
    assert (await client.post("/chat/legacy", json={"prompt": "x"})).status_code == 401


async def test_a_picture_is_drawn(alice, client, model):
    model.says({"url": "https://pictures.example.com/1.png"})
    drawn = await alice.post_ok("/chat/generate-image", {"prompt": "Soup"}, status=200)
    assert drawn == {"image_url": "https://pictures.example.com/1.png", "prompt": "Soup"}
    asked = model.asked[0]
    assert (asked["model"], asked["size"]) == ("dall-e-3", "1024x1024")
    assert (asked["quality"], asked["style"]) == ("standard", "vivid")

    model.says({"b64_json": in_base64(picture())})
    kept = await alice.post_ok("/chat/generate-image", {"prompt": "Soup"}, status=200)
    parts = urlsplit(kept["image_url"])
    seen = await client.get(f"{parts.path}?{parts.query}")
    assert opened(seen.content).size == opened(picture()).size

    model.says({"b64_json": in_base64(b"<script>secret provider text</script>")})
    none = await alice.post("/chat/generate-image", {"prompt": "Soup"})
    assert none.status_code == 502

    model.says(400)
    failed = await alice.post("/chat/generate-image", {"prompt": "Soup"})
    assert failed.status_code == 502
    assert "secret provider text" not in failed.text
    wrong = {"prompt": "Soup", "size": "100x100"}
    assert (await alice.post("/chat/generate-image", wrong)).status_code == 422
