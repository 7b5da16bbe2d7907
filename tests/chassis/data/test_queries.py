"""Compiled queries return what sessions return, and know a broken connection from a refusal."""

import pytest
from sqlalchemy import Float, Integer, bindparam, literal, select
from sqlalchemy.exc import OperationalError

from freshly.chassis.data.base import Base
from freshly.chassis.data.queries import CompiledQuery

SUM = CompiledQuery(select((literal(1) + bindparam("more", type_=Integer)).label("sum")))


# Between them they have quantities, instants, enums, JSON, arrays, and nulls.
TABLES = ("pantry_items", "meals", "grocery_lists", "user_preferences")


@pytest.mark.parametrize("name", TABLES)
async def test_columns_have_the_values_that_a_session_reads(db, kitchen, name):
    alice = await kitchen.person()
    await kitchen.meal(alice, [("rice", "1 cup")])
    await kitchen.stock(alice, "test rice", 1, "kg")
    await alice.post_ok("/preferences/me", {"diet_codes": ["x"], "disliked_ingredient_ids": [1]})
    await alice.post_ok("/grocery-lists", {"scope": "personal", "title": "Market"})
    table = Base.metadata.tables[name]
    # asyncpg's floats need to know their column's type in PostgreSQL, which no compiled query does.
    columns = [column for column in table.c if not isinstance(column.type, Float)]
    statement = select(*columns).order_by(table.c.id)

    found = await db.fetch(CompiledQuery(statement))

    async with db.read() as session:
        rows = (await session.execute(statement)).all()
    assert len(rows) > 0
    assert [*zip(*found.columns.values(), strict=True)] == rows


@pytest.mark.parametrize("broken", [ConnectionResetError(), TimeoutError(), OSError("no route")])
async def test_broken_connection_differs_from_a_refusal(db, broken):
    class Driver:
        async def fetch(self, _sql, *_values):
            raise broken

    with pytest.raises(OperationalError) as caught:
        await SUM.run(Driver(), db.engine.dialect, {"more": 1})

    assert caught.value.connection_invalidated
