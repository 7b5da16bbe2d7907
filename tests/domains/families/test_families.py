import asyncio

import pytest
from sqlalchemy import select

from freshly.domains.notifications.models import Notification

UNKNOWN_ID = 2**40


@pytest.fixture
async def users(kitchen):
    class Users:
        pass

    for name in ("owner", "admin", "member", "stranger"):
        setattr(Users, name, await kitchen.person(name))
    Users.family = await kitchen.family(Users.owner, Users.admin, Users.member)
    Users.id = Users.family["id"]
    await set_role(Users, Users.owner, Users.admin, "admin")
    return Users


async def set_role(users, actor, target, role):
    path = f"/families/{users.id}/members/{target.id}/role"
    return await actor.patch(path, {"role": role})


async def remove(users, actor, target):
    return await actor.delete(f"/families/{users.id}/members/{target.id}")


async def roles(users):
    members = await users.owner.read(f"/families/{users.id}/members")
    return {member["user_id"]: member["role"] for member in members}


async def test_the_user_who_creates_a_family_owns_it(kitchen):
    alice = await kitchen.person("Alice")

    family = await kitchen.family(alice, name=" Us ")

    assert family.keys() == {
        *("id", "display_name", "invite_code", "invite_code_expires_at", "count")
    }
    assert (family["display_name"], family["count"]) == ("Us", 1)
    assert len(family["invite_code"]) == 6
    assert await alice.read("/families") == [family]
    assert await alice.read(f"/families/{family['id']}") == family
    (member,) = await alice.read(f"/families/{family['id']}/members")
    assert member["role"] == "owner"
    assert {**member["user"], "shares_profile": False} == alice.user


async def test_joining_a_family_notifies_its_owner_once(users, kitchen, db):
    newcomer = await kitchen.person("Newcomer")
    invitation = {"invite_code": users.family["invite_code"]}

    joined = await newcomer.post_ok("/families/join", invitation, status=200)
    again = await newcomer.post_ok("/families/join", invitation, status=200)

    assert joined == again
    assert joined["role"] == "member"
    async with db.read() as session:
        notifications = await session.scalars(
            select(Notification).where(Notification.related_user_id == newcomer.id)
        )
        (notification,) = notifications.all()
    assert (notification.user_id, notification.title) == (users.owner.id, "New Family Member")
    assert notification.type == "family_member_joined"


async def test_simultaneous_requests_to_join_create_one_membership(users, kitchen):
    newcomer = await kitchen.person("Newcomer")
    invitation = {"invite_code": users.family["invite_code"]}

    responses = await asyncio.gather(
        *(newcomer.post("/families/join", invitation) for _ in range(5))
    )

    assert {response.status_code for response in responses} == {200}
    assert len({response.json()["id"] for response in responses}) == 1


async def test_a_wrong_invite_code_is_404(users):
    refused = await users.stranger.post("/families/join", {"invite_code": "no such code"})

    assert (refused.status_code, refused.json()["detail"]) == (404, "Invalid invite code")


async def test_a_new_invite_code_replaces_the_old_one(users):
    path = f"/families/{users.id}/invite/regenerate"
    assert (await users.member.post(path)).status_code == 403

    renewed = await users.admin.post_ok(path, status=200)

    assert renewed["invite_code"] != users.family["invite_code"]
    old = {"invite_code": users.family["invite_code"]}
    assert (await users.stranger.post("/families/join", old)).status_code == 404
    assert (await users.owner.post("/families/0/invite/regenerate")).status_code == 422


@pytest.mark.parametrize(
    ("actor", "target", "role", "status"),
    [
        ("owner", "member", "admin", 200),
        ("owner", "member", "owner", 200),
        ("owner", "admin", "member", 200),
        ("owner", "owner", "member", 400),
        ("owner", "owner", "owner", 200),
        ("owner", "stranger", "member", 404),
        ("admin", "member", "admin", 200),
        ("admin", "member", "owner", 403),
        ("admin", "owner", "member", 403),
        ("admin", "admin", "member", 200),
        ("member", "member", "admin", 403),
        ("member", "admin", "member", 403),
        ("stranger", "member", "admin", 403),
        ("owner", "member", "boss", 422),
    ],
)
async def test_a_role_is_changed_only_by_a_member_with_permission(
    users, actor, target, role, status
):
    before = await roles(users)

    response = await set_role(users, getattr(users, actor), getattr(users, target), role)

    assert response.status_code == status, response.text
    changed = {getattr(users, target).id: role} if status == 200 else {}
    assert await roles(users) == {**before, **changed}


@pytest.mark.parametrize(
    ("actor", "target", "status", "detail"),
    [
        ("owner", "member", 200, None),
        ("owner", "admin", 200, None),
        ("owner", "owner", 400, "Family must retain at least one owner"),
        ("admin", "member", 200, None),
        ("admin", "owner", 403, "Insufficient permissions"),
        ("admin", "admin", 200, None),
        ("member", "member", 200, None),
        ("member", "admin", 403, "Insufficient permissions"),
        ("stranger", "member", 403, "Insufficient permissions"),
        ("owner", "stranger", 404, "Not a member"),
    ],
)
async def test_a_member_is_removed_only_by_a_member_with_permission(
    users, actor, target, status, detail
):
    response = await remove(users, getattr(users, actor), getattr(users, target))

    assert response.status_code == status, response.text
    assert response.json() == {"ok": True} if status == 200 else response.json()["detail"] == detail
    assert (getattr(users, target).id in await roles(users)) == (status not in {200, 404})


