"""Write the types and defaults of columns as Python that runs on PostgreSQL and on SQLite alike.

Alembic compares the models with a PostgreSQL database. It would write PostgreSQL's own types and
defaults for whatever it finds in the database only, which is what a downgrade brings back.
"""

import re
from collections.abc import Callable
from typing import Any, Literal

from alembic.autogenerate.api import AutogenContext
from sqlalchemy import ARRAY, JSON, DateTime, DefaultClause, Enum, Float, Integer, Numeric
from sqlalchemy.sql.elements import False_, TextClause, True_
from sqlalchemy.sql.functions import FunctionElement, now
from sqlalchemy.types import TypeEngine

from freshly.chassis.data import functions, types

OUR_TYPES = types.__name__
# PostgreSQL's types of columns, and ours that are stored as these.
SAME_TYPES: tuple[tuple[Callable[[Any], bool], str], ...] = (
    (lambda item: isinstance(item, JSON), "types.Json"),
    (lambda item: _is_array_of(item, Integer), "types.IntList()"),
    (lambda item: isinstance(item, ARRAY), "types.TextList()"),
    (lambda item: isinstance(item, DateTime) and item.timezone, "types.Instant()"),
    (lambda item: _is_numeric(item, 10, 3), "types.Quantity()"),
    (lambda item: _is_numeric(item, None, None), "types.ExactNumber()"),
)
# PostgreSQL's defaults of columns, and SQLAlchemy's for both databases.
DEFAULTS = {"now()": "sa.func.now()", "true": "sa.true()", "false": "sa.false()"}
EMPTY_LIST = re.compile(r"'\{\}'(?:::\w+\[\])?")
QUOTED = re.compile(r"'((?:[^']|'')*)'(?:::[\w ]+)?")


def render_item(kind: str, item: object, _context: AutogenContext) -> str | Literal[False]:
    """Return the Python of a type or a default. Return False to leave it to Alembic."""
    text = None
    if kind == "type" and isinstance(item, TypeEngine):
        text = type_text(item)
    elif kind == "server_default" and isinstance(item, DefaultClause):
        text = default_text(item.arg)
    return False if text is None else text


def type_text(item: TypeEngine[Any]) -> str | None:
    """Return the Python of a type, or None if Alembic's is right."""
    if type(item).__module__ == OUR_TYPES:
        return f"types.{type(item).__name__}()"
    if isinstance(item, Enum):
        labels = ", ".join(map(repr, item.enums))
        return f"sa.Enum({labels}, name={item.name!r}, create_constraint=True)"
    return next((text for matches, text in SAME_TYPES if matches(item)), None)


def default_text(given: object) -> str | None:
    """Return the Python of a server's default, or None if Alembic's is right."""
    if isinstance(given, TextClause):
        return _default_of_postgres(given.text)
    if isinstance(given, True_ | False_):
        return f"sa.{given}()"
    if isinstance(given, now):
        return DEFAULTS["now()"]
    if isinstance(given, FunctionElement) and type(given).__module__ == functions.__name__:
        return f"functions.{type(given).__name__}()"
    return None


def _default_of_postgres(text: str) -> str | None:
    if EMPTY_LIST.fullmatch(text):
        return "functions.empty_list()"
    if quoted := QUOTED.fullmatch(text):
        return repr(quoted[1].replace("''", "'"))
    return DEFAULTS.get(text)


def _is_array_of(item: object, kind: type[TypeEngine[Any]]) -> bool:
    return isinstance(item, ARRAY) and isinstance(item.item_type, kind)


def _is_numeric(item: object, precision: int | None, scale: int | None) -> bool:
    exact = isinstance(item, Numeric) and not isinstance(item, Float)
    return exact and (item.precision, item.scale) == (precision, scale)
