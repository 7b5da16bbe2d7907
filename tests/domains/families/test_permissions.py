"""`GET /users/me/permissions` tells exactly what the routes allow."""

import pytest

from freshly.domains.families.permissions import LOWEST_ROLE, Permission
from tests.support.role_world import make_administrator


@pytest.fixture
async def home(kitchen):
    """A family with each role, a user outside it, and the requests that need a permission."""
    names = ("Olga", "Adam", "Mia", "Sam", "Tom", "Una", "Vic", "Wim", "Xia")
    owner, admin, member, stranger, tom, *leaving = [await kitchen.person(name) for name in names]
    family = await kitchen.family(owner, admin, member, tom, *leaving)
    path = f"/families/{family['id']}"
    await owner.patch(f"{path}/members/{admin.id}/role", {"role": "admin"})
    plan = await kitchen.plan(owner, family)
    recipe = await owner.post_ok("/recipes", {"family_id": family["id"], "title": "Pea soup"})
    to_remove = iter(leaving)
    role = f"{path}/members/{tom.id}/role"
    title = {"title": "Broth"}
    plan_path, recipe_path = f"/meal-plans/{plan['id']}", f"/recipes/{recipe['id']}"
    rice = {"ingredient_name": "Rice", "quantity": 1, "unit": "kg", "family_id": family["id"]}
    requests = {
        Permission.USE_HOUSEHOLD: lambda user: user.post("/pantry-items", rice),
        Permission.SEE_MEMBERS: lambda user: user.get(f"{path}/members"),
        Permission.MANAGE_PLANS: lambda user: user.patch(plan_path, title),
        Permission.MANAGE_RECIPES: lambda user: user.patch(recipe_path, title),
        Permission.INVITE: lambda user: user.post(f"{path}/invitations", {}),
        Permission.CHANGE_ROLES: lambda user: user.patch(role, {"role": "admin"}),
        Permission.REMOVE_MEMBERS: lambda user: user.delete(f"{path}/members/{next(to_remove).id}"),
        Permission.SEE_PROFILES: lambda user: user.get(f"{path}/members/{tom.id}/profile"),
        Permission.CHANGE_OWNERS: lambda user: user.patch(role, {"role": "owner"}),
        Permission.DELETE_FAMILY: lambda user: user.delete(path),
    }
    users = {"stranger": stranger, "member": member, "admin": admin, "owner": owner}
    return family, users, requests


async def test_the_permissions_of_each_role_are_what_the_routes_allow(home):
    family, users, requests = home
    assert requests.keys() == set(Permission) == LOWEST_ROLE.keys()

    for role, user in users.items():
        told = (await user.read("/users/me/permissions"))["families"]
        answers = {
            permission: (await send(user)).status_code for permission, send in requests.items()
        }

        assert set(answers.values()) <= {200, 201, 403, 404}, answers
        granted = [name for name in Permission if answers[name] < 300]
        if role == "stranger":
            assert (told, granted) == ([], [])
        else:
            assert told == [{"family_id": family["id"], "role": role, "allows": granted}]
    assert (await users["owner"].read("/users/me/permissions"))["families"] == []


async def test_permissions_follow_a_new_role_at_once_and_name_the_administrator(home, db):
    _, users, requests = home
    member = users["member"]
    before = await member.read("/users/me/permissions")
    assert (before["tier"], before["administrator"]) == ("free", False)

    path = f"/families/{before['families'][0]['family_id']}/members/{member.id}/role"
    await users["owner"].patch(path, {"role": "admin"})
    await make_administrator(db, member.id)

    after = await member.read("/users/me/permissions")
    assert "invite" in after["families"][0]["allows"]
    assert "invite" not in before["families"][0]["allows"]
    assert after["administrator"] is True
    assert (await requests[Permission.INVITE](member)).status_code == 201
