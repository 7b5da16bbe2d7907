"""Groceries and receipts that the model reads from pictures."""

import base64
import json

import pytest

from tests.support.pictures import (
    decompression_bomb,
    in_base64,
    open_picture,
    picture,
    picture_with_exif,
)

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
JSON_FORMAT = {"type": "json_object"}


async def scan(person, content=None, status=200, **form):
    files = {"file": ("scan.png", content or picture())}
    response = await person.post("/chat/scan-grocery-proxy", files=files, data=form)
    assert response.status_code == status, response.text
    return response.json()


def sent_picture(request):
    url = request["messages"][1]["content"][1]["image_url"]["url"]
    head, _, data = url.partition(",")
    return head, base64.b64decode(data)


async def test_a_scan_lists_groceries_and_leaves_invalid_lines_out(alice, model):
    model.says(json.dumps(GROCERIES))

    body = {"image_data": in_base64(picture_with_exif())}
    result = await alice.post_ok("/chat/scan-grocery", body, status=200)

    assert result["total_items"] == len(result["items"]) == 2
    milk, eggs = result["items"]
    assert (milk["name"], milk["quantity"], milk["category"]) == ("Milk", "1 l", "dairy")
    assert (eggs["quantity"], eggs["category"]) == ("12", "other")
    assert result["analysis_notes"] == "A full bag."
    request = model.requests[0]
    assert (request["model"], request["max_tokens"], request["temperature"]) == (
        "gpt-4o",
        1500,
        0.1,
    )
    assert request["response_format"] == JSON_FORMAT
    head, content = sent_picture(request)
    assert head == "data:image/jpeg;base64"
    assert b"where we live" not in content
    assert open_picture(content).size == (30, 40)


async def test_a_scan_of_a_receipt_reads_its_store_date_and_prices(alice, model):
    model.says(json.dumps(RECEIPT), json.dumps(GROCERIES))

    receipt = await scan(alice, scan_type="receipt")
    groceries = await scan(alice, scan_type="groceries")

    assert (receipt["store_name"], receipt["total_amount"]) == ("Corner Shop", 7.5)
    assert receipt["receipt_date"] == "2030-01-02"
    tomatoes, bread = receipt["items"]
    assert (tomatoes["quantity"], tomatoes["unit"], tomatoes["price"]) == ("1.5 kg", "kg", 4.5)
    assert (bread["quantity"], bread["price"]) == ("1", None)
    assert groceries["store_name"] is None
    first, second = (request["messages"][0]["content"] for request in model.requests)
    assert "receipt" in first
    assert "receipt" not in second


async def test_a_receipt_line_whose_quantity_is_text_is_kept(alice, model):
    line = {"name": "Rolls", "quantity": "3 pieces", "category": "bakery", "confidence": 0.7}
    numeric = {**line, "name": "Flour", "quantity": "1.5", "unit": "kg"}
    model.says(json.dumps({**RECEIPT, "items": [line, numeric]}))

    receipt = await scan(alice, scan_type="receipt")

    assert [(item["name"], item["quantity"]) for item in receipt["items"]] == [
        *(("Rolls", "3 pieces"), ("Flour", "1.5 kg")),
    ]


@pytest.mark.parametrize(
    "first",
    ["I see milk.", "[]", '{"items": 3}', "{", "```json\n{\n```", '{"a": ' * 2000],
    ids=["text", "list", "wrong items", "truncated", "truncated block", "deeply nested"],
)
async def test_the_model_is_asked_once_more_if_its_answer_is_not_the_requested_json(
    alice, model, first
):
    model.says(first, f"```json\n{json.dumps(GROCERIES)}\n```")

    result = await scan(alice)

    assert result["total_items"] == 2
    assert len(model.requests) == 2
    repair = model.requests[1]["messages"]
    assert repair[2]["role"] == "assistant"
    assert "not the JSON object" in repair[3]["content"]


async def test_a_second_unreadable_answer_gives_an_empty_list_with_a_note(alice, model):
    model.says("no", "still no", json.dumps(GROCERIES))

    result = await scan(alice)

    assert (result["items"], result["total_items"]) == ([], 0)
    assert "could not be read" in result["analysis_notes"]
    assert len(model.requests) == 2


async def test_large_pictures_are_scaled_down_before_the_model_gets_them(alice, model):
    model.says(json.dumps(GROCERIES))

    await scan(alice, picture("JPEG", (5000, 2500)))

    assert open_picture(sent_picture(model.requests[0])[1]).size == (2048, 1024)


async def test_invalid_scans_are_refused_before_the_model_is_called(alice, model):
    await scan(alice, status=400, scan_type="fridge")
    for content in (b"text", picture("GIF"), decompression_bomb(), picture()[:50]):
        assert (await scan(alice, content, status=400))["code"] == "not_a_picture"
    await scan(alice, b"x" * (2 * 2**20 + 1), status=413)
    await scan(alice, b"x" * 3_000_000, status=413)
    refusals = {
        "!": 400,
        in_base64(b"text"): 415,
        in_base64(b"x" * (5 * 2**20 + 1)): 413,
    }
    for image, status in refusals.items():
        response = await alice.post("/chat/scan-grocery", {"image_data": image})
        assert response.status_code == status
    assert model.requests == []


async def test_a_failing_model_is_502_without_the_providers_text(alice, model):
    model.says(500, 500, 500)

    assert "secret provider text" not in str(await scan(alice, status=502))


async def test_a_written_ingredient_is_normalized(alice, model):
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

    normalized = await alice.post_ok(path, {"raw_text": "2 lbs ripe tomatoes"}, status=200)
    assert normalized == answer
    assert (model.requests[0]["model"], model.requests[0]["temperature"]) == ("gpt-4o-mini", 0.1)
    for _ in range(2):
        unreadable = await alice.post_ok(path, {"raw_text": "2 lbs of tomatoes"}, status=200)
        assert (unreadable["confidence"], unreadable["category"]) == (0, "Other")
        assert unreadable["notes"]
    assert (await alice.post(path, {"raw_text": ""})).status_code == 422
    model.says(500, 500, 500)
    assert (await alice.post(path, {"raw_text": "x"})).status_code == 502