async def test_an_admin_cannot_remove_one_of_two_owners(users):
    await set_role(users, users.owner, users.member, "owner")

    assert (await remove(users, users.admin, users.owner)).status_code == 403
    assert (await remove(users, users.owner, users.owner)).status_code == 200


async def test_one_owner_stays_when_two_owners_leave_at_once(users):
    await set_role(users, users.owner, users.admin, "owner")

    responses = await asyncio.gather(
        remove(users, users.owner, users.owner), remove(users, users.admin, users.admin)
    )

    assert sorted(response.status_code for response in responses) == [200, 400]


async def test_the_routes_by_membership_id_follow_the_same_rules(users):
    members = await users.owner.read(f"/families/{users.id}/members")
    by_user = {member["user_id"]: f"/memberships/{member['id']}" for member in members}
    role = {"role": "admin"}

    async def status(person, method, target, suffix="", **options):
        path = by_user[target.id] + suffix
        return (await person.request(method, path, **options)).status_code

    owner, admin, member, stranger = users.owner, users.admin, users.member, users.stranger
    assert await status(stranger, "PATCH", member, "/role", json=role) == 403
    assert await status(admin, "PATCH", member, "/role", json=role) == 403
    assert await status(owner, "PATCH", member, "/role", json={"role": "boss"}) == 400
    assert await status(owner, "PATCH", owner, "/role", json=role) == 400
    assert await status(owner, "PATCH", member, f"/role?family_id={UNKNOWN_ID}", json=role) == 404
    assert await status(owner, "PATCH", member, f"/role?family_id={users.id}", json=role) == 200
    assert await status(stranger, "DELETE", member) == 403
    assert await status(admin, "DELETE", owner) == 403
    assert await status(owner, "DELETE", owner) == 400
    removed = await owner.delete(by_user[member.id])
    assert removed.json() == {"ok": True, "kicked": True}
    assert (await admin.delete(by_user[admin.id])).json() == {"ok": True, "left": True}
    assert (await owner.delete(by_user[member.id])).status_code == 403


async def test_the_owner_of_another_family_cannot_change_a_role(users, kitchen):
    await kitchen.family(users.stranger)
    (member,) = [
        member
        for member in await users.owner.read(f"/families/{users.id}/members")
        if member["user_id"] == users.member.id
    ]
    (other,) = await users.stranger.read("/families")

    path = f"/memberships/{member['id']}/role?family_id={other['id']}"

    assert (await users.stranger.patch(path, {"role": "owner"})).status_code in (403, 404)
    assert (await roles(users))[users.member.id] == "member"


async def test_only_an_owner_sees_the_profile_preferences_and_meals_of_a_member(users, kitchen):
    meal = await kitchen.meal(users.member, familyId=users.id)
    path = f"/families/{users.id}/members/{users.member.id}"

    profile = await users.owner.read(f"{path}/profile")
    assert {**profile, "shares_profile": False} == users.member.user
    preferences = await users.owner.read(f"{path}/preferences")
    assert (preferences["user_id"], preferences["goal"]) == (users.member.id, "balanced")
    assert await users.owner.read(f"{path}/meals") == [meal]
    for resource in ("profile", "preferences", "meals"):
        assert (await users.admin.get(f"{path}/{resource}")).status_code == 403
        missing = f"/families/{users.id}/members/{users.stranger.id}/{resource}"
        assert (await users.owner.get(missing)).status_code == 404


async def test_outsiders_learn_nothing_about_a_family(users):
    for family_id in (users.id, 999_999):
        members = await users.stranger.get(f"/families/{family_id}/members")
        assert (members.status_code, members.json()["detail"]) == (
            403,
            "Not a member of this family",
        )
        assert (await users.stranger.get(f"/families/{family_id}")).status_code == 403
        assert (await users.stranger.delete(f"/families/{family_id}")).status_code == 403
    assert (await users.admin.delete(f"/families/{users.id}")).status_code == 403


async def test_outsiders_do_not_learn_who_is_in_a_family(users, kitchen):
    outsider = await kitchen.person("Outsider")
    await kitchen.family(outsider)
    (membership, *_) = await users.owner.read(f"/families/{users.id}/members")

    async def answers(method, *paths, **options):
        responses = [await outsider.request(method, path, **options) for path in paths]
        return {(response.status_code, response.json()["detail"]) for response in responses}

    refused = {(403, "Insufficient permissions")}
    members = [f"/families/{users.id}/members/{u}" for u in (users.member.id, outsider.id + 1, 1)]
    unknown = f"/families/999999/members/{users.member.id}"
    assert await answers("DELETE", *members, unknown) == refused
    role = {"role": "member"}
    roles = [f"{path}/role" for path in (*members, unknown)]
    assert await answers("PATCH", *roles, json=role) == refused
    memberships = [f"/memberships/{membership['id']}", "/memberships/999999"]
    assert await answers("DELETE", *memberships) == refused
    for query in ("", f"?family_id={users.id}", "?family_id=999999"):
        paths = [f"{path}/role{query}" for path in memberships]
        assert await answers("PATCH", *paths, json=role) == refused
    themselves = await outsider.delete(f"/families/{users.id}/members/{outsider.id}")
    assert (themselves.status_code, themselves.json()["detail"]) == (404, "Not a member")


