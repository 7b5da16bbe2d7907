"""An export holds all data of one user in a zip file, and no data of other users."""

import json
import time
import tracemalloc
from datetime import UTC, datetime, timedelta
from io import BytesIO
from zipfile import ZipFile

import pytest
from sqlalchemy import insert, select, update

from freshly.chassis.data.functions import now
from freshly.chassis.jobs import JobContext, LeaseLost
from freshly.chassis.ports.object_storage import StorageUnavailable
from freshly.chassis.security.signed_urls import SignedUrls
from freshly.domains.account.data_ownership import TABLE_OWNERSHIP
from freshly.domains.account.files import EXPORTS_LIVE, PersonalFiles
from freshly.domains.account.handlers import export
from freshly.domains.account.jobs import Export, PurgeAccounts
from freshly.domains.auth.models import AuthSession
from freshly.domains.users.activity import KEPT_FOR
from freshly.domains.users.models import Activity
from tests.domains.account.conftest import UNMISTAKABLE_ID
from tests.support.api import PASSWORD


@pytest.fixture
def files(app, settings):
    return PersonalFiles(app.resources.objects, settings)


@pytest.fixture
def export_of(jobs, client):
    """Return a function that requests an export, runs the worker and downloads the zip file."""

    async def download(person):
        queued = await person.post_ok("/users/me/export", status=202)
        assert (queued["kind"], queued["state"]) == ("account.export", "queued")
        await jobs.run_due()
        job = await person.read(f"/jobs/{queued['id']}")
        assert (job["state"], job["progress"], job["error"]) == ("done", 1, None)
        assert (await client.get(job["result_url"])).status_code == 401
        response = await person.get(job["result_url"])
        assert response.status_code == 200
        assert response.headers["Cache-Control"] == "no-store"
        assert response.headers["Content-Disposition"].startswith("attachment;")
        assert response.headers["Content-Type"] == "application/zip"
        with ZipFile(BytesIO(response.content)) as archive:
            assert archive.testzip() is None
            return {name: archive.read(name) for name in archive.namelist()}

    return download


def rows_of(archive, name):
    return json.loads(archive[f"data/{name}.json"])


async def test_an_export_has_rows_of_every_kind_that_its_user_has(home, export_of):
    archive = await export_of(home.zora)

    rows = {table.name: rows_of(archive, table.name) for table in TABLE_OWNERSHIP.values()}
    always_empty = {"google_and_apple", "recipe_ingredients", "recipe_diet_tags"}
    assert {name for name, file_rows in rows.items() if not file_rows} == always_empty
    for ownership in TABLE_OWNERSHIP.values():
        for row in rows[ownership.name]:
            assert list(row) == ownership.exported
    [profile] = rows["profile"]
    assert (profile["id"], profile["name"]) == (UNMISTAKABLE_ID, "Zoraida")
    assert {row["display_name"] for row in rows["families"]} == {"Bob's", "Zora's own"}
    assert {row["name"] for row in rows["meals"]} == {"Her soup", "Bob's pasta"}
    # The family's pantry is not in a user's export.
    assert {row["owner_user_id"] for row in rows["pantry"]} == {UNMISTAKABLE_ID}
    assert [row["quantity"] for row in rows["pantry"]] == ["1.000", "1.000"]
    assert len(rows["meal_plans"]) == len(rows["grocery_lists"]) == 3
    assert len(rows["meal_plan_meals"]) == 3
    assert {row["type"] for row in rows["notifications"]} >= {"meal_share_request"}


async def test_an_export_has_the_users_pictures_and_a_readme(home, export_of):
    archive = await export_of(home.zora)

    pictures = [name for name in archive if name.startswith("files/")]
    assert sorted(name.split("/")[1] for name in pictures) == ["avatar", "avatar", "chat_pictures"]
    for name in pictures:
        assert archive[name].startswith((b"\x89PNG", b"\xff\xd8"))
    readme = archive["README.txt"].decode()
    assert all(f"{ownership.name}.json" in readme for ownership in TABLE_OWNERSHIP.values())
    assert "users.hashed_password" not in readme
    assert "profile.hashed_password" in readme


