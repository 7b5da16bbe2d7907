"""SQL functions that mean the same on PostgreSQL and SQLite."""

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Integer, LargeBinary, String, Text, cast, literal
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from freshly.chassis.data.types import Instant


class now(FunctionElement[datetime]):  # noqa: N801 - reads like the SQL function it is
    """The time of the database's clock, the same for all processes.

    PostgreSQL's has microseconds, SQLite's milliseconds.
    """

    type = Instant()
    inherit_cache = True


@compiles(now)
def _now(_element: now, _compiler: SQLCompiler, **_: Any) -> str:
    return "now()"


@compiles(now, "sqlite")
def _now_on_sqlite(_element: now, _compiler: SQLCompiler, **_: Any) -> str:
    # Six decimal places, like bound values, because SQLite compares instants as texts.
    return "strftime('%Y-%m-%d %H:%M:%f000', 'now')"


class later(FunctionElement[datetime]):  # noqa: N801 - as above
    """A number of seconds from now, by the same clock."""

    type = Instant()
    inherit_cache = True

    def __init__(self, seconds: int) -> None:
        super().__init__(literal(seconds, Integer))


@compiles(later)
def _later(element: later, compiler: SQLCompiler, **options: Any) -> str:
    return f"now() + make_interval(secs => {compiler.process(element.clauses, **options)})"


@compiles(later, "sqlite")
def _later_on_sqlite(element: later, compiler: SQLCompiler, **options: Any) -> str:
    seconds = compiler.process(element.clauses, **options)
    return f"strftime('%Y-%m-%d %H:%M:%f', 'now', {seconds} || ' seconds')"


class json_size(FunctionElement[int]):  # noqa: N801 - as above
    """The number of bytes of a text in UTF-8 as a JSON string, with its quotes and escapes."""

    type = Integer()
    inherit_cache = True


@compiles(json_size)
def _json_size(element: json_size, compiler: SQLCompiler, **options: Any) -> str:
    text = compiler.process(element.clauses, **options)
    return f"octet_length(CAST(to_json(CAST({text} AS text)) AS text))"


@compiles(json_size, "sqlite")
def _json_size_on_sqlite(element: json_size, compiler: SQLCompiler, **options: Any) -> str:
    return f"length(CAST(json_quote({compiler.process(element.clauses, **options)}) AS BLOB))"


class empty_list(FunctionElement[Any]):  # noqa: N801 - as above
    """The server default of a TextList or IntList column."""

    inherit_cache = True


@compiles(empty_list)
def _empty_list(_element: empty_list, _compiler: SQLCompiler, **_: Any) -> str:
    return "'{}'"


@compiles(empty_list, "sqlite")
def _empty_list_on_sqlite(_element: empty_list, _compiler: SQLCompiler, **_: Any) -> str:
    return "'[]'"


class contains_id(FunctionElement[bool]):  # noqa: N801 - as above
    """True if an IntList column contains the number."""

    inherit_cache = True

    def __init__(self, column: ColumnElement[Any] | Any, id: int) -> None:
        super().__init__(column, id)


@compiles(contains_id)
def _contains_id(element: contains_id, compiler: SQLCompiler, **options: Any) -> str:
    column, id_ = element.clauses
    return f"{compiler.process(id_, **options)} = ANY ({compiler.process(column, **options)})"


@compiles(contains_id, "sqlite")
def _contains_id_on_sqlite(element: contains_id, compiler: SQLCompiler, **options: Any) -> str:
    column, id_ = (compiler.process(clause, **options) for clause in element.clauses)
    return f"{id_} IN (SELECT value FROM json_each({column}))"  # noqa: S608 - compiled parts


class unicode_lower(FunctionElement[str]):  # noqa: N801 - as above
    """lower() for every alphabet. SQLite's own lower() knows only A to Z."""

    type = Text()
    inherit_cache = True


@compiles(unicode_lower)
def _unicode_lower(element: unicode_lower, compiler: SQLCompiler, **options: Any) -> str:
    return f"lower({compiler.process(element.clauses, **options)})"


@compiles(unicode_lower, "sqlite")
def _unicode_lower_on_sqlite(element: unicode_lower, compiler: SQLCompiler, **options: Any) -> str:
    return f"unicode_lower({compiler.process(element.clauses, **options)})"


class size_in_bytes(FunctionElement[int]):  # noqa: N801 - as above
    """The bytes of a column. PostgreSQL knows those of texts without reading them, not of JSON."""

    type = Integer()
    inherit_cache = True

    def __init__(self, column: ColumnElement[Any] | Any) -> None:
        is_plain = isinstance(column.type, String | LargeBinary)
        super().__init__(column if is_plain else cast(column, Text))


@compiles(size_in_bytes)
def _size_in_bytes(element: size_in_bytes, compiler: SQLCompiler, **options: Any) -> str:
    return f"octet_length({compiler.process(element.clauses, **options)})"


@compiles(size_in_bytes, "sqlite")
def _size_in_bytes_on_sqlite(element: size_in_bytes, compiler: SQLCompiler, **options: Any) -> str:
    return f"length(CAST({compiler.process(element.clauses, **options)} AS BLOB))"
