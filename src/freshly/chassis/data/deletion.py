"""References that the database would set to null if it deleted a row.

A row that only looks deleted, so that this can be undone, needs to know them. They are derived from
the foreign keys, so a new table or foreign key cannot be forgotten.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, and_, false, func, not_, or_, select
from sqlalchemy.orm import InstrumentedAttribute


@dataclass(frozen=True)
class LostReference:
    """A column that the deletion would set to null, in these rows of the model."""

    model: Any
    column: InstrumentedAttribute[Any]
    rows: ColumnElement[bool]


def lost_references(root: Any, where: ColumnElement[bool]) -> Iterator[LostReference]:
    """Yield the columns that a deletion would set to null in rows that it does not delete."""
    deleted = _cascade(root)
    for mapper in root.registry.mappers:
        model = mapper.class_
        goes_too = (
            func.coalesce(_condition(deleted, model, where), false())
            if model in deleted
            else false()
        )
        for column, parent in _references(model, "SET NULL"):
            if parent in deleted:
                refers = column.in_(_keys(deleted, parent, where))
                yield LostReference(model, column, and_(refers, not_(goes_too)))


# Each model whose rows would be deleted, with the columns that refer to other such models.
Cascade = dict[Any, Sequence[tuple[InstrumentedAttribute[Any], Any]]]


def _cascade(root: Any) -> Cascade:
    deleted: Cascade = {root: ()}
    models = [mapper.class_ for mapper in root.registry.mappers]
    while True:
        found = {
            model: through
            for model in models
            if model is not root
            and (through := [key for key in _references(model, "CASCADE") if key[1] in deleted])
        }
        if found.keys() <= deleted.keys():
            return {root: (), **found}
        deleted.update(found)


def _references(model: Any, ondelete: str) -> Iterator[tuple[InstrumentedAttribute[Any], Any]]:
    """Yield the columns with such a foreign key, each with the model that it refers to."""
    models = {mapper.local_table: mapper.class_ for mapper in model.registry.mappers}
    for column in model.__table__.columns:
        for key in column.foreign_keys:
            if key.ondelete == ondelete:
                name = model.__mapper__.get_property_by_column(column).key
                yield getattr(model, name), models[key.column.table]


def _condition(deleted: Cascade, model: Any, where: ColumnElement[bool]) -> ColumnElement[bool]:
    """Return the condition for the rows of the model that would be deleted."""
    through = [column.in_(_keys(deleted, parent, where)) for column, parent in deleted[model]]
    return or_(*through) if through else where


def _keys(deleted: Cascade, model: Any, where: ColumnElement[bool]) -> Any:
    [key] = model.__mapper__.primary_key
    return select(key).where(_condition(deleted, model, where))
