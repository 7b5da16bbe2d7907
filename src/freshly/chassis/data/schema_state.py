"""The revision of a database's schema, compared with the migrations of this release."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

SchemaState = Literal["current", "outdated", "newer", "missing"]
REVISION = re.compile(r'^revision(?:: str)? = "([^"]+)"', re.MULTILINE)
PARENT = re.compile(r'^down_revision(?:: [^=]+)? = "([^"]+)"', re.MULTILINE)


@dataclass(frozen=True)
class Revisions:
    """The revisions that this release knows, and the newest of them."""

    known: Collection[str]
    newest: str

    @classmethod
    def in_folder(cls, folder: Path) -> Self:
        """Read the migrations in a folder. Alembic would import each of them."""
        texts = [path.read_text(encoding="utf-8") for path in folder.glob("*.py")]
        known = {found[1] for text in texts if (found := REVISION.search(text))}
        parents = {found[1] for text in texts if (found := PARENT.search(text))}
        (newest,) = known - parents
        return cls(known, newest)

    def state_of(self, current: str | None) -> SchemaState:
        """Return the state of a schema at this revision.

        A newer release may have migrated the database before this process is replaced. It keeps the
        schema usable for the previous release, so `newer` is no reason to stop serving.
        """
        if current is None:
            return "missing"
        if current not in self.known:
            return "newer"
        return "current" if current == self.newest else "outdated"
