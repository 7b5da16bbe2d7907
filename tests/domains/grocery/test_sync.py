"""Taking off a list what the kitchen has: the worked examples, and what must hold beside them."""

from dataclasses import dataclass, field
from datetime import date, timedelta

import pytest

G = {"canonical_unit_type": "weight", "canonical_unit": "g"}
ML = {"canonical_unit_type": "volume", "canonical_unit": "ml"}
COUNT = {"canonical_unit_type": "count", "canonical_unit": "count"}


@dataclass
class Example:
    name: str
    facts: dict
    pantry: list  # of (quantity, unit)
    need: dict  # quantity, unit, or note
    left: tuple | None  # None: removed; else (canonical quantity, canonical unit)
    shown: tuple | None = None  # (quantity, unit) as displayed; None: as it was entered
    updated: int = field(default=0)

    def __str__(self):
        return f"{self.name} {self.need}"


EXAMPLES = [
    Example(
        "flour", {**G, "density_g_per_ml": 0.53}, [(500, "g"), (0.25, "kg")],
        {"quantity": 2, "unit": "kg"}, ("1250", "g"), ("1.25", "kg"), updated=1,
    ),
    Example("milk", ML, [(1, "l")], {"quantity": 4, "unit": "cup"}, None),
    Example(
        "egg", {**COUNT, "avg_weight_per_unit_g": 50}, [(300, "g")],
        {"quantity": 12, "unit": "count"}, ("6", "count"), ("6", "pcs"), updated=1,
    ),
    Example(
        "sugar", {**G, "density_g_per_ml": 0.85}, [(100, "g")],
        {"quantity": 1, "unit": "cup"}, ("104", "g"), ("104", "g"), updated=1,
    ),
    Example(
        "butter", G, [(8, "oz")],
        {"quantity": 1, "unit": "lb"}, ("226.796", "g"), ("226.8", "g"), updated=1,
    ),
    Example(
        "honey", {**ML, "density_g_per_ml": 1.42}, [(710, "g")],
        {"quantity": 2, "unit": "cup"}, None,
    ),
    Example(
        "salt", {}, [(1, "tsp")], {"quantity": 3, "unit": "tsp"}, ("2", "tsp"), ("2", "tsp"),
        updated=1,
    ),
    Example("pepper", {}, [(1, "tsp")], {"quantity": 2, "unit": "tbsp"}, ("2", "tbsp")),
    Example(
        "parsley", {}, [(1, "bunch")], {"quantity": 2, "unit": "bunch"}, ("1", "bunch"),
        ("1", "bunch"), updated=1,
    ),
    Example("garlic", G, [(2, "clove")], {"quantity": 100, "unit": "g"}, ("100", "g")),
    Example("cream", ML, [(1, "kg")], {"quantity": 2, "unit": "tbsp"}, ("30", "ml")),
    Example("rice", G, [], {"quantity": 1.5, "unit": "kg"}, ("1500", "g")),
    Example("bread", {}, [], {}, (None, None)),
    Example(
        "flour", {**G, "density_g_per_ml": 0.53}, [(500, "g"), (0.25, "kg")],
        {"note": "2 cups"}, None,
    ),
    Example(
        "egg", {**COUNT, "avg_weight_per_unit_g": 50}, [(300, "g")], {"note": "3"}, None,
    ),
]  # fmt: skip


@pytest.fixture
async def alice(kitchen):
    return await kitchen.person("Alice")


async def list_with(kitchen, alice, ingredient, quantity=None, unit=None, note=None):
    db = await kitchen.unit_ids(alice)
    made = await alice.post_ok("/grocery-lists", {"scope": "personal"})
    body = {"ingredient_id": ingredient["id"], "quantity": quantity, "note": note}
    body["unit_id"] = db[unit] if unit else None
    item = await alice.post_ok(f"/grocery-lists/{made['id']}/items", body)
    return made["id"], item


async def sync(alice, list_id):
    return await alice.post_ok(f"/grocery-lists/{list_id}/sync-pantry", status=200)


def number(text):
    return None if text is None else float(text)


@pytest.mark.parametrize("example", EXAMPLES, ids=str)
async def test_the_worked_examples_keep_their_results(kitchen, alice, example):
    # Foods of their own: what the catalogue knows of flour is not what the examples assume.
    food = await kitchen.ingredient(alice, f"{example.name} of the example", **example.facts)
    for quantity, unit in example.pantry:
        await kitchen.stock(alice, food["name"], quantity, unit)
    list_id, item = await list_with(kitchen, alice, food, **example.need)

    result = await sync(alice, list_id)

    assert result["items_removed"] == (1 if example.left is None else 0)
    assert result["items_updated"] == example.updated
    assert "message" in result
    if example.left is None:
        assert result["remaining_items"] == []
        return
    (left,) = result["remaining_items"]
    assert number(left["canonical_quantity"]) == number(example.left[0])
    assert left["canonical_unit"] == example.left[1]
    shown = example.shown or (item["quantity"], item["unit_code"])
    assert (number(left["quantity"]), left["unit_code"]) == (number(shown[0]), shown[1])


