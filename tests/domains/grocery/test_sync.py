"""A sync subtracts the pantry from a list: worked examples and further rules."""

from dataclasses import dataclass, field
from datetime import date, timedelta

import pytest
from sqlalchemy import update

from freshly.domains.grocery.models import GroceryList

G = {"canonical_unit_type": "weight", "canonical_unit": "g"}
ML = {"canonical_unit_type": "volume", "canonical_unit": "ml"}
COUNT = {"canonical_unit_type": "count", "canonical_unit": "count"}


@dataclass
class Example:
    name: str
    facts: dict
    pantry: list  # pairs of quantity and unit
    need: dict  # quantity, unit, or note
    remaining: tuple | None  # canonical quantity and unit, or None if the line is removed
    displayed: tuple | None = None  # quantity and unit, or None if they stay as entered
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


async def list_with_line(kitchen, alice, ingredient, quantity=None, unit=None, note=None):
    unit_ids = await kitchen.unit_ids(alice)
    shopping_list = await alice.post_ok("/grocery-lists", {"scope": "personal"})
    body = {"ingredient_id": ingredient["id"], "quantity": quantity, "note": note}
    body["unit_id"] = unit_ids[unit] if unit else None
    item = await alice.post_ok(f"/grocery-lists/{shopping_list['id']}/items", body)
    return shopping_list["id"], item


async def sync(alice, list_id):
    return await alice.post_ok(f"/grocery-lists/{list_id}/sync-pantry", status=200)


def as_number(text):
    return None if text is None else float(text)


@pytest.mark.parametrize("example", EXAMPLES, ids=str)
async def test_each_worked_example_gives_its_result(kitchen, alice, example):
    # Each example has its own food, because the catalogue's facts differ from the example's.
    food = await kitchen.ingredient(alice, f"{example.name} of the example", **example.facts)
    for quantity, unit in example.pantry:
        await kitchen.stock(alice, food["name"], quantity, unit)
    list_id, item = await list_with_line(kitchen, alice, food, **example.need)

    result = await sync(alice, list_id)

    assert result["items_removed"] == (1 if example.remaining is None else 0)
    assert result["items_updated"] == example.updated
    assert "message" in result
    if example.remaining is None:
        assert result["remaining_items"] == []
        return
    (remaining,) = result["remaining_items"]
    assert as_number(remaining["canonical_quantity"]) == as_number(example.remaining[0])
    assert remaining["canonical_unit"] == example.remaining[1]
    displayed = example.displayed or (item["quantity"], item["unit_code"])
    assert (as_number(remaining["quantity"]), remaining["unit_code"]) == (
        as_number(displayed[0]),
        displayed[1],
    )


@pytest.mark.parametrize("example", EXAMPLES, ids=str)
async def test_syncing_twice_changes_nothing(kitchen, alice, example):
    food = await kitchen.ingredient(alice, f"{example.name} of the example", **example.facts)
    for quantity, unit in example.pantry:
        await kitchen.stock(alice, food["name"], quantity, unit)
    list_id, _ = await list_with_line(kitchen, alice, food, **example.need)
    await sync(alice, list_id)
    before = await alice.read(f"/grocery-lists/{list_id}")

    again = await sync(alice, list_id)

    assert (again["items_removed"], again["items_updated"]) == (0, 0)
    assert await alice.read(f"/grocery-lists/{list_id}") == before


async def test_a_sync_after_the_pantry_shrinks_raises_the_line_again(kitchen, alice):
    food = await kitchen.ingredient(alice, "some flour", **G)
    stock = await kitchen.stock(alice, "some flour", 750, "g")
    list_id, _ = await list_with_line(kitchen, alice, food, 2, "kg")
    await sync(alice, list_id)

    await alice.patch(f"/pantry-items/{stock['id']}", {"quantity": 250})

    (remaining,) = (await sync(alice, list_id))["remaining_items"]
    assert as_number(remaining["canonical_quantity"]) == 1750
    await alice.delete(f"/pantry-items/{stock['id']}")
    (remaining,) = (await sync(alice, list_id))["remaining_items"]
    assert (as_number(remaining["quantity"]), remaining["unit_code"]) == (2, "kg")


