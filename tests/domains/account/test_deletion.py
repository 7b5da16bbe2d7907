"""Who deletes their account leaves nothing behind, and no family without an owner."""

import asyncio
from contextvars import Context
from pathlib import Path

import pytest
from sqlalchemy import func, insert, select

from freshly.domains.pantry.models import PantryItem
from freshly.domains.users.models import Activity
from freshly.wiring.tables import all_tables
from tests.domains.account.conftest import UNMISTAKABLE
from tests.support.api import PASSWORD
from tests.support.pictures import picture


async def everything(db):
    """Each row of the database as one text."""
    async with db.read() as session:
        return [
            f"{table.name}: " + " | ".join(map(str, row))
            for table in all_tables().sorted_tables
            for row in await session.execute(select(table))
        ]


async def counts(db):
    async with db.read() as session:
        return {
            table.name: await session.scalar(select(func.count()).select_from(table))
            for table in all_tables().sorted_tables
        }


def files_in(folder):
    return [str(path.relative_to(folder)) for path in Path(folder).rglob("*") if path.is_file()]


MARKS = (str(UNMISTAKABLE), "zoraida", "555 0199")


def traces(texts):
    return [text for text in texts if any(mark in text.lower() for mark in MARKS)]


async def test_neither_row_nor_file_tells_of_somebody_who_is_gone(home, db, settings, jobs):
    folder = settings.data_dir / "files"
    await home.zora.post_ok("/users/me/export", status=202)
    await jobs.run_due()
    await home.zora.post_ok("/users/me/export", status=202)  # and one that waits
    before = {line.partition(":")[0] for line in traces(await everything(db))}
    assert len(before) > 15  # there was something to be found
    assert len(traces(files_in(folder))) == 4  # an avatar in two sizes, a picture, an export

    assert (await home.zora.delete("/users/me")).status_code == 204
    await jobs.run_due()

    # One job waits, to look once more.
    [waiting] = traces(await everything(db))
    assert "account.remove_files" in waiting
    assert traces(files_in(folder)) == []
    await jobs.hasten()
    await jobs.run_due()
    assert traces(await everything(db)) == []


async def test_what_is_uploaded_after_its_person_is_gone_goes_too(kitchen, client, settings, jobs):
    alice = await kitchen.person("Alice")
    link = (await alice.post_ok("/storage/avatar/signed_url", status=200))["signedUrl"]
    await alice.delete("/users/me")
    await jobs.run_due()

    late = await client.put(link, content=picture())
    assert late.status_code == 204
    assert len(files_in(settings.data_dir / "files")) == 1
    await jobs.hasten()
    await jobs.run_due()

    assert files_in(settings.data_dir / "files") == []


async def test_an_id_is_never_given_again(kitchen):
    """Or the next person would find what was uploaded late, and lose what they upload."""
    alice = await kitchen.person("Alice")

    await alice.delete("/users/me")

    assert (await kitchen.person("Bob")).id > alice.id


async def test_nothing_is_left_that_was_nobody_elses(home, db):
    """As if they had only ever shared what the family keeps."""
    await home.zora.delete("/users/me")

    left = await counts(db)
    assert (left["users"], left["families"], left["family_memberships"]) == (1, 1, 1)
    assert left["notifications"] == left["meal_share_requests"] == left["email_codes"] == 0
    assert left["chat_conversations"] == left["chat_messages"] == 0
    assert left["sign_ins"] == left["refresh_tokens"] == 1
    # The family keeps its plan, its list, its shelves and its recipe; Bob keeps what he accepted.
    shared = ("meal_plans", "grocery_lists", "pantry_items", "recipes")
    assert {table: left[table] for table in shared} == dict.fromkeys(shared, 1)
    meals = {meal["name"] for meal in await home.bob.read("/meals/me")}
    assert meals == {"Bob's pasta", "Her soup"}


async def test_the_catalogue_keeps_what_others_use_of_somebody_who_is_gone(home):
    await home.zora.delete("/users/me")

    async def named(name):
        found = await home.bob.read("/ingredients", search=name)
        return [one["name"] for one in found if one["name"] == name]

    assert await named("Common rice") == ["Common rice"]
    assert await named("Her own rice") == []
    assert await named("Zoraida's jam") == []


async def test_what_somebody_dislikes_stays_in_the_catalogue(kitchen):
    alice, bob = await kitchen.person("Alice"), await kitchen.person("Bob")
    disliked = await kitchen.ingredient(alice, "Liquorice of the north")
    forgotten = await kitchen.ingredient(alice, "Liquorice of the south")
    await bob.patch("/preferences/me", {"disliked_ingredient_ids": [disliked["id"]]})

    await alice.delete("/users/me")

    assert (await bob.get(f"/ingredients/{disliked['id']}")).status_code == 200
    assert (await bob.get(f"/ingredients/{forgotten['id']}")).status_code == 404


@pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
async def test_what_somebody_begins_to_use_in_that_moment_stays_too(kitchen, db):
    alice, bob = await kitchen.person("Alice"), await kitchen.person("Bob")
    jam = await kitchen.ingredient(alice, "Test jam")

    async with db.write() as session:  # Bob's request, which is not over yet
        await session.execute(
            insert(PantryItem).values(ingredient_id=jam["id"], owner_user_id=bob.id, quantity=None)
        )
        leaving = asyncio.create_task(alice.delete("/users/me"), context=Context())
        await asyncio.sleep(0.5)  # she has come as far as she can
        assert not leaving.done()

    assert (await leaving).status_code == 204
    assert [item["ingredient_name"] for item in await bob.read("/pantry-items/me")] == ["Test jam"]


async def test_the_operator_sees_that_there_was_a_deletion_and_not_whose(home, db):
    gone = await home.zora.delete("/users/me")

    async with db.read() as session:
        rows = await session.scalars(select(Activity).where(Activity.user_id.is_(None)))
        [trace] = rows.all()
    assert trace.kind == "account_deleted"
    assert trace.correlation_id == gone.headers["X-Correlation-ID"]
    personal = (trace.other_user_id, trace.family_id, trace.address, trace.user_agent)
    assert {*personal, trace.session_id, trace.detail} == {None}


async def test_somebody_who_is_gone_is_out_and_may_come_again(kitchen, client):
    alice = await kitchen.person("Alice", email="alice@example.com")
    phone = await kitchen.sign_in("alice@example.com")
    assert (await alice.get("/meals/me")).status_code == 200

    await alice.delete("/users/me")

    assert (await alice.get("/users/me")).json()["detail"] == "User not found"
    assert (await alice.get("/meals/me")).status_code == 401
    token = {"refresh_token": phone["refresh_token"]}
    assert (await client.post("/auth/refresh", json=token)).status_code == 401
    account = {"email": "alice@example.com", "password": PASSWORD}
    assert (await client.post("/auth/login", json=account)).status_code == 401
    again = await kitchen.person("Alice", email="alice@example.com")
    assert await again.read("/meals/me") == []


async def members_of(family, person):
    members = await person.read(f"/families/{family['id']}/members")
    return {member["user_id"]: member["role"] for member in members}


async def test_the_longest_standing_admin_inherits_a_family(kitchen):
    names = ("Alice", "Bob", "Carol", "Dan")
    alice, bob, carol, dan = [await kitchen.person(name) for name in names]
    family = await kitchen.family(alice, bob, carol, dan)
    path = f"/families/{family['id']}/members"
    for admin in (dan, carol):  # promoted later, but longer in the family
        await alice.patch(f"{path}/{admin.id}/role", {"role": "admin"})

    await alice.delete("/users/me")

    roles = await members_of(family, bob)
    assert roles == {bob.id: "member", carol.id: "owner", dan.id: "admin"}
    given = (await carol.read("/users/me/activity"))["items"][0]
    assert (given["kind"], given["detail"], given["other_user_id"]) == ("role_given", "owner", None)


async def test_else_the_longest_standing_member_does(kitchen):
    alice, bob, carol = [await kitchen.person(name) for name in ("Alice", "Bob", "Carol")]
    family = await kitchen.family(alice, bob, carol)

    await alice.delete("/users/me")

    assert await members_of(family, carol) == {bob.id: "owner", carol.id: "member"}


async def test_a_second_owner_is_owner_enough(kitchen):
    alice, bob, carol = [await kitchen.person(name) for name in ("Alice", "Bob", "Carol")]
    family = await kitchen.family(alice, bob, carol)
    await alice.patch(f"/families/{family['id']}/members/{carol.id}/role", {"role": "owner"})

    await alice.delete("/users/me")

    assert await members_of(family, bob) == {bob.id: "member", carol.id: "owner"}


async def test_a_family_goes_with_the_last_who_was_in_it(kitchen, db):
    alice, bob = await kitchen.person("Alice"), await kitchen.person("Bob")
    family = await kitchen.family(alice, bob)
    await kitchen.stock(alice, "Common rice", 1, "kg", family_id=family["id"])

    await alice.delete("/users/me")
    assert (await counts(db))["families"] == 1
    await bob.delete("/users/me")

    left = await counts(db)
    assert left["families"] == left["pantry_items"] == left["family_memberships"] == 0


async def test_everybody_leaving_at_once_leaves_no_family_behind(kitchen, db):
    people = [await kitchen.person(name) for name in ("Alice", "Bob", "Carol")]
    await kitchen.family(*people)

    answers = await asyncio.gather(*(person.delete("/users/me") for person in people))
    assert {answer.status_code for answer in answers} == {204}

    left = await counts(db)
    assert left["users"] == left["families"] == left["family_memberships"] == 0