async def test_deleting_a_family_deletes_its_pantry_and_plans(users, kitchen):
    item = await kitchen.stock(users.owner, "Rice", 1, "kg", family_id=users.id)
    await kitchen.plan(users.owner, users.family)

    assert (await users.owner.delete(f"/families/{users.id}")).json() == {"ok": True}

    assert await users.owner.read("/families") == []
    assert (await users.owner.get(f"/pantry-items/{item['id']}")).status_code == 404
    assert await users.owner.read("/meal-plans/me") == []


async def test_a_former_member_loses_access_at_the_next_request(users, kitchen):
    item = await kitchen.stock(users.owner, "Rice", 1, "kg", family_id=users.id)
    path = f"/pantry-items/{item['id']}"
    assert (await users.member.get(path)).status_code == 200

    await remove(users, users.owner, users.member)

    assert (await users.member.get(path)).status_code == 403
    assert (await users.member.get(f"/pantry-items/family/{users.id}")).status_code == 403


async def test_an_owner_reads_only_the_meals_that_a_member_attached_to_this_family(users, kitchen):
    other = await kitchen.family(users.member, name="Other")
    await kitchen.meal(users.member, name="Private")
    await kitchen.meal(users.member, name="Other family's", familyId=other["id"])
    attached = await kitchen.meal(users.member, name="Ours", familyId=users.id)
    await kitchen.meal(users.admin, name="Of another member", familyId=users.id)

    path = f"/families/{users.id}/members/{users.member.id}/meals"

    assert await users.owner.read(path) == [attached]


async def test_members_keep_their_own_meals_when_the_family_is_deleted(users, kitchen):
    meal = await kitchen.meal(users.member, familyId=users.id)
    plan = await kitchen.plan(users.member)
    await kitchen.planned(users.member, plan, 0, "dinner", meal)
    assert (await users.member.read("/meals/me"))[0]["familyId"] == users.id

    assert (await users.owner.delete(f"/families/{users.id}")).status_code == 200

    assert (await users.member.read(f"/meals/{meal['id']}"))["familyId"] is None
    assert [m["familyId"] for m in await users.member.read("/meals/me")] == [None]
    (slot,) = await users.member.read(f"/meal-plans/{plan['id']}/slots")
    assert [one["meal_id"] for one in slot["meals"]] == [meal["id"]]
    assert (await users.owner.get(f"/meals/{meal['id']}")).status_code == 404


async def test_members_see_a_profile_only_while_its_user_shares_it(users):
    private = {
        "phone_number": "+31 6 1",
        "location": "Berlin, Hauptstr. 1",
        "gender": "male",
        "age": 41,
        "weight": 71.5,
        "height": 180.0,
        "calories": 2100.0,
    }
    body = {"age": 41, "gender": "male", "height_cm": 180, "weight_kg": 71.5}
    member = users.member
    await member.patch("/users/me", {**private, "avatar_path": "https://a.example.com/m.png"})
    await member.patch("/preferences/me", {**body, "diet_type": "vegan"})
    path = f"/families/{users.id}/members"

    async def seen_by(person):
        return {one["user_id"]: one["user"] for one in await person.read(path)}[member.id]

    async def check(*, shared):
        for reader in (users.owner, users.admin):
            seen = await seen_by(reader)
            assert (seen["name"], seen["email"]) == ("member", member.user["email"])
            assert (seen["avatar_path"], seen["is_verified"]) == (
                "https://a.example.com/m.png",
                False,
            )
            assert {key: seen[key] for key in private} == (
                private if shared else dict.fromkeys(private)
            )
        profile = await users.owner.read(f"{path}/{member.id}/profile")
        assert profile == await seen_by(users.owner)
        preferences = await users.owner.read(f"{path}/{member.id}/preferences")
        assert preferences["diet_type"] == "vegan"
        assert {key: preferences[key] for key in body} == (body if shared else dict.fromkeys(body))
        changed = await set_role(users, users.owner, member, "admin")
        assert changed.json()["user"] == await seen_by(users.owner)

    await check(shared=False)
    own = await seen_by(member)
    assert {key: own[key] for key in private} == private
    assert (await member.patch("/users/me", {"shares_profile": True})).json()["shares_profile"]
    await check(shared=True)
    assert (await member.patch("/users/me", {"shares_profile": None})).json()["shares_profile"]
    await member.patch("/users/me", {"shares_profile": False})
    await check(shared=False)
