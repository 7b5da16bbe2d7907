"""Pages of long lists.

A page begins after the keys of the last row, not at an offset. So no row is skipped or returned
twice when others are added or deleted meanwhile.
"""

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import partial, reduce
from operator import add, gt, lt
from typing import Annotated, Any, Generic, TypeVar

from msgspec.json import Encoder
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import (
    ColumnElement,
    Enum,
    FromClause,
    Integer,
    Select,
    String,
    and_,
    bindparam,
    func,
    or_,
    select,
    type_coerce,
)
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from freshly.chassis.cache.body import CachedBody
from freshly.chassis.data.functions import byte_length
from freshly.chassis.data.queries import Columns, CompiledQuery
from freshly.chassis.data.transactions import Reader
from freshly.chassis.data.types import Quantity, QuantityText
from freshly.chassis.errors import Unprocessable

Item = TypeVar("Item")
MAX_PAGE_ROWS = 500
MAX_LIST_ROWS = 2000  # of a list for which the client gave no limit
MAX_PAGE_BYTES = 8_000_000  # of the texts in a page; it has at least one row
FEW_ROWS = 64  # so few are read without a sum of their bytes, which takes as long as reading them
RUNNING_BYTES = "running_bytes"  # the column with the bytes of the page up to a row
ID_LIMIT = 2**31  # ids are 32-bit integers in PostgreSQL
_encoder = Encoder()
Key = InstrumentedAttribute[Any] | ColumnElement[Any]


class BadCursor(Unprocessable):
    code = "bad_cursor"
    detail = "This cursor does not belong to this list. Please start from the first page."


class ListQuery(BaseModel):
    """Parameters of the existing app's lists: all rows, unless the client gives a limit.

    All rows are at most 2,000. The `Link` header leads to the next ones.
    """

    limit: Annotated[int | None, Field(ge=1, le=MAX_PAGE_ROWS)] = None
    cursor: Annotated[str | None, Field(max_length=500)] = None


class PageQuery(BaseModel):
    """Parameters of new lists: always a page, and an unknown parameter is an error."""

    model_config = ConfigDict(extra="forbid")

    limit: Annotated[int, Field(ge=1, le=MAX_PAGE_ROWS)] = 50
    cursor: Annotated[str | None, Field(max_length=500)] = None


class Page(BaseModel, Generic[Item]):
    items: list[Item]
    next_cursor: str | None


@dataclass(frozen=True)
class PageRows(Generic[Item]):
    items: Sequence[Item]
    next_cursor: str | None

    def page(self) -> Page[Item]:
        return Page(items=list(self.items), next_cursor=self.next_cursor)

    def to_body(self) -> CachedBody:
        """Encode structs whose fields are those of the schema, in the schema's order."""
        return CachedBody.of(_encoder.encode(self.items), self.next_cursor)


async def paginate(
    session: AsyncSession,
    statement: Select[Any],
    keys: Sequence[Key],
    query: ListQuery | PageQuery,
    *,
    columns: bool = False,
    newest_first: bool = False,
) -> PageRows[Any]:
    """Return a page of entities, or of rows if `columns` is true. Raises BadCursor.

    The order is ascending by keys, or descending if `newest_first` is true. The last key is unique.
    """
    statement = statement.order_by(*(key.desc() if newest_first else key for key in keys))
    if query.cursor:
        values = _decode(query.cursor, keys)
        statement = statement.where(_after(keys, values, newest_first=newest_first))
    limit = query.limit or MAX_LIST_ROWS
    result = await session.execute(statement.limit(limit + 1))
    rows: Sequence[Any] = result.all() if columns else result.scalars().all()
    if len(rows) <= limit:
        return PageRows(rows, None)
    items = rows[:limit]
    return PageRows(items, _encode([getattr(items[-1], key.key or "") for key in keys]))


def columns_for(
    schema: type[BaseModel], table: FromClause, *others: ColumnElement[Any]
) -> list[ColumnElement[Any]]:
    """Return a column for each field of the schema, from the table or, by label, from `others`."""
    known = {column.key: column for column in (*table.c, *others)}
    return [as_text(known[name]) for name in schema.model_fields]


