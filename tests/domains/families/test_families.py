import asyncio

import pytest
from sqlalchemy import select

from freshly.domains.notifications.models import Notification

BIG = 2**40


@pytest.fixture
async def people(kitchen):
    class People:
        pass

    for name in ("owner", "admin", "member", "stranger"):
        setattr(People, name, await kitchen.person(name))
    People.family = await kitchen.family(People.owner, People.admin, People.member)
    People.id = People.family["id"]
    await set_role(People, People.owner, People.admin, "admin")
    return People


async def set_role(people, by, whom, role):
    path = f"/families/{people.id}/members/{whom.id}/role"
    return await by.patch(path, {"role": role})


async def remove(people, by, whom):
    return await by.delete(f"/families/{people.id}/members/{whom.id}")


async def roles(people):
    members = await people.owner.read(f"/families/{people.id}/members")
    return {member["user_id"]: member["role"] for member in members}


async def test_the_founder_owns_the_family(kitchen):
    alice = await kitchen.person("Alice")

    family = await kitchen.family(alice, name=" Us ")

    assert family.keys() == {"id", "display_name", "invite_code", "count"}
    assert (family["display_name"], family["count"]) == ("Us", 1)
    assert len(family["invite_code"]) == 6
    assert await alice.read("/families") == [family]
    assert await alice.read(f"/families/{family['id']}") == family
    (member,) = await alice.read(f"/families/{family['id']}/members")
    assert (member["role"], member["user"]) == ("owner", alice.user)


async def test_joining_tells_the_owners_once(people, kitchen, db):
    newcomer = await kitchen.person("Newcomer")
    code = {"invite_code": people.family["invite_code"]}

    joined = await newcomer.post_ok("/families/join", code, status=200)
    again = await newcomer.post_ok("/families/join", code, status=200)

    assert joined == again
    assert joined["role"] == "member"
    async with db.read() as session:
        news = await session.scalars(
            select(Notification).where(Notification.related_user_id == newcomer.id)
        )
        (told,) = news.all()
    assert (told.user_id, told.title) == (people.owner.id, "New Family Member")
    assert told.type == "family_member_joined"


async def test_joining_many_times_at_once_is_one_membership(people, kitchen):
    newcomer = await kitchen.person("Newcomer")
    code = {"invite_code": people.family["invite_code"]}

    answers = await asyncio.gather(*(newcomer.post("/families/join", code) for _ in range(5)))

    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["id"] for answer in answers}) == 1


async def test_a_wrong_code_is_404(people):
    refused = await people.stranger.post("/families/join", {"invite_code": "no such code"})

    assert (refused.status_code, refused.json()["detail"]) == (404, "Invalid invite code")


async def test_a_new_code_replaces_the_old_one(people):
    path = f"/families/{people.id}/invite/regenerate"
    assert (await people.member.post(path)).status_code == 403

    renewed = await people.admin.post_ok(path, status=200)

    assert renewed["invite_code"] != people.family["invite_code"]
    old = {"invite_code": people.family["invite_code"]}
    assert (await people.stranger.post("/families/join", old)).status_code == 404
    assert (await people.owner.post("/families/0/invite/regenerate")).status_code == 422


