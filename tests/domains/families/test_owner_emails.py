"""All owners learn by email of a new owner, and a user of becoming or being one no longer."""

import pytest

from tests.support.api import PASSWORD


@pytest.fixture
async def home(kitchen):
    """A family with an owner, an admin and a member whose name looks like a link."""
    olga, adam = await kitchen.person("Olga"), await kitchen.person("Adam")
    mia = await kitchen.person("Mia", email="mia@example.com")
    await mia.patch("/users/me", {"name": "https://evil.example/win"})
    family = await kitchen.family(olga, adam, mia, name="Us")
    await change_role(olga, family, adam, "admin")
    return family, olga, adam, mia


async def change_role(actor, family, target, role):
    path = f"/families/{family['id']}/members/{target.id}/role"
    assert (await actor.patch(path, {"role": role})).status_code == 200


async def sent(jobs, emails):
    """Return the address and subject of each new email, and forget them."""
    await jobs.run_due()
    found = sorted((email.to, email.subject) for email in emails)
    texts = "".join(email.text for email in emails)
    emails.clear()
    return found, texts


def of(person, subject):
    return person.user["email"], subject


ADDED = "Your Freshly family has a new owner"
MADE = "You are an owner of your Freshly family"
ENDED = "You are no longer an owner of your Freshly family"


async def test_owners_learn_of_a_new_owner_and_a_former_one_of_the_loss(home, jobs, emails):
    family, olga, adam, mia = home
    assert (await sent(jobs, emails))[0] == []  # an admin is no owner

    await change_role(olga, family, mia, "owner")
    found, texts = await sent(jobs, emails)
    assert found == sorted([of(olga, ADDED), of(mia, MADE)])
    assert "https:" not in texts
    [membership] = [
        member
        for member in await olga.read(f"/families/{family['id']}/members")
        if member["user_id"] == adam.id
    ]
    path = f"/memberships/{membership['id']}/role"
    assert (await olga.patch(path, {"role": "owner"})).status_code == 200
    found, _ = await sent(jobs, emails)
    assert found == sorted([of(olga, ADDED), of(mia, ADDED), of(adam, MADE)])
    await change_role(olga, family, mia, "owner")  # no change
    await change_role(olga, family, mia, "member")
    assert (await olga.delete(f"/memberships/{membership['id']}")).status_code == 200
    assert (await sent(jobs, emails))[0] == sorted([of(mia, ENDED), of(adam, ENDED)])


async def test_the_successor_of_a_deleted_owner_learns_of_it(home, jobs, emails):
    _, olga, adam, _ = home

    assert (await olga.delete("/users/me")).status_code == 204

    assert (await sent(jobs, emails))[0] == [of(adam, MADE)]


async def test_a_member_whose_account_is_closed_counts_as_gone(home, age_sign_ins):
    family, olga, adam, mia = home
    await change_role(olga, family, mia, "owner")
    path = f"/families/{family['id']}"
    [before] = await adam.read("/families")
    await age_sign_ins()

    assert (await mia.delete("/users/me")).status_code == 204

    [listed] = await adam.read("/families")
    members = await adam.read(f"{path}/members")
    assert (before["count"], listed["count"], len(members)) == (3, 2, 2)
    assert (await adam.read(path))["count"] == 2
    for role in ("member", "owner"):
        answer = await olga.patch(f"{path}/members/{mia.id}/role", {"role": role})
        assert answer.status_code == 404
    assert (await olga.delete(f"{path}/members/{mia.id}")).status_code == 404
    left = await olga.delete(f"{path}/members/{olga.id}")
    assert (left.status_code, left.json()["code"]) == (400, "last_owner")
    proof = await olga.post_ok("/auth/reauthenticate", {"password": PASSWORD}, status=200)
    with_proof = {"X-Reauth": proof["reauth_token"]}
    assert (await olga.delete("/users/me", headers=with_proof)).status_code == 204
    [owner] = await adam.read(f"{path}/members")
    assert (owner["user_id"], owner["role"]) == (adam.id, "owner")
