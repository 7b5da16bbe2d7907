"""Everything of a person in one zip, and nothing of anybody else."""

import json
import time
import tracemalloc
from io import BytesIO
from zipfile import ZipFile

import pytest

from freshly.domains.account.belongings import BELONGINGS
from freshly.domains.account.exporting import Exporter
from freshly.domains.account.files import EXPORTS_LIVE, PersonalFiles
from freshly.domains.account.repository import BelongingsRepository
from tests.account.conftest import UNMISTAKABLE
from tests.kitchen import PASSWORD


@pytest.fixture
def files(app, settings):
    return PersonalFiles(app.state["objects"], settings)


@pytest.fixture
def exported(units, files, tmp_path):
    async def export(person):
        target = tmp_path / f"{person.id}.zip"
        await Exporter(BelongingsRepository(units), files).write(person.id, target)
        with ZipFile(target) as archive:
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
    assert sorted(name.split("/")[1] for name in pictures) == ["avatar", "chat_pictures"]
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
        await home.zora.made("/recipes", {"family_id": home.hers["id"], "title": f"No. {number}"})

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
    assert await files.drop_exports(soon + 60) == 1
    assert await files.objects.get("exports", path) is None


async def test_an_empty_account_has_a_zip_too(kitchen, exported):
    alice = await kitchen.person("Alice")

    archive = await exported(alice)

    assert len(rows_of(archive, "profile")) == 1
    assert rows_of(archive, "meals") == []
    assert BytesIO(archive["data/meals.json"]).read() == b"[]\n"
