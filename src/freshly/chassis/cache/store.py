"""Answers that are kept, until a commit changes what they show.

An answer is kept with the versions that its tags had *before* its rows were read. A commit gives
the tags it touches new versions; an answer is served only while all of its versions are the
current ones. So a reader who is overtaken by a commit files an answer that nobody will be served.
"""

import asyncio
import gzip
import json
import zlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import lru_cache, update_wrapper
from itertools import count
from time import monotonic, time
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from msgspec.json import Encoder
from pydantic import TypeAdapter

from freshly.chassis.cache.invalidation import CacheTopic
from freshly.chassis.data.pagination import PageRows
from freshly.chassis.web.etags import CachedBody, etag_of

Arguments = ParamSpec("Arguments")
Decoded = TypeVar("Decoded")
Versions = tuple[str, ...]
MOST_TAGS = 100_000
MANY = 4096  # groups of owners whose tags are at hand
LONGEST_COMMIT = 30  # seconds until one whose end nobody has seen has come, or never will
AROUND_AN_ENTRY = 600  # bytes that Python takes for one, its key and its place


@dataclass(slots=True)
class Entry:
    versions: Versions
    until: float  # monotonic
    kept: CachedBody
    value: Any = None  # what the body decodes to, for readers in this process

    @property
    def size(self) -> int:
        return 2 * len(self.kept.body) + AROUND_AN_ENTRY  # its compressed or decoded twin too


class TagVersions(Protocol):
    """Where all processes agree on what is current."""

    async def of(self, tags: Sequence[str]) -> Versions | None:
        """None while one of them is being changed, or nobody can tell: then nothing is kept."""

    async def begin_change(self, tags: Iterable[str]) -> str:
        """They are about to change: until they have expired, nothing is kept under them.

        Gives the mark, which is this change's own: others may change the same at the same time.
        """

    async def commit_change(self, tags: Iterable[str], mark: str) -> None:
        """They have changed. What was kept under them is stale."""

    async def change_unknown(self, tags: Iterable[str], mark: str) -> None:
        """Nobody knows whether they have changed, and it may come yet: the mark stays a while."""


class SharedEntries(Protocol):
    """Where processes find what others have kept. It may forget, and never fails."""

    async def get(self, key: str) -> tuple[Versions, CachedBody, float] | None:
        """And until when it may be served, in Unix time."""

    async def put(self, key: str, versions: Versions, kept: CachedBody, ttl: timedelta) -> None: ...

    def loading(self, key: str) -> AbstractAsyncContextManager[None]:
        """Entered by one process at a time, for as long as that takes others to find an entry."""


class MemoryVersions:
    """Of one process that has the database to itself."""

    def __init__(self) -> None:
        self._numbers = count()
        self._versions: dict[str, str] = {}
        self._changing: dict[str, int] = {}
        self._unknown = self._next()

    async def of(self, tags: Sequence[str]) -> Versions | None:
        if self._changing and not self._changing.keys().isdisjoint(tags):
            return None
        get, unknown = self._versions.get, self._unknown
        return tuple([get(tag, unknown) for tag in tags])

    async def begin_change(self, tags: Iterable[str]) -> str:
        for tag in tags:
            self._changing[tag] = self._changing.get(tag, 0) + 1
        return ""

    async def change_unknown(self, tags: Iterable[str], mark: str) -> None:
        del mark
        loop = asyncio.get_running_loop()
        loop.call_later(LONGEST_COMMIT, self._expire, frozenset(tags))

    async def commit_change(self, tags: Iterable[str], mark: str) -> None:
        del mark
        self._expire(tags)

    def _expire(self, tags: Iterable[str]) -> None:
        for tag in tags:
            left = self._changing.pop(tag, 1) - 1
            if left > 0:
                self._changing[tag] = left
            self._versions[tag] = self._next()
        if len(self._versions) > MOST_TAGS:
            self._versions.clear()
            self._unknown = self._next()  # everything is stale, once

    def _next(self) -> str:
        return str(next(self._numbers))


class LocalEntries:
    """The entries of one process: there is nobody to share with."""

    async def get(self, key: str) -> None:
        del key

    async def put(self, key: str, versions: Versions, kept: CachedBody, ttl: timedelta) -> None: ...

    @asynccontextmanager
    async def loading(self, key: str) -> Any:
        del key
        yield


