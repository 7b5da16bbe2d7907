"""No read answers more than 8 MB, however large its rows are, and the pages have each row once."""

import pytest
from sqlalchemy import inspect, text

from tests.support.api import MEAL

MAX_BYTES = 8_000_000
NOTE = "\x01" * 20_000  # six bytes in JSON for each character
NAME = "𝄞" * 255
WORDS = [NAME] * 200
LARGE_MEAL = MEAL | {
    "name": NAME,
    "image": '"' * 20_000,
    "cuisine": "𝄞" * 120,
    "ingredients": [{"name": NAME, "amount": NAME}] * 200,
    "notes": NOTE,
}
# The limit for a request body allows only some of the largest texts at a time.
MORE_OF_A_MEAL = [
    {"instructions": [NOTE] * 8},
    {"tags": WORDS, "goalFit": WORDS, "cookingTools": WORDS},
]


@pytest.fixture
async def alice(kitchen):
    return await kitchen.person("Alice")


async def copy(db, table, number, **changed):
    """Copy a row in SQL until there are `number` of it. `changed` is SQL for columns, by name."""
    async with db.write() as session:
        connection = await session.connection()
        described = await connection.run_sync(lambda sync: inspect(sync).get_columns(table))
        names = [column["name"] for column in described if column["name"] != "id"]
        values = ", ".join(changed.get(name, name) for name in names)
        await connection.execute(
            text(
                "WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n "  # noqa: S608
                f"WHERE i < {number}) "
                f"INSERT INTO {table} ({', '.join(names)}) SELECT {values} FROM {table}, n "
                f"WHERE id = (SELECT max(id) FROM {table})"
            )
        )


async def pages(person, path):
    """Follow the pages of a list. Return the sizes of the responses, and the rows."""
    sizes, rows = [], []
    while path:
        response = await person.get(path)
        assert response.status_code == 200, response.text[:500]
        sizes.append(len(response.content))
        rows += response.json()
        path = response.links.get("next", {}).get("url")
    return sizes, rows


async def assert_paged(person, path, number, fewest_pages=2):
    sizes, rows = await pages(person, path)

    assert max(sizes) <= MAX_BYTES
    assert len(sizes) >= fewest_pages
    assert len(rows) == number
    assert len({row["id"] for row in rows}) == number
    return rows


async def large_meal(alice, **fields):
    meal = await alice.post_ok("/meals/me", LARGE_MEAL | fields)
    for more in MORE_OF_A_MEAL:
        changed = await alice.put(f"/meals/{meal['id']}", more)
        assert changed.status_code == 200, changed.text[:500]
    return meal


async def test_meals_are_paged_by_bytes_wherever_they_are_listed(kitchen, alice, db):
    bob = await kitchen.person("Bob")
    family = await kitchen.family(alice, bob)
    meal = await large_meal(bob, familyId=family["id"])
    offer = {"mealId": meal["id"], "recipientUserId": alice.id, "message": "\x01" * 500}
    offer = await bob.post_ok("/meal-share-requests", offer)
    answer = f"/meal-share-requests/{offer['id']}/respond"
    await alice.post_ok(answer, {"action": "accept"}, status=200)
    await copy(db, "meals", 4)  # the copy that Alice accepted
    mine = await alice.read("/meals/me", limit=1)
    await copy(db, "meal_share_requests", 4, accepted_meal_id=f"{mine[0]['id']} + i - 1")
    of_bob = {"created_by_user_id": str(bob.id), "family_id": str(family["id"])}
    await copy(db, "meals", 4, **of_bob)

    await assert_paged(alice, "/meals/me", 4)
    await assert_paged(alice, "/meal-share-requests/accepted-meals", 4)
    await assert_paged(alice, "/meal-share-requests/received", 4)
    await assert_paged(bob, "/meal-share-requests/sent", 4)
    await assert_paged(alice, f"/families/{family['id']}/members/{bob.id}/meals", 4)


async def test_many_middling_meals_fill_a_page_up_to_its_bytes(alice, db):
    short = [{"name": "a", "amount": "1"}] * 200
    await alice.post_ok("/meals/me", MEAL | {"ingredients": short, "tags": ["x" * 255] * 20})
    await copy(db, "meals", 700)

    await assert_paged(alice, "/meals/me", 700)


