"""Stored amounts when the facts of their food change."""

import pytest

from tests.domains.ingredients.test_own_foods import GRAMS, LIST, catalogue_food


@pytest.fixture
async def alice(kitchen):
    return await kitchen.person("Alice")


async def test_stock_and_lists_are_measured_anew_when_the_facts_of_a_food_change(
    kitchen, alice, jobs
):
    paste = await kitchen.ingredient(alice, "Test paste", density_g_per_ml=1, **GRAMS)
    item = await kitchen.stock(alice, "Test paste", 200, "ml")
    counted = await kitchen.stock(alice, "Test paste", 3)
    plan = await kitchen.plan(alice)
    meal = await kitchen.meal(alice, [("test paste", "500 g")])
    await kitchen.planned(alice, plan, 0, "dinner", meal)
    built = await alice.post_ok(f"{LIST}/{plan['id']}", status=200)
    path = f"/ingredients/{paste['id']}"

    assert await measured(alice, item) == ("200.000", "g")
    assert await to_buy(alice, built) == ["300.000"]
    await alice.patch(path, {"density_g_per_ml": 1.5})
    await jobs.hasten()
    await jobs.run_due()
    assert await measured(alice, item) == ("300.000", "g")
    assert await measured(alice, counted) == (None, None)
    assert await to_buy(alice, built) == ["200.000"]

    heavy = await kitchen.ingredient(alice, "Heavy paste", density_g_per_ml=2, **GRAMS)
    await alice.post_ok(f"{path}/merge", {"into_id": heavy["id"]}, status=200)
    await jobs.hasten()
    await jobs.run_due()
    assert await measured(alice, item) == ("400.000", "g")
    assert await to_buy(alice, built) == ["100.000"]


async def test_stock_is_measured_anew_by_a_correction_of_its_food_and_after_its_deletion(
    kitchen, alice
):
    flour = await catalogue_food(alice, "flour")
    other = await kitchen.stock(alice, "Flours", 1, "l")
    bob = await kitchen.person("Bob")
    his = await kitchen.stock(bob, flour["name"], 1, "l")
    before = await measured(alice, other), await measured(bob, his)

    correction = await kitchen.ingredient(alice, flour["name"], density_g_per_ml=2, **GRAMS)

    assert await measured(alice, other) == ("2000.000", "g")
    assert await measured(bob, his) == before[1]
    assert (await alice.delete(f"/ingredients/{correction['id']}")).status_code == 204
    assert await measured(alice, other) == before[0]


async def measured(person, item):
    read = await person.read(f"/pantry-items/{item['id']}")
    return read["canonical_quantity"], read["canonical_unit"]


async def to_buy(person, built):
    read = await person.read(f"/grocery-lists/{built['grocery_list']['id']}")
    return [line["canonical_quantity_needed"] for line in read["items"]]
