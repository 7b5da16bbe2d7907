"""Freshly adopts a database of the existing app: every row stays, and its users can sign in."""

import asyncio
import os
import subprocess
import sys
import uuid
from pathlib import Path

import asyncpg
import pytest
from anyio import to_thread

from freshly.commands import accounts
from freshly.commands.schema import newest_revision
from tests.conftest import _named, _on_server, client_of, running, settings_for
from tests.contracts.migrations.test_migrations import (
    EXISTING,
    EXISTING_REVISION,
    postgres_database,
    rows,
)
from tests.support.api import PASSWORD, Kitchen, Person

__all__ = ["postgres_database"]
SQL = Path(__file__).with_name("adopted.sql").read_text()
# Columns that the migration fills if the old app left them empty, and never changes otherwise.
COMPLETED = {
    "ingredients": {
        *("category", "canonical_unit_type", "canonical_unit"),
        *("avg_weight_per_unit_g", "density_g_per_ml"),
    },
    "units": {"display_name"},
}
LONG = "x" * 100
PASSWORDS = {
    "Old@Example.com": PASSWORD,
    "old@example.com": PASSWORD,
    "bob@example.com": PASSWORD,
    "LONG@example.com": LONG,
}


@pytest.fixture
def existing(postgres_database):
    asyncio.run(_on_server(postgres_database, SQL))
    return postgres_database


@pytest.fixture(scope="module")
def adopted_template(postgres_url, tmp_path_factory):
    """The name of a database that was adopted once, for all tests that begin with one."""
    name = f"adopted_{uuid.uuid4().hex}"
    asyncio.run(_on_server(postgres_url, f"CREATE DATABASE {name}"))
    template = _named(postgres_url, name)
    asyncio.run(_on_server(template, SQL))
    freshly("migrate", url=template, folder=tmp_path_factory.mktemp("adopted"))
    yield name
    asyncio.run(_on_server(postgres_url, f"DROP DATABASE {name}"))


@pytest.fixture
def adopted(postgres_url, adopted_template):
    name = f"copy_{uuid.uuid4().hex}"
    copy = f"CREATE DATABASE {name} TEMPLATE {adopted_template}"
    asyncio.run(_on_server(postgres_url, copy))
    yield _named(postgres_url, name)
    asyncio.run(_on_server(postgres_url, f"DROP DATABASE {name} WITH (FORCE)"))


