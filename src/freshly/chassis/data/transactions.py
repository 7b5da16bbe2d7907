"""Tables and transactions. A unit of work is opened and committed here, nowhere else."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Annotated, Any

from sqlalchemy import func, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import (
    AsyncEngine,
    AsyncSession,
    async_sessionmaker,
)

from freshly.chassis.cache.invalidation import invalidated_tags
from freshly.chassis.cache.store import Cache
from freshly.chassis.cache.versions import DisabledVersions
from freshly.chassis.data.admission import AdmissionControl
from freshly.chassis.data.engine import LOCK_WAIT
from freshly.chassis.data.queries import CompiledQuery, Found
from freshly.chassis.data.read_pool import ReadPool
from freshly.chassis.data.watchdog import DatabaseWatchdog
from freshly.chassis.dependencies import Depends, Request
from freshly.chassis.errors import AppError, Unavailable

ALONE_WAITS = 30  # seconds, of tools that nobody waits for
ENQUEUED = "enqueued"  # in the `info` of a session that asks for work
Session = AsyncSession  # for signatures outside of the layers that know SQLAlchemy
# What a request's unit of work begins with, by this name in the request's scope.
ON_TRANSACTION_START = "freshly.first_in_unit_of_work"
TransactionHook = Callable[[AsyncSession], Awaitable[None]]


class Database:
    """Makes units of work. Endpoints that call out take this, never a request-long session."""

    def __init__(
        self,
        engine: AsyncEngine,
        cache: Cache | None = None,
        admission: AdmissionControl | None = None,
        watchdog: DatabaseWatchdog | None = None,
    ) -> None:
        self.engine = engine
        self.cache = cache or Cache(DisabledVersions())
        self._desk = ReadPool(engine)
        self.admission = admission or AdmissionControl(self._desk.connections, longest=ALONE_WAITS)
        self.watchdog = watchdog or DatabaseWatchdog()
        make = partial(async_sessionmaker, expire_on_commit=False, autoflush=False)
        self._writing = make(engine.execution_options(writes=True))
        alone = engine.dialect.name == "sqlite"
        # Each statement sees what is committed then, on PostgreSQL within a transaction or not;
        # without one there are two round trips fewer.
        one_by_one = {"reads": True} if alone else {"isolation_level": "AUTOCOMMIT"}
        self._reading = make(engine.execution_options(**one_by_one))
        self.enqueued = asyncio.Event()  # set when work that was asked for here is committed
        # SQLite lets one write at a time; who waits here waits without asking again and again.
        self._turn = asyncio.Lock() if alone else None

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncSession]:
        """One transaction: all of it, or nothing.

        An error rolls back, except one that is itself a fact to be kept (`AppError.keeps_work`).
        """
        async with self._entered():
            if self._turn is None:
                async with self._unit() as session:
                    yield session
                return
            try:
                async with asyncio.timeout(LOCK_WAIT):
                    await self._turn.acquire()
            except TimeoutError as error:
                raise Unavailable from error
            try:
                async with self._unit() as session:
                    yield session
            finally:
                self._turn.release()

    @asynccontextmanager
    async def _entered(self) -> AsyncIterator[None]:
        async with _Inside(self.admission, self.watchdog):
            if self.admission.taken + self._desk.at_hand > self.admission.capacity:
                await self._desk.make_room()
            yield

    @asynccontextmanager
    async def _unit(self) -> AsyncIterator[AsyncSession]:
        kept: AppError | None = None
        versions = self.cache.versions
        marked: set[str] = set()
        mark, ended = "", versions.commit_change
        try:
            async with self._writing() as session, session.begin():
                try:
                    yield session
                except AppError as error:
                    if not error.commit_on_error:
                        raise
                    kept = error
                await session.flush()
                # Before the commit, so that even if this process dies right after it, nobody is
                # served what was kept before.
                marked = invalidated_tags(session.sync_session)
                if marked:
                    mark = await versions.begin_change(marked)
                ended = versions.change_unknown
            ended = versions.commit_change
        except DBAPIError as error:
            if not error.connection_invalidated:  # the database has said no
                ended = versions.commit_change
            raise
        finally:
            if marked:
                await ended(marked, mark)
        if session.info.get(ENQUEUED):
            self.enqueued.set()
        if kept:
            raise kept

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncSession]:
        async with self._entered(), self._reading() as session:
            yield session

    async def fetch(self, question: CompiledQuery, **asked: Any) -> Found:
        """What one statement finds that is alone: a quarter of what it costs in a session."""
        async with _Inside(self.admission, self.watchdog):
            found = await self._desk.run(question, asked)
            self.watchdog.answered()
            return found


class _Inside:
    """Inside the gate, and watched."""

    __slots__ = ("_admission", "_lane", "_unit", "_watchdog")

    def __init__(self, admission: AdmissionControl, watchdog: DatabaseWatchdog) -> None:
        self._admission, self._watchdog = admission, watchdog

    async def __aenter__(self) -> None:
        self._watchdog.check()
        self._lane = await self._admission.enter()
        try:
            self._unit = self._watchdog.begin()
        except BaseException:
            self._admission.leave(self._lane)
            raise

    async def __aexit__(self, *_: object) -> None:
        self._watchdog.end(self._unit)
        self._admission.leave(self._lane)


class TransactionReader(Database):
    """Reads what a unit of work that is still going on would leave behind, in its transaction."""

    def __init__(self, session: AsyncSession) -> None:
        self.cache = Cache(DisabledVersions())
        self._session = session

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncSession]:
        # Its own session, which knows none of the rows that the other has loaded and changed.
        connection = await self._session.connection()
        async with AsyncSession(
            connection,
            expire_on_commit=False,
            autoflush=False,
            join_transaction_mode="rollback_only",
        ) as session:
            yield session

    async def fetch(self, question: CompiledQuery, **asked: Any) -> Found:
        return await fetch_within(self._session, question, **asked)


async def fetch_within(session: AsyncSession, question: CompiledQuery, **asked: Any) -> Found:
    """In the session's transaction."""
    connection = await session.connection()
    driver = (await connection.get_raw_connection()).driver_connection
    return await question.run(driver, connection.dialect, asked)


async def _db(request: Request) -> Database:
    state = request.state
    db: Database = getattr(state, "reader", None) or state.resources.db
    return db


CurrentDatabase = Annotated[Database, Depends(_db)]


async def request_session(request: Request, db: CurrentDatabase) -> AsyncIterator[AsyncSession]:
    reads = request.method in ("GET", "HEAD")
    async with db.read() if reads else db.write() as session:
        for begin in request.scope.get(ON_TRANSACTION_START, ()):
            await begin(session)
        yield session


# scope="function": commit after the response is built and before it is sent, so nobody
# is told "201" about a row that then fails to commit.
DbSession = Annotated[AsyncSession, Depends(request_session, scope="function")]


async def is_first(session: AsyncSession, lock: int) -> bool:
    """Takes the lock of that number until the end of the unit of work, unless somebody has it.

    On SQLite whoever writes is alone anyway.
    """
    if session.get_bind().dialect.name == "sqlite":
        return True
    taken = await session.execute(select(func.pg_try_advisory_xact_lock(lock)))
    return bool(taken.scalar_one())