async def test_an_export_has_no_secrets_and_no_data_of_other_users(home, export_of):
    archive = await export_of(home.zora)
    text = b"".join(archive.values()).decode(errors="replace")

    tokens = (*home.zora.tokens.values(), *home.bob.tokens.values())
    codes = (home.bobs_family["invite_code"], home.zoras_family["invite_code"])
    assert [secret for secret in (*tokens, PASSWORD, "$argon2") if secret in text] == []
    assert [code for code in codes if f'"{code}"' in text] == []
    assert home.bob.user["email"] not in text
    bobs = await export_of(home.bob)
    assert rows_of(bobs, "conversations") == rows_of(bobs, "pantry") == []
    assert "zoraida.unmistakable" not in b"".join(bobs.values()).decode(errors="replace")


async def test_an_export_has_no_rows_of_a_family_that_the_user_left(home, export_of):
    family_id = home.bobs_family["id"]
    await home.zora.delete(f"/families/{family_id}/members/{home.zora.id}")

    archive = await export_of(home.zora)

    for name in ("recipes_i_wrote", "meal_plans", "grocery_lists", "memberships"):
        assert all(row["family_id"] != family_id for row in rows_of(archive, name)), name
    assert len(rows_of(archive, "meal_plans")) == 2
    assert {meal["name"] for meal in rows_of(archive, "meals")} == {"Her soup", "Bob's pasta"}


async def test_an_export_of_many_rows_has_all_of_them(home, export_of):
    for number in range(250):
        await home.zora.post_ok(
            "/recipes", {"family_id": home.zoras_family["id"], "title": f"No. {number}"}
        )

    archive = await export_of(home.zora)

    titles = [row["title"] for row in rows_of(archive, "recipes_i_wrote")]
    assert titles[1:] == [f"No. {number}" for number in range(250)]


async def test_a_large_export_is_stored_and_read_without_loading_it_into_memory(files, tmp_path):
    large = tmp_path / "large.zip"
    with large.open("wb") as out:
        for _ in range(64):
            out.write(bytes(2**20))
    tracemalloc.start()

    path = await files.keep_export(1, large)
    size = 0
    pieces = await files.objects.stream("exports", path)
    async for piece in pieces:
        size += len(piece)

    assert size == 64 * 2**20
    assert tracemalloc.get_traced_memory()[1] < 16 * 2**20
    tracemalloc.stop()


async def test_exports_are_deleted_when_they_have_expired(files, tmp_path):
    zipped = tmp_path / "export.zip"
    zipped.write_bytes(b"zip")
    path = await files.keep_export(12, zipped)

    link_expires = time.time() + EXPORTS_LIVE.total_seconds()
    assert await files.drop_exports(link_expires - 60) == 0
    assert await files.objects.get("exports", path) == b"zip"
    assert await files.drop_exports(link_expires + 1) == 1
    assert await files.objects.get("exports", path) is None


async def test_an_account_without_data_can_be_exported_too(kitchen, export_of):
    alice = await kitchen.person("Alice")

    archive = await export_of(alice)

    assert len(rows_of(archive, "profile")) == 1
    assert archive["data/meals.json"] == b"[]\n"


async def test_an_export_that_is_requested_twice_runs_once(kitchen, jobs):
    alice, bob = await kitchen.person("Alice"), await kitchen.person("Bob")

    first, second = [await alice.post_ok("/users/me/export", status=202) for _ in range(2)]
    other = await bob.post_ok("/users/me/export", status=202)
    await jobs.run_due()

    assert first["id"] == second["id"] != other["id"]
    assert [row.state for row in await jobs.rows("account.export")] == ["done", "done"]
    activities = (await alice.read("/users/me/activity"))["items"]
    outcomes = [activity["outcome"] for activity in activities if activity["kind"] == "export"]
    assert outcomes == ["done", "asked", "asked"]


async def test_an_export_is_only_for_its_signed_in_user(kitchen, jobs, client):
    alice, bob = await kitchen.person("Alice"), await kitchen.person("Bob")
    queued = await alice.post_ok("/users/me/export", status=202)
    await jobs.run_due()
    link = (await alice.read(f"/jobs/{queued['id']}"))["result_url"]

    assert (await bob.get(f"/jobs/{queued['id']}")).status_code == 404
    assert (await bob.get(link)).status_code == 404
    assert (await client.get(link)).status_code == 401
    assert (await alice.get(link)).status_code == 200
    await alice.post("/auth/logout")
    assert (await alice.get(link)).status_code == 401


