"""Tables in a backup, described so that either database, and a later release, can read them.

A row is a line of JSON: an array of the table's columns in order. The line of a row is the same,
whichever database it comes from, so checksums of lines compare databases.
"""

import hashlib
import json
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Self

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Date,
    Enum,
    Float,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)
from sqlalchemy.types import TypeEngine

from freshly.chassis.data.types import ExactNumber, Instant, IntList, Json, Quantity, TextList

LIMIT = 2**256  # checksums are numbers of 256 bits

# By name in a backup: the type of a column, how JSON writes its values, and how to read them back.
# A kind of column that comes first wins: an Enum is a String, too.
Convert = Callable[[Any], Any]


def _same(value: Any) -> Any:
    return value


def _plain_numbers(value: Any) -> Any:
    """Write 2.0 as 2, as PostgreSQL does within JSON, at any depth."""
    if isinstance(value, dict):
        return {key: _plain_numbers(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_plain_numbers(one) for one in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


KINDS: Mapping[str, tuple[Any, Convert, Convert]] = {
    "quantity": (Quantity, "{:f}".format, Decimal),
    "number": (ExactNumber, "{:f}".format, Decimal),
    "instant": (Instant, datetime.isoformat, datetime.fromisoformat),
    "texts": (TextList, _same, _same),
    "integers": (IntList, _same, _same),
    "json": (JSON, _plain_numbers, _same),
    "enum": (Enum, str, _same),
    "bytes": (LargeBinary, lambda value: b64encode(value).decode(), b64decode),
    "boolean": (Boolean, _same, _same),
    "date": (Date, date.isoformat, date.fromisoformat),
    "big integer": (BigInteger, _same, _same),
    "integer": (Integer, _same, _same),
    "float": (Float, float, _same),
    "text": (String, _same, _same),
}
# Where the column of a table that is filled needs another type than `KINDS` names.
FILLED_TYPES = {"json": Json, "text": Text()}


@dataclass(frozen=True)
class ColumnFormat:
    name: str
    kind: str  # a key of KINDS
    enum: str | None = None  # the name of the enumerated type
    values: tuple[str, ...] = ()  # of the enumerated type

    @classmethod
    def of(cls, column: Column[Any]) -> Self:
        """Raises TypeError if no kind fits the column."""
        for kind, (type_, _, _) in KINDS.items():
            if isinstance(column.type, type_):
                if isinstance(column.type, Enum):
                    return cls(column.name, kind, column.type.name, tuple(column.type.enums))
                return cls(column.name, kind)
        raise TypeError(f"{column}: backups do not know {column.type!r}")

    @property
    def type(self) -> TypeEngine[Any]:
        if self.kind == "enum":
            return Enum(*self.values, name=self.enum, create_constraint=False)
        known: Any = FILLED_TYPES.get(self.kind) or KINDS[self.kind][0]()
        return known  # type: ignore[no-any-return]


@dataclass(frozen=True)
class TableFormat:
    """A table in a backup."""

    name: str
    key: tuple[str, ...]
    columns: tuple[ColumnFormat, ...]
    # Columns that refer to a row of the same table, which may come later.
    inward: tuple[str, ...] = ()

    @classmethod
    def of(cls, table: Table) -> Self:
        inward = sorted(k.parent.name for k in table.foreign_keys if k.column.table is table)
        key = tuple(column.name for column in table.primary_key.columns)
        return cls(table.name, key, tuple(map(ColumnFormat.of, table.columns)), tuple(inward))

    @classmethod
    def read(cls, written: Mapping[str, Any]) -> Self:
        """Return the table that a backup describes. Raises KeyError or TypeError if it does not."""
        columns = tuple(
            ColumnFormat(one["name"], one["kind"], one.get("enum"), tuple(one.get("values") or ()))
            for one in written["columns"]
        )
        if unknown := {column.kind for column in columns} - KINDS.keys():
            raise KeyError(f"kinds of columns: {', '.join(sorted(unknown))}")
        return cls(written["name"], tuple(written["key"]), columns, tuple(written["inward"]))

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def table(self) -> Table:
        return Table(
            self.name, MetaData(), *(Column(column.name, column.type) for column in self.columns)
        )

    def line(self, row: Sequence[Any]) -> bytes:
        """Return the row as a line of JSON, without the line end."""
        written = [
            None if value is None else KINDS[column.kind][1](value)
            for column, value in zip(self.columns, row, strict=True)
        ]
        text = json.dumps(written, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
        return text.encode()

    def values(self, line: bytes) -> dict[str, Any]:
        """Return the values of a line by column. Raises ValueError if it is not a row."""
        written = json.loads(line)
        return {
            column.name: None if value is None else KINDS[column.kind][2](value)
            for column, value in zip(self.columns, written, strict=True)
        }


@dataclass
class Checksum:
    """The number of rows and the sum of their SHA-256: the same in whatever order they come."""

    rows: int = 0
    total: int = 0

    def add(self, line: bytes) -> None:
        self.rows += 1
        self.total = (self.total + int.from_bytes(hashlib.sha256(line).digest())) % LIMIT

    def as_json(self) -> dict[str, Any]:
        return {"rows": self.rows, "sha256_sum": f"{self.total:064x}"}
