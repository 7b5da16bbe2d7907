"""Transactions. They begin and commit here, nowhere else."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from functools import partial
from time import monotonic
from typing import Annotated, Any, Protocol

from sqlalchemy import func, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from freshly.chassis.cache.invalidation import invalidated_tags
from freshly.chassis.cache.store import Cache
from freshly.chassis.cache.versions import DisabledVersions
from freshly.chassis.data.admission import Admission, AdmissionControl, Slots
from freshly.chassis.data.engine import LOCK_TIMEOUT_SECONDS, Engine
from freshly.chassis.data.queries import Columns, CompiledQuery
from freshly.chassis.data.quotas import QUOTAS, Quotas
from freshly.chassis.data.watchdog import DatabaseWatchdog
from freshly.chassis.dependencies import Depends, Request
from freshly.chassis.errors import AppError, Unavailable

COMMANDS_WAIT = timedelta(seconds=30)  # no user waits for a command
ENQUEUED = "enqueued"  # the key in a session's `info` that says that it has enqueued a job
Session = AsyncSession  # for signatures in layers that do not know SQLAlchemy
# The key of the request's scope for hooks that run at the start of the request's transaction.
ON_TRANSACTION_START = "freshly.on_transaction_start"
TransactionHook = Callable[[AsyncSession], Awaitable[None]]


class Reader(Protocol):
    """The reading side of the database: the database itself, or an open transaction."""

    @property
    def cache(self) -> Cache: ...

    def read(self) -> AbstractAsyncContextManager[AsyncSession]:
        """Open a session for reading."""

    async def fetch(self, query: CompiledQuery, **parameters: Any) -> Columns:
        """Run one query."""


class Database:
    """Opens transactions, and runs single queries outside of them.

    Each use takes a slot of admission control and is seen by the watchdog. The request's own view
    (`for_request`) knows the route group whose slots it takes.
    """

    def __init__(
        self,
        engine: Engine,
        cache: Cache | None = None,
        longest_wait: timedelta = COMMANDS_WAIT,
        quotas: Quotas | None = None,
    ) -> None:
        capacity = engine.capacity
        self.engine = engine
        self.cache = cache or Cache(DisabledVersions())
        self.admission = AdmissionControl(capacity.reads, capacity.sessions, longest_wait)
        self.watchdog = DatabaseWatchdog(engine)
        self.enqueued = asyncio.Event()  # set when a job that was enqueued here is committed
        on_sqlite = engine.dialect.name == "sqlite"
        # SQLite lets one transaction write at a time. A lock here avoids retries.
        self._write_lock = asyncio.Lock() if on_sqlite else None
        # Reads use no transaction: each statement sees the newest committed rows. A transaction on
        # PostgreSQL would show the same, but BEGIN and COMMIT cost two round trips.
        without_transaction = {"reads": True} if on_sqlite else {"isolation_level": "AUTOCOMMIT"}
        make = partial(async_sessionmaker, expire_on_commit=False, autoflush=False)
        self._reading = make(engine.execution_options(**without_transaction))
        self._writing = make(engine.execution_options(writes=True))
        self._admission = Admission()
        self.quotas = quotas or {}
        self._enforced: Quotas = {}

    def for_request(self, group: str) -> "Database":
        """Return the view of one request, and add up the waits of its transactions.

        Only requests have to keep to the quotas: a job finishes what a request began.
        """
        view = self._view(Admission(group, waited_seconds=0.0))
        view._enforced = self.quotas  # noqa: SLF001 - the same class
        return view

    def for_group(self, group: str) -> "Database":
        """Return a view for background work. Each of its transactions may wait `longest_wait`."""
        return self._view(Admission(group))

    def _view(self, admission: Admission) -> "Database":
        view = object.__new__(Database)  # each request needs one, and copy() takes 3 times as long
        view.__dict__ = {**self.__dict__, "_admission": admission}
        return view

    async def fetch(self, query: CompiledQuery, **parameters: Any) -> Columns:
        """Run one query, outside of any transaction, for a quarter of what it costs in a session.

        Raise OperationalError, OSError, Overloaded or Unavailable.
        """
        async with _DatabaseUse(self, self.admission.reads):
            columns = await self.engine.reads.run(query, parameters)
            self.watchdog.answered()
            return columns

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncSession]:
        """Open a session for reading. Raise Overloaded or Unavailable."""
        reading = self._reading(info={QUOTAS: self._enforced})
        async with _DatabaseUse(self, self.admission.sessions), reading as session:
            yield session

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncSession]:
        """Open a transaction, and commit it at the end.

        An error rolls back, except an AppError with `commit_on_error`: it is raised after the
        commit. Raise Overloaded or Unavailable.
        """
        use = _DatabaseUse(self, self.admission.sessions)
        async with use, self._only_writer(), self._transaction() as session:
            yield session

    @asynccontextmanager
    async def _only_writer(self) -> AsyncIterator[None]:
        if self._write_lock is None:
            yield
            return
        try:
            async with asyncio.timeout(LOCK_TIMEOUT_SECONDS):
                await self._write_lock.acquire()
        except TimeoutError as error:
            raise Unavailable from error
        try:
            yield
        finally:
            self._write_lock.release()

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[AsyncSession]:
        refusal: AppError | None = None
        versions = self.cache.versions
        tags: set[str] = set()
        marker, end_change = "", versions.commit_change
        try:
            async with self._writing(info={QUOTAS: self._enforced}) as session, session.begin():
                try:
                    yield session
                except AppError as error:
                    if not error.commit_on_error:
                        raise
                    refusal = error
                await session.flush()
                # Before the commit, so that nothing stale is served even if this process dies
                # right after it.
                tags = invalidated_tags(session.sync_session)
                if tags:
                    marker = await versions.begin_change(tags)
                end_change = versions.change_unknown
            end_change = versions.commit_change
        except DBAPIError as error:
            # The database answered with an error, so the outcome is known: nothing was committed.
            if not error.connection_invalidated:
                end_change = versions.commit_change
            raise
        finally:
            if tags:
                await end_change(tags, marker)
        if session.info.get(ENQUEUED):
            self.enqueued.set()
        if refusal:
            raise refusal


class _DatabaseUse:
    """A use of the database. It holds a slot, and the watchdog knows when it began.

    Raise RuntimeError if this task already uses the database. Waiting for a second connection while
    holding one can deadlock.
    """

    __slots__ = ("_admission", "_group", "_slots", "_task", "_watchdog")

    def __init__(self, db: Database, slots: Slots) -> None:
        self._watchdog = db.watchdog
        self._admission = db._admission  # noqa: SLF001 - a part of Database
        self._slots = slots

    async def __aenter__(self) -> None:
        watchdog, task = self._watchdog, asyncio.current_task()
        if task in watchdog.in_use:
            raise RuntimeError("one transaction at a time: this task has one that is still open")
        if watchdog.is_silent:
            raise Unavailable
        self._group = await self._slots.acquire(self._admission)
        if watchdog.is_silent:  # it became silent while this request waited
            self._slots.release(self._group)
            raise Unavailable
        self._task = task
        watchdog.in_use[task] = monotonic()

    async def __aexit__(self, *_: object) -> None:
        del self._watchdog.in_use[self._task]
        self._slots.release(self._group)


class TransactionReader:
    """Reads within a transaction that is still open, and so sees its changes."""

    def __init__(self, session: AsyncSession) -> None:
        self.cache = Cache(DisabledVersions())
        self._session = session

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncSession]:
        """Open another session on the connection. It has loaded and changed no rows yet."""
        connection = await self._session.connection()
        async with AsyncSession(
            connection,
            expire_on_commit=False,
            autoflush=False,
            join_transaction_mode="rollback_only",
        ) as session:
            yield session

    async def fetch(self, query: CompiledQuery, **parameters: Any) -> Columns:
        return await fetch_within(self._session, query, **parameters)


async def fetch_within(session: AsyncSession, query: CompiledQuery, **parameters: Any) -> Columns:
    """Run one query in the session's transaction."""
    connection = await session.connection()
    driver = (await connection.get_raw_connection()).driver_connection
    return await query.run(driver, connection.dialect, parameters)


