"""The revision of a database's schema, and the releases that may serve on it.

A release knows the revisions up to its own newest one. It serves on a newer schema, which it does
not know, if the table `serves_since` names a revision that it knows. A migration that takes away
what an older release uses sets `serves_since` to the first revision whose release does without it.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, column, inspect, select, table
from sqlalchemy.ext.asyncio import AsyncEngine

from freshly.chassis.data.serves_since import ServesSince
from freshly.commands.errors import CommandFailed

EXISTING_APP_REVISION = "8a2eb98e9047"  # where the existing app left its schema
MIGRATIONS = Path(__file__).parents[3] / "migrations"
VERSION = table("alembic_version", column("version_num"))


class SchemaTooNew(CommandFailed):
    def __init__(self, revision: str | None) -> None:
        super().__init__(
            f"DATABASE_URL: the schema is at {revision}, of a newer release, on which this release"
            f" cannot serve; start the newer release, or let it go back first:"
            f" `freshly migrate --to {newest_revision()}`"
        )


@dataclass(frozen=True)
class Schema:
    """The revision is None if the database is empty or the existing app's."""

    revision: str | None
    serves_since: str | None = None

    @property
    def is_newer(self) -> bool:
        """True if a newer release has migrated the database."""
        return self.revision is not None and self.revision not in history()

    @property
    def is_older(self) -> bool:
        """True if this release has to migrate the database before it can serve."""
        return not self.is_newer and self.revision != newest_revision()

    def refuse_if_too_new(self) -> None:
        """Raise SchemaTooNew if this release cannot serve on the schema."""
        if self.is_newer and self.serves_since not in history():
            raise SchemaTooNew(self.revision)


def configuration() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    return config


@cache
def history() -> tuple[str, ...]:
    """Return the revisions that this release knows, the newest first."""
    scripts = ScriptDirectory.from_config(configuration())
    return tuple(script.revision for script in scripts.walk_revisions())


def newest_revision() -> str:
    return history()[0]


def serves_since(revision: str) -> str | None:
    """Return the oldest revision whose release serves on the schema of this revision.

    It is what the revision or the nearest one before it sets. Return None if none sets it.
    """
    scripts = ScriptDirectory.from_config(configuration())
    for script in scripts.iterate_revisions(revision, "base"):
        if oldest := getattr(script.module, "serves_since", None):
            return str(oldest)
    return None


async def read_schema(engine: AsyncEngine) -> Schema:
    async with engine.connect() as connection:
        return await connection.run_sync(_read_schema)


def _read_schema(connection: Connection) -> Schema:
    known_tables = inspect(connection)
    if not known_tables.has_table(VERSION.name):
        return Schema(None)
    revision = connection.execute(select(VERSION.c.version_num)).scalar()
    if not known_tables.has_table(ServesSince.__tablename__):
        return Schema(revision)
    return Schema(revision, connection.execute(select(ServesSince.revision)).scalar())


def has_existing_app_tables(connection: Connection) -> bool:
    tables = set(inspect(connection).get_table_names())
    return {"users", "meals", "pantry_items", "grocery_lists"} <= tables