async def test_two_lines_of_one_food_do_not_count_the_same_stock_twice(kitchen, alice):
    food = await kitchen.ingredient(alice, "some flour", **G)
    await kitchen.stock(alice, "some flour", 500, "g")
    list_id, item = await list_with_line(kitchen, alice, food, 400, "g")
    second_line = {"ingredient_id": food["id"], "quantity": 400, "unit_id": item["unit_id"]}
    await alice.post_ok(f"/grocery-lists/{list_id}/items", second_line)

    result = await sync(alice, list_id)

    assert result["items_removed"] == 1
    assert [as_number(item["canonical_quantity"]) for item in result["remaining_items"]] == [300]


async def test_expired_stock_covers_nothing(kitchen, alice):
    food = await kitchen.ingredient(alice, "some milk", **ML)
    long_ago = (date.today() - timedelta(days=400)).isoformat()  # noqa: DTZ011 - far from today
    await kitchen.stock(alice, "some milk", 1, "l", expires_at=long_ago)
    list_id, _ = await list_with_line(kitchen, alice, food, 500, "ml")

    (remaining,) = (await sync(alice, list_id))["remaining_items"]

    assert as_number(remaining["canonical_quantity"]) == 500


async def test_a_checked_line_is_not_synced(kitchen, alice):
    food = await kitchen.ingredient(alice, "some milk", **ML)
    await kitchen.stock(alice, "some milk", 1, "l")
    list_id, item = await list_with_line(kitchen, alice, food, 500, "ml")
    await alice.post_ok(f"/grocery-lists/items/{item['id']}/check", status=200)

    assert (await sync(alice, list_id))["remaining_items"] == []
    assert len((await alice.read(f"/grocery-lists/{list_id}"))["items"]) == 1


async def test_a_personal_list_counts_the_pantry_of_the_users_first_family(kitchen, alice):
    family = await kitchen.family(alice)
    await kitchen.family(alice, name="Second")
    food = await kitchen.ingredient(alice, "some milk", **ML)
    await kitchen.stock(alice, "some milk", 300, "ml", family_id=family["id"])
    await kitchen.stock(alice, "some milk", 200, "ml")
    list_id, _ = await list_with_line(kitchen, alice, food, 500, "ml")

    (remaining,) = (await sync(alice, list_id))["remaining_items"]

    assert as_number(remaining["canonical_quantity"]) == 200


async def test_only_the_creator_of_a_familys_list_may_sync_it(kitchen, alice):
    bob = await kitchen.person("Bob")
    family = await kitchen.family(alice, bob)
    shopping_list = await bob.post_ok(
        "/grocery-lists", {"scope": "family", "family_id": family["id"]}
    )

    refused = await alice.post(f"/grocery-lists/{shopping_list['id']}/sync-pantry")

    assert (refused.status_code, refused.json()["detail"]) == (
        403,
        "Only the list creator can sync with pantry",
    )
    assert (await bob.post(f"/grocery-lists/{shopping_list['id']}/sync-pantry")).status_code == 200


@pytest.mark.parametrize("reason", ["the app stored none", "the creator left"])
async def test_without_a_creator_the_familys_owner_syncs_its_list(kitchen, alice, db, reason):
    bob, carol = await kitchen.person("Bob"), await kitchen.person("Carol")
    family = await kitchen.family(alice, bob, carol)
    shopping_list = await bob.post_ok(
        "/grocery-lists", {"scope": "family", "family_id": family["id"]}
    )
    if reason == "the creator left":
        await bob.delete(f"/families/{family['id']}/members/{bob.id}")
    else:
        async with db.write() as session:
            await session.execute(update(GroceryList).values(created_by_user_id=None))

    path = f"/grocery-lists/{shopping_list['id']}"
    assert (await alice.read(path))["owner_user_id"] == alice.id
    assert (await carol.post(f"{path}/sync-pantry")).status_code == 403
    assert (await alice.post(f"{path}/sync-pantry")).status_code == 200


async def test_stock_in_another_spelling_covers_the_line(kitchen, alice):
    """The catalogue knows that "Eggs" in the pantry are the "egg" of a list."""
    await kitchen.stock(alice, "Eggs", 4, "pcs")
    egg = next(food for food in await alice.read("/ingredients") if food["name"] == "egg")
    list_id, _ = await list_with_line(kitchen, alice, egg, 6, "count")

    (remaining,) = (await sync(alice, list_id))["remaining_items"]

    assert as_number(remaining["canonical_quantity"]) == 2
