from decimal import Decimal
from typing import Any

from sqlalchemy import Column, ColumnElement, ForeignKey, String, Table, Text, select
from sqlalchemy.orm import Mapped, mapped_column

from freshly.chassis.data.base import Base, Created
from freshly.chassis.data.quotas import CountsTowards
from freshly.chassis.data.types import ExactNumber, Quantity
from freshly.domains.families.access import Access, Guarded


class Recipe(Created, Guarded):
    __tablename__ = "recipes"

    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    family_id: Mapped[int] = mapped_column(
        ForeignKey("families.id", ondelete="CASCADE"), index=True
    )
    title: Mapped[str] = mapped_column(Text)
    description: Mapped[str | None] = mapped_column(Text, default=None)
    instructions: Mapped[str | None] = mapped_column(Text, default=None)
    servings: Mapped[int | None] = mapped_column(default=None)
    created_by_user_id: Mapped[int | None] = mapped_column(
        ForeignKey("users.id", ondelete="SET NULL"), default=None
    )

    __quotas__ = (
        CountsTowards("recipes", family="family_id"),
        CountsTowards("texts", family="family_id", bytes_of=("description", "instructions")),
    )

    @classmethod
    def visible_to(cls, access: Access) -> ColumnElement[bool]:
        return cls.family_id.in_(list(access.roles))


class RecipeIngredient(Guarded):
    __tablename__ = "recipe_ingredients"

    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    recipe_id: Mapped[int] = mapped_column(ForeignKey("recipes.id", ondelete="CASCADE"))
    ingredient_id: Mapped[int] = mapped_column(ForeignKey("ingredients.id"))
    quantity: Mapped[Decimal | None] = mapped_column(ExactNumber(), default=None)
    unit_id: Mapped[int | None] = mapped_column(ForeignKey("units.id"), default=None)
    canonical_quantity: Mapped[Decimal | None] = mapped_column(Quantity(), default=None)
    canonical_unit: Mapped[str | None] = mapped_column(String(16), default=None)

    @classmethod
    def visible_to(cls, access: Access) -> ColumnElement[bool]:
        return cls.recipe_id.in_(select(Recipe.id).where(Recipe.visible_to(access)))


class DietTag(Base):
    __tablename__ = "diet_tags"

    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    code: Mapped[str] = mapped_column(Text, unique=True)
    display_name: Mapped[str] = mapped_column(Text)


recipe_diet_tags: Any = Table(
    "recipe_diet_tags",
    Base.metadata,
    Column("recipe_id", ForeignKey("recipes.id", ondelete="CASCADE"), primary_key=True),
    Column("diet_tag_id", ForeignKey("diet_tags.id", ondelete="CASCADE"), primary_key=True),
)
