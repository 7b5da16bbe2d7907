"""A deleted account leaves no data behind, and no family without an owner."""

import asyncio
from pathlib import Path

from sqlalchemy import func, select

from freshly.domains.ingredients.models import Ingredient
from freshly.domains.users.models import Activity
from freshly.wiring.tables import all_tables
from tests.domains.account.conftest import UNMISTAKABLE_ID
from tests.support.api import PASSWORD
from tests.support.pictures import picture


async def rows_as_text(db):
    """Return each row of the database as one text."""
    async with db.read() as session:
        return [
            f"{table.name}: " + " | ".join(map(str, row))
            for table in all_tables().sorted_tables
            for row in await session.execute(select(table))
        ]


async def row_counts(db):
    async with db.read() as session:
        return {
            table.name: await session.scalar(select(func.count()).select_from(table))
            for table in all_tables().sorted_tables
        }


def files_in(folder):
    return [str(path.relative_to(folder)) for path in Path(folder).rglob("*") if path.is_file()]


DATA_OF_ZORA = (str(UNMISTAKABLE_ID), "zoraida", "555 0199")


def texts_about_zora(texts):
    return [text for text in texts if any(fact in text.lower() for fact in DATA_OF_ZORA)]


async def test_deleting_an_account_removes_every_row_and_file_that_names_its_user(
    home, db, settings, jobs
):
    folder = settings.data_dir / "files"
    await home.zora.post_ok("/users/me/export", status=202)
    await jobs.run_due()
    await home.zora.post_ok("/users/me/export", status=202)  # a second export stays queued
    tables_before = {line.partition(":")[0] for line in texts_about_zora(await rows_as_text(db))}
    assert len(tables_before) > 15  # the search finds her data
    # An avatar in two sizes, a picture and an export.
    assert len(texts_about_zora(files_in(folder))) == 4

    assert (await home.zora.delete("/users/me")).status_code == 204
    await jobs.run_due()

    # One job is left. It looks for late uploads.
    [waiting_job] = texts_about_zora(await rows_as_text(db))
    assert "account.remove_files" in waiting_job
    assert texts_about_zora(files_in(folder)) == []
    await jobs.hasten()
    await jobs.run_due()
    assert texts_about_zora(await rows_as_text(db)) == []


async def test_a_file_that_arrives_after_its_user_was_deleted_is_removed(
    kitchen, client, settings, jobs, app
):
    alice = await kitchen.person("Alice")
    link = (await alice.post_ok("/storage/avatar/signed_url", status=200))["signedUrl"]
    await alice.delete("/users/me")
    await jobs.run_due()

    assert (await client.put(link, content=picture())).status_code == 403
    # An upload that began before the deletion ends after it.
    await app.resources.objects.put("users", f"{alice.id}/profile-x.jpg", picture())
    assert len(files_in(settings.data_dir / "files")) == 1
    await jobs.hasten()
    await jobs.run_due()

    assert files_in(settings.data_dir / "files") == []


async def test_the_id_of_a_deleted_user_is_never_used_again(kitchen):
    """Otherwise the next user would see late uploads, and the cleanup would delete new files."""
    alice = await kitchen.person("Alice")

    await alice.delete("/users/me")

    assert (await kitchen.person("Bob")).id > alice.id


async def test_only_rows_that_other_users_share_stay_after_a_deletion(home, db):
    """Only what the family shares is left, and what Bob accepted from Zora."""
    await home.zora.delete("/users/me")

    remaining = await row_counts(db)
    assert (remaining["users"], remaining["families"], remaining["family_memberships"]) == (1, 1, 1)
    assert (
        remaining["notifications"]
        == remaining["meal_share_requests"]
        == remaining["account_codes"]
        == remaining["account_links"]
        == 0
    )
    assert remaining["chat_conversations"] == remaining["chat_messages"] == 0
    assert remaining["sign_ins"] == remaining["refresh_tokens"] == 1
    # The family keeps its plan, list, pantry and recipe. Bob keeps the accepted meal.
    shared = ("meal_plans", "grocery_lists", "pantry_items", "recipes")
    assert {table: remaining[table] for table in shared} == dict.fromkeys(shared, 1)
    meals = {meal["name"] for meal in await home.bob.read("/meals/me")}
    assert meals == {"Bob's pasta", "Her soup"}


