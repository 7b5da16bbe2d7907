"""The first revision is the existing app's schema, and downgrade and upgrade restore the schema."""

import asyncio
import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import asyncpg
import pytest
from alembic import command

from freshly.chassis.data.engine import create_engine
from freshly.commands.migrate import migrate
from freshly.commands.schema import configuration, newest_revision
from freshly.settings import driven
from tests.conftest import _named, _on_server, settings_for

EXISTING = json.loads(Path(__file__).with_name("existing_app.json").read_text())
EXISTING_REVISION = "8a2eb98e9047"  # of the existing app's databases


@pytest.fixture
def postgres_database(postgres_url, tmp_path):
    name = f"empty_{tmp_path.name.replace('-', '_')[:30]}_{id(tmp_path)}"
    asyncio.run(_on_server(postgres_url, f'CREATE DATABASE "{name}"'))
    yield _named(postgres_url, name)
    asyncio.run(_on_server(postgres_url, f'DROP DATABASE "{name}" WITH (FORCE)'))


def upgrade(url, tmp_path, revision):
    asyncio.run(migrate(settings_for(url, tmp_path), revision))


def downgrade(url, revision):
    async def run():
        engine = create_engine(driven(url)).execution_options(writes=True)
        async with engine.connect() as connection:
            await connection.run_sync(_downgrade, revision)
            await connection.commit()
        await engine.dispose()

    asyncio.run(run())


def _downgrade(connection, revision):
    config = configuration()
    config.attributes["connection"] = connection
    command.downgrade(config, revision)


def rows(url, query):
    async def fetch():
        connection = await asyncpg.connect(url)
        try:
            return [tuple(row) for row in await connection.fetch(query)]
        finally:
            await connection.close()

    return asyncio.run(fetch())


def test_the_first_revision_is_the_existing_apps_schema(postgres_database, tmp_path):
    upgrade(postgres_database, tmp_path, EXISTING_REVISION)

    columns = {}
    for table, column, type_, nullable, default in rows(
        postgres_database,
        """SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), NOT a.attnotnull,
                  pg_get_expr(d.adbin, d.adrelid)
           FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
           LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
           WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND a.attnum > 0
             AND NOT a.attisdropped AND c.relname <> 'alembic_version'""",
    ):
        known = None if (default or "").startswith("nextval") else default
        columns.setdefault(table, {})[column] = [type_, nullable, known]
    assert columns == {name: table["columns"] for name, table in EXISTING["tables"].items()}

    constraints = dict(
        rows(
            postgres_database,
            """SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint
               WHERE connamespace = 'public'::regnamespace AND contype <> 'n'
                 AND conrelid <> 'alembic_version'::regclass""",
        )
    )
    expected = {
        name: text for t in EXISTING["tables"].values() for name, text in t["constraints"].items()
    }
    assert constraints == expected

    indexes = {
        name: (text.partition(" btree ")[2], "UNIQUE" in text.partition(" ON ")[0])
        for name, text in rows(
            postgres_database,
            "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname='public'",
        )
        if name not in expected and name != "alembic_version_pkc"
    }
    assert indexes == {
        name: (text.removesuffix(" UNIQUE"), text.endswith(" UNIQUE"))
        for table in EXISTING["tables"].values()
        for name, text in table["indexes"].items()
    }

    enums = {}
    for name, label in rows(
        postgres_database,
        """SELECT t.typname, e.enumlabel FROM pg_type t JOIN pg_enum e ON e.enumtypid = t.oid
           ORDER BY t.typname, e.enumsortorder""",
    ):
        enums.setdefault(name, []).append(label)
    assert enums == EXISTING["enums"]


def postgres_schema(url):
    return rows(
        url,
        """SELECT table_name, column_name, data_type, is_nullable, column_default
           FROM information_schema.columns WHERE table_schema = 'public'
           UNION ALL
           SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid), NULL, NULL
           FROM pg_constraint WHERE connamespace = 'public'::regnamespace
           UNION ALL SELECT tablename, indexname, indexdef, NULL, NULL FROM pg_indexes
           WHERE schemaname = 'public' ORDER BY 1, 2, 3""",
    )


def sqlite_schema(path):
    """Return what SQLite enforces. The text of CREATE TABLE changes when it copies a table."""
    with sqlite3.connect(path) as connection:
        tables = [
            name
            for (name,) in connection.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
            )
        ]
        schema = {}
        for table in tables:
            for pragma in ("table_info", "foreign_key_list", "index_list"):
                listed = connection.execute(f"PRAGMA {pragma}({table})").fetchall()
                schema[table, pragma] = sorted(str(row[1:]) for row in listed)
            (sql,) = connection.execute(
                "SELECT sql FROM sqlite_master WHERE name = ?", (table,)
            ).fetchone()
            schema[table, "checks"] = sql.count("CHECK")
    connection.close()
    return schema


def test_downgrade_and_upgrade_restore_the_schema_on_postgresql(postgres_database, tmp_path):
    upgrade(postgres_database, tmp_path, "head")
    before = postgres_schema(postgres_database)

    downgrade(postgres_database, "base")
    left = rows(
        postgres_database,
        "SELECT typname FROM pg_type WHERE typtype = 'e' UNION "
        "SELECT tablename FROM pg_tables WHERE schemaname = 'public'",
    )
    upgrade(postgres_database, tmp_path, "head")

    assert left == [("alembic_version",)]
    assert postgres_schema(postgres_database) == before


