"""`freshly backup` and `freshly restore`: one archive of the database and the files."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any

from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from pydantic import SecretStr

from freshly.adapters.object_storage import create_object_store
from freshly.chassis.backup.archive import ArchiveReader
from freshly.chassis.backup.encryption import decrypted, encrypted
from freshly.chassis.backup.errors import BackupFailed
from freshly.chassis.backup.folder import name_of, new_file, remove_old
from freshly.chassis.backup.installation import Contents, Installation, buckets_of
from freshly.chassis.backup.making import write_backup
from freshly.chassis.backup.restoring import Restoring, ensure_empty
from freshly.chassis.data.engine import create_engine
from freshly.commands.migrate import migrate
from freshly.commands.schema import configuration, newest_revision, read_schema
from freshly.settings import Settings
from freshly.wiring.tables import all_tables

NICENESS = 10  # of a daily backup; requests come first
SECRETS = ("secret_key", "jwt_secret")


@dataclass(frozen=True)
class Made:
    path: Path
    contents: Contents
    left_out: list[str]
    removed: list[Path]

    def as_json(self) -> dict[str, Any]:
        return {
            "path": str(self.path),
            "bytes": self.path.stat().st_size,
            "encrypted": self.path.suffix == ".zip",
            "rows": self.contents.rows,
            "files": self.contents.files.rows,
            "left_out": self.left_out,
            "removed": [str(path) for path in self.removed],
        }


def backup(settings: Settings, folder: Path | None, *, daily: bool, as_json: bool) -> int:
    """Make a backup, and check it. Return the exit status. Raises BackupFailed."""
    if daily:
        os.nice(NICENESS)
    made = asyncio.run(make(settings, folder or settings.backup_folder, daily=daily))
    told = made.as_json()
    if as_json:
        print(json.dumps(told))  # noqa: T201
        return 0
    kind = "encrypted" if told["encrypted"] else "not encrypted"
    print(  # noqa: T201
        f"{made.path}: {told['rows']:,} rows, {told['files']:,} files, {told['bytes']:,} bytes,"
        f" {kind}; checked"
    )
    for name in made.left_out:
        print(f"freshly: left out: {name}", file=sys.stderr)  # noqa: T201
    return 0


async def make(settings: Settings, folder: Path, *, daily: bool = False) -> Made:
    """Make a backup in the folder. It gets its name when a restored copy has been compared.

    Daily backups replace older ones. Raises BackupFailed.
    """
    passphrase = settings.backup_passphrase and settings.backup_passphrase.get_secret_value()
    name = name_of(datetime.now(UTC), daily=daily, is_encrypted=bool(passphrase))
    path = Path(os.path.abspath(folder)) / name  # noqa: PTH100, ASYNC240 - no other task waits
    with _failures(str(path)), new_file(path) as (file, place):
        async with installation(settings) as source:
            revision = await _current_revision(source)
            with encrypted(file, passphrase) if passphrase else nullcontext(file) as plain:
                contents, left_out = await write_backup(
                    source, plain, revision, _secrets(settings) if passphrase else {}
                )
        file.flush()
        os.fsync(file.fileno())
        file.seek(0)
        await _check(settings, file, place)
    return Made(path, contents, left_out, remove_old(path.parent) if daily else [])


def restore(settings: Settings, path: Path, *, only_check: bool, as_json: bool) -> int:
    """Restore a backup, or only check it. Return the exit status. Raises BackupFailed."""
    head, contents = asyncio.run(_restore_file(settings, path, only_check=only_check))
    told = {
        "path": str(path),
        "made_at": head["made_at"],
        "made_by": head["freshly"],
        "rows": contents.rows,
        "files": contents.files.rows,
    }
    if as_json:
        print(json.dumps(told))  # noqa: T201
        return 0
    done = "is whole" if only_check else f"is restored to {settings.database.render_as_string()}"
    print(  # noqa: T201
        f"{path} {done}: {contents.rows:,} rows, {contents.files.rows:,} files of"
        f" {head['made_at']}, made by Freshly {head['freshly']}"
    )
    return 0


async def _restore_file(
    settings: Settings, path: Path, *, only_check: bool
) -> tuple[Mapping[str, Any], Contents]:
    with _failures(str(path)), path.open("rb") as file:
        if only_check:
            with TemporaryDirectory(prefix="freshly-") as folder:
                return await _check(settings, file, Path(folder))
        return await _restore(settings, file)


async def _restore(settings: Settings, file: IO[bytes]) -> tuple[Mapping[str, Any], Contents]:
    """Restore a backup into the place of the settings, which must be empty."""
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _archive(settings, file) as archive:
        async with installation(settings) as target:
            await ensure_empty(target, archive.head)
            await _migrate_to(settings, target, archive.head["revision"])
            kept: list[tuple[str, str]] = []

            async def keep(bucket: str, path: str, copy: Path) -> None:
                await target.objects.put(target.buckets[bucket], path, copy)
                kept.append((bucket, path))

            restoring = Restoring(archive, target, keep)
            try:
                contents = await restoring.run()
            except BaseException:
                for bucket, path in kept:
                    await target.objects.delete(target.buckets[bucket], [path])
                raise
    _keep_secrets(settings, restoring.secrets)
    await migrate(settings)
    return archive.head, contents


async def _check(
    settings: Settings, file: IO[bytes], folder: Path
) -> tuple[Mapping[str, Any], Contents]:
    """Restore a backup into a temporary folder, and compare it. Raises BackupFailed."""
    temporary = settings.model_copy(
        update={
            "data_dir": folder,
            "database_url": SecretStr(f"sqlite:///{folder}/check.db"),
            "storage_url": None,
        }
    )
    with _archive(settings, file) as archive:
        async with installation(temporary) as target:
            await _migrate_to(temporary, target, archive.head["revision"])
            return archive.head, await Restoring(archive, target, _keep_nothing).run()


async def _keep_nothing(_bucket: str, _path: str, _copy: Path) -> None:
    """Keep no file: its checksum is compared anyway."""


@asynccontextmanager
async def installation(settings: Settings) -> AsyncIterator[Installation]:
    engine = create_engine(settings.database)
    try:
        objects = create_object_store(settings)
        yield Installation(engine, all_tables(), objects, buckets_of(settings))
    finally:
        await engine.dispose()


@contextmanager
def _archive(settings: Settings, file: IO[bytes]) -> Iterator[ArchiveReader]:
    passphrase = settings.backup_passphrase
    given = passphrase.get_secret_value() if passphrase else None
    with decrypted(file, given) as plain:
        archive = ArchiveReader(plain)
        try:
            yield archive
        finally:
            archive.close()


async def _current_revision(source: Installation) -> str:
    current, newest = (await read_schema(source.engine)).revision, newest_revision()
    if current is None or current != newest:
        raise BackupFailed(
            f"the schema of the database is at {current or '(none)'}, this release needs {newest};"
            " run `freshly migrate`, or make the backup with the release that serves"
        )
    return current


async def _migrate_to(settings: Settings, target: Installation, revision: str) -> None:
    """Give the empty database the schema of the backup."""
    try:
        ScriptDirectory.from_config(configuration()).get_revision(revision)
    except CommandError as error:
        raise BackupFailed(
            f"was made by a later release of Freshly (schema {revision}); install that one"
        ) from error
    current = (await read_schema(target.engine)).revision
    if current is None:
        await migrate(settings, revision)
    elif current != revision:
        raise BackupFailed(
            f"the schema of the database is at {current}, that of the backup at {revision};"
            " give a database without tables"
        )


def _secrets(settings: Settings) -> Mapping[str, str]:
    return {name: getattr(settings, name).get_secret_value() for name in SECRETS}


def _keep_secrets(settings: Settings, secrets: Mapping[str, str]) -> None:
    """Put the secrets of the backup into the data folder, unless it has its own."""
    for name in SECRETS:
        path = settings.data_dir / name
        if name in secrets and not path.exists():
            path.touch(mode=0o600)
            path.write_text(secrets[name], encoding="ascii")


@contextmanager
def _failures(subject: str) -> Iterator[None]:
    """Put the path before the reason of a failure."""
    try:
        yield
    except BackupFailed as error:
        raise BackupFailed(f"{subject}: {error}") from error
    except (ConnectionError, TimeoutError):  # of the database, not of the file
        raise
    except OSError as error:
        raise BackupFailed(f"{error.filename or subject}: {error.strerror or error}") from error
