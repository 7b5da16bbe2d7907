"""A family that is deleted without proof looks deleted, and can be kept for seven days."""

import asyncio
import re
from datetime import timedelta
from types import SimpleNamespace

import pytest
from sqlalchemy import func, select, update

from freshly.chassis.data.functions import now
from freshly.domains.families.jobs import DeleteClosedFamily
from freshly.domains.families.models import ClosedMembership, ClosedReference, Family, Membership
from freshly.domains.users.models import User
from tests.support.api import PASSWORD


@pytest.fixture
async def home(kitchen, age_sign_ins):
    """A family of two owners and a member that shares rows of every kind. No sign-in is fresh."""
    olga, otto, mia = [await kitchen.person(name) for name in ("Olga", "Otto", "Mia")]
    stranger = await kitchen.person("Stranger")
    family = await kitchen.family(olga, otto, mia, name="Us https://evil.example")
    other = await kitchen.family(mia, otto, name="Elsewhere")
    role = await olga.patch(f"/families/{family['id']}/members/{otto.id}/role", {"role": "owner"})
    assert role.status_code == 200
    family_id = family["id"]
    invitation = await olga.post_ok(f"/families/{family_id}/invitations", {"uses": 5})
    await kitchen.ingredient(olga, "Gran's jam", family_id=family_id)
    jam = await kitchen.stock(olga, "Gran's jam", 2, "pcs", family_id=family_id)
    rice = await kitchen.stock(mia, "Rice", 100, "g", family_id=family_id)
    meal = await kitchen.meal(mia, [("Rice", "300 g")], familyId=family_id)
    own_meal = await kitchen.meal(mia, name="Own")
    plan = await kitchen.plan(mia, family)
    await kitchen.planned(otto, plan, 1, "dinner", meal, notes="late")
    recipe = await olga.post_ok(
        "/recipes", {"family_id": family_id, "title": "Family soup", "instructions": "Cook."}
    )
    await olga.post_ok(f"/grocery-lists/rebuild-from-meal-plan/{plan['id']}", status=200)
    [built] = await olga.read(f"/grocery-lists/family/{family_id}")
    personal = await mia.post_ok(
        "/grocery-lists", {"scope": "personal", "meal_plan_id": plan["id"]}
    )
    line = {"ingredient_id": rice["ingredient_id"], "quantity": 500, "unit_code": "g"}
    await mia.post_ok(f"/grocery-lists/{personal['id']}/items", line)
    await mia.post_ok(f"/grocery-lists/{personal['id']}/sync-pantry", status=200)
    offer = {"mealId": meal["id"], "recipientUserId": otto.id}
    offer = await mia.post_ok("/meal-share-requests", offer)
    await age_sign_ins()
    return SimpleNamespace(
        id=family_id,
        family=family,
        other=other,
        invitation=invitation,
        jam=jam,
        rice=rice,
        meal=meal,
        own_meal=own_meal,
        recipe=recipe,
        plan=plan,
        built=built,
        personal=personal,
        offer=offer,
        olga=olga,
        otto=otto,
        mia=mia,
        stranger=stranger,
    )


def paths_of(home):
    """Return every read that shows the family, its rows or rows that refer to them."""
    family, plan, rice = home.id, home.plan["id"], home.rice["id"]
    lists = [home.built["id"], home.personal["id"]]
    return [
        *("/families", f"/families/{family}", f"/families/{family}/members", "/users/me/usage"),
        *(f"/families/{family}/invitations", f"/families/{family}/members/{home.mia.id}/meals"),
        *(f"/families/{family}/members/{home.mia.id}/profile", "/pantry-items/me"),
        *(f"/pantry-items/family/{family}", f"/pantry-items/{rice}", "/ingredients?search=jam"),
        *(f"/ingredients/{home.jam['ingredient_id']}", "/recipes", f"/recipes/{home.recipe['id']}"),
        *("/meal-plans/me", f"/meal-plans/family/{family}", f"/meal-plans/{plan}"),
        *(f"/meal-plans/{plan}/slots", "/meals/me", f"/meals/{home.meal['id']}"),
        *(f"/meals/{home.own_meal['id']}", "/grocery-lists/me", f"/grocery-lists/family/{family}"),
        *(f"/grocery-lists/{list_id}" for list_id in lists),
        *(f"/grocery-lists/{list_id}/explanation" for list_id in lists),
        *("/notifications", "/notifications/unread-count", "/meal-share-requests"),
        *(f"/meal-share-requests/{home.offer['id']}", "/chat/usage"),
    ]


async def views(home):
    """Return what each user reads at each path: the status and the body."""
    seen = {}
    for person in (home.olga, home.otto, home.mia, home.stranger):
        for path in paths_of(home):
            answer = await person.get(path)
            body = answer.json()
            if isinstance(body, dict):
                body.pop("correlation_id", None)
            seen[person.user["name"], path] = (answer.status_code, body)
    return seen


async def close(home):
    deleted = await home.olga.delete(f"/families/{home.id}")
    assert (deleted.status_code, deleted.json()) == (200, {"ok": True})


