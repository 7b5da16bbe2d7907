"""The database and files that a backup is made of, and the place where they are restored."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import MetaData
from sqlalchemy.ext.asyncio import AsyncEngine

from freshly.chassis.backup.rows import LEFT_OUT
from freshly.chassis.backup.tables import Checksum, TableFormat
from freshly.chassis.ports.object_storage import ObjectStore
from freshly.settings import Settings


@dataclass(frozen=True)
class Installation:
    """A database, and its files by bucket.

    A backup names a bucket by its setting, such as `avatars`: another installation may call the
    bucket otherwise.
    """

    engine: AsyncEngine
    metadata: MetaData
    objects: ObjectStore
    buckets: Mapping[str, str]

    @property
    def tables(self) -> Sequence[TableFormat]:
        """The tables of this release, each after those that it refers to."""
        return [
            TableFormat.of(table)
            for table in self.metadata.sorted_tables
            if table.name not in LEFT_OUT
        ]


def buckets_of(settings: Settings) -> Mapping[str, str]:
    names = [name for name in type(settings).model_fields if name.endswith("_bucket")]
    return {name.removesuffix("_bucket"): getattr(settings, name) for name in names}


@dataclass
class Contents:
    """The rows by table, and the files, that were written or read."""

    tables: dict[str, Checksum] = field(default_factory=dict)
    files: Checksum = field(default_factory=Checksum)
    file_bytes: int = 0
    last_ids: Mapping[str, int] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        return sum(one.rows for one in self.tables.values())

    def add_file(self, name: str, size: int, digest: str) -> None:
        self.files.add(f"{name} {size} {digest}".encode())
        self.file_bytes += size

    def as_json(self) -> dict[str, Any]:
        return {
            "tables": {name: one.as_json() for name, one in self.tables.items()},
            "files": {**self.files.as_json(), "bytes": self.file_bytes},
            "last_ids": dict(self.last_ids),
        }