class DisabledVersions:
    """Versions that nobody can tell: nothing is ever kept."""

    async def of(self, tags: Sequence[str]) -> None:
        del tags

    async def begin_change(self, tags: Iterable[str]) -> str:
        del tags
        return ""

    async def commit_change(self, tags: Iterable[str], mark: str) -> None: ...

    async def change_unknown(self, tags: Iterable[str], mark: str) -> None: ...


def _ignore(_outcome: str) -> None:
    pass


@dataclass
class Cache:
    versions: TagVersions
    shared: SharedEntries = field(default_factory=LocalEntries)
    largest: int = 32 * 2**20  # bytes, about, for what this process keeps
    ttl: timedelta = timedelta(minutes=5)
    on_read: Callable[[str], None] = _ignore  # what came of a read: hit, miss or uncached

    def __post_init__(self) -> None:
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        self._size = 0
        self._loads: dict[tuple[str, Versions], asyncio.Future[Entry]] = {}

    async def read(
        self,
        key: str,
        tags: Sequence[str],
        load: Callable[[], Awaitable[CachedBody]],
    ) -> Entry:
        """What is kept under the key, or what `load` gives, which is then kept.

        Many who miss the same at once are given what one of them loads.
        """
        versions = await self.versions.of(tags)
        if versions is None:
            self.on_read("uncached")
            return Entry((), 0, await load())
        return await self._current(key, versions, load)

    async def value(
        self,
        key: str,
        tags: Sequence[str],
        kind: TypeAdapter[Decoded],
        load: Callable[[], Awaitable[Decoded]],
    ) -> Decoded:
        """The same, of what is no answer: written only to be kept, decoded once in each process."""
        versions = await self.versions.of(tags)
        if versions is None:
            self.on_read("uncached")
            return await load()

        async def write() -> CachedBody:
            body = kind.dump_json(await load())
            return CachedBody(body, etag_of(body))

        entry = await self._current(key, versions, write)
        if entry.value is None:
            entry.value = kind.validate_json(entry.kept.body)
        value: Decoded = entry.value
        return value

    async def _current(
        self, key: str, versions: Versions, load: Callable[[], Awaitable[CachedBody]]
    ) -> Entry:
        entry = self._entries.get(key)
        if entry is not None and entry.versions == versions and entry.until > monotonic():
            self._entries.move_to_end(key)
            self.on_read("hit")
            return entry
        return await self._once(key, versions, load)

    async def _once(
        self, key: str, versions: Versions, load: Callable[[], Awaitable[CachedBody]]
    ) -> Entry:
        """Whoever comes after a commit has other versions, and does not wait for an older load."""
        flight = (key, versions)
        while (leader := self._loads.get(flight)) is not None:
            try:
                return await asyncio.shield(leader)
            except asyncio.CancelledError:
                we = asyncio.current_task()
                if not leader.cancelled() or (we is not None and we.cancelling()):
                    raise
        mine: asyncio.Future[Entry] = asyncio.get_running_loop().create_future()
        self._loads[flight] = mine
        try:
            entry = await self._found_or_loaded(key, versions, load)
        except asyncio.CancelledError:
            mine.cancel()
            raise
        except BaseException as error:
            mine.set_exception(error)
            mine.exception()  # seen, even if nobody waits for it
            raise
        else:
            mine.set_result(entry)
            return entry
        finally:
            del self._loads[flight]

    async def _found_or_loaded(
        self, key: str, versions: Versions, load: Callable[[], Awaitable[CachedBody]]
    ) -> Entry:
        if (found := await self._found(key, versions)) is not None:
            return found
        # Under another name for other versions: nobody waits for a load that a commit overtook.
        async with self.shared.loading(f"{key}@{','.join(versions)}"):
            if (found := await self._found(key, versions)) is not None:
                return found
            self.on_read("miss")
            kept = await load()
            await self.shared.put(key, versions, kept, self.ttl)
        return self._keep(key, versions, kept, self.ttl.total_seconds())

    async def _found(self, key: str, versions: Versions) -> Entry | None:
        found = await self.shared.get(key)
        if found is None or found[0] != versions:
            return None
        self.on_read("hit")
        _, kept, until = found
        left = min(until - time(), self.ttl.total_seconds())  # clocks may differ
        return self._keep(key, versions, kept, left)

    def _keep(self, key: str, versions: Versions, kept: CachedBody, seconds: float) -> Entry:
        entry = Entry(versions, monotonic() + seconds, kept)
        if (old := self._entries.pop(key, None)) is not None:
            self._size -= old.size
        if entry.size > self.largest:
            return entry
        self._entries[key] = entry
        self._size += entry.size
        while self._size > self.largest:
            _, oldest = self._entries.popitem(last=False)
            self._size -= oldest.size
        return entry

    @property
    def size(self) -> int:
        """Bytes, about, that this process keeps."""
        return self._size


