"""Texts that no database can store, or that would spoil a line, are refused with a sentence."""

import json

import pytest

from freshly.chassis.one_line import name_in_email
from tests.support.api import MEAL

SURROGATE = "\ud800"


async def send(person, method, path, body):
    """Send JSON that may hold a lone surrogate, which only an escape can spell."""
    return await person.client.request(
        method,
        path,
        content=json.dumps(body),
        headers={**person.headers, "Content-Type": "application/json"},
    )


PUBLIC_BODIES = [
    ("/auth/register", {"email": SURROGATE, "password": "long enough"}),
    ("/auth/register", {"email": "a@example.com", "password": f"{SURROGATE}long enough"}),
    ("/auth/register", {"email": "a@example.com", "password": "long enough", "name": SURROGATE}),
    ("/auth/login", {"email": f"{SURROGATE}@example.com", "password": "x"}),
    ("/auth/login", {"email": f"a@{SURROGATE}.com", "password": "x"}),
    ("/auth/login", {"email": "a@example.com", "password": SURROGATE}),
    ("/auth/send-code", {"email": f"a{SURROGATE}@example.com"}),
    ("/auth/verify-code", {"email": "a@example.com", "code": SURROGATE}),
    ("/auth/forgot-password", {"email": f"a{SURROGATE}@example.com"}),
    ("/auth/forgot-password/verify", {"email": "a@example.com", "code": SURROGATE}),
    ("/auth/reset-password", {"reset_token": SURROGATE, "new_password": "long enough"}),
    ("/auth/reset-password", {"reset_token": "x", "new_password": f"{SURROGATE}long enough"}),
]
OTHER_BODIES = [
    ("POST", "/auth/refresh", {"refresh_token": SURROGATE}),
    ("POST", "/families", {"display_name": SURROGATE}),
    ("POST", "/families/join", {"invite_code": SURROGATE}),
    ("PATCH", "/users/me", {"name": SURROGATE}),
    ("PATCH", "/users/me", {"email": f"a{SURROGATE}@example.com"}),
    ("PATCH", "/users/me", {"gender": SURROGATE}),
    ("PATCH", "/preferences/me", {"food_allergies": [SURROGATE]}),
    ("PATCH", "/preferences/me", {"goal": SURROGATE}),
    ("POST", "/pantry-items", {"ingredient_name": SURROGATE}),
    ("POST", "/pantry-items", {"ingredient_name": "milk", "scope": SURROGATE}),
    ("POST", "/pantry-items", {"ingredient_name": "milk", "quantity": SURROGATE}),
    ("POST", "/pantry-items", {"ingredient_name": "milk", "expires_at": SURROGATE}),
    ("POST", "/ingredients", {"name": f"a{SURROGATE}"}),
    ("POST", "/meals/me", {**MEAL, "name": SURROGATE}),
    ("POST", "/meals/me", {**MEAL, "mealType": SURROGATE}),
    ("POST", "/meals/me", {**MEAL, "ingredients": [{"name": SURROGATE, "amount": "1"}]}),
    ("POST", "/meals/me", {**MEAL, "ingredients": [{"name": "x", "amount": 1, "unit": SURROGATE}]}),
    ("POST", "/meal-plans/me", {"week_start": "2030-01-07", "title": SURROGATE}),
    ("POST", "/grocery-lists", {"scope": "personal", "title": SURROGATE}),
    ("POST", "/meal-share-requests", {"mealId": 1, "recipientUserId": 2, "message": SURROGATE}),
    ("POST", "/chat", {"message": SURROGATE}),
    ("POST", "/chat", {"message": "hello", "system": SURROGATE}),
    ("POST", "/chat", {"message": "hello", "image": SURROGATE}),
    ("POST", "/chat/legacy", {"prompt": SURROGATE}),
    ("POST", "/chat/generate-image", {"prompt": SURROGATE}),
    ("POST", "/chat/scan-grocery", {"image_data": SURROGATE}),
    ("POST", "/chat/conversations", {"title": SURROGATE}),
    ("POST", "/grocery-lists/ingredients/normalize", {"raw_text": SURROGATE}),
]


@pytest.mark.parametrize("with_key", [False, True], ids=["", "with a key"])
async def test_a_lone_surrogate_is_refused_like_nul(kitchen, with_key):
    alice = await kitchen.person()
    if with_key:
        alice.headers["Idempotency-Key"] = "k"

    for method, path, body in [*(("POST", *one) for one in PUBLIC_BODIES), *OTHER_BODIES]:
        if with_key and method == "POST":
            alice.headers["Idempotency-Key"] += "k"
        response = await send(alice, method, path, body)

        assert response.status_code == 422, (method, path, body, response.text)
        assert response.json()["code"] == "validation_error"


BAD_NAMES = [
    "milk\n\nYour Freshly account was locked: https://evil.example/",
    "milk\r",
    "mi\tlk",
    "milk\x1b[31m",
    "milk\x85",
    "milk\u2028",
    "\u202eklim",
    "mi\u2066lk",
    "milk\u200f",
]


