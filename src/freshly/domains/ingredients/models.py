from dataclasses import replace
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    CheckConstraint,
    ColumnElement,
    Enum,
    Float,
    ForeignKey,
    Index,
    Text,
    UniqueConstraint,
    and_,
    false,
    func,
    or_,
    select,
)
from sqlalchemy.orm import Mapped, mapped_column, relationship

from freshly.chassis.data.base import Base, Created
from freshly.chassis.data.quotas import CountsTowards
from freshly.chassis.data.types import Json, Quantity, TextList
from freshly.domains.families.access import Access, Guarded, Owner, covers
from freshly.domains.ingredients.measures import FoodFacts
from freshly.domains.ingredients.units import Kind

CanonicalType = Enum(
    "weight", "volume", "count", name="canonical_unit_type_enum", create_constraint=True
)

# The `info` of a column that refers to the food itself, never to another name of it.
BASE_FOOD = {"base_food": True}


class UnitRow(Base):
    """A unit of units.py as a row, so that other rows can refer to it."""

    __tablename__ = "units"

    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    code: Mapped[str] = mapped_column(Text, unique=True)
    display_name: Mapped[str | None] = mapped_column(Text, default=None)
    is_metric: Mapped[bool] = mapped_column(server_default=false(), default=False)


class Ingredient(Created, Guarded):
    """A name of a food: a row of the catalogue, or a food of one household.

    A row of the catalogue has a Food. All users see it, and no user changes it. A row with an owner
    is visible to that family or user only, and so are its facts. A row of neither kind, which only
    an older release writes, is visible to no user.

    If `food_id` is set, this is another name of that ingredient, and amounts of both add up. Facts
    that this row lacks are those of that ingredient. A household's row with the name of a food of
    the catalogue corrects the facts of that food for the household.

    Foreign keys to it refuse its deletion (NO ACTION). RESTRICT would refuse it, too, but SQLite
    checks that before the rows of a deleted household are gone, which may include both ends.
    """

    __tablename__ = "ingredients"
    __cached_with_referrers__ = True  # cached pantries and lists contain its name
    __quotas__ = (CountsTowards("foods", family="family_id", person="owner_user_id"),)

    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    name: Mapped[str] = mapped_column(Text)
    category: Mapped[str | None] = mapped_column(Text, default=None)
    canonical_unit_type: Mapped[str | None] = mapped_column(CanonicalType, default=None)
    canonical_unit: Mapped[str | None] = mapped_column(Text, default=None)
    avg_weight_per_unit_g: Mapped[float | None] = mapped_column(Float(53), default=None)
    density_g_per_ml: Mapped[float | None] = mapped_column(Float(53), default=None)
    pieces_per_package: Mapped[int | None] = mapped_column(default=None)
    # Days by place, of a household's own food. The catalogue's are in `foods`.
    shelf_life: Mapped[dict[str, int | None] | None] = mapped_column(Json, default=None)
    food_id: Mapped[int | None] = mapped_column(
        ForeignKey("ingredients.id", ondelete="SET NULL"), index=True, default=None
    )
    family_id: Mapped[int | None] = mapped_column(
        ForeignKey("families.id", ondelete="CASCADE"), default=None
    )
    owner_user_id: Mapped[int | None] = mapped_column(
        ForeignKey("users.id", ondelete="CASCADE"), default=None
    )
    created_by_user_id: Mapped[int | None] = mapped_column(
        ForeignKey("users.id", ondelete="SET NULL"), index=True, default=None
    )
    measures: Mapped[list["IngredientMeasure"]] = relationship(
        init=False, lazy="raise", passive_deletes=True
    )
    food: Mapped["Food | None"] = relationship(init=False, lazy="raise", passive_deletes=True)

    __table_args__: Any = (
        CheckConstraint(
            "family_id IS NULL OR owner_user_id IS NULL", name="ck_ingredients_one_owner"
        ),
    )

    @classmethod
    def is_of_catalogue(cls) -> ColumnElement[bool]:
        return cls.id.in_(select(Food.ingredient_id))

    @classmethod
    def visible_to(cls, access: Access) -> ColumnElement[bool]:
        return or_(cls.is_of_catalogue(), covers(access, cls.family_id, cls.owner_user_id))

    @property
    def scope(self) -> str:
        """Return who owns it: the catalogue, a family or a person."""
        if self.family_id is not None:
            return "family"
        return "catalogue" if self.owner_user_id is None else "personal"

    @property
    def base_food_id(self) -> int:
        """Return the id of the ingredient to whose amounts the amounts of this one are added."""
        return self.food_id or self.id

    def is_owned_by(self, owner: Owner) -> bool:
        return (self.family_id, self.owner_user_id) == (owner.family_id, owner.user_id)

    def corrects(self, food: "Ingredient") -> bool:
        """Return True if this household's row has the name of the food of the catalogue."""
        return self.food_id == food.id and self.name.lower() == food.name.lower()

    def facts(self) -> FoodFacts:
        """Return the facts of this row alone. `measures` must be loaded."""
        measures = {measure.unit_code: measure.grams for measure in self.measures}
        return replace(self.facts_without_measures(), measures=measures)

    def facts_without_measures(self) -> FoodFacts:
        return FoodFacts(
            kind=Kind(self.canonical_unit_type) if self.canonical_unit_type else None,
            unit=self.canonical_unit,
            density=_decimal(self.density_g_per_ml),
            piece_weight=_decimal(self.avg_weight_per_unit_g),
        )


