"""A picture of what is put into a pantry, drawn a little later, where there is a key."""

import asyncio
import base64
from urllib.parse import urlsplit

import pytest
from pydantic import SecretStr
from sqlalchemy import update

from freshly.domains.pantry.jobs import SweepPictures
from freshly.domains.usage.models import ModelUsage
from tests.conftest import Jobs, client_of, running, settings_for
from tests.support.api import Kitchen
from tests.support.fake_services import model_server
from tests.support.pictures import picture

KEY = {"openai_api_key": SecretStr("sk-test"), "openai_retries": 0}


def drawn():
    return {"b64_json": base64.b64encode(picture("PNG", (64, 64))).decode()}


@pytest.fixture
async def model():
    async with model_server() as server:
        yield server


@pytest.fixture
def settings(database_url, tmp_path, model):
    changes = {**KEY, "openai_base_url": model.url, "pantry_pictures_per_day": 2}
    return settings_for(database_url, tmp_path, **changes)


@pytest.fixture
async def alice(kitchen):
    return await kitchen.person("Alice")


async def files(app, bucket="pantry_items"):
    return await app.resources.objects.paths(bucket, "")


async def image_of(person, item):
    return (await person.read(f"/pantry-items/{item['id']}"))["image_url"]


async def test_an_item_gets_a_picture_that_can_be_opened(alice, kitchen, jobs, model, client):
    model.says(drawn())
    item = await kitchen.stock(alice, "Rote Bete!", 2, "count")
    assert item["image_url"] is None

    await jobs.run_due()

    (asked,) = model.asked
    assert "studio product photo of Rote Bete!" in asked["prompt"]
    assert (asked["size"], asked["style"], asked["quality"], asked["response_format"]) == (
        "1024x1024", "natural", "standard", "b64_json")  # fmt: skip
    url = await image_of(alice, item)
    assert url.startswith(f"http://test/files/pantry_items/p{alice.id}/{item['id']}/rote-bete-")
    shown = await client.get(urlsplit(url).path)
    assert (shown.status_code, shown.headers["content-type"]) == (200, "image/jpeg")
    assert (await alice.read("/pantry-items/me"))[0]["image_url"] == url  # no old list is kept
    assert await alice.read("/jobs") == {"items": [], "next_cursor": None}


async def test_one_by_the_other_address_gets_none(alice, jobs, model):
    await alice.post_ok("/pantry-items/me", {"ingredient_name": "milk"})
    await jobs.run_due()

    assert (model.asked, await jobs.rows("pantry.draw_picture")) == ([], [])


@pytest.mark.parametrize("off", [{"openai_api_key": None}, {"pantry_pictures_per_day": 0}])
async def test_without_a_key_or_at_none_a_day_nothing_is_asked_for(settings, model, off):
    async with running(settings.model_copy(update=off)) as app, client_of(app) as client:
        kitchen, jobs = Kitchen(client), Jobs(app)
        await kitchen.stock(await kitchen.person("Alice"), "milk")
        await jobs.run_due()

        assert (model.asked, await jobs.rows("pantry.draw_picture")) == ([], [])


async def test_a_family_gets_so_many_a_day(alice, kitchen, jobs, model, db):
    bob = await kitchen.person("Bob")
    family = await kitchen.family(alice, bob)
    model.says(*(drawn() for _ in range(6)))
    for person in (alice, bob, alice, bob):
        await kitchen.stock(person, "milk", family_id=family["id"])
    own = await kitchen.stock(bob, "milk")
    await jobs.run_due()

    shelves = await alice.read(f"/pantry-items/family/{family['id']}")
    assert sum(item["image_url"] is not None for item in shelves) == 2
    assert await image_of(bob, own) is not None  # which is Bob's own
    async with db.write() as session:
        await session.execute(update(ModelUsage).values(pictures=0))  # another day
    late = await kitchen.stock(alice, "bread", family_id=family["id"])
    await jobs.run_due()
    assert await image_of(alice, late) is not None


