"""Column types that mean the same on PostgreSQL and SQLite."""

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from enum import StrEnum
from functools import lru_cache
from typing import Any

from msgspec import MsgspecError
from msgspec.json import Decoder
from sqlalchemy import (
    ARRAY,
    JSON,
    BigInteger,
    ColumnElement,
    DateTime,
    Dialect,
    Enum,
    Integer,
    Numeric,
    String,
    Text,
    TypeDecorator,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeEngine

THOUSANDTH = Decimal("0.001")
LARGEST_QUANTITY = Decimal("9999999.999")
# Converts a driver's value. Our types override `result_processor` to return one, because
# TypeDecorator's own takes three calls for each value of a long list.
FromDriver = Callable[[Any], Any] | None
ColumnFromDriver = Callable[[Sequence[Any]], Sequence[Any]]  # converts a whole column


class Quantity(TypeDecorator[Decimal]):
    """NUMERIC(10,3). SQLite has only floats, so there it is an integer number of thousandths."""

    impl = Numeric(10, 3)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name == "sqlite":
            return dialect.type_descriptor(BigInteger())
        return dialect.type_descriptor(Numeric(10, 3))

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> Any:
        if value is None:
            return None
        rounded = value.quantize(THOUSANDTH, ROUND_HALF_UP)
        return int(rounded.scaleb(3)) if dialect.name == "sqlite" else rounded

    def result_processor(self, dialect: Dialect, coltype: Any) -> FromDriver:
        del coltype
        # asyncpg returns Decimals.
        return _decimal_of_thousandths if dialect.name == "sqlite" else None


@lru_cache(maxsize=4096)
def _decimal_of_thousandths(value: int | None) -> Decimal | None:
    return None if value is None else Decimal(value).scaleb(-3)


class cast_to_text(FunctionElement[str]):  # noqa: N801 - reads like the SQL function it is
    """A Quantity as text, for QuantityText to convert."""

    type = Text()
    inherit_cache = True


@compiles(cast_to_text)
def _cast_to_text(element: cast_to_text, compiler: SQLCompiler, **options: Any) -> str:
    return f"CAST({compiler.process(element.clauses, **options)} AS TEXT)"


@compiles(cast_to_text, "sqlite")
def _cast_to_text_on_sqlite(element: cast_to_text, compiler: SQLCompiler, **options: Any) -> str:
    return compiler.process(element.clauses, **options)


class QuantityText(TypeDecorator[str]):
    """A Quantity as responses show it, "2.000". Through a Decimal it takes three times as long."""

    impl = Text
    cache_ok = True

    def column_expression(self, column: ColumnElement[Any]) -> ColumnElement[Any]:
        return cast_to_text(column)

    def result_processor(self, dialect: Dialect, coltype: Any) -> FromDriver:
        del coltype
        return _text_of_thousandths if dialect.name == "sqlite" else None


@lru_cache(maxsize=4096)
def _text_of_thousandths(value: int | None) -> str | None:
    return None if value is None else f"{Decimal(value).scaleb(-3):f}"


class ExactNumber(TypeDecorator[Decimal]):
    """NUMERIC without limits. It is text on SQLite, so that nothing is rounded."""

    impl = Numeric
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(String() if dialect.name == "sqlite" else Numeric())

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> Any:
        return str(value) if value is not None and dialect.name == "sqlite" else value

    def process_result_value(self, value: Any, dialect: Dialect) -> Decimal | None:
        del dialect
        return None if value is None else Decimal(value)


class Instant(TypeDecorator[datetime]):
    """TIMESTAMP WITH TIME ZONE, always aware. SQLite stores UTC without a time zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    @property
    def python_type(self) -> type[datetime]:
        return datetime

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        in_utc = value.astimezone(UTC)
        return in_utc.replace(tzinfo=None) if dialect.name == "sqlite" else in_utc

    def result_processor(self, dialect: Dialect, coltype: Any) -> FromDriver:
        del coltype
        return _utc_of_text if dialect.name == "sqlite" else _utc

    def whole_column_processor(self, dialect: Dialect) -> ColumnFromDriver | None:
        """Return a faster converter for a whole column, which a CompiledQuery has."""
        return _utc_of_texts if dialect.name == "sqlite" else None


def _utc_of_text(value: str | None) -> datetime | None:
    return None if value is None else datetime.fromisoformat(f"{value}+00:00")


_instants = Decoder(list[datetime]).decode


def _utc_of_texts(values: Sequence[Any]) -> Sequence[datetime | None]:
    """Parse a column as one JSON list, which takes a third of the time."""
    try:
        return _instants('["' + 'Z","'.join(values) + 'Z"]') if values else values
    except (TypeError, MsgspecError):  # there are nulls, or formats that only Python can parse
        return list(map(_utc_of_text, values))


def _utc(value: datetime | None) -> datetime | None:
    if value is None or value.tzinfo is UTC:  # asyncpg returns UTC
        return value
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class _List(TypeDecorator[list[Any]]):
    """A list: an array on PostgreSQL, JSON on SQLite."""

    impl = JSON
    cache_ok = True
    item: type[TypeEngine[Any]]

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        stored = JSON() if dialect.name == "sqlite" else ARRAY(self.item())
        return dialect.type_descriptor(stored)

    def process_literal_param(self, value: Sequence[Any] | None, dialect: Dialect) -> str:
        del dialect
        return json.dumps(list(value or ()))


class TextList(_List):
    item = Text
    cache_ok = True


class IntList(_List):
    item = Integer
    cache_ok = True


Json = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")


def named_enum(values: type[StrEnum], name: str) -> Enum:
    """Return a type that stores the enum's values: an ENUM on PostgreSQL, a CHECK on SQLite."""
    return Enum(
        values,
        name=name,
        values_callable=lambda members: [member.value for member in members],
        native_enum=True,
        create_constraint=True,
    )
