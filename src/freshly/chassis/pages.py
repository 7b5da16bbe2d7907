"""Long lists, a piece at a time: by key, not by offset, so that no row is skipped or seen twice."""

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any, Generic, TypeVar
from urllib.parse import urlencode

from fastapi import Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import ColumnElement, Select, and_, or_
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from freshly.chassis.errors import Unprocessable

Item = TypeVar("Item")
LONGEST_PAGE = 500
Key = InstrumentedAttribute[Any] | ColumnElement[Any]


class BadCursor(Unprocessable):
    code, detail = "bad_cursor", "cursor: is not one that this list gave out"


class ListQuery(BaseModel):
    """For the lists of the existing app: everything, unless a limit is asked for."""

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
class Slice(Generic[Item]):
    items: Sequence[Item]
    next_cursor: str | None

    def page(self) -> Page[Item]:
        return Page(items=list(self.items), next_cursor=self.next_cursor)

    def link(self, request: Request, response: Response) -> Sequence[Item]:
        """The bare list, and where the next piece is in the `Link` header (RFC 8288)."""
        if self.next_cursor:
            query = {**request.query_params, "cursor": self.next_cursor}
            response.headers["Link"] = f'<{request.url.path}?{urlencode(query)}>; rel="next"'
        return self.items


async def paginate(
    session: AsyncSession,
    statement: Select[Any],
    keys: Sequence[Key],
    query: ListQuery | PageQuery,
) -> Slice[Any]:
    """Rows of one entity, ascending by keys, the last of which is unique."""
    statement = statement.order_by(*keys)
    if query.cursor:
        statement = statement.where(_after(keys, _decode(query.cursor, len(keys))))
    if query.limit is None:
        return Slice((await session.scalars(statement)).all(), None)
    rows = (await session.scalars(statement.limit(query.limit + 1))).all()
    items = rows[: query.limit]
    more = len(rows) > query.limit
    return Slice(items, _encode([getattr(items[-1], k.key or "") for k in keys]) if more else None)


def _after(keys: Sequence[Key], values: Sequence[Any]) -> ColumnElement[bool]:
    """(a, b) > (x, y), written out: SQLite and PostgreSQL agree on this form."""
    return or_(
        *(
            and_(*(keys[j] == values[j] for j in range(i)), keys[i] > values[i])
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


def _decode(cursor: str, length: int) -> list[Any]:
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        values = json.loads(base64.urlsafe_b64decode(padded.encode()))
        plain = [_untagged(value) for value in values]
    except (binascii.Error, ValueError, TypeError, KeyError, ArithmeticError) as error:
        raise BadCursor from error
    if len(plain) != length:
        raise BadCursor
    return plain


def _untagged(value: Any) -> Any:
    if not isinstance(value, dict):
        if isinstance(value, int) and abs(value) >= 2**31:
            raise BadCursor
        return value
    if "at" in value:
        return datetime.fromisoformat(value["at"])
    if "on" in value:
        return date.fromisoformat(value["on"])
    return Decimal(value["number"])


Listed = Annotated[ListQuery, Query()]
