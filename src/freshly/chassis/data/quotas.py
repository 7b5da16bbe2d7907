"""Quotas: how much one user or one family may store.

A model declares in `__quotas__` what its rows count towards. After each flush of a request's
transaction, the new rows and the growth of texts are compared with the quota. Reads cost nothing.

The numbers are counted in the tables, so they cannot drift. On SQLite one transaction writes at a
time, so a quota is exact. On PostgreSQL it is exact, too, near the limit: there the owner is locked
until the commit. Further away no lock is taken, and only more than MARGIN_ROWS rows or MARGIN_BYTES
bytes of one owner that are stored in the same moment could exceed the limit.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from sqlalchemy import ColumnElement, and_, event, func, inspect, literal, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from freshly.chassis.cache.invalidation import parent_of
from freshly.chassis.data.functions import size_in_bytes
from freshly.chassis.errors import Forbidden

QUOTAS = "quotas"  # in `info` of a session: the quotas to enforce, by name
ROOM = "quota_room"  # in `info` of a session: how much more may be stored without counting again
MARGIN_ROWS = 1_000
MARGIN_BYTES = 10 * 2**20
Holder = tuple[Literal["family", "person"], int]


class QuotaExceeded(Forbidden):
    code = "quota_exceeded"
    detail = (
        "There is no room for more {things}: the limit is {limit}. Please delete what you no "
        "longer need."
    )

    def __init__(self, quota: "Quota", used: int) -> None:
        super().__init__(things=quota.things, limit=quota.limit_text)
        self.members = {"quota": quota.name, "limit": quota.limit, "used": used}


@dataclass(frozen=True)
class Quota:
    """A limit of rows, or of bytes."""

    name: str
    limit: int  # 0 means no limit
    things: str  # what is counted, as a person calls it
    in_bytes: bool = False
    enforced_by_flush: bool = True  # False if something else keeps to the limit

    @property
    def limit_text(self) -> str:
        return f"{self.limit / 2**20:g} MB" if self.in_bytes else f"{self.limit:,}"

    def ensure(self, used: int, added: int) -> None:
        """Raise QuotaExceeded if the limit does not allow so much more."""
        if self.limit and used + added > self.limit:
            raise QuotaExceeded(self, used)


Quotas = Mapping[str, Quota]


@dataclass(frozen=True)
class CountsTowards:
    """Rows that count towards a quota: of the family in a column, else of the user in another.

    `through` names a foreign key instead: the row counts for the holder of the row that it refers
    to. With `bytes_of`, the bytes in these columns count instead of the row. A row with a value in
    the column `unless` does not count.
    """

    quota: str
    family: str | None = None
    person: str | None = None
    through: str | None = None
    bytes_of: tuple[str, ...] = ()
    unless: str | None = None


@event.listens_for(Session, "after_flush")
def _check_flush(session: Session, _context: Any) -> None:
    quotas: Quotas = session.info.get(QUOTAS) or {}
    if not quotas:
        return
    added: dict[tuple[str, Holder], int] = defaultdict(int)
    holders: dict[tuple[Any, Any], Holder | None] = {}
    for row, rule, growth in _growth(session):
        if growth <= 0 or not quotas[rule.quota].enforced_by_flush:
            continue
        found = _holder(session, row, rule, holders)
        if found is not None:
            added[rule.quota, found] += growth
    for (name, holder), growth in added.items():
        if quotas[name].limit:
            _take(session, quotas[name], holder, growth)


def _growth(session: Session) -> Iterator[tuple[Any, CountsTowards, int]]:
    """Yield each row that this flush inserted or changed, with the rows or bytes that it added."""
    for row in session.new:
        for rule in type(row).__quotas__:
            values = [getattr(row, name) for name in rule.bytes_of]
            yield row, rule, sum(map(_size, values)) if rule.bytes_of else 1
    for row in session.dirty:
        for rule in type(row).__quotas__:
            yield row, rule, sum(_grown(row, name) for name in rule.bytes_of)


def _grown(row: Any, name: str) -> int:
    history = inspect(row).attrs[name].history
    return sum(map(_size, history.added or ())) - sum(map(_size, history.deleted or ()))


def _size(value: Any) -> int:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return 0 if value is None else len(text.encode())


def _take(session: Session, quota: Quota, holder: Holder, growth: int) -> None:
    """Raise QuotaExceeded if the rows that were just flushed exceed the limit."""
    room: dict[tuple[str, Holder], int] = session.info.setdefault(ROOM, {})
    left = room.get((quota.name, holder), 0) - growth
    if left < 0:
        margin = MARGIN_BYTES if quota.in_bytes else MARGIN_ROWS
        used = _count(session, quota.name, holder)
        if used + margin > quota.limit:
            margin = 0
            if session.get_bind().dialect.name == "postgresql":
                session.execute(select(func.pg_advisory_xact_lock(_lock_key(quota.name, holder))))
                used = _count(session, quota.name, holder)
        quota.ensure(used - growth, growth)
        left = quota.limit - used - margin
    room[quota.name, holder] = left


async def ensure_room(session: AsyncSession, name: str, holder: Holder, added: int = 1) -> None:
    """Raise QuotaExceeded if the holder cannot store so much more. Locks nothing.

    Use it before expensive work whose result is to be stored.
    """
    quota = session.info.get(QUOTAS, {}).get(name)
    if quota is not None and quota.limit:
        used = int(await session.scalar(select(amount_of(name, holder))) or 0)
        quota.ensure(used, added)


def _lock_key(name: str, holder: Holder) -> ColumnElement[int]:
    return func.hashtextextended(literal(f"freshly quota {name} {holder[0]} {holder[1]}"), 0)


def _count(session: Session, name: str, holder: Holder) -> int:
    return int(session.execute(select(amount_of(name, holder))).scalar_one())


def amount_of(name: str, holder: Holder) -> ColumnElement[int]:
    """Return the SQL expression of how much the holder stores of that quota."""
    amounts = [
        _amount(model, rule, condition)
        for model, rule in rules_of(name)
        if (condition := _belongs(model, rule, holder)) is not None
    ]
    total: ColumnElement[int] = sum(amounts[1:], start=amounts[0]) if amounts else literal(0)
    return total


def applies_to(name: str, kind: Literal["family", "person"]) -> bool:
    """Return True if families, or users, can have something that counts towards the quota."""
    return any(_belongs(model, rule, (kind, 0)) is not None for model, rule in rules_of(name))


def _amount(model: Any, rule: CountsTowards, condition: ColumnElement[bool]) -> ColumnElement[int]:
    if not rule.bytes_of:
        counted: Any = func.count()
    else:
        columns = [func.coalesce(size_in_bytes(getattr(model, name)), 0) for name in rule.bytes_of]
        counted = func.coalesce(func.sum(sum(columns[1:], start=columns[0])), 0)
    statement = select(counted).select_from(model).where(condition)
    if rule.unless:
        statement = statement.where(getattr(model, rule.unless).is_(None))
    return statement.scalar_subquery()


def _belongs(model: Any, rule: CountsTowards, holder: Holder) -> ColumnElement[bool] | None:
    """Return the condition for rows of the holder, or None if such a holder has none."""
    kind, id_ = holder
    if rule.through:
        parent, key = parent_of(model, rule.through)
        inner = _belongs(parent, parent.__quotas__[0], holder)
        own = None if inner is None else select(key).where(inner)
        return None if own is None else getattr(model, rule.through).in_(own)
    column = rule.family if kind == "family" else rule.person
    if column is None:
        return None
    mine: ColumnElement[bool] = getattr(model, column) == id_
    if kind == "person" and rule.family:
        return and_(mine, getattr(model, rule.family).is_(None))
    return mine


def _holder(
    session: Session, row: Any, rule: CountsTowards, known: dict[tuple[Any, Any], Holder | None]
) -> Holder | None:
    if rule.through:
        parent, _ = parent_of(type(row), rule.through)
        return _holder_of_id(session, parent, getattr(row, rule.through), known)
    return _first(
        getattr(row, rule.family) if rule.family else None,
        getattr(row, rule.person) if rule.person else None,
    )


def _holder_of_id(
    session: Session, model: Any, id: Any, known: dict[tuple[Any, Any], Holder | None]
) -> Holder | None:
    """Return the holder of a row that may not be loaded. It is read as columns, not as a row."""
    if (model, id) not in known:
        rule = model.__quotas__[0]
        [key] = model.__mapper__.primary_key
        names = (rule.through,) if rule.through else (rule.family, rule.person)
        columns = [getattr(model, name) if name else literal(None) for name in names]
        values = session.execute(select(*columns).where(key == id)).one()
        if rule.through:
            parent, _ = parent_of(model, rule.through)
            known[model, id] = _holder_of_id(session, parent, values[0], known)
        else:
            known[model, id] = _first(*values)
    return known[model, id]


def _first(family: int | None, person: int | None) -> Holder | None:
    if family is not None:
        return "family", family
    return None if person is None else ("person", person)


@cache
def rules_of(name: str) -> Sequence[tuple[Any, CountsTowards]]:
    """Return the models whose rows count towards the quota, each with its rule."""
    from freshly.chassis.data.base import Base  # noqa: PLC0415 - it imports this module

    return [
        (mapper.class_, rule)
        for mapper in Base.registry.mappers
        for rule in mapper.class_.__quotas__
        if rule.quota == name
    ]
