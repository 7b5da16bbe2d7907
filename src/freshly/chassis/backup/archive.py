"""The archive of a backup: a compressed tar that is written and read in one pass.

`head.json` says what is in it, `tables/NAME/NUMBER.jsonl` are rows, `files/BUCKET/PATH` are files,
and `end.json` has counts and checksums. An archive without the end was cut off.
"""

import gzip
import json
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from typing import IO, Any

from freshly.chassis.backup.errors import BackupFailed

FORMAT = 1
COMPRESSION_LEVEL = 6
PART_BYTES = 1_000_000  # of rows that are held in memory
HEAD, END, SECRETS = "head.json", "end.json", "secrets.json"
TABLES, FILES = "tables", "files"


class ArchiveWriter:
    """Writes entries one after the other. `close` makes the archive whole."""

    def __init__(self, target: IO[bytes]) -> None:
        self._zipped = gzip.GzipFile(
            fileobj=target, mode="wb", compresslevel=COMPRESSION_LEVEL, mtime=0
        )
        self._tar = tarfile.open(fileobj=self._zipped, mode="w", format=tarfile.PAX_FORMAT)  # noqa: SIM115 - `close` closes it

    def add(self, name: str, content: bytes) -> None:
        self.add_file(name, BytesIO(content), len(content))

    def add_json(self, name: str, content: Mapping[str, Any]) -> None:
        self.add(name, json.dumps(content, ensure_ascii=False).encode())

    def add_file(self, name: str, content: IO[bytes], size: int) -> None:
        entry = tarfile.TarInfo(name)
        entry.size, entry.mode = size, 0o600
        self._tar.addfile(entry, content)

    def close(self) -> None:
        self._tar.close()
        self._zipped.close()


class RowsWriter:
    """Writes the lines of a table in parts, so that few of them are in memory."""

    def __init__(self, archive: ArchiveWriter, table: str) -> None:
        self._archive, self._table = archive, table
        self._lines: list[bytes] = []
        self._bytes = self._parts = 0

    def add(self, line: bytes) -> None:
        self._lines.append(line)
        self._bytes += len(line) + 1
        if self._bytes >= PART_BYTES:
            self.flush()

    def flush(self) -> None:
        if self._lines:
            self._parts += 1
            content = b"\n".join([*self._lines, b""])
            self._archive.add(f"{TABLES}/{self._table}/{self._parts:06}.jsonl", content)
            self._lines, self._bytes = [], 0


class ArchiveReader:
    """Reads entries in their order. Each must be read before the next one."""

    def __init__(self, source: IO[bytes]) -> None:
        """Raises BackupFailed if the source is no archive, or one of a later format."""
        with errors_of_archives():
            self._tar = tarfile.open(fileobj=source, mode="r|gz")  # noqa: SIM115 - `close` closes it
            self._entries = iter(self._tar)
            first = next(self._entries, None)
            if first is None or first.name != HEAD:
                raise BackupFailed("is not a backup of Freshly")
            self.head: dict[str, Any] = json.loads(self._content(first).read())
            if self.head["format"] > FORMAT:
                raise BackupFailed("was made by a later release of Freshly; install that one")

    def entries(self) -> Iterator[tuple[str, int, IO[bytes]]]:
        """Give the name, size and content of each entry after the head.

        Raises BackupFailed if the archive is damaged.
        """
        with errors_of_archives():
            for entry in self._entries:
                yield entry.name, entry.size, self._content(entry)

    def _content(self, entry: tarfile.TarInfo) -> IO[bytes]:
        content = self._tar.extractfile(entry)
        if content is None:
            raise BackupFailed(f"is damaged: {entry.name} is not a file")
        return content

    def close(self) -> None:
        self._tar.close()


@contextmanager
def errors_of_archives() -> Iterator[None]:
    """Raise BackupFailed for what a damaged archive causes."""
    try:
        yield
    except (tarfile.TarError, EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise BackupFailed(f"is damaged or no backup: {error}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise BackupFailed(f"is damaged: {error!r}") from error
