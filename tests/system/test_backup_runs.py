"""Backups that the clock makes, that are killed, and that find no room."""

import asyncio
import gzip
import json
import os
import resource
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from freshly.chassis.backup.errors import BackupFailed
from freshly.chassis.backup.folder import backups, kept_times, name_of
from freshly.chassis.backup.jobs import MakeBackup
from freshly.commands.backup import installation, make
from freshly.commands.migrate import migrate
from tests.support.backups import everything

LARGEST_FILE = 2_000_000  # bytes, in a test of a full disk
SECRETS_OF_TESTS = {"ENV_FILE": "", "JWT_SECRET": "j" * 40, "SECRET_KEY": "s" * 40}


def test_seven_daily_and_four_weekly_backups_are_kept():
    days = [datetime(2026, 11, 28, 3, 30, tzinfo=UTC) - timedelta(days=n) for n in range(60)]

    kept = sorted(kept_times(days), reverse=True)

    assert [at.day for at in kept] == [28, 27, 26, 25, 24, 23, 22, 15, 8]


async def test_the_clock_makes_a_backup_and_removes_old_daily_ones(jobs, settings):
    folder = settings.backup_folder
    old = [
        folder / name_of(datetime(2026, 1, day, tzinfo=UTC), daily=is_daily, is_encrypted=False)
        for day, is_daily in [(day, True) for day in range(1, 13)] + [(1, False)]
    ]
    folder.mkdir()
    for path in old:
        path.touch()
    wanted = settings.database.get_backend_name() == "sqlite"
    jobs.app.replace(settings=settings.model_copy(update={"cache": "off"}))

    await jobs.enqueue(MakeBackup())
    await jobs.run_due()

    [row] = await jobs.rows("backup.make")
    assert row.state == "done", row.error
    newest = backups(folder)[0][1]
    assert (newest not in old) == wanted
    assert old[-1].exists()
    assert sum(path.exists() for path in old[:-1]) == (7 if wanted else 12)


async def test_a_daily_backup_that_fails_says_why_in_its_job(jobs, settings):
    settings.backup_folder.write_text("a file in the way")
    jobs.app.replace(settings=settings.model_copy(update={"backups": "daily", "cache": "off"}))

    await jobs.enqueue(MakeBackup())
    await jobs.run_due()

    [row] = await jobs.rows("backup.make")
    assert row.state == "failed"
    assert str(settings.backup_folder) in row.error


def freshly(url, folder, *arguments, **changes):
    environment = {
        "PATH": os.environ["PATH"],
        "DATA_DIR": str(folder),
        "DATABASE_URL": url,
        **SECRETS_OF_TESTS,
        **changes,
    }
    return subprocess.Popen(
        [sys.executable, "-m", "freshly", *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return found


def test_a_killed_backup_leaves_no_archive_and_its_remains_go_with_the_next_one(
    sqlite_template, tmp_path
):
    folder, database_url = tmp_path / "backups", f"sqlite:///{sqlite_template}"

    killed = freshly(database_url, tmp_path, "backup")
    wait_for(lambda: list(folder.glob("*.check/check.db")) if folder.exists() else [])
    killed.kill()
    killed.communicate()

    assert {path.suffix for path in folder.iterdir()} == {".part", ".check"}
    output, errors = freshly(database_url, tmp_path, "backup", "--json").communicate()
    told = json.loads(output)
    assert errors == ""
    assert list(folder.iterdir()) == [Path(told["path"])]
    assert Path(told["path"]).stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_killed_restore_leaves_no_rows_and_can_be_repeated(
    empty_places, sqlite_backup, tmp_path, kind
):
    new = empty_places(kind, "new")
    url, pipe = new.database_url.get_secret_value(), tmp_path / "slow.tar.gz"
    os.mkfifo(pipe)
    whole = sqlite_backup.read_bytes()

    killed = freshly(url, new.data_dir, "restore", str(pipe))
    with pipe.open("wb", buffering=0) as slow:
        slow.write(whole[: len(whole) * 2 // 3])
        wait_for(lambda: asyncio.run(is_migrated(new)))
        time.sleep(0.5)
        killed.send_signal(signal.SIGKILL)
        killed.communicate()

    left = asyncio.run(everything(new))
    assert {name for name, one in left.items() if one["rows"]} <= {
        "units",
        "job_schedules",
        "serves_since",
    }
    again = freshly(url, new.data_dir, "restore", str(sqlite_backup))
    output, errors = again.communicate()
    assert (again.returncode, errors) == (0, "")
    assert "is restored to" in output
    assert asyncio.run(everything(new))["foods"]["rows"] > 100


async def is_migrated(settings):
    async with installation(settings) as place, place.engine.connect() as connection:
        known = await connection.run_sync(place.engine.dialect.get_table_names)
    return "family_invitations" in known


def test_a_full_disk_ends_a_backup_with_one_line_and_no_remains(sqlite_template, tmp_path):
    folder, picture = tmp_path / "backups", tmp_path / "files" / "users" / "1" / "large.png"
    picture.parent.mkdir(parents=True)
    picture.write_bytes(os.urandom(2 * LARGEST_FILE))

    ended = subprocess.run(
        [sys.executable, "-m", "freshly", "backup", "--to", folder],
        env={
            "PATH": os.environ["PATH"],
            "PYTHONDONTWRITEBYTECODE": "1",
            "DATA_DIR": str(tmp_path),
            "DATABASE_URL": f"sqlite:///{sqlite_template}",
            **SECRETS_OF_TESTS,
        },
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST_FILE,) * 2),
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == 1
    assert len(ended.stderr.splitlines()) == 1, ended.stderr
    assert "File too large" in ended.stderr
    assert list(folder.iterdir()) == []


def test_an_archive_is_plain_gzip_that_other_programs_read(sqlite_backup):
    assert b"head.json" in gzip.decompress(sqlite_backup.read_bytes())[:512]


async def test_a_database_of_another_release_is_not_backed_up(empty_places_sqlite, tmp_path):
    new = empty_places_sqlite("new")
    new.data_dir.mkdir()
    await migrate(new, "8a2eb98e9047")

    with pytest.raises(BackupFailed, match="run `freshly migrate`"):
        await make(new, tmp_path / "backups")
    assert list((tmp_path / "backups").iterdir()) == []