@pytest.mark.parametrize("name", BAD_NAMES, ids=ascii)
async def test_names_are_one_line_without_control_or_bidirectional_characters(kitchen, name):
    alice = await kitchen.person()
    family = await kitchen.family(alice)
    conversation = await alice.post_ok("/chat/conversations", {}, status=200)
    bodies = [
        ("PATCH", "/users/me", {"name": name}),
        ("PATCH", "/users/me", {"location": name}),
        ("PATCH", "/users/me", {"gender": name}),
        ("PATCH", "/preferences/me", {"food_allergies": [name]}),
        ("POST", "/families", {"display_name": name}),
        ("POST", "/pantry-items", {"ingredient_name": name}),
        ("POST", "/pantry-items", {"ingredient_name": "milk", "category": name}),
        ("POST", "/pantry-items", {"ingredient_name": "milk", "unit": name[:60]}),
        ("POST", "/ingredients", {"name": name}),
        ("POST", "/ingredients", {"name": "Gooseberry jam", "category": name}),
        ("POST", "/meals/me", {**MEAL, "name": name}),
        ("POST", "/meals/me", {**MEAL, "cuisine": name}),
        ("POST", "/meals/me", {**MEAL, "tags": [name]}),
        ("POST", "/meals/me", {**MEAL, "ingredients": [{"name": name, "amount": "1"}]}),
        ("POST", "/recipes", {"family_id": family["id"], "title": name}),
        ("POST", "/meal-plans/me", {"week_start": "2030-01-07", "title": name}),
        ("POST", "/grocery-lists", {"scope": "personal", "title": name}),
        ("POST", "/chat/conversations", {"title": name}),
    ]

    for method, path, body in bodies:
        response = await send(alice, method, path, body)

        assert response.status_code == 422, (method, path, body, response.text)
        assert "must be one line, without control characters." in response.json()["detail"]
    path = f"/chat/conversations/{conversation['id']}/title"
    renamed = await alice.put(path, params={"title": name})
    assert renamed.status_code == 422, renamed.text


@pytest.mark.parametrize("name", ["Crème brûlée", "حليب", "牛乳", "👩‍🍳 soup", "1/2 & co. (cold)"])
async def test_names_may_have_letters_of_any_language(kitchen, name):
    alice = await kitchen.person(name=name, email="alice@example.com")

    item = await alice.post_ok("/pantry-items", {"ingredient_name": name})

    assert (await alice.read("/users/me"))["name"] == item["ingredient_name"] == name


async def test_notes_and_instructions_may_have_several_lines(kitchen):
    alice = await kitchen.person()

    text = "Mix.\n\n\tThen fry."
    meal = await alice.post_ok("/meals/me", {**MEAL, "notes": text, "instructions": [text]})

    assert (meal["notes"], meal["instructions"]) == (text, [text])


OTHERS_PICTURES = [
    "javascript:alert(1)",
    " javascript:alert(1)",
    "java\tscript:alert(1)",
    "data:text/html,x",
    "http://tracker.example/pixel.png",
    "http://tracker.example/files/pixel.png",
    "http://tracker.example:8000/x/files/pixel.png",
    "http://127.0.0.1@tracker.example/files/pixel.png",
    "http://tracker.example\\@127.0.0.1/files/pixel.png",
    "http://127.0.0.1.tracker.example/files/pixel.png",
    "http://test/pixel.png",
    "//tracker.example/pixel.png",
    "\\\\tracker.example\\pixel.png",
    "ftp://tracker.example/pixel.png",
]


@pytest.mark.parametrize("address", OTHERS_PICTURES)
async def test_addresses_of_pictures_are_encrypted_or_our_own(kitchen, address):
    alice = await kitchen.person()
    meal = await alice.post_ok("/meals/me", MEAL)

    refusals = [
        await alice.post("/meals/me", {**MEAL, "image": address}),
        await alice.put(f"/meals/{meal['id']}", {"image": address}),
        await alice.patch("/users/me", {"avatar_path": address}),
    ]

    for response in refusals:
        assert response.status_code == 422, response.text
    assert "must be an address that begins with https://" in refusals[1].json()["detail"] or (
        "must be one line" in refusals[1].json()["detail"]
    )


OWN_PICTURES = [
    "",
    "https://pictures.example.com/soup.jpg?size=2",
    "http://127.0.0.1:8000/files/users/7/profile-x.jpg",
    "http://[::1]:8000/files/users/7/profile-x.jpg",
    "http://test/files/users/7/profile-x.jpg",
    "7/profile-x.jpg",
    "/files/users/7/profile-x.jpg",
    "🍝",
]


@pytest.mark.parametrize("address", OWN_PICTURES)
async def test_addresses_of_ours_and_of_others_with_https_are_accepted(kitchen, address):
    alice = await kitchen.person()

    meal = await alice.post_ok("/meals/me", {**MEAL, "image": address})
    profile = await alice.patch("/users/me", {"avatar_path": address})

    assert meal["image"] == address
    assert profile.status_code == 200
    assert profile.json()["avatar_path"] == (address or None)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Crème fraîche, 1.5 l", "Crème fraîche, 1.5 l"),
        ("milk\n\nLocked! https://evil.example/x", "milk Locked! https //evil. example/x"),
        ("call me@evil.example", "call me evil. example"),
        ("\u202emilk\ud800", "milk?"),
        ("x" * 61, "x" * 59 + "…"),
    ],
)
def test_an_email_shows_a_name_as_a_short_line_without_links(name, shown):
    assert name_in_email(name) == shown