async def test_an_export_can_be_downloaded_for_an_hour(kitchen, files, tmp_path, app):
    alice = await kitchen.person("Alice")
    zipped = tmp_path / "export.zip"
    zipped.write_bytes(b"zip")
    fresh = (await files.keep_export(alice.id, zipped)).rpartition("/")[2]
    expires, _, random = fresh.partition("-")
    old = f"{int(expires) - 3601}-{random}"
    await app.resources.objects.put("exports", f"{alice.id}/{old}", b"zip")

    assert 3590 < int(expires) - time.time() <= 3600
    assert (await alice.get(f"/users/me/exports/{fresh}")).content == b"zip"
    for name in (old, "x.zip", f"..%2F{alice.id}%2F{fresh}"):
        assert (await alice.get(f"/users/me/exports/{name}")).status_code in (404, 405), name


async def test_a_signed_link_of_the_previous_release_opens_no_export(kitchen, files, app, tmp_path):
    alice = await kitchen.person("Alice")
    zipped = tmp_path / "export.zip"
    zipped.write_bytes(b"zip")
    path = await files.keep_export(alice.id, zipped)
    links = SignedUrls("", app.resources.url_signer)

    refused = await alice.get(links.signed("exports", path, timedelta(days=7))[0])

    assert refused.status_code == 403


async def test_an_access_token_alone_exports_nothing(kitchen, db, jobs):
    alice = await kitchen.person("Alice")
    async with db.write() as session:
        at = (await session.execute(select(now()))).scalar_one()
        await session.execute(update(AuthSession).values(created_at=at - timedelta(minutes=16)))

    refused = await alice.post("/users/me/export")

    assert (refused.status_code, refused.json()["code"]) == (403, "reauthentication_required")
    assert await jobs.rows("account.export") == []
    proof = await alice.post_ok("/auth/reauthenticate", {"password": PASSWORD}, status=200)
    headers = {"X-Reauth": proof["reauth_token"]}
    assert (await alice.post("/users/me/export", headers=headers)).status_code == 202


async def test_no_export_is_stored_for_a_user_who_was_deleted_before_it_ran(
    kitchen, jobs, files, app
):
    alice = await kitchen.person("Alice")
    queued = await alice.post_ok("/users/me/export", status=202)
    row = await jobs.row(queued["id"])

    await alice.delete("/users/me")
    with pytest.raises(LeaseLost):
        await export(Export(), JobContext(row.id, alice.id, row.lease, app.resources))

    assert await jobs.rows("account.export") == []
    assert await files.objects.list_paths("exports", "") == []


async def test_an_export_is_retried_when_the_object_storage_is_unavailable(kitchen, jobs, app):
    alice = await kitchen.person("Alice")
    queued = await alice.post_ok("/users/me/export", status=202)
    folder = app.resources.settings.data_dir / "files"
    (folder / "exports").write_text("in the way")

    await jobs.run_due()
    waiting = await alice.read(f"/jobs/{queued['id']}")
    (folder / "exports").unlink()
    await jobs.hasten()
    await jobs.run_due()

    assert (waiting["state"], waiting["result_url"]) == ("queued", None)
    assert waiting["error"] == StorageUnavailable.detail
    assert (await alice.read(f"/jobs/{queued['id']}"))["state"] == "done"


async def test_the_hourly_purge_deletes_old_exports_and_old_activities(kitchen, jobs, files, db):
    alice = await kitchen.person("Alice")
    await files.objects.put("exports", f"{alice.id}/1000-long-ago.zip", b"zip")
    async with db.write() as session:
        facts = {"user_id": alice.id, "kind": "sign_out", "outcome": "done"}
        old = datetime.now(UTC) - timedelta(days=KEPT_FOR.days + 1)
        await session.execute(
            insert(Activity).values(**facts, created_at=old, correlation_id="long-ago")
        )

    await jobs.enqueue(PurgeAccounts())
    await jobs.run_due()

    assert await files.objects.list_paths("exports", "") == []
    activities = (await alice.read("/users/me/activity"))["items"]
    assert [activity["kind"] for activity in activities] == ["sign_in"]
