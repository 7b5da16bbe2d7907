from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sqlalchemy import and_, delete, exists, func, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import aliased, joinedload, selectinload

from freshly.chassis.data.base import Base
from freshly.chassis.data.constraints import violated_constraint
from freshly.chassis.data.functions import unicode_lower
from freshly.chassis.data.inserts import add_in_turns
from freshly.chassis.data.pagination import ListQuery, PageRows, paginate
from freshly.chassis.data.transactions import DbSession
from freshly.domains.families.access import (
    Access,
    CurrentAccess,
    Guarded,
    OwnedRepository,
    Owner,
)
from freshly.domains.families.models import Membership
from freshly.domains.ingredients.errors import IngredientExists, IngredientNotFound, UnitNotFound
from freshly.domains.ingredients.models import Food, Ingredient, IngredientMeasure, UnitRow

# Where a row of the table is, in the words of an error text.
PLACES = {
    "pantry_items": "the pantry",
    "grocery_list_items": "a shopping list",
    "grocery_needs": "a shopping list",
    "grocery_reservations": "a shopping list",
    "recipe_ingredients": "a recipe",
}
MAX_COMPARED_NAMES = 2000
UNIQUE_NAMES = {"uq_ingredients_family_name", "uq_ingredients_owner_name"}


class IngredientRepository(OwnedRepository[Ingredient]):
    """The catalogue and the foods of the caller's households."""

    model = Ingredient
    not_found = IngredientNotFound

    async def page(self, query: ListQuery) -> PageRows[Ingredient]:
        return await paginate(self.session, self.visible(), (Ingredient.name, Ingredient.id), query)

    async def with_food(self, id: int) -> tuple[Ingredient, Ingredient | None]:
        """Return an ingredient and the one of which it is another name, with all their data."""
        linked = select(Ingredient.food_id).where(Ingredient.id == id)
        rows = await self.session.scalars(
            self.visible()
            .where(or_(Ingredient.id == id, Ingredient.id.in_(linked)))
            .options(selectinload(Ingredient.measures), selectinload(Ingredient.food))
            .execution_options(populate_existing=True)
        )
        by_id = {row.id: row for row in rows}
        if id not in by_id:
            raise IngredientNotFound
        return by_id[id], by_id.get(by_id[id].food_id or 0)

    async def by_ids(self, ids: Iterable[int]) -> Sequence[Ingredient]:
        """Return ingredients to which rows refer that the caller sees."""
        rows = select(Ingredient).where(Ingredient.id.in_(set(ids)))
        return (await self.session.scalars(rows)).all()

    async def are_visible(self, ids: Collection[int]) -> bool:
        """Return True if the caller sees all these ingredients."""
        visible = self.visible().where(Ingredient.id.in_(ids)).with_only_columns(func.count())
        return await self.session.scalar(visible) == len(ids)

    async def with_measures(self, ids: Iterable[int], owner: Owner) -> Sequence[Ingredient]:
        """Return the ingredients, those of which they are names, and the owner's corrections."""
        wanted_ids = set(ids)
        foods = select(Ingredient.food_id).where(Ingredient.id.in_(wanted_ids))
        corrections = and_(
            self.is_owned_by(owner),
            or_(Ingredient.food_id.in_(wanted_ids), Ingredient.food_id.in_(foods)),
        )
        rows = await self.session.scalars(
            select(Ingredient)
            .where(or_(Ingredient.id.in_(wanted_ids), Ingredient.id.in_(foods), corrections))
            .options(joinedload(Ingredient.measures))
        )
        return rows.unique().all()

    async def by_names(self, names: Iterable[str], owner: Owner) -> dict[str, Ingredient]:
        """Return ingredients by lower-case name, in one statement. The owner's come first."""
        lower_names = {name.lower() for name in names}
        lower = func.lower if all(name.isascii() for name in lower_names) else unicode_lower
        rows = await self.session.scalars(
            select(Ingredient)
            .where(or_(self.is_owned_by(owner), Ingredient.is_of_catalogue()))
            .where(lower(Ingredient.name).in_(lower_names))
            .order_by(Ingredient.id.desc())
        )
        own_last = sorted(rows, key=lambda row: row.is_owned_by(owner))
        return {row.name.lower(): row for row in own_last}

    async def by_name(self, name: str, owner: Owner) -> Ingredient | None:
        return (await self.by_names([name], owner)).get(name.lower())

    async def catalogue_food(self, name: str) -> Ingredient | None:
        """Return the food of the catalogue with this name."""
        return await self.session.scalar(
            select(Ingredient)
            .where(func.lower(Ingredient.name) == name.lower(), Ingredient.is_of_catalogue())
            .order_by(Ingredient.id)
            .limit(1)
        )

    async def own_names(self, owner: Owner) -> Sequence[str]:
        """Return the owner's newest names, to compare texts of recipes with them."""
        names = (
            select(Ingredient.name)
            .where(self.is_owned_by(owner))
            .order_by(Ingredient.id.desc())
            .limit(MAX_COMPARED_NAMES)
        )
        return (await self.session.scalars(names)).all()

    async def names_of(self, food_ids: Collection[int], owner: Owner) -> Sequence[int]:
        """Return the ids of these foods and of their other names, as the owner has them."""
        ids = await self.session.scalars(
            select(Ingredient.id).where(
                or_(Ingredient.id.in_(food_ids), Ingredient.food_id.in_(food_ids)),
                or_(self.is_owned_by(owner), Ingredient.is_of_catalogue()),
            )
        )
        return ids.all()

    async def other_names(self, id: int, *, lock: bool = False) -> Sequence[Ingredient]:
        rows = self.visible().where(Ingredient.food_id == id).order_by(Ingredient.id)
        if lock:
            rows = rows.with_for_update()
        return (await self.session.scalars(rows)).all()

    async def save(self, row: Ingredient) -> Ingredient:
        """Insert or update. Raise IngredientExists if the owner has the name already."""
        await self.save_all([row])
        return row

    async def save_all(self, rows: Sequence[Ingredient]) -> Sequence[Ingredient]:
        """Insert or update all rows, or none, and let other requests run meanwhile.

        Raises IngredientExists as `save`.
        """
        if not rows:
            return rows
        try:
            async with self.session.begin_nested():
                await add_in_turns(self.session, rows)
        except IntegrityError as error:
            if violated_constraint(error) in UNIQUE_NAMES:
                raise IngredientExists from error
            raise
        return rows

    async def set_measures(self, row: Ingredient, measures: Mapping[str, Decimal]) -> None:
        """Replace the measures of a food."""
        await self.session.execute(
            delete(IngredientMeasure).where(IngredientMeasure.ingredient_id == row.id)
        )
        self.session.add_all(
            IngredientMeasure(ingredient_id=row.id, unit_code=code, grams=grams)
            for code, grams in measures.items()
        )
        await self.session.flush()
        self.session.expire(row, ["measures"])

    async def corrections(self, ids: Iterable[int], owner: Owner) -> dict[int, Ingredient]:
        """Return the owner's corrections of foods of the catalogue, by the food's id."""
        food = aliased(Ingredient)
        rows = await self.session.execute(
            select(food.id, Ingredient)
            .join(food, food.id == Ingredient.food_id)
            .where(
                self.is_owned_by(owner),
                food.id.in_(set(ids)),
                func.lower(food.name) == func.lower(Ingredient.name),
            )
        )
        return {row[0]: row[1] for row in rows}

    async def delete_all(self, rows: Iterable[Ingredient]) -> None:
        for row in rows:
            await self.session.delete(row)
        await self.session.flush()


