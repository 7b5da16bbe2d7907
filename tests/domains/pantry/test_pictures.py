"""Pictures of pantry items, which a job generates if a model is configured."""

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


def generated():
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
    return await app.resources.objects.list_paths(bucket, "")


async def image_of(person, item):
    return (await person.read(f"/pantry-items/{item['id']}"))["image_url"]


async def test_a_new_item_gets_a_picture_that_can_be_opened(alice, kitchen, jobs, model, client):
    model.says(generated())
    item = await kitchen.stock(alice, "Rote Bete!", 2, "count")
    assert item["image_url"] is None

    await jobs.run_due()

    (request,) = model.requests
    assert "studio product photo of Rote Bete!" in request["prompt"]
    assert (request["size"], request["style"], request["quality"], request["response_format"]) == (
        "1024x1024", "natural", "standard", "b64_json")  # fmt: skip
    url = await image_of(alice, item)
    assert url.startswith(f"http://test/files/pantry_items/p{alice.id}/{item['id']}/rote-bete-")
    downloaded = await client.get(urlsplit(url).path)
    assert (downloaded.status_code, downloaded.headers["content-type"]) == (200, "image/jpeg")
    # The picture invalidated the cached list.
    assert (await alice.read("/pantry-items/me"))[0]["image_url"] == url
    assert await alice.read("/jobs") == {"items": [], "next_cursor": None}


async def test_an_item_added_by_the_route_for_personal_items_gets_no_picture(alice, jobs, model):
    await alice.post_ok("/pantry-items/me", {"ingredient_name": "milk"})
    await jobs.run_due()

    assert (model.requests, await jobs.rows("pantry.draw_picture")) == ([], [])


@pytest.mark.parametrize(
    "change",
    [{"openai_api_key": None}, {"pantry_pictures_per_day": 0}],
    ids=["no key", "limit of zero"],
)
async def test_without_a_key_or_with_a_limit_of_zero_no_picture_is_requested(
    settings, model, change
):
    async with running(settings.model_copy(update=change)) as app, client_of(app) as client:
        kitchen, jobs = Kitchen(client), Jobs(app)
        await kitchen.stock(await kitchen.person("Alice"), "milk")
        await jobs.run_due()

        assert (model.requests, await jobs.rows("pantry.draw_picture")) == ([], [])


async def test_a_family_gets_pictures_up_to_its_daily_limit(alice, kitchen, jobs, model, db):
    bob = await kitchen.person("Bob")
    family = await kitchen.family(alice, bob)
    model.says(*(generated() for _ in range(6)))
    for person in (alice, bob, alice, bob):
        await kitchen.stock(person, "milk", family_id=family["id"])
    item_of_bob = await kitchen.stock(bob, "milk")
    await jobs.run_due()

    items = await alice.read(f"/pantry-items/family/{family['id']}")
    assert sum(item["image_url"] is not None for item in items) == 2
    assert await image_of(bob, item_of_bob) is not None  # Bob's own items have a limit of their own
    async with db.write() as session:
        await session.execute(update(ModelUsage).values(pictures=0))  # as on another day
    item_of_next_day = await kitchen.stock(alice, "bread", family_id=family["id"])
    await jobs.run_due()
    assert await image_of(alice, item_of_next_day) is not None


async def test_a_failing_model_does_not_block_the_pantry(alice, kitchen, jobs, model, app):
    model.says(500, {"b64_json": base64.b64encode(b"<html>").decode()})
    item = await kitchen.stock(alice, "milk")
    await jobs.run_due()
    await jobs.hasten()
    await jobs.run_due()

    (row,) = await jobs.rows("pantry.draw_picture")
    assert (row.state, len(model.requests)) == ("failed", 2)
    assert await image_of(alice, item) is None
    assert await files(app) == []
    assert (await alice.patch(f"/pantry-items/{item['id']}", {"quantity": 1})).status_code == 200


async def test_a_user_without_tokens_gets_no_picture_and_no_job_fails(settings, model):
    few_tokens = settings.model_copy(update={"chat_tokens_per_person": 5_000})
    async with running(few_tokens) as app, client_of(app) as client:
        kitchen, jobs = Kitchen(client), Jobs(app)
        alice = await kitchen.person("Alice")
        model.says(generated(), generated())
        for name in ("milk", "bread"):
            await kitchen.stock(alice, name)
        await jobs.run_due()

        rows = await jobs.rows("pantry.draw_picture")
        assert ([row.state for row in rows], len(model.requests)) == (["done", "done"], 1)


async def test_a_picture_is_deleted_with_its_item(alice, kitchen, jobs, model, app):
    model.says(generated())
    item = await kitchen.stock(alice, "milk")
    await jobs.run_due()
    assert len(await files(app)) == 1

    await alice.delete(f"/pantry-items/{item['id']}")
    await jobs.run_due()

    assert await files(app) == []


async def test_an_item_that_is_deleted_before_its_picture_is_generated_gets_none(
    alice, kitchen, jobs, model, app
):
    item = await kitchen.stock(alice, "milk")
    await alice.delete(f"/pantry-items/{item['id']}")
    await jobs.run_due()

    assert (model.requests, await files(app)) == ([], [])


async def test_the_pictures_of_a_deleted_family_are_swept_away(alice, kitchen, jobs, model, app):
    family = await kitchen.family(alice)
    model.says(generated(), generated())
    await kitchen.stock(alice, "milk", family_id=family["id"])
    kept = await kitchen.stock(alice, "bread")
    await jobs.run_due()
    assert len(await files(app)) == 2
    await alice.delete(f"/families/{family['id']}")

    await jobs.enqueue(SweepPictures())
    await jobs.run_due()

    (remaining,) = await files(app)
    assert remaining.startswith(f"p{alice.id}/{kept['id']}/bread-")


async def test_the_pictures_of_a_deleted_user_are_deleted(alice, kitchen, jobs, model, app):
    model.says(generated())
    await kitchen.stock(alice, "milk")
    await jobs.run_due()

    response = await alice.delete("/users/me")
    assert response.status_code in (200, 204), response.text
    await jobs.run_due()

    assert await files(app) == []


async def test_the_daily_limit_holds_if_several_workers_run_at_once(alice, kitchen, jobs, model):
    model.says(*(generated() for _ in range(8)))
    for number in range(6):
        await kitchen.stock(alice, f"food {number}")

    await asyncio.gather(*(jobs.run_due() for _ in range(3)))

    items = await alice.read("/pantry-items/me")
    assert sum(item["image_url"] is not None for item in items) == 2


async def test_a_picture_is_deleted_if_its_item_becomes_another_food(
    alice, kitchen, jobs, model, app
):
    model.says(generated())
    item = await kitchen.stock(alice, "milk")
    await jobs.run_due()
    assert len(await files(app)) == 1

    changed = await alice.patch(f"/pantry-items/{item['id']}", {"ingredient_name": "eggs"})
    await jobs.run_due()

    assert changed.json()["image_url"] is None
    assert await files(app) == []


async def test_a_familys_pictures_stay_if_a_member_deletes_the_account(
    alice, kitchen, jobs, model, app
):
    model.says(generated())
    bob = await kitchen.person("Bob")
    family = await kitchen.family(bob, alice)
    await kitchen.stock(alice, "milk", family_id=family["id"])
    await jobs.run_due()

    await alice.delete("/users/me")
    await jobs.run_due()

    (item,) = await bob.read(f"/pantry-items/family/{family['id']}")
    assert item["image_url"].endswith((await files(app))[0])
