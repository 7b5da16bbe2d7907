"""What is asked most takes two statements, whatever is there and however many ask at once."""

import asyncio

import pytest
from sqlalchemy import inspect

from tests.support.sql_statements import Statements


@pytest.fixture
async def alice(kitchen):
    return await kitchen.person("Alice")


async def one_line(alice, kitchen):
    del kitchen
    made = await alice.post_ok("/grocery-lists", {"scope": "personal", "title": "Market"})
    await alice.post_ok(f"/grocery-lists/{made['id']}/items", {"ingredient_id": 1})


async def one_list(alice, kitchen):
    del kitchen
    await alice.post_ok("/grocery-lists", {"scope": "personal", "title": "Market"})


async def one_plan(alice, kitchen):
    del kitchen
    await alice.post_ok("/meal-plans/me", {"week_start": "2030-01-07"})


# Its path, how one row comes to be, its table, and what of it is copied.
ROWS = {
    "pantry": (
        *("/pantry-items/me", lambda alice, kitchen: kitchen.stock(alice, "test rice", 1, "kg")),
        *("pantry_items", "*"),
    ),
    "meals": (
        *("/meals/me", lambda alice, kitchen: kitchen.meal(alice, [("rice", "1 cup")])),
        *("meals", "*"),
    ),
    "lines": (
        *("/grocery-lists/me", one_line),
        *("grocery_list_items", "grocery_list_id, ingredient_id, quantity"),
    ),
    "lists": ("/grocery-lists/me", one_list, "grocery_lists", "*"),
    "plans": ("/meal-plans/me", one_plan, "meal_plans", "*"),
}


@pytest.mark.parametrize("rows", [1, 50, 500])
@pytest.mark.parametrize("kind", ROWS)
async def test_an_uncached_read_takes_the_same_few_statements_for_any_number_of_rows(
    alice, kitchen, db, kind, rows
):
    path, make, table, columns = ROWS[kind]
    await make(alice, kitchen)
    await multiplied(db, table, columns, rows)

    found = await read_in_two(alice, path, db)

    assert len(found[0]["items"] if kind == "lines" else found) == rows


@pytest.mark.parametrize("families", [1, 50])
async def test_however_many_families_one_has(alice, kitchen, db, families):
    for _ in range(families):
        await kitchen.family(alice)
    await one_list(alice, kitchen)

    assert len(await read_in_two(alice, "/families", db)) == families
    assert len(await read_in_two(alice, "/grocery-lists/me", db)) == 1


async def read_in_two(person, path, db):
    """In two statements: who is calling, and the rows."""
    db.cache.__post_init__()  # forgets everything
    with Statements() as sent:
        found = await person.read(path)
    assert sent.number == 2
    return found


async def test_many_who_miss_the_same_at_once_are_given_what_one_of_them_loads(alice, db):
    db.cache.__post_init__()  # forgets everything
    with Statements() as sent:
        answers = await asyncio.gather(*(alice.get("/pantry-items/me") for _ in range(200)))

    assert {answer.status_code for answer in answers} == {200}
    assert sent.number == 2


async def multiplied(db, table, columns, rows):
    """As many copies of the one row as it takes, by SQL: the API would take minutes."""
    async with db.write() as session:
        connection = await session.connection()
        if columns == "*":
            described = await connection.run_sync(lambda sync: inspect(sync).get_columns(table))
            columns = ", ".join(c["name"] for c in described if c["name"] != "id")
        for _ in range(rows - 1):
            await connection.exec_driver_sql(
                f"INSERT INTO {table} ({columns}) "  # noqa: S608 - names of our own
                f"SELECT {columns} FROM {table} ORDER BY id LIMIT 1"
            )
