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
from operator import gt, lt
from typing import Annotated, Any, Generic, TypeVar

from msgspec.json import Encoder
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import (
    ColumnElement,
    FromClause,
    Integer,
    Select,
    and_,
    bindparam,
    or_,
    type_coerce,
)
from sqlalchemy.ext.asyncio import AsyncSession

from freshly.chassis.cache.body import CachedBody
from freshly.chassis.data.page_bytes import (
    MAX_PAGE_BYTES,
    RUNNING_BYTES,
    Key,
    page_within_bytes,
    rows_that_fit,
    rows_within_bytes,
)
from freshly.chassis.data.queries import Columns, CompiledQuery
from freshly.chassis.data.transactions import Reader
from freshly.chassis.data.types import Quantity, QuantityText
from freshly.chassis.errors import Unprocessable

Item = TypeVar("Item")
MAX_PAGE_ROWS = 500
MAX_LIST_ROWS = 2000  # of a list for which the client gave no limit
FEW_ROWS = 64  # so few are read without a sum of their bytes, which takes as long as reading them
# The most that a character of a text and a row take in a response.
MAX_CHARACTER_BYTES = 8
MAX_FRAME_BYTES = 1_200
LONGEST_CURSOR = 2000  # characters; a name of 255 characters takes up to 1,370
ID_LIMIT = 2**31  # ids are 32-bit integers in PostgreSQL
_encoder = Encoder()


class BadCursor(Unprocessable):
    code = "bad_cursor"
    detail = "This cursor does not belong to this list. Please start from the first page."


class ListQuery(BaseModel):
    """Parameters of the existing app's lists: all rows, unless the client gives a limit.

    All rows are at most 2,000. The `Link` header leads to the next ones.
    """

    limit: Annotated[int | None, Field(ge=1, le=MAX_PAGE_ROWS)] = None
    cursor: Annotated[str | None, Field(max_length=LONGEST_CURSOR)] = None


class PageQuery(BaseModel):
    """Parameters of new lists: always a page, and an unknown parameter is an error."""

    model_config = ConfigDict(extra="forbid")

    limit: Annotated[int, Field(ge=1, le=MAX_PAGE_ROWS)] = 50
    cursor: Annotated[str | None, Field(max_length=LONGEST_CURSOR)] = None


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
    size: ColumnElement[int] | None = None,
) -> PageRows[Any]:
    """Return a page of entities, or of rows if `columns` is true. Raises BadCursor.

    The order is ascending by keys, or descending if `newest_first` is true. The last key is unique.
    With `size`, the bytes of a row in the response, the page ends also after MAX_PAGE_BYTES.
    """
    if query.cursor:
        values = _decode(query.cursor, keys)
        statement = statement.where(_after(keys, values, newest_first=newest_first))
    limit = query.limit or MAX_LIST_ROWS
    if size is not None:
        rows, has_more = await rows_within_bytes(
            session, statement, keys, size, limit, newest_first=newest_first
        )
    else:
        statement = statement.order_by(*(key.desc() if newest_first else key for key in keys))
        found = (await session.execute(statement.limit(limit + 1))).all()
        rows, has_more = list(found[:limit]), len(found) > limit
    items = rows if columns else [row[0] for row in rows]
    if not has_more:
        return PageRows(items, None)
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
    statement of a page into one with several rows for each row of the page. With `size`, the bytes
    of a row in the response, the page ends also after MAX_PAGE_BYTES. If it has more than FEW_ROWS,
    the database sends no more.
    """

    def __init__(
        self,
        statement: Select[Any],
        *keys: ColumnElement[Any],
        with_children: Callable[[Select[Any]], Select[Any]] | None = None,
        size: ColumnElement[int] | None = None,
    ) -> None:
        self._keys = keys
        self._has_children = with_children is not None
        complete = with_children or (lambda page: page)
        first = statement.order_by(*keys).limit(bindparam("limit", type_=Integer))
        last = [bindparam(f"last_{place}", type_=key.type) for place, key in enumerate(keys)]
        pages = first, first.where(_after(keys, last))
        self._pages = [CompiledQuery(complete(page)) for page in pages]
        self._bounded: list[CompiledQuery] | None = None
        if size is not None:
            bounded = [page_within_bytes(page, keys, size) for page in pages]
            self._bounded = [CompiledQuery(complete(page)) for page in bounded]

    async def page(
        self, db: Reader, query: ListQuery, **parameters: Any
    ) -> tuple[Columns, str | None]:
        """Return the rows of a page, and the cursor of the next page. Raises BadCursor.

        `parameters` are the statement's own.
        """
        limit = query.limit or MAX_LIST_ROWS
        is_next = bool(query.cursor)
        if query.cursor:
            last = _decode(query.cursor, self._keys)
            parameters |= {f"last_{place}": value for place, value in enumerate(last)}
        fetched = limit if self._bounded is None else min(limit, FEW_ROWS)
        rows = await db.fetch(self._pages[is_next], limit=fetched + 1, **parameters)
        if self._bounded is not None and (
            (fetched < limit and self._end(rows, fetched) < len(rows))
            or _most_bytes(rows) > MAX_PAGE_BYTES
        ):
            rows = await db.fetch(self._bounded[is_next], limit=limit + 1, **parameters)
        end = self._end(rows, limit)
        if totals := rows.columns.get(RUNNING_BYTES):
            end = min(end, rows_that_fit(totals))
        if end == len(rows):
            return rows, None
        keys = [rows.columns[key.key or ""] for key in self._keys]
        return rows.first(end), _encode([column[end - 1] for column in keys])

    def _end(self, rows: Columns, limit: int) -> int:
        """Return how many rows the first `limit` rows of the page have, with their children."""
        if not self._has_children or len(rows) <= limit:
            return min(limit, len(rows))
        return _end_of_page(rows.columns[self._keys[-1].key or ""], limit)


def _most_bytes(rows: Columns) -> int:
    """Return the most that the rows can take in a response."""
    columns = rows.columns.values()
    characters = sum(len(text) for texts in columns for text in texts if isinstance(text, str))
    return characters * MAX_CHARACTER_BYTES + len(rows) * MAX_FRAME_BYTES


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
    text = json.dumps(tagged, ensure_ascii=False)
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


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
