from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from decimal import Decimal
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, ForeignKey, String, Text, cast, func, or_
from sqlalchemy.orm import Mapped, mapped_column

from freshly.chassis.cache.invalidation import CacheTopic, InvalidatesFor
from freshly.chassis.data.base import Created, Updated
from freshly.chassis.data.page_bytes import row_bytes
from freshly.chassis.data.quotas import CountsTowards
from freshly.chassis.data.types import Json, named_enum
from freshly.domains.families.access import Access, Guarded
from freshly.domains.ingredients.amounts import split_amount

MEALS = CacheTopic("meals")
# A change of any other column leaves the shopping lists as they are.
SHOPPING_COLUMNS = ("ingredients", "servings")
LONG_COLUMNS = (
    *("image", "notes", "ingredients", "instructions"),
    *("tags", "diet_compatibility", "goal_fit", "cooking_tools"),
)

FRAME_BYTES = 1_200  # names, numbers and dates of a meal in a response, in both spellings
FLAG_BYTES = len(',"inPantry":false,"in_pantry":false')


def meal_bytes(meal: Any) -> ColumnElement[int]:
    """Return the SQL of the most that a meal (the class or an alias) takes in a response."""
    long = [getattr(meal, name) for name in LONG_COLUMNS]
    # The list of meals has these in both spellings.
    twice = meal.diet_compatibility, meal.goal_fit, meal.cooking_tools
    columns = row_bytes(FRAME_BYTES, meal.name, meal.cuisine, meal.macros, *long, *twice)
    return columns + flag_bytes(meal.ingredients)


def flag_bytes(stored: Any) -> ColumnElement[int]:
    """Return the SQL of the most that responses add to stored ingredients: a flag to each."""
    text = cast(stored, Text)
    braces = func.length(text) - func.length(func.replace(text, "{", ""))
    return func.coalesce(braces * FLAG_BYTES, 0)


class MealType(StrEnum):
    BREAKFAST = "Breakfast"
    LUNCH = "Lunch"
    DINNER = "Dinner"
    SNACK = "Snack"
    DESSERT = "Dessert"


class Difficulty(StrEnum):
    EASY = "Easy"
    MEDIUM = "Medium"
    HARD = "Hard"


class Meal(Created, Updated, Guarded):
    """A dish of a user. The members of its family see it, too, if it has one."""

    __tablename__ = "meals"

    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    created_by_user_id: Mapped[int] = mapped_column(
        ForeignKey("users.id", ondelete="CASCADE"), index=True
    )
    name: Mapped[str] = mapped_column(String(255))
    calories: Mapped[int] = mapped_column()
    meal_type: Mapped[MealType] = mapped_column(named_enum(MealType, "mealtype"))
    # A meal outlives the family that it is attached to: it is its creator's.
    family_id: Mapped[int | None] = mapped_column(
        ForeignKey("families.id", ondelete="SET NULL"), index=True, default=None
    )
    image: Mapped[str | None] = mapped_column(Text, default=None)
    prep_time: Mapped[int | None] = mapped_column(default=None)
    cook_time: Mapped[int | None] = mapped_column(default=None)
    total_time: Mapped[int | None] = mapped_column(default=None)
    cuisine: Mapped[str | None] = mapped_column(String(120), default=None)
    tags: Mapped[list[str] | None] = mapped_column(Json, default_factory=list)
    macros: Mapped[dict[str, Any] | None] = mapped_column(Json, default_factory=dict)
    difficulty: Mapped[Difficulty | None] = mapped_column(
        named_enum(Difficulty, "mealdifficulty"), default=None
    )
    servings: Mapped[int | None] = mapped_column(default=None)
    diet_compatibility: Mapped[list[str] | None] = mapped_column(Json, default_factory=list)
    goal_fit: Mapped[list[str] | None] = mapped_column(Json, default_factory=list)
    # Objects of name, amount (both text) and in_pantry (bool).
    ingredients: Mapped[list[dict[str, Any]]] = mapped_column(Json, default_factory=list)
    instructions: Mapped[list[str]] = mapped_column(Json, default_factory=list)
    cooking_tools: Mapped[list[str] | None] = mapped_column(Json, default_factory=list)
    notes: Mapped[str | None] = mapped_column(Text, default="")
    is_favorite: Mapped[bool] = mapped_column(default=False)

    __cache_tags__ = (InvalidatesFor(MEALS, person="created_by_user_id"),)
    __quotas__ = (
        CountsTowards("meals", person="created_by_user_id"),
        CountsTowards("texts", person="created_by_user_id", bytes_of=LONG_COLUMNS),
    )

    @classmethod
    def visible_to(cls, access: Access) -> ColumnElement[bool]:
        return or_(cls.created_by_user_id == access.user_id, cls.family_id.in_(list(access.roles)))

    def named_amounts(self, *, missing_only: bool = False) -> Iterator[tuple[str, str]]:
        """Yield name and amount of each ingredient, all or those that the user does not have."""
        for ingredient in self.ingredients:
            name = str(ingredient.get("name") or "").strip()
            if name and not (missing_only and ingredient.get("in_pantry")):
                yield split_amount(name, str(ingredient.get("amount") or "").strip())

    def snapshot(self) -> dict[str, Any]:
        """Return the dish as it is now, as JSON, without what is the creator's own."""
        own = {"id", "created_by_user_id", "family_id", "is_favorite", "created_at", "updated_at"}
        names = [column.key for column in self.__table__.columns if column.key not in own]
        return {name: deepcopy(getattr(self, name)) for name in names}

    @classmethod
    def from_snapshot(cls, snapshot: Mapping[str, Any], user_id: int) -> "Meal":
        """Return a new meal of the user, without a family and not a favorite."""
        enums = {
            "meal_type": MealType(snapshot["meal_type"]),
            "difficulty": snapshot["difficulty"] and Difficulty(snapshot["difficulty"]),
        }
        return cls(created_by_user_id=user_id, **{**deepcopy(dict(snapshot)), **enums})

    def shopping(self) -> Sequence[Any]:
        """Return the values that shopping lists depend on, to compare before and after a change."""
        return [getattr(self, name) for name in SHOPPING_COLUMNS]

    def servings_factor(self, servings: int | None) -> Decimal:
        """Return by how much to multiply the amounts to serve so many people.

        Return 1 if either number of servings is unknown.
        """
        if not servings or not self.servings or self.servings < 0:
            return Decimal(1)
        return Decimal(servings) / Decimal(self.servings)