def test_downgrade_and_upgrade_restore_the_schema_on_sqlite(tmp_path):
    path = tmp_path / "freshly.db"
    upgrade(f"sqlite:///{path}", tmp_path, "head")
    before = sqlite_schema(path)

    downgrade(f"sqlite:///{path}", EXISTING_REVISION)
    downgrade(f"sqlite:///{path}", "base")
    upgrade(f"sqlite:///{path}", tmp_path, "head")

    assert sqlite_schema(path) == before


def test_an_existing_database_is_upgraded_from_its_own_revision(postgres_database, tmp_path):
    upgrade(postgres_database, tmp_path, EXISTING_REVISION)
    insert = """
        INSERT INTO users (email, hashed_password, password_reset_attempts)
        VALUES ('Old@Example.com', '$2b$04$x', 0);
        INSERT INTO ingredients (name) VALUES ('Eggs'), ('egg');
        INSERT INTO units (code) VALUES ('g');
        INSERT INTO pantry_items (owner_user_id, ingredient_id, quantity)
        VALUES (1, 1, 2), (1, NULL, 3)
    """
    asyncio.run(_on_server(postgres_database, insert))

    before, after = asyncio.run(migrate(settings_for(postgres_database, tmp_path)))

    assert (before, after) == (EXISTING_REVISION, newest_revision())
    assert rows(postgres_database, "SELECT count(*) FROM pantry_items") == [(2,)]
    # Rows of the old app are completed, linked and kept.
    linked = rows(
        postgres_database,
        "SELECT name, food_id, canonical_unit_type FROM ingredients WHERE id < 3 ORDER BY id",
    )
    assert linked == [("Eggs", 2, "count"), ("egg", None, "count")]
    assert rows(postgres_database, "SELECT count(*) FROM units WHERE code = 'g'") == [(1,)]


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_four_processes_that_migrate_an_empty_database_at_once_all_succeed(kind, request, tmp_path):
    url = f"sqlite:///{tmp_path}/freshly.db"
    if kind == "postgresql":
        url = request.getfixturevalue("postgres_database")
    environment = {**os.environ, "DATABASE_URL": url, "DATA_DIR": str(tmp_path)}

    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "freshly", "migrate"],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    outputs = [process.communicate() for process in processes]

    assert [process.returncode for process in processes] == [0] * 4, outputs
    before = sorted(said.rpartition(": ")[2].partition(" ->")[0] for said, _ in outputs)
    assert before == sorted(["empty", *[newest_revision()] * 3])
    counts = "SELECT count(*), count(DISTINCT name) FROM ingredients"
    if kind == "postgresql":
        [(foods, names)] = rows(url, counts)
    else:
        with closing(sqlite3.connect(tmp_path / "freshly.db")) as connection:
            foods, names = connection.execute(counts).fetchone()
    assert foods == names > 0


def test_a_migration_gives_up_a_lock_that_others_wait_for_and_tries_again(
    postgres_database, tmp_path
):
    environment = {**os.environ, "DATABASE_URL": postgres_database, "DATA_DIR": str(tmp_path)}
    command = [sys.executable, "-m", "freshly", "migrate"]
    upgrade(postgres_database, tmp_path, "foods_in_use")

    async def run_beside_a_long_transaction():
        holder = await asyncpg.connect(postgres_database)
        await holder.execute("BEGIN; LOCK TABLE ingredients IN SHARE MODE")
        migration = await asyncio.create_subprocess_exec(
            *command, env=environment, stderr=asyncio.subprocess.PIPE
        )
        async for line in migration.stderr:
            if b"a migration waits for a lock" in line:
                break
        await holder.execute("COMMIT")
        await holder.close()
        _, output = await migration.communicate()
        return migration.returncode, output

    status, output = asyncio.run(run_beside_a_long_transaction())

    assert status == 0, output
    assert rows(postgres_database, "SELECT version_num FROM alembic_version") == [
        (newest_revision(),)
    ]


def test_downgrade_and_upgrade_keep_every_row_on_sqlite(tmp_path):
    """SQLite copies a table to change it. Dropping the old one must not delete rows by cascade."""
    path = tmp_path / "freshly.db"
    url = f"sqlite:///{path}"
    upgrade(url, tmp_path, "every_call")
    tables = ("users", "pantry_items", "sign_ins", "families", "family_memberships", "meals")
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(
            """
            INSERT INTO users (id, email, hashed_password, password_reset_attempts)
            VALUES (1, 'a@example.com', 'x', 0);
            INSERT INTO families (id, display_name, invite_code) VALUES (1, 'Home', '123456');
            INSERT INTO family_memberships (family_id, user_id, role) VALUES (1, 1, 'owner');
            INSERT INTO ingredients (id, name) VALUES (9001, 'test rice');
            INSERT INTO pantry_items (owner_user_id, ingredient_id, quantity) VALUES (1, 9001, 2);
            INSERT INTO sign_ins (id, user_id, expires_at) VALUES ('s', 1, '2030-01-01 00:00:00');
            INSERT INTO meals (created_by_user_id, name, calories, meal_type, ingredients,
                               instructions, is_favorite)
            VALUES (1, 'Soup', 1, 'Dinner', '[]', '[]', 0);
            """
        )

    def row_counts():
        with closing(sqlite3.connect(path)) as connection:
            return {
                table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608
                for table in tables
            }

    upgrade(url, tmp_path, "head")
    assert row_counts() == dict.fromkeys(tables, 1)
    downgrade(url, "every_call")
    assert row_counts() == dict.fromkeys(tables, 1)
    upgrade(url, tmp_path, "head")
    assert row_counts() == dict.fromkeys(tables, 1)