async def test_a_model_that_fails_keeps_nobody_from_their_pantry(alice, kitchen, jobs, model, app):
    model.says(500, {"b64_json": base64.b64encode(b"<html>").decode()})
    item = await kitchen.stock(alice, "milk")
    await jobs.run_due()
    await jobs.hasten()
    await jobs.run_due()

    (row,) = await jobs.rows("pantry.draw_picture")
    assert (row.state, len(model.asked)) == ("failed", 2)
    assert await image_of(alice, item) is None
    assert await files(app) == []
    assert (await alice.patch(f"/pantry-items/{item['id']}", {"quantity": 1})).status_code == 200


async def test_who_has_no_tokens_left_gets_no_picture_and_no_job_fails(settings, model):
    poor = settings.model_copy(update={"chat_tokens_per_person": 5_000})
    async with running(poor) as app, client_of(app) as client:
        kitchen, jobs = Kitchen(client), Jobs(app)
        alice = await kitchen.person("Alice")
        model.says(drawn(), drawn())
        for name in ("milk", "bread"):
            await kitchen.stock(alice, name)
        await jobs.run_due()

        rows = await jobs.rows("pantry.draw_picture")
        assert ([row.state for row in rows], len(model.asked)) == (["done", "done"], 1)


async def test_a_picture_goes_with_its_item(alice, kitchen, jobs, model, app):
    model.says(drawn())
    item = await kitchen.stock(alice, "milk")
    await jobs.run_due()
    assert len(await files(app)) == 1

    await alice.delete(f"/pantry-items/{item['id']}")
    await jobs.run_due()

    assert await files(app) == []


async def test_an_item_that_is_eaten_before_it_is_drawn_leaves_nothing(
    alice, kitchen, jobs, model, app
):
    item = await kitchen.stock(alice, "milk")
    await alice.delete(f"/pantry-items/{item['id']}")
    await jobs.run_due()

    assert (model.asked, await files(app)) == ([], [])


async def test_what_went_with_its_family_is_swept_away(alice, kitchen, jobs, model, app):
    family = await kitchen.family(alice)
    model.says(drawn(), drawn())
    await kitchen.stock(alice, "milk", family_id=family["id"])
    kept = await kitchen.stock(alice, "bread")
    await jobs.run_due()
    assert len(await files(app)) == 2
    await alice.delete(f"/families/{family['id']}")

    await jobs.enqueue(SweepPictures())
    await jobs.run_due()

    (left,) = await files(app)
    assert left.startswith(f"p{alice.id}/{kept['id']}/bread-")


async def test_pictures_go_with_their_person(alice, kitchen, jobs, model, app):
    model.says(drawn())
    await kitchen.stock(alice, "milk")
    await jobs.run_due()

    gone = await alice.delete("/users/me")
    assert gone.status_code in (200, 204), gone.text
    await jobs.run_due()

    assert await files(app) == []


async def test_the_limit_holds_however_many_draw_at_once(alice, kitchen, jobs, model):
    model.says(*(drawn() for _ in range(8)))
    for number in range(6):
        await kitchen.stock(alice, f"food {number}")

    await asyncio.gather(*(jobs.run_due() for _ in range(3)))

    shelves = await alice.read("/pantry-items/me")
    assert sum(item["image_url"] is not None for item in shelves) == 2


async def test_a_picture_goes_when_the_item_is_something_else(alice, kitchen, jobs, model, app):
    model.says(drawn())
    item = await kitchen.stock(alice, "milk")
    await jobs.run_due()
    assert len(await files(app)) == 1

    changed = await alice.patch(f"/pantry-items/{item['id']}", {"ingredient_name": "eggs"})
    await jobs.run_due()

    assert changed.json()["image_url"] is None
    assert await files(app) == []


async def test_a_familys_pictures_stay_when_somebody_goes(alice, kitchen, jobs, model, app):
    model.says(drawn())
    bob = await kitchen.person("Bob")
    family = await kitchen.family(bob, alice)
    await kitchen.stock(alice, "milk", family_id=family["id"])
    await jobs.run_due()

    await alice.delete("/users/me")
    await jobs.run_due()

    (item,) = await bob.read(f"/pantry-items/family/{family['id']}")
    assert item["image_url"].endswith((await files(app))[0])
