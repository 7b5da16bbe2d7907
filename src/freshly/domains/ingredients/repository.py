from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, exists, func, not_, or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import aliased, joinedload, selectinload

from freshly.chassis.data.base import Base
from freshly.chassis.data.constraints import violated_constraint
from freshly.chassis.data.functions import unicode_lower
from freshly.chassis.data.pagination import ListQuery, PageRows, paginate
from freshly.chassis.data.transactions import DbSession
from freshly.chassis.dependencies import Injected
from freshly.domains.families.access import CurrentAccess, Guarded
from freshly.domains.ingredients.errors import (
    IngredientExists,
    IngredientInUse,
    IngredientNotFound,
    UnitNotFound,
)
from freshly.domains.ingredients.models import Food, Ingredient, UnitRow
from freshly.domains.preferences.service import PreferenceService


@dataclass
class IngredientRepository:
    """The catalogue. Not scoped by Access, because all users share it."""

    session: DbSession

    async def page(self, query: ListQuery) -> PageRows[Ingredient]:
        return await paginate(
            self.session, select(Ingredient), (Ingredient.name, Ingredient.id), query
        )

    async def get(self, id: int, *, lock: bool = False) -> Ingredient:
        statement = select(Ingredient).where(Ingredient.id == id)
        row = await self.session.scalar(statement.with_for_update() if lock else statement)
        if row is None:
            raise IngredientNotFound
        return row

    async def get_with_food(self, id: int) -> Ingredient:
        row = await self.session.scalar(
            select(Ingredient)
            .where(Ingredient.id == id)
            .options(selectinload(Ingredient.measures), selectinload(Ingredient.food))
            .execution_options(populate_existing=True)
        )
        if row is None:
            raise IngredientNotFound
        return row

    async def with_measures(self, ids: Iterable[int]) -> Sequence[Ingredient]:
        """Return the ingredients, and the foods of which they are other names."""
        wanted_ids = set(ids)
        foods = select(Ingredient.food_id).where(Ingredient.id.in_(wanted_ids))
        rows = await self.session.scalars(
            select(Ingredient)
            .where(or_(Ingredient.id.in_(wanted_ids), Ingredient.id.in_(foods)))
            .options(joinedload(Ingredient.measures))
        )
        return rows.unique().all()

    async def by_name(self, name: str) -> Ingredient | None:
        """Return the ingredient with this name in any case. The exact spelling wins."""
        lower = func.lower if name.isascii() else unicode_lower
        return await self.session.scalar(
            select(Ingredient)
            .where(lower(Ingredient.name) == name.lower())
            .order_by((Ingredient.name == name).desc(), Ingredient.id)
            .limit(1)
        )

    async def by_names(self, names: Iterable[str]) -> dict[str, Ingredient]:
        """Return ingredients by lower-case name, in one statement."""
        lower_names = {name.lower() for name in names}
        lower = func.lower if all(name.isascii() for name in lower_names) else unicode_lower
        rows = await self.session.scalars(
            select(Ingredient)
            .where(lower(Ingredient.name).in_(lower_names))
            .order_by(Ingredient.id.desc())
        )
        return {row.name.lower(): row for row in rows}

    async def all_by_lower_name(self) -> dict[str, Ingredient]:
        rows = await self.session.scalars(select(Ingredient).order_by(Ingredient.id.desc()))
        return {row.name.lower(): row for row in rows}

    async def ids_with_food(self) -> set[int]:
        return set(await self.session.scalars(select(Food.ingredient_id)))

    async def save(self, row: Ingredient) -> Ingredient:
        try:
            async with self.session.begin_nested():
                self.session.add(row)
                await self.session.flush()
        except IntegrityError as error:
            if violated_constraint(error) == "ingredients_name_key":
                raise IngredientExists from error
            raise
        return row

    def add(self, *rows: Sequence[Base]) -> None:
        for batch in rows:
            self.session.add_all(batch)

    async def flush(self) -> None:
        await self.session.flush()

    async def delete(self, row: Ingredient) -> None:
        try:
            async with self.session.begin_nested():
                await self.session.delete(row)
                await self.session.flush()
        except IntegrityError as error:
            raise IngredientInUse from error

    async def units(self) -> Sequence[UnitRow]:
        return (await self.session.scalars(select(UnitRow).order_by(UnitRow.id))).all()

    async def unit(self, id: int) -> UnitRow:
        unit = await self.session.get(UnitRow, id)
        if unit is None:
            raise UnitNotFound
        return unit

    async def unit_by_code(self, code: str) -> UnitRow | None:
        return await self.session.scalar(select(UnitRow).where(UnitRow.code == code))


@dataclass
class IngredientUsage:
    """Finds references of other users to an ingredient, because all users share the catalogue."""

    session: DbSession
    access: CurrentAccess
    preferences: Injected[PreferenceService]

    async def by_others(self, ingredient_id: int) -> bool:
        """Return True if a row of any domain refers to it that the caller may not see.

        This domain does not know the domains above it. Their models show by a foreign key that
        they refer to ingredients, and by `hidden_from` which rows are of others.
        """
        rows = [
            exists().where(column == ingredient_id, model.hidden_from(self.access))
            for model, column in _referring()
        ]
        other_names = exists().where(
            Ingredient.food_id == ingredient_id,
            or_(
                Ingredient.created_by_user_id.is_(None),
                Ingredient.created_by_user_id != self.access.user_id,
            ),
        )
        if await self.session.scalar(select(or_(other_names, *rows))):
            return True
        return await self.preferences.mentioned_by_others(ingredient_id, self.access.user_id)


@dataclass
class AddedIngredientRepository:
    """Ingredients by the user who added them. Not scoped by Access: account deletion reads it."""

    session: DbSession

    async def ids_of(self, user_id: int) -> Sequence[int]:
        added = select(Ingredient.id).where(Ingredient.created_by_user_id == user_id)
        return (await self.session.scalars(added)).all()

    async def lock_unreferenced(self, ids: Sequence[int]) -> Sequence[int]:
        """Lock these ingredients. Return those that no row refers to, except among themselves."""
        rows = [exists().where(column == Ingredient.id) for _, column in _referring()]
        other = aliased(Ingredient)
        rows.append(exists().where(other.food_id == Ingredient.id, other.id.not_in(ids)))
        # A request that begins to use a locked ingredient waits, and then fails.
        await self.session.execute(
            select(Ingredient.id)
            .where(Ingredient.id.in_(ids))
            .order_by(Ingredient.id)
            .with_for_update()
        )
        unreferenced = select(Ingredient.id).where(Ingredient.id.in_(ids), not_(or_(*rows)))
        return (await self.session.scalars(unreferenced)).all()

    async def delete(self, ids: Sequence[int]) -> None:
        await self.session.execute(
            delete(Ingredient)
            .where(Ingredient.id.in_(ids))
            .execution_options(synchronize_session=False)
        )


def _referring() -> list[tuple[type[Guarded], Any]]:
    return [
        (mapper.class_, column)
        for mapper in Guarded.registry.mappers
        if issubclass(mapper.class_, Guarded)
        for column in mapper.columns
        if any(key.column is Ingredient.__table__.c.id for key in column.foreign_keys)
    ]
