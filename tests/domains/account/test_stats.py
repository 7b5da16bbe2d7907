"""`GET /users/me/stats`: numbers that are counted, never guessed."""

from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy import delete

from freshly.domains.account import statistics
from freshly.domains.account.statistics import streak
from freshly.domains.families.models import Membership
from tests.support.pictures import picture
from tests.support.sql_statements import Statements

MONDAY = date(2030, 1, 7)


@pytest.fixture
def clock(monkeypatch):
    """Set the time at which the statistics look for today."""

    def set_to(instant):
        class Clock(datetime):
            @classmethod
            def now(cls, tz=None):
                return instant.astimezone(tz)

        monkeypatch.setattr(statistics, "datetime", Clock)

    set_to(datetime(2030, 1, 9, 12, tzinfo=UTC))
    return set_to


async def stats(person, **params):
    return await person.read("/users/me/stats", **params)


async def test_a_new_user_has_zeros(kitchen):
    alice = await kitchen.person("Alice")

    assert await stats(alice) == {
        "meals": 0,
        "meal_plans": 0,
        "grocery_lists": 0,
        "items_bought": 0,
        "food_saved": [],
        "streak": {"current_days": 0, "longest_days": 0},
        "storage": {"texts": 0, "pictures": 0},
    }


async def test_the_numbers_follow_each_change_at_once(kitchen, db, clock):
    del clock
    alice, ben = await kitchen.person("Alice"), await kitchen.person("Ben")
    family = await kitchen.family(ben, alice)
    await stats(alice)
    amounts = [("rice", "500 g"), ("milk", "1 l")]
    meal = await kitchen.meal(alice, amounts, familyId=family["id"])
    await kitchen.meal(ben)
    plan = await kitchen.plan(alice, family, week_start=str(MONDAY))
    await kitchen.plan(alice, week_start=str(MONDAY + timedelta(days=7)))
    for day in (0, 1, 2):
        await kitchen.planned(alice, plan, day, "dinner", meal)
    await kitchen.stock(alice, "rice", 2, "kg", family_id=family["id"])
    path = f"/grocery-lists/rebuild-from-meal-plan/{plan['id']}"
    rebuilt = (await alice.post_ok(path, status=200))["grocery_list"]
    families_list = {"scope": "family", "title": "Market", "family_id": family["id"]}
    shared = await alice.post_ok("/grocery-lists", families_list)
    line = await alice.post_ok(f"/grocery-lists/{shared['id']}/items", {"ingredient_id": 1})
    bought = await alice.post(f"/grocery-lists/items/{line['id']}/mark-purchased")
    assert bought.status_code == 200, bought.text
    ticked = await alice.post_ok(f"/grocery-lists/{shared['id']}/items", {"ingredient_id": 2})
    await alice.patch(f"/grocery-lists/items/{ticked['id']}", {"checked": True})
    assert rebuilt["items"]

    after = await stats(alice)
    counted = ("meals", "meal_plans", "grocery_lists", "items_bought")
    assert [after[name] for name in counted] == [1, 2, 2, 2]
    assert after["streak"] == {"current_days": 3, "longest_days": 3}
    saved = [(one["unit"], float(one["quantity"])) for one in after["food_saved"]]
    assert saved == [("g", 1500)]
    assert after["storage"]["texts"] > 0
    assert (await stats(ben))["meals"] == 1
    with Statements() as statements:
        assert await stats(alice) == after
    assert statements.number == 2, "the streak and the storage"

    await alice.request("POST", "/storage/avatar/proxy", files={"file": ("me.png", picture())})
    await alice.delete(f"/grocery-lists/items/{line['id']}")
    later = await stats(alice)
    assert (later["items_bought"], later["storage"]["pictures"] > 0) == (1, True)
    # An ex-member no longer counts what stays with the family.
    async with db.write() as session:
        await session.execute(delete(Membership).where(Membership.user_id == alice.id))
    alone = await stats(alice)
    assert (alone["meal_plans"], alone["grocery_lists"], alone["food_saved"]) == (1, 0, [])


async def test_today_is_the_day_in_the_users_time_zone(kitchen, clock):
    alice = await kitchen.person("Alice")
    meal = await kitchen.meal(alice)
    plan = await kitchen.plan(alice, week_start=str(MONDAY))
    for day in (0, 1, 2, 6):
        await kitchen.planned(alice, plan, day, "lunch", meal)

    async def run(instant, **params):
        clock(instant)
        return (await stats(alice, **params))["streak"]["current_days"]

    late_tuesday = datetime(2030, 1, 8, 20, tzinfo=UTC)
    assert await run(late_tuesday) == 2
    assert await run(late_tuesday, timezone="Pacific/Auckland") == 3
    assert await run(datetime(2030, 1, 10, 23, tzinfo=UTC)) == 3, "today may still be empty"
    assert await run(datetime(2030, 1, 11, 1, tzinfo=UTC)) == 0
    assert await run(datetime(2030, 1, 11, 1, tzinfo=UTC), timezone="America/New_York") == 3
    wrong = await alice.get("/users/me/stats", params={"timezone": "Mars/Base"})
    assert wrong.status_code == 422
    assert "timezone" in wrong.json()["detail"]


def test_a_streak_is_the_longest_run_without_a_gap():
    def days(*numbers):
        return {MONDAY + timedelta(days=number) for number in numbers}

    today = MONDAY + timedelta(days=10)
    for planned, expected in (
        (days(), (0, 0)),
        (days(10), (1, 1)),
        (days(9), (1, 1)),
        (days(8), (0, 1)),
        (days(0, 1, 2, 3, 5, 9, 10), (2, 4)),
    ):
        found = streak(planned, today)
        assert (found.current_days, found.longest_days) == expected, planned