@pytest.mark.parametrize("example", EXAMPLES, ids=str)
async def test_repeating_changes_nothing(kitchen, alice, example):
    food = await kitchen.ingredient(alice, f"{example.name} of the example", **example.facts)
    for quantity, unit in example.pantry:
        await kitchen.stock(alice, food["name"], quantity, unit)
    list_id, _ = await list_with(kitchen, alice, food, **example.need)
    await sync(alice, list_id)
    before = await alice.read(f"/grocery-lists/{list_id}")

    again = await sync(alice, list_id)

    assert (again["items_removed"], again["items_updated"]) == (0, 0)
    assert await alice.read(f"/grocery-lists/{list_id}") == before


async def test_less_in_the_kitchen_later_is_more_on_the_list(kitchen, alice):
    food = await kitchen.ingredient(alice, "some flour", **G)
    stock = await kitchen.stock(alice, "some flour", 750, "g")
    list_id, _ = await list_with(kitchen, alice, food, 2, "kg")
    await sync(alice, list_id)

    await alice.patch(f"/pantry-items/{stock['id']}", {"quantity": 250})

    (left,) = (await sync(alice, list_id))["remaining_items"]
    assert number(left["canonical_quantity"]) == 1750
    await alice.delete(f"/pantry-items/{stock['id']}")
    (left,) = (await sync(alice, list_id))["remaining_items"]
    assert (number(left["quantity"]), left["unit_code"]) == (2, "kg")


async def test_two_lines_of_one_food_do_not_both_count_on_the_same_stock(kitchen, alice):
    food = await kitchen.ingredient(alice, "some flour", **G)
    await kitchen.stock(alice, "some flour", 500, "g")
    list_id, item = await list_with(kitchen, alice, food, 400, "g")
    same = {"ingredient_id": food["id"], "quantity": 400, "unit_id": item["unit_id"]}
    await alice.post_ok(f"/grocery-lists/{list_id}/items", same)

    result = await sync(alice, list_id)

    assert result["items_removed"] == 1
    assert [number(i["canonical_quantity"]) for i in result["remaining_items"]] == [300]


async def test_expired_stock_covers_nothing(kitchen, alice):
    food = await kitchen.ingredient(alice, "some milk", **ML)
    long_ago = (date.today() - timedelta(days=400)).isoformat()  # noqa: DTZ011 - far from today
    await kitchen.stock(alice, "some milk", 1, "l", expires_at=long_ago)
    list_id, _ = await list_with(kitchen, alice, food, 500, "ml")

    (left,) = (await sync(alice, list_id))["remaining_items"]

    assert number(left["canonical_quantity"]) == 500


async def test_what_is_ticked_off_is_left_alone(kitchen, alice):
    food = await kitchen.ingredient(alice, "some milk", **ML)
    await kitchen.stock(alice, "some milk", 1, "l")
    list_id, item = await list_with(kitchen, alice, food, 500, "ml")
    await alice.post_ok(f"/grocery-lists/items/{item['id']}/check", status=200)

    assert (await sync(alice, list_id))["remaining_items"] == []
    assert len((await alice.read(f"/grocery-lists/{list_id}"))["items"]) == 1


async def test_a_personal_list_counts_on_the_pantry_of_ones_first_family(kitchen, alice):
    family = await kitchen.family(alice)
    await kitchen.family(alice, name="Second")
    food = await kitchen.ingredient(alice, "some milk", **ML)
    await kitchen.stock(alice, "some milk", 300, "ml", family_id=family["id"])
    await kitchen.stock(alice, "some milk", 200, "ml")
    list_id, _ = await list_with(kitchen, alice, food, 500, "ml")

    (left,) = (await sync(alice, list_id))["remaining_items"]

    assert number(left["canonical_quantity"]) == 200


async def test_only_who_made_a_familys_list_syncs_it(kitchen, alice):
    bob = await kitchen.person("Bob")
    family = await kitchen.family(alice, bob)
    made = await bob.post_ok("/grocery-lists", {"scope": "family", "family_id": family["id"]})

    refused = await alice.post(f"/grocery-lists/{made['id']}/sync-pantry")

    assert (refused.status_code, refused.json()["detail"]) == (
        403,
        "Only the list creator can sync with pantry",
    )
    assert (await bob.post(f"/grocery-lists/{made['id']}/sync-pantry")).status_code == 200


async def test_another_spelling_is_the_same_food(kitchen, alice):
    """ "Eggs" in the kitchen cover the "egg" of a list: the catalogue knows both."""
    await kitchen.stock(alice, "Eggs", 4, "pcs")
    egg = next(i for i in await alice.read("/ingredients") if i["name"] == "egg")
    list_id, _ = await list_with(kitchen, alice, egg, 6, "count")

    (left,) = (await sync(alice, list_id))["remaining_items"]

    assert number(left["canonical_quantity"]) == 2