# The columns of `owner` are NULL in rows of the catalogue, and NULLs are different from each other.
_LOWER_NAME = func.lower(Ingredient.name)
Index("uq_ingredients_family_name", Ingredient.family_id, _LOWER_NAME, unique=True)
Index("uq_ingredients_owner_name", Ingredient.owner_user_id, _LOWER_NAME, unique=True)
_OF_NO_OWNER = and_(Ingredient.family_id.is_(None), Ingredient.owner_user_id.is_(None))
Index(
    "uq_ingredients_catalogue_name",
    Ingredient.name,
    unique=True,
    postgresql_where=_OF_NO_OWNER,
    sqlite_where=_OF_NO_OWNER,
)
Index("ix_ingredients_name_lower", func.lower(Ingredient.name))


def _decimal(number: float | None) -> Decimal | None:
    """Convert exactly as written: to 0.53, not to 0.53000000000000002665."""
    return Decimal(str(number)) if number else None


class IngredientMeasure(Base):
    """The weight of one household unit: of a clove of garlic, or of a can of tomatoes."""

    __tablename__ = "ingredient_measures"

    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    ingredient_id: Mapped[int] = mapped_column(ForeignKey("ingredients.id", ondelete="CASCADE"))
    unit_code: Mapped[str] = mapped_column(Text)
    grams: Mapped[Decimal] = mapped_column(Quantity())

    __table_args__ = (
        UniqueConstraint("ingredient_id", "unit_code", name="uq_ingredient_measures_unit"),
    )


class Food(Base):
    """The catalogue's further facts about an ingredient."""

    __tablename__ = "foods"

    ingredient_id: Mapped[int] = mapped_column(
        ForeignKey("ingredients.id", ondelete="CASCADE"), primary_key=True
    )
    aliases: Mapped[dict[str, Any]] = mapped_column(Json)  # {"en": [...], "de": [...], ...}
    nutrition: Mapped[dict[str, Any]] = mapped_column(Json)  # per 100 g
    source: Mapped[str] = mapped_column(Text)
    pantry_days: Mapped[int | None] = mapped_column(default=None)
    fridge_days: Mapped[int | None] = mapped_column(default=None)
    freezer_days: Mapped[int | None] = mapped_column(default=None)
    # Null means unknown. No allergens is an empty list.
    allergens: Mapped[list[str] | None] = mapped_column(TextList(), default=None)
