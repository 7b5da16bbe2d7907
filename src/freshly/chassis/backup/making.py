"""Writes a backup while the installation is in use."""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from tempfile import SpooledTemporaryFile
from typing import IO, Any

from freshly import __version__
from freshly.chassis.backup.archive import (
    END,
    FILES,
    FORMAT,
    HEAD,
    SECRETS,
    ArchiveWriter,
    RowsWriter,
)
from freshly.chassis.backup.installation import Contents, Installation
from freshly.chassis.backup.rows import last_ids, read_lines, snapshot, unknown_parts
from freshly.chassis.backup.tables import Checksum

SPOOLED_BYTES = 4 * 2**20  # of a file that are held in memory
Paths = Mapping[str, list[str]]  # by bucket, as the backup names it


async def write_backup(
    source: Installation, target: IO[bytes], revision: str, secrets: Mapping[str, str]
) -> tuple[Contents, list[str]]:
    """Write all rows and files to the target. Return what it has, and what it leaves out.

    All rows are of one moment. Files are read after it: one that was removed meanwhile is left
    out. Raises StorageUnavailable, and what the database raises.
    """
    contents = Contents()
    archive = ArchiveWriter(target)
    async with snapshot(source.engine) as connection:
        left_out = await unknown_parts(connection, source.metadata.sorted_tables)
        # This read begins the snapshot on PostgreSQL; it must be older than the list of files.
        contents.last_ids = await last_ids(connection, source.tables)
        paths = await _paths(source)
        archive.add_json(HEAD, _head(source, revision, paths))
        if secrets:
            archive.add_json(SECRETS, secrets)
        for table in source.tables:
            rows, checksum = RowsWriter(archive, table.name), Checksum()
            async for line in read_lines(connection, table):
                checksum.add(line)
                rows.add(line)
            rows.flush()
            contents.tables[table.name] = checksum
    for bucket, names in paths.items():
        for path in names:
            if not await _add_file(source, archive, bucket, path, contents):
                left_out.append(f"{bucket}/{path} (removed meanwhile)")
    archive.add_json(END, contents.as_json())
    archive.close()
    return contents, left_out


def _head(source: Installation, revision: str, paths: Paths) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "freshly": __version__,
        "revision": revision,
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "database": source.engine.dialect.name,
        "tables": [table.as_json() for table in source.tables],
        "files": dict(paths),
    }


async def _paths(source: Installation) -> Paths:
    return {
        name: sorted(await source.objects.list_paths(bucket, ""))
        for name, bucket in source.buckets.items()
    }


async def _add_file(
    source: Installation, archive: ArchiveWriter, bucket: str, path: str, contents: Contents
) -> bool:
    """Write a file. Return False if there is none any more."""
    chunks = await source.objects.stream(source.buckets[bucket], path)
    if chunks is None:
        return False
    digest, size = hashlib.sha256(), 0
    with SpooledTemporaryFile(SPOOLED_BYTES) as copy:  # the size comes before the content
        async for chunk in chunks:
            digest.update(chunk)
            size += copy.write(chunk)
        copy.seek(0)
        archive.add_file(f"{FILES}/{bucket}/{path}", copy, size)
    contents.add_file(f"{bucket}/{path}", size, digest.hexdigest())
    return True
