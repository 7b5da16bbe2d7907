"""Everything of a person in one zip, written to a file a piece at a time."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from time import gmtime
from typing import IO
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

from anyio import to_thread
from pydantic_core import to_json

from freshly.domains.account.data_ownership import BELONGINGS, NOT_EXPORTED, SECRET
from freshly.domains.account.files import PersonalFiles
from freshly.domains.account.repository import BelongingsRepository

README = """\
Everything that Freshly keeps of you.

  data/      one file for each kind of thing, as JSON: a list of rows
  files/     your picture, and pictures from conversations

What is in data/:

{tables}

Of what your families have in common, this is what you made: meals, plans, lists and recipes, of the
families that you are in. Shelves of a family belong to all of it, and nobody in particular.
Times are in UTC. Not in here are secrets: {secrets}.
"""


@dataclass(frozen=True)
class Exporter:
    rows: BelongingsRepository
    files: PersonalFiles

    async def write(self, user_id: int, target: Path) -> None:
        """Holds a hundred rows, or a piece of a picture, at a time."""
        with ZipFile(target, "w", ZIP_DEFLATED) as archive:
            archive.writestr("README.txt", _readme())
            for table, belonging in BELONGINGS.items():
                await _pour(archive, f"data/{belonging.name}.json", self._json(table, user_id))
            async for name, pieces in self.files.pictures(user_id):
                await _pour(archive, f"files/{name}", pieces, ZIP_STORED)

    async def _json(self, table: str, user_id: int) -> AsyncIterator[bytes]:
        before = b"[\n"
        async for rows in self.rows.rows(table, user_id):
            if rows:
                yield before + b",\n".join(map(to_json, rows))
                before = b",\n"
        yield b"[]\n" if before == b"[\n" else b"\n]\n"


async def _pour(
    archive: ZipFile, name: str, pieces: AsyncIterator[bytes], compression: int = ZIP_DEFLATED
) -> None:
    info = ZipInfo(name, gmtime()[:6])
    info.compress_type = compression
    info.external_attr = 0o600 << 16
    with archive.open(info, "w") as entry:
        async for piece in pieces:
            await to_thread.run_sync(_write, entry, piece)


def _write(entry: IO[bytes], piece: bytes) -> None:
    entry.write(piece)


def _readme() -> str:
    tables = "\n".join(
        f"  {one.name}.json: {', '.join(one.exported)}" for one in BELONGINGS.values()
    )
    excluded = [f"{one.name}.{column}" for one in BELONGINGS.values() for column in one.excluded]
    secrets = ", ".join([*excluded, *(t for t, why in NOT_EXPORTED.items() if why == SECRET)])
    return README.format(tables=tables, secrets=secrets)