def freshly(*words, url, folder):
    environment = {**os.environ, "DATABASE_URL": url, "DATA_DIR": str(folder)}
    run = subprocess.run(
        [sys.executable, "-m", "freshly", *words],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def dump(url):
    """Return each row of each old table, with its old columns, by table and key."""

    async def fetch():
        connection = await asyncpg.connect(url)
        rows_by_key = {}
        try:
            for table, facts in EXISTING["tables"].items():
                columns = ", ".join(f'"{name}"::text' for name in facts["columns"])
                query = f"SELECT {columns} FROM {table}"  # noqa: S608 - constants of this file
                for row in await connection.fetch(query):
                    values = dict(row)
                    key = values.get("id") or tuple(values.values())
                    rows_by_key[table, key] = values
        finally:
            await connection.close()
        return rows_by_key

    return asyncio.run(fetch())


def test_every_table_of_the_fixture_has_rows(existing):
    assert {table for table, _ in dump(existing)} == EXISTING["tables"].keys()


def test_adoption_keeps_every_row(existing, tmp_path):
    before = dump(existing)

    output = freshly("migrate", url=existing, folder=tmp_path)
    after = dump(existing)

    assert f"{EXISTING_REVISION} -> {newest_revision()}" in output
    for (table, key), values in before.items():
        adopted_row = after[table, key]
        may_change = COMPLETED.get(table, set())
        for column, value in values.items():
            if value is not None or column not in may_change:
                assert adopted_row[column] == value, (table, key, column)
    extended = {table for table, _ in after.keys() - before.keys()}
    assert extended == {"units", "ingredients", "diet_tags"}


def test_migrating_again_changes_nothing(adopted, tmp_path):
    before = dump(adopted)

    output = freshly("migrate", url=adopted, folder=tmp_path)

    assert f"{newest_revision()} -> {newest_revision()}" in output
    assert dump(adopted) == before


def test_a_database_without_a_revision_is_stamped_and_upgraded(existing, tmp_path):
    asyncio.run(_on_server(existing, "DROP TABLE alembic_version"))
    before = dump(existing)

    freshly("migrate", url=existing, folder=tmp_path)

    assert before.keys() <= dump(existing).keys()
    assert rows(existing, "SELECT version_num FROM alembic_version") == [(newest_revision(),)]


def test_a_dry_run_prints_the_missing_sql_and_changes_nothing(existing, tmp_path):
    before = dump(existing)

    output = freshly("migrate", "--dry-run", url=existing, folder=tmp_path)

    assert "CREATE TABLE email_codes" in output
    assert "CREATE TABLE users" not in output
    assert dump(existing) == before
    assert rows(existing, "SELECT version_num FROM alembic_version") == [(EXISTING_REVISION,)]
    # Running the printed SQL upgrades the database.
    asyncio.run(_on_server(existing, output.replace("BEGIN;", "").replace("COMMIT;", "")))
    assert rows(existing, "SELECT version_num FROM alembic_version") == [(newest_revision(),)]


@pytest.mark.parametrize("email", PASSWORDS)
async def test_users_sign_in_with_their_old_passwords(adopted, tmp_path, email):
    settings = settings_for(adopted, tmp_path)
    async with running(settings) as app, client_of(app) as client:
        if email == "LONG@example.com":  # the operator of the existing app suspended this account
            await to_thread.run_sync(accounts.change, settings, "restore", [email])
        for _ in range(2):  # the first sign-in stores a better hash
            tokens = await Kitchen(client).sign_in(email, PASSWORDS[email])
            headers = {"Authorization": f"Bearer {tokens['access_token']}"}
            me = (await client.get("/users/me", headers=headers)).json()
            assert me["email"].lower() == email.lower()
        wrong = {"email": email, "password": "not that one"}
        assert (await client.post("/auth/login", json=wrong)).status_code == 401


async def test_users_find_their_old_rows_and_can_continue(adopted, tmp_path):
    settings = settings_for(adopted, tmp_path)
    async with running(settings) as app, client_of(app) as client:
        kitchen = Kitchen(client)
        olga = Person(client, {"id": 1}, await kitchen.sign_in("old@example.com"))
        bob = Person(client, {"id": 2}, await kitchen.sign_in("bob@example.com"))

        assert [family["id"] for family in await olga.read("/families")] == [1]
        pantry = await olga.read("/pantry-items/me")
        assert [(item["id"], item["ingredient_name"]) for item in pantry] == [
            (2, "milk"),
            (3, None),
        ]
        assert [item["id"] for item in await bob.read("/pantry-items/family/1")] == [1, 8]
        (pancakes,) = await olga.read("/meals/me")
        assert pancakes["ingredients"][1] == {
            "name": "Eggs",
            "amount": "3",
            "inPantry": True,
            "in_pantry": True,
        }
        assert [meal["name"] for meal in await bob.read("/meals/me")] == ["Bob's stew", "Pancakes"]
        assert [plan["id"] for plan in await bob.read("/meal-plans/me")] == [2]
        assert [plan["id"] for plan in await bob.read("/meal-plans/family/1")] == [1, 3]
        assert len(await bob.read("/meal-plans/1/slots")) == 2
        assert [row["id"] for row in await bob.read("/grocery-lists/me")] == [2]
        assert [row["id"] for row in await olga.read("/grocery-lists/family/1")] == [1, 3]
        assert (await olga.read("/preferences/me"))["food_allergies"] == ["nuts", "sea food"]
        assert [recipe["title"] for recipe in await olga.read("/recipes")] == ["Pea soup"]
        (notification,) = await olga.read("/notifications")
        assert notification["relatedUserName"] == "bob@example.com"
        assert [m["name"] for m in await bob.read("/meal-share-requests/accepted-meals")] == [
            "Pancakes"
        ]
        conversation = await olga.read("/chat/conversations/1")
        assert [message["content"] for message in conversation["messages"]] == [
            *("You are helpful.", "What is this food?", "Soup."),
        ]
        assert conversation["messages"][1]["image_url"].startswith("https://pictures.example.com/")
        # New ids follow the old ones, and the old lists can be synced and rebuilt.
        assert (await kitchen.meal(olga))["id"] == 6
        synced = await olga.post_ok("/grocery-lists/1/sync-pantry", status=200)
        assert synced["items_removed"] == 1
        rebuilt = await olga.post_ok("/grocery-lists/rebuild-from-meal-plan/1", status=200)
        assert rebuilt["grocery_list"]["id"] == 1
        assert (await olga.delete("/users/me")).status_code == 204
        assert (await bob.read("/families/1/members"))[0]["role"] in {"owner", "member"}
