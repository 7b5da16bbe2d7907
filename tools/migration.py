"""Make the migration that brings a database to what the models say.

    ./run migration NAME

It migrates an empty PostgreSQL database to the newest migration, compares that with the models and
writes the difference to migrations/versions/NAME.py. Read the file before you keep it: Alembic
does not see renamed columns, changed CHECK constraints or data that must be moved.
"""

import argparse
import asyncio
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from alembic import command
from alembic.autogenerate import produce_migrations
from alembic.config import Config
from alembic.operations import ops
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, make_url
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.util import immutabledict

from freshly.commands.schema import configuration
from freshly.wiring.tables import all_tables
from tools.databases import postgres_database
from tools.migration_text import (
    IMPORTS,
    Schemas,
    downgrade_text,
    read_schemas,
    required_columns,
    summary,
    upgrade_text,
)

NAME = re.compile(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)*")
MAX_NAME = 32  # characters, as alembic_version.version_num has it


class Refused(Exception):
    """The reason why there is no new migration, in one line."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="./run migration", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("name", metavar="NAME", help="such as opened_items")
    name = parser.parse_args(arguments).name
    try:
        path, changes = make_migration(name)
    except Refused as refusal:
        print(f"freshly: {refusal}", file=sys.stderr)
        return 1
    for column in required_columns(changes):
        message = "is NOT NULL without a server_default, which fails for tables that have rows"
        print(f"freshly: {column} {message}", file=sys.stderr)
    print(path)
    return 0


def make_migration(name: str) -> tuple[Path, ops.UpgradeOps]:
    """Write the file. Return its path and what it changes. Raise Refused."""
    config = configuration()
    config.set_main_option("file_template", "%%(rev)s")
    scripts = ScriptDirectory.from_config(config)
    scripts.messaging_opts = immutabledict({"quiet": True})
    check_name(name, scripts)
    with postgres_database() as url:
        found, schemas = asyncio.run(compare(url, config))
    changes, reverse = found.upgrade_ops, found.downgrade_ops
    if changes is None or reverse is None or changes.is_empty():
        raise Refused("the newest migration already makes what the models say; nothing to do")
    script = scripts.generate_revision(
        name,
        summary(changes),
        upgrades=upgrade_text(changes, schemas),
        downgrades=downgrade_text(reverse, schemas),
        imports=IMPORTS,
    )
    assert script is not None
    path = Path(script.path)
    tidy(path)
    return path, changes


def check_name(name: str, scripts: ScriptDirectory) -> None:
    if not NAME.fullmatch(name) or len(name) > MAX_NAME:
        raise Refused(
            f"{name!r} is no name for a migration: use lower-case words joined by underscores,"
            f" such as opened_items, with at most {MAX_NAME} characters"
        )
    path = Path(scripts.versions, f"{name}.py")
    if path.exists() or any(script.revision == name for script in scripts.walk_revisions()):
        raise Refused(f"there is a migration {name!r} already; choose another name")


async def compare(url: str, config: Config) -> tuple[ops.MigrationScript, Schemas]:
    """Return what the models have and the newest migration does not."""
    engine = create_async_engine(make_url(url).set(drivername="postgresql+asyncpg"))
    try:
        async with engine.connect() as connection:
            return await connection.run_sync(_compare, config)
    finally:
        await engine.dispose()


def _compare(connection: Connection, config: Config) -> tuple[ops.MigrationScript, Schemas]:
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    metadata = all_tables()
    differences = produce_migrations(MigrationContext.configure(connection), metadata)
    return differences, read_schemas(connection, metadata)


def tidy(path: Path) -> None:
    """Remove the imports that are not needed, and format the file."""
    ruff = Path(sys.executable).with_name("ruff")
    for arguments in (("check", "--quiet", "--fix", "--select", "F401,I"), ("format", "--quiet")):
        subprocess.run([ruff, *arguments, path], check=True)  # noqa: S603


if __name__ == "__main__":
    sys.exit(main())
