"""Cache invalidation: the tags of each change are derived from the rows that change.

A model declares in `__cache_tags__` whose cached responses show its rows. From that and from the
foreign keys, the session collects the tags of each flush, each bulk statement and each cascade of
the database. The transaction gives them to the cache when it commits.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, event, inspect, or_, select
from sqlalchemy.orm import DeclarativeBase, InstrumentedAttribute, ORMExecuteState, Session

COLLECTED = "invalidated_tags"  # the key in `session.info`


@dataclass(frozen=True)
class CacheTopic:
    """A kind of cached response, such as the list of a pantry. With an owner it makes a tag."""

    name: str

    def of(self, owner: str) -> str:
        return f"{self.name}:{owner}"

    def of_each(self, owners: tuple[str, ...]) -> Sequence[str]:
        """Return the tags of several owners."""
        return _tags_of_each(self, owners)

    def family(self, id: int) -> str:
        return self.of(f"f{id}")

    def person(self, id: int) -> str:
        return self.of(f"p{id}")


@lru_cache(maxsize=4096)  # users with many families ask for the same tags at each request
def _tags_of_each(topic: CacheTopic, owners: tuple[str, ...]) -> Sequence[str]:
    return [topic.of(owner) for owner in owners]


@dataclass(frozen=True)
class InvalidatesFor:
    """The responses that show a row: on a topic, for the family and the user in these columns.

    `through` names a foreign key instead: the row is shown with the row that it refers to, so it
    invalidates what that row invalidates.
    """

    topic: CacheTopic | None = None
    family: str | None = None
    person: str | None = None
    through: str | None = None

    @property
    def columns(self) -> list[str]:
        return [name for name in (self.family, self.person) if name]

    def tags(self, family: int | None, person: int | None) -> Iterator[str]:
        assert self.topic is not None
        if family is not None:
            yield self.topic.family(family)
        if person is not None:
            yield self.topic.person(person)


def invalidated_tags(session: Session) -> set[str]:
    """Return the tags that this session has changed so far."""
    found: set[str] = session.info.setdefault(COLLECTED, set())
    return found


def invalidate_rows(session: Session, model: Any, where: ColumnElement[bool]) -> None:
    """Invalidate what shows these rows and the rows that refer to them, as their deletion would.

    For changes that change what is read of rows, but not the rows.
    """
    tags = invalidated_tags(session)
    tags.update(_tags_where(session, model, where))
    tags.update(_tags_of_referring(session, model, where, frozenset()))


@event.listens_for(Session, "before_flush")
def _collect_from_rows(session: Session, _context: Any, _instances: Any) -> None:
    tags = invalidated_tags(session)
    # SQLAlchemy builds these sets at each access.
    new, deleted = session.new, session.deleted
    with session.no_autoflush:
        for row in (*new, *session.dirty, *deleted):
            model = type(row)
            for rule in model.__cache_tags__:
                tags.update(_tags_of_row(session, row, rule))
            if row in deleted or (row not in new and model.__cached_with_referrers__):
                tags.update(_tags_of_referring(session, model, _identity(row), frozenset()))


@event.listens_for(Session, "do_orm_execute")
def _collect_from_bulk(state: ORMExecuteState) -> None:
    if not (state.is_update or state.is_delete) or state.bind_mapper is None:
        return
    model: Any = state.bind_mapper.class_
    where = state.statement.whereclause  # type: ignore[attr-defined]  # an UPDATE or a DELETE
    tags = invalidated_tags(state.session)
    tags.update(_tags_where(state.session, model, where))
    if state.is_delete:
        tags.update(_tags_of_referring(state.session, model, where, frozenset()))


def _identity(row: Any) -> ColumnElement[bool]:
    identity = zip(inspect(row).mapper.primary_key, inspect(row).identity, strict=True)
    return and_(*(column == value for column, value in identity))


def _tags_of_row(session: Session, row: Any, rule: InvalidatesFor) -> Iterable[str]:
    """Return the tags of the old and of the new owner."""
    if rule.through:
        parent_model, key = parent_of(type(row), rule.through)
        tags: set[str] = set()
        for parent in _values(row, rule.through):
            known = session.identity_map.get(session.identity_key(parent_model, parent))
            for parent_rule in parent_model.__cache_tags__:
                if known is not None:
                    tags.update(_tags_of_row(session, known, parent_rule))
                else:
                    tags.update(_tags_where(session, parent_model, key == parent))
        return tags
    families = _values(row, rule.family) if rule.family else ()
    people = _values(row, rule.person) if rule.person else ()
    return {
        *(tag for family in families for tag in rule.tags(family, None)),
        *(tag for person in people for tag in rule.tags(None, person)),
    }


def _values(row: Any, name: str) -> Sequence[int]:
    """Return the value of the column, and its value before an unsaved change."""
    history = inspect(row).attrs[name].history
    return [value for value in (*history.sum(),) if value is not None]


def _tags_where(session: Session, model: Any, where: ColumnElement[bool] | None) -> set[str]:
    tags: set[str] = set()
    for rule in model.__cache_tags__:
        if rule.through:
            parent_model, key = parent_of(model, rule.through)
            ids = _filtered(select(getattr(model, rule.through)), where)
            tags |= _tags_where(session, parent_model, key.in_(ids))
            continue
        columns = [getattr(model, name) for name in rule.columns]
        for row in session.execute(_filtered(select(*columns), where).distinct()):
            values = dict(zip(rule.columns, row, strict=True))
            tags.update(rule.tags(values.get(rule.family or ""), values.get(rule.person or "")))
    return tags


def _tags_of_referring(
    session: Session, model: Any, where: ColumnElement[bool] | None, seen: frozenset[Any]
) -> set[str]:
    """Return the tags of rows that refer to those: the database deletes them, or they show them."""
    tags: set[str] = set()
    if not referring(model):
        return tags
    [own_key] = model.__mapper__.primary_key
    ids = _filtered(select(own_key), where)
    for child, columns, cascades in referring(model):
        with_them = or_(*(column.in_(ids) for column in columns))
        tags |= _tags_where(session, child, with_them)
        if cascades and child not in seen:
            tags |= _tags_of_referring(session, child, with_them, seen | {model})
    return tags


def _filtered(statement: Select[Any], where: ColumnElement[bool] | None) -> Select[Any]:
    return statement if where is None else statement.where(where)


Referring = tuple[Any, tuple[InstrumentedAttribute[Any], ...], bool]


@cache
def referring(model: Any) -> Sequence[Referring]:
    """Return the models that refer to this one and matter to the cache.

    Each comes with the columns that refer, and whether its rows are deleted too
    (ON DELETE CASCADE).
    """
    return [found for found in _all_referring(model) if _matters(found, frozenset({model}))]


def _all_referring(model: Any) -> Iterator[Referring]:
    for mapper in model.registry.mappers:
        for cascades in (True, False):
            columns = tuple(
                getattr(mapper.class_, mapper.get_property_by_column(column).key)
                for column in mapper.local_table.columns
                for key in column.foreign_keys
                if key.column.table is model.__table__ and (key.ondelete == "CASCADE") is cascades
            )
            if columns:
                yield mapper.class_, columns, cascades


def _matters(reference: Referring, seen: frozenset[Any]) -> bool:
    child, _, cascades = reference
    if child.__cache_tags__:
        return True
    if not cascades or child in seen or len(child.__mapper__.primary_key) != 1:
        return False
    return any(_matters(further, seen | {child}) for further in _all_referring(child))


def parent_of(model: type[DeclarativeBase], column: str) -> tuple[Any, InstrumentedAttribute[Any]]:
    """Return the model that the foreign key refers to, and the column at its other end."""
    [key] = model.__mapper__.columns[column].foreign_keys
    for mapper in model.registry.mappers:
        if mapper.local_table is key.column.table:
            return mapper.class_, getattr(mapper.class_, key.column.name)
    raise LookupError(column)