@pytest.mark.parametrize(
    ("by", "whom", "role", "status"),
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
async def test_who_may_give_which_role(people, by, whom, role, status):
    before = await roles(people)

    answer = await set_role(people, getattr(people, by), getattr(people, whom), role)

    assert answer.status_code == status, answer.text
    changed = {getattr(people, whom).id: role} if status == 200 else {}
    assert await roles(people) == {**before, **changed}


@pytest.mark.parametrize(
    ("by", "whom", "status", "detail"),
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
async def test_who_may_remove_whom(people, by, whom, status, detail):
    answer = await remove(people, getattr(people, by), getattr(people, whom))

    assert answer.status_code == status, answer.text
    assert answer.json() == {"ok": True} if status == 200 else answer.json()["detail"] == detail
    assert (getattr(people, whom).id in await roles(people)) == (status not in {200, 404})


async def test_an_admin_may_not_remove_one_of_two_owners(people):
    await set_role(people, people.owner, people.member, "owner")

    assert (await remove(people, people.admin, people.owner)).status_code == 403
    assert (await remove(people, people.owner, people.owner)).status_code == 200


async def test_two_owners_leaving_at_once_leave_one(people):
    await set_role(people, people.owner, people.admin, "owner")

    left = await asyncio.gather(
        remove(people, people.owner, people.owner), remove(people, people.admin, people.admin)
    )

    assert sorted(answer.status_code for answer in left) == [200, 400]


async def test_memberships_by_their_id_follow_the_same_rules(people):
    members = await people.owner.read(f"/families/{people.id}/members")
    by_user = {member["user_id"]: f"/memberships/{member['id']}" for member in members}
    role = {"role": "admin"}

    async def status(person, method, whom, suffix="", **options):
        path = by_user[whom.id] + suffix
        return (await person.request(method, path, **options)).status_code

    owner, admin, member, stranger = people.owner, people.admin, people.member, people.stranger
    assert await status(stranger, "PATCH", member, "/role", json=role) == 403
    assert await status(admin, "PATCH", member, "/role", json=role) == 403
    assert await status(owner, "PATCH", member, "/role", json={"role": "boss"}) == 400
    assert await status(owner, "PATCH", owner, "/role", json=role) == 400
    assert await status(owner, "PATCH", member, f"/role?family_id={BIG}", json=role) == 404
    assert await status(owner, "PATCH", member, f"/role?family_id={people.id}", json=role) == 200
    assert await status(stranger, "DELETE", member) == 403
    assert await status(admin, "DELETE", owner) == 403
    assert await status(owner, "DELETE", owner) == 400
    kicked = await owner.delete(by_user[member.id])
    assert kicked.json() == {"ok": True, "kicked": True}
    assert (await admin.delete(by_user[admin.id])).json() == {"ok": True, "left": True}
    assert (await owner.delete(by_user[member.id])).status_code == 404


async def test_an_owner_of_another_family_changes_nothing_here(people, kitchen):
    await kitchen.family(people.stranger)
    (member,) = [
        member
        for member in await people.owner.read(f"/families/{people.id}/members")
        if member["user_id"] == people.member.id
    ]
    (other,) = await people.stranger.read("/families")

    path = f"/memberships/{member['id']}/role?family_id={other['id']}"

    assert (await people.stranger.patch(path, {"role": "owner"})).status_code in (403, 404)
    assert (await roles(people))[people.member.id] == "member"


async def test_an_owner_sees_members_profiles_and_preferences_and_meals(people, kitchen):
    meal = await kitchen.meal(people.member)
    path = f"/families/{people.id}/members/{people.member.id}"

    assert await people.owner.read(f"{path}/profile") == people.member.user
    preferences = await people.owner.read(f"{path}/preferences")
    assert (preferences["user_id"], preferences["goal"]) == (people.member.id, "balanced")
    assert await people.owner.read(f"{path}/meals") == [meal]
    for what in ("profile", "preferences", "meals"):
        assert (await people.admin.get(f"{path}/{what}")).status_code == 403
        missing = f"/families/{people.id}/members/{people.stranger.id}/{what}"
        assert (await people.owner.get(missing)).status_code == 404


async def test_outsiders_learn_nothing_of_a_family(people):
    for family_id in (people.id, 999_999):
        members = await people.stranger.get(f"/families/{family_id}/members")
        assert (members.status_code, members.json()["detail"]) == (
            403,
            "Not a member of this family",
        )
        assert (await people.stranger.get(f"/families/{family_id}")).status_code == 403
        assert (await people.stranger.delete(f"/families/{family_id}")).status_code == 403
    assert (await people.admin.delete(f"/families/{people.id}")).status_code == 403


async def test_dissolving_a_family_takes_everything_of_it_along(people, kitchen):
    item = await kitchen.stock(people.owner, "Rice", 1, "kg", family_id=people.id)
    await kitchen.plan(people.owner, people.family)

    assert (await people.owner.delete(f"/families/{people.id}")).json() == {"ok": True}

    assert await people.owner.read("/families") == []
    assert (await people.owner.get(f"/pantry-items/{item['id']}")).status_code == 404
    assert await people.owner.read("/meal-plans/me") == []


async def test_an_ex_member_loses_everything_at_the_next_request(people, kitchen):
    item = await kitchen.stock(people.owner, "Rice", 1, "kg", family_id=people.id)
    path = f"/pantry-items/{item['id']}"
    assert (await people.member.get(path)).status_code == 200

    await remove(people, people.owner, people.member)

    assert (await people.member.get(path)).status_code == 403
    assert (await people.member.get(f"/pantry-items/family/{people.id}")).status_code == 403
