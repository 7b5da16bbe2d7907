import asyncio

import pytest

KEYS = {
    "id",
    "family_id",
    "owner_user_id",
    "scope",
    "category",
    "ingredient_id",
    "ingredient_name",
    "image_url",
    "quantity",
    "unit",
    "expires_at",
    "created_at",
    "updated_at",
    "canonical_quantity",
    "canonical_unit",
}


@pytest.fixture
async def alice(kitchen):
    return await kitchen.person("Alice")


async def test_an_item_is_kept_with_the_spelling_given(alice, kitchen):
    item = await kitchen.stock(
        alice, " Grandma's Jam ", "2.5", "jars", category="  ", expires_at="2030-01-01"
    )

    assert item.keys() == KEYS
    assert (item["ingredient_name"], item["quantity"]) == ("Grandma's Jam", "2.500")
    assert (item["scope"], item["owner_user_id"], item["family_id"]) == ("personal", alice.id, None)
    assert (item["unit"], item["category"], item["expires_at"]) == ("jars", None, "2030-01-01")
    again = await kitchen.stock(alice, "GRANDMA'S JAM", 1, "jar")
    assert again["ingredient_id"] == item["ingredient_id"]
    listed = await alice.get("/pantry-items/me")
    assert listed.json() == [item, again]
    assert listed.headers["cache-control"] == "no-store"
    assert await alice.read(f"/pantry-items/{item['id']}") == item


async def test_another_name_of_a_known_food_keeps_its_spelling_and_gets_the_foods_facts(
    alice, kitchen
):
    item = await kitchen.stock(alice, "EGGS", 6, "pcs")
    flour = await kitchen.stock(alice, "Mehl", 2, "cups")

    assert (item["ingredient_name"], item["canonical_quantity"]) == ("EGGS", "6.000")
    assert (flour["ingredient_name"], flour["canonical_unit"]) == ("Mehl", "g")
    assert float(flour["canonical_quantity"]) > 200


async def test_each_spelling_of_a_unit_is_understood(alice, kitchen):
    await kitchen.ingredient(alice, "Thing", canonical_unit_type="weight", canonical_unit="g")

    for unit in ("lb", "lbs", "Pounds", "LB."):
        item = await kitchen.stock(alice, "thing", 1, unit)
        assert (item["canonical_quantity"], item["canonical_unit"]) == ("453.592", "g")
    for unit in ("cups", "blobs", None, " "):
        item = await kitchen.stock(alice, "thing", 1, unit)
        assert (item["canonical_quantity"], item["canonical_unit"]) == (None, None)


@pytest.mark.parametrize(
    ("item", "status"),
    [
        ({"ingredient_name": "x", "quantity": -1}, 422),
        ({"ingredient_name": "x", "quantity": 10**7}, 422),
        ({"ingredient_name": "x", "quantity": "1e20"}, 422),
        ({"ingredient_name": "x", "quantity": "1e-400"}, 201),
        ({"ingredient_name": "x", "quantity": "Infinity"}, 422),
        ({"ingredient_name": "x", "quantity": "lots"}, 422),
        ({"ingredient_name": "x", "quantity": 9_999_999.9996}, 422),
        ({"ingredient_name": "flour", "quantity": 9_999_999, "unit": "kg"}, 422),
        ({"ingredient_name": "x", "unit": "u" * 65}, 422),
        ({"ingredient_name": "x", "category": "c" * 65}, 422),
        ({"ingredient_name": "x" * 121}, 422),
        ({"ingredient_name": "a\0b"}, 422),
        ({"ingredient_name": "   "}, 422),
        ({"quantity": 1}, 422),
        ({"ingredient_id": 999_999}, 404),
        ({"ingredient_id": 2**31}, 404),
        ({"ingredient_id": -(2**70)}, 404),
        ({"ingredient_id": "one"}, 422),
        ({"ingredient_name": "x", "scope": "family"}, 422),
        ({"ingredient_name": "x", "scope": "personal", "family_id": 1}, 422),
        ({"ingredient_name": "x", "family_id": 4711}, 403),
        ({"ingredient_name": "x", "expires_at": "tomorrow"}, 422),
        ({"ingredient_name": "x", "expires_at": "99999-01-01"}, 422),
        ([], 422),
        ("text", 422),
        (None, 422),
    ],
    ids=str,
)
async def test_an_invalid_item_is_refused_and_nothing_is_stored(alice, item, status):
    response = await alice.post("/pantry-items", item)

    assert response.status_code == status, response.text
    assert isinstance(response.json().get("detail", ""), str)
    assert len(await alice.read("/pantry-items/me")) == (1 if status == 201 else 0)


