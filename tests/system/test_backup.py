"""`freshly backup` and `freshly restore`: both databases, while in use, and killed half-way."""

import asyncio
import json
import sqlite3
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime
from io import BytesIO
from urllib.parse import urlsplit
from zipfile import ZipFile

import asyncpg
import pyrage
import pytest
from pydantic import SecretStr

from freshly.chassis.backup.archive import END, HEAD, ArchiveReader, ArchiveWriter
from freshly.chassis.backup.errors import BackupFailed
from freshly.chassis.backup.installation import Contents
from freshly.chassis.backup.tables import Checksum, ColumnFormat, TableFormat
from freshly.commands.backup import installation, make
from freshly.commands.migrate import migrate
from tests.conftest import client_of, running, settings_for
from tests.support.api import PASSWORD
from tests.support.backups import everything, restore
from tests.support.pictures import picture
from tests.support.role_world import build

PASSPHRASE = "a passphrase for tests"


@asynccontextmanager
async def signed_in(settings, email):
    async with running(settings) as app, client_of(app) as client:
        account = {"email": email, "password": PASSWORD}
        tokens = (await client.post("/auth/login", json=account)).json()
        client.headers["Authorization"] = f"Bearer {tokens['access_token']}"
        yield client


@pytest.fixture
def other_way(database_kind):
    return {"sqlite": "postgresql", "postgresql": "sqlite"}[database_kind]


@pytest.fixture
def there_and_back(database_kind, other_way, empty_places):
    return empty_places(other_way, "there"), empty_places(database_kind, "back")


async def test_a_household_moves_to_the_other_database_and_back_with_all_rows_files_and_ids(
    settings, client, there_and_back, tmp_path
):
    there, back = there_and_back
    world = await build(client)
    owner = world.headers["owner"]
    avatar = {"file": ("me.png", picture())}
    uploaded = await client.post("/storage/avatar/proxy", headers=owner, files=avatar)
    shown = urlsplit(uploaded.json()["publicUrl"]).path
    before = await client.get("/grocery-lists/me", headers=owner)
    extra = await client.post("/meals/me", headers=owner, json=world.ids["meal"])
    await client.delete(f"/meals/{extra.json()['id']}", headers=owner)

    first = await make(settings, tmp_path / "first")
    await restore(there, first.path)
    second = await make(there, tmp_path / "second")
    await restore(back, second.path)

    kept = await everything(settings)
    assert [name for name, one in kept.items() if one["rows"]], "nothing was there"
    assert await everything(there) == kept
    assert await everything(back) == kept
    assert first.contents.as_json()["files"] == second.contents.as_json()["files"]
    assert first.contents.files.rows >= 1
    for place in there_and_back:
        async with signed_in(place, world.ids["email"]) as olga:
            avatar = await olga.get(shown)
            new = await olga.post("/meals/me", json=world.ids["meal"])
            assert (await olga.get("/grocery-lists/me")).json() == before.json()
        assert avatar.content == (await client.get(shown)).content
        assert new.json()["id"] > extra.json()["id"]


async def test_a_backup_of_a_busy_database_has_no_half_of_a_transaction(settings, tmp_path):
    url, stop = settings.database_url.get_secret_value(), asyncio.Event()
    columns = "(email, hashed_password, password_reset_attempts)"
    pair = (
        "INSERT INTO users " + columns + " VALUES ('{0}', 'x', 0)",  # noqa: S608
        "INSERT INTO families (display_name, invite_code) VALUES ('{0}', 'code-{0}')",
    )

    def write_to_sqlite(number):
        path = url.removeprefix("sqlite:///")
        with closing(sqlite3.connect(path, timeout=10)) as connection, connection:
            for statement in pair:
                connection.execute(statement.format(number))

    async def write():
        number = 0
        while not stop.is_set():
            number += 1
            if url.startswith("sqlite"):
                await asyncio.to_thread(write_to_sqlite, number)
                continue
            connection = await asyncpg.connect(url)
            async with connection.transaction():
                for statement in pair:
                    await connection.execute(statement.format(number))
            await connection.close()
        return number

    writer = asyncio.create_task(write())
    try:
        made = [await make(settings, tmp_path / str(n)) for n in range(2)]
    finally:
        stop.set()
        written = await writer
    assert written > 2

    for one in made:
        tables = one.contents.tables
        assert tables["users"].rows == tables["families"].rows
    assert made[1].contents.tables["users"].rows > 0


async def test_an_encrypted_backup_needs_its_passphrase_and_brings_the_secrets(
    sqlite_template, empty_places_sqlite, tmp_path
):
    settings = settings_for(f"sqlite:///{sqlite_template}", tmp_path)
    locked = settings.model_copy(update={"backup_passphrase": SecretStr(PASSPHRASE)})
    made = await make(locked, tmp_path / "backups")
    new = empty_places_sqlite("new")

    with pytest.raises(BackupFailed, match="is encrypted; give its passphrase"):
        await restore(new, made.path)
    wrong = new.model_copy(update={"backup_passphrase": SecretStr("another")})
    with pytest.raises(BackupFailed, match="has another passphrase than BACKUP_PASSPHRASE"):
        await restore(wrong, made.path)
    await restore(new.model_copy(update={"backup_passphrase": SecretStr(PASSPHRASE)}), made.path)

    assert await everything(new) == await everything(settings)
    assert (new.data_dir / "jwt_secret").read_text() == settings.jwt_secret.get_secret_value()
    with ZipFile(made.path) as outer:  # as the `age` program opens it
        key = pyrage.passphrase.decrypt(outer.read("key.age"), PASSPHRASE).decode()
        identity = pyrage.x25519.Identity.from_str(key)
        inner = pyrage.decrypt(outer.read("backup.tar.gz.age"), [identity])
    assert ArchiveReader(BytesIO(inner)).head["freshly"]


