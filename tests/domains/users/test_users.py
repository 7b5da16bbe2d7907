import pytest


async def test_a_profile_update_changes_only_the_sent_fields(kitchen):
    alice = await kitchen.person("Alice")

    changed = (
        await alice.patch(
            "/users/me", {"name": "  Alicia ", "age": 40, "location": "", "weight": None}
        )
    ).json()

    stamp = {"updated_at": changed["updated_at"], "pending_email": None}
    assert changed == {**alice.user, "name": "Alicia", "age": 40, **stamp}
    assert await alice.read("/users/me") == await alice.read("/auth/me") == changed


async def test_a_user_cannot_change_their_own_tier_or_status(kitchen):
    alice = await kitchen.person("Alice")

    changed = (await alice.patch("/users/me", {"tier": "pro", "status": "staff"})).json()

    assert (changed["tier"], changed["status"]) == ("free", "active")


async def test_the_address_of_another_user_cannot_be_asked_for(kitchen):
    alice, bob = await kitchen.person("Alice"), await kitchen.person("Bob")

    taken = await alice.patch("/users/me", {"email": bob.user["email"].upper()})

    assert taken.status_code == 409


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
async def test_an_invalid_profile_update_is_refused_and_changes_nothing(kitchen, change):
    alice = await kitchen.person("Alice")

    refused = await alice.patch("/users/me", change)

    if change == {"tier": ""}:  # an empty tier means "no change"
        assert refused.status_code == 200
    else:
        assert refused.status_code == 422
    assert await alice.read("/users/me") == {**alice.user, "pending_email": None}
