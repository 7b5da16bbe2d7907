"""The id of a deleted row is never given to a new row."""

import sqlite3
from contextlib import closing

from tests.contracts.migrations.test_migrations import downgrade, upgrade

BEFORE = "uses"  # the revision before `never_reused_ids`


async def test_a_new_row_never_gets_the_id_of_a_deleted_row(kitchen):
    alice = await kitchen.person("Alice")
    creators = {
        "/meals": lambda: kitchen.meal(alice),
        "/pantry-items": lambda: kitchen.stock(alice, "Rice"),
        "/grocery-lists": lambda: alice.post_ok("/grocery-lists", {"scope": "personal"}),
        "/families": lambda: kitchen.family(alice),
    }

    for path, create in creators.items():
        first = await create()
        assert (await alice.delete(f"{path}/{first['id']}")).status_code in (200, 204)
        assert (await create())["id"] > first["id"], path


def create_statements(path):
    """Return CREATE TABLE of each table whose key is an integer `id`."""
    with closing(sqlite3.connect(path)) as connection:
        tables = dict(
            connection.execute(
                "SELECT name, sql FROM sqlite_master"
                " WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
            )
        )
        keys = {
            table: [row[1:3] for row in connection.execute(f"PRAGMA table_info({table})") if row[5]]
            for table in tables
        }
    return {table: sql for table, sql in tables.items() if keys[table] == [("id", "INTEGER")]}


def test_every_table_of_sqlite_counts_its_ids(sqlite_template):
    tables = create_statements(sqlite_template)

    assert len(tables) > 25
    assert [table for table, sql in tables.items() if "AUTOINCREMENT" not in sql] == []


def test_an_older_database_of_sqlite_is_changed_and_keeps_its_rows(tmp_path):
    path = tmp_path / "freshly.db"
    url = f"sqlite:///{path}"
    upgrade(url, tmp_path, "head")
    downgrade(url, BEFORE)
    older = create_statements(path)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(
            """
            INSERT INTO users (id, email, hashed_password, password_reset_attempts)
            VALUES (1, 'a@example.com', 'x', 0);
            INSERT INTO grocery_lists (id, owner_user_id) VALUES (6, 1), (7, 1);
            INSERT INTO activities (user_id, kind, outcome, correlation_id)
            VALUES (1, 'sign_in', 'done', 'x');
            """
        )

    upgrade(url, tmp_path, "head")

    assert "AUTOINCREMENT" not in older["grocery_lists"] + older["activities"]
    tables = create_statements(path)
    assert [table for table, sql in tables.items() if "AUTOINCREMENT" not in sql] == []
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA foreign_keys=ON")
        assert connection.execute("SELECT id FROM grocery_lists").fetchall() == [(6,), (7,)]
        connection.execute("DELETE FROM grocery_lists WHERE id = 7")
        connection.execute("INSERT INTO grocery_lists (owner_user_id) VALUES (1)")
        assert connection.execute("SELECT max(id) FROM grocery_lists").fetchall() == [(8,)]
        kept = connection.execute("SELECT sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
        assert len(kept) == 3
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
