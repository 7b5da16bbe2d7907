"""`./run migration NAME`, in a copy of the repository whose models have changed."""

import os
import shutil
import subprocess
import sys

import pytest

from freshly.commands.schema import newest_revision
from tests.contracts.test_guards import REPOSITORY
from tools.migration import main

PANTRY = "src/freshly/domains/pantry/models.py"
# A column of each kind that Alembic alone would not write for both databases.
NEW_COLUMNS = """
    opened_at: Mapped[datetime | None] = mapped_column(index=True, default=None)
    weight: Mapped[Decimal | None] = mapped_column(types.Quantity(), default=None)
    labels: Mapped[list[str]] = mapped_column(
        types.TextList(), server_default=functions.empty_list(), init=False
    )
    facts: Mapped[dict[str, str] | None] = mapped_column(types.Json, default=None)
    moved_at: Mapped[datetime] = mapped_column(server_default=func.now(), init=False)
    shelf: Mapped[int]
    size: Mapped[Size | None] = mapped_column(types.named_enum(Size, "pantry_size"), default=None)
    ingredient: Mapped"""
NEW_IMPORTS = """
from datetime import datetime
from enum import StrEnum

from sqlalchemy import func

from freshly.chassis.data import functions, types


class Size(StrEnum):
    SMALL = "small"
    LARGE = "large"


class PantryItem("""
# SQLite copies this table, which has an index of an expression and counts its ids.
USERS = "src/freshly/domains/users/models.py"
NEW_REFERENCE = """
    invited_by_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"), default=None)
    tier: Mapped"""


@pytest.fixture
def copy(tmp_path):
    for name in ("src", "migrations", "tools", "tests"):
        leave = shutil.ignore_patterns("__pycache__")
        shutil.copytree(REPOSITORY / name, tmp_path / name, ignore=leave)
    shutil.copy(REPOSITORY / "pyproject.toml", tmp_path)
    return tmp_path


def change(path, old, new):
    text = path.read_text()
    assert text.count(old) == 1, old
    path.write_text(text.replace(old, new))


def run(copy, *command, **environment):
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=copy,
        env={**os.environ, "PYTHONPATH": str(copy / "src"), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_migration_of_new_columns_runs_on_both_databases(copy, postgres_url):
    change(copy / PANTRY, "\n    ingredient: Mapped", NEW_COLUMNS)
    change(copy / PANTRY, "\nclass PantryItem(", NEW_IMPORTS)
    change(copy / USERS, "\n    tier: Mapped", NEW_REFERENCE)
    server = {"TEST_POSTGRES_URL": postgres_url}

    made = run(copy, "tools.migration", "opened_items", **server)
    checked = run(copy, "tools.alembic_check", **server)
    linted = run(copy, "ruff", "check", "migrations")
    formatted = run(copy, "ruff", "format", "--check", "migrations")

    path = copy / "migrations" / "versions" / "opened_items.py"
    assert (made.returncode, made.stdout) == (0, f"{path}\n"), made.stderr
    assert made.stderr == (
        "freshly: pantry_items.shelf is NOT NULL without a server_default,"
        " which fails for tables that have rows\n"
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert (linted.returncode, formatted.returncode) == (0, 0), linted.stdout + formatted.stdout
    text = path.read_text()
    assert f'revision = "opened_items"\ndown_revision = "{newest_revision()}"\n' in text
    assert 'sa.Column("opened_at", types.Instant(), nullable=True)' in text
    assert 'sa.Column("weight", types.Quantity(), nullable=True)' in text
    assert "server_default=functions.empty_list()" in text
    assert "DROP TYPE pantry_size" in text


REMOVAL = """
revision = "removal"
down_revision = "{newest}"


def upgrade():
    op.create_table("shops", sa.Column("id", sa.Integer(), primary_key=True))
    op.create_index("ix_shops_id", "shops", ["id"])
    op.drop_column("users", "calories")
    op.create_index("ix_meals_name", "meals", ["name"])


def downgrade():
    op.add_column("users", sa.Column("calories", sa.Integer()))
"""
EXPLAINED = """
serves_since = "removal"
exceptions = {
    "ban-drop-column": "the test removes it",
    "require-concurrent-index-creation": "the test builds it",
}
"""


def test_the_check_refuses_sql_that_breaks_the_previous_release_or_blocks_a_table(copy):
    path = copy / "migrations" / "versions" / "removal.py"
    removal = "import sqlalchemy as sa\nfrom alembic import op\n" + REMOVAL.replace(
        "{newest}", newest_revision()
    )

    path.write_text(removal)
    refused = run(copy, "tools.migration_lint")
    path.write_text(removal + EXPLAINED)
    allowed = run(copy, "tools.migration_lint")
    path.write_text(removal + EXPLAINED.replace("}", '    "renaming-table": "none",\n}'))
    unnecessary = run(copy, "tools.migration_lint")

    faults = [line.split(": ")[1] for line in refused.stdout.splitlines()]
    assert refused.returncode == 1, refused.stderr
    assert faults == ["ban-drop-column", "require-concurrent-index-creation", "ban-drop-column"]
    assert "set serves_since to the oldest revision" in refused.stdout
    assert (allowed.returncode, allowed.stderr) == (0, "")
    assert "remove the exception" in unnecessary.stdout


@pytest.mark.parametrize(
    "name", ["Opened", "opened-items", "opened items", "1st", "a__b", "a" * 33]
)
def test_a_name_that_is_no_revision_is_refused(name, capsys):
    assert main([name]) == 1
    [said] = capsys.readouterr().err.splitlines()
    assert said.startswith(f"freshly: {name!r} is no name for a migration: use lower-case words")


@pytest.mark.parametrize("name", [newest_revision(), "existing_app"])
def test_a_name_that_is_taken_is_refused(name, capsys):
    assert main([name]) == 1
    expected = f"freshly: there is a migration {name!r} already; choose another name\n"
    assert capsys.readouterr().err == expected


def test_without_a_change_there_is_no_migration(postgres_url, monkeypatch, capsys):
    monkeypatch.setenv("TEST_POSTGRES_URL", postgres_url)

    assert main(["unchanged"]) == 1
    assert capsys.readouterr() == (
        "",
        "freshly: the newest migration already makes what the models say; nothing to do\n",
    )
