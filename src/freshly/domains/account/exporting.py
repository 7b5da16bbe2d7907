"""Writes all data of a user to a zip file, piece by piece."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from time import gmtime
from typing import IO
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

from anyio import to_thread
from pydantic_core import to_json

from freshly.domains.account.data_ownership import NOT_EXPORTED, SECRET, TABLE_OWNERSHIP
from freshly.domains.account.files import PersonalFiles
from freshly.domains.account.repository import PersonalRowReader

README = """\
All data that Freshly stores about you.

  data/      a JSON file for each kind of data: a list of rows
  files/     your avatar, and your pictures from conversations and the pantry

The files in data/ and their columns:

{tables}

From your families, this contains what you created: meals, plans, lists and recipes of the families
that you belong to. A family's pantry belongs to the whole family and is not included.
Times are in UTC. Secrets are not included: {secrets}.
"""


@dataclass(frozen=True)
class Exporter:
    rows: PersonalRowReader
    files: PersonalFiles

    async def write(self, user_id: int, target: Path) -> None:
        """Write the zip. At most 100 rows or a piece of a picture are in memory at a time."""
        with ZipFile(target, "w", ZIP_DEFLATED) as archive:
            archive.writestr("README.txt", _readme())
            for table, ownership in TABLE_OWNERSHIP.items():
                await _write_entry(
                    archive, f"data/{ownership.name}.json", self._json(table, user_id)
                )
            async for name, pieces in self.files.pictures(user_id):
                await _write_entry(archive, f"files/{name}", pieces, ZIP_STORED)

    async def _json(self, table: str, user_id: int) -> AsyncIterator[bytes]:
        separator = b"[\n"
        async for rows in self.rows.rows(table, user_id):
            if rows:
                yield separator + b",\n".join(map(to_json, rows))
                separator = b",\n"
        yield b"[]\n" if separator == b"[\n" else b"\n]\n"


async def _write_entry(
    archive: ZipFile, name: str, pieces: AsyncIterator[bytes], compression: int = ZIP_DEFLATED
) -> None:
    info = ZipInfo(name, gmtime()[:6])
    info.compress_type = compression
    info.external_attr = 0o600 << 16
    with archive.open(info, "w") as entry:
        async for piece in pieces:
            await to_thread.run_sync(_write_piece, entry, piece)


def _write_piece(entry: IO[bytes], piece: bytes) -> None:
    entry.write(piece)


def _readme() -> str:
    tables = "\n".join(
        f"  {ownership.name}.json: {', '.join(ownership.exported)}"
        for ownership in TABLE_OWNERSHIP.values()
    )
    excluded = [
        f"{ownership.name}.{column}"
        for ownership in TABLE_OWNERSHIP.values()
        for column in ownership.excluded
    ]
    secrets = ", ".join(
        [*excluded, *(table for table, reason in NOT_EXPORTED.items() if reason == SECRET)]
    )
    return README.format(tables=tables, secrets=secrets)
