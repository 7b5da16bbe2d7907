"""Long lists, a piece at a time: by key, not by offset, so that no row is skipped or seen twice."""

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from operator import gt, lt
from typing import Annotated, Any, Generic, Protocol, TypeVar

from msgspec.json import Encoder
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import ColumnElement, FromClause, Integer, Select, and_, bindparam, or_, type_coerce
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from freshly.chassis.cache.body import CachedBody
from freshly.chassis.data.queries import CompiledQuery, Found
from freshly.chassis.data.types import Quantity, QuantityText
from freshly.chassis.errors import Unprocessable

Item = TypeVar("Item")
LONGEST_PAGE = 500
LONGEST_LIST = 2000  # rows of a list that nobody asked a limit for
_encoder = Encoder()
Key = InstrumentedAttribute[Any] | ColumnElement[Any]


class BadCursor(Unprocessable):
    code = "bad_cursor"
    detail = "This cursor does not belong to this list. Please start from the first page."


class ListQuery(BaseModel):
    """For the lists of the existing app: everything, unless a limit is asked for.

    Everything is 2,000 rows at most; where the rest is stands in the `Link` header.
    """

    limit: Annotated[int | None, Field(ge=1, le=LONGEST_PAGE)] = None
    cursor: Annotated[str | None, Field(max_length=500)] = None


class PageQuery(BaseModel):
    """For new lists: always a page; an unknown parameter is an error."""

    model_config = ConfigDict(extra="forbid")

    limit: Annotated[int, Field(ge=1, le=LONGEST_PAGE)] = 50
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
    """Entities, or rows of `columns`; ascending by keys, the last of which is unique.

    `newest_first` is descending.
    """
    statement = statement.order_by(*(key.desc() if newest_first else key for key in keys))
    if query.cursor:
        values = _decode(query.cursor, keys)
        statement = statement.where(_after(keys, values, newest_first=newest_first))
    limit = query.limit or LONGEST_LIST
    found = await session.execute(statement.limit(limit + 1))
    rows: Sequence[Any] = found.all() if columns else found.scalars().all()
    if len(rows) <= limit:
        return PageRows(rows, None)
    items = rows[:limit]
    return PageRows(items, _encode([getattr(items[-1], key.key or "") for key in keys]))


class Asked(Protocol):
    """Units of work."""

    async def fetch(self, question: CompiledQuery, **asked: Any) -> Found: ...


def columns_for(
    schema: type[BaseModel], table: FromClause, *others: ColumnElement[Any]
) -> list[ColumnElement[Any]]:
    """Columns for the fields of a schema, in its order: of a table, or others by their label."""
    known = {column.key: column for column in (*table.c, *others)}
    return [as_text(known[name]) for name in schema.model_fields]


def as_text(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """As it is in an answer, where the database has that for less."""
    if isinstance(column.type, Quantity):
        return type_coerce(column, QuantityText()).label(column.key)
    return column


class KeysetQuery:
    """A list of rows that is asked for so often that its statements are built once.

    Ascending by keys, the last of which is unique. `within` makes of a page's statement one with
    several rows for each of it.
    """

    def __init__(
        self,
        statement: Select[Any],
        *keys: ColumnElement[Any],
        with_children: Callable[[Select[Any]], Select[Any]] | None = None,
    ) -> None:
        self._keys = keys
        self._has_parts = with_children is not None
        finished = with_children or (lambda page: page)
        page = statement.order_by(*keys).limit(bindparam("limit", type_=Integer))
        last = [bindparam(f"last_{place}", type_=key.type) for place, key in enumerate(keys)]
        self._first = CompiledQuery(finished(page))
        self._next = CompiledQuery(finished(page.where(_after(keys, last))))

    async def page(self, db: Asked, query: ListQuery, **asked: Any) -> tuple[Found, str | None]:
        """By the statement's own parameters, and where the next page begins. Raises BadCursor."""
        limit = query.limit or LONGEST_LIST
        question = self._first
        if query.cursor:
            question = self._next
            last = _decode(query.cursor, self._keys)
            asked |= {f"last_{place}": value for place, value in enumerate(last)}
        found = await db.fetch(question, limit=limit + 1, **asked)
        keys = [found.columns[key.key or ""] for key in self._keys]
        if self._has_parts and len(found) > limit:
            limit = _end_of_page(keys[-1], limit)
        if len(found) <= limit:
            return found, None
        return found.first(limit), _encode([column[limit - 1] for column in keys])


def _end_of_page(keys: Sequence[Any], limit: int) -> int:
    """How many rows the first `limit` values of the key have."""
    seen: set[Any] = set()
    for place, key in enumerate(keys):
        seen.add(key)
        if len(seen) > limit:
            return place
    return len(keys)


def _after(
    keys: Sequence[Key], values: Sequence[Any], *, newest_first: bool = False
) -> ColumnElement[bool]:
    """(a, b) > (x, y), written out: SQLite and PostgreSQL agree on this form."""
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
        if isinstance(value, int) and abs(value) >= 2**31:
            raise BadCursor
        if isinstance(value, str):
            value.encode()  # half a surrogate pair is no text
            if "\0" in value:
                raise BadCursor
        return value
    if "at" in value:
        return datetime.fromisoformat(value["at"]).astimezone(UTC)
    if "on" in value:
        return date.fromisoformat(value["on"])
    return Decimal(value["number"])