async def letters(jobs, emails):
    await jobs.run_due()
    return {email.to: email for email in emails if "deleted in seven days" in email.subject}


async def follow(client, letter):
    form = {"token": re.search(r"token=([0-9a-f]{64})\b", letter.text)[1]}
    page = await client.get("/auth/link", params=form)
    return page.status_code, (await client.post("/auth/link", data=form)).status_code


async def make_due(db):
    async with db.write() as session:
        at = (await session.execute(select(now()))).scalar_one()
        closed = Family.delete_after.is_not(None)
        await session.execute(update(Family).where(closed).values(delete_after=at))


async def count(db, model, *where):
    async with db.read() as session:
        return (
            await session.execute(select(func.count()).select_from(model).where(*where))
        ).scalar_one()


async def test_a_closed_family_looks_as_after_its_deletion_to_everybody(home, db, jobs):
    before = await views(home)

    await close(home)
    await jobs.hasten()
    await jobs.run_due()  # too early: also the jobs that renew codes and recompute lists
    closed = await views(home)
    assert await count(db, Family) == 2
    await make_due(db)
    await jobs.enqueue(DeleteClosedFamily(family_id=home.id))
    await jobs.run_due()

    assert await count(db, Family) == 1
    deleted = await views(home)
    # A closed family still counts for the quotas of its members.
    assert {path for key, seen in deleted.items() if closed[key] != seen for path in key[1:]} == {
        "/users/me/usage"
    }
    changed = {path for (_, path), seen in before.items() if closed[_, path] != seen}
    assert {
        *("/families", f"/families/{home.id}", "/users/me/usage", "/notifications"),
        *(f"/pantry-items/{home.rice['id']}", "/meals/me", f"/meals/{home.meal['id']}"),
        *(f"/grocery-lists/{home.personal['id']}", "/grocery-lists/me", "/meal-plans/me"),
    } <= changed
    for model in (ClosedMembership, ClosedReference):
        assert await count(db, model) == 0


async def test_the_link_in_the_letter_to_each_owner_undoes_it_exactly(
    home, client, db, jobs, emails
):
    before = await views(home)
    await close(home)
    sent = await letters(jobs, emails)
    assert sent.keys() == {home.olga.user["email"], home.otto.user["email"]}
    assert "https:" not in sent[home.olga.user["email"]].text.partition("http://localhost")[0]

    assert await follow(client, sent[home.otto.user["email"]]) == (200, 200)

    after = await views(home)
    for seen in (before, after):
        for (_, path), (status, body) in seen.items():
            families = body if path == "/families" else [body] if "display_name" in body else []
            for family in families if status == 200 else ():
                family["invite_code"] = family["invite_code_expires_at"] = None
            if path.endswith("/invitations") and status == 200:
                body["items"] = []
    assert after == before
    assert await follow(client, sent[home.olga.user["email"]]) == (400, 400)
    await jobs.run_due()
    restored = [email for email in emails if "is not deleted" in email.subject]
    members = [person.user["email"] for person in (home.olga, home.otto, home.mia)]
    assert sorted(email.to for email in restored) == sorted(members)
    assert all("you can leave it" in email.text for email in restored)
    await jobs.hasten()
    await jobs.run_due()
    assert after == before
    assert await count(db, Family) == 2


async def test_a_suspended_owner_does_not_undo_it(home, client, db, jobs, emails):
    await close(home)
    sent = await letters(jobs, emails)
    async with db.write() as session:
        await session.execute(
            update(User).where(User.id == home.otto.id).values(status="suspended")
        )

    assert await follow(client, sent[home.otto.user["email"]]) == (200, 400)
    assert await follow(client, sent[home.olga.user["email"]]) == (200, 200)


async def test_a_family_that_is_closed_again_has_a_later_job_of_its_own(home, client, jobs, emails):
    """The job of the first closing runs before the seven days of the second are over."""
    await close(home)
    await follow(client, next(iter((await letters(jobs, emails)).values())))
    await close(home)

    waiting = [job.state for job in await jobs.rows("families.delete_closed")]
    assert waiting == ["queued", "queued"]


async def test_earlier_codes_of_a_closed_family_stay_dead(home, client, jobs, emails, db):
    codes = [home.family["invite_code"], home.invitation["code"], home.invitation["token"]]

    async def tries():
        return [
            (await home.stranger.post("/families/join", {"invite_code": code})).status_code
            for code in codes
        ]

    await close(home)
    async with db.write() as session:  # as a worker of an older release may renew it
        at = (await session.execute(select(now()))).scalar_one()
        renewed = {"invite_code": codes[0], "invite_code_expires_at": at + timedelta(days=1)}
        await session.execute(update(Family).where(Family.id == home.id).values(renewed))
    while_closed = await tries()
    [letter, _] = (await letters(jobs, emails)).values()
    await follow(client, letter)

    assert (while_closed, await tries()) == ([404] * 3, [404] * 3)
    assert (await client.get("/invitations", params={"token": codes[2]})).status_code == 404
    [family] = await home.olga.read("/families")
    joined = {"invite_code": family["invite_code"]}
    await home.stranger.post_ok("/families/join", joined, status=200)


