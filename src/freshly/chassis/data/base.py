"""The base class of all tables."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import MetaData, Table, event, func
from sqlalchemy.orm import DeclarativeBase, Mapped, MappedAsDataclass, mapped_column

from freshly.chassis.cache.invalidation import InvalidatesFor
from freshly.chassis.data.functions import now
from freshly.chassis.data.quotas import CountsTowards
from freshly.chassis.data.types import Instant

# PostgreSQL's own names, because the existing app let PostgreSQL choose them.
NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "%(table_name)s_%(column_0_N_name)s_key",
    "ck": "%(constraint_name)s",
    "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
    "pk": "%(table_name)s_pkey",
}


@event.listens_for(Table, "before_create")
def _never_reuse_ids(table: Table, _connection: Any, **_options: Any) -> None:
    """Make SQLite never give the id of a deleted row to a new row (AUTOINCREMENT).

    Clients cache responses and repeat writes by id, and files and logs refer to rows by id. This
    holds for the tables of all migrations, too, and for the copies by which SQLite changes tables.
    """
    table.dialect_options["sqlite"]["autoincrement"] = True


class Base(MappedAsDataclass, DeclarativeBase, kw_only=True, eq=False, repr=False):
    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map = {datetime: Instant()}
    __mapper_args__ = {"eager_defaults": True}  # updated_at comes back with the UPDATE

    __cache_tags__: ClassVar[Sequence[InvalidatesFor]] = ()
    # True if responses about other rows that refer to a row show something of it, such as its name.
    __cached_with_referrers__: ClassVar[bool] = False
    # What the rows count towards. The first rule tells the holder of rows that refer to a row.
    __quotas__: ClassVar[Sequence[CountsTowards]] = ()


class Created(MappedAsDataclass, kw_only=True, eq=False, repr=False):
    created_at: Mapped[datetime] = mapped_column(
        init=False, insert_default=now(), server_default=func.now()
    )


class Updated(MappedAsDataclass, kw_only=True, eq=False, repr=False):
    updated_at: Mapped[datetime] = mapped_column(
        init=False, insert_default=now(), server_default=func.now(), onupdate=now()
    )
