"""The previous release serves on the schema of the next one, so that updates can be rolled back.

Two pairs of releases are tried: this code, on a schema that a later migration has expanded; and the
newest release that is tagged in the repository's history, if there is one, on this code's schema.
"""

import asyncio
import io
import shutil
import subprocess
import uuid
import zipfile

import httpx2
import pytest

from freshly.commands.schema import newest_revision
from tests.conftest import _named, _on_server
from tests.contracts.test_guards import REPOSITORY
from tests.support.processes import run, running

# What a release may add: no older release reads it, and what that writes stays valid.
EXPANDED = '''"""Add what older releases do not know."""

import sqlalchemy as sa
from alembic import op

revision = "expanded"
down_revision = "{newest}"


def upgrade():
    op.create_table("shops", sa.Column("id", sa.Integer(), primary_key=True))
    op.add_column("pantry_items", sa.Column("shop_id", sa.Integer()))
    op.add_column("meals", sa.Column("cost", sa.Integer(), nullable=False, server_default="0"))


def downgrade():
    op.drop_column("meals", "cost")
    op.drop_column("pantry_items", "shop_id")
    op.drop_table("shops")
'''
# An index on a table that may be large is built without a lock, so outside of a transaction. An
# attempt that failed leaves an invalid index.
INDEXED = '''"""Add an index."""

from alembic import op

revision = "indexed"
down_revision = "expanded"


def upgrade():
    with op.get_context().autocommit_block():
        op.drop_index("ix_meals_cost", "meals", if_exists=True, postgresql_concurrently=True)
        op.create_index("ix_meals_cost", "meals", ["cost"], postgresql_concurrently=True)


def downgrade():
    op.drop_index("ix_meals_cost", "meals")
'''
CONTRACTED = '''"""Take away what older releases use."""

import sqlalchemy as sa
from alembic import op

revision = "contracted"
down_revision = "indexed"
serves_since = "expanded"


def upgrade():
    op.drop_column("users", "calories")


def downgrade():
    op.add_column("users", sa.Column("calories", sa.Integer()))
'''


def git(*arguments):
    done = subprocess.run(["git", "-C", REPOSITORY, *arguments], capture_output=True, check=False)  # noqa: S607
    return done.stdout if done.returncode == 0 else b""


def previous_release():
    """Return the newest tag before this commit. A clone without history has none."""
    return git("describe", "--tags", "--abbrev=0", "--match=v*", "HEAD^").decode().strip()


def code_of(tag, folder):
    """Copy the code of a tag, or of this repository, and return the environment to run it."""
    if tag:
        archive = git("archive", "--format=zip", tag, "src", "migrations")
        zipfile.ZipFile(io.BytesIO(archive)).extractall(folder)
    else:
        for name in ("src", "migrations"):
            leave = shutil.ignore_patterns("__pycache__")
            shutil.copytree(REPOSITORY / name, folder / name, ignore=leave)
    return {"PYTHONPATH": str(folder / "src")}


def add_migrations(folder, *texts):
    for number, text in enumerate(texts):
        path = folder / "migrations" / "versions" / f"next_{number}.py"
        path.write_text(text.replace("{newest}", newest_revision()))


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request, tmp_path):
    """Name an empty database, as a setting."""
    if request.param == "sqlite":
        yield {"DATABASE_URL": f"sqlite:///{tmp_path}/freshly.db", "JOBS": "inside"}
        return
    server, name = request.getfixturevalue("postgres_url"), f"releases_{uuid.uuid4().hex}"
    asyncio.run(_on_server(server, f"CREATE DATABASE {name}"))
    yield {"DATABASE_URL": _named(server, name)}
    asyncio.run(_on_server(server, f"DROP DATABASE {name} WITH (FORCE)"))


def succeeds(result):
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def line_of_failure(result):
    assert result.returncode == 1, result.stdout + result.stderr
    assert "Traceback" not in result.stderr
    [line] = [line for line in result.stderr.splitlines() if not line.startswith("{")]
    return line


@pytest.mark.parametrize("previous", ["", *filter(None, [previous_release()])])
def test_the_previous_release_serves_on_the_next_schema(previous, database, tmp_path):
    old = {**database, **code_of(previous, tmp_path / "old")}
    new = {**database, **code_of("", tmp_path / "new")}
    if not previous:
        add_migrations(tmp_path / "new", EXPANDED, INDEXED)
    succeeds(run(tmp_path, "migrate", **old))
    succeeds(run(tmp_path, "migrate", **new))

    with running(tmp_path, "serve", RATE_LIMIT_ENABLED="false", **old) as server:
        url = f"http://127.0.0.1:{server.port}"
        succeeds(run(tmp_path, "demo", "--url", url))
        assert httpx2.get(f"{url}/ready").json()["status"] == "ready"
        doctor = succeeds(run(tmp_path, "doctor", **old))
        again = succeeds(run(tmp_path, "migrate", **old))

    assert "of a newer release; this one serves on it, too" in doctor
    assert [word for word in again.split() if word == "->"] == ["->"]


def test_a_release_says_in_a_line_that_a_schema_is_too_new_and_the_newer_one_goes_back(
    database, tmp_path
):
    new = {**database, **code_of("", tmp_path / "new")}
    add_migrations(tmp_path / "new", EXPANDED, INDEXED, CONTRACTED)
    succeeds(run(tmp_path, "migrate", **new))

    # Two more commands on one of the databases: the check is the same code for both.
    commands = (
        ("serve", "worker", "migrate") if "sqlite" in database["DATABASE_URL"] else ("serve",)
    )
    refused = {
        command: run(tmp_path, command, **{**database, "JOBS": "worker"}) for command in commands
    }
    doctor = run(tmp_path, "doctor", COLUMNS="300", **database)
    unknown = run(tmp_path, "migrate", "--to", "nonsense", **database)
    back = run(tmp_path, "migrate", "--to", newest_revision(), **new)
    sql = run(tmp_path, "migrate", "--dry-run", **new)
    served = run(tmp_path, "migrate", **database)

    expected = (
        "freshly: DATABASE_URL: the schema is at contracted, of a newer release, on which this"
        " release cannot serve; start the newer release, or let it go back first:"
        f" `freshly migrate --to {newest_revision()}`"
    )
    assert {command: line_of_failure(result) for command, result in refused.items()} == (
        dict.fromkeys(refused, expected)
    )
    assert doctor.returncode == 1
    assert expected.removeprefix("freshly: ") in doctor.stdout
    assert line_of_failure(unknown).startswith(
        "freshly: --to: this release knows no revision 'nonsense'; the newest are "
    )
    assert f"contracted -> {newest_revision()}" in succeeds(back)
    assert "CREATE TABLE shops" in succeeds(sql)
    assert "CREATE TABLE users" not in sql.stdout
    assert f"{newest_revision()} -> {newest_revision()}" in succeeds(served)
