"""Groceries and receipts, read off pictures."""

import base64
import json

import pytest

from tests.support.pictures import bomb, in_base64, opened, picture, with_exif

GROCERIES = {
    "items": [
        {"name": " Milk ", "quantity": "1 l", "category": "Dairy", "confidence": 0.9},
        {"name": "Eggs", "quantity": 12, "category": "poultry", "confidence": 1},
        {"name": "Ghost", "quantity": "1", "category": "other", "confidence": 1.5},
        {"name": "Nothing", "category": "other", "confidence": 0.5},
        "not an item",
    ],
    "analysis_notes": "A full bag.",
}
RECEIPT = {
    "store_name": "Corner Shop",
    "receipt_date": "2030-01-02",
    "total_amount": 7.5,
    "items": [
        {
            "name": "Tomatoes",
            "quantity": 1.5,
            "unit": "kg",
            "category": "vegetables",
            "price": 4.5,
            "confidence": 0.8,
        },
        {"name": "Bread", "quantity": 1, "category": "bakery", "confidence": 0.7},
    ],
}
ASKED_FOR_JSON = {"type": "json_object"}


async def scan(person, content=None, status=200, **form):
    files = {"file": ("scan.png", content or picture())}
    answer = await person.post("/chat/scan-grocery-proxy", files=files, data=form)
    assert answer.status_code == status, answer.text
    return answer.json()


def sent_picture(asked):
    url = asked["messages"][1]["content"][1]["image_url"]["url"]
    head, _, data = url.partition(",")
    return head, base64.b64decode(data)


async def test_groceries_are_listed_and_doubtful_lines_left_out(alice, model):
    model.says(json.dumps(GROCERIES))

    given = {"image_data": in_base64(with_exif())}
    read = await alice.post_ok("/chat/scan-grocery", given, status=200)

    assert read["total_items"] == len(read["items"]) == 2
    milk, eggs = read["items"]
    assert (milk["name"], milk["quantity"], milk["category"]) == ("Milk", "1 l", "dairy")
    assert (eggs["quantity"], eggs["category"]) == ("12", "other")
    assert read["analysis_notes"] == "A full bag."
    asked = model.asked[0]
    assert (asked["model"], asked["max_tokens"], asked["temperature"]) == ("gpt-4o", 1500, 0.1)
    assert asked["response_format"] == ASKED_FOR_JSON
    head, content = sent_picture(asked)
    assert head == "data:image/jpeg;base64"
    assert b"where we live" not in content
    assert opened(content).size == (30, 40)


async def test_a_receipt_is_read_as_one(alice, model):
    model.says(json.dumps(RECEIPT), json.dumps(GROCERIES))

    receipt = await scan(alice, scan_type="receipt")
    groceries = await scan(alice, scan_type="groceries")

    assert (receipt["store_name"], receipt["total_amount"]) == ("Corner Shop", 7.5)
    assert receipt["receipt_date"] == "2030-01-02"
    tomatoes, bread = receipt["items"]
    assert (tomatoes["quantity"], tomatoes["unit"], tomatoes["price"]) == ("1.5 kg", "kg", 4.5)
    assert (bread["quantity"], bread["price"]) == ("1", None)
    assert groceries["store_name"] is None
    first, second = (asked["messages"][0]["content"] for asked in model.asked)
    assert "receipt" in first
    assert "receipt" not in second


@pytest.mark.parametrize(
    "first", ["I see milk.", "[]", '{"items": 3}', "{", "```json\n{\n```", '{"a": ' * 2000]
)
async def test_an_answer_that_is_not_as_asked_is_mended_once(alice, model, first):
    model.says(first, f"```json\n{json.dumps(GROCERIES)}\n```")

    read = await scan(alice)

    assert read["total_items"] == 2
    assert len(model.asked) == 2
    repair = model.asked[1]["messages"]
    assert repair[2]["role"] == "assistant"
    assert "not the JSON object" in repair[3]["content"]


async def test_an_answer_that_stays_unreadable_is_an_empty_list_with_a_note(alice, model):
    model.says("no", "still no", json.dumps(GROCERIES))

    read = await scan(alice)

    assert (read["items"], read["total_items"]) == ([], 0)
    assert "could not be read" in read["analysis_notes"]
    assert len(model.asked) == 2


async def test_large_pictures_are_made_smaller_before_they_are_sent(alice, model):
    model.says(json.dumps(GROCERIES))

    await scan(alice, picture("JPEG", (5000, 2500)))

    assert opened(sent_picture(model.asked[0])[1]).size == (2048, 1024)


async def test_bad_scans_are_refused_before_the_model_is_asked(alice, model):
    await scan(alice, status=400, scan_type="fridge")
    for content in (b"text", picture("GIF"), bomb(), picture()[:50]):
        assert (await scan(alice, content, status=400))["code"] == "not_a_picture"
    await scan(alice, b"x" * (2 * 2**20 + 1), status=413)
    await scan(alice, b"x" * 3_000_000, status=413)
    refused = {
        "!": 400,
        in_base64(b"text"): 415,
        in_base64(b"x" * (5 * 2**20 + 1)): 413,
    }
    for image, status in refused.items():
        answer = await alice.post("/chat/scan-grocery", {"image_data": image})
        assert answer.status_code == status
    assert model.asked == []


async def test_a_failing_model_is_502_and_tells_nothing(alice, model):
    model.says(500, 500, 500)

    assert "secret provider text" not in str(await scan(alice, status=502))


async def test_a_written_line_is_understood(alice, model):
    answer = {
        "normalized_name": "tomato",
        "category": "Produce",
        "quantity": 2,
        "unit": "lb",
        "confidence": 0.9,
        "notes": "ripe",
    }
    model.says(f"```json\n{json.dumps(answer)}\n```", "no JSON", '{"normalized_name": 3}')
    path = "/grocery-lists/ingredients/normalize"

    read = await alice.post_ok(path, {"raw_text": "2 lbs ripe tomatoes"}, status=200)
    assert read == answer
    assert (model.asked[0]["model"], model.asked[0]["temperature"]) == ("gpt-4o-mini", 0.1)
    for _ in range(2):
        unread = await alice.post_ok(path, {"raw_text": "2 lbs ripe tomatoes"}, status=200)
        assert (unread["confidence"], unread["category"]) == (0, "Other")
        assert unread["notes"]
    assert (await alice.post(path, {"raw_text": ""})).status_code == 422
    model.says(500, 500, 500)
    assert (await alice.post(path, {"raw_text": "x"})).status_code == 502
