"""A user with rows of every kind, whose id appears nowhere by chance."""

import pytest
from sqlalchemy import text

from tests.conftest import settings_for
from tests.support.api import PASSWORD, Kitchen
from tests.support.fake_services import model_server
from tests.support.pictures import in_base64, picture

UNMISTAKABLE_ID = 7_654_321


async def reserve_unmistakable_id(db):
    """Give the next user this id."""
    async with db.write() as session:
        insert = (
            "INSERT INTO users (id, email, hashed_password, password_reset_attempts)"
            " VALUES (:id, 'nobody@example.com', 'x', 0)"
        )
        await session.execute(text(insert), {"id": UNMISTAKABLE_ID - 1})
        if session.get_bind().dialect.name == "postgresql":
            await session.execute(text(f"SELECT setval('users_id_seq', {UNMISTAKABLE_ID - 1})"))


async def drop_placeholder(db):
    async with db.write() as session:
        await session.execute(text("DELETE FROM users WHERE email = 'nobody@example.com'"))


@pytest.fixture
async def settings(database_url, tmp_path):
    async with model_server() as model:
        yield settings_for(database_url, tmp_path, openai_base_url=model.url)


@pytest.fixture
async def home(kitchen: Kitchen, db, client):
    """Zora, who has rows of every kind, and Bob, who shares a family with her."""
    bob = await kitchen.person("Bob")
    await reserve_unmistakable_id(db)
    zora = await kitchen.person(
        "Zoraida", email="zoraida.unmistakable@example.com", phone_number="+49 555 0199"
    )
    await drop_placeholder(db)
    assert zora.id == UNMISTAKABLE_ID

    class Home:
        pass

    Home.bob, Home.zora = bob, zora
    Home.bobs_family = await kitchen.family(bob, zora, name="Bob's")
    Home.zoras_family = await kitchen.family(zora, name="Zora's own")
    await create_rows_of_zora(kitchen, zora, bob, Home)
    await client.post("/auth/login", json={"email": zora.user["email"], "password": f"{PASSWORD}!"})
    return Home


async def create_rows_of_zora(kitchen, zora, bob, home):
    bobs_family_id = home.bobs_family["id"]
    await kitchen.stock(zora, "egg", 1, "pcs")
    await kitchen.ingredient(zora, "Zoraida's jam", measures={"jar": 340})
    meal = await kitchen.meal(zora, [("egg", "2")], name="Her soup", familyId=bobs_family_id)
    for family in (home.zoras_family, home.bobs_family, None):
        plan = await kitchen.plan(zora, family, title="Her week")
        await kitchen.planned(zora, plan, 0, "dinner", meal, notes="as always")
        await zora.post_ok(f"/grocery-lists/rebuild-from-meal-plan/{plan['id']}", status=200)
    in_bobs_family = {"family_id": bobs_family_id}
    await kitchen.stock(zora, "Her own rice", 1, "kg")
    await kitchen.stock(zora, "Common rice", 1, "kg", **in_bobs_family)
    await zora.post_ok("/recipes", {**in_bobs_family, "title": "Her pie"})
    bobs_meal = await kitchen.meal(bob, name="Bob's pasta")
    for meal_id, sender, recipient in (
        (meal["id"], zora, bob),
        (bobs_meal["id"], bob, zora),
    ):
        offer = {"mealId": meal_id, "recipientUserId": recipient.id, "message": "Try this"}
        request = await sender.post_ok("/meal-share-requests", offer)
        consent = {"action": "accept"}
        await recipient.post_ok(
            f"/meal-share-requests/{request['id']}/respond", consent, status=200
        )
    await zora.post_ok(f"/families/{home.zoras_family['id']}/invitations", {})
    await zora.patch("/preferences/me", {"calorie_target": 2222})
    await zora.patch("/notifications/choices", {"digest": "none"})
    avatar = {"files": {"file": ("me.png", picture())}}
    assert (await zora.post("/storage/avatar/proxy", **avatar)).status_code == 201
    question = {"message": "What can I cook with this food?", "image": in_base64(picture())}
    await zora.post_ok("/chat", question, status=200)
    await kitchen.client.post("/auth/send-code", json={"email": zora.user["email"]})
