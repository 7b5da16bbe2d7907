"""Reads a backup into an empty installation, or only to check it."""

import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO, Any

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from freshly.chassis.backup.archive import (
    END,
    FILES,
    SECRETS,
    TABLES,
    ArchiveReader,
    errors_of_archives,
)
from freshly.chassis.backup.errors import BackupFailed
from freshly.chassis.backup.installation import Contents, Installation
from freshly.chassis.backup.rows import (
    checksum,
    empty,
    fill,
    is_served,
    people,
    refer,
    set_last_ids,
)
from freshly.chassis.backup.tables import TableFormat

COPIED_BYTES = 256 * 1024  # of a file at once
# Keeps a file of the backup: its bucket and path, and the copy to keep.
KeepFile = Callable[[str, str, Path], Awaitable[None]]


async def ensure_empty(target: Installation, head: Mapping[str, Any]) -> None:
    """Raise BackupFailed if the target has accounts, other files, or a server that uses it."""
    async with target.engine.connect() as connection:
        if accounts := await people(connection):
            raise BackupFailed(
                f"the database has {accounts} accounts; a backup is restored into an empty one"
            )
        if await is_served(connection, datetime.now(UTC)):
            raise BackupFailed(
                "a server or worker uses the database; stop it, and try again 15 s later"
            )
    for name, bucket in target.buckets.items():
        own = set(head["files"].get(name, ()))
        others = [one for one in await target.objects.list_paths(bucket, "") if one not in own]
        if others:
            raise BackupFailed(
                f"STORAGE_URL: {bucket} has files that are not in the backup, such as {others[0]};"
                " a backup is restored into an empty folder or bucket"
            )


@dataclass
class Restoring:
    """Restores the entries of an archive in one transaction, which ends when all is compared."""

    archive: ArchiveReader
    target: Installation
    keep: KeepFile
    found: Contents = field(default_factory=Contents)
    secrets: Mapping[str, str] = field(default_factory=dict)
    _references: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    _end: Mapping[str, Any] | None = None

    async def run(self) -> Contents:
        """Restore everything, or nothing. Raises BackupFailed."""
        async with self.target.engine.execution_options(writes=True).begin() as connection:
            with errors_of_archives():
                tables = {one["name"]: TableFormat.read(one) for one in self.archive.head["tables"]}
            await empty(connection, list(tables.values()))
            with errors_of_archives():
                for name, _, content in self.archive.entries():
                    await self._entry(connection, tables, name, content)
                if self._end is None:
                    raise BackupFailed("is cut off: its end is missing")
                await set_last_ids(connection, self._end["last_ids"], tables.values())
            await self._compare(connection, tables)
        return self.found

    async def _entry(
        self,
        connection: AsyncConnection,
        tables: Mapping[str, TableFormat],
        name: str,
        content: IO[bytes],
    ) -> None:
        if name == END:
            for table in tables.values():
                await refer(connection, table, self._references.get(table.name, ()))
            self._end = _json(content)
        elif name == SECRETS:
            self.secrets = _json(content)
        elif name.startswith(f"{TABLES}/"):
            table = tables[name.split("/")[1]]
            try:
                await self._rows(connection, table, content)
            except DBAPIError as error:
                raise BackupFailed(f"table {table.name}: {_reason(error)}") from error
        elif name.startswith(f"{FILES}/"):
            _, bucket, path = name.split("/", 2)
            await self._file(bucket, path, content)
        else:
            raise BackupFailed(f"has an unknown part, {name}; a later release may have made it")

    async def _rows(
        self, connection: AsyncConnection, table: TableFormat, content: IO[bytes]
    ) -> None:
        rows = [table.values(line) for line in content.read().splitlines()]
        references = self._references.setdefault(table.name, [])
        await fill(connection, table, rows, references)

    async def _file(self, bucket: str, path: str, content: IO[bytes]) -> None:
        if bucket not in self.target.buckets:
            raise BackupFailed(f"has files of {bucket}, which this release does not know")
        digest, size = hashlib.sha256(), 0
        with NamedTemporaryFile(prefix="freshly-") as copy:
            while chunk := content.read(COPIED_BYTES):
                digest.update(chunk)
                size += copy.write(chunk)
            copy.flush()
            await self.keep(bucket, path, Path(copy.name))
        self.found.add_file(f"{bucket}/{path}", size, digest.hexdigest())

    async def _compare(
        self, connection: AsyncConnection, tables: Mapping[str, TableFormat]
    ) -> None:
        """Read the rows again, and raise BackupFailed if anything differs from the backup."""
        assert self._end is not None
        for name, table in tables.items():
            self.found.tables[name] = await checksum(connection, table)
            if self.found.tables[name].as_json() != self._end["tables"].get(name):
                raise BackupFailed(f"is damaged: table {name} differs from its checksum")
        files = {**self.found.files.as_json(), "bytes": self.found.file_bytes}
        if files != self._end["files"]:
            raise BackupFailed("is damaged: files differ from their checksum")


def _json(content: IO[bytes]) -> Any:
    return json.loads(content.read())


def _reason(error: DBAPIError) -> str:
    return (str(error.orig).splitlines() or [type(error.orig).__name__])[0]
