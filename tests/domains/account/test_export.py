"""Everything of a person in one zip, and nothing of anybody else."""

import json
import time
import tracemalloc
from datetime import UTC, datetime, timedelta
from io import BytesIO
from urllib.parse import parse_qs
from zipfile import ZipFile

import pytest
from sqlalchemy import insert

from freshly.chassis.jobs import JobContext, LeaseLost
from freshly.chassis.ports.object_storage import StorageUnavailable
from freshly.domains.account.data_ownership import BELONGINGS
from freshly.domains.account.files import EXPORTS_LIVE, PersonalFiles
from freshly.domains.account.handlers import export
from freshly.domains.account.jobs import Export, PurgeAccounts
from freshly.domains.users.activity import KEPT_FOR
from freshly.domains.users.models import Activity
from tests.domains.account.conftest import UNMISTAKABLE
from tests.support.api import PASSWORD


@pytest.fixture
def files(app, settings):
    return PersonalFiles(app.resources.objects, settings)


@pytest.fixture
def exported(jobs, client):
    """Asks for it, lets the worker work, and follows the link."""

    async def export(person):
        asked = await person.post_ok("/users/me/export", status=202)
        assert (asked["kind"], asked["state"]) == ("account.export", "queued")
        await jobs.run_due()
        job = await person.read(f"/jobs/{asked['id']}")
        assert (job["state"], job["progress"], job["error"]) == ("done", 1, None)
        answer = await client.get(job["result_url"])  # without a token: the link is the key
        assert answer.status_code == 200
        assert answer.headers["Content-Type"] == "application/zip"
        with ZipFile(BytesIO(answer.content)) as archive:
            assert archive.testzip() is None
            return {name: archive.read(name) for name in archive.namelist()}

    return export


def rows_of(archive, name):
    return json.loads(archive[f"data/{name}.json"])


async def test_there_is_something_of_everything_that_a_person_has(home, exported):
    archive = await exported(home.zora)

    rows = {one.name: rows_of(archive, one.name) for one in BELONGINGS.values()}
    nobody_has = {"google_and_apple", "recipe_ingredients", "recipe_diet_tags"}
    assert {name for name, found in rows.items() if not found} == nobody_has
    for belonging in BELONGINGS.values():
        for row in rows[belonging.name]:
            assert list(row) == belonging.exported
    [profile] = rows["profile"]
    assert (profile["id"], profile["name"]) == (UNMISTAKABLE, "Zoraida")
    assert {one["display_name"] for one in rows["families"]} == {"Bob's", "Zora's own"}
    assert {one["name"] for one in rows["meals"]} == {"Her soup", "Bob's pasta"}
    # What the family has in common is the family's.
    assert {one["owner_user_id"] for one in rows["pantry"]} == {UNMISTAKABLE}
    assert [one["quantity"] for one in rows["pantry"]] == ["1.000", "1.000"]
    assert len(rows["meal_plans"]) == len(rows["grocery_lists"]) == 3
    assert len(rows["meal_plan_meals"]) == 3
    assert {one["type"] for one in rows["notifications"]} >= {"meal_share_request"}


async def test_its_pictures_are_in_it_and_a_text_that_explains_it(home, exported):
    archive = await exported(home.zora)

    pictures = [name for name in archive if name.startswith("files/")]
    assert sorted(name.split("/")[1] for name in pictures) == ["avatar", "avatar", "chat_pictures"]
    for name in pictures:
        assert archive[name].startswith((b"\x89PNG", b"\xff\xd8"))
    told = archive["README.txt"].decode()
    assert all(f"{belonging.name}.json" in told for belonging in BELONGINGS.values())
    assert "users.hashed_password" not in told
    assert "profile.hashed_password" in told


async def test_no_secret_and_nothing_of_others_is_in_it(home, exported):
    archive = await exported(home.zora)
    text = b"".join(archive.values()).decode(errors="replace")

    tokens = (*home.zora.tokens.values(), *home.bob.tokens.values())
    codes = (home.theirs["invite_code"], home.hers["invite_code"])
    assert [one for one in (*tokens, PASSWORD, "$argon2") if one in text] == []
    assert [code for code in codes if f'"{code}"' in text] == []
    assert home.bob.user["email"] not in text
    bobs = await exported(home.bob)
    assert rows_of(bobs, "conversations") == rows_of(bobs, "pantry") == []
    assert "zoraida.unmistakable" not in b"".join(bobs.values()).decode(errors="replace")


async def test_who_left_a_family_takes_none_of_it_along(home, exported):
    theirs = home.theirs["id"]
    await home.zora.delete(f"/families/{theirs}/members/{home.zora.id}")

    archive = await exported(home.zora)

    for name in ("recipes_i_wrote", "meal_plans", "grocery_lists", "memberships"):
        assert all(row["family_id"] != theirs for row in rows_of(archive, name)), name
    assert len(rows_of(archive, "meal_plans")) == 2
    assert {one["name"] for one in rows_of(archive, "meals")} == {"Her soup", "Bob's pasta"}