DAMAGES = [
    (lambda whole: whole[: len(whole) // 2], "is damaged"),
    (lambda whole: whole[:5000] + bytes([whole[5000] ^ 1]) + whole[5001:], "is damaged"),
    (lambda _: b"not a backup", "is damaged or no backup"),
    (lambda _: b"", "is damaged or no backup"),
    (lambda whole: changed(whole, END, tables={}), "differs from its checksum"),
    (lambda whole: changed(whole, HEAD, revision="from_the_future"), "by a later release"),
    (lambda whole: changed(whole, HEAD, format=2), "by a later release"),
    (lambda whole: changed(whole, END, files={"rows": 1}), "files differ from their checksum"),
    (lambda whole: changed(whole, END, cut_off=True), "is cut off"),
]


async def test_a_damaged_backup_is_refused_in_one_line_and_nothing_is_restored(
    sqlite_backup, empty_places_sqlite, tmp_path
):
    path, whole = tmp_path / "damaged.tar.gz", sqlite_backup.read_bytes()
    new = empty_places_sqlite("new")

    for damage, told in DAMAGES:
        path.write_bytes(damage(whole))
        with pytest.raises(BackupFailed, match=told) as refusal:
            await restore(new, path)
        assert str(path) in str(refusal.value)
        assert len(str(refusal.value).splitlines()) == 1

    await restore(new, sqlite_backup)


def changed(whole, part, *, cut_off=False, **changes):
    """Return an archive with changes in one of its JSON parts, or without it."""
    reader, target = ArchiveReader(BytesIO(whole)), BytesIO()
    writer = ArchiveWriter(target)
    writer.add_json(HEAD, reader.head | (changes if part == HEAD else {}))
    for name, _, content in reader.entries():
        if name != part:
            writer.add(name, content.read())
        elif not cut_off:
            writer.add_json(name, json.loads(content.read()) | changes)
    writer.close()
    return target.getvalue()


async def test_a_backup_is_restored_into_an_empty_place_only(settings, kitchen, sqlite_backup):
    await kitchen.person("Olga")

    with pytest.raises(BackupFailed, match="the database has 1 accounts"):
        await restore(settings, sqlite_backup)


async def test_a_backup_is_not_restored_under_a_server_that_runs(
    empty_places_sqlite, sqlite_backup
):
    new = empty_places_sqlite("new")
    new.data_dir.mkdir()
    await migrate(new)
    now = datetime.now(UTC).replace(tzinfo=None).isoformat(" ")
    with closing(sqlite3.connect(new.database.database)) as connection, connection:
        connection.execute(
            "INSERT INTO job_workers (id, name, dedicated, beat_at) VALUES ('a', 'a', 0, ?)", (now,)
        )

    with pytest.raises(BackupFailed, match="a server or worker uses the database; stop it"):
        await restore(new, sqlite_backup)


async def test_files_of_others_stop_a_restore(empty_places_sqlite, sqlite_backup):
    new = empty_places_sqlite("new")
    theirs = new.data_dir / "files" / "users" / "1" / "theirs.png"
    theirs.parent.mkdir(parents=True)
    theirs.write_bytes(b"theirs")

    with pytest.raises(BackupFailed, match="files that are not in the backup"):
        await restore(new, sqlite_backup)
    assert theirs.read_bytes() == b"theirs"


async def test_a_backup_of_an_older_release_is_restored_and_migrated(empty_places_sqlite, tmp_path):
    users = TableFormat(
        "users",
        ("id",),
        tuple(
            ColumnFormat(name, kind)
            for name, kind in (
                ("id", "integer"),
                ("email", "text"),
                ("hashed_password", "text"),
                ("password_reset_attempts", "integer"),
                ("created_at", "instant"),
            )
        ),
    )
    line = users.line((7, "olga@example.com", "x", 0, datetime(2025, 5, 1, tzinfo=UTC)))
    contents = Contents({"users": Checksum()}, last_ids={"users": 9})
    contents.tables["users"].add(line)
    head = {
        "format": 1,
        "freshly": "0.0.9",
        "revision": "8a2eb98e9047",  # that of the existing app
        "made_at": "2025-05-01T00:00:00+00:00",
        "tables": [users.as_json()],
        "files": {},
    }
    path = tmp_path / "older.tar.gz"
    with path.open("wb") as file:
        writer = ArchiveWriter(file)
        writer.add_json(HEAD, head)
        writer.add("tables/users/000001.jsonl", line + b"\n")
        writer.add_json(END, contents.as_json())
        writer.close()
    new = empty_places_sqlite("new")

    await restore(new, path)

    with closing(sqlite3.connect(new.database.database)) as connection:
        rows = connection.execute("SELECT id, email, tier FROM users").fetchall()
        foods = connection.execute("SELECT count(*) FROM foods").fetchone()
    assert rows == [(7, "olga@example.com", "free")]
    assert foods[0] > 100


async def test_tables_and_columns_that_freshly_does_not_know_are_named(settings, tmp_path):
    async with installation(settings) as place, place.engine.begin() as connection:
        await connection.exec_driver_sql("CREATE TABLE recipes_of_aunt (id INTEGER)")
        await connection.exec_driver_sql("ALTER TABLE units ADD COLUMN colour TEXT")

    made = await make(settings, tmp_path / "backups")

    assert made.left_out == ["recipes_of_aunt", "units.colour"]
