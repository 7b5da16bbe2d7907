"""The folder of backups: names, unfinished files, and which daily backups are kept."""

import fcntl
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

KEPT_DAYS, KEPT_WEEKS = 7, 4
UNFINISHED = ".part"
CHECK = ".check"  # the folder in which a backup is checked
NAME = re.compile(r"freshly-(daily-)?(\d{8}T\d{6}Z)\.(tar\.gz|zip)")
TIME = "%Y%m%dT%H%M%SZ"


def name_of(at: datetime, *, daily: bool, is_encrypted: bool) -> str:
    kind = "daily-" if daily else ""
    return f"freshly-{kind}{at:{TIME}}.{'zip' if is_encrypted else 'tar.gz'}"


def backups(folder: Path, *, only_daily: bool = False) -> list[tuple[datetime, Path]]:
    """Return the backups of the folder with their times, the newest first."""
    found = []
    for path in folder.iterdir() if folder.is_dir() else ():
        match = NAME.fullmatch(path.name)
        if match and (match[1] or not only_daily):
            found.append((datetime.strptime(match[2], TIME).replace(tzinfo=UTC), path))
    return sorted(found, reverse=True)


@contextmanager
def new_file(path: Path) -> Iterator[tuple[IO[bytes], Path]]:
    """Give a file to write to, which gets its name when the context ends without an error.

    Give a folder for the check, too. Until then the name of the file ends in `.part`, and it is
    locked: the next backup removes what a killed one has left.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    _remove_unfinished(path.parent)
    unfinished, check = path.with_name(path.name + UNFINISHED), path.with_name(path.name + CHECK)
    descriptor = os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            check.mkdir(mode=0o700)
            yield file, check
            unfinished.rename(path)
        except BaseException:
            unfinished.unlink()
            raise
        finally:
            shutil.rmtree(check, ignore_errors=True)
    _sync_folder(path.parent)


def _remove_unfinished(folder: Path) -> None:
    for path in folder.glob(f"freshly-*{UNFINISHED}"):
        with suppress(FileNotFoundError, BlockingIOError), path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path.with_suffix(CHECK), ignore_errors=True)
            path.unlink()


def _sync_folder(folder: Path) -> None:
    """Put the new name on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_old(folder: Path) -> list[Path]:
    """Remove the daily backups that are not kept. Return their paths."""
    daily = backups(folder, only_daily=True)
    kept = kept_times([at for at, _ in daily])
    removed = [path for at, path in daily if at not in kept]
    for path in removed:
        path.unlink(missing_ok=True)
    return removed


def kept_times(newest_first: Sequence[datetime]) -> set[datetime]:
    """Return the last backup of each of the last 7 days and 4 weeks that have one."""
    days: dict[str, datetime] = {}
    weeks: dict[str, datetime] = {}
    for at in newest_first:
        days.setdefault(f"{at:%Y-%m-%d}", at)
        weeks.setdefault(f"{at:%G-%V}", at)
    return {*list(days.values())[:KEPT_DAYS], *list(weeks.values())[:KEPT_WEEKS]}
