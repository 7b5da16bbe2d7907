"""A meal on a family's plan is readable by all who read the plan, and by no other user."""

import pytest


@pytest.fixture
async def home(kitchen):
    """A plan of Olga and Mia's family, with a private dish of Mia's that her other family eats."""
    olga, mia, stranger = [await kitchen.person(name) for name in ("Olga", "Mia", "Stranger")]
    family, elsewhere = await kitchen.family(olga, mia), await kitchen.family(mia)
    meal = await kitchen.meal(
        mia,
        [("Rice", "300 g")],
        familyId=elsewhere["id"],
        isFavorite=True,
        image="https://pictures.example.com/rice.png",
    )
    unplanned = await kitchen.meal(mia, name="Unplanned")
    plan = await kitchen.plan(olga, family)
    await kitchen.planned(mia, plan, 1, "dinner", meal)
    return olga, mia, stranger, meal, unplanned, plan


async def test_a_reader_of_the_plan_reads_the_dish_and_not_what_is_its_creators(home):
    olga, mia, stranger, meal, unplanned, _ = home
    path = f"/meals/{meal['id']}"

    own, seen = await mia.read(path), await olga.read(path)

    assert own["familyId"] is not None
    assert own["isFavorite"]
    assert own["is_favorite"]
    hidden = {"familyId": None, "family_id": None, "isFavorite": False, "is_favorite": False}
    assert seen == {**own, **hidden}
    assert (await stranger.get(path)).status_code == 404
    assert (await olga.get(f"/meals/{unplanned['id']}")).status_code == 404
    assert await olga.read("/meals/me") == []


async def test_a_reader_of_the_plan_neither_changes_nor_copies_nor_plans_the_meal(home, kitchen):
    olga, mia, _, meal, _, _plan = home
    path, before = f"/meals/{meal['id']}", await mia.read(f"/meals/{meal['id']}")
    offer = {"mealId": meal["id"], "recipientUserId": mia.id}
    personal = await kitchen.plan(olga)
    slot = {"meals": [{"meal_id": meal["id"]}]}

    refused = [
        await olga.put(path, {"name": "Mine"}),
        await olga.patch(f"/meals/me/{meal['id']}", {"name": "Mine"}),
        await olga.delete(path),
        await olga.delete(f"/meals/me/{meal['id']}"),
        await olga.post(f"{path}/attach-family", {"familyId": 1}),
        await olga.post("/meal-share-requests", offer),
        await olga.put(f"/meal-plans/{personal['id']}/slots/1/dinner", slot),
    ]

    assert {answer.status_code for answer in refused} <= {403, 404}, refused
    assert await mia.read(path) == before


async def test_a_meal_is_hidden_again_when_the_plan_or_the_membership_ends(home):
    olga, mia, stranger, meal, _, plan = home
    path, family = f"/meals/{meal['id']}", plan["family_id"]
    code = {"invite_code": (await olga.read(f"/families/{family}"))["invite_code"]}
    await stranger.post_ok("/families/join", code, status=200)
    assert (await stranger.get(path)).status_code == 200

    left = await stranger.delete(f"/families/{family}/members/{stranger.id}")
    cleared = await mia.delete(f"/meal-plans/{plan['id']}/slots/1/dinner")

    assert (left.status_code, cleared.status_code) == (200, 204)
    for reader in (stranger, olga):
        assert (await reader.get(path)).status_code == 404