async def test_foods_of_a_deleted_user_are_deleted_and_those_of_the_family_stay(home, db):
    await home.zora.delete("/users/me")

    async with db.read() as session:
        names = set(await session.scalars(select(Ingredient.name)))
    assert names & {"Common rice", "Her own rice", "Zoraida's jam"} == {"Common rice"}
    assert "Common rice" in {row["name"] for row in await home.bob.read("/ingredients")}


async def test_the_operator_sees_a_deletion_but_not_whose_account_it_was(home, db):
    deleted = await home.zora.delete("/users/me")

    async with db.read() as session:
        rows = await session.scalars(select(Activity).where(Activity.user_id.is_(None)))
        [activity] = rows.all()
    assert activity.kind == "account_deleted"
    assert activity.correlation_id == deleted.headers["X-Correlation-ID"]
    personal = (activity.other_user_id, activity.family_id, activity.address, activity.user_agent)
    assert {*personal, activity.session_id, activity.detail} == {None}


async def test_a_deleted_user_is_signed_out_and_may_sign_up_again(kitchen, client):
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
    new_alice = await kitchen.person("Alice", email="alice@example.com")
    assert await new_alice.read("/meals/me") == []


async def roles_in(family, person):
    members = await person.read(f"/families/{family['id']}/members")
    return {member["user_id"]: member["role"] for member in members}


async def test_the_admin_who_joined_first_inherits_the_family(kitchen):
    names = ("Alice", "Bob", "Carol", "Dan")
    alice, bob, carol, dan = [await kitchen.person(name) for name in names]
    family = await kitchen.family(alice, bob, carol, dan)
    path = f"/families/{family['id']}/members"
    for admin in (dan, carol):  # Carol is promoted after Dan, but joined before Dan
        await alice.patch(f"{path}/{admin.id}/role", {"role": "admin"})

    await alice.delete("/users/me")

    roles = await roles_in(family, bob)
    assert roles == {bob.id: "member", carol.id: "owner", dan.id: "admin"}
    activity = (await carol.read("/users/me/activity"))["items"][0]
    assert (activity["kind"], activity["detail"], activity["other_user_id"]) == (
        "role_given",
        "owner",
        None,
    )


async def test_without_an_admin_the_member_who_joined_first_inherits_the_family(kitchen):
    alice, bob, carol = [await kitchen.person(name) for name in ("Alice", "Bob", "Carol")]
    family = await kitchen.family(alice, bob, carol)

    await alice.delete("/users/me")

    assert await roles_in(family, carol) == {bob.id: "owner", carol.id: "member"}


async def test_a_family_with_a_second_owner_gets_no_new_owner(kitchen):
    alice, bob, carol = [await kitchen.person(name) for name in ("Alice", "Bob", "Carol")]
    family = await kitchen.family(alice, bob, carol)
    await alice.patch(f"/families/{family['id']}/members/{carol.id}/role", {"role": "owner"})

    await alice.delete("/users/me")

    assert await roles_in(family, bob) == {bob.id: "member", carol.id: "owner"}


async def test_a_family_is_deleted_with_its_last_member(kitchen, db):
    alice, bob = await kitchen.person("Alice"), await kitchen.person("Bob")
    family = await kitchen.family(alice, bob)
    await kitchen.stock(alice, "Common rice", 1, "kg", family_id=family["id"])

    await alice.delete("/users/me")
    assert (await row_counts(db))["families"] == 1
    await bob.delete("/users/me")

    remaining = await row_counts(db)
    assert (
        remaining["families"] == remaining["pantry_items"] == remaining["family_memberships"] == 0
    )


async def test_members_who_delete_their_accounts_at_once_leave_no_family_behind(kitchen, db):
    users = [await kitchen.person(name) for name in ("Alice", "Bob", "Carol")]
    await kitchen.family(*users)

    responses = await asyncio.gather(*(user.delete("/users/me") for user in users))
    assert {response.status_code for response in responses} == {204}

    remaining = await row_counts(db)
    assert remaining["users"] == remaining["families"] == remaining["family_memberships"] == 0