def request_database(state: MutableMapping[str, Any]) -> Database:
    """Return the request's view of the database. Create it at the first call.

    `state` is that of the request's scope. While `chassis/web/preconditions` checks If-Match, the
    view is a TransactionReader, which only reads.
    """
    reader: Database | None = state.get("reader")
    if reader is None:
        reader = state["resources"].db.for_request(state["route_group"])
        state["reader"] = reader
    return reader


async def current_database(request: Request) -> Database:
    return request_database(request.scope["state"])


CurrentDatabase = Annotated[Database, Depends(current_database)]


async def request_session(request: Request, db: CurrentDatabase) -> AsyncIterator[AsyncSession]:
    """Open the session of the request: for reading in a GET, else a transaction."""
    reads = request.method in ("GET", "HEAD")
    async with db.read() if reads else db.write() as session:
        for hook in request.scope.get(ON_TRANSACTION_START, ()):
            await hook(session)
        yield session


# scope="function": commit after the response is built and before it is sent, so that no client
# gets a 201 for a row that then fails to commit.
DbSession = Annotated[AsyncSession, Depends(request_session, scope="function")]


async def is_first(session: AsyncSession, lock: int) -> bool:
    """Take the advisory lock of that number until the transaction ends.

    Return False if another transaction has it. On SQLite only one transaction writes anyway.
    """
    if session.get_bind().dialect.name == "sqlite":
        return True
    taken = await session.execute(select(func.pg_try_advisory_xact_lock(lock)))
    return bool(taken.scalar_one())
