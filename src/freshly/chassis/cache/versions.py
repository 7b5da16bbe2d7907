"""Versions of cache tags: they tell whether a cached entry is still current.

Each tag has a version. docs/architecture/caching.md lists the states of a tag and what changes
them.
"""

import asyncio
from collections.abc import Iterable, Sequence
from itertools import count
from typing import Protocol

Versions = tuple[str, ...]
MAX_TAGS = 100_000
LONGEST_COMMIT = 30  # seconds; after them, a COMMIT of unknown outcome is no longer running


class TagVersions(Protocol):
    """The versions that all processes agree on."""

    async def of(self, tags: Sequence[str]) -> Versions | None:
        """Return a version for each tag.

        Return None while one of the tags is being changed, or if the versions cannot be read.
        The caller then loads from the database and caches nothing.
        """

    async def begin_change(self, tags: Iterable[str]) -> str:
        """Mark the tags as changing, before the commit. Nothing is cached under them until it ends.

        Return the marker of this change. Other transactions may change the same tags meanwhile.
        """

    async def commit_change(self, tags: Iterable[str], marker: str) -> None:
        """End the change after the commit or its refusal. Entries of old versions are stale."""

    async def change_unknown(self, tags: Iterable[str], marker: str) -> None:
        """Keep the marker for LONGEST_COMMIT, because the outcome of the commit is unknown."""


class MemoryVersions:
    """Versions in the memory of the only process that uses the database.

    While a server hands its sockets over to another, two processes use it. Then neither knows what
    the other changes, so both are suspended.
    """

    def __init__(self, *, suspended: bool = False) -> None:
        self._is_suspended = suspended
        self._numbers = count()
        self._versions: dict[str, str] = {}
        self._changing: dict[str, int] = {}  # how many transactions change the tag now
        self._default = self._next()

    async def of(self, tags: Sequence[str]) -> Versions | None:
        if self._is_suspended or (self._changing and not self._changing.keys().isdisjoint(tags)):
            return None
        get, default = self._versions.get, self._default
        return tuple([get(tag, default) for tag in tags])

    def suspend(self) -> None:
        """Serve and cache nothing until `resume`, because another process may change rows."""
        self._is_suspended = True

    def resume(self) -> None:
        """Cache again. All entries are stale, since another process may have changed their rows."""
        self._is_suspended = False
        self._forget()

    async def begin_change(self, tags: Iterable[str]) -> str:
        for tag in tags:
            self._changing[tag] = self._changing.get(tag, 0) + 1
        return ""

    async def change_unknown(self, tags: Iterable[str], marker: str) -> None:
        del marker
        loop = asyncio.get_running_loop()
        loop.call_later(LONGEST_COMMIT, self._commit_change, frozenset(tags))

    async def commit_change(self, tags: Iterable[str], marker: str) -> None:
        del marker
        self._commit_change(tags)

    def _commit_change(self, tags: Iterable[str]) -> None:
        for tag in tags:
            still_changing = self._changing.pop(tag, 1) - 1
            if still_changing > 0:
                self._changing[tag] = still_changing
            self._versions[tag] = self._next()
        if len(self._versions) > MAX_TAGS:
            self._forget()

    def _forget(self) -> None:
        """Make every entry stale, once."""
        self._versions.clear()
        self._default = self._next()

    def _next(self) -> str:
        return str(next(self._numbers))


class DisabledVersions:
    """No versions, so nothing is cached."""

    async def of(self, tags: Sequence[str]) -> None:
        del tags

    async def begin_change(self, tags: Iterable[str]) -> str:
        del tags
        return ""

    async def commit_change(self, tags: Iterable[str], marker: str) -> None: ...

    async def change_unknown(self, tags: Iterable[str], marker: str) -> None: ...