def as_text(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return the column as the database writes it in a response, where that is cheaper."""
    if isinstance(column.type, Quantity):
        return type_coerce(column, QuantityText()).label(column.key)
    return column


class KeysetQuery:
    """A list that is read so often that its queries are compiled once.

    The order is ascending by keys, the last of which is unique. `with_children` turns the
    statement of a page into one with several rows for each row of the page. `large_rows` ends a
    page also after MAX_PAGE_BYTES. If it has more than FEW_ROWS, the database sends no more.
    """

    def __init__(
        self,
        statement: Select[Any],
        *keys: ColumnElement[Any],
        with_children: Callable[[Select[Any]], Select[Any]] | None = None,
        large_rows: bool = False,
    ) -> None:
        self._keys = keys
        self._has_children = with_children is not None
        complete = with_children or (lambda page: page)
        page = statement.order_by(*keys).limit(bindparam("limit", type_=Integer))
        last = [bindparam(f"last_{place}", type_=key.type) for place, key in enumerate(keys)]
        self._first = CompiledQuery(complete(page))
        self._next = CompiledQuery(complete(page.where(_after(keys, last))))
        self._bounded: tuple[CompiledQuery, CompiledQuery] | None = None
        if large_rows:
            bounded = partial(_within_bytes, keys)
            self._bounded = (
                CompiledQuery(bounded(page)),
                CompiledQuery(bounded(page.where(_after(keys, last)))),
            )

    async def page(
        self, db: Reader, query: ListQuery, **parameters: Any
    ) -> tuple[Columns, str | None]:
        """Return the rows of a page, and the cursor of the next page. Raises BadCursor.

        `parameters` are the statement's own.
        """
        limit = query.limit or MAX_LIST_ROWS
        compiled = self._first
        if query.cursor:
            compiled = self._next
            last = _decode(query.cursor, self._keys)
            parameters |= {f"last_{place}": value for place, value in enumerate(last)}
        fetched = limit if self._bounded is None else min(limit, FEW_ROWS)
        rows = await db.fetch(compiled, limit=fetched + 1, **parameters)
        if self._bounded is not None and (
            (fetched < limit and len(rows) > fetched) or _text_length(rows) > MAX_PAGE_BYTES
        ):
            bounded = self._bounded[1 if query.cursor else 0]
            rows = await db.fetch(bounded, limit=limit + 1, **parameters)
        keys = [rows.columns[key.key or ""] for key in self._keys]
        if self._has_children and len(rows) > limit:
            limit = _end_of_page(keys[-1], limit)
        totals = rows.columns.get(RUNNING_BYTES)
        if len(rows) <= limit and totals and totals[-1] >= MAX_PAGE_BYTES:
            limit = len(rows)
        elif len(rows) <= limit:
            return rows, None
        return rows.first(limit), _encode([column[limit - 1] for column in keys])


def _text_length(rows: Columns) -> int:
    """Return how many characters the texts of the rows have."""
    columns = rows.columns.values()
    return sum(len(text) for texts in columns for text in texts if isinstance(text, str))


def _within_bytes(keys: Sequence[ColumnElement[Any]], page: Select[Any]) -> Select[Any]:
    """Leave out the rows of a page that begin after MAX_PAGE_BYTES, and add RUNNING_BYTES."""
    rows = page.subquery()
    texts = [
        func.coalesce(byte_length(column), 0)
        for column in rows.c
        if isinstance(column.type, String) and not isinstance(column.type, Enum)
    ]
    size = reduce(add, texts)
    order = [rows.c[key.key or ""] for key in keys]
    total = func.sum(size).over(order_by=order, rows=(None, 0))
    sized = select(*rows.c, total.label(RUNNING_BYTES), size.label("own_bytes")).subquery()
    shown = [column for column in sized.c if column.key != "own_bytes"]
    return (
        select(*shown)
        .where(sized.c[RUNNING_BYTES] - sized.c.own_bytes < MAX_PAGE_BYTES)
        .order_by(*(sized.c[key.key or ""] for key in keys))
    )


def _end_of_page(keys: Sequence[Any], limit: int) -> int:
    """Return how many rows the first `limit` values of the key have."""
    seen: set[Any] = set()
    for place, key in enumerate(keys):
        seen.add(key)
        if len(seen) > limit:
            return place
    return len(keys)


def _after(
    keys: Sequence[Key], values: Sequence[Any], *, newest_first: bool = False
) -> ColumnElement[bool]:
    """Return (a, b) > (x, y), written out: the same SQL works on both databases."""
    beyond = lt if newest_first else gt
    return or_(
        *(
            and_(*(keys[j] == values[j] for j in range(i)), beyond(keys[i], values[i]))
            for i in range(len(keys))
        )
    )


def _encode(values: Sequence[Any]) -> str:
    tagged = [
        {"at": value.isoformat()}
        if isinstance(value, datetime)
        else {"on": value.isoformat()}
        if isinstance(value, date)
        else {"number": str(value)}
        if isinstance(value, Decimal)
        else value
        for value in values
    ]
    return base64.urlsafe_b64encode(json.dumps(tagged).encode()).decode().rstrip("=")


def _decode(cursor: str, keys: Sequence[Key]) -> list[Any]:
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        values = json.loads(base64.urlsafe_b64decode(padded.encode()))
        plain = [_untagged(value) for value in values]
    except (binascii.Error, ValueError, TypeError, KeyError, ArithmeticError) as error:
        raise BadCursor from error
    kinds = [key.type.python_type for key in keys]
    if [type(value) for value in plain] != kinds:
        raise BadCursor
    return plain


def _untagged(value: Any) -> Any:
    if not isinstance(value, dict):
        if isinstance(value, int) and abs(value) >= ID_LIMIT:
            raise BadCursor
        if isinstance(value, str):
            value.encode()  # half a surrogate pair is not valid text
            if "\0" in value:
                raise BadCursor
        return value
    if "at" in value:
        return datetime.fromisoformat(value["at"]).astimezone(UTC)
    if "on" in value:
        return date.fromisoformat(value["on"])
    return Decimal(value["number"])