@dataclass
class UnitRepository:
    """Units. Not scoped by Access, because all users share them."""

    session: DbSession

    async def all(self) -> Sequence[UnitRow]:
        return (await self.session.scalars(select(UnitRow).order_by(UnitRow.id))).all()

    async def get(self, id: int) -> UnitRow:
        unit = await self.session.get(UnitRow, id)
        if unit is None:
            raise UnitNotFound
        return unit

    async def by_code(self, code: str) -> UnitRow | None:
        return await self.session.scalar(select(UnitRow).where(UnitRow.code == code))


@dataclass
class CatalogueRepository:
    """The rows that belong to no household, for `migrate`, which writes the catalogue."""

    session: DbSession

    async def by_lower_name(self) -> dict[str, Ingredient]:
        """Return the rows without owner: the catalogue, and names of an adopted database."""
        rows = await self.session.scalars(
            select(Ingredient)
            .where(Ingredient.family_id.is_(None), Ingredient.owner_user_id.is_(None))
            .order_by(Ingredient.id.desc())
        )
        return {row.name.lower(): row for row in rows}

    async def unlinked(self) -> Sequence[Ingredient]:
        """Return the rows that are neither of the catalogue nor another name of a food."""
        rows = select(Ingredient).where(
            Ingredient.food_id.is_(None), Ingredient.id.not_in(select(Food.ingredient_id))
        )
        return (await self.session.scalars(rows)).all()

    async def ids_with_food(self) -> set[int]:
        return set(await self.session.scalars(select(Food.ingredient_id)))

    async def add(self, rows: Iterable[Base]) -> None:
        self.session.add_all(rows)
        await self.session.flush()


@dataclass
class ReferenceRepository:
    """Rows of all domains that refer to an ingredient.

    This domain does not know the domains above it. Their models show by a foreign key that they
    refer to ingredients, and by `visible_to` whose rows they are.
    """

    session: DbSession
    access: CurrentAccess

    async def places(self, ids: Collection[int]) -> list[str]:
        """Return where rows refer to one of the ingredients, in one statement."""
        columns = referring()
        found = await self.session.execute(
            select(*(exists().where(column.in_(ids)) for _, column in columns))
        )
        used = [
            PLACES[model.__tablename__]
            for (model, _), is_used in zip(columns, found.one(), strict=True)
            if is_used
        ]
        return list(dict.fromkeys(used))

    async def move(self, old: Ingredient, new: Ingredient, owner: Owner) -> None:
        """Let the owner's rows refer to the new ingredient instead of the old one."""
        access = self._only(owner)
        for model, column in referring():
            target = new.base_food_id if column.info.get("base_food") else new.id
            if target == old.id:
                continue
            await self.session.execute(
                update(model)
                .where(column == old.id, model.visible_to(access))
                .values({column: target})
                .execution_options(synchronize_session=False)
            )

    async def members(self, owner: Owner) -> Sequence[int]:
        """Return the ids of the users who share the owner's foods."""
        if owner.family_id is None:
            return [self.access.user_id]
        members = select(Membership.user_id).where(Membership.family_id == owner.family_id)
        return (await self.session.scalars(members)).all()

    def _only(self, owner: Owner) -> Access:
        """Return an access to the rows of this owner alone."""
        if owner.family_id is None:
            return Access(user_id=self.access.user_id, roles={})
        # No user has the id 0, so only the family's rows match.
        return Access(user_id=0, roles={owner.family_id: self.access.roles[owner.family_id]})


def referring() -> list[tuple[type[Guarded], Any]]:
    """Return the models of the domains above with their columns that refer to ingredients."""
    return [
        (mapper.class_, mapper.get_property_by_column(column).class_attribute)
        for mapper in Guarded.registry.mappers
        if issubclass(mapper.class_, Guarded) and mapper.class_ is not Ingredient
        for column in mapper.columns
        if any(key.column is Ingredient.__table__.c.id for key in column.foreign_keys)
    ]
