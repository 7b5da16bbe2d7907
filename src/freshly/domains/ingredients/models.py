from dataclasses import replace
from decimal import Decimal
from typing import Any

from sqlalchemy import Enum, Float, ForeignKey, Index, Text, UniqueConstraint, false, func
from sqlalchemy.orm import Mapped, mapped_column, relationship

from freshly.chassis.data.base import Base, Created
from freshly.chassis.data.quotas import CountsTowards
from freshly.chassis.data.types import Json, Quantity, TextList
from freshly.domains.ingredients.measures import FoodFacts
from freshly.domains.ingredients.units import Kind

CanonicalType = Enum(
    "weight", "volume", "count", name="canonical_unit_type_enum", create_constraint=True
)


class UnitRow(Base):
    """A unit of units.py as a row, so that other rows can refer to it."""

    __tablename__ = "units"

    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    code: Mapped[str] = mapped_column(Text, unique=True)
    display_name: Mapped[str | None] = mapped_column(Text, default=None)
    is_metric: Mapped[bool] = mapped_column(server_default=false(), default=False)


class Ingredient(Created, Base):
    """A name of a food, for the pantry and for shopping.

    If `food_id` is set, this is another name of that ingredient, and amounts of both add up.
    """

    __tablename__ = "ingredients"
    __cached_with_referrers__ = True  # cached pantries and lists contain its name
    __quotas__ = (CountsTowards("foods", person="created_by_user_id"),)

    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    name: Mapped[str] = mapped_column(Text, unique=True)
    category: Mapped[str | None] = mapped_column(Text, default=None)
    canonical_unit_type: Mapped[str | None] = mapped_column(CanonicalType, default=None)
    canonical_unit: Mapped[str | None] = mapped_column(Text, default=None)
    avg_weight_per_unit_g: Mapped[float | None] = mapped_column(Float(53), default=None)
    density_g_per_ml: Mapped[float | None] = mapped_column(Float(53), default=None)
    pieces_per_package: Mapped[int | None] = mapped_column(default=None)
    food_id: Mapped[int | None] = mapped_column(
        ForeignKey("ingredients.id", ondelete="SET NULL"), index=True, default=None
    )
    created_by_user_id: Mapped[int | None] = mapped_column(
        ForeignKey("users.id", ondelete="SET NULL"), index=True, default=None
    )
    measures: Mapped[list["IngredientMeasure"]] = relationship(
        init=False, lazy="raise", passive_deletes=True
    )
    food: Mapped["Food | None"] = relationship(init=False, lazy="raise", passive_deletes=True)

    @property
    def base_food_id(self) -> int:
        """Return the id of the ingredient to whose amounts the amounts of this one are added."""
        return self.food_id or self.id

    def facts(self) -> FoodFacts:
        """Return all facts. `measures` must be loaded."""
        measures = {measure.unit_code: measure.grams for measure in self.measures}
        return replace(self.facts_without_measures(), measures=measures)

    def facts_without_measures(self) -> FoodFacts:
        return FoodFacts(
            kind=Kind(self.canonical_unit_type) if self.canonical_unit_type else None,
            unit=self.canonical_unit,
            density=_decimal(self.density_g_per_ml),
            piece_weight=_decimal(self.avg_weight_per_unit_g),
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