async def test_what_users_do_meanwhile_survives_the_undoing(home, client, jobs, emails):
    """Mia attaches her meal elsewhere, Otto's account is deleted, and Olga's is closed."""
    await close(home)
    attached = await home.mia.post(
        f"/meals/{home.meal['id']}/attach-family", {"family_id": home.other["id"]}
    )
    assert attached.status_code == 200
    proof = await home.otto.post_ok("/auth/reauthenticate", {"password": PASSWORD}, status=200)
    with_proof = {"X-Reauth": proof["reauth_token"]}
    assert (await home.otto.delete("/users/me", headers=with_proof)).status_code == 204
    assert (await home.olga.delete("/users/me")).status_code == 204

    [family_letter] = [
        letter
        for to, letter in (await letters(jobs, emails)).items()
        if to == home.olga.user["email"]
    ]
    [account_letter] = [email for email in emails if "account is closed" in email.subject]
    assert await follow(client, family_letter) == (200, 400)  # the account must be open first
    assert await follow(client, account_letter) == (200, 200)
    assert await follow(client, family_letter) == (200, 200)

    [family, _] = await home.mia.read("/families")
    assert family["id"] == home.id
    assert (await home.mia.read(f"/meals/{home.meal['id']}"))["familyId"] == home.other["id"]
    roles = {m["user_id"]: m["role"] for m in await home.mia.read(f"/families/{home.id}/members")}
    assert (family["count"], roles) == (2, {home.olga.id: "owner", home.mia.id: "member"})


async def test_what_users_write_meanwhile_does_not_become_visible_to_the_family(
    home, client, jobs, emails
):
    """Mia changes her attached meal while she believes that the family is deleted."""
    attached = f"/meals/{home.own_meal['id']}/attach-family"
    await home.mia.post_ok(attached, {"family_id": home.id}, status=200)
    await close(home)
    [letter, _] = (await letters(jobs, emails)).values()
    path = f"/meals/{home.meal['id']}"
    changed = await home.mia.patch(f"/meals/me/{home.meal['id']}", {"notes": "private words"})
    assert changed.status_code == 200

    assert await follow(client, letter) == (200, 200)

    shown = await home.olga.read(f"/families/{home.id}/members/{home.mia.id}/meals")
    assert [meal["id"] for meal in shown] == [home.own_meal["id"]]
    assert (await home.mia.read(path))["familyId"] is None
    assert (await home.mia.read(f"/meals/{home.own_meal['id']}"))["familyId"] == home.id


async def test_a_closed_family_goes_with_the_last_account_that_could_undo_it(
    kitchen, age_sign_ins, db
):
    alice = await kitchen.person("Alice")
    family = await kitchen.family(alice)
    await kitchen.stock(alice, "Rice", family_id=family["id"])
    await age_sign_ins()
    assert (await alice.delete(f"/families/{family['id']}")).status_code == 200
    proof = await alice.post_ok("/auth/reauthenticate", {"password": PASSWORD}, status=200)

    deleted = await alice.delete("/users/me", headers={"X-Reauth": proof["reauth_token"]})

    assert deleted.status_code == 204
    assert await count(db, Family) == 0


async def test_a_closed_family_counts_for_the_quotas_of_its_members(home, client, jobs, emails, db):
    """Otherwise a user could found, fill and close families without end."""

    async def families():
        usage = await home.otto.read("/users/me/usage")
        [row] = [row for row in usage["person"] if row["quota"] == "families"]
        return row

    before = await families()
    await close(home)
    after = await families()
    assert after == before
    async with db.write() as session:
        for n in range(after["limit"] - after["used"]):
            family = Family(display_name="Full", invite_code=f"full-{n}")
            session.add(family)
            await session.flush()
            session.add(Membership(family_id=family.id, user_id=home.otto.id, role="member"))

    refused = await home.otto.post("/families", {"display_name": "One more"})
    [letter, _] = (await letters(jobs, emails)).values()

    assert (refused.status_code, refused.json()["code"]) == (403, "quota_exceeded")
    assert await follow(client, letter) == (200, 200)
    assert len(await home.otto.read("/families")) == after["limit"]


async def test_of_two_owners_who_delete_at_once_only_one_closes_the_family(home, jobs, db):
    answers = await asyncio.gather(
        *(owner.delete(f"/families/{home.id}") for owner in (home.olga, home.otto))
    )

    assert sorted(answer.status_code for answer in answers) == [200, 403]
    assert len(await jobs.rows("families.delete_closed")) == 1
    assert await count(db, ClosedMembership) == 3


async def test_proof_makes_the_deletion_final_at_once(home, jobs, emails, db):
    proof = await home.olga.post_ok("/auth/reauthenticate", {"password": PASSWORD}, status=200)
    with_proof = {"X-Reauth": proof["reauth_token"]}

    deleted = await home.olga.delete(f"/families/{home.id}", headers=with_proof)

    assert (deleted.status_code, deleted.json()) == (200, {"ok": True})
    assert await count(db, Family) == 1
    assert await letters(jobs, emails) == {}
