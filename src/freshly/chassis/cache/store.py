"""The cache of responses, which a commit invalidates.

An entry is stored with the versions that its tags had *before* its rows were read. A commit
replaces the versions of the tags that it changes. An entry is served only while all of its
versions are current, so an entry that was read during a commit is never served after it.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from time import monotonic, time
from typing import Any, Protocol, TypeVar

from pydantic import TypeAdapter

from freshly.chassis.cache.body import CachedBody
from freshly.chassis.cache.versions import TagVersions, Versions

Value = TypeVar("Value")
Load = Callable[[], Awaitable[CachedBody]]
ENTRY_OVERHEAD = 600  # bytes that Python needs for an entry, its key and its place in the dict


@dataclass(slots=True)
class Entry:
    versions: Versions
    expires: float  # monotonic seconds
    body: CachedBody
    value: Any = None  # the decoded body, for readers in this process

    @property
    def size(self) -> int:
        """About how many bytes the entry takes; its compressed or decoded copy counts too."""
        return 2 * len(self.body.body) + ENTRY_OVERHEAD


class SharedEntries(Protocol):
    """Entries that processes share. They may be forgotten at any time; no method raises."""

    async def get(self, key: str) -> tuple[Versions, CachedBody, float] | None:
        """Return versions, body, and until when it may be served (Unix time)."""

    async def put(self, key: str, versions: Versions, body: CachedBody, ttl: timedelta) -> None: ...

    def loading(self, key: str) -> AbstractAsyncContextManager[None]:
        """Let one process at a time load this key, for as long as a load usually takes."""


class LocalEntries:
    """No shared entries: the process has only its own."""

    async def get(self, key: str) -> None:
        del key

    async def put(self, key: str, versions: Versions, body: CachedBody, ttl: timedelta) -> None: ...

    @asynccontextmanager
    async def loading(self, key: str) -> Any:
        del key
        yield


def _ignore(_outcome: str) -> None:
    pass


@dataclass
class Cache:
    versions: TagVersions
    shared: SharedEntries = field(default_factory=LocalEntries)
    max_bytes: int = 32 * 2**20  # about, for the entries of this process
    ttl: timedelta = timedelta(minutes=5)
    on_read: Callable[[str], None] = _ignore  # called with hit, miss or uncached

    def __post_init__(self) -> None:
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        self._size = 0
        self._loads: dict[tuple[str, Versions], asyncio.Future[Entry]] = {}

    async def read(self, key: str, tags: Sequence[str], load: Load) -> CachedBody:
        """Return the cached body of the key, or load and cache it.

        The key must contain everything that the response depends on, and `tags` must name every
        topic whose changes make it stale. Concurrent misses of one key share a single load.
        """
        versions = await self.versions.of(tags)
        if versions is None:
            self.on_read("uncached")
            return await load()
        return (await self._read(key, versions, load)).body

    async def read_value(
        self,
        key: str,
        tags: Sequence[str],
        kind: TypeAdapter[Value],
        load: Callable[[], Awaitable[Value]],
    ) -> Value:
        """Like `read`, for a value that is not a response. Each process decodes an entry once."""
        versions = await self.versions.of(tags)
        if versions is None:
            self.on_read("uncached")
            return await load()

        async def encode() -> CachedBody:
            return CachedBody.of(kind.dump_json(await load()))

        entry = await self._read(key, versions, encode)
        if entry.value is None:
            entry.value = kind.validate_json(entry.body.body)
        value: Value = entry.value
        return value

    async def find(self, key: str, tags: Sequence[str], kind: TypeAdapter[Value]) -> Value | None:
        """Return the value that `keep` stored, or None.

        For values that no database holds and that are dear to compute.
        """
        versions = await self.versions.of(tags)
        if versions is None:
            self.on_read("uncached")
            return None
        entry = self._current(key, versions)
        if entry is None and (entry := await self._find_shared(key, versions)) is None:
            self.on_read("miss")
            return None
        return kind.validate_json(entry.body.body)

    async def keep(
        self,
        key: str,
        tags: Sequence[str],
        kind: TypeAdapter[Value],
        value: Value,
        ttl: timedelta,
    ) -> None:
        """Store a value for `find`, for as long as `ttl` and as there is room."""
        versions = await self.versions.of(tags)
        if versions is not None:
            body = CachedBody.of(kind.dump_json(value))
            await self.shared.put(key, versions, body, ttl)
            self._store(key, versions, body, ttl.total_seconds())

    async def _read(self, key: str, versions: Versions, load: Load) -> Entry:
        return self._current(key, versions) or await self._load_once(key, versions, load)

    def _current(self, key: str, versions: Versions) -> Entry | None:
        """Return the entry of this process if it is of these versions and not too old."""
        entry = self._entries.get(key)
        if entry is None or entry.versions != versions or entry.expires <= monotonic():
            return None
        self._entries.move_to_end(key)
        self.on_read("hit")
        return entry

    async def _load_once(self, key: str, versions: Versions, load: Load) -> Entry:
        """Load, or wait for the load that another request in this process has begun.

        A request that comes after a commit has other versions, so it starts a load of its own.
        """
        flight = (key, versions)
        while (other := self._loads.get(flight)) is not None:
            try:
                return await asyncio.shield(other)
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if not other.cancelled() or (task is not None and task.cancelling()):
                    raise
        own: asyncio.Future[Entry] = asyncio.get_running_loop().create_future()
        self._loads[flight] = own
        try:
            entry = await self._find_or_load(key, versions, load)
        except asyncio.CancelledError:
            own.cancel()
            raise
        except BaseException as error:
            own.set_exception(error)
            own.exception()  # marks it as retrieved, even if no request waits for it
            raise
        else:
            own.set_result(entry)
            return entry
        finally:
            del self._loads[flight]

    async def _find_or_load(self, key: str, versions: Versions, load: Load) -> Entry:
        if (shared := await self._find_shared(key, versions)) is not None:
            return shared
        # The lock's name has the versions, so no process waits for a load of older versions.
        async with self.shared.loading(f"{key}@{','.join(versions)}"):
            if (shared := await self._find_shared(key, versions)) is not None:
                return shared
            self.on_read("miss")
            body = await load()
            await self.shared.put(key, versions, body, self.ttl)
        return self._store(key, versions, body, self.ttl.total_seconds())

    async def _find_shared(self, key: str, versions: Versions) -> Entry | None:
        shared = await self.shared.get(key)
        if shared is None or shared[0] != versions:
            return None
        self.on_read("hit")
        _, body, until = shared
        seconds = min(until - time(), self.ttl.total_seconds())  # the clocks may differ
        return self._store(key, versions, body, seconds)

    def _store(self, key: str, versions: Versions, body: CachedBody, seconds: float) -> Entry:
        entry = Entry(versions, monotonic() + seconds, body)
        if (old := self._entries.pop(key, None)) is not None:
            self._size -= old.size
        if entry.size > self.max_bytes:
            return entry
        self._entries[key] = entry
        self._size += entry.size
        while self._size > self.max_bytes:
            _, oldest = self._entries.popitem(last=False)
            self._size -= oldest.size
        return entry

    @property
    def size(self) -> int:
        """About how many bytes the entries of this process take."""
        return self._size