class HasUnits(Protocol):
    @property
    def cache(self) -> Cache: ...


class Reader(Protocol):
    """A service that reads, each time in a unit of work of its own."""

    @property
    def db(self) -> HasUnits: ...


class HasTag(Protocol):
    """An Owner: `f3` is a family, `p7` a person."""

    @property
    def tag(self) -> str: ...


Service = TypeVar("Service", bound=Reader)
Owner = TypeVar("Owner", bound=HasTag)
Read = Callable[Concatenate[Service, Owner, Arguments], Coroutine[Any, Any, PageRows[Any]]]
CachedRead = Callable[Concatenate[Service, Owner, Arguments], Coroutine[Any, Any, CachedBody]]


def cached(
    *topics: CacheTopic,
) -> Callable[[Read[Service, Owner, Arguments]], CachedRead[Service, Owner, Arguments]]:
    """Keeps what a service's read gives for an Owner, as the bytes of its JSON.

    The read gives records that are on the wire as they are (`questions.record_of` a schema; tests
    hold the answers to their schemas).

    The key is made of the owner and all other arguments, so whatever the answer depends on is one
    of them. Owners among them (what has `tags`) add theirs.
    """

    def decorate(
        read: Read[Service, Owner, Arguments],
    ) -> CachedRead[Service, Owner, Arguments]:
        name = f"{read.__module__.removeprefix('freshly.domains.')}.{read.__qualname__}"

        async def cached_read(
            self: Service, owner: Owner, /, *args: Arguments.args, **kwargs: Arguments.kwargs
        ) -> CachedBody:
            async def load() -> CachedBody:
                return written(await read(self, owner, *args, **kwargs))

            tags = [topic.of(owner.tag) for topic in topics]
            for argument in args:
                if several := getattr(argument, "tags", None):
                    tags += _tags(topics, several)
            key = f"{name}({owner.tag},{_written(args)},{_written(kwargs)})"
            return (await self.db.cache.read(key, tags, load)).kept

        update_wrapper(cached_read, read)
        return cached_read

    return decorate


@lru_cache(maxsize=MANY)
def _tags(topics: Sequence[CacheTopic], owners: Sequence[str]) -> Sequence[str]:
    return [topic.of(owner) for owner in owners for topic in topics]


def _written(arguments: tuple[Any, ...] | Mapping[str, Any]) -> str:
    return repr(arguments) if arguments else ""


_json = Encoder()


def written(found: PageRows[Any]) -> CachedBody:
    """Of records that have the schema's fields already, in the schema's order."""
    body = _json.encode(found.items)
    return CachedBody(body, etag_of(body, found.next_cursor), found.next_cursor)


def packed(versions: Versions, kept: CachedBody, until: float) -> bytes:
    """For a store outside of this process: a line of JSON, then the body. `until` is Unix time."""
    head = {
        "versions": versions,
        "until": until,
        "etag": kept.etag,
        "next": kept.next_cursor,
    }
    return json.dumps(head).encode() + b"\n" + gzip.compress(kept.body, 1)


def unpacked(stored: bytes) -> tuple[Versions, CachedBody, float] | None:
    """None if it is nothing of ours, or was damaged: the digest must fit the body."""
    line, _, rest = stored.partition(b"\n")
    try:
        head = json.loads(line)
        body = gzip.decompress(rest)
        versions = tuple(str(version) for version in head["versions"])
        kept = CachedBody(body, str(head["etag"]), head["next"])
        until = float(head["until"])
    except (ValueError, KeyError, TypeError, OSError, EOFError, RecursionError, zlib.error):
        return None
    fits = etag_of(body, kept.next_cursor) == kept.etag
    return (versions, kept, until) if fits else None
