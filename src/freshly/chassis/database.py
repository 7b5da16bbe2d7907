"""Tables and transactions. A unit of work is opened and committed here, nowhere else."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any
from uuid import uuid4

from fastapi import Depends, Request
from sqlalchemy import Connection, Index, MetaData, Table, UniqueConstraint, event, func
from sqlalchemy.engine import URL
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import (
    AsyncEngine,
    AsyncSession,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, MappedAsDataclass, mapped_column

from freshly.chassis.columns import Instant, now
from freshly.chassis.errors import AppError

# As PostgreSQL names them by itself, because existing databases were named by it.
NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "%(table_name)s_%(column_0_N_name)s_key",
    "ck": "%(constraint_name)s",
    "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
    "pk": "%(table_name)s_pkey",
}
Session = AsyncSession  # for signatures outside of the layers that know SQLAlchemy
LOCK_WAIT = 5  # seconds until a locked table is a 503
DIRECT: dict[str, Any] = {
    "server_settings": {
        "application_name": "freshly",
        "lock_timeout": f"{LOCK_WAIT}s",
        "idle_in_transaction_session_timeout": "60s",
    },
}
POOLED: dict[str, Any] = {
    "statement_cache_size": 0,
    "prepared_statement_cache_size": 0,
    "prepared_statement_name_func": lambda: f"freshly_{uuid4().hex}",
}


class Base(MappedAsDataclass, DeclarativeBase, kw_only=True, eq=False, repr=False):
    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map = {datetime: Instant()}
    __mapper_args__ = {"eager_defaults": True}  # updated_at comes back with the UPDATE


class Created(MappedAsDataclass, kw_only=True, eq=False, repr=False):
    created_at: Mapped[datetime] = mapped_column(
        init=False, insert_default=now(), server_default=func.now()
    )


class Updated(MappedAsDataclass, kw_only=True, eq=False, repr=False):
    updated_at: Mapped[datetime] = mapped_column(
        init=False, insert_default=now(), server_default=func.now(), onupdate=now()
    )


def create_engine(
    url: URL,
    *,
    pool_size: int = 5,
    max_overflow: int = 5,
    pool_timeout: float = 30,
    past_pooler: bool = True,
) -> AsyncEngine:
    """An engine that knows the database's manners.

    A pooler such as PgBouncer hands each transaction to another connection, so behind one
    (`past_pooler=False`) nothing is set for, or prepared on, a connection.
    """
    sizes = {"pool_size": pool_size, "max_overflow": max_overflow, "pool_timeout": pool_timeout}
    if url.get_backend_name() == "sqlite":
        engine = create_async_engine(url, connect_args={"timeout": LOCK_WAIT}, **sizes)
        _teach_sqlite(engine)
        return engine
    return create_async_engine(
        url,
        pool_pre_ping=True,
        pool_recycle=1800,
        connect_args={"timeout": 3, **(DIRECT if past_pooler else POOLED)},
        **sizes,
    )


def _teach_sqlite(engine: AsyncEngine) -> None:
    @event.listens_for(engine.sync_engine, "connect")
    def _on_connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves, below
        connection.create_function("unicode_lower", 1, lambda text: text and text.lower())
        cursor = connection.cursor()
        for pragma in (
            "journal_mode=WAL",
            "synchronous=NORMAL",
            f"busy_timeout={LOCK_WAIT * 1000}",
            "foreign_keys=ON",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def _on_begin(connection: Connection) -> None:
        # A deferred BEGIN that reads and then writes fails with "database is locked" as soon
        # as somebody else wrote in between; a writer therefore says so at once, and waits.
        writes = connection.get_execution_options().get("writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


@dataclass(frozen=True)
class UnitsOfWork:
    """Makes units of work. Endpoints that call out take this, never a request-long session."""

    engine: AsyncEngine

    def writing(self) -> AbstractAsyncContextManager[AsyncSession]:
        return unit_of_work(self.engine.execution_options(writes=True))

    def reading(self) -> AbstractAsyncContextManager[AsyncSession]:
        return unit_of_work(self.engine)


@asynccontextmanager
async def unit_of_work(engine: AsyncEngine) -> AsyncIterator[AsyncSession]:
    """One transaction: all of it, or nothing.

    An error rolls back, except one that is itself a fact to be kept (`AppError.keeps_work`).
    """
    sessions = async_sessionmaker(engine, expire_on_commit=False, autoflush=False)
    kept: AppError | None = None
    async with sessions() as session, session.begin():
        try:
            yield session
        except AppError as error:
            if not error.keeps_work:
                raise
            kept = error
    if kept:
        raise kept


async def _units(request: Request) -> UnitsOfWork:
    units: UnitsOfWork = request.state.units
    return units


Units = Annotated[UnitsOfWork, Depends(_units)]


async def _request_session(request: Request, units: Units) -> AsyncIterator[AsyncSession]:
    reads = request.method in ("GET", "HEAD")
    async with units.reading() if reads else units.writing() as session:
        yield session


# scope="function": commit after the response is built and before it is sent, so nobody
# is told "201" about a row that then fails to commit.
DbSession = Annotated[AsyncSession, Depends(_request_session, scope="function")]


def violated_constraint(error: IntegrityError) -> str | None:
    """The name of the constraint that was broken, or None where the database does not tell.

    PostgreSQL says its name. SQLite says the columns of a unique one, the name of a CHECK, and
    of a foreign key nothing.
    """
    cause = getattr(error.orig, "__cause__", None)
    name = getattr(cause, "constraint_name", None)
    if name:
        return str(name)
    kind, _, what = str(error.orig).partition(" constraint failed: ")
    if kind == "CHECK":
        return what
    if kind != "UNIQUE":
        return None
    columns = {column.partition(".")[2] for column in what.split(", ")}
    table: Table = Base.metadata.tables[what.partition(".")[0]]
    rules: list[Index | UniqueConstraint] = [*table.indexes]
    rules += [rule for rule in table.constraints if isinstance(rule, UniqueConstraint)]
    for rule in rules:
        if {column.name for column in rule.columns} == columns:
            return str(rule.name)
    return None
