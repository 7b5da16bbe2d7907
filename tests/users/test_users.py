import pytest
from sqlalchemy import func, select

from freshly.tables import all_tables
from tests.kitchen import PASSWORD


async def test_a_profile_changes_only_what_is_sent(kitchen):
    alice = await kitchen.person("Alice")

    changed = (
        await alice.patch(
            "/users/me", {"name": "  Alicia ", "age": 40, "location": "", "weight": None}
        )
    ).json()

    stamp = {"updated_at": changed["updated_at"]}
    assert changed == {**alice.user, "name": "Alicia", "age": 40, **stamp}
    assert await alice.read("/users/me") == await alice.read("/auth/me") == changed


async def test_nobody_promotes_himself(kitchen):
    alice = await kitchen.person("Alice")

    changed = (await alice.patch("/users/me", {"tier": "pro", "status": "staff"})).json()

    assert (changed["tier"], changed["status"]) == ("free", "active")


async def test_an_address_can_change_but_not_to_somebody_elses(kitchen):
    alice, bob = await kitchen.person("Alice"), await kitchen.person("Bob")

    taken = await alice.patch("/users/me", {"email": bob.user["email"].upper()})
    changed = await alice.patch("/users/me", {"email": "New@Example.com"})

    assert taken.status_code == 409
    assert changed.json()["email"] == "new@example.com"
    await kitchen.sign_in("new@example.com")


@pytest.mark.parametrize(
    "change",
    [
        {"age": -1},
        {"age": 2**31},
        {"weight": 0},
        {"weight": 1e300},
        {"gender": "x" * 33},
        {"location": "x" * 256},
        {"name": "a\0b"},
        {"email": "nobody"},
        {"tier": ""},
    ],
    ids=str,
)
async def test_what_does_not_fit_is_refused_and_nothing_changes(kitchen, change):
    alice = await kitchen.person("Alice")

    refused = await alice.patch("/users/me", change)

    if change == {"tier": ""}:  # empty is "no change"
        assert refused.status_code == 200
    else:
        assert refused.status_code == 422
    assert await alice.read("/users/me") == alice.user


async def test_deleting_an_account_leaves_no_row_behind(kitchen, units):
    alice = await kitchen.person("Alice")
    family = await kitchen.family(alice)
    meal = await kitchen.meal(alice, [("rice", "1 cup")], familyId=family["id"])
    await kitchen.stock(alice, "My own rice", 1, "kg")
    plan = await kitchen.plan(alice, family)
    await kitchen.planned(alice, plan, 0, "dinner", meal)
    await alice.made(f"/grocery-lists/rebuild-from-meal-plan/{plan['id']}", status=200)

    assert (await alice.delete("/users/me")).status_code == 204

    assert (await alice.get("/users/me")).json()["detail"] == "User not found"
    kept = {"alembic_version", "units", "ingredients", "ingredient_measures", "foods", "diet_tags"}
    async with units.reading() as session:
        left = {
            table.name: await session.scalar(select(func.count()).select_from(table))
            for table in all_tables().sorted_tables
            if table.name not in kept
        }
    assert {name for name, rows in left.items() if rows} == set()
    again = {"email": alice.user["email"], "password": PASSWORD}
    assert (await kitchen.client.post("/auth/login", json=again)).status_code == 401


async def test_a_family_keeps_an_owner_when_its_only_one_goes(kitchen):
    alice, bob, carol = [await kitchen.person(name) for name in ("Alice", "Bob", "Carol")]
    family = await kitchen.family(alice, bob, carol)
    path = f"/families/{family['id']}/members"
    await alice.patch(f"{path}/{carol.id}/role", {"role": "admin"})

    await alice.delete("/users/me")

    roles = {member["user_id"]: member["role"] for member in await bob.read(path)}
    assert roles == {bob.id: "member", carol.id: "owner"}