async def test_an_item_update_changes_only_the_sent_fields(alice, kitchen):
    await kitchen.ingredient(alice, "Thing", canonical_unit_type="weight", canonical_unit="g")
    item = await kitchen.stock(alice, "Thing", 1, "kg", expires_at="2030-01-01", category="dry")
    path = f"/pantry-items/{item['id']}"

    changed = (await alice.patch(path, {"quantity": "0.5"})).json()

    stamp = {"updated_at": changed["updated_at"]}
    assert changed == {
        **item, "quantity": "0.500", "canonical_quantity": "500.000", **stamp
    }  # fmt: skip
    cleared = (
        await alice.patch(path, {"unit": "blobs", "expires_at": None, "category": ""})
    ).json()
    assert (cleared["canonical_quantity"], cleared["canonical_unit"]) == (None, None)
    assert (cleared["expires_at"], cleared["category"], cleared["quantity"]) == (
        None,
        None,
        "0.500",
    )
    renamed = (await alice.patch(path, {"ingredient_name": "Other"})).json()
    assert renamed["ingredient_name"] == "Other"
    assert renamed["ingredient_id"] != item["ingredient_id"]
    for invalid in ({"quantity": -1}, {"quantity": 10**7}, {"unit": "a\0"}):
        assert (await alice.patch(path, invalid)).status_code == 422
    assert (await alice.read(path))["quantity"] == "0.500"


async def test_a_familys_pantry_is_open_to_its_members_only(alice, kitchen):
    bob, mallory = await kitchen.person("Bob"), await kitchen.person("Mallory")
    family = await kitchen.family(alice, bob)
    item = await kitchen.stock(alice, "Rice", 1, "kg", family_id=family["id"])
    path = f"/pantry-items/{item['id']}"

    assert await bob.read(f"/pantry-items/family/{family['id']}") == [item]
    assert (await bob.patch(path, {"quantity": 2})).status_code == 200
    for method in ("GET", "PATCH", "DELETE"):
        refused = await mallory.request(method, path, json={} if method == "PATCH" else None)
        assert refused.status_code == 403
    outsider = await mallory.get(f"/pantry-items/family/{family['id']}")
    assert (outsider.status_code, outsider.json()["detail"]) == (403, "Not a member of this family")
    assert (await bob.delete(path)).status_code == 204
    assert (await bob.delete(path)).json()["detail"] == "Item not found"


async def test_a_users_own_pantry_accepts_only_personal_items(alice, kitchen):
    family = await kitchen.family(alice)
    item = {"ingredient_name": "Rice", "quantity": 1}

    assert (await alice.post_ok("/pantry-items/me", item))["scope"] == "personal"
    refused = await alice.post("/pantry-items/me", {**item, "family_id": family["id"]})
    assert refused.status_code == 400


async def test_simultaneous_new_items_of_one_name_create_one_ingredient(alice):
    item = {"ingredient_name": "Something New", "quantity": 1}

    responses = await asyncio.gather(*(alice.post("/pantry-items", item) for _ in range(10)))

    assert {response.status_code for response in responses} == {201}
    assert len({response.json()["ingredient_id"] for response in responses}) == 1
    assert len(await alice.read("/pantry-items/me")) == 10


async def test_simultaneous_changes_of_one_item_by_two_users_both_count(alice, kitchen):
    bob = await kitchen.person("Bob")
    family = await kitchen.family(alice, bob)
    item = await kitchen.stock(alice, "Rice", 1, "kg", family_id=family["id"])
    path = f"/pantry-items/{item['id']}"

    responses = await asyncio.gather(
        *(alice.patch(path, {"quantity": n}) for n in range(1, 6)),
        *(bob.patch(path, {"category": f"shelf {n}"}) for n in range(1, 6)),
    )

    assert {response.status_code for response in responses} == {200}
    after = await alice.read(path)
    # Neither user undid what the other user changed, whichever change was the last.
    assert after["quantity"] in {f"{n}.000" for n in range(1, 6)}
    assert after["category"] in {f"shelf {n}" for n in range(1, 6)}
    assert after["canonical_quantity"] == f"{after['quantity'].split('.')[0]}000.000"


async def test_ingredient_names_ignore_case_in_every_alphabet(alice, kitchen):
    lower = await kitchen.stock(alice, "äpfel im schlafrock", 1)
    upper = await kitchen.stock(alice, "ÄPFEL IM SCHLAFROCK", 1)

    assert lower["ingredient_id"] == upper["ingredient_id"]