async def test_shopping_lists_are_paged_by_bytes_and_each_is_bounded(kitchen, alice, db):
    food = await kitchen.ingredient(alice, "𝄞" * 120)
    created = await alice.post_ok("/grocery-lists", {"scope": "personal", "title": '"' * 200})
    path = f"/grocery-lists/{created['id']}"
    line = {"ingredient_id": food["id"], "note": NOTE}
    first = await alice.post_ok(f"{path}/items", line)
    await copy(db, "grocery_list_items", 28)

    refused = [
        await alice.post(f"{path}/items", line),
        await alice.post(f"{path}/items", line | {"note": NOTE[:17_000]}),
    ]
    short = await alice.post_ok(f"{path}/items", line | {"note": "ripe"})
    refused.append(await alice.patch(f"/grocery-lists/items/{short['id']}", {"note": NOTE}))
    shorter = await alice.patch(f"/grocery-lists/items/{first['id']}", {"note": NOTE[1:]})
    await copy(db, "grocery_lists", 5)
    await copy_lines(db, created["id"])

    assert [(one.status_code, one.json()["code"]) for one in refused] == [
        (422, "grocery_list_full")
    ] * 3
    assert shorter.status_code == 200
    assert 3_000_000 < len((await alice.get(path)).content) < MAX_BYTES / 2
    assert len((await alice.get(f"{path}/explanation")).content) < MAX_BYTES / 2
    lists = await assert_paged(alice, "/grocery-lists/me", 5)
    assert {len(one["items"]) for one in lists} == {29}
    assert len({item["id"] for one in lists for item in one["items"]}) == 5 * 29


async def copy_lines(db, list_id):
    """Give all lists the lines of this one."""
    columns = "ingredient_id, note, checked, is_purchased, is_manual"
    async with db.write() as session:
        await session.execute(
            text(
                f"INSERT INTO grocery_list_items (grocery_list_id, {columns}) "  # noqa: S608
                f"SELECT l.id, {columns} FROM grocery_lists l JOIN grocery_list_items i "
                f"ON i.grocery_list_id = {list_id} WHERE l.id <> {list_id}"
            )
        )


async def test_recipes_and_messages_are_paged_by_bytes(kitchen, alice, db):
    family = await kitchen.family(alice)
    recipe = {"title": "𝄞" * 200, "description": "\x01" * 500, "instructions": NOTE}
    await alice.post_ok("/recipes", recipe | {"family_id": family["id"]})
    await copy(db, "recipes", 150)
    path = f"/chat/conversations/{await conversation(alice, db, NOTE)}"
    await copy(db, "chat_messages", 150)

    await assert_paged(alice, "/recipes?limit=200", 150)
    messages = await assert_paged(alice, f"{path}/messages?limit=500", 150)
    read = await alice.get(path)

    assert len(read.content) <= MAX_BYTES
    latest = [message["id"] for message in read.json()["messages"]]
    assert 50 < len(latest) < 150
    assert latest == [message["id"] for message in messages][-len(latest) :]


async def conversation(alice, db, content):
    created = await alice.post_ok("/chat/conversations", {}, status=200)
    async with db.write() as session:
        await session.execute(
            text(
                "INSERT INTO chat_messages (conversation_id, role, content, is_internal) "
                "VALUES (:id, 'user', :content, 0)"
            ),
            {"id": created["id"], "content": content},
        )
    return created["id"]


async def test_the_largest_rows_of_other_lists_fit_into_a_page(kitchen, alice, db):
    own = await kitchen.ingredient(alice, "𝄞" * 116, category="𝄞" * 80, canonical_unit="𝄞" * 16)
    await copy(db, "ingredients", 1_999, name="substr(name, 1, 110) || i")
    item = {"ingredient_id": own["id"], "unit": "𝄞" * 64, "category": "𝄞" * 64}
    await alice.post_ok("/pantry-items", item)
    await copy(db, "pantry_items", 2_100)
    plan = await kitchen.plan(alice, title="𝄞" * 200)
    meals = [await kitchen.meal(alice, name=NAME) for _ in range(20)]
    slot = {"notes": NOTE, "meals": [{"meal_id": meal["id"]} for meal in meals]}
    for day in range(7):
        for name in ("breakfast", "lunch", "dinner", "snack"):
            written = await alice.put(f"/meal-plans/{plan['id']}/slots/{day}/{name}", slot)
            assert written.status_code == 200
    slots = await alice.get(f"/meal-plans/{plan['id']}/slots")
    await copy(db, "meal_plans", 2_100)

    sizes, _ = await pages(alice, "/ingredients")
    await assert_paged(alice, "/pantry-items/me", 2_100)
    await assert_paged(alice, "/meal-plans/me", 2_100)

    assert 1_000_000 < max(sizes) <= MAX_BYTES
    assert len(slots.json()) == 28
    assert len(slots.content) <= MAX_BYTES
