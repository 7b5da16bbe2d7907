"""Pages that end after so many bytes, however large their rows are.

The database adds up what the rows of a page take in the response and sends no row that begins after
MAX_PAGE_BYTES. The row that crosses the bound comes, too: it says that there is a next page.
"""

from collections.abc import Sequence
from functools import reduce
from operator import add
from typing import Any

from sqlalchemy import (
    JSON,
    ColumnElement,
    Enum,
    Select,
    String,
    Subquery,
    and_,
    func,
    literal,
    or_,
    select,
)
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from freshly.chassis.data.functions import json_size, size_in_bytes

Key = InstrumentedAttribute[Any] | ColumnElement[Any]

MAX_PAGE_BYTES = 7_900_000  # of a response of 8 MB; a page has at least one row
RUNNING_BYTES = "running_bytes"  # the column with the bytes of the page up to a row
OWN_BYTES = "own_bytes"
NUMBER = "row_in_page"
ALWAYS_READ = 2  # rows


def row_bytes(frame: int, *columns: Key) -> ColumnElement[int]:
    """Return the SQL of the bytes that a row takes in JSON.

    `frame` is the most that its names, numbers and dates take. The columns are texts, or JSON that
    is copied to the response.
    """
    return reduce(add, map(_json_bytes, columns), literal(frame))


def _json_bytes(column: Key) -> ColumnElement[int]:
    size = size_in_bytes if isinstance(column.type, JSON) else json_size
    return func.coalesce(size(column), 0)


def bytes_of_texts(columns: Sequence[ColumnElement[Any]]) -> ColumnElement[int]:
    """Return the bytes of the texts and JSON in a row of any table."""
    large = [
        column
        for column in columns
        if isinstance(column.type, String | JSON) and not isinstance(column.type, Enum)
    ]
    return row_bytes(0, *large)


def page_within_bytes(
    page: Select[Any], keys: Sequence[Key], size: ColumnElement[int]
) -> Select[Any]:
    """Leave out the rows of a page that begin after MAX_PAGE_BYTES, and add RUNNING_BYTES."""
    rows = page.add_columns(size.label(OWN_BYTES)).subquery()
    names = [key.key or "" for key in keys]
    sized = _with_totals(rows, [rows.c[name] for name in names])
    shown = [column for column in sized.c if column.key not in (OWN_BYTES, NUMBER)]
    return select(*shown).where(_begins_within(sized)).order_by(*(sized.c[name] for name in names))


def _with_totals(rows: Subquery, order: Sequence[ColumnElement[Any]]) -> Subquery:
    total = func.sum(rows.c[OWN_BYTES]).over(order_by=order, rows=(None, 0))
    number = func.row_number().over(order_by=order)
    return select(*rows.c, total.label(RUNNING_BYTES), number.label(NUMBER)).subquery()


def _begins_within(sized: Subquery) -> ColumnElement[bool]:
    """Return the condition for rows that begin within the bound, and for the first two rows.

    The second row says that there is a next page, even if the first row alone crosses the bound.
    """
    begins = sized.c[RUNNING_BYTES] - sized.c[OWN_BYTES]
    return or_(begins <= MAX_PAGE_BYTES, sized.c[NUMBER] <= ALWAYS_READ)


async def rows_within_bytes(
    session: AsyncSession,
    statement: Select[Any],
    keys: Sequence[Key],
    size: ColumnElement[int],
    limit: int,
    *,
    offset: int = 0,
    newest_first: bool = False,
) -> tuple[list[Any], bool]:
    """Return the rows of a page, and True if there is a next page. One statement reads them.

    The keys together are unique. Each row has one more column, RUNNING_BYTES.
    """
    named = [key.label(f"key_{place}") for place, key in enumerate(keys)]
    ordered = [key.desc() if newest_first else key for key in keys]
    rows = (
        statement.with_only_columns(*named, size.label(OWN_BYTES), maintain_column_froms=True)
        .order_by(None)
        .order_by(*ordered)
        .limit(limit + 1)
        .offset(offset)
        .subquery()
    )
    order = [rows.c[name.key].desc() if newest_first else rows.c[name.key] for name in named]
    sized = _with_totals(rows, order)
    same_row = and_(*(sized.c[name.key] == key for name, key in zip(named, keys, strict=True)))
    page = (
        statement.join(sized, same_row)
        .where(_begins_within(sized))
        .add_columns(sized.c[RUNNING_BYTES])
        .order_by(None)
        .order_by(*ordered)
    )
    found = list(await session.execute(page))
    number = min(limit, rows_that_fit([row[-1] for row in found]))
    return found[:number], len(found) > number


def rows_that_fit(totals: Sequence[int]) -> int:
    """Return how many rows of these running totals are within MAX_PAGE_BYTES.

    The first row always is, with all rows of the same total, which belong to it.
    """
    bound = max(MAX_PAGE_BYTES, totals[0] if totals else 0)
    return sum(total <= bound for total in totals)
