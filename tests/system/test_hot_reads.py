"""The most frequent reads take two statements, for any number of rows and of clients."""

import asyncio

import pytest
from sqlalchemy import inspect

from freshly.chassis.data.pagination import FEW_ROWS
from tests.support.sql_statements import Statements


@pytest.fixture
async def alice(kitchen):
    return await kitchen.person("Alice")


async def create_item(alice, kitchen):
    del kitchen
    created = await alice.post_ok("/grocery-lists", {"scope": "personal", "title": "Market"})
    await alice.post_ok(f"/grocery-lists/{created['id']}/items", {"ingredient_id": 1})


async def create_list(alice, kitchen):
    del kitchen
    await alice.post_ok("/grocery-lists", {"scope": "personal", "title": "Market"})


async def create_plan(alice, kitchen):
    del kitchen
    await alice.post_ok("/meal-plans/me", {"week_start": "2030-01-07"})


# Path, function that creates the first row, table, and the columns that are copied.
ROWS = {
    "pantry": (
        *("/pantry-items/me", lambda alice, kitchen: kitchen.stock(alice, "test rice", 1, "kg")),
        *("pantry_items", "*"),
    ),
    "meals": (
        *("/meals/me", lambda alice, kitchen: kitchen.meal(alice, [("rice", "1 cup")])),
        *("meals", "*"),
    ),
    "items": (
        *("/grocery-lists/me", create_item),
        *("grocery_list_items", "grocery_list_id, ingredient_id, quantity"),
    ),
    "lists": ("/grocery-lists/me", create_list, "grocery_lists", "*"),
    "plans": ("/meal-plans/me", create_plan, "meal_plans", "*"),
}


@pytest.mark.parametrize("rows", [1, 50, 500])
@pytest.mark.parametrize("kind", ROWS)
async def test_uncached_reads_take_at_most_three_statements_for_any_number_of_rows(
    alice, kitchen, db, kind, rows
):
    path, create, table, columns = ROWS[kind]
    await create(alice, kitchen)
    await multiply_row(db, table, columns, rows)

    # A long list of meals, or of shopping lists, is read a second time, up to the bytes of a page.
    number = 3 if kind in ("meals", "lists") and rows > FEW_ROWS else 2
    body = await read_in_statements(number, alice, path, db)

    assert len(body[0]["items"] if kind == "items" else body) == rows


@pytest.mark.parametrize("families", [1, 50])
async def test_list_reads_take_two_statements_even_with_fifty_families(
    alice, kitchen, db, families
):
    for _ in range(families):
        await kitchen.family(alice)
    await create_list(alice, kitchen)

    assert len(await read_in_statements(2, alice, "/families", db)) == families
    assert len(await read_in_statements(2, alice, "/grocery-lists/me", db)) == 1


async def read_in_statements(number, person, path, db):
    """Read a list, and check that it took so many statements: one for the caller, then the rows."""
    db.cache.__post_init__()  # empties the cache
    with Statements() as sent:
        body = await person.read(path)
    assert sent.number == number
    return body


async def test_concurrent_misses_of_one_entry_load_it_once(alice, db):
    db.cache.__post_init__()  # empties the cache
    with Statements() as sent:
        responses = await asyncio.gather(*(alice.get("/pantry-items/me") for _ in range(200)))

    assert {response.status_code for response in responses} == {200}
    assert sent.number == 2


async def multiply_row(db, table, columns, rows):
    """Copy the row until there are `rows` of it, in SQL because the API would take minutes."""
    async with db.write() as session:
        connection = await session.connection()
        if columns == "*":
            described = await connection.run_sync(lambda sync: inspect(sync).get_columns(table))
            columns = ", ".join(c["name"] for c in described if c["name"] != "id")
        for _ in range(rows - 1):
            await connection.exec_driver_sql(
                f"INSERT INTO {table} ({columns}) "  # noqa: S608 - constants of this file
                f"SELECT {columns} FROM {table} ORDER BY id LIMIT 1"
            )