async def test_much_of_it_comes_in_pieces_and_none_is_lost(home, exported):
    for number in range(250):
        await home.zora.post_ok(
            "/recipes", {"family_id": home.hers["id"], "title": f"No. {number}"}
        )

    archive = await exported(home.zora)

    titles = [row["title"] for row in rows_of(archive, "recipes_i_wrote")]
    assert titles[1:] == [f"No. {number}" for number in range(250)]


async def test_a_large_export_is_kept_and_read_again_without_being_held(files, tmp_path):
    large = tmp_path / "large.zip"
    with large.open("wb") as out:
        for _ in range(64):
            out.write(bytes(2**20))
    tracemalloc.start()

    path = await files.keep_export(1, large)
    size = 0
    pieces = await files.objects.pieces("exports", path)
    async for piece in pieces:
        size += len(piece)

    assert size == 64 * 2**20
    assert tracemalloc.get_traced_memory()[1] < 16 * 2**20
    tracemalloc.stop()


async def test_exports_are_dropped_when_their_links_have_expired(files, tmp_path):
    zipped = tmp_path / "export.zip"
    zipped.write_bytes(b"zip")
    path = await files.keep_export(12, zipped)

    soon = time.time() + EXPORTS_LIVE.total_seconds()
    assert await files.drop_exports(soon - 60) == 0
    assert await files.objects.get("exports", path) == b"zip"
    assert await files.drop_exports(soon + 3660) == 1
    assert await files.objects.get("exports", path) is None


async def test_an_empty_account_has_a_zip_too(kitchen, exported):
    alice = await kitchen.person("Alice")

    archive = await exported(alice)

    assert len(rows_of(archive, "profile")) == 1
    assert archive["data/meals.json"] == b"[]\n"


async def test_asked_for_twice_it_is_made_once(kitchen, jobs):
    alice, bob = await kitchen.person("Alice"), await kitchen.person("Bob")

    first, second = [await alice.post_ok("/users/me/export", status=202) for _ in range(2)]
    other = await bob.post_ok("/users/me/export", status=202)
    await jobs.run_due()

    assert first["id"] == second["id"] != other["id"]
    assert [row.state for row in await jobs.rows("account.export")] == ["done", "done"]
    told = (await alice.read("/users/me/activity"))["items"]
    outcomes = [one["outcome"] for one in told if one["kind"] == "export"]
    assert outcomes == ["done", "asked", "asked"]


async def test_the_link_is_ones_own_and_expires(kitchen, jobs, client, files):
    alice, bob = await kitchen.person("Alice"), await kitchen.person("Bob")
    asked = await alice.post_ok("/users/me/export", status=202)
    await jobs.run_due()
    link = (await alice.read(f"/jobs/{asked['id']}"))["result_url"]

    assert (await bob.get(f"/jobs/{asked['id']}")).status_code == 404
    path, _, query = link.partition("?")
    assert (await client.get(path)).status_code == 403
    expires = parse_qs(query)["expires"][0]
    later = query.replace(expires, str(int(expires) + 1))
    assert (await client.get(f"{path}?{later}")).status_code == 403
    assert 0 <= int(expires) - time.time() - EXPORTS_LIVE.total_seconds() <= 3600
    await files.drop_exports(int(expires) - 1)
    assert (await client.get(link)).status_code == 200
    await files.drop_exports(int(expires) + 3601)
    assert (await client.get(link)).status_code == 404


async def test_who_is_gone_before_it_was_made_leaves_no_zip(kitchen, jobs, files, app):
    alice = await kitchen.person("Alice")
    asked = await alice.post_ok("/users/me/export", status=202)
    row = await jobs.row(asked["id"])

    await alice.delete("/users/me")
    with pytest.raises(LeaseLost):
        await export(Export(), JobContext(row.id, alice.id, row.lease, app.resources))

    assert await jobs.rows("account.export") == []
    assert await files.objects.paths("exports", "") == []


async def test_an_object_store_that_is_away_is_tried_again(kitchen, jobs, app):
    alice = await kitchen.person("Alice")
    asked = await alice.post_ok("/users/me/export", status=202)
    folder = app.resources.settings.data_dir / "files"
    (folder / "exports").write_text("in the way")

    await jobs.run_due()
    waiting = await alice.read(f"/jobs/{asked['id']}")
    (folder / "exports").unlink()
    await jobs.hasten()
    await jobs.run_due()

    assert (waiting["state"], waiting["result_url"]) == ("queued", None)
    assert waiting["error"] == StorageUnavailable.detail
    assert (await alice.read(f"/jobs/{asked['id']}"))["state"] == "done"


async def test_the_hourly_purge_drops_old_exports_and_old_activities(kitchen, jobs, files, db):
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

    assert await files.objects.paths("exports", "") == []
    told = (await alice.read("/users/me/activity"))["items"]
    assert [one["kind"] for one in told] == ["sign_in"]
